"""A soak: the service under load while processes die, the store restarts and the channel is in every mood."""
