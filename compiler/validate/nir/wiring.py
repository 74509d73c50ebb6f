"""The wiring of a NIR graph: nested graphs opened, loops cut, an order of evaluation.

Read from the file's nodes and edges, apart from the importer (docs/nir.md says what an edge means).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from snncc.compiler.frontend.nir.file import NirGraph, NirNode, natural
from snncc.compiler.validate.compare import NotValidated

REMEMBERS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF", "Threshold")
"""Nodes behind which a loop is cut."""


@dataclass(slots=True)
class Wiring:
    """Nodes by full name, what flows into each, and which of these edges come one step late."""

    nodes: dict[str, NirNode] = field(default_factory=dict[str, NirNode])
    sources: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    late: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Edges, as source and target."""
    entry: str = ""
    results: list[str] = field(default_factory=list[str])

    def order(self) -> list[str]:
        """Return the nodes so that each comes after those it does not hear late."""
        missing: dict[str, int] = {}
        targets: dict[str, list[str]] = {n: [] for n in self.sources}
        for name, ins in self.sources.items():
            soon = [s for s in ins if (s, name) not in self.late]
            missing[name] = len(soon)
            for source in soon:
                targets[source].append(name)
        placed = [n for n, count in missing.items() if count == 0]
        for name in placed:  # grows while it is walked
            for target in targets[name]:
                missing[target] -= 1
                if missing[target] == 0:
                    placed.append(target)
        if len(placed) < len(missing):
            raise NotValidated("a loop in which nothing comes late")
        return placed

    def groups(self) -> list[list[str]]:
        """Return nodes on the same loops together, all others alone, in an order of evaluation."""
        targets: dict[str, list[str]] = {n: [] for n in self.sources}
        for name, ins in self.sources.items():
            for source in ins:
                targets[source].append(name)
        rank = {name: i for i, name in enumerate(self.order())}
        found = [sorted(group, key=rank.__getitem__) for group in _loops(targets)]
        return found[::-1]


def _loops(targets: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Strongly connected components, each after those that it leads to (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: dict[str, None] = {}
    found: list[list[str]] = []
    for root in targets:
        work = [(root, iter(targets[root]))] if root not in index else []
        while work:
            name, rest = work[-1]
            if name not in index:
                index[name] = low[name] = len(index)
                open_[name] = None
            target = next(rest, None)
            if target is None:
                work.pop()
                if work:
                    above = work[-1][0]
                    low[above] = min(low[above], low[name])
                if low[name] == index[name]:
                    group = [open_.popitem()[0]]
                    while group[-1] != name:
                        group.append(open_.popitem()[0])
                    found.append(group)
            elif target not in index:
                work.append((target, iter(targets[target])))
            elif target in open_:
                low[name] = min(low[name], index[target])
    return found


def wire(graph: NirGraph) -> Wiring:
    """Return the wiring of what leads to an output."""
    wiring = Wiring()
    _open(graph, "", wiring.nodes)
    edges = list(_edges(graph, ""))
    entries = [n for n, x in graph.nodes.items() if x.kind == "Input"]
    if len(entries) != 1:
        raise NotValidated(f"{len(entries)} Input nodes")
    wiring.entry = entries[0]
    wiring.results = [n for n, x in graph.nodes.items() if x.kind == "Output"]
    heard = _reaching(wiring.results, [(b, a) for a, b in edges])
    kept = heard | {wiring.entry}
    wiring.nodes = {n: x for n, x in wiring.nodes.items() if n in kept}
    wiring.sources = {n: [] for n in wiring.nodes}
    for a, b in edges:
        if a in kept and b in kept:
            wiring.sources[b].append(a)
    _cut(wiring)
    return wiring


def _open(graph: NirGraph, prefix: str, nodes: dict[str, NirNode]) -> None:
    for name, node in graph.nodes.items():
        if node.graph is None:
            nodes[prefix + name] = node
        else:
            _open(node.graph, f"{prefix}{name}.", nodes)


def _edges(graph: NirGraph, prefix: str) -> Iterator[tuple[str, str]]:
    for source, target in graph.edges:
        yield prefix + _door(graph, source, "Output"), prefix + _door(graph, target, "Input")
    for name, node in graph.nodes.items():
        if node.graph is not None:
            yield from _edges(node.graph, f"{prefix}{name}.")


def _door(graph: NirGraph, name: str, kind: str) -> str:
    """Return the node at an edge's end; a graph is entered by its Input and left by its Output."""
    node = graph.nodes.get(name)
    if node is None or node.graph is None:
        return name  # a node, or NODE.PORT of a graph that has several
    (door,) = [n for n, x in node.graph.nodes.items() if x.kind == kind]
    return f"{name}.{_door(node.graph, door, kind)}"


def _reaching(starts: Iterable[str], edges: Iterable[tuple[str, str]]) -> set[str]:
    """Return what can be reached along edges."""
    following: dict[str, list[str]] = {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
    found: set[str] = set()
    todo = list(starts)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += following.get(name, [])
    return found


def _cut(wiring: Wiring) -> None:
    """Make one edge of each loop late: behind the last neuron before the edge that closes it.

    A walk from the input, into the depth and in the natural order of names, meets these edges.
    """
    targets: dict[str, list[str]] = {n: [] for n in wiring.nodes}
    for name, ins in wiring.sources.items():
        for source in ins:
            targets[source].append(name)
    path: dict[str, Iterator[str]] = {}
    done: set[str] = set()
    closing: list[tuple[str, str]] = []

    def enter(name: str) -> None:
        path[name] = iter(sorted(targets[name], key=natural))

    for root in (wiring.entry, *wiring.nodes):
        if root not in done:
            enter(root)
        while path:
            name = next(reversed(path))
            for target in path[name]:
                if target in path:
                    closing.append((name, target))
                elif target not in done:
                    enter(target)
                    break
            else:
                del path[name]
                done.add(name)
    for source, target in closing:
        wiring.late.add(_behind_neuron(wiring, targets, source, target))


def _behind_neuron(
    wiring: Wiring, targets: dict[str, list[str]], source: str, target: str
) -> tuple[str, str]:
    """Move a cut back to where spikes leave a neuron, along nodes with one way in and one out."""
    here, there = source, target
    while wiring.nodes[here].kind not in REMEMBERS:
        if len(wiring.sources[here]) != 1 or len(targets[here]) != 1 or here == target:
            return source, target
        here, there = wiring.sources[here][0], here
    return here, there
