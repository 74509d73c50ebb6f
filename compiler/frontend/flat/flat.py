"""The flat graph: an ONNX file with functions inlined, loops unrolled and every shape known.

Values are numbered in topological order.  A value whose content is known at import time carries it
in ``const``; ``param`` is the initializer's name in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

# Any: element types are known only from the file; they are kept beside the array in ``Val.dtype``.
Arr: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
DType: TypeAlias = np.dtype[Any]
AttrValue: TypeAlias = object
"""int, float, str, tuples of these, an array, a nested graph or None; read with ``attr_*``."""
Attrs: TypeAlias = Mapping[str, AttrValue]

F32: DType = np.dtype(np.float32)
I64: DType = np.dtype(np.int64)
BOOL: DType = np.dtype(np.bool_)


@dataclass(eq=False, slots=True)
class Val:
    """A tensor of the flat graph."""

    id: int
    shape: Shape
    dtype: DType
    node: OperatorNode | None = None
    index: int = 0
    name: str = ""
    const: Arr | None = None
    param: str = ""
    """Name as an initializer of the file."""
    made_up: bool = False
    """Whether that name is no parameter's (``exporter_names``)."""
    fixed: bool = False
    """The same for every input: a constant, or computed from parameters alone."""
    trained: bool = False
    """Computed from a parameter of several elements: kept as it is computed."""

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n


@dataclass(eq=False, slots=True)
class OperatorNode:
    """An operator; ``ins`` holds None for an optional input that is absent."""

    op: str
    ins: tuple[Val | None, ...]
    attrs: Attrs
    name: str
    order: int
    outs: list[Val] = field(default_factory=list["Val"])
    meta: Mapping[str, str] = field(default_factory=dict[str, str])
    hints: Mapping[str, AttrValue] = field(default_factory=dict[str, AttrValue])

    def val(self, i: int) -> Val:
        """Return a required input."""
        v = self.ins[i] if i < len(self.ins) else None
        if v is None:
            raise ValueError(f"input {i} of {self.op} is missing")
        return v


@dataclass(slots=True)
class FlatGraph:
    """A whole model: data inputs, named outputs, all nodes in topological order."""

    file: str
    inputs: list[Val] = field(default_factory=list["Val"])
    outputs: list[Val] = field(default_factory=list["Val"])
    output_names: list[str] = field(default_factory=list[str])
    nodes: list[OperatorNode] = field(default_factory=list["OperatorNode"])
    producer: str = ""
    copies: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Initializers that are taken for the transpose of another one."""


def attr_int(attrs: Attrs, key: str, default: int) -> int:
    """Read an integer attribute."""
    v = attrs.get(key, default)
    if isinstance(v, int):
        return v
    raise ValueError(f"attribute {key} is {v!r}, not an integer")


def attr_float(attrs: Attrs, key: str, default: float) -> float:
    """Read a number attribute."""
    v = attrs.get(key, default)
    if isinstance(v, (int, float)):
        return float(v)
    raise ValueError(f"attribute {key} is {v!r}, not a number")


def attr_str(attrs: Attrs, key: str, default: str) -> str:
    """Read a text attribute."""
    v = attrs.get(key, default)
    if isinstance(v, str):
        return v
    raise ValueError(f"attribute {key} is {v!r}, not a text")


def attr_ints(attrs: Attrs, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Read a list of integers."""
    v = attrs.get(key)
    if v is None:
        if default is None:
            raise ValueError(f"attribute {key} is missing")
        return default
    if isinstance(v, tuple):
        return tuple(int(i) for i in cast("tuple[int, ...]", v))
    raise ValueError(f"attribute {key} is {v!r}, not a list of integers")


def attr_dtype(attrs: Attrs, key: str) -> DType:
    """Read an element type."""
    v = attrs.get(key)
    if isinstance(v, np.dtype):
        return np.dtype(v.str)
    raise ValueError(f"attribute {key} is {v!r}, not an element type")


def attr_key(attrs: Attrs) -> tuple[object, ...]:
    """Return a hashable form of attributes."""
    parts: list[object] = []
    for k in sorted(attrs):
        v = attrs[k]
        if isinstance(v, np.ndarray):
            a = cast("Arr", v)
            v = (a.dtype.str, a.shape, a.tobytes())
        parts.append((k, v))
    return tuple(parts)


def prod(dims: Shape) -> int:
    """Return the product of dimensions."""
    n = 1
    for d in dims:
        n *= d
    return n
