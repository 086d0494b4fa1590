"""The network of the paper written as plainly as possible, to measure against.

What the released code computes, in the way it computes it: attention with its matrix of scores laid
out, convolutions in NCHW memory, nearest up-sampling before a full convolution, nothing fused, nothing
in place, one call a chunk. Parameter names are those of the released checkpoints, so that the same
weights go into both.
"""
