"""Pure values and decisions. Standard library only; nothing here performs input or output."""
