"""Video in and out, and background removal."""
