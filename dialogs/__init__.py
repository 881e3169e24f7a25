"""What the user can talk about, and how notifications are put to them."""
