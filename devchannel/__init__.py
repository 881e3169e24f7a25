"""A local Direct Line channel and a chat page, for trying the bot in a browser."""
