"""The numba kernels, the code they are made from and the cache that keeps it."""
