"""A recurrence as a function: the membrane h of the last one, p, and of the inputs."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from snncc.compiler.frontend.flat.elementwise import ELEMENTWISE, evaluate
from snncc.compiler.frontend.flat.flat import Arr
from snncc.compiler.frontend.time.rolled import RNode, reachable, resolve, users

TOLERANCE = 1e-5


class Unfit(Exception):
    """This cycle is not the parametrised neuron."""


@dataclass(slots=True)
class Graph:
    """The nodes below some roots, operands first, with their users."""

    order: list[RNode]
    users: dict[int, list[RNode]]
    place: dict[int, int]

    @staticmethod
    def below(roots: Sequence[RNode]) -> Graph:
        """Return the graph below some roots."""
        order = reachable(roots)
        return Graph(order, users(order), {n.id: i for i, n in enumerate(order)})

    def sort(self, nodes: Iterable[RNode]) -> list[RNode]:
        """Return nodes of the graph in its order."""
        return sorted(nodes, key=lambda n: self.place[n.id])

    def functions_of(self, h: RNode) -> list[RNode]:
        """Return the element-wise nodes that depend on ``h`` and constants alone, h among them."""
        found = {h.id: h}
        waiting = [self.place[h.id]]
        seen = set(waiting)
        while waiting:  # operands first: whether a node's operands are functions is known by then
            node = self.order[heapq.heappop(waiting)]
            ins = [resolve(i) for i in node.ins]
            plain = node.op in ELEMENTWISE or node.op == "View"
            if plain and all(i.id in found or i.op == "Const" for i in ins):
                found[node.id] = node
            elif node is not h:
                continue
            for user in self.users.get(node.id, []):
                at = self.place[user.id]
                if at not in seen:
                    seen.add(at)
                    heapq.heappush(waiting, at)
        return self.sort(found.values())


class NeuronCore:
    """A cycle seen as the function h(p, inputs): p is h one step before."""

    def __init__(self, h: RNode, group: Sequence[RNode], graph: Graph) -> None:
        self.h = h
        self.cycle = {n.id for n in group}
        self.function_nodes = graph.functions_of(h)
        """The functions of h alone, h among them, operands first."""
        self.functions = {n.id for n in self.function_nodes}
        self.inputs: list[RNode] = []
        self.inside: set[int] = set()
        self.delays: list[RNode] = []
        self._walk()

    def _walk(self) -> None:
        stack = [self.h]
        while stack:
            n = stack.pop()
            if n.id in self.inside:
                continue
            if n.op == "Delay":
                if len(n.ins) > 1:
                    raise Unfit("a state that starts from what the model computes")
                if resolve(n.ins[0]).id not in self.functions:
                    raise Unfit("a state that is not a function of the membrane")
                self.inside.add(n.id)
                self.delays.append(n)
            elif n.op == "Const":
                continue
            elif n.id in self.cycle:
                self.inside.add(n.id)
                stack.extend(resolve(i) for i in n.ins)
            elif self._only_delayed(n):
                self.inside.add(n.id)
                stack.extend(resolve(i) for i in n.ins)
            elif n not in self.inputs:
                self.inputs.append(n)

    def _only_delayed(self, n: RNode) -> bool:
        """Whether an element-wise node depends on nothing but this membrane one step before."""
        stack, seen, found = [n], set[int](), False
        while stack:
            x = stack.pop()
            if x.id in seen or x.op == "Const":
                continue
            seen.add(x.id)
            if x.op == "Delay":
                if resolve(x.ins[0]).id not in self.functions:
                    return False
                found = True
            elif x.op in ELEMENTWISE or x.op == "View":
                stack.extend(resolve(i) for i in x.ins)
            else:
                return False
        return found

    def consts(self) -> list[RNode]:
        """Return the constants inside the cycle."""
        out: list[RNode] = []
        seen: set[int] = set()
        stack = [self.h, *(resolve(d.ins[0]) for d in self.delays)]
        while stack:
            n = stack.pop()
            if n.id in seen:
                continue
            seen.add(n.id)
            if n.op == "Const":
                out.append(n)
            elif n.id in self.inside or n.id in self.functions:
                stack.extend(resolve(i) for i in n.ins)
        return out

    def function(self, node: RNode, h: Arr) -> Arr:
        """Evaluate a node that is a function of h alone."""
        return self.evaluate(node, {self.h.id: h}, None)

    def next(self, p: Arr, xs: Sequence[float]) -> Arr:
        """Return h for the previous h = p and inputs filled with numbers."""
        env: dict[int, Arr] = {x.id: np.asarray(v) for x, v in zip(self.inputs, xs, strict=True)}
        return self.evaluate(self.h, env, p)

    def evaluate(self, root: RNode, env: dict[int, Arr], p: Arr | None) -> Arr:
        """Evaluate a node for known nodes and the membrane one step before."""
        known = dict(env)
        stack = [root]
        while stack:
            n = stack[-1]
            if n.id in known:
                stack.pop()
                continue
            if n.op == "Const":
                known[n.id] = np.asarray(n.const, np.float64)
                if n.const is not None and n.const.dtype.kind == "b":
                    known[n.id] = np.asarray(n.const)
            elif n.op == "Delay":
                if p is None:
                    raise Unfit("a state that is not a function of the membrane")
                known[n.id] = self.evaluate(resolve(n.ins[0]), {self.h.id: p}, None)
            else:
                ins = [resolve(i) for i in n.ins]
                todo = [i for i in ins if i.id not in known]
                if todo:
                    stack.extend(todo)
                    continue
                known[n.id] = self._op(n, [known[i.id] for i in ins])
            stack.pop()
        return known[root.id]

    def _op(self, n: RNode, ins: list[Arr]) -> Arr:
        if n.op == "View":
            if ins[0].size == 1:
                return ins[0]
            raise Unfit("a reshape inside the recurrence")
        if n.op not in ELEMENTWISE:
            raise Unfit(f"{n.op} inside the recurrence")
        if n.op == "Cast" and n.dtype.kind == "f":
            return ins[0].astype(np.float64)
        return evaluate(n.op, ins, n.attrs)


def close(a: Arr, b: Arr | float) -> bool:
    """Whether two arrays agree."""
    x, y = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return bool(np.all(np.abs(x - y) <= TOLERANCE * (1.0 + np.abs(x) + np.abs(y))))


def line(core: NeuronCore, points: Sequence[Arr]) -> tuple[Arr, Arr]:
    """Return slope and offset of h(p, 0) through points; raise Unfit when it is no line."""
    zeros = [0.0] * len(core.inputs)
    values = [core.next(p, zeros) for p in points]
    slope = (values[1] - values[0]) / (points[1] - points[0])
    offset = values[0] - slope * points[0]
    for p, v in zip(points[2:], values[2:], strict=True):
        if not close(v, slope * p + offset):
            raise Unfit("the membrane does not depend linearly on its last value")
    return slope, offset
