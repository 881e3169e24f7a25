"""Jobs: which there are, who runs them, and the ones that ship."""
