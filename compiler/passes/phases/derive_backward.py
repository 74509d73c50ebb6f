"""Derive back-propagation through time and the weight gradients.

Reverse-mode differentiation of the forward ops, last to first: structural ops by the rules of
``_ad_phase``, regions by those of ``_ad_ew``, a scan becomes a reverse scan (``_ad_scan``).  Only
what lies on a way from a trained parameter to the loss is differentiated.  Input gradients have
``phase = bp``, parameter gradients ``phase = wg``.  Each trained parameter gets an output
``grad/NAME``, divided by the loss scale.

An adjoint of a ``seq`` may be a ``tensor``: the same at every step.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.build import Builder, broadcast
from snncc.compiler.ir.core import Attribute, Block, Func, Module, Op, Value, tensor
from snncc.compiler.ir.training import TrainingSettings, training_of
from snncc.compiler.passes.phases.adjoint.phase import PHASE_RULES
from snncc.compiler.passes.phases.adjoint.region import Deferred, RegionTape, propagate, prune
from snncc.compiler.passes.phases.adjoint.scan import ReverseScan, active_in_scan
from snncc.compiler.passes.phases.adjoint.tape import Outer
from snncc.compiler.passes.phases.kit.emit import build_map, cast_map, full, map_one
from snncc.compiler.passes.phases.kit.loss_scale import scale_state, unscaled
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

_ANY_STEPS = frozenset(("phase.reshape", "phase.transpose", "phase.slice", "phase.pad"))


@compiler_pass(takes="phased")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Derive the backward phase and the weight gradients."""
    training = training_of(module)
    func = module.func("step")
    seeds = [o for o in func.body.ops if o.name == "phase.seed"]
    if not seeds:
        return False
    gradient = _Gradient(func, training)
    gradient.backward(seeds)
    gradient.outputs()
    for seed in seeds:
        seed.erase()
    return True


