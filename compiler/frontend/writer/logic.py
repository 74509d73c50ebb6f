"""Writing truth values: And, Or, Not, questions about spikes, and what is chosen by them.

A truth value is a bit or ``1 - bit``, or a number where it does not depend on data.  The chip has
``and``, ``or`` and ``(not a) and b`` of bits, so a complement is carried along until it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import attr_int
from snncc.compiler.frontend.time.parameters import number
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.frontend.writer.base import Emitter, emits
from snncc.compiler.ir.core import Op, Value


@dataclass(frozen=True)
class Truth:
    """A bit, or its complement."""

    bit: Value
    complement: bool = False


def truth_of(value: Value) -> Truth | bool | None:
    """Read a value as a truth value; a bool where it is a number, None where it is none."""
    owner = value.owner
    if isinstance(owner, Op):
        if owner.name == "graph.const" and owner.attrs.get("value") in (0.0, 1.0):
            return owner.attrs["value"] == 1.0
        if owner.name == "graph.expand":
            inner = truth_of(owner.operands[0])
            return inner if isinstance(inner, bool) else _bit(value)
        if owner.name == "graph.sub":
            one, bit = owner.operands
            if bit.type.dtype == "bit" and truth_of(one) is True:
                return Truth(bit, True)
    return _bit(value)


def _bit(value: Value) -> Truth | None:
    return Truth(value) if value.type.dtype == "bit" else None


def _written(e: Emitter, node: RNode, truth: Truth | bool) -> Value:
    if isinstance(truth, bool):
        return e.fit(e.number(float(truth)), node, e.shape(node))
    if truth.complement:
        return e.builder(node).one("graph.sub", e.number(1.0), truth.bit)
    return truth.bit


def _operand(e: Emitter, node: RNode, i: RNode) -> Truth | bool:
    truth = truth_of(e.value(i))
    if truth is None:
        e.unsupported(node, f"{node.op} of a value that is no comparison and no spikes",
                      "supported: truth values that comparisons make")  # fmt: skip
    return truth


def _not(truth: Truth | bool) -> Truth | bool:
    if isinstance(truth, bool):
        return not truth
    return Truth(truth.bit, not truth.complement)


def _and(e: Emitter, node: RNode, a: Truth | bool, b: Truth | bool) -> Truth | bool:
    for one, other in ((a, b), (b, a)):
        if isinstance(one, bool):
            return other if one else False
    assert isinstance(a, Truth)
    assert isinstance(b, Truth)
    build = e.builder(node)
    if a.complement and b.complement:
        return Truth(build.one("graph.or", a.bit, b.bit), True)
    if a.complement or b.complement:
        left, right = (a, b) if a.complement else (b, a)
        return Truth(build.one("graph.iand", left.bit, right.bit))
    return Truth(build.one("graph.and", a.bit, b.bit))


@emits("Not")
def negation(e: Emitter, node: RNode) -> Value:
    """1 - bit.  ``spikes == 0`` is a question (``asked``), to which no gradient passes."""
    truth = _not(_operand(e, node, node.ins[0]))
    if attr_int(node.attrs, "asked", 0):
        truth = still(e, node, truth)
    return _written(e, node, truth)


@emits("And")
def both(e: Emitter, node: RNode) -> Value:
    """Both."""
    a, b = (_operand(e, node, i) for i in node.ins)
    return _written(e, node, _and(e, node, a, b))


@emits("Or")
def either(e: Emitter, node: RNode) -> Value:
    """Either: not (neither)."""
    a, b = (_operand(e, node, i) for i in node.ins)
    if isinstance(a, Truth) and isinstance(b, Truth) and not (a.complement or b.complement):
        return e.builder(node).one("graph.or", a.bit, b.bit)
    return _written(e, node, _not(_and(e, node, _not(a), _not(b))))


@emits("Where")
def where_(e: Emitter, node: RNode) -> Value:
    """A where mask else b."""
    mask, a, b = (resolve(i) for i in node.ins)
    truth = _operand(e, node, mask)
    if isinstance(truth, bool):
        return e.fit(e.value(a if truth else b), node, e.shape(node))
    if any(i.op != "Const" and i.id not in e.fixed for i in (a, b)):
        # a choice of data passes no gradient to what chooses; one of numbers is a spike function
        truth = still(e, node, truth)
        assert isinstance(truth, Truth)
    values = (e.value(i) for i in ((b, a) if truth.complement else (a, b)))
    return e.builder(node).one("graph.select", truth.bit, *values)


def still(e: Emitter, node: RNode, truth: Truth | bool) -> Truth | bool:
    """Return a truth value that no gradient passes."""
    if isinstance(truth, bool):
        return truth
    return Truth(e.builder(node).one("graph.stop_gradient", truth.bit), truth.complement)


def asked(e: Emitter, node: RNode, base: RNode, theta: RNode) -> Value | None:
    """Return ``spikes > number``, or ``==``, as the spikes: a question that passes no gradient."""
    level = number(theta)
    if base.op == "Const" or level is None:
        return None
    spikes = truth_of(e.value(base))
    if not isinstance(spikes, Truth):
        return None
    compare = ELEMENTWISE[node.op]
    zero, one = (bool(compare([np.asarray(k), np.asarray(level)], {})) for k in (0.0, 1.0))
    if zero == one:
        return _written(e, node, one)
    return _written(e, node, still(e, node, spikes if one else _not(spikes)))
