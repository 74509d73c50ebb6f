"""Strongly connected components of the element-wise part of the rolled graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from snncc.compiler.frontend.time.rolled import RNode, resolve


def components(nodes: Sequence[RNode], inside: Callable[[RNode], bool]) -> list[list[RNode]]:
    """Return the cycles among the nodes for which ``inside`` holds, operands' cycles first."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on: set[int] = set()
    stack: list[RNode] = []
    found: list[list[RNode]] = []

    def operands(n: RNode) -> list[RNode]:
        return [i for i in map(resolve, n.ins) if inside(i)]

    for root in nodes:
        if root.id in index or not inside(root):
            continue
        work: list[tuple[RNode, list[RNode]]] = [(root, operands(root))]
        index[root.id] = low[root.id] = len(index)
        stack.append(root)
        on.add(root.id)
        while work:
            node, todo = work[-1]
            if todo:
                nxt = todo.pop()
                if nxt.id not in index:
                    index[nxt.id] = low[nxt.id] = len(index)
                    stack.append(nxt)
                    on.add(nxt.id)
                    work.append((nxt, operands(nxt)))
                elif nxt.id in on:
                    low[node.id] = min(low[node.id], index[nxt.id])
                continue
            work.pop()
            if work:
                parent = work[-1][0]
                low[parent.id] = min(low[parent.id], low[node.id])
            if low[node.id] == index[node.id]:
                group: list[RNode] = []
                while True:
                    top = stack.pop()
                    on.discard(top.id)
                    group.append(top)
                    if top is node:
                        break
                if any(n.op == "Delay" for n in group):
                    found.append(group)
    return found
