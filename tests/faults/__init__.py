"""What makes processes fail when a test wants it."""
