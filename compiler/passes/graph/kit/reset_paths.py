"""Resets of neurons that the import left as arithmetic: which of them pass a gradient.

The recurrence decides, not how it is written.  *Local* ops are the element-wise ones, data movement
and the delay; spikes and layers are not.  A spike's *membrane* is what it compares, less constants;
spikes belong to one neuron when the membrane of one reaches, through local ops, what the other
compares, now or later.  A reset edge is an operand that is made of a neuron's spikes and constants
alone, where it

* meets other data, and from there reaches what its own neuron compares: a reset, an adaptation, a
  moving threshold;
* multiplies a later spike of its own neuron, one that it does not hold itself: a refractory
  period.

A comparison of what is made of a neuron's spikes and constants alone (a counter of a refractory
period) is that neuron's, too.  A ``graph.neuron`` that does not reset itself is a spike that
compares its input.

A spike of which the file itself says what gradient passes (``reset = "none"``: a threshold node of
NIR, integer spikes with ``mask*(x - x.detach())``) has no reset edges.

Where the neuron's reset gradient is detached, a ``graph.stop_gradient`` is put on each such edge.
Spikes that come scaled by a parameter that is no threshold are one-to-one synapses and keep their
gradient, unless they add what ``(1 - s)*h`` took away.  In the difference of a spike and the reset
that an earlier one did already (snnTorch's ``reset_delay=False``) only the earlier one is cut.

ADR 0016 says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from snncc.compiler.ir.core import Block, Op, Value, op
from snncc.compiler.ir.elementwise import is_elementwise

_MOVED = frozenset(
    f"graph.{name}"
    for name in (
        *("cast", "reshape", "transpose", "expand", "slice", "concat", "pad"),
        *("time_to_axis", "axis_to_time"),
    )
)
_PARTS = ("graph.slice", "graph.concat", "graph.pad")
Edge = tuple[Op, int]


def detach_resets(block: Block) -> None:
    """Stop gradients through the resets of the spikes that say ``detached``."""

    def detached(spike: Op) -> bool:
        says = spike.attrs.get("reset_gradient") == "detached"
        return says and not (spike.name == "graph.spike" and spike.attrs.get("reset") == "none")

    spikes = [o for o in block.ops if _fires(o)]
    if not any(map(detached, spikes)):
        return
    paths = _Paths(block, spikes)
    for user, index in dict.fromkeys(paths.edges(detached)):
        user.set_operand(index, _cut(block, paths, user, user.operands[index]))


def _cut(block: Block, paths: _Paths, user: Op, value: Value) -> Value:
    """Return a value that passes no gradient to the spikes in it, but to parameters beside them."""
    owner = value.owner
    if isinstance(owner, Op) and paths.has_parameters(owner):
        operands = [v if v in paths.fixed else _cut(block, paths, user, v) for v in owner.operands]
        copy = op(owner.name, operands, [value.type], dict(owner.attrs), loc=owner.loc)
        return block.insert_before(user, copy).result
    made = op("graph.stop_gradient", [value], types=[value.type], loc=user.loc)
    return block.insert_before(user, made).result


def _fires(o: Op) -> bool:
    resets_itself = o.attrs.get("reset") != "none"
    return o.name == "graph.spike" or (
        o.name == "graph.neuron" and len(o.results) == 2 and not resets_itself
    )


def _is_sign(o: Op) -> bool:
    return o.name == "graph.unary" and o.attrs.get("fn") == "sign"


class _Paths:
    """What each value is made of, and what it reaches, in one step of a model."""

    def __init__(self, block: Block, spikes: list[Op]) -> None:
        self.ops = list(block.ops)
        delays = {o.str_attr("state"): o for o in self.ops if o.name == "graph.delay"}
        self.source = {
            delays[o.str_attr("state")]: o.operands[0]
            for o in self.ops
            if o.name == "graph.delay_next"
        }
        self.single = not delays and all(o.name != "graph.neuron" for o in self.ops)
        """Whether it is one step alone: its reset leads to an output, and to no comparison."""
        self.parametric: dict[Op, bool] = {}
        self.fixed: set[Value] = set()
        for o in self.ops:
            if (
                o.name in ("graph.const", "graph.param", "graph.stop_gradient")
                or _is_sign(o)
                or (
                    o.operands
                    and o.name != "graph.delay"
                    and all(v in self.fixed for v in o.operands)
                )
            ):
                self.fixed.update(o.results)
        self.asked: dict[Op, list[Value]] = {}
        """Comparisons of what is made of spikes and constants alone, and that."""
        self.neuron = {s: s for s in spikes}
        self.made = self._made_of_spikes()
        self.age = self._ages()
        cores = {s: self._membrane(s) for s in spikes}
        seen = {s: self._before(s.operands) for s in spikes}
        for s in spikes:
            if not any(c in seen[b] for b in spikes if b is not s for c in cores[s]) and not (
                set(cores[s]) & self._before([self._last(v) for v in seen[s]])
            ):
                cores[s] += self._sides(cores[s])  # a membrane less a moving threshold
        self.reached = seen
        for a in spikes:
            for b in spikes:
                if a is not b and any(c in seen[b] for c in cores[a]):
                    self._join(a, b)
        self._join_questions()
        self.cores = cores
        self.recurs = {
            s
            for s in spikes
            if s.name == "graph.neuron"
            or set(cores[s]) & self._before([self._last(v) for v in seen[s] if self._last(v) != v])
            or any(self.neuron[b] is self.neuron[s] for b in spikes if b is not s)
        }
        """Spikes whose membrane goes on: what holds them back is the same neuron's."""

    def _join_questions(self) -> None:
        """Join comparisons of a neuron's spikes with that neuron: it counts them.

        One whose own spikes enter what it compares is a neuron of its own, fed by the other.
        """
        for asks in self.asked:
            mine = [s for s, neuron in self.neuron.items() if neuron is self.neuron[asks]]
            spikes = {s for b in mine for v in self.asked.get(b, ()) for s in self.made[v]}
            if not spikes & set(mine):
                for spike in spikes:
                    self._join(spike, asks)

    def _join(self, a: Op, b: Op) -> None:
        old, new = self.neuron[b], self.neuron[a]
        for s, kept in self.neuron.items():
            if kept is old:
                self.neuron[s] = new

    # --- local structure ------------------------------------------------------------------

    def _operands(self, value: Value) -> list[Value] | None:
        """Return the operands with data of a local op; None when the value is made otherwise."""
        owner = value.owner
        if not isinstance(owner, Op) or value in self.fixed:
            return None
        if owner.name == "graph.delay":
            return [self.source[owner]] if owner in self.source else None
        if owner.name == "graph.neuron" and value is not owner.results[0]:
            return [owner.operands[0]]  # its membrane
        if _fires(owner) or not (is_elementwise(owner) or owner.name in _MOVED):
            return None
        return [v for v in owner.operands if v not in self.fixed]

    def _last(self, value: Value) -> Value:
        """Return what a delay holds the last value of; other values as they are."""
        owner = value.owner
        return self.source.get(owner, value) if isinstance(owner, Op) else value

    def _before(self, values: Iterable[Value]) -> set[Value]:
        """Return the values and everything that reaches them through local ops."""
        seen: set[Value] = set()
        work = [v for v in values if v not in self.fixed]
        while work:
            v = work.pop()
            if v not in seen:
                seen.add(v)
                work.extend(self._operands(v) or ())
        return seen

    def _membrane(self, spike: Op) -> list[Value]:
        found = [v for v in spike.operands if v not in self.fixed]
        for start in list(found):
            ins = self._operands(start)
            while ins is not None and len(ins) == 1 and ins[0] not in found:
                if isinstance(start.owner, Op) and start.owner.name in _PARTS:
                    break  # other parts of it are other neurons
                if self._is_spikes(ins[0]):
                    break
                start = ins[0]
                found.append(start)
                ins = self._operands(start)
        return found

    def _is_spikes(self, v: Value) -> bool:
        """Whether a value is spikes themselves, as numbers or in another shape."""
        while isinstance(v.owner, Op) and v.owner.name in ("graph.cast", "graph.reshape"):
            v = v.owner.operands[0]
        return isinstance(v.owner, Op) and _fires(v.owner)

    def _sides(self, core: list[Value]) -> list[Value]:
        owners = [v.owner for v in core if isinstance(v.owner, Op)]
        differences = [o for o in owners if o.name in ("graph.sub", "graph.div")]
        return [v for o in differences for v in o.operands if v not in self.fixed]

    # --- values of spikes and constants alone ---------------------------------------------

    def _made_of_spikes(self) -> dict[Value, frozenset[Op]]:
        """Return the spikes of each value that is made of spikes and constants alone."""
        made: dict[Value, frozenset[Op]] = {}
        first = {o.results[0] for o in self.ops if _fires(o)}
        for o in self.ops:
            for r in o.results:
                if r in first or self._operands(r) is not None:
                    made[r] = frozenset((o,)) if r in first else frozenset()
        changed = True
        while changed:  # drop what other data enter
            changed = False
            for v in [v for v in made if v not in first]:
                if any(i not in made for i in self._operands(v) or ()):
                    del made[v]
                    changed = True
        for o in filter(_fires, self.ops):
            data = [v for v in o.operands if v not in self.fixed]
            if data and all(v in made for v in data):
                self.asked[o] = data
        changed = True
        while changed:
            changed = False
            for v, own in made.items():
                more = own.union(*(made[i] for i in self._operands(v) or ()))
                if more != own:
                    made[v], changed = more, True
        return {v: own for v, own in made.items() if own}

    def _ages(self) -> dict[Value, dict[Op, int]]:
        """Return how many steps ago the youngest spike of each kind was, for each of these."""
        ages: dict[Value, dict[Op, int]] = {v: {} for v in self.made}
        for v in self.made:
            if isinstance(v.owner, Op) and v.owner in self.neuron:
                ages[v][v.owner] = 0
        changed = True
        while changed:
            changed = False
            for v, known in ages.items():
                late = isinstance(v.owner, Op) and v.owner.name == "graph.delay"
                asked = self.asked.get(v.owner) if isinstance(v.owner, Op) else None
                for i in asked or self._operands(v) or ():  # a question is as old as its spikes
                    for spike, age in ages.get(i, {}).items():
                        if age + late < known.get(spike, age + late + 1):
                            known[spike], changed = age + late, True
        return ages

    def _youngest(self, v: Value) -> int:
        ages = (age for spike, age in self.age[v].items() if spike not in self.asked)
        return min(ages, default=0)  # a pacemaker compares nothing but its own spikes

    def _is_older(self, v: Value, x: Value) -> bool:
        """Whether the spikes of ``v`` are older ones than those of ``x``, none of them the same."""
        shared = self.age[v].items() & self.age[x].items()
        return not shared and self._youngest(v) > self._youngest(x)

    # --- edges ----------------------------------------------------------------------------

    def edges(self, detached: Callable[[Op], bool]) -> Iterable[Edge]:
        """Yield the operands on which detached spikes reset their own neuron."""
        for o in self.ops:
            if o.name in _MOVED - {"graph.concat"} or not is_elementwise(o):
                continue
            for index, v in enumerate(o.operands):
                own = self.made.get(v, frozenset())
                if any(map(detached, own)) and self._is_reset(o, index, v, own):
                    yield self._kept_first(o, index, v)

    def _is_reset(self, o: Op, index: int, v: Value, own: frozenset[Op]) -> bool:
        others = [x for i, x in enumerate(o.operands) if i != index and x not in self.fixed]
        neurons = {self.neuron[s] for s in own}
        mixed = [
            x for x in others
            if x not in self.made or {self.neuron[s] for s in self.made[x]} - neurons
        ]  # fmt: skip
        if mixed:
            into = {self.neuron[s] for s, seen in self.reached.items()
                    if s is o or o.results[0] in seen}  # fmt: skip
            reached = self._before(mixed) if self.single else set[Value]()
            after = any(set(self.cores[s]) & reached for s in own)
            return bool(neurons & into or after) and not self._is_synapse(o, v, mixed, own)
        if o.name not in ("graph.mul", "graph.and", "graph.iand"):
            return False
        return any(
            neurons & {self.neuron[s] for s in self.made[x] & self.recurs} and self._is_older(v, x)
            for x in others
        )

    def _is_synapse(self, o: Op, v: Value, mixed: list[Value], own: frozenset[Op]) -> bool:
        """Whether spikes come scaled by a parameter that is no threshold of theirs."""
        thresholds: set[Op] = set()
        for s in own:
            thresholds |= self._params(s.operands)
            for c in self.cores[s]:
                if isinstance(c.owner, Op) and self._operands(c) is not None:
                    thresholds |= self._params(c.owner.operands)
        while (ins := self._operands(v)) is not None and isinstance(v.owner, Op):
            if v.owner.name == "graph.mul" and self._params(v.owner.operands) - thresholds:
                returned = o.name == "graph.add" and any(self._takes_away(x, own) for x in mixed)
                return not returned
            if len(ins) != 1:
                return False
            v = ins[0]
        return False

    def has_parameters(self, o: Op) -> bool:
        """Whether a local op, or one of those that its data come from, has parameters."""
        if o.name in ("graph.spike", "graph.stop_gradient") or not is_elementwise(o):
            return False
        if o not in self.parametric:
            before = (v.owner for v in o.operands if v not in self.fixed)
            self.parametric[o] = bool(self._params(o.operands)) or any(
                self.has_parameters(each) for each in before if isinstance(each, Op)
            )
        return self.parametric[o]

    def _params(self, values: Iterable[Value]) -> set[Op]:
        """Return the parameters that fixed values are computed from."""
        found: set[Op] = set()
        work = [v.owner for v in values if v in self.fixed]
        while work:
            owner = work.pop()
            if isinstance(owner, Op):
                if owner.name == "graph.param":
                    found.add(owner)
                work.extend(v.owner for v in owner.operands if v in self.fixed)
        return found

    def _takes_away(self, v: Value, own: frozenset[Op]) -> bool:
        """Whether a value is ``(1 - s)*h``."""
        owner = v.owner
        return (
            isinstance(owner, Op)
            and owner.name == "graph.mul"
            and any(self.made.get(x, frozenset()) & own for x in owner.operands)
        )

    def _kept_first(self, o: Op, index: int, v: Value) -> Edge:
        """Return where to cut: in a spike less an earlier one, only the earlier one."""
        while (ins := self._operands(v)) is not None and isinstance(v.owner, Op):
            if v.owner.name == "graph.sub" and len(ins) == 2:
                earlier = self._youngest(ins[1]) > self._youngest(ins[0])
                return (v.owner, 1) if earlier else (o, index)
            if len(ins) != 1 or v.owner.name == "graph.delay":
                break
            v = ins[0]
        return o, index
