"""Our own network: occupancy in the frustum of the video's camera, and opaque splats on it."""
