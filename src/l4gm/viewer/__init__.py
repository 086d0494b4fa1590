"""Pages and servers that play a sequence."""
