"""Where a difference begins: the first op of the import whose values the file does not have.

The two sides share no names, only numbers: a value of the import is known in the file when some
node there has the same numbers in any order, at one step or at all of them.  The first op that is
not known, and that nothing known is computed from, is where the difference begins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from snncc.compiler.ir.build import text
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module, Op, op
from snncc.compiler.validate.arithmetic import STEP, Arithmetic, Array
from snncc.compiler.validate.draws import Point
from snncc.compiler.validate.import_side import Side

PREFIX = "#"
NEAR = 1e-6
LINE = re.compile(r"\d+:\d+$")


def first_difference(
    module: Module,
    point: Point,
    arithmetic: Arithmetic,
    places: Sequence[tuple[str, Array]],
) -> tuple[str, list[str]]:
    """Return the file's node and words about both values; nothing where no place is known."""
    if not places:
        return "", []
    known = _Known(places)
    copy, names = _exposed(module)
    machine = Side(copy, point.module_parameters, arithmetic)
    with np.errstate(all="ignore"):
        found = machine.run("main", point.inputs)
    values = {o: [found[f"out/{n}"] for n in held] for o, held in names.items()}
    good = {o for o, arrays in values.items() if all(known.has(a) for a in arrays)}
    for each in reversed(list(names)):
        if any(user in good for r in each.results for user, _ in r.uses):
            good.add(each)
    for each in names:
        if each not in good and _varies(each):
            return _words(each, values[each], known)
    return "", []


def _exposed(module: Module) -> tuple[Module, dict[Op, list[str]]]:
    """Return a copy with every value as an output, and their names."""
    copy = clone(module)
    body = copy.func("main").body
    names: dict[Op, list[str]] = {}
    for each in list(body.ops):
        if not each.results or each.name in ("graph.param", "graph.const"):
            continue
        held = [f"{PREFIX}{len(names)}.{i}" for i in range(len(each.results))]
        names[each] = held
        for result, name in zip(each.results, held, strict=True):
            body.append(op("graph.output", [result], [], {"name": name}, loc=each.loc))
    return copy, names


def _varies(each: Op) -> bool:
    return each.name not in ("graph.delay", "graph.reshape", "graph.transpose", "graph.expand")


class _Known:
    """The numbers of a file, looked up by what does not depend on their order."""

    def __init__(self, places: Sequence[tuple[str, Array]]) -> None:
        self.places = places
        self.by_size: dict[int, list[Array]] = {}
        for _, a in places:
            self.by_size.setdefault(a.size, []).append(_features(a))
        self.tables = {n: np.array(rows) for n, rows in self.by_size.items()}

    def has(self, a: Array) -> bool:
        """Whether all steps of a value, or the whole, are in the file."""
        if self._one(a):
            return True
        return a.ndim > 0 and a.shape[0] > 0 and all(self._one(step) for step in a)

    def _one(self, a: Array) -> bool:
        table = self.tables.get(a.size)
        if table is None:
            return False
        f = _features(a)
        size = np.maximum(np.abs(table), np.abs(f))
        with np.errstate(invalid="ignore"):
            return bool(np.any(np.all(np.abs(table - f) <= NEAR * size + 1e-12, axis=1)))


def _features(a: Array) -> Array:
    out: list[float] = []
    for part in (np.real(a).astype(np.float64), np.imag(a).astype(np.float64) / STEP):
        flat = part.reshape(-1)
        if not flat.size:
            return np.zeros(8)
        out += [flat.sum(), (flat * flat).sum(), flat.max(), flat.min()]
    return np.asarray(np.nan_to_num(np.array(out), nan=1e300))


def _words(each: Op, arrays: Sequence[Array], known: _Known) -> tuple[str, list[str]]:
    theirs: Mapping[str, Array] = dict(known.places)
    layer = text(each.attrs, "layer", "")
    place = key = str(each.loc).rpartition(":")[2]
    if line := LINE.search(str(each.loc)):  # texts have lines and columns, and layers in them
        place, key = line.group(), layer
    what = each.name.partition(".")[2] + (f" of layer {layer!r}" if layer else "")
    held = arrays[0]
    if key in theirs and held.size > theirs[key].size and held.ndim:
        held = held[-1]  # the place is that of the last step
    ours = _first(held)
    words = [f"the first value that the file does not have is that of {what}"]
    if key in theirs:
        words.append(f"at this node the file starts with {_first(theirs[key])}, the import {ours}")
    else:
        words.append(f"it starts with {ours}")
    return place, words


def _first(a: Array) -> str:
    flat = np.asarray(a).reshape(-1)[:3]
    shown = ", ".join(f"{float(v):.6g}" for v in np.real(flat))
    rates = np.imag(flat) / STEP
    more = ", ".join(f"{float(v):.6g}" for v in rates)
    return f"[{shown}]" + (f" (derivatives [{more}])" if np.iscomplexobj(a) else "")
