"""Algebra on the rolled graph: constants, neutral elements, views, merging of equal nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from snncc.compiler.frontend.flat.elementwise import COMPARE, ELEMENTWISE, evaluate
from snncc.compiler.frontend.flat.flat import BOOL, Arr, attr_ints
from snncc.compiler.frontend.time.merge_nodes import merge_nodes
from snncc.compiler.frontend.time.parameters import holds_parameter, number
from snncc.compiler.frontend.time.rolled import RNode, reachable, resolve

MAX_CONST = 1 << 22
MAX_ROUNDS = 20
MOVING = ("Input", "SeqInput", "SeqConst", "Delay")
"""What has other values at every step."""


def _until_stable(roots: Sequence[RNode], rewrite: Callable[[RNode], bool]) -> None:
    """Rewrite every node below the roots, and merge equal ones, until nothing changes."""
    for _ in range(MAX_ROUNDS):
        changed = False
        for node in reachable(roots):
            node.ins = [resolve(i) for i in node.ins]
            changed |= rewrite(node)
        changed |= merge_nodes(roots)
        if not changed:
            return


def simplify(roots: Sequence[RNode]) -> None:
    """Simplify everything below the roots, in place."""
    _until_stable(roots, _rewrite)


def _become(node: RNode, other: RNode) -> bool:
    other = resolve(other)
    if other is node:
        return False
    node.alias = other
    return True


def _constant(node: RNode, array: Arr) -> bool:
    node.op, node.const, node.ins, node.attrs = "Const", array, [], {}
    return True


def _rewrite(node: RNode) -> bool:
    op, ins = node.op, node.ins
    if op in ELEMENTWISE:
        return _hoist_last(node) or _elementwise(node)
    if op == "View":
        x = ins[0]
        if x.shape == node.shape:
            return _become(node, x)
        if x.op == "View":
            node.ins = [x.ins[0]]
            return True
        of_file = node.val is not None or not holds_parameter(x)
        if x.const is not None and x.op == "Const" and of_file:
            return _constant(node, x.const.reshape(node.shape))
    if op == "Expand":
        x = ins[0]
        if x.shape == node.shape:
            return _become(node, x)
        if x.op == "Const" and x.const is not None and not holds_parameter(x):
            return _constant(node, np.broadcast_to(x.const, node.shape))
    if op == "Slice":
        size = int(np.prod(node.shape)) == int(np.prod(ins[0].shape))
        if size and all(s == 1 for s in attr_ints(node.attrs, "strides")):
            node.op, node.attrs = "View", {}
            return True
    if op == "TimeReduce" and ins[0].op == "Add" and node.attrs.get("kind") == "last":
        return _accumulator(node, ins[0])
    return False


def _hoist_last(node: RNode) -> bool:
    """The last value of f is f of the last values: neurons see the whole sequence."""
    moving = [i for i in node.ins if i.op != "Const"]
    if not moving or any(
        i.op != "TimeReduce" or i.attrs.get("kind") != "last" or i.shape != i.ins[0].shape
        for i in moving
    ):
        return False
    inner = RNode(node.op, node.shape, node.dtype, [], dict(node.attrs), val=node.val)
    inner.ins = [i if i.op == "Const" else resolve(i.ins[0]) for i in node.ins]
    node.op, node.ins, node.attrs = "TimeReduce", [inner], {"kind": "last"}
    return True


def _accumulator(node: RNode, add: RNode) -> bool:
    """The last value of a running sum is the sum over time."""
    for i in (0, 1):
        d, f = resolve(add.ins[i]), resolve(add.ins[1 - i])
        plain = d.op == "Delay" and d.init is None and len(d.ins) == 1
        if plain and resolve(d.ins[0]) is add:
            node.ins, node.attrs = [f], {"kind": "sum"}
            return f.shape == node.shape
    return False


def _elementwise(node: RNode) -> bool:
    op, ins = node.op, node.ins
    known = all(i.op == "Const" and (_is_setting(i) or not holds_parameter(i)) for i in ins)
    if known and int(np.prod(node.shape)) <= MAX_CONST:
        arrays = [np.asarray(i.const) for i in ins]
        return _constant(node, evaluate(op, arrays, node.attrs).astype(node.dtype))
    x = ins[0]
    if op == "Cast":
        if x.dtype.kind == node.dtype.kind or (x.dtype.kind != "b" and node.dtype.kind == "f"):
            return _become(node, x) if x.dtype.kind in "fb" else False
        return False
    if op == "Where" and number(ins[1]) == 1.0 and number(ins[2]) == 0.0:
        node.op, node.ins, node.attrs = "Cast", [ins[0]], {"to": node.dtype}
        return ins[0].shape == node.shape
    if op == "Equal" and number(ins[1]) == 0.0 and _is_spike(x):
        node.op, node.ins, node.attrs = "Not", [_mask(x)], {"asked": 1}
        return True
    if len(ins) != 2:
        plain = op == "Not" and x.op == "Not" and not (node.attrs or x.attrs)
        return plain and _become(node, resolve(x.ins[0]))
    a, b = ins
    if op in COMPARE and a.op == "Const" and b.op != "Const":  # 0 > u is not (u >= 0)
        opposite = "GreaterOrEqual" if op == "Greater" else "Greater"
        turned = RNode(opposite, node.shape, node.dtype, [b, a], val=node.val)
        node.op, node.ins = "Not", [turned]
        return True
    if op == "Sub" and number(a) == 1.0 and b.op == "Cast" and resolve(b.ins[0]).op == "Not":
        mask = resolve(resolve(b.ins[0]).ins[0])  # 1 - (not s) is s
        if mask.shape == node.shape:
            node.op, node.ins, node.attrs = "Cast", [mask], {"to": node.dtype}
            return True
    if op == "Mul" and (_scale_chain(node, a, b) or _clipped_rate(node)):
        return True
    for k, other, left in ((a, b, True), (b, a, False)):
        value = number(k)
        if value is None or value not in (0.0, 1.0):
            continue
        if op == "Mul" and value == 0.0:
            return _constant(node, np.broadcast_to(np.zeros((), node.dtype), node.shape))
        same = other.shape == node.shape
        neutral = (
            (op == "Mul" and value == 1.0)
            or (op == "Add" and value == 0.0)
            or (op == "Sub" and value == 0.0 and not left)
            or (op == "Div" and value == 1.0 and not left)
        )
        if neutral and same and other.dtype.kind == node.dtype.kind:
            return _become(node, other)
        if op == "Sub" and value == 0.0 and left and same:
            node.op, node.ins = "Neg", [other]
            return True
    return False


def _is_setting(node: RNode) -> bool:
    """Whether a constant is a number that nothing but a neuron has, so far as is known."""
    return node.shape == () and not (node.val is not None and node.val.trained)


def _scale_chain(node: RNode, a: RNode, b: RNode) -> bool:
    """Two multiplications by numbers are one."""
    for x, k in ((a, b), (b, a)):
        outer = number(k)
        if outer is None or x.op != "Mul" or x.shape != node.shape:
            continue
        for y, inner in ((x.ins[0], x.ins[1]), (x.ins[1], x.ins[0])):
            y, inner = resolve(y), resolve(inner)
            factor = number(inner)
            if factor is not None and y.op != "Const" and y.shape == node.shape:
                product = np.asarray(outer * factor, node.dtype)
                node.ins = [y, RNode("Const", (), node.dtype, const=product)]
                return True
    return False


def _clipped_rate(node: RNode) -> bool:
    """A factor that training keeps between two bounds (a leak in snnTorch) is that factor.

    A neuron has its constants from the file; within the bounds both pass the same gradient.  What
    is computed from clipped parameters on the way to other data keeps its bounds.
    """
    for i, k in enumerate(node.ins):
        x = resolve(k.ins[0]) if k.op == "Clip" else k
        if x is k or x.const is None or not holds_parameter(x):
            continue
        moves = any(n.op in MOVING for n in reachable([node.ins[1 - i]]))
        if moves and np.array_equal(evaluate("Clip", [x.const], k.attrs), x.const):
            node.ins[i] = x
            return True
    return False


def _is_spike(node: RNode) -> bool:
    """Whether a node's values are 0 and 1."""
    return node.dtype == BOOL or (node.op == "Cast" and resolve(node.ins[0]).dtype == BOOL)


