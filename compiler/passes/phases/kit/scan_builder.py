"""Writes a ``phase.scan``: its parts are collected while its body is being written."""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.build import Builder, step_type
from snncc.compiler.ir.core import Block, Type, Value


class ScanBuilder:
    """Collects the parts of a ``phase.scan``."""

    def __init__(self, b: Builder, steps: int) -> None:
        self.b, self.steps = b, steps
        self.block = Block()
        self.inner = Builder(self.block, b.loc)
        self.carried: list[tuple[Value, Value]] = []  # outer initial value, body value
        self.following: dict[Value, Value] = {}
        self.reads: dict[Value, Value] = {}
        self.outputs: list[Value] = []
        self.last: list[Value] = []
        """The carried values after the last step, once finished."""

    def carry(self, initial: Value, name: str) -> Value:
        """Add a carried value; returns its value at the start of a step."""
        inside = Value(step_type(initial.type), name)
        self.carried.append((initial, inside))
        return inside

    def next(self, inside: Value, value: Value) -> None:
        """Say what a carried value is at the next step."""
        self.following[inside] = value

    def read(self, outer: Value) -> Value:
        """Return the step value of a seq, or a captured tensor."""
        if outer not in self.reads:
            self.reads[outer] = Value(step_type(outer.type), outer.name)
        return self.reads[outer]

    def output(self, value: Value) -> None:
        """Stack a body value over time."""
        self.outputs.append(value)

    def finish(self, names: Sequence[str]) -> list[Value]:
        """Add the scan; returns the stacked outputs."""
        seqs = [v for v in self.reads if v.type.kind == "seq"]
        captured = [v for v in self.reads if v.type.kind != "seq"]
        order = [
            *(inside for _, inside in self.carried),
            *(self.reads[v] for v in (*seqs, *captured)),
        ]
        for i, inside in enumerate(order):
            inside.owner, inside.index = self.block, i
        self.block.args = order
        following = [self.following[inside] for _, inside in self.carried]
        self.inner.op("phase.yield", *following, *self.outputs)
        n = len(self.carried)
        types = [v.type for v in following]
        types += [Type("seq", (self.steps, *v.type.shape), v.type.dtype) for v in self.outputs]
        made = self.b.op(
            "phase.scan", *(initial for initial, _ in self.carried), *seqs, *captured,
            types=types, regions=[self.block], names=[""] * n + list(names),
            carried=n, seqs=len(seqs), captured=len(captured), steps=self.steps,
        )  # fmt: skip
        self.last = made.results[:n]
        return made.results[n:]
