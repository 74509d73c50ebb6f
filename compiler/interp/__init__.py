"""The interpreter of the stages graph, phased, tiled and mapped: what a module computes."""

from snncc.compiler.interp.evaluate import evaluate

__all__ = ["evaluate"]
