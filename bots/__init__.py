"""The bot that ships."""