class _Gradient:
    """Adjoints of the values of a function; the tape of the structural rules."""

    def __init__(self, func: Func, training: TrainingSettings) -> None:
        self.func, self.training = func, training
        self.params = [
            o for o in func.body.ops if o.name == "phase.param" and o.attrs.get("train") is True
        ]
        self.active = self.propagate()
        self.adjoint: dict[Value, Value] = {}
        self.b = Builder(func.body)

    def propagate(self) -> set[Value]:
        """Return the values that depend on a trained parameter."""
        active = {o.result for o in self.params}
        for op in self.func.body.ops:
            if not any(v in active for v in op.operands):
                continue
            if op.name in PHASE_RULES:
                active.update(op.results)
            elif op.name in ("phase.map", "phase.scan"):
                block, end = op.regions[0], op.regions[0].terminator.operands
                if op.name == "phase.scan":
                    inside = active_in_scan(op, active)
                else:
                    args = zip(block.args, op.operands, strict=True)
                    inside = propagate(block, [a for a, v in args if v in active])
                active.update(r for r, v in zip(op.results, end, strict=True) if v in inside)
        return active

    # --- the tape -------------------------------------------------------------------------

    def fwd(self, value: Value) -> Value:
        """Forward values are simply there."""
        return value

    def wants(self, value: Value) -> bool:
        """Whether a value needs an adjoint."""
        return value in self.active

    def give(self, value: Value, adjoint: Value) -> None:
        """Add to an adjoint."""
        if value not in self.active:
            return
        before = self.adjoint.get(value)
        if before is not None:
            adjoint = map_one(
                self.b, [before, adjoint], lambda inner, a: inner.one("ew.add", a[0], a[1])
            )
        self.adjoint[value] = adjoint

    def outer(self, weight: Value, x: Value | None, g: Value, emit: Outer) -> None:
        """Add a parameter gradient."""
        with_phase = self.builder("wg")
        made = emit(with_phase, x, g)
        self.ordered(made)
        self.give(weight, made)

    def fit(self, value: Value, g: Value) -> Value:
        """Sum an adjoint to the shape of its value (and over time, for a tensor)."""
        shape, dtype = value.type.step_shape, "f32" if value.type.dtype == "f32" else "f16"
        if value.type.kind == "tensor" and (g.type.kind == "seq" or g.type.shape != shape):
            weight = isinstance(value.owner, Op) and value.owner.name == "phase.param"
            b = self.builder("wg") if weight else self.b
            made = b.one("phase.sum_to", g, shape=shape, wide=dtype == "f32")
            self.ordered(made)
            return made
        if g.type.step_shape != shape:
            step = g.type.step_shape
            padded = (1,) * (len(step) - len(shape)) + shape
            axes = tuple(i for i, d in enumerate(step) if padded[i] != d)
            g = self.b.one("phase.reduce", g, kind="sum", axes=axes, keepdims=True)
            if g.type.step_shape != shape:
                g = self.b.one("phase.reshape", g, shape=shape)
        return cast_map(self.b, g, dtype)

    def ordered(self, value: Value) -> None:
        """Give sums over samples their micro-batch."""
        owner = value.owner
        if self.training.microbatch is not None and isinstance(owner, Op):
            owner.attrs["microbatch"] = self.training.microbatch

    def builder(self, phase: str) -> Builder:
        """Return a builder like the current one for another phase."""
        return Builder(self.func.body, self.b.loc, None, **{**self.b.common, "phase": phase})

    # --- ops ------------------------------------------------------------------------------

    def backward(self, seeds: Sequence[Op]) -> None:
        """Run all rules from the loss back: ``seeds`` say its gradients by what was read."""
        forward = list(self.func.body.ops)
        for seed in seeds:
            self.enter(seed)
            self.give(seed.operands[0], seed.operands[1])
        for op in reversed(forward):
            gs = [self.adjoint.get(r) for r in op.results]
            if not any(g is not None for g in gs) or not any(map(self.wants, op.operands)):
                continue
            self.enter(op)
            if op.name == "phase.map":
                self.map(op)
            elif op.name == "phase.scan":
                self.scan(op)
            else:
                PHASE_RULES[op.name](self, op, [self.whole(op, i, g) for i, g in enumerate(gs)])

    def enter(self, op: Op) -> None:
        common: dict[str, Attribute] = {"phase": "bp"}
        if isinstance(op.attrs.get("layer"), str):
            common["layer"] = op.attrs["layer"]
        self.b = Builder(self.func.body, op.loc, None, **common)

    def whole(self, op: Op, index: int, g: Value | None) -> Value | None:
        """Give an adjoint a time axis where a sum over the steps would miss it."""
        result = op.results[index].type
        if g is None or g.type.kind == "seq" or result.kind == "tensor" or op.name in _ANY_STEPS:
            return g
        steps = result.shape[0]
        return build_map(
            self.b, [g], lambda inner, a: [inner.one("ew.cast", a[0], to="f16")], steps
        ).result

    def map(self, op: Op) -> None:
        """The reverse of a map: one map for all operands."""
        block = op.regions[0]
        ends = block.terminator.operands
        pairs = list(zip(block.args, op.operands, strict=True))
        active = propagate(block, [a for a, v in pairs if v in self.active])
        tape = RegionTape(block, active, op.loc, "")
        reads: list[tuple[Value, Value]] = []
        seeds: dict[Value, Value] = {}
        for r, end in zip(op.results, ends, strict=True):
            g = self.adjoint.get(r)
            if g is None or end not in active:
                continue
            inside = Value(tensor(g.type.step_shape, g.type.dtype), "g")
            reads.append((g, inside))
            if end in seeds:
                inside = tape.b.one("ew.add", seeds[end], inside)
            seeds[end] = inside
        tape.run(seeds)
        steps = next((r.type.shape[0] for r in op.results if r.type.kind == "seq"), None)
        wanted = [(v, tape.adjoint[a]) for a, v in pairs if a in tape.adjoint]
        if not wanted:
            return
        outputs = [self.typed(tape.b, v, g, steps is not None) for v, g in wanted]
        tape.b.op("phase.yield", *outputs)
        prune(tape.out)
        outer = dict(pairs)
        inputs: dict[Value, Value] = {}

        def leaf(v: Value) -> Value | None:
            if v not in outer:
                return None
            if v not in inputs:
                inputs[v] = Value(v.type, v.name)
                reads.append((outer[v], inputs[v]))
            return inputs[v]

        tape.resolve(leaf)
        made = self.close_map(tape.out, [r for r in reads if r[1].uses], outputs, steps)
        for (v, _), found in zip(wanted, made, strict=True):
            self.give(v, self.fit(v, found))

    @staticmethod
    def typed(b: Builder, operand: Value, g: Value, stays: bool) -> Value:
        """Round a contribution that needs no further sum; f32 otherwise stays."""
        whole = operand.type.kind == "seq" or not stays
        if whole and g.type.shape == operand.type.step_shape and operand.type.dtype != "f32":
            return g if g.type.dtype == "f16" else b.one("ew.cast", g, to="f16")
        return full(b, g, broadcast([g.type.shape, operand.type.step_shape]), g.type.dtype)

    def close_map(
        self, block: Block, reads: Sequence[tuple[Value, Value]], outputs: Sequence[Value],
        steps: int | None,
    ) -> list[Value]:  # fmt: skip
        """Emit the map of an adjoint block."""
        block.args = [v for _, v in reads]
        for i, v in enumerate(block.args):
            v.owner, v.index = block, i
        is_seq = any(o.type.kind == "seq" for o, _ in reads)
        types = [
            tensor(v.type.shape, v.type.dtype)
            if steps is None
            else type(v.type)("seq", (steps, *v.type.shape), v.type.dtype)
            for v in outputs
        ]
        more: dict[str, Attribute] = {} if is_seq or steps is None else {"steps": steps}
        return self.b.op(
            "phase.map", *(o for o, _ in reads), types=types, regions=[block], attrs=more
        ).results

    def scan(self, op: Op) -> None:
        """The reverse of a scan."""
        found = ReverseScan(self.b, op, self.active, self.adjoint, "").build()
        for i, g in found.operands.items():
            self.give(op.operands[i], self.fit(op.operands[i], g))
        for i, total in found.sums.items():
            v = op.operands[i]
            if total.type.shape == v.type.shape:
                self.give(v, cast_map(self.b, total, "f16"))
            else:
                self.give(v, self.fit(v, total))
        for i, x, g, deferred in found.outer:
            if isinstance(deferred, Deferred):
                self.outer(op.operands[i], x, g, deferred.emit)

    def outputs(self) -> None:
        """Report the gradients of the parameters, divided by the loss scale."""
        state = scale_state(self.func)
        for op in self.params:
            g = self.adjoint.get(op.result)
            self.enter(op)
            b = self.builder("wg")
            if g is None:
                g = b.op("phase.const", types=[op.result.type], value=0.0).result
            else:
                g = unscaled(b, g, self.training.scale, state)
            attrs: dict[str, Attribute] = {"name": f"grad/{op.str_attr('name')}", "axis": -1}
            if op.attrs.get("transpose"):
                attrs["transpose"] = True
            b.op("phase.output", g, attrs=attrs)
