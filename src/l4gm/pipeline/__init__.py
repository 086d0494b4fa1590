"""From frames to an animated object."""
