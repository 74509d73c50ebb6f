"""Building ops with inferred result types.

``INFER`` maps an op name to the function that computes its result types from the operand types and
the attributes; the dialects fill it, their verifiers compare with it, and :class:`Builder` uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from snncc.compiler.ir.core import UNKNOWN, Attribute, Block, Location, Op, Type, Value, op
from snncc.compiler.ir.opdef import load_dialects

Attrs: TypeAlias = Mapping[str, Attribute]
Infer: TypeAlias = Callable[[Sequence[Type], Attrs], Sequence[Type]]

INFER: dict[str, Infer] = {}


def check_types(op_: Op) -> Iterator[str]:
    """Yield what differs between an op's result types and the inferred ones (a verifier rule)."""
    infer = INFER.get(op_.name)
    if infer is None:
        return
    try:
        expected = list(infer([v.type for v in op_.operands], op_.attrs))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        yield str(error)
        return
    found = [r.type for r in op_.results]
    if expected != found:
        yield (
            f"has results {', '.join(map(str, found)) or 'none'}, "
            f"expected {', '.join(map(str, expected)) or 'none'}"
        )


class Builder:
    """Appends ops to a block (or inserts them before ``anchor``), with common attributes."""

    def __init__(
        self,
        block: Block,
        loc: Location = UNKNOWN,
        anchor: Op | None = None,
        **common: Attribute,
    ) -> None:
        """``common`` attributes (phase, layer) are given to every op of this builder."""
        self.block = block
        self.loc = loc
        self.anchor = anchor
        self.common: dict[str, Attribute] = dict(common)

    def insert(self, made: Op) -> Op:
        """Put a detached op at the insertion point."""
        if self.anchor is None:
            return self.block.append(made)
        return self.block.insert_before(self.anchor, made)

    def op(
        self,
        name: str,
        /,
        *operands: Value,
        types: Iterable[Type] | None = None,
        regions: Iterable[Block] = (),
        names: Iterable[str] = (),
        attrs: Attrs | None = None,
        **more: Attribute,
    ) -> Op:
        """Add an op; result types are inferred unless given."""
        all_attrs: dict[str, Attribute] = {**self.common, **dict(attrs or {}), **more}
        if types is None:
            if name not in INFER:
                load_dialects()
            infer = INFER.get(name)
            if infer is None:
                raise ValueError(f"{name}: result types must be given")
            types = infer([v.type for v in operands], all_attrs)
        return self.insert(op(name, operands, types, all_attrs, regions, self.loc, names))

    def one(self, name: str, /, *operands: Value, hint: str = "", **attrs: Attribute) -> Value:
        """Add an op with one result and return the result."""
        return self.op(name, *operands, names=(hint,) if hint else (), attrs=attrs).result


# ---------------------------------------------------------------------------- shared type rules


def broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the numpy broadcast of shapes; raise ValueError when they do not fit."""
    rank = max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, d in enumerate(shape, rank - len(shape)):
            if d not in (1, out[i]):
                if out[i] != 1:
                    listed = ", ".join("x".join(map(str, s)) or "scalar" for s in shapes)
                    raise ValueError(f"shapes {listed} do not broadcast")
                out[i] = d
    return tuple(out)


def lift(types: Sequence[Type], shape: Sequence[int], dtype: str) -> Type:
    """Return the result type of an op on every step: seq when any operand is a seq."""
    steps = {t.shape[0] for t in types if t.kind == "seq"}
    if len(steps) > 1:
        raise ValueError(f"operands have different numbers of steps: {sorted(steps)}")
    if steps:
        return Type("seq", (steps.pop(), *shape), dtype)
    return Type("tensor", tuple(shape), dtype)


def step_type(t: Type) -> Type:
    """Return the type of one time step."""
    return Type("tensor", t.step_shape, t.dtype)


def stacked(t: Type, steps: int) -> Type:
    """Return the seq type of a step type."""
    return Type("seq", (steps, *t.shape), t.dtype)


def ints(attrs: Attrs, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Read a tuple of ints."""
    value = attrs.get(key, default)
    if not isinstance(value, tuple):
        raise ValueError(f"attribute {key} is {value!r}, not a list of ints")
    return tuple(int(v) for v in value if isinstance(v, int))


def integer(attrs: Attrs, key: str, default: int | None = None) -> int:
    """Read an int."""
    value = attrs.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"attribute {key} is {value!r}, not an int")
    return value


def number(attrs: Attrs, key: str, default: float | None = None) -> float:
    """Read a number."""
    value = attrs.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"attribute {key} is {value!r}, not a number")
    return float(value)


def stairs_of(attrs: Attrs) -> list[tuple[float, bool]]:
    """Read the steps of a staircase: each level, and whether it is strict."""
    levels, strict = attrs.get("levels"), attrs.get("strict")
    if not isinstance(levels, tuple) or not isinstance(strict, tuple):
        raise ValueError("a staircase needs levels and strict")
    found = [(float(v), s is True) for v, s in zip(levels, strict, strict=True)
             if isinstance(v, (int, float))]  # fmt: skip
    if not found or len(found) != len(levels):
        raise ValueError(f"attribute levels is {levels!r}, not a list of numbers")
    return found


def text(attrs: Attrs, key: str, default: str | None = None) -> str:
    """Read a string."""
    value = attrs.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"attribute {key} is {value!r}, not a string")
    return value


def flag(attrs: Attrs, key: str, default: bool = False) -> bool:
    """Read a bool."""
    value = attrs.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"attribute {key} is {value!r}, not a bool")
    return value
