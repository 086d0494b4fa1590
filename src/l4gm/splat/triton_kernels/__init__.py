"""The kernels of the triton backend, a module a stage; `layout` has what passes between them."""
