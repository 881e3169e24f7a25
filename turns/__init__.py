"""What a turn is: entrance, transaction, outbox, early output, failed turns."""