def _mask(node: RNode) -> RNode:
    return node if node.dtype == BOOL else resolve(node.ins[0])


def hoist_delays(roots: Sequence[RNode]) -> None:
    """Rewrite f(Delay(a), Delay(b)) as Delay(f(a, b)): fewer states, and equal nodes meet."""
    _until_stable(roots, _hoist)


def _hoist(node: RNode) -> bool:
    if node.op not in ELEMENTWISE and node.op != "View":
        return False
    moving = [i for i in node.ins if i.op != "Const"]
    if not moving or any(i.op != "Delay" or len(i.ins) > 1 for i in moving):
        return False
    if any(holds_parameter(i) for i in node.ins):
        return False  # its gradient is no state's
    firsts = [
        np.asarray(i.const)
        if i.op == "Const"
        else i.init
        if i.init is not None
        else np.zeros((), i.dtype)
        for i in node.ins
    ]
    if node.op == "View":
        init = np.broadcast_to(firsts[0], node.ins[0].shape).reshape(node.shape)
    else:
        init = np.asarray(evaluate(node.op, firsts, node.attrs))
    inner = RNode(node.op, node.shape, node.dtype, [], dict(node.attrs), val=node.val)
    inner.ins = [i if i.op == "Const" else resolve(i.ins[0]) for i in node.ins]
    node.op, node.ins, node.attrs = "Delay", [inner], {}
    node.init = init if init.any() else None
    return True
