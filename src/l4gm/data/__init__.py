"""Training clips: the typed clip and where it comes from."""
