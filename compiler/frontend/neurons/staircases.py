"""Spike functions written with roundings, proved to be steps or stairs of one value.

``ceil(clip(v - 1, 0, 1))`` is 1 where ``v > 1`` and else 0: a comparison.  ``round(clip(v, 0, D))``
is a staircase from 0 by ones: integer spikes.  What a rounding is applied to, less what is a
function of it, is worked out piece by piece (:mod:`pieces`); only a function that is constant on
every piece and goes up from 0 by ones is taken.  Everything else stays arithmetic.

The argument of the surrogate is the value nearest to the rounding of which the result is stairs.
A gradient that the file says itself, ``spikes + mask*(x - x)`` as exporters leave it of
``spikes.detach() + mask*(x - x.detach())``, is that gradient, and no surrogate's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.neurons import pieces
from snncc.compiler.frontend.neurons.pieces import Bent, Pieces
from snncc.compiler.frontend.time.parameters import number
from snncc.compiler.frontend.time.rolled import RNode, constant, make, reachable, resolve, users

ROUNDING = frozenset({"Ceil", "Floor", "Round", "Trunc", "Sign"})
UP, CONE = 4, 40
"""How far up from a rounding its argument is looked for, and how many operators may follow it."""


@dataclass(frozen=True)
class Stairs:
    """Steps of height one: thresholds, whether each is strict, and a window of the gradient."""

    levels: tuple[float, ...]
    strict: tuple[bool, ...]
    window: tuple[float, float, float] | None = None
    """From, to, slope: the gradient that the file says; None: the surrogate's."""

    @staticmethod
    def of(node: RNode) -> Stairs:
        """Return what a node ``Stairs`` computes."""
        found = node.attrs["stairs"]
        assert isinstance(found, Stairs)
        return found


def find_staircases(roots: Sequence[RNode]) -> None:
    """Replace roundings that make steps by comparisons, those that make stairs by ``Stairs``."""
    order = reachable(roots)
    if not any(n.op in ROUNDING for n in order):
        return
    use = users(order)
    place = {n.id: k for k, n in enumerate(order)}
    done: set[int] = set()
    for node in order:
        if node.op not in ROUNDING or node.id in done or resolve(node) is not node:
            continue
        for root in _upwards(node):
            found = _stairs_of(root, node, use, place)
            if found is None:
                continue
            end, stairs, inside = found
            _replace(end, root, stairs)
            done |= inside
            break


def split_signs(roots: Sequence[RNode]) -> None:
    """Write signs that make steps as spike functions: ``(x > 0) + (x >= 0) - 1``, exact at 0, too.

    ``(sign(u) + 1)/2`` is a spike: its gradient is that of the step.  A sign that stays one, of a
    change or a direction, has the gradient zero.
    """
    order = reachable(roots)
    if not any(n.op == "Sign" for n in order):
        return
    use = users(order)
    place = {n.id: k for k, n in enumerate(order)}
    for node in order:
        if node.op != "Sign" or resolve(node.ins[0]).op == "Const":
            continue
        if not any(_stairs_of(root, node, use, place, at_steps=False) for root in _upwards(node)):
            continue
        x, zero = resolve(node.ins[0]), constant(np.zeros((), node.dtype))
        bits = [RNode(op, node.shape, np.dtype(np.bool_), [x, zero], val=node.val)
                for op in ("Greater", "GreaterOrEqual")]  # fmt: skip
        both = [RNode("Cast", node.shape, node.dtype, [b], {"to": node.dtype}, val=node.val)
                for b in bits]  # fmt: skip
        total = RNode("Add", node.shape, node.dtype, both, val=node.val)
        node.op, node.ins = "Sub", [total, constant(np.ones((), node.dtype))]
        node.attrs = {}


