"""Writing comparisons: spike functions, counts and stairs of spikes, and what is none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snncc.compiler.frontend.flat.elementwise import COMPARE, ELEMENTWISE
from snncc.compiler.frontend.neurons.identify import levels, strip
from snncc.compiler.frontend.neurons.metadata import framework_defaults
from snncc.compiler.frontend.neurons.staircases import Stairs
from snncc.compiler.frontend.time.parameters import holds_parameter, number
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.frontend.writer.base import Emitter, constant_node, emits
from snncc.compiler.frontend.writer.logic import asked
from snncc.compiler.ir.core import Attribute, Op, Value
from snncc.isa.numbers.fp16 import MAX_FINITE


@emits(*COMPARE)
def spike(e: Emitter, node: RNode) -> Value:
    """A comparison that belongs to no recognised neuron: a threshold of its own."""
    found = None if levels(node) else strip(node)
    if found is None:
        base, theta = (resolve(i) for i in node.ins)
        if number(theta) == 0.0 and base.op == "Sub" and resolve(base.ins[0]).op != "Const":
            base, theta = (resolve(i) for i in base.ins)
    else:
        base, theta = found[0], constant_node(found[1])
        moving = base.op == "Sub" and resolve(base.ins[0]).op != "Const"
        if moving and theta.uniform == 0.0:  # a threshold that changes
            base, theta = (resolve(i) for i in base.ins)
    question = asked(e, node, base, theta)
    if question is not None:
        return question
    compare = "strict" if node.op == "Greater" else "non_strict"
    if _is_rank(theta, base) or _is_rank(base, theta):
        return _choice(e, node, base, theta, compare)
    return _spike(e, node, base, theta, compare)


RANKED = frozenset({"View", "Slice", "Take", "Transpose", "Concat", "Expand", "Neg"})


def _is_rank(node: RNode, of: RNode) -> bool:
    """Whether a node is computed from another alone, as its maximum or one of its first k.

    ``v >= max(v)`` chooses neurons, it is no spike function.
    """
    ranked, todo, seen = False, [resolve(node)], {resolve(of).id}
    while todo:
        x = todo.pop()
        if x.id in seen or x.op == "Const":
            continue
        seen.add(x.id)
        greatest = x.op == "Reduce" and x.attrs.get("kind") == "max"
        chosen = x.op == "Reduce" and x.ins[0].op == "Mul"
        if x.op == "FirstMaximum" or greatest:
            ranked = True
        elif not (chosen or x.op in RANKED or (x.op in ("Mul", "Sub", "Min") and ranked)):
            return False
        todo.extend(map(resolve, x.ins if not chosen else x.ins[0].ins))
    return ranked


def _choice(e: Emitter, node: RNode, a: RNode, b: RNode, compare: str) -> Value:
    build = e.builder(node)
    left, right = (build.one("graph.stop_gradient", e.value(i)) for i in (a, b))
    attrs: dict[str, Attribute] = {"compare": compare, "layer": e.namer.layer(node)}
    return build.op("graph.spike", left, right, attrs=attrs).result


@emits("Equal")
def equal(e: Emitter, node: RNode) -> Value:
    """1 where two values are equal: ``a >= b`` and ``b >= a``.  No gradient passes."""
    a, b = (resolve(i) for i in node.ins)
    for base, level in ((a, b), (b, a)):
        question = asked(e, node, base, level)
        if question is not None:
            return question
    sides = [_choice(e, node, *pair, "non_strict") for pair in ((a, b), (b, a))]
    return e.builder(node).one("graph.and", *sides)


@emits("Count")
def count(e: Emitter, node: RNode) -> Value:
    """Spikes that are counted."""
    return _spike(e, node, resolve(node.ins[0]), resolve(node.ins[1]), "multi")


@emits("Stairs")
def stairs(e: Emitter, node: RNode) -> Value:
    """Integer spikes: as many as there are levels below the membrane."""
    steps = Stairs.of(node)
    theta = constant_node(np.asarray(steps.levels[0], np.float32))
    value = _spike(e, node, resolve(node.ins[0]), theta, "stairs")
    op = value.owner
    assert isinstance(op, Op)
    op.attrs |= {"levels": steps.levels, "strict": steps.strict}
    if steps.window is not None:
        low, high, slope = steps.window
        low, high = max(low - steps.levels[0], -MAX_FINITE), min(high - steps.levels[0], MAX_FINITE)
        op.attrs["reset"] = "none"  # data enter the spikes: what resets with them passes it too
        op.attrs["surrogate"] = {"name": "window", "low": low, "high": high, "scale": slope}
        known = op.attrs.get("origin")
        origins: Mapping[str, Attribute] = known if isinstance(known, Mapping) else {}
        op.attrs["origin"] = {**origins, "surrogate": "arithmetic"}
    return value


@emits("Limited")
def limited(e: Emitter, node: RNode) -> Value:
    """At most so many spikes a step; the gradient is that of all."""
    x, top = (e.value(i) for i in node.ins)
    b = e.builder(node)
    beyond = b.one("graph.relu", b.one("graph.sub", x, top))
    said: dict[str, Attribute] = {"origin": {"gradient": "pattern"}}
    kept = b.op("graph.stop_gradient", beyond, attrs=said).result
    return b.one("graph.sub", x, kept)


def _spike(e: Emitter, node: RNode, base: RNode, theta: RNode, compare: str) -> Value:
    attrs: dict[str, Attribute] = {"compare": compare, "layer": e.namer.layer(node)}
    source = node.val.node if node.val is not None else None
    guess = (
        None if source is None else framework_defaults(source, source, _recurs(node), e.framework)
    )
    if guess is not None:
        attrs |= {"surrogate": guess.surrogate, "reset_gradient": guess.reset_gradient}
        attrs["origin"] = dict.fromkeys(("surrogate", "reset_gradient"), guess.origin)
    b = e.builder(node)
    h = e.value(base)
    fixed = theta.op == "Const" and not holds_parameter(theta)
    if theta.op == "Const" and not fixed and not theta.shape:
        level = e.operand(theta, "threshold", 1)  # its name is known, as that of a neuron's is
    else:
        level = e.const(theta) if fixed else e.value(theta)
    if theta.op != "Const" and guess is not None and guess.framework == "sinabs":
        # a convention of that framework, which the file does not say: its spikes pass nothing to
        # their threshold
        said: dict[str, Attribute] = {"origin": {"gradient": guess.origin}}
        level = b.op("graph.stop_gradient", level, attrs=said).result
    return b.op("graph.spike", h, level, attrs=attrs).result


def _recurs(spike: RNode) -> bool:
    """Whether spikes come back to their own threshold through one layer of weights."""
    stack, seen = [(i, False) for i in spike.ins], set[tuple[int, bool]]()
    while stack:
        x, weighted = resolve(stack[-1][0]), stack.pop()[1]
        if x is spike and weighted:
            return True
        if (x.id, weighted) in seen or x.op in COMPARE:
            continue
        seen.add((x.id, weighted))
        product = x.op in ("Gemm", "MatMul", "Conv")
        if product and weighted:
            continue
        if product or x.op in ELEMENTWISE or x.op in ("Delay", "View", "Neuron", "Membrane"):
            stack.extend((i, weighted or product) for i in x.ins)
    return False
