"""A recorded file evaluated again, at other inputs and parameters and in either arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.compare import Evaluation, NotValidated
from snncc.compiler.validate.draws import is_uniform
from snncc.compiler.validate.import_side import Spikes
from snncc.compiler.validate.onnx.operators import (
    LOCAL,
    VIEWS,
    Call,
    UnknownOperator,
    number,
    operator_named,
    results,
)
from snncc.compiler.validate.onnx.reset_paths import Resets, find_resets
from snncc.compiler.validate.onnx.spike_functions import COMPARISONS, Jump, spike_functions
from snncc.compiler.validate.onnx.tape import Step, Tape


class Replay:
    """A tape, its outputs by name, and what is found out about its spikes once."""

    def __init__(self, tape: Tape, outputs: Mapping[str, int], kinds: Mapping[str, str]) -> None:
        """``kinds``: inputs that are no real numbers."""
        self.tape, self.outputs, self.kinds = tape, outputs, kinds
        self.steps = self._used()
        self.jumps, self.asked = spike_functions(tape)
        self._resets: Resets | None = None
        self.fired: dict[int, Array] = {}
        self.quiet = -1
        """Spike functions whose resets are detached, as bits in order of execution."""

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
                data = s.ins[:1] if s.op in FIRST_ALONE else s.ins
                todo.extend(i for i in data if i is not None)
        held = {name for name, v in tape.parameters.items() if v in seen}
        return frozenset(held - self.neuron_numbers())

    def neuron_numbers(self) -> set[str]:
        """Names of numbers that only neurons use: thresholds, leaks, first states and such.

        They stay as they are unless the configuration names them.  A neuron uses what meets its
        membrane, or its spikes, element by element, and what comes again in the same recurrence.
        """
        tape = self.tape
        owner: dict[int, set[str]] = {v: {name} for name, v in tape.parameters.items()}
        uses: list[tuple[Step, set[str]]] = []
        for s in self.steps:
            names = set[str]().union(*(owner.get(i, ()) for i in s.ins if i is not None))
            if not names or s.op in ("Shape", "Size"):
                continue
            if any(tape.data[o] for o in s.outs):
                uses.append((s, names))
            else:
                for o in s.outs:
                    owner.setdefault(o, set()).update(names)
        outside: set[str] = set()
        often: dict[str, int] = {}
        recurrent = self._recurrent(uses)
        for s, names in uses:
            others = [i for i in s.ins if i is not None and tape.data[i]]
            inside = s.outs[0] in self.jumps or s.outs[0] in self.resets.loops
            inside = inside or all(i in self.resets.membranes for i in others)
            if not (inside or s.index in recurrent):
                outside |= names
            for name in names:
                often[name] = often.get(name, 0) + 1
        return {
            name
            for name in often
            if name not in outside
            and (is_uniform(tape.value[tape.parameters[name]]) or often[name] == 1)
        }

    def _recurrent(self, uses: list[tuple[Step, set[str]]]) -> set[int]:
        """Steps that lead, element by element, to or from another use of the same numbers."""
        at = {s.index: names for s, names in uses}
        reached: dict[int, dict[str, frozenset[int]]] = {}
        """Value -> names that were used on the way to it, with the steps that used them last."""
        found: set[int] = set()
        for s in self.steps:
            if s.op not in LOCAL:
                continue
            before: dict[str, frozenset[int]] = {}
            for i in s.ins:
                for name, steps in (reached.get(i, {}) if i is not None else {}).items():
                    before[name] = before.get(name, frozenset()) | steps
            names = at.get(s.index, set())
            for name in names & before.keys():
                found |= {s.index, *before[name]}
            for steps in before.values():
                if steps & found:  # it is added to what the recurrence carries
                    found |= steps
            before.update(dict.fromkeys(names, frozenset((s.index,))))
            if before:
                for o in s.outs:
                    if o not in self.jumps:
                        reached[o] = before
        return found

    def evaluate(
        self,
        given: Mapping[str, Array],
        parameters: Mapping[str, Array],
        arithmetic: Arithmetic,
        batch_statistics: bool = False,
    ) -> Evaluation:
        """Evaluate; ``given`` are the inputs in the file's layout."""
        last = _Evaluation(self, arithmetic, batch_statistics)
        found = last.run(given, parameters)
        if arithmetic.smooth:
            self.fired = {v: np.real(last.get(v)) for v in self.jumps if v in self.seen}
        return found

    def decide(self, spikes: Sequence[Spikes]) -> None:
        """Detach the spike functions that fire what a detached layer of the import fires."""
        layers = [_Fired(each) for each in spikes if each.detached]
        quiet = 0
        for k, v in enumerate(sorted(self.jumps, key=lambda v: self.jumps[v].step.index)):
            values = self.fired.get(v)
            if values is not None and any(each.has(values) for each in layers):
                quiet |= 1 << k
        self.quiet = quiet

    def other_threshold(self, spikes: Sequence[Spikes]) -> str:
        """Name a comparison that is strict where the import's is not, or the other way round."""
        layers = [(_Fired(each), each.compare == "strict") for each in spikes]
        for v, values in self.fired.items():
            step = self.jumps[v].step
            if step.op not in COMPARISONS:
                continue
            said = {strict for fired, strict in layers if fired.has(values)}
            if said and (step.op in ("Greater", "Less")) not in said:
                return step.name
        return ""


