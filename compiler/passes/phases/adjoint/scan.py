"""The reverse of a scan: a scan from the last step to the first with carried adjoints.

With the forward body ``(c', y) = F(c, x, p)`` the reverse body computes, from the adjoints of c'
and y, those of c (carried), x (stacked) and p (a carried f32 sum over the steps, rounded once).
A forward value that the rules need is recomputed when everything it depends on is at hand in the
reverse body (sequences and captured values the forward scan reads, constants, values already
saved); otherwise it is an output of the forward scan already, or becomes one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from snncc.compiler.ir.build import Builder, stacked
from snncc.compiler.ir.core import Op, Value, tensor
from snncc.compiler.ir.dialect_phase import scan_counts
from snncc.compiler.passes.phases.adjoint.ew import DIFFERENTIABLE
from snncc.compiler.passes.phases.adjoint.phase import PHASE_RULES
from snncc.compiler.passes.phases.adjoint.region import (
    RegionTape,
    ordered_values,
    propagate,
    prune,
)
from snncc.compiler.passes.phases.kit.emit import full, zeros


def stacked_output(scan: Op, value: Value) -> Value:
    """Return a body value stacked over time: an existing output of the scan or a new one."""
    end = scan.regions[0].terminator
    carried = scan.int_attr("carried")
    for i, v in enumerate(end.operands[carried:], carried):
        if v is value:
            return scan.results[i]
    value.uses.append((end, len(end.operands)))
    end.operands.append(value)
    made = Value(stacked(value.type, scan.int_attr("steps")), value.name, scan, len(scan.results))
    scan.results.append(made)
    return made


def active_in_scan(scan: Op, active: set[Value]) -> set[Value]:
    """Return the active values of a scan's body, given the active operands."""
    block, carried = scan.regions[0], scan.int_attr("carried")
    start = {a for a, v in zip(block.args, scan.operands, strict=True) if v in active}
    while True:
        found = propagate(block, start)
        end = block.terminator.operands[:carried]
        more = {a for a, v in zip(block.args, end, strict=False) if v in found} - start
        if not more:
            return found
        start |= more


def _useful(scan: Op, seeds: set[Value], receiving: set[int]) -> set[int]:
    """Return which carried values get an adjoint (a fixpoint over the loop)."""
    block, carried = scan.regions[0], scan.int_attr("carried")
    ends = block.terminator.operands
    while True:
        useful = seeds | {ends[i] for i in receiving}
        for op in reversed(block.ops[:-1]):
            if not any(r in useful for r in op.results):
                continue
            if op.dialect == "ew":
                useful.update(op.operands[i] for i in DIFFERENTIABLE.get(op.name, ()))
            elif op.name in PHASE_RULES:
                useful.update(op.operands)
        found = receiving | {i for i in range(carried) if block.args[i] in useful}
        if found == receiving:
            return found
        receiving = found


@dataclass
class ScanGradient:
    """What the reverse scan gives back: adjoints of operands, and deferred parameter gradients."""

    operands: dict[int, Value] = field(default_factory=dict[int, Value])
    sums: dict[int, Value] = field(default_factory=dict[int, Value])  # f32, to be summed to shape
    outer: list[tuple[int, Value | None, Value, object]] = field(
        default_factory=list["tuple[int, Value | None, Value, object]"]
    )


