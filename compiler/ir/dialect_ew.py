"""Dialect ``ew``: element-wise ops inside the regions of ``phase.map`` and ``phase.scan``.

Values are tensors of the element's step shape (a scalar constant has shape ``()``) and broadcast as
in numpy.  An op computes in its result type: ``f16`` rounds once to binary16 (operands are f16),
``f32`` rounds once to binary32 (operands may be f16, widened exactly).  After ``legalize-ew`` each
op is one micro-operation of ``isa/microprograms/table.py``: ``ew.add`` to f16 is ``add.h``, to f32
``add.f``.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.build import (
    INFER,
    Attrs,
    Infer,
    broadcast,
    check_types,
    flag,
    ints,
    number,
    text,
)
from snncc.compiler.ir.core import Type, tensor
from snncc.compiler.ir.opdef import AttrDef, OpDef, dialect, register

BINARY = ("add", "sub", "mul", "div", "min", "max")
UNARY = ("neg", "abs", "sqrt", "trunc", "floor")
COMPARE = ("gt", "ge", "lt", "le", "eq")
TABLES = (
    *("exp", "exp2", "log", "log2", "tanh", "sigmoid", "rsqrt", "recip", "atan"),
    *("erf", "softplus", "sin", "cos"),
)

dialect(
    "ew",
    "Element-wise ops of regions.",
    ("phased",),
    {"phase": AttrDef("str"), "layer": AttrDef("str")},
)


def _shape(t: Sequence[Type]) -> tuple[int, ...]:
    return broadcast([x.shape for x in t])


def _numbers(t: Sequence[Type]) -> str:
    """Result dtype of arithmetic: f32 when any operand is, else f16."""
    kinds = {x.dtype for x in t}
    if not kinds <= {"f16", "f32"}:
        raise ValueError(f"operands are {', '.join(x.dtype for x in t)}, not numbers")
    return "f32" if "f32" in kinds else "f16"


def _arith(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    return [tensor(_shape(t), "f32" if flag(attrs, "wide") else _numbers(t))]


def _half(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    if any(x.dtype != "f16" for x in t):
        raise ValueError("operands must be f16")
    return [tensor(_shape(t), "f16")]


def _compare(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    if not {x.dtype for x in t} <= {"f16", "f32", "i32"}:
        raise ValueError("operands must be numbers")
    return [tensor(_shape(t), "bit")]


def _bits(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    if any(x.dtype != "bit" for x in t):
        raise ValueError("operands must be bits")
    return [tensor(_shape(t), "bit")]


def _select(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    if t[0].dtype != "bit":
        raise ValueError("the first operand must be a bit")
    if t[1].dtype == t[2].dtype == "bit":
        return [tensor(_shape(t), "bit")]
    return [tensor(_shape(t), _numbers(t[1:]))]


def _const(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    number(attrs, "value")
    return [tensor((), text(attrs, "dtype", "f16"))]


def _cast(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    to = text(attrs, "to")
    if (t[0].dtype, to) not in {
        ("f16", "f32"),
        ("f32", "f16"),
        ("bit", "f16"),
        ("i32", "f32"),
        ("f16", "f16"),
    }:
        raise ValueError(f"cannot cast {t[0].dtype} to {to}")
    return [tensor(t[0].shape, to)]


def _spike(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    _half(t, attrs)
    counts = text(attrs, "compare") in ("multi", "stairs")
    return [tensor(_shape(t), "f16" if counts else "bit")]


def _sized(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    return [tensor(ints(attrs, "shape"), text(attrs, "dtype", "f16"))]


def _srnd(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    return [tensor(t[0].shape, "f16")]


def _copy(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    return [t[0]]


_WIDE = {"wide": AttrDef("bool", doc="compute and round in f32 though the operands are f16")}


def _row(
    name: str, doc: str, operands: int, infer: Infer, attrs: dict[str, AttrDef] | None = None
) -> None:
    INFER[f"ew.{name}"] = infer
    register(
        OpDef(f"ew.{name}", doc, (operands, operands), (1, 1), attrs or {}, verify=check_types)
    )


for _name, _doc in zip(
    BINARY, ("a + b", "a - b", "a * b", "a / b", "the smaller", "the larger"), strict=True
):
    _row(_name, _doc, 2, _half if _name in ("min", "max") else _arith, _WIDE)
for _name, _doc in zip(
    UNARY, ("-a", "|a|", "square root", "toward zero", "toward minus infinity"), strict=True
):
    _row(_name, _doc, 1, _arith if _name in ("neg", "sqrt") else _half, _WIDE)
for _name, _doc in zip(COMPARE, ("a > b", "a >= b", "a < b", "a <= b", "a == b"), strict=True):
    _row(_name, _doc + "; false with NaN", 2, _compare)
_row(
    "table",
    "fn(a) by table (isa/numbers/tables.py)",
    1,
    _half,
    {"fn": AttrDef("str", True, choices=TABLES)},
)
_row("and", "both", 2, _bits)
_row("or", "either", 2, _bits)
_row("not", "complement", 1, _bits)
_row("select", "a where the mask is 1, else b; the gradient to the mask is a - b", 3, _select)
_row(
    "const",
    "a constant, shape ()",
    0,
    _const,
    {"value": AttrDef("number", True), "dtype": AttrDef("str", choices=("f16", "f32"))},
)
_row(
    "cast",
    "to another type: f32 to f16 rounds once, a bit becomes 0 or 1",
    1,
    _cast,
    {"to": AttrDef("str", True, choices=("f16", "f32"))},
)


def _expand(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    if broadcast([t[0].shape, ints(attrs, "shape")]) != ints(attrs, "shape"):
        raise ValueError(f"{t[0].shape} does not expand to {attrs['shape']}")
    return [tensor(ints(attrs, "shape"), t[0].dtype)]


_row(
    "expand",
    "a for every element of a larger shape: no micro-operation, a lane holds it already",
    1,
    _expand,
    {"shape": AttrDef("ints", True)},
)
_row("stop_gradient", "a; no gradient passes", 1, _copy)
_row(
    "spike",
    "h > theta (strict), h >= theta (non_strict), trunc(h/theta) where h > 0 (multi), the number "
    "of levels below h (stairs); its derivative is the surrogate at u = h - theta "
    "(compiler/ir/surrogate.py)",
    2,
    _spike,
    {
        "compare": AttrDef("str", True, choices=("strict", "non_strict", "multi", "stairs")),
        "levels": AttrDef("tuple", doc="stairs: where each step is, theta the first"),
        "strict": AttrDef("tuple", doc="stairs: whether h at a level is still below the step"),
        "surrogate": AttrDef("dict", doc="name and parameters"),
    },
)
_row(
    "rand",
    "uniform f16 in [0, 1) of counter stream*2^40 + linear index of the element",
    0,
    _sized,
    {
        "shape": AttrDef("ints", True),
        "stream": AttrDef("int", True),
        "dtype": AttrDef("str", choices=("f16",)),
    },
)
_row(
    "srnd",
    "f32 to f16, stochastic rounding with the word of counter stream*2^40 + index",
    1,
    _srnd,
    {"stream": AttrDef("int", True)},
)
_row(
    "iota",
    "index along step axis axis (f32); axis -1: the time step",
    0,
    _sized,
    {
        "shape": AttrDef("ints", True),
        "axis": AttrDef("int", True),
        "dtype": AttrDef("str", choices=("f32",)),
    },
)
