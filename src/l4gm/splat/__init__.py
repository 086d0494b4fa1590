"""Splatting: Gaussians and cameras to images, differentiable."""