def _upwards(node: RNode) -> Iterator[RNode]:
    """Yield what a rounding may make stairs of, the nearest first."""
    for _ in range(UP):
        moving = [i for i in map(resolve, node.ins) if i.op != "Const"]
        if len({i.id for i in moving}) != 1 or node.op not in ELEMENTWISE:
            return
        node = moving[0]
        if node.op == "Const":
            return
        yield node


def _stairs_of(
    root: RNode,
    through: RNode,
    use: dict[int, list[RNode]],
    place: dict[int, int],
    *,
    at_steps: bool = True,
) -> tuple[RNode, Stairs, set[int]] | None:
    """Return a value behind a rounding that is stairs of a root.

    One whose gradient the file says comes first, then a single step.  ``at_steps``: what it is at
    a step itself must be what it is beside it.
    """
    known: dict[int, Pieces] = {root.id: pieces.IDENTITY}
    behind: set[int] = set()
    made: list[tuple[RNode, Stairs]] = []
    waiting = sorted(use.get(root.id, ()), key=lambda n: place[n.id])
    tried: set[int] = set()
    while waiting and len(known) < CONE:
        node = waiting.pop(0)
        if node.id in tried:
            continue
        tried.add(node.id)
        ins = [resolve(i) for i in node.ins]
        ready = all(i.id in known or number(i) is not None for i in ins)
        if node.shape != root.shape or not ready:
            continue
        try:
            parts = [known[i.id] if i.id in known else pieces.constant(number(i) or 0.0)
                     for i in ins]  # fmt: skip
            result = pieces.apply(node.op, node.attrs, parts, len(ins) == 2 and ins[0] is ins[1])
        except (Bent, ValueError, KeyError):
            continue
        known[node.id] = result
        if node is through or any(i.id in behind for i in ins):
            behind.add(node.id)
            stairs = _stairs(result, at_steps)
            if stairs is not None:
                made.append((node, stairs))
        waiting = sorted({*waiting, *use.get(node.id, ())}, key=lambda n: place[n.id])
    if not made:
        return None
    said = [m for m in made if m[1].window is not None]
    single = [m for m in made if len(m[1].levels) == 1]
    end, stairs = (said or single or made)[0]
    return end, stairs, behind


def _stairs(f: Pieces, at_steps: bool) -> Stairs | None:
    """Return the steps of a function that goes up from 0 by ones."""
    if any(not s.flat for s in f.spans) or f.spans[0].c != 0:
        return None
    levels: list[float] = []
    strict: list[bool] = []
    for k, b in enumerate(f.bounds):
        low, high = f.spans[k].c, f.spans[k + 1].c
        if at_steps and f.values[k] not in (low, high):
            return None
        if high == low:
            continue
        if high != low + 1:
            return None
        levels.append(b)
        strict.append(f.values[k] == low)
    if not levels:
        return None
    slopes = {s.d for s in f.spans if s.d}
    if not slopes:
        return Stairs(tuple(levels), tuple(strict))
    inside = [k for k, s in enumerate(f.spans) if s.d]
    whole = inside == list(range(inside[0], inside[-1] + 1))
    low, high = f.ends(inside[0])[0], f.ends(inside[-1])[1]
    if len(slopes) != 1 or not whole:
        return None
    return Stairs(tuple(levels), tuple(strict), (low, high, slopes.pop()))


def _replace(end: RNode, root: RNode, stairs: Stairs) -> None:
    """Let a node compute its stairs from the root."""
    if len(stairs.levels) == 1 and stairs.window is None:
        level = constant(np.asarray(stairs.levels[0], np.float32))
        op = "Greater" if stairs.strict[0] else "GreaterOrEqual"
        bits = make(op, end.shape, np.dtype(np.bool_), [root, level])
        bits.val, bits.vals, bits.start = end.val, end.vals, end.start
        end.op, end.ins, end.attrs = "Cast", [bits], {"to": end.dtype}
        return
    end.op, end.ins = "Stairs", [root]
    end.attrs = {"stairs": stairs}
