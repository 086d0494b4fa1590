"""The network of the paper written as plainly as possible, to measure against.

What the released code computes, in the way it computes it: attention with its matrix of scores laid
out, convolutions in NCHW memory, nearest up-sampling before a full convolution, nothing fused and
nothing in place. Parameter names are those of the released checkpoints, so that the same weights go
into both.
"""
