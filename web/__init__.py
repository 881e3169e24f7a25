"""What other programs reach over HTTP: the bot endpoint, the notification API, health and metrics."""
