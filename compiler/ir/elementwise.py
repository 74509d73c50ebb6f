"""Element-wise graph ops as ``ew`` ops: the definition of their arithmetic.

The graph interpreter and the phase pass both emit these.  Bits become 0 and 1 where a number is
needed; ``relu`` is ``max(x, 0)``; ``clip`` is ``min(max(x, low), high)``.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.build import Builder, number, text
from snncc.compiler.ir.core import Attribute, Op, Value
from snncc.compiler.ir.surrogate import constant, normal

BINARY = frozenset(("add", "sub", "mul", "div", "min", "max"))
LOGICAL = frozenset(("and", "or", "iand"))
OTHER = frozenset(("relu", "unary", "clip", "cast", "spike", "select", "stop_gradient"))
ELEMENTWISE = BINARY | LOGICAL | OTHER
_PLAIN = frozenset(("neg", "abs", "sqrt", "floor", "trunc"))


def is_elementwise(op: Op) -> bool:
    """Whether this is an element-wise op of the graph stage."""
    return op.dialect == "graph" and op.name[6:] in ELEMENTWISE


def _number(b: Builder, v: Value) -> Value:
    return b.one("ew.cast", v, to="f16") if v.type.dtype == "bit" else v


def build_elementwise(b: Builder, op: Op, args: Sequence[Value]) -> Value:
    """Emit the ew ops of a graph op on step values."""
    name = op.name[6:]
    if name in BINARY:
        return b.one(f"ew.{name}", *(_number(b, a) for a in args))
    if name == "iand":
        return b.one("ew.and", b.one("ew.not", args[0]), args[1])
    if name in LOGICAL:
        return b.one(f"ew.{name}", *args)
    if name == "select":
        pair = args[1:]
        if {p.type.dtype for p in pair} != {"bit"}:
            pair = [_number(b, p) for p in pair]
        return b.one("ew.select", args[0], *pair)
    if name == "spike":
        spec = normal(op.attrs.get("surrogate"))
        h, theta = (_number(b, a) for a in args)
        more: dict[str, Attribute] = {"compare": text(op.attrs, "compare"), "surrogate": spec}
        more |= {key: op.attrs[key] for key in ("levels", "strict") if key in op.attrs}
        return b.op("ew.spike", h, theta, attrs=more).result
    if name == "stop_gradient":
        return b.one("ew.stop_gradient", args[0])
    x = _number(b, args[0])
    if name == "relu":
        return b.one("ew.max", x, constant(b, 0.0))
    if name == "clip":
        if op.attrs.get("low") is not None:
            x = b.one("ew.max", x, constant(b, number(op.attrs, "low")))
        if op.attrs.get("high") is not None:
            x = b.one("ew.min", x, constant(b, number(op.attrs, "high")))
        return b.one("ew.cast", x, to="f16") if x is args[0] else x
    if name == "cast":
        return b.one("ew.cast", x, to="f16") if x is args[0] else x
    fn = text(op.attrs, "fn")
    if fn in _PLAIN:
        return b.one(f"ew.{fn}", x)
    if fn == "sign":  # no gradient passes
        zero = constant(b, 0.0)
        below = b.one("ew.select", b.one("ew.lt", x, zero), constant(b, -1.0), zero)
        return b.one("ew.select", b.one("ew.gt", x, zero), constant(b, 1.0), below)
    return b.one("ew.table", x, fn=fn)
