"""What the bot that ships can talk about."""
