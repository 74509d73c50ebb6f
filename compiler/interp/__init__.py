"""The interpreter of the stages graph, phased, tiled and mapped: what a module computes."""
