"""What of a file is made of spikes and constants alone, and what no gradient passes.

Sets of spike functions are bits of Python's integers: bit k is the k-th in order of execution.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from snncc.compiler.validate.onnx.operators import LOCAL, VIEWS
from snncc.compiler.validate.onnx.spike_functions import Jump, chooses
from snncc.compiler.validate.onnx.tape import Step, Tape

STILL = frozenset(("Equal", "Sign", "ArgMax", "ArgMin", "IsNaN", "IsInf", "NonZero"))
"""Operators that no gradient passes, where they are no spike functions."""
COPIES = VIEWS | {"Cast", "CastLike", "Identity"}


class MadeOfSpikes:
    """For every value the spikes of which alone it is made.

    ``between``: what lies between spikes and a value that other data only seem to enter, as in
    ``(spike - soft) + soft``.
    """

    def __init__(self, tape: Tape, jumps: Mapping[int, Jump]) -> None:
        """``jumps``: the spike functions of the file by the number of their value."""
        self.tape, self.jumps = tape, jumps
        self.order = sorted(jumps, key=lambda v: jumps[v].step.index)
        self.bit = {v: 1 << k for k, v in enumerate(self.order)}
        self.made: dict[int, int] = {}
        self.between: set[int] = set()
        self.still: set[int] = set()
        """Values of data that no gradient passes."""
        self.asked: dict[int, int] = {}
        """The spikes of which alone it is made what a spike function compares."""
        self.find_made()

    def find_made(self) -> None:
        """Find what is made of spikes and constants alone."""
        tape, made = self.tape, self.made
        for s in tape.steps:
            local = s.op in LOCAL
            for o in s.outs:
                if o in self.bit:
                    made[o] = self.bit[o]
                    self.asked[o] = self.asked_of(self.jumps[o])
                    continue
                if tape.data[o] and self.stands_still(s):
                    self.still.add(o)
                if not local or not self.moves(o):
                    continue
                data = [i for i in s.ins if i is not None and self.moves(i)]
                own = 0
                for i in data:
                    if i not in made:
                        own = 0
                        break
                    own |= made[i]
                if own:
                    made[o] = own
                elif s.op in ("Add", "Sub"):
                    self.straight_through(o, s)

    def stands_still(self, s: Step) -> bool:
        """Whether no gradient passes a step, whatever its operands: to others it is a constant."""
        if s.op in STILL or chooses(self.tape, s):
            return True
        data = [i for i in s.ins if i is not None and self.tape.data[i]]
        return bool(data) and all(i in self.still for i in data)

    def moves(self, v: int) -> bool:
        """Whether a value is made of data, and a gradient may pass it."""
        return self.tape.data[v] and v not in self.still

    def single(self, s: Step) -> int | None:
        """The one operand of an element-wise step that moves, or None."""
        held = {i for i in s.ins if i is not None and self.moves(i)}
        return held.pop() if len(held) == 1 and s.op in LOCAL else None

    def asked_of(self, jump: Jump) -> int:
        """The spikes of which alone a value is made that is compared with a number, else none."""
        own = 0
        for i in jump.source:
            if self.moves(i):
                if i not in self.made:
                    return 0
                own |= self.made[i]
        return own

    def straight_through(self, o: int, s: Step) -> None:
        """Find ``(spike - soft) + soft`` and its like: other data only seem to enter."""
        x, y = s.ins[0], s.ins[1]
        if x is None or y is None:
            return
        for inner, other, sign in ((x, y, 1), (y, x, 1 if s.op == "Add" else -1)):
            made = self.tape.maker.get(inner)
            if made is None or made.op not in ("Add", "Sub") or None in made.ins:
                continue
            p, q = (i for i in made.ins if i is not None)
            second = 1 if made.op == "Add" else -1  # inner = p + second*q
            outer = -1 if s.op == "Sub" and inner == x else 1  # o = sign*inner + outer*other
            for spikes, soft, weight in ((p, q, second), (q, p, 1)):
                kept = sign * (1 if spikes == p else second)
                if (
                    kept == 1
                    and self.made.get(spikes)
                    and sign * weight + outer == 0
                    and self.same(soft, other)
                ):
                    self.made[o] = self.made[spikes]
                    self.between.update((o, inner))
                    return

    def is_nothing(self, v: int) -> bool:
        """Whether a value is ``x - x`` or a multiple of it: what exporters leave of a gradient."""
        made = self.tape.maker.get(v)
        if made is None or None in made.ins:
            return False
        ins = [i for i in made.ins if i is not None]
        if made.op == "Sub":
            return self.plain(ins[0]) == self.plain(ins[1])
        return made.op == "Mul" and any(self.is_nothing(i) for i in ins)

    def plain(self, v: int) -> int:
        """Return what a value is a copy of."""
        while (made := self.tape.maker.get(v)) is not None and made.op == "Identity":
            first = made.ins[0]
            if first is None:
                break
            v = first
        return v

    def same(self, a: int, b: int) -> bool:
        """Whether two values are one, perhaps computed twice."""
        if a == b:
            return True
        x, y = self.tape.value[a], self.tape.value[b]
        whole = bool(np.all(x == np.rint(x))) if x.dtype.kind == "f" else True
        return not whole and np.array_equal(x, y)

    def is_spikes(self, v: int) -> bool:
        """Whether a value is spikes themselves, as numbers or in another shape."""
        while v not in self.bit and v in self.tape.maker and self.tape.maker[v].op in COPIES:
            first = self.tape.maker[v].ins[0]
            if first is None:
                return False
            v = first
        return v in self.bit

    def bits(self, mask: int) -> Iterator[int]:
        """Yield the spike functions of a set."""
        while mask:
            low = mask & -mask
            yield self.order[low.bit_length() - 1]
            mask ^= low
