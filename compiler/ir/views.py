"""Read-only networkx views of a module, for analyses and drawings.  The IR itself is no graph."""

from __future__ import annotations

from collections.abc import Iterable

import networkx as nx

from snncc.compiler.ir.core import Block, Func, Op, Value


def dataflow(func: Func) -> nx.MultiDiGraph[Op]:
    """Return the top-level ops of a function with one edge per use of a result.

    Edges carry ``value``, ``operand`` (index at the user).  A use inside a region counts as a use
    by the top-level op that holds the region.
    """
    graph: nx.MultiDiGraph[Op] = nx.MultiDiGraph()
    graph.add_nodes_from(func.body.ops)
    for op in func.body.ops:
        for result in op.results:
            for user, index in result.uses:
                graph.add_edge(op, top_level(user, func.body), value=result, operand=index)
    return graph


def top_level(op: Op, body: Block) -> Op:
    """Return the op of ``body`` that is, or holds, ``op``."""
    while op.parent is not body:
        holder = op.parent.parent if op.parent is not None else None
        if not isinstance(holder, Op):
            raise ValueError(f"{op.name} does not lie in this function")
        op = holder
    return op


def layers(func: Func) -> nx.DiGraph[str]:
    """Return the graph of layer names (attribute ``layer``), in the order of the text.

    Nodes carry ``ops``; an edge says that one layer's result reaches another, through ops without
    a layer if need be, and carries the ``values`` that arrive.  Self-loops are left out.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    members: dict[str, list[Op]] = {}
    reached: dict[Value, frozenset[str]] = {}
    edges: dict[tuple[str, str], list[Value]] = {}
    for op in func.body.ops:
        layer = op.attrs.get("layer")
        sources = _union(reached.get(value, frozenset()) for value in op.operands)
        if isinstance(layer, str) and layer:
            members.setdefault(layer, []).append(op)
            for value in op.operands:
                for source in sorted(reached.get(value, frozenset())):
                    edges.setdefault((source, layer), []).append(value)
            sources = frozenset({layer})
        reached.update((result, sources) for result in op.results)
    for layer, ops in members.items():
        graph.add_node(layer, ops=ops)
    for (source, target), values in edges.items():
        if source != target:
            graph.add_edge(source, target, values=list(dict.fromkeys(values)))
    return graph


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)
