"""The networks: images and cameras to Gaussians."""
