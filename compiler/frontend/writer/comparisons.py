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
from snncc.compiler.ir.core import Attribute, Op, Value


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
    asked = _asked(e, node, base, theta)
    if asked is not None:
        return asked
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


def _asked(e: Emitter, node: RNode, base: RNode, theta: RNode) -> Value | None:
    """Return ``spikes > number`` as the spikes themselves: a question that passes no gradient."""
    level = number(theta)
    if base.op == "Const" or level is None:
        return None
    bits = spikes_of(e.value(base))
    if bits is None:
        return None
    compare = ELEMENTWISE[node.op]
    zero, one = (bool(compare([np.asarray(k), np.asarray(level)], {})) for k in (0.0, 1.0))
    b = e.builder(node)
    if zero == one:
        return e.fit(e.number(float(one)), node, e.shape(node))
    assert one, "nothing that grows is above a number at 0 and below at 1"
    spikes, complement = bits
    still = b.one("graph.stop_gradient", spikes)
    return b.one("graph.sub", e.number(1.0), still) if complement else still


def spikes_of(value: Value) -> tuple[Value, bool] | None:
    """Return the bits that a value is, or whose complement 1 - bits it is (then True)."""
    if value.type.dtype == "bit":
        return value, False
    owner = value.owner
    if isinstance(owner, Op) and owner.name == "graph.sub":
        one, bits = owner.operands
        made = one.owner
        if isinstance(made, Op) and made.attrs.get("value") == 1.0 and bits.type.dtype == "bit":
            return bits, True
    return None


@emits("Equal")
def equal(e: Emitter, node: RNode) -> Value:
    """1 where two values are equal, else 0: ``1 - |sign(a - b)|``.  No gradient passes."""
    b = e.builder(node)
    a, c = (b.one("graph.stop_gradient", e.value(i)) for i in node.ins)
    apart = b.one("graph.unary", b.one("graph.sub", a, c), fn="sign")
    same = b.one("graph.sub", e.number(1.0), b.one("graph.unary", apart, fn="abs"))
    attrs: dict[str, Attribute] = {"compare": "strict", "layer": e.namer.layer(node)}
    return b.op("graph.spike", same, e.number(0.5), attrs=attrs).result


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
        low, high = max(low - steps.levels[0], -LARGEST), min(high - steps.levels[0], LARGEST)
        op.attrs["reset"] = "none"  # data enter the spikes: what resets with them passes it too
        op.attrs["surrogate"] = {"name": "window", "low": low, "high": high, "scale": slope}
        known = op.attrs.get("origin")
        origins: Mapping[str, Attribute] = known if isinstance(known, Mapping) else {}
        op.attrs["origin"] = {**origins, "surrogate": "arithmetic"}
    return value


LARGEST = 65504.0


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
