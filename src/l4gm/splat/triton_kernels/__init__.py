"""The kernels of the triton backend, one module per stage; `layout` says what passes between them."""
