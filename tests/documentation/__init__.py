"""Reads the documentation as a person at a terminal would, and does what it says."""