class _Fired:
    """The values that a layer fires at each of its steps, in whatever layout."""

    def __init__(self, layer: Spikes) -> None:
        rows = layer.values if layer.timed else layer.values[None]
        self.size = rows[0].size
        self.rows = np.array([_sums(r) for r in rows])

    def has(self, values: Array) -> bool:
        """Whether a step fires these values."""
        if values.size != self.size:
            return False
        return bool(np.any(np.all(np.isclose(self.rows, _sums(values), rtol=1e-7), axis=1)))


def _sums(values: Array) -> Array:
    flat = np.real(values).astype(np.float64).reshape(-1)
    return np.array([flat.sum(), (flat * flat).sum(), (flat**3).sum(), flat.max(), flat.min()])


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
                whole = kind.startswith("integer")
                array = np.real(array).astype(np.int64 if whole else np.bool_)
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
            return [self.jump(s, jump)]
        if jump is not None and s.op in COMPARISONS:
            a, b = (self.get(i) for i in jump.source)
            self.arithmetic.approach(self.arithmetic.real(a), self.arithmetic.real(b))
        return self.smooth_step(s) if self.arithmetic.smooth else self.plain(s, self.operands(s))

    def jump(self, s: Step, jump: Jump) -> Array:
        """A spike function in the smooth arithmetic; plain where no input has reached it yet."""
        plain = number(self.plain(s, [None if i is None else self.get(i) for i in s.ins])[0])
        if s.op in COMPARISONS:  # a moving threshold may be reset here
            source = [number(a) for a in self.operands(s) if a is not None]
        else:
            source = [number(self.get(i)) for i in jump.source]
        data = [a for a, i in zip(source, jump.source, strict=True) if self.tape.data[i]]
        u = (source[0] - source[1]) * jump.sign if len(source) == 2 else source[0] - jump.theta
        return self.arithmetic.fired(data, u, np.real(plain), jump.count)

    def operands(self, s: Step) -> list[Array | None]:
        """Values of a step's operands; detached where they reset a neuron."""
        if not self.detached:
            return [None if i is None else self.get(i) for i in s.ins]
        resets, quiet = self.replay.resets, self.replay.quiet
        return [
            None
            if i is None
            else self.still(i)
            if (s.index, k) in resets.edges and resets.made[i] & quiet
            else self.get(i)
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
        asked = self.replay.asked.get(s.outs[0])
        if asked is not None:  # no derivative passes such a comparison
            spikes = self.arithmetic.detach(number(self.get(asked.spikes)))
            low, high = float(asked.at_zero), float(asked.at_one)
            return [low + (high - low) * spikes]
        first = ins[0] if ins else None
        if first is None:
            return self.plain(s, ins)
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
        if s.op in VIEWS or s.op in MOVING:
            return self.plain(s, [a[k] if k in soft else ins[k] for k in range(len(ins))])
        raise NotValidated(f"{s.op} of truth values at {s.name}")

    def is_soft(self, s: Step, k: int, a: Array) -> bool:
        """Whether an operand is a truth value that is a number now."""
        i = s.ins[k]
        if i is None:
            return False
        return self.tape.value[i].dtype.kind == "b" and a.dtype.kind != "b"

    def plain(self, s: Step, ins: list[Array | None]) -> list[Array]:
        """Evaluate a step by its operator."""
        call = Call(s.attributes, self.arithmetic, len(s.outs), s.opset, self.batch_statistics)
        try:
            with np.errstate(all="ignore"):
                return results(operator_named(s.op)(call, *ins))
        except UnknownOperator as error:
            raise NotValidated(f"{error} at {s.name}") from None


FIRST_ALONE = frozenset(("Resize", "Upsample", "Dropout", "OneHot"))
"""Operators whose other operands are settings: factors, sizes, a rate, what stands for 0 and 1."""
MOVING = frozenset(("Transpose", "Slice", "Gather", "Split", "Concat", "Tile", "Identity"))


def _logical(s: Step) -> bool:
    return s.op in COMPARISONS
