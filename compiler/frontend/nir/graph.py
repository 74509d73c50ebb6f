"""The NIR graph made flat: nested graphs inlined, edges sorted, cycles cut.

An edge that closes a cycle takes one time step.  Which edges those are does not depend on the order
in the file: a depth-first walk from the input (names in natural order) finds the edges that lead
back, and the cut moves from there against the direction of flow to where the spikes leave a neuron.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from snncc.compiler.diag import fail
from snncc.compiler.frontend.nir.file import NirGraph, NirNode, natural

NEURONS = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
SPIKING = ("IF", "LIF", "CubaLIF", "Threshold")
WIRES = ("Input", "Output", "NIRGraph")


@dataclass(slots=True)
class FlatNode:
    """A node with where its input comes from; several sources are added."""

    node: NirNode
    ins: list[str] = field(default_factory=list[str])
    delayed: set[str] = field(default_factory=set[str])
    """Those of ``ins`` that come one step late."""

    @property
    def kind(self) -> str:
        """The NIR type."""
        return self.node.kind


@dataclass(slots=True)
class FlatNir:
    """Nodes by full name, the input, the outputs."""

    nodes: dict[str, FlatNode]
    input: str
    outputs: list[str]

    def order(self) -> list[str]:
        """Return the names so that each follows its sources, late ones excepted."""
        done: set[str] = set()
        out: list[str] = []
        for root in self.nodes:
            work = [(root, False)]
            while work:
                name, ready = work.pop()
                if ready:
                    out.append(name)
                elif name not in done:
                    done.add(name)
                    work.append((name, True))
                    node = self.nodes[name]
                    work += [(i, False) for i in reversed(node.ins) if i not in node.delayed]
        return out


def flatten(graph: NirGraph, file: str) -> FlatNir:
    """Inline nested graphs, keep what leads to an output, and cut the cycles."""
    nodes: dict[str, FlatNode] = {}
    _inline(graph, "", nodes, file)
    top = [n for n, x in graph.nodes.items() if x.kind == "Input"]
    outputs = [n for n, x in graph.nodes.items() if x.kind == "Output"]
    if not outputs:
        fail("E0105", "the graph has no Output node", file)
    if len(top) != 1:
        found = "no Input node" if not top else f"{len(top)} Input nodes ({', '.join(top)})"
        fail("E0104", f"the graph has {found}; exactly one is supported", file)
    used: set[str] = set()
    todo = [*outputs]
    while todo:
        name = todo.pop()
        if name not in used:
            used.add(name)
            todo += nodes[name].ins
    kept = {n: x for n, x in nodes.items() if n in used or n == top[0]}
    for name, x in kept.items():
        if not x.ins and name != top[0]:
            fail("E0105", f"{x.kind} has no input", f"{file}:{name}")
    flat = FlatNir(kept, top[0], outputs)
    if not used & {top[0]}:
        fail("E0105", "no path leads from the input to an output", file)
    _cut(flat)
    return flat


def _inline(graph: NirGraph, prefix: str, nodes: dict[str, FlatNode], file: str) -> None:
    for name, node in graph.nodes.items():
        full = prefix + name
        nodes[full] = FlatNode(node)
        if node.graph is not None:
            _inline(node.graph, full + ".", nodes, file)
    for source, target in graph.edges:
        where = f"{file}:{prefix.rstrip('.')}" if prefix else file
        tail = prefix + _end(graph, source, "Output", where)
        head = prefix + _end(graph, target, "Input", where)
        nodes[head].ins.append(tail)


def _end(graph: NirGraph, name: str, port: str, where: str) -> str:
    """Return the node that an edge ends at; for a nested graph its only input or output."""
    node = graph.nodes.get(name)
    if node is None:
        outer, _, inner = name.rpartition(".")
        outer_node = graph.nodes.get(outer)
        if outer_node is not None and outer_node.graph is not None:
            if inner in outer_node.graph.nodes and outer_node.graph.nodes[inner].kind == port:
                return name
        known = ", ".join(list(graph.nodes)[:12])
        fail("E0105", f"an edge names the node {name!r}, which does not exist", where,
             help=f"the nodes here: {known}")  # fmt: skip
    if node.graph is None:
        return name
    ports = [n for n, x in node.graph.nodes.items() if x.kind == port]
    if len(ports) != 1:
        fail("E0105", f"the nested graph has {len(ports)} {port} nodes; an edge to it needs one",
             f"{where}:{name}")  # fmt: skip
    return f"{name}.{_end(node.graph, ports[0], port, where)}"


def _cut(flat: FlatNir) -> None:
    """Mark the edges that take a step."""
    nexts: dict[str, list[str]] = {n: [] for n in flat.nodes}
    for name, x in flat.nodes.items():
        for i in x.ins:
            nexts[i].append(name)
    for n in nexts:
        nexts[n].sort(key=natural)
    state: dict[str, int] = {}
    back: list[tuple[str, str]] = []
    for root in (flat.input, *flat.nodes):
        if root in state:
            continue
        work = [(root, iter(nexts[root]))]
        state[root] = 1
        while work:
            name, rest = work[-1]
            nxt = next(rest, None)
            if nxt is None:
                state[name] = 2
                work.pop()
            elif nxt not in state:
                state[nxt] = 1
                work.append((nxt, iter(nexts[nxt])))
            elif state[nxt] == 1:
                back.append((name, nxt))
    for tail, head in back:
        source, target = tail, head
        while flat.nodes[source].kind not in (*NEURONS, "Threshold"):
            ins = flat.nodes[source].ins
            if len(ins) != 1 or len(nexts[source]) != 1 or source == head:
                source, target = tail, head
                break
            source, target = ins[0], source
        flat.nodes[target].delayed.add(source)
