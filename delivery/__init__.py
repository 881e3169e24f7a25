"""What makes turns happen without the user: notifications are spread over mailboxes, who was woken gets a turn."""
