"""Dialogs as somebody else would bring them: written for the plain SDK, without a thought of this service."""
