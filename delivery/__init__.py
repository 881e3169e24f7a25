"""What makes turns happen without the user: spreading notifications over mailboxes, and giving turns to who was woken."""
