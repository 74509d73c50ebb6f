"""Strongly connected components of a graph that is given by a function.

networkx has them too; importing it takes a third of what ``snncc check`` takes (ADR 0013).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def components(
    nodes: Iterable[Node], following: Callable[[Node], Iterable[Node]]
) -> list[list[Node]]:
    """Return the strongly connected components, each after those that it leads to.

    Tarjan's algorithm, without recursion: time and memory are linear in nodes and edges.
    ``following`` gives the ends of a node's edges; nodes that only it names count, too.
    """
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    stack: list[Node] = []
    inside: set[Node] = set()
    work: list[tuple[Node, Iterator[Node]]] = []
    found: list[list[Node]] = []

    def enter(node: Node) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        inside.add(node)
        work.append((node, iter(following(node))))

    for root in nodes:
        if root not in index:
            enter(root)
        while work:
            node, rest = work[-1]
            for end in rest:
                if end not in index:
                    enter(end)
                    break
                if end in inside:
                    low[node] = min(low[node], index[end])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group: list[Node] = []
                    while not group or group[-1] is not node:
                        group.append(stack.pop())
                        inside.discard(group[-1])
                    found.append(group)
    return found
