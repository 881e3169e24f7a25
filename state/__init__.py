"""Everything that touches the store. Nothing above this package spells a key or sends a command."""