class ReverseScan:
    """Builds the reverse of one scan."""

    def __init__(
        self, b: Builder, scan: Op, active: set[Value], adjoint: dict[Value, Value], layer: str
    ) -> None:
        """``active`` are values outside the scan; ``adjoint`` those of the scan's results."""
        self.b, self.scan = b, scan
        self.block = scan.regions[0]
        self.carried, self.seqs, _ = scan_counts(scan)
        self.steps = scan.int_attr("steps")
        self.active = active_in_scan(scan, active)
        self.adjoint = adjoint
        self.tape = RegionTape(self.block, self.active, scan.loc, layer)
        self.initial: list[Value] = []  # of the carried values of the reverse scan
        self.reads: list[tuple[Value, Value]] = []  # outer value, block argument
        self.saved: dict[Value, Value] = {}

    def read(self, outer: Value, inside: Value) -> None:
        """Let the reverse body read an outer value through a block argument."""
        self.reads.append((outer, inside))

    def build(self) -> ScanGradient:
        """Emit the reverse scan."""
        results = self.scan.results
        ends = self.block.terminator.operands
        given = {
            i: self.adjoint[r]
            for i, r in enumerate(results)
            if r in self.adjoint and ends[i] in self.active
        }
        seeds = {ends[i] for i in given if i >= self.carried}
        moving = sorted(
            i
            for i in _useful(self.scan, seeds, {i for i in given if i < self.carried})
            if self.block.args[i] in self.active
        )
        incoming = {i: self.tape.arg(self.block.args[i], f"d_{self.block.args[i].name}")
                    for i in moving}  # fmt: skip
        for i in moving:
            type_ = incoming[i].type
            self.initial.append(given[i] if i in given else zeros(self.b, type_))
        start: dict[Value, Value] = {}
        loop_in: list[tuple[Value, Value]] = []
        for i, g in given.items():
            if i >= self.carried:
                inside = Value(tensor(g.type.step_shape, g.type.dtype), f"d_{ends[i].name}")
                self.read(g, inside)
                loop_in.append((ends[i], inside))
        loop_in += [(ends[i], incoming[i]) for i in moving]
        for value, g in loop_in:
            if value in start:
                start[value] = self.tape.b.one("ew.add", start[value], g)
            else:
                start[value] = g
        self.tape.run(start)
        return self.finish(moving)

    def finish(self, moving: list[int]) -> ScanGradient:
        """Decide what is saved, close the body and emit the scan."""
        tape, b, gradient = self.tape, self.tape.b, ScanGradient()
        following: list[Value] = []
        for i in moving:
            type_ = self.initial[len(following)].type
            state = self.block.args[i]
            found = tape.adjoint.get(state)
            # a state that others are wider than, such as one inhibition for a whole layer
            value = b.one("ew.const", value=0.0) if found is None else tape.fit(state, found)
            following.append(full(b, _rounded(b, value, type_.dtype), type_.shape))
        outputs: list[Value] = []
        places: list[tuple[int, str, object]] = []
        for i, arg in enumerate(self.block.args[self.carried :], self.carried):
            found = tape.adjoint.get(arg)
            if found is None:
                continue
            if i < self.carried + self.seqs:
                places.append((i, "seq", None))
                outputs.append(full(b, _rounded(b, found, "f16"), found.type.shape))
            else:
                shape = found.type.shape
                total = tape.out.add_arg(tensor(shape, "f32"), f"sum_{arg.name}")
                self.initial.append(zeros(self.b, total.type))
                following.append(b.op("ew.add", total, found, wide=True).result)
                gradient.sums[i] = Value(total.type)  # replaced below
                places.append((i, "sum", None))
        for each in tape.deferred:
            places.append((self.block.args.index(each.weight), "outer", each))
            outputs.append(full(b, each.g, each.g.type.shape))
        b.op("phase.yield", *following, *outputs)
        prune(tape.out)
        self.decide()
        made = self.emit(following, outputs)
        at_carry, at_out = len(moving), len(following)
        for i, kind, extra in places:
            if kind == "sum":
                gradient.sums[i] = made.results[at_carry]
                at_carry += 1
                continue
            result = made.results[at_out]
            at_out += 1
            if kind == "seq":
                gradient.operands[i] = result
            else:
                x = getattr(extra, "x", None)
                outer_x = self.outside(x) if isinstance(x, Value) else None
                gradient.outer.append((i, outer_x, result, extra))
        for k, i in enumerate(moving):
            gradient.operands[i] = made.results[k]
        return gradient

    def emit(self, following: list[Value], outputs: list[Value]) -> Op:
        """Emit the scan itself, without arguments that nobody reads."""
        block = self.tape.out
        reads = [(outer, v) for outer, v in self.reads if v.uses]
        seqs = [r for r in reads if r[0].type.kind == "seq"]
        captured = [r for r in reads if r[0].type.kind != "seq"]
        block.args = [*block.args, *(v for _, v in (*seqs, *captured))]
        for i, v in enumerate(block.args):
            v.owner, v.index = block, i
        types = [v.type for v in following]
        types += [stacked(v.type, self.steps) for v in outputs]
        return self.b.op(
            "phase.scan", *self.initial, *(o for o, _ in seqs), *(o for o, _ in captured),
            types=types, regions=[block], carried=len(following), seqs=len(seqs),
            captured=len(captured), steps=self.steps, reverse=True,
        )  # fmt: skip

    def outside(self, value: Value) -> Value:
        """Return a forward body value stacked over time, outside the scan."""
        if value in self.block.args[self.carried :]:
            return self.scan.operands[self.block.args.index(value)]
        return stacked_output(self.scan, value)

    def decide(self) -> None:
        """Recompute or save each forward value that the reverse body needs."""
        block, args = self.block, self.block.args
        yielded = set(block.terminator.operands[self.carried :])
        at_hand: set[Value] = set(args[self.carried :])
        leaves: dict[Value, Value] = {}

        def computable(v: Value) -> bool:
            if v in at_hand:
                return True
            owner = v.owner
            if not isinstance(owner, Op) or owner.dialect != "ew":
                return False
            return all(computable(o) for o in owner.operands)

        def local(v: Value) -> bool:
            """Whether a value follows from what the reverse body holds anyway."""
            owner = v.owner
            if v in leaves:
                return True
            if not isinstance(owner, Op) or owner.dialect != "ew":
                return False
            return all(local(o) for o in owner.operands)

        def leaf(v: Value) -> Value:
            if v not in leaves:
                inside = Value(v.type, v.name)
                leaves[v] = inside
                self.read(self.outside(v), inside)
            return leaves[v]

        place = {v: i for i, v in enumerate(ordered_values(block))}
        wanted = [v for v, placeholder in self.tape.needed.items() if placeholder.uses]
        for v in sorted(wanted, key=place.__getitem__):
            if local(v):
                continue
            if v in yielded or not computable(v):
                leaf(v)
                at_hand.add(v)

        def resolve(v: Value) -> Value | None:
            if v in leaves:
                return leaves[v]
            return leaf(v) if v in args or not isinstance(v.owner, Op) else None

        self.tape.resolve(resolve)


def _rounded(b: Builder, v: Value, dtype: str) -> Value:
    if v.type.dtype == dtype:
        return v
    return b.one("ew.cast", v, to=dtype)
