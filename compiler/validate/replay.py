"""A recorded file evaluated again, at other inputs and parameters and in either arithmetic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.compare import Evaluation, NotValidated
from snncc.compiler.validate.operators import (
    VIEWS,
    Call,
    UnknownOperator,
    number,
    operator_named,
)
from snncc.compiler.validate.reset_paths import Resets, find_resets
from snncc.compiler.validate.spike_functions import COMPARISONS, Jump, spike_functions
from snncc.compiler.validate.tape import Step, Tape


class Replay:
    """A tape, its outputs by name, and what is found out about its spikes once."""

    def __init__(self, tape: Tape, outputs: Mapping[str, int], kinds: Mapping[str, str]) -> None:
        """``kinds``: inputs that are no real numbers."""
        self.tape, self.outputs, self.kinds = tape, outputs, kinds
        self.steps = self._used()
        self.jumps: dict[int, Jump] = spike_functions(tape)
        self._resets: Resets | None = None

    @property
    def resets(self) -> Resets:
        """The reset paths."""
        if self._resets is None:
            self._resets = find_resets(self.tape, self.jumps)
        return self._resets

    def _used(self) -> list[Step]:
        """Steps that an output depends on and that inputs or parameters can change."""
        tape = self.tape
        seen: set[int] = set()
        todo = [v for v in self.outputs.values() if v >= 0]
        while todo:
            v = todo.pop()
            if v in seen:
                continue
            seen.add(v)
            s = tape.maker.get(v)
            if s is not None:
                todo.extend(i for i in s.ins if i is not None)
        self.seen = seen
        return [s for s in tape.steps if any(o in seen and tape.varies[o] for o in s.outs)]

    def needed(self) -> frozenset[str]:
        """Parameters that an output depends on by more than their shape."""
        tape = self.tape
        seen: set[int] = set()
        todo = [v for v in self.outputs.values() if v >= 0]
        while todo:
            v = todo.pop()
            if v in seen:
                continue
            seen.add(v)
            s = tape.maker.get(v)
            if s is not None and s.op not in ("Shape", "Size"):
                todo.extend(i for i in s.ins if i is not None)
        return frozenset(name for name, v in tape.parameters.items() if v in seen)

    def evaluate(
        self,
        given: Mapping[str, Array],
        parameters: Mapping[str, Array],
        arithmetic: Arithmetic,
        batch_statistics: bool = False,
    ) -> Evaluation:
        """Evaluate; ``given`` are the inputs in the file's layout."""
        return _Evaluation(self, arithmetic, batch_statistics).run(given, parameters)


