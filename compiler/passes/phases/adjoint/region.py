"""Reverse-mode differentiation of a region: one block's adjoint code.

The adjoint block consists of a prelude (forward values that the rules ask for) and the adjoint ops
in reverse order.  While rules run, a forward value is a placeholder; afterwards the caller says for
each whether it is recomputed, captured or read from a saved sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.clone import clone_op
from snncc.compiler.ir.core import Block, Location, Op, Value, tensor
from snncc.compiler.passes.phases.adjoint.ew import DIFFERENTIABLE, RULES, Emit
from snncc.compiler.passes.phases.adjoint.phase import PHASE_RULES
from snncc.compiler.passes.phases.adjoint.tape import Outer


def propagate(block: Block, active: Iterable[Value]) -> set[Value]:
    """Return every value of a block through which an adjoint flows to the active arguments."""
    found = set(active)
    for op in block.ops:
        if op.dialect == "ew":
            sources = [op.operands[i] for i in DIFFERENTIABLE.get(op.name, ())]
        else:
            sources = op.operands if op.name in PHASE_RULES else []
        if any(v in found for v in sources):
            found.update(op.results)
    return found


@dataclass(frozen=True)
class Deferred:
    """A parameter gradient that is computed outside the scan, from stacked values."""

    weight: Value  # block value of the parameter
    x: Value | None  # forward block value
    g: Value  # value in the adjoint block
    emit: Outer


class RegionTape:
    """Runs the rules of a block's ops in reverse into a new block."""

    def __init__(self, block: Block, active: set[Value], loc: Location, layer: str) -> None:
        """``active``: values of ``block`` that need adjoints (see :func:`propagate`)."""
        self.block, self.active = block, active
        self.out = Block()
        self.b = Builder(self.out, loc)
        self.layer = layer
        self.needed: dict[Value, Value] = {}
        self.adjoint: dict[Value, Value] = {}
        self.deferred: list[Deferred] = []

    def fwd(self, value: Value) -> Value:
        """Return a placeholder for a forward value; constants are emitted again."""
        owner = value.owner
        if isinstance(owner, Op) and owner.name == "ew.const":
            return self.b.insert(clone_op(owner, {})).result
        if isinstance(owner, Op) and owner.name == "ew.stop_gradient":
            return self.fwd(owner.operands[0])
        if value not in self.needed:
            self.needed[value] = Value(value.type, value.name)
        return self.needed[value]

    def wants(self, value: Value) -> bool:
        """Whether a value needs an adjoint."""
        return value in self.active

    def give(self, value: Value, adjoint: Value) -> None:
        """Add to an adjoint.

        That of a value that others are wider than is wide, too, until it is summed; two of
        different widths are summed before they are added.
        """
        if value not in self.active:
            return
        before = self.adjoint.get(value)
        if before is None:
            self.adjoint[value] = adjoint
            return
        if before.type.shape != adjoint.type.shape:
            before, adjoint = (
                self.fit(value, g) if g.type.size > value.type.size else g
                for g in (before, adjoint)
            )
        self.adjoint[value] = Emit(self.b).add(before, adjoint)

    def outer(self, weight: Value, x: Value | None, g: Value, emit: Outer) -> None:
        """Leave a parameter gradient to be computed outside."""
        self.deferred.append(Deferred(weight, x, g, emit))

    def fit(self, value: Value, g: Value) -> Value:
        """Give an adjoint the shape of its value, and where that is f16 the type."""
        shape = value.type.shape
        if g.type.dtype == "f32" and value.type.dtype != "f32" and g.type.shape == shape:
            return self.b.one("ew.cast", g, to="f16")
        if g.type.shape == shape:
            return g
        if len(g.type.shape) <= len(shape) and g.type.size <= value.type.size:
            return self.b.one("ew.expand", g, shape=shape)
        return self.b.one("phase.sum_to", g, shape=shape)

    def arg(self, value: Value, name: str) -> Value:
        """Add an argument to the adjoint block for a value of the forward block."""
        dtype = "f16" if value.type.dtype == "bit" else value.type.dtype
        return self.out.add_arg(tensor(value.type.shape, dtype), name)

    def run(self, seeds: Mapping[Value, Value]) -> None:
        """Run all rules; ``seeds`` are the adjoints of what the region yields."""
        for value, seed in seeds.items():
            self.give(value, seed)
        for op in reversed(self.block.ops):
            rule = RULES.get(op.name)
            if rule is not None:
                g = self.adjoint.get(op.results[0])
                if g is not None:
                    rule(self, Emit(self.b), op, g)
                continue
            structural = PHASE_RULES.get(op.name)
            if structural is None:
                continue
            gs = [self.adjoint.get(r) for r in op.results]
            if any(g is not None for g in gs):
                fitted = [
                    None if g is None else self.fit(r, g)
                    for r, g in zip(op.results, gs, strict=True)
                ]
                structural(self, op, fitted)

    def resolve(self, leaf: Callable[[Value], Value | None]) -> None:
        """Replace the placeholders: ``leaf`` gives an available value or None to recompute."""
        prelude = Block()
        known: dict[Value, Value] = {}

        def recompute(v: Value) -> Value:
            if not isinstance(v.owner, Op):
                raise ValueError(f"forward value %{v.name} is not available")
            operands = {o: value_of(o) for o in v.owner.operands}
            return prelude.append(clone_op(v.owner, operands)).result

        def value_of(v: Value) -> Value:
            if v in known:
                return known[v]
            owner = v.owner
            stopped = isinstance(owner, Op) and owner.name == "ew.stop_gradient"
            given: Value | None = None if stopped else leaf(v)
            if isinstance(owner, Op) and stopped:
                given = value_of(owner.operands[0])
            known[v] = recompute(v) if given is None else given
            return known[v]

        place = {v: i for i, v in enumerate(ordered_values(self.block))}
        wanted = [v for v, placeholder in self.needed.items() if placeholder.uses]
        for v in sorted(wanted, key=place.__getitem__):
            self.needed[v].replace_by(value_of(v))
        for op in prelude.ops:
            op.parent = self.out
        self.out.ops = [*prelude.ops, *self.out.ops]


def ordered_values(block: Block) -> list[Value]:
    """Return the values of a block in order of definition."""
    return [*block.args, *(r for op in block.ops for r in op.results)]


def prune(block: Block, keep: Iterable[Value] = ()) -> None:
    """Remove ops of a block whose results nobody uses."""
    kept = set(keep)
    for op in reversed(list(block.ops)):
        if op.results and not any(r.uses or r in kept for r in op.results):
            op.erase()
