"""The protocol of turns, outbox and leased work, small enough to be walked through whole."""
