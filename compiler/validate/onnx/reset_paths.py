"""Where spikes of a file reset their own neuron: the paths that a detached reset cuts.

The recurrence decides, not the way a reset is written.  Comparisons a and b belong to one neuron
when the membrane of a (what a compares, less constants) reaches what b compares by element-wise
operators without passing a spike function.  An operand that is made of a's spikes and constants
alone is a reset where it meets other data, if

* from there it reaches, in the same way, what another comparison of its own neuron compares; or
* it meets a value that its own membrane reaches, in the way of an earlier reset (this is the one
  after the last comparison); or
* it multiplies a later spike of its own neuron (a refractory period).

A comparison of what is made of a neuron's spikes and constants alone (a counter of a refractory
period) is that neuron's, too.

Spikes that are scaled by a parameter which is no threshold of theirs are one-to-one synapses,
unless they give back what ``(1 - s)*v`` took away.

Sets of spike functions are bits of integers (``made_of_spikes.py``).

ADR 0016 says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from snncc.compiler.validate.onnx.made_of_spikes import MadeOfSpikes
from snncc.compiler.validate.onnx.operators import LOCAL
from snncc.compiler.validate.onnx.spike_functions import Jump
from snncc.compiler.validate.onnx.tape import Step, Tape

Edge = tuple[int, int]
"""Index of a step and position of an operand."""


@dataclass
class Resets:
    """``edges``: reset operands.  ``made``: what consists of spikes and constants alone, of which.

    ``between``: what lies between spikes and a value that other data only seem to enter, as in
    ``(spike - soft) + soft``.
    """

    edges: set[Edge] = field(default_factory=set[Edge])
    made: Mapping[int, int] = field(default_factory=dict[int, int])
    between: set[int] = field(default_factory=set[int])
    membranes: frozenset[int] = frozenset()
    """Values that a membrane reaches element by element."""
    loops: frozenset[int] = frozenset()
    """Values made with spikes that lead back to the neuron of these spikes."""


def find_resets(tape: Tape, jumps: Mapping[int, Jump]) -> Resets:
    """Find the reset operands of a file."""
    return _Search(tape, jumps).run() if jumps else Resets()


class _Search(MadeOfSpikes):
    def __init__(self, tape: Tape, jumps: Mapping[int, Jump]) -> None:
        super().__init__(tape, jumps)
        self.onward: list[int] = []
        """The spike functions that each one's membrane reaches; in one step they do so mutually."""
        self.parameters_of: dict[int, frozenset[int]] = {}

    def run(self) -> Resets:
        """Search all steps."""
        reach = self.reached()
        cores = {a: self.membrane(self.jumps[a]) for a in self.order}
        groups = self.neurons(cores, reach)
        alone = self.alone(cores, groups)
        if alone:
            cores = {a: self.operands(c) if a in alone else c for a, c in cores.items()}
            groups = self.neurons(cores, reach)
        for a in self.order:
            mask = 0
            for c in cores[a]:
                mask |= reach.get(c, 0)
            self.onward.append(mask)
        carried = self.carried(cores)
        last = self.last(groups)
        loops = frozenset(
            s.outs[0]
            for s in self.tape.steps
            if s.op in LOCAL
            and any(
                self.kin(self.made.get(i, 0), groups) & reach.get(s.outs[0], 0)
                for i in s.ins
                if i is not None
            )
        )
        edges, late = set[Edge](), list[tuple[Step, int]]()
        for s in self.tape.steps:
            if s.op in LOCAL and len(s.ins) > 1 and s.outs[0] not in self.between:
                if any(i is not None and self.is_nothing(i) for i in s.ins):
                    continue  # spikes + mask*(x - x.detach()): the file says their gradient
                for k, v in enumerate(s.ins):
                    if v is None or not self.made.get(v):
                        continue
                    if self.is_reset(s, k, v, groups, reach):
                        edges.add((s.index, k))
                    elif self.is_last_reset(s, k, v, carried, last):
                        late.append((s, k))
        # the last reset leads to no comparison: it is one where it is written like an earlier one
        known = {self.form(self.tape.steps[i], k) for i, k in edges}
        edges.update((s.index, k) for s, k in late if not groups or self.form(s, k) in known)
        return Resets(edges, self.made, self.between, frozenset(carried), loops)

    # ---------------------------------------------------------------- sets
    def reached(self) -> dict[int, int]:
        """For every value the spike functions whose argument it reaches element by element."""
        tape, reach = self.tape, dict[int, int]()
        ends: dict[int, list[int]] = {}
        for a in self.order:
            ends.setdefault(self.jumps[a].step.index, []).append(a)
        for s in reversed(tape.steps):
            for a in ends.get(s.index, ()):
                for i in self.jumps[a].source:
                    if tape.data[i]:
                        reach[i] = reach.get(i, 0) | self.bit[a]
            if s.op not in LOCAL:
                continue
            beyond = 0
            for o in s.outs:
                if o not in self.bit:
                    beyond |= reach.get(o, 0)
            for v in s.ins if beyond else ():
                if v is not None and self.moves(v):
                    reach[v] = reach.get(v, 0) | beyond
        return reach

    def carried(self, cores: Mapping[int, list[int]]) -> dict[int, int]:
        """For every value the spike functions whose membrane reaches it element by element."""
        starts: dict[int, int] = {}
        for a, core in cores.items():
            for c in core:
                starts[c] = starts.get(c, 0) | self.bit[a]
        found = dict(starts)
        for s in self.tape.steps:
            if s.op not in LOCAL:
                continue
            got = 0
            for i in s.ins:
                if i is not None:
                    got |= found.get(i, 0)
            if got:
                for o in s.outs:
                    if o not in self.bit and o not in self.still:
                        found[o] = found.get(o, 0) | got
        return found

    def membrane(self, jump: Jump) -> list[int]:
        """What a spike function compares, and the same less constants."""
        tape = self.tape
        out = [i for i in jump.source if self.moves(i)]
        for v in list(out):
            while v in tape.maker:
                above = self.single(tape.maker[v])
                if above is None or self.is_spikes(above):
                    break
                out.append(above)
                v = above
        return out

    def alone(self, cores: Mapping[int, list[int]], groups: list[int]) -> set[int]:
        """Spike functions that share a neuron with none but repetitions of themselves."""
        same: dict[int, int] = {}
        for a in self.order:
            end = cores[a][-1] if cores[a] else a
            same[end] = same.get(end, 0) | self.bit[a]
        found: set[int] = set()
        for a in self.order:
            copies = same[cores[a][-1] if cores[a] else a]
            if not any(g & self.bit[a] and g & ~copies for g in groups):
                found.add(a)
        return found

    def operands(self, core: list[int]) -> list[int]:
        """What a membrane is made of that is not carried itself: v - threshold(t), or i + j."""
        tape, out = self.tape, list(core)
        for v in out:
            s = tape.maker.get(v)
            if s is None or s.op not in LOCAL or v in self.bit or len(out) > 24:
                continue
            if s.op in ("Sub", "Div", "Add") or self.single(s) is not None:
                out += [
                    i
                    for i in s.ins
                    if i is not None and self.moves(i) and i not in out and not self.made.get(i)
                ]
        return out

    def neurons(self, cores: Mapping[int, list[int]], reach: Mapping[int, int]) -> list[int]:
        """Group the spike functions whose membranes reach one another's argument."""
        groups: list[int] = []
        for a in self.order:
            mask = self.bit[a]
            for c in cores[a]:
                mask |= reach.get(c, 0)
            if mask == self.bit[a]:
                continue
            apart = [g for g in groups if not g & mask]
            for g in groups:
                if g & mask:
                    mask |= g
            groups = [*apart, mask]
        return self.with_questions(groups)

    def with_questions(self, groups: list[int]) -> list[int]:
        """Join comparisons of a neuron's spikes with that neuron: it counts them.

        One whose own spikes enter what it compares is a neuron of its own, fed by the other.
        """
        for a in self.order:
            mine = next((g for g in groups if g & self.bit[a]), self.bit[a])
            asked = 0
            for b in self.bits(mine):
                asked |= self.asked.get(b, 0)
            if not self.asked.get(a) or asked & mine:
                continue
            mask = mine | self.asked[a]
            apart = [g for g in groups if not g & mask]
            for g in groups:
                if g & mask:
                    mask |= g
            groups = [*apart, mask]
        return groups

    def last(self, groups: list[int]) -> int:
        """The last spike function of each neuron."""
        known = 0
        found = 0
        for g in groups:
            found |= 1 << (g.bit_length() - 1)
            known |= g
        for a in self.order if not groups else ():  # a file of one step
            found |= self.bit[a]
        return found

    # ---------------------------------------------------------------- one operand
    def kin(self, own: int, groups: list[int]) -> int:
        """All spike functions of the neurons of some."""
        found = 0
        for g in groups:
            if g & own:
                found |= g
        return found

    def is_reset(
        self, s: Step, k: int, v: int, groups: list[int], reach: Mapping[int, int]
    ) -> bool:
        """Whether operand ``k`` of a step, the value ``v``, resets the neuron it comes from."""
        own = self.made[v]
        others = [i for j, i in enumerate(s.ins) if j != k and i is not None and self.moves(i)]
        if not others:
            return False
        kin = self.kin(own, groups)
        mixed = [i for i in others if self.made.get(i, 0) & ~(kin | own) or not self.made.get(i)]
        if mixed:
            out = s.outs[0]
            into = reach.get(out, 0) & ~own if out not in self.bit else self.bit[out] & ~own
            if out in self.bit:
                into |= reach.get(out, 0) & ~own
            return bool(kin & into) and not self.is_synapse(s, v, mixed, own)
        if s.op in ("Mul", "And"):
            return any(self.made[i] & kin and self.later(self.made[i], own) for i in others)
        return False

    def is_last_reset(self, s: Step, k: int, v: int, carried: Mapping[int, int], last: int) -> bool:
        """Whether the last spikes of a neuron meet a value that its membrane reaches."""
        own = self.made[v]
        others = [i for j, i in enumerate(s.ins) if j != k and i is not None and self.moves(i)]
        mixed = [i for i in others if not self.made.get(i)]
        meets = any(own & last & carried.get(i, 0) for i in mixed)
        return meets and not self.is_synapse(s, v, mixed, own)

    def form(self, s: Step, k: int) -> tuple[str, int, tuple[str, ...]]:
        """Return how spikes are brought in: the operator, the operand, and what made that."""
        path = list[str]()
        v = s.ins[k]
        while v is not None and v in self.tape.maker and v not in self.bit and len(path) < 8:
            made = self.tape.maker[v]
            path.append(made.op)
            v = self.single(made)
        return s.op, k, tuple(path)

    def later(self, these: int, those: int) -> bool:
        """Whether the last of these spikes is of a later step than those, and none is the same."""
        these, those = self.asked_back(these), self.asked_back(those)
        a, b = these.bit_length() - 1, those.bit_length() - 1
        together = self.onward[b] >> a & 1 and self.onward[a] >> b & 1
        return a > b and not together and not these & those

    def asked_back(self, own: int) -> int:
        """Spikes, and in place of comparisons of spikes those that are compared."""
        found = 0
        for a in self.bits(own):
            asked = self.asked.get(a, 0)
            found |= self.asked_back(asked) if asked else self.bit[a]
        return found

    def is_synapse(self, s: Step, v: int, others: list[int], own: int) -> bool:
        """Whether spikes come scaled by a parameter that is no threshold of theirs."""
        tape = self.tape
        thresholds: frozenset[int] | None = None
        x = v
        while x in tape.maker and x not in self.bit:
            made = tape.maker[x]
            if made.op == "Mul":
                for i in made.ins:
                    if i is None or tape.data[i]:
                        continue
                    scale = self.parameters(i)
                    if scale and thresholds is None:
                        thresholds = self.thresholds(own)
                    if scale - (thresholds or frozenset()):
                        gives_back = any(self.takes_away(o, own) for o in others)
                        return not (s.op == "Add" and gives_back)
            above = self.single(made)
            if above is None:
                return False
            x = above
        return False

    def takes_away(self, v: int, own: int) -> bool:
        """Whether a value is ``(1 - s)*h`` of these spikes."""
        s = self.tape.maker.get(v)
        return (
            s is not None
            and s.op == "Mul"
            and any(i is not None and self.made.get(i, 0) & own for i in s.ins)
        )

    def thresholds(self, own: int) -> frozenset[int]:
        """Parameters that stand beside the membranes of these spikes."""
        tape, found = self.tape, frozenset[int]()
        for a in self.bits(own):
            jump = self.jumps[a]
            for x in [*self.membrane(jump), *jump.source]:
                if not tape.data[x]:
                    found |= self.parameters(x)
                    continue
                s = tape.maker.get(x)
                if s is not None and s.op in LOCAL:
                    for i in s.ins:
                        if i is not None and not tape.data[i]:
                            found |= self.parameters(i)
        return found

    def parameters(self, v: int) -> frozenset[int]:
        """Parameters that a value without data is computed from."""
        known = self.parameters_of.get(v)
        if known is not None:
            return known
        tape = self.tape
        real = {
            at
            for name, at in tape.parameters.items()
            if tape.value[at].size > 1 or not tape.names.numbered(name)
        }
        found: set[int] = set()
        seen, todo = {v}, [v]
        while todo:
            x = todo.pop()
            if x in real:
                found.add(x)
            if x in tape.maker:
                fresh = [i for i in tape.maker[x].ins if i is not None and i not in seen]
                seen.update(fresh)
                todo.extend(fresh)
        self.parameters_of[v] = frozenset(found)
        return self.parameters_of[v]
