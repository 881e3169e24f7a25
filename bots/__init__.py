"""What a turn is: the adapter, the channel's client, the transaction around a turn, and the bot."""
