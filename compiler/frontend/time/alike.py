"""Which values at different time steps can be one value of the rolled step."""

from __future__ import annotations

from snncc.compiler.frontend.flat.elementwise import COMMUTATIVE, ELEMENTWISE
from snncc.compiler.frontend.flat.flat import Val, attr_key
from snncc.compiler.frontend.time.stepops import data_operands
from snncc.compiler.frontend.time.timing import index_of


def describe(v: Val) -> str:
    """Return what makes a value, for messages."""
    if v.const is not None:
        return "a constant"
    return v.node.op if v.node is not None else f"input {v.name}"


def signature(v: Val, depth: int) -> tuple[object, ...]:
    """What two values at different steps must have in common.

    ``depth``: how many element-wise operators below each other must be the same.  With one, a step
    that an exporter simplified can be taken for another value of the later steps.
    """
    if v.const is not None:
        return ("const",)
    if v.node is None:
        return ("input", v.id)
    index = index_of(v)
    if index is not None and (v.node.op != "Slice" or index.length < index.base.shape[index.axis]):
        return ("index", index.axis, index.length, index.keep, len(v.shape))
    node = v.node
    data = data_operands(node)
    rest = tuple(
        None if x is None else (x.const.tobytes() if x.const is not None else x.id)
        for i, x in enumerate(node.ins)
        if i not in data
    )
    plain = (node.op, v.index, len(node.ins), v.shape, attr_key(node.attrs), rest)
    if depth < 2 or node.op not in ELEMENTWISE:
        return plain
    below = [signature(x, depth - 1) for x in node.ins if x is not None]
    return (plain, *(sorted(below, key=repr) if node.op in COMMUTATIVE else below))


def align(columns: list[list[Val | None]]) -> list[list[Val | None]]:
    """Swap the operands of commutative nodes where that fits the last step better."""
    a, b = columns
    last = (kind(a[-1]), kind(b[-1]))
    if last[0] == last[1]:
        return columns
    for j in range(len(a) - 1):
        here = (kind(a[j]), kind(b[j]))
        if here != last and (
            here == (last[1], last[0])
            or sum(x == y for x, y in zip(here, last, strict=True))
            < sum(x == y for x, y in zip(here, reversed(last), strict=True))
        ):
            a[j], b[j] = b[j], a[j]
    return [a, b]


def kind(v: Val | None) -> tuple[object, ...]:
    """Return what an operand is: its operator and shape."""
    if v is None or v.const is not None:
        return ("const",)
    if v.node is None:
        return ("input", v.id)
    return (v.node.op, v.shape)
