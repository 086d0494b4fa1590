"""Numba kernels that turn a volume into splats on its surface.

Symbols
    L the lateral resolution of the field, D its depth cells, S the size of the frame in pixels,
    N the number of splats; (u, v) image coordinates in [0, 1], z camera depth.

All lengths are world units and all points lie in the axes of the video's camera (x right, y down,
z forward) until `place` turns them into the world. `lens` is [6]: fx, fy, cx, cy in image sizes,
then the z of the first depth cell's front face and of the last one's back face.
"""
