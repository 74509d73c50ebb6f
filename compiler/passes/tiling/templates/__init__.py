"""One template per kind of phased op: loops, buffers and kernels of a task."""
