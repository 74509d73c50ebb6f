"""The order in which the nodes of an ONNX graph are read."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Iterable, Iterator

import onnx

from snncc.compiler.diag import fail


def ordered(
    nodes: Iterable[onnx.NodeProto], defined: Container[str], where: Callable[[str], str]
) -> Iterator[onnx.NodeProto]:
    """Yield the nodes, each after those that make its inputs; otherwise in the file's order.

    ``defined`` holds the names in sight; the caller adds a node's results before it asks for the
    next one.  What no node makes is not waited for.  A cycle is E0105.
    """
    todo = list(nodes)
    made = {o for n in todo for o in n.output if o}
    waiters: dict[str, list[int]] = {}
    missing: dict[int, int] = {}
    finished: set[str] = set()
    ready: list[int] = []
    for i, n in enumerate(todo):
        needs = {x for x in n.input if x in made and x not in finished and x not in defined}
        if needs:
            missing[i] = len(needs)
            for x in needs:
                waiters.setdefault(x, []).append(i)
            continue
        heapq.heappush(ready, i)
        while ready:
            now = todo[heapq.heappop(ready)]
            yield now
            for o in now.output:
                finished.add(o)
                for w in waiters.pop(o, ()):
                    missing[w] -= 1
                    if not missing[w]:
                        del missing[w]
                        heapq.heappush(ready, w)
    if missing:
        fail("E0105", "the nodes form a cycle", where(todo[min(missing)].name))
