"""Which inputs of a step graph are states, and which outputs follow them."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE
from snncc.compiler.frontend.flat.flat import FlatGraph, Val

MAX_EXACT = 10


@dataclass(frozen=True, slots=True)
class _Reach:
    """The inputs that a value depends on, as sets of bits: bit i is the i-th input."""

    direct: int = 0
    """Through arithmetic without comparisons."""
    near: int = 0
    """Through arithmetic."""
    far: int = 0
    """In any way."""


_KEEPING = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Expand"})
_COMPARING = frozenset({"Greater", "GreaterOrEqual", "Equal"})


def _reaches(flat: FlatGraph) -> dict[int, _Reach]:
    """Return what each value depends on; constants depend on nothing."""
    found = {v.id: _Reach(1 << i, 1 << i, 1 << i) for i, v in enumerate(flat.inputs)}
    for node in flat.nodes:
        direct = near = far = 0
        for x in node.ins:
            if x is not None and x.id in found:
                one = found[x.id]
                direct, near, far = direct | one.direct, near | one.near, far | one.far
        keeps = node.op in ELEMENTWISE or node.op in _KEEPING
        plain = keeps and node.op not in _COMPARING
        for v in node.outs:
            if v.const is None:
                found[v.id] = _Reach(direct if plain else 0, near if keeps else 0, far)
    return found


def pair_states(flat: FlatGraph) -> dict[int, Val]:
    """Pair inputs that are states with the outputs that hold their next values."""
    rest = flat.inputs[1:]
    if not rest:
        return {}
    scores: list[tuple[float, int, int]] = []
    reaches = _reaches(flat)
    for j, out in enumerate(flat.outputs):
        if out.const is not None or out.node is None:
            continue
        reach = reaches[out.id]
        for i, v in enumerate(rest):
            bit = 2 << i
            if v.shape != out.shape or not reach.far & bit:
                continue
            score = 8.0 if reach.direct & bit else 4.0 if reach.near & bit else 1.0
            score += _likeness(v.name, flat.output_names[j])
            score += 1.0 if len(rest) - i == len(flat.outputs) - j else 0.0
            scores.append((score, i, j))
    return {rest[i].id: flat.outputs[j] for i, j in _assign(scores).items()}


def _likeness(a: str, b: str) -> float:
    common = 0
    for x, y in zip(a.lower(), b.lower(), strict=False):
        if x != y:
            break
        common += 1
    return 1.5 * common / max(len(a), len(b), 1)


def _assign(scores: list[tuple[float, int, int]]) -> dict[int, int]:
    """Return the assignment of inputs to outputs with the highest total score."""
    table: dict[int, list[tuple[float, int]]] = {}
    for score, i, j in scores:
        table.setdefault(i, []).append((score, j))
    if len(table) > MAX_EXACT:
        out: dict[int, int] = {}
        taken: set[int] = set()
        for _, i, j in sorted(scores, reverse=True):
            if i not in out and j not in taken:
                out[i] = j
                taken.add(j)
        return out
    best: dict[frozenset[int], tuple[float, dict[int, int]]] = {frozenset(): (0.0, {})}
    for i, options in table.items():
        grown = dict(best)
        for used, (total, pairs) in best.items():
            for score, j in options:
                key = used | {j}
                if j not in used and total + score > grown.get(key, (-1.0, {}))[0]:
                    grown[key] = (total + score, {**pairs, i: j})
        best = grown
    return max(best.values(), key=lambda found: found[0])[1]
