"""The IR's data structures: types, values, ops, blocks, functions, modules.

One generic SSA structure carries every stage (docs/design/ir.md).  Identity is the object: two
values are the same value only if they are the same Python object; names are for people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail

Array: TypeAlias = npt.NDArray[np.generic]
Attribute: TypeAlias = (
    "int | float | bool | str | tuple[Attribute, ...] | Mapping[str, Attribute] | None"
)
TypeKind: TypeAlias = Literal["tensor", "seq", "dram", "sram"]
DTYPES = ("f16", "f32", "i32", "bit", "u8")


@dataclass(frozen=True, slots=True)
class Type:
    """``tensor<AxBxf16>`` or ``seq<TxBx..xf16>`` (one entry per time step, time leading).

    ``buffer`` types name memory of the tiled stages: ``dram`` or ``sram``.
    """

    kind: TypeKind
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        """Return the textual form."""
        dims = "".join(f"{d}x" for d in self.shape)
        return f"{self.kind}<{dims}{self.dtype}>"

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def step_shape(self) -> tuple[int, ...]:
        """Shape of one time step (a tensor's whole shape)."""
        return self.shape[1:] if self.kind == "seq" else self.shape

    def with_(self, *, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> Type:
        """Return a copy with another shape or dtype."""
        return Type(self.kind, self.shape if shape is None else shape, dtype or self.dtype)


def tensor(shape: Iterable[int], dtype: str = "f16") -> Type:
    """Return a tensor type."""
    return Type("tensor", tuple(int(d) for d in shape), dtype)


def seq(shape: Iterable[int], dtype: str = "f16") -> Type:
    """Return a sequence type; the first dimension is the number of time steps."""
    return Type("seq", tuple(int(d) for d in shape), dtype)


@dataclass(frozen=True, slots=True)
class Location:
    """Where an op came from: ``file:line:col`` or ``model.onnx:/node/path``."""

    text: str

    def __str__(self) -> str:
        """Return the place as written in messages."""
        return self.text


UNKNOWN = Location("?")


@dataclass(eq=False, slots=True)
class Value:
    """A result of an op or a block argument.  ``uses`` are (op, operand index) pairs."""

    type: Type
    name: str = ""
    owner: Op | Block | None = None
    index: int = 0
    uses: list[tuple[Op, int]] = field(default_factory=list["tuple[Op, int]"], repr=False)

    def replace_by(self, other: Value) -> None:
        """Make every user of this value use ``other`` instead."""
        for op, i in list(self.uses):
            op.set_operand(i, other)


@dataclass(eq=False, slots=True)
class Op:
    """One operation.  Build with :func:`op`; operands are kept in step with ``Value.uses``."""

    name: str
    operands: list[Value] = field(default_factory=list["Value"])
    results: list[Value] = field(default_factory=list["Value"])
    attrs: dict[str, Attribute] = field(default_factory=dict[str, Attribute])
    regions: list[Block] = field(default_factory=list["Block"])
    loc: Location = UNKNOWN
    parent: Block | None = None

    @property
    def dialect(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def result(self) -> Value:
        """The only result."""
        if len(self.results) != 1:
            raise ValueError(f"{self.name} has {len(self.results)} results, not one")
        return self.results[0]

    def set_operand(self, index: int, value: Value) -> None:
        """Replace one operand."""
        old = self.operands[index]
        old.uses.remove((self, index))
        self.operands[index] = value
        value.uses.append((self, index))

    def drop_operands(self) -> None:
        """Forget all operands (before erasing)."""
        for i, value in enumerate(self.operands):
            value.uses.remove((self, i))
        self.operands = []

    def erase(self) -> None:
        """Remove from the block; the results must have no users."""
        for r in self.results:
            if r.uses:
                raise ValueError(f"cannot erase {self.name}: %{r.name} is still used")
        for region in self.regions:
            for inner in reversed(list(region.ops)):
                inner.drop_operands()
        self.drop_operands()
        if self.parent is not None:
            self.parent.ops.remove(self)
            self.parent = None

    def walk(self) -> Iterator[Op]:
        """Yield this op and every op inside its regions, outermost first."""
        yield self
        for region in self.regions:
            for inner in list(region.ops):
                yield from inner.walk()

    # Typed access to attributes: a wrong type is a bug of ours, hence ValueError.
    def int_attr(self, key: str, default: int | None = None) -> int:
        """Return an integer attribute."""
        value = self.attrs.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{self.name}: attribute {key} is {value!r}, not an int")
        return value

    def float_attr(self, key: str, default: float | None = None) -> float:
        """Return a number attribute as float."""
        value = self.attrs.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{self.name}: attribute {key} is {value!r}, not a number")
        return float(value)

    def bool_attr(self, key: str, default: bool | None = None) -> bool:
        """Return a boolean attribute."""
        value = self.attrs.get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{self.name}: attribute {key} is {value!r}, not a bool")
        return value

    def str_attr(self, key: str, default: str | None = None) -> str:
        """Return a text attribute."""
        value = self.attrs.get(key, default)
        if not isinstance(value, str):
            raise ValueError(f"{self.name}: attribute {key} is {value!r}, not a string")
        return value

    def ints_attr(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return a tuple of integers."""
        value = self.attrs.get(key, default)
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            raise ValueError(f"{self.name}: attribute {key} is {value!r}, not a list of ints")
        return tuple(int(v) for v in value if isinstance(v, int))

    def strs_attr(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a tuple of strings."""
        value = self.attrs.get(key, default)
        if not isinstance(value, tuple) or not all(isinstance(v, str) for v in value):
            raise ValueError(f"{self.name}: attribute {key} is {value!r}, not a list of strings")
        return tuple(str(v) for v in value)


@dataclass(eq=False, slots=True)
class Block:
    """A list of ops with arguments: a function's body or an op's region."""

    args: list[Value] = field(default_factory=list["Value"])
    ops: list[Op] = field(default_factory=list["Op"])
    parent: Op | Func | None = None

    def add_arg(self, type_: Type, name: str = "") -> Value:
        """Append an argument."""
        value = Value(type_, name, self, len(self.args))
        self.args.append(value)
        return value

    def append(self, op_: Op) -> Op:
        """Append an op."""
        op_.parent = self
        self.ops.append(op_)
        return op_

    def insert(self, index: int, op_: Op) -> Op:
        """Insert an op at a position."""
        op_.parent = self
        self.ops.insert(index, op_)
        return op_

    def insert_before(self, anchor: Op, op_: Op) -> Op:
        """Insert an op before another of this block."""
        return self.insert(self.ops.index(anchor), op_)

    @property
    def terminator(self) -> Op:
        """The last op."""
        return self.ops[-1]


def op(
    name: str,
    operands: Iterable[Value] = (),
    types: Iterable[Type] = (),
    attrs: Mapping[str, Attribute] | None = None,
    regions: Iterable[Block] = (),
    loc: Location = UNKNOWN,
    names: Iterable[str] = (),
) -> Op:
    """Build a detached op; ``names`` are hints for its results."""
    built = Op(name, [], [], dict(attrs or {}), list(regions), loc)
    for region in built.regions:
        region.parent = built
    for i, value in enumerate(operands):
        built.operands.append(value)
        value.uses.append((built, i))
    hints = list(names)
    for i, type_ in enumerate(types):
        built.results.append(Value(type_, hints[i] if i < len(hints) else "", built, i))
    return built


@dataclass(eq=False, slots=True)
class Func:
    """A function: named, with typed arguments (the arguments of its body)."""

    name: str
    body: Block
    attrs: dict[str, Attribute] = field(default_factory=dict[str, Attribute])

    def __post_init__(self) -> None:
        """Tie the body to this function."""
        self.body.parent = self

    def walk(self) -> Iterator[Op]:
        """Yield every op, regions included."""
        for o in list(self.body.ops):
            yield from o.walk()


def sha256_of(array: Array) -> str:
    """Return the SHA-256 of an array's dtype, shape and C-order bytes."""
    h = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()


@dataclass(eq=False, slots=True)
class Module:
    """A compilation unit: attributes, named arrays and functions.

    ``attrs["stage"]`` is ``graph``, ``phased``, ``tiled``, ``mapped`` or ``core``; ``steps`` and
    ``batch`` are the number of time steps and the batch size.
    """

    name: str
    attrs: dict[str, Attribute] = field(default_factory=dict[str, Attribute])
    resources: dict[str, Array] = field(default_factory=dict[str, Array])
    funcs: dict[str, Func] = field(default_factory=dict[str, Func])

    @property
    def stage(self) -> str:
        """The stage attribute."""
        value = self.attrs.get("stage", "graph")
        return value if isinstance(value, str) else "graph"

    @property
    def steps(self) -> int:
        """Number of time steps."""
        value = self.attrs.get("steps", 1)
        return value if isinstance(value, int) else 1

    @property
    def batch(self) -> int:
        """Batch size."""
        value = self.attrs.get("batch", 1)
        return value if isinstance(value, int) else 1

    def func(self, name: str) -> Func:
        """Return a function by name; a module of foreign text may lack it."""
        if name not in self.funcs:
            have = ", ".join(f"@{each}" for each in self.funcs) or "none"
            fail("E0261", f"the module has no function @{name}", help=f"its functions: {have}")
        return self.funcs[name]

    def walk(self) -> Iterator[Op]:
        """Yield every op of every function."""
        for f in self.funcs.values():
            yield from f.walk()
