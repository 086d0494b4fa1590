"""Our own network: occupancy along the rays of the video's camera, opaque splats on its surface.

Not the paper's network made small (that is `l4gm.model`): it keeps the paper's idea, one forward
pass with cross-view and temporal attention, and changes what a pixel predicts.
"""
