"""Names of the text and the values of expressions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from snncc.assembler.nodes import Apply, Binary, Expr, Name, NumberNode, Real, Unary
from snncc.assembler.source import Line, Problem
from snncc.isa.lines import suggestion
from snncc.isa.numbers import fp16
from snncc.isa.program.layout import TensorEntry, extent

MAX_BITS: Final = 128
MAX_CHAIN: Final = 64
_MANY: Final = 5000  # with more names than this, suggestions take too long
_REALS: Final = {"inf": float("inf"), "nan": float("nan")}
FUNCTIONS: Final = ("f16", "f32", "sizeof")


@dataclass(slots=True)
class Definition:
    """What a name stands for: a value, or an expression until it is first asked for."""

    kind: str
    line: Line
    expression: Expr | None = None
    columns: int = 0
    value: int | None = None
    tensor: TensorEntry | None = None
    busy: bool = False


@dataclass(frozen=True, slots=True)
class LocalNames:
    """Names that mean something in one place only: labels of the section, the core's number."""

    labels: Mapping[str, int] = field(default_factory=dict[str, int])
    core: int | None = None


NOWHERE: Final = LocalNames()


class Pending(Problem):
    """The value is not known yet; what it depends on stands in the message."""


class Names:
    """The global names and the evaluation of expressions."""

    def __init__(self) -> None:
        self.table: dict[str, Definition] = {}
        self._chain = 0

    def define(self, name: str, definition: Definition, start: int, end: int) -> None:
        """Add a name."""
        old = self.table.get(name)
        if old is not None:
            raise twice(name, old.line, start, end)
        if name in ("core", *_REALS):
            message = f"'{name}' already has a meaning in expressions"
            raise Problem("E0705", message, start, end, help="choose another name")
        self.table[name] = definition

    def value(self, node: Expr, scope: LocalNames = NOWHERE) -> int:
        """Return the integer that an expression stands for."""
        match node:
            case NumberNode():
                return node.value
            case Name():
                return self._lookup(node, scope)
            case Unary():
                inner = self.value(node.operand, scope)
                return -inner if node.op == "-" else ~inner if node.op == "~" else inner
            case Binary():
                left, right = self.value(node.left, scope), self.value(node.right, scope)
                return _checked(node, _binary(node, left, right))
            case Apply():
                return self._apply(node, scope)
            case Real():
                raise Problem(
                    "E0706",
                    "expected an integer, got a number with a fraction",
                    node.start,
                    node.end,
                    help="f16(1.5) and f32(1.5) are the bit patterns of a number",
                )

    def number(self, node: Expr, scope: LocalNames = NOWHERE) -> float | int:
        """Return the number, integer or not, that a data item stands for."""
        match node:
            case Real():
                return node.value
            case Name() if node.name in _REALS and node.name not in self.table:
                return _REALS[node.name]
            case Unary() if node.op in "+-":
                inner = self.number(node.operand, scope)
                if node.op == "-":
                    return -float(inner) if inner == 0 else -inner
                return inner
            case _:
                return self.value(node, scope)

    def _lookup(self, node: Name, scope: LocalNames) -> int:
        if node.name in scope.labels:
            return scope.labels[node.name]
        if node.name == "core":
            if scope.core is None:
                raise Problem(
                    "E0704",
                    "'core' has a value in the instructions and data of a section only",
                    node.start,
                    node.end,
                    help="write it into the operand itself",
                )
            return scope.core
        found = self.table.get(node.name)
        if found is None:
            known = {**self.table, **dict.fromkeys(scope.labels)}
            hint = suggestion(node.name, known) if len(known) < _MANY else ""
            message = f"'{node.name}' is not defined{hint}"
            help = "labels belong to the section of their core; .equ defines a constant"
            raise Problem("E0704", message, node.start, node.end, help=help)
        if found.value is None:
            found.value = self._evaluate(node, found)
        return found.value

    def _evaluate(self, node: Name, found: Definition) -> int:
        if found.expression is None:
            message = f"the address of '{node.name}' is not known before all text is read"
            raise Pending("E0704", message, node.start, node.end, help="give it with addr=")
        if found.busy:
            message = f"'{node.name}' is defined by itself"
            raise Problem("E0706", message, node.start, node.end)
        if self._chain >= MAX_CHAIN:
            message = f"'{node.name}' depends on more than {MAX_CHAIN} later definitions"
            raise Problem("E0706", message, node.start, node.end, help="define before use")
        found.busy = True
        self._chain += 1
        try:
            return self.value(found.expression)
        except Problem as problem:
            problem.start, problem.end = node.start, node.end
            raise
        finally:
            found.busy = False
            self._chain -= 1

    def _apply(self, node: Apply, scope: LocalNames) -> int:
        if node.function == "sizeof":
            tensor = None
            if isinstance(node.argument, Name):
                definition = self.table.get(node.argument.name)
                tensor = definition.tensor if definition else None
            if tensor is None:
                message = "sizeof: expected the name of a tensor that is defined above"
                raise Problem("E0704", message, node.argument.start, node.argument.end)
            low, high = extent(tensor)
            return high - low
        if node.function not in FUNCTIONS:
            message = f"there is no function '{node.function}'; there are {', '.join(FUNCTIONS)}"
            raise Problem("E0706", message, node.start, node.end)
        value = float(self.number(node.argument, scope))
        return int.from_bytes(pack_real(node.function, value), "little")


def pack_real(kind: str, value: float) -> bytes:
    """Return the little-endian binary16 or binary32 of a number, rounded once."""
    if kind == "f16":
        bits = fp16.f64_to_bits(np.array([value], dtype=np.float64))
        return struct.pack("<H", int(bits[0]))
    if value != value:
        return struct.pack("<I", fp16.F32_NAN_BITS)
    with np.errstate(over="ignore"):
        return struct.pack("<f", float(np.float32(value)))


def twice(name: str, before: Line, start: int, end: int) -> Problem:
    """Return the problem of a name that is taken."""
    place = str(before.span())
    return Problem(
        "E0705",
        f"'{name}' is defined twice; first at {place}",
        start,
        end,
        help="rename one of them",
    )


def _binary(node: Binary, left: int, right: int) -> int:
    if node.op in ("<<", ">>") and not 0 <= right <= MAX_BITS:
        message = f"shift by {right}; 0..{MAX_BITS} is possible"
        raise Problem("E0706", message, node.start, node.end)
    if node.op in "/%" and right == 0:
        raise Problem("E0706", "division by zero", node.start, node.end)
    return _OPERATORS[node.op](left, right)


_OPERATORS: Final[Mapping[str, Callable[[int, int], int]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
}


def _checked(node: Expr, value: int) -> int:
    if value.bit_length() > MAX_BITS:
        message = f"the result has more than {MAX_BITS} bits"
        raise Problem("E0706", message, node.start, node.end)
    return value
