"""The interpreter of the graph and phased stages."""

from snncc.compiler.interp.evaluate import evaluate

__all__ = ["evaluate"]
