"""The client of channels: requests, answers, connections, tokens."""