class _Evaluation:
    def __init__(self, replay: Replay, arithmetic: Arithmetic, batch_statistics: bool) -> None:
        self.replay, self.tape = replay, replay.tape
        self.arithmetic, self.batch_statistics = arithmetic, batch_statistics
        self.now: dict[int, Array] = {}
        self.bits: dict[int, Array] = {}
        """Truth values that spikes decide, as numbers between 0 and 1."""
        self.quiet: dict[int, Array] = {}
        self.detached = arithmetic.smooth and arithmetic.detached

    def get(self, v: int) -> Array:
        """Return a value as it is now; truth values that spikes decide become numbers."""
        if v in self.bits:
            return self.bits[v]
        return self.now[v] if v in self.now else self.tape.value[v]

    def run(self, given: Mapping[str, Array], parameters: Mapping[str, Array]) -> Evaluation:
        """Evaluate all steps."""
        tape, now = self.tape, self.now
        for name, numbers in tape.inputs.items():
            array = given.get(name)
            if array is None:
                continue
            kind = self.replay.kinds.get(name)
            if kind is not None:
                array = np.real(array).astype(np.int64 if kind == "integer" else np.bool_)
            now.update(dict.fromkeys(numbers, array))
        for name, v in tape.parameters.items():
            if name in parameters:
                now[v] = parameters[name]
        places: list[tuple[str, Array]] = []
        for s in self.replay.steps:
            for o, a in zip(s.outs, self.step(s), strict=False):
                if self.arithmetic.smooth and o in self.replay.jumps and _logical(s):
                    self.bits[o] = a
                elif o not in self.bits:
                    now[o] = a
            places.append((s.name, self.get(s.outs[0])))
        found = {n: number(self.get(v)) for n, v in self.replay.outputs.items() if v >= 0}
        return Evaluation(found, places)

    def step(self, s: Step) -> list[Array]:
        """Evaluate one step."""
        jump = self.replay.jumps.get(s.outs[0])
        if jump is not None and self.arithmetic.smooth:
            return [self.jump(jump)]
        if jump is not None and s.op in COMPARISONS:
            a, b = (self.get(i) for i in jump.source)
            self.arithmetic.approach(self.arithmetic.real(a), self.arithmetic.real(b))
        return self.smooth_step(s) if self.arithmetic.smooth else self.plain(s, self.operands(s))

    def jump(self, jump: Jump) -> Array:
        """A spike function in the smooth arithmetic."""
        source = [number(self.get(i)) for i in jump.source]
        if len(source) == 2:
            u = (source[0] - source[1]) * jump.sign
        else:
            u = source[0] - jump.theta
        return self.arithmetic.jump(u, np.zeros(()), jump.count)

    def operands(self, s: Step) -> list[Array | None]:
        """Values of a step's operands; detached where they reset a neuron."""
        if not self.detached:
            return [None if i is None else self.get(i) for i in s.ins]
        cut = self.replay.resets.edges
        return [
            None if i is None else self.still(i) if (s.index, k) in cut else self.get(i)
            for k, i in enumerate(s.ins)
        ]

    def still(self, v: int) -> Array:
        """A value made of spikes, of which only the constants still pass a derivative."""
        resets = self.replay.resets
        if v in self.replay.jumps or v in resets.between:
            return self.arithmetic.detach(self.get(v))
        if not resets.made.get(v):
            return self.get(v)
        if v not in self.quiet:
            s = self.tape.maker[v]
            ins = [None if i is None else self.still(i) for i in s.ins]
            self.quiet[v] = self.logic(s, ins)[s.outs.index(v)]
        return self.quiet[v]

    def smooth_step(self, s: Step) -> list[Array]:
        """Evaluate a step whose truth values may be numbers."""
        found = self.logic(s, self.operands(s))
        if s.outs[0] in self.tape.maker and self.tape.value[s.outs[0]].dtype.kind == "b":
            if found[0].dtype.kind != "b":
                self.bits[s.outs[0]] = found[0]
        return found

    def logic(self, s: Step, ins: list[Array | None]) -> list[Array]:
        """Evaluate a step; logic of truth values that spikes decide is arithmetic."""
        tape = self.tape
        first = ins[0] if ins else None
        if first is None:
            return self.plain(s, ins)
        if s.op == "Equal" and self.asks_for_spikes(s):
            x, y = (number(a) for a in ins if a is not None)
            return [self.equal(s, x, y)]
        soft = [k for k, a in enumerate(ins) if a is not None and self.is_soft(s, k, a)]
        if not soft:
            return self.plain(s, ins)
        a = [None if x is None else number(x) for x in ins]
        x, y = a[0], a[1] if len(a) > 1 else None
        assert x is not None
        if s.op == "Not":
            return [1 - x]
        if s.op in ("And", "Or", "Xor") and y is not None:
            both = x * y
            return [both if s.op == "And" else x + y - both * (1 if s.op == "Or" else 2)]
        if s.op == "Where" and 0 in soft:
            p, q = a[1], a[2]
            assert p is not None
            assert q is not None
            moving = any(i is not None and tape.data[i] for i in s.ins[1:])
            mask = self.arithmetic.detach(x) if moving else x
            return [self.arithmetic.where(mask, p, q)]
        if s.op == "Where":
            return self.plain(s, [ins[0], *a[1:]])
        if s.op == "Cast":
            return [x]
        if s.op == "Equal" and y is not None:
            return [self.equal(s, x, y)]
        if s.op in VIEWS or s.op in MOVING:
            return self.plain(s, [a[k] if k in soft else ins[k] for k in range(len(ins))])
        raise NotValidated(f"{s.op} of truth values at {s.name}")

    def is_soft(self, s: Step, k: int, a: Array) -> bool:
        """Whether an operand is a truth value that is a number now."""
        i = s.ins[k]
        if i is None:
            return False
        return self.tape.value[i].dtype.kind == "b" and a.dtype.kind != "b"

    def asks_for_spikes(self, s: Step) -> bool:
        """Whether a step compares spikes with 0 or 1."""
        tape, made = self.tape, self.replay.resets.made
        for v, other in ((s.ins[0], s.ins[1]), (s.ins[1], s.ins[0])):
            if v is None or other is None or not made.get(v) or tape.data[other]:
                continue
            single = bool(np.isin(tape.value[v], (0, 1)).all())
            jump = self.replay.jumps.get(v)
            counts = jump is not None and jump.count
            return single and not counts and bool(np.isin(tape.value[other], (0, 1)).all())
        return False

    def equal(self, s: Step, x: Array, y: Array) -> Array:
        """``s == 0`` and ``s == 1`` of truth values; no derivative passes a comparison."""
        one, other = self.arithmetic.detach(x), self.arithmetic.detach(y)
        return one * other + (1 - one) * (1 - other)

    def plain(self, s: Step, ins: list[Array | None]) -> list[Array]:
        """Evaluate a step by its operator."""
        call = Call(s.attributes, self.arithmetic, len(s.outs), s.opset, self.batch_statistics)
        try:
            with np.errstate(all="ignore"):
                found = operator_named(s.op)(call, *ins)
        except UnknownOperator as error:
            raise NotValidated(f"{error} at {s.name}") from None
        return list(found) if isinstance(found, (list, tuple)) else [found]


MOVING = frozenset(("Transpose", "Slice", "Gather", "Split", "Concat", "Tile", "Identity"))


def _logical(s: Step) -> bool:
    return s.op in COMPARISONS
