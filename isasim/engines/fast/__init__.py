"""The fast engine: instructions on numba kernels."""
