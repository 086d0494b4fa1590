"""Triangle meshes of animated Gaussians, for programs that show no splats."""
