"""Turn the graph into the forward phase of a training step.

``@main`` of the graph stage becomes ``@step`` of the phased stage: structural ops keep their names,
element-wise ops become ``phase.map``, neurons and delays ``phase.scan`` with the ops of
``build_neuron_step`` in its body; ops on a cycle through delays share one scan.  Does nothing about
losses or gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.diag import fail
from snncc.compiler.ir.build import Builder, flag, integer, ints, number, step_type, text
from snncc.compiler.ir.core import Attribute, Block, Func, Module, Op, Value, tensor
from snncc.compiler.ir.elementwise import build_elementwise, is_elementwise
from snncc.compiler.ir.layers import layer_of
from snncc.compiler.ir.neuron_step import (
    build_neuron_step,
    initial_state,
    param_names,
    state_names,
    step_params,
)
from snncc.compiler.ir.recurrence import groups
from snncc.compiler.ir.training import TrainingSettings, training_of
from snncc.compiler.passes.phases.kit.batchnorm import batchnorm, channel_factors
from snncc.compiler.passes.phases.kit.emit import (
    cast_map,
    full,
    map_one,
    number_value,
    region_const,
)
from snncc.compiler.passes.phases.kit.scan_builder import ScanBuilder
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

STRUCTURAL = frozenset(
    (
        *("param", "const", "linear", "conv", "conv_transpose", "pool", "matmul", "reduce"),
        *(
            "reduce_time",
            "time_to_axis",
            "axis_to_time",
            "reshape",
            "expand",
            "transpose",
            "concat",
            "slice",
            "pad",
        ),
    )
)

NOT_OF_A_STEP = frozenset(("param", "const", "reduce_time", "time_to_axis", "axis_to_time"))
"""Structural ops that no scan body holds."""


@compiler_pass(takes="graph", gives="phased")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Split the graph's forward computation into phase ops."""
    main = module.func("main")
    del module.funcs["main"]
    step = Func("step", Block(), dict(main.attrs))
    _Split(module, training_of(module), main, step).run()
    module.funcs["step"] = step
    module.attrs["stage"] = "phased"
    return True


class _Split:
    def __init__(self, module: Module, training: TrainingSettings, main: Func, step: Func) -> None:
        self.module, self.training, self.main, self.step = module, training, main, step
        self.env: dict[Value, Value] = {}

    def run(self) -> None:
        for arg in self.main.body.args:
            self.env[arg] = self.step.body.add_arg(arg.type, arg.name)
        for group in groups(self.main.body):
            if group.recurrent:
                self.recurrent(group.ops)
            else:
                self.single(group.ops[0])

    def builder(self, op: Op, phase: str = "fp") -> Builder:
        common: dict[str, Attribute] = {"phase": phase}
        layer = layer_of(op)
        if layer:
            common["layer"] = layer
        return Builder(self.step.body, op.loc, None, **common)

    def args(self, op: Op) -> list[Value]:
        return [self.env[v] for v in op.operands]

    def bind(self, op: Op, made: Sequence[Value]) -> None:
        for old, new in zip(op.results, made, strict=True):
            new.name = old.name
            self.env[old] = new

    def single(self, op: Op) -> None:
        """Translate an op outside any cycle."""
        b, kind = self.builder(op), op.name[6:]
        if op.name == "graph.delay_next":
            return
        if op.name == "graph.delay":
            self.bind(op, [self.plain_delay(b, op)])
        elif op.name == "graph.neuron":
            self.neuron(b, op)
        elif op.name == "graph.output":
            attrs = {**_kept(op), "name": f"out/{op.str_attr('name')}"}
            b.op("phase.output", *self.args(op), attrs=attrs)
        elif kind == "pool" and _counts_inside(op):
            self.bind(op, [self.average(b, op)])
        elif kind in STRUCTURAL:
            types = [r.type for r in op.results]
            args = self.args(op)
            if kind == "conv_transpose":  # its products and its gradient's take numbers
                args[0] = cast_map(b, args[0], "f16")
            made = b.op(f"phase.{kind}", *args, types=types, attrs=_kept(op))
            self.bind(op, made.results)
        elif is_elementwise(op):
            self.bind(
                op, [map_one(b, self.args(op), lambda inner, a: build_elementwise(inner, op, a))]
            )
        else:
            self.bind(op, [self.composite(b, op)])

    def composite(self, b: Builder, op: Op) -> Value:
        """Translate an op that becomes several."""
        match op.name:
            case "graph.softmax":
                return _softmax(b, self.args(op)[0], op.int_attr("axis"))
            case "graph.batchnorm":
                return batchnorm(b, self.builder(op, "update"), op, self.args(op), self.training)
            case "graph.dropout":
                return self.dropout(b, op)
            case _:
                raise ValueError(f"no phase op for {op.name}")

    def average(self, b: Builder, op: Op) -> Value:
        """Average what lies inside: the sum over a window, divided by the sum over ones."""
        (x,) = self.args(op)
        attrs = {k: v for k, v in _kept(op).items() if k != "count_pad"} | {"kind": "sum"}
        ones = b.op("phase.const", types=[tensor(x.type.step_shape)], value=1.0).result
        total = b.op("phase.pool", x, attrs=attrs).result
        count = b.op("phase.pool", ones, attrs=attrs).result
        return map_one(b, [total, count], lambda inner, a: inner.one("ew.div", a[0], a[1]))

    def dropout(self, b: Builder, op: Op) -> Value:
        """Training: x/(1-rate) where a random number reaches the rate, else 0."""
        rate, (x,) = number(op.attrs, "rate"), self.args(op)
        active = self.training.train and rate > 0

        def drop(inner: Builder, a: list[Value]) -> Value:
            value = number_value(inner, a[0])
            if not active:
                return inner.one("ew.cast", value, to="f16") if value is a[0] else value
            stream = integer(op.attrs, "stream")
            random = inner.one("ew.rand", shape=a[0].type.shape, stream=stream)
            keep = inner.one("ew.ge", random, region_const(inner, rate))
            grown = inner.one("ew.mul", value, region_const(inner, 1 / (1 - rate)))
            return inner.one("ew.select", keep, grown, region_const(inner, 0.0))

        return map_one(b, [x], drop)

    def initial(self, b: Builder, op: Op, state: str, shape: tuple[int, ...]) -> Value:
        """Return a neuron's initial state as a tensor."""
        first = initial_state(op, state)
        if not isinstance(first, Value):
            return b.op("phase.const", types=[tensor(shape)], value=first).result
        value = self.env[first]
        return value if value.type.shape == shape else b.one("phase.expand", value, shape=shape)

    def neuron(self, b: Builder, op: Op) -> None:
        """A scan whose body is one neuron step; an unused membrane is not an output."""
        out = op.results[0].type
        scan = ScanBuilder(b, out.shape[0] if out.kind == "seq" else 1)
        x = self.env[op.operands[0]]
        inner_x = scan.read(x)
        results = self.neuron_body(scan, op, inner_x)
        used = [i for i, r in enumerate(op.results) if r.uses or i == 0]
        for i in used:
            scan.output(results[i])
        made = scan.finish([op.results[i].name for i in used])
        if out.kind == "tensor":
            made = [b.one("phase.reduce_time", v, kind="last") for v in made]
        for i, value in zip(used, made, strict=True):
            self.env[op.results[i]] = value

    def neuron_body(self, scan: ScanBuilder, op: Op, x: Value) -> list[Value]:
        """Emit a neuron step into a scan; its states become carried values."""
        shape = op.operands[0].type.step_shape
        names, params = param_names(op.attrs), step_params(op.attrs)
        states = [
            scan.carry(self.initial(scan.b, op, name, shape), name)
            for name in state_names(op.attrs)
        ]
        wanted = [op.operands[1 + names.index(n)] for n in params]
        captured = [scan.read(self.env[v]) for v in wanted]
        step = build_neuron_step(
            scan.inner, op.attrs, x, states, dict(zip(params, captured, strict=True))
        )
        for state, following in zip(states, step.states, strict=True):
            scan.next(state, full(scan.inner, following, shape))
        membrane = full(scan.inner, step.membrane, shape)
        if step.spikes is None:
            return [membrane]
        dtype = step.spikes.type.dtype
        return [full(scan.inner, step.spikes, shape, dtype), membrane]

    def delay_init(self, b: Builder, op: Op) -> Value:
        out = step_type(op.results[0].type)
        if not op.operands:
            return b.op("phase.const", types=[out], value=number(op.attrs, "init", 0.0)).result
        value = self.env[op.operands[0]]
        return value if value.type == out else b.one("phase.expand", value, shape=out.shape)

    def plain_delay(self, b: Builder, op: Op) -> Value:
        """A delay on no cycle: shift the sequence by one step."""
        state = text(op.attrs, "state")
        source = next(
            o.operands[0]
            for o in self.main.body.ops
            if o.name == "graph.delay_next" and o.attrs["state"] == state
        )
        scan = ScanBuilder(b, op.results[0].type.shape[0])
        held = scan.carry(self.delay_init(b, op), state)
        scan.next(held, scan.read(self.env[source]))
        scan.output(held)
        return scan.finish([])[0]

    def recurrent(self, ops: Sequence[Op]) -> None:
        """One scan for ops on a cycle through delays."""
        first = next((o for o in ops if o.name == "graph.neuron"), ops[0])
        steps = next(o.results[0].type.shape[0] for o in ops if o.name == "graph.delay")
        b = self.builder(first)
        scan = ScanBuilder(b, steps)
        local: dict[Value, Value] = {}
        held: dict[str, Value] = {}
        factors: dict[Op, tuple[Value, Value]] = {}
        for op in ops:  # what does not change from step to step is computed once
            if op.name == "graph.batchnorm":
                self.needs_running(op)
                k, m = channel_factors(self.builder(op), op, [self.env[v] for v in op.operands[1:]])
                factors[op] = (scan.read(k), scan.read(m))
        inside = {r for o in ops for r in o.results}

        def get(v: Value) -> Value:
            if v not in local:
                local[v] = scan.read(self.env[v])
            return local[v]

        for op in ops:
            if op.name == "graph.delay":
                init = self.delay_init(b, op)
                state = text(op.attrs, "state")
                local[op.result] = held[state] = scan.carry(init, state)
        for op in ops:
            if op.name == "graph.delay":
                continue
            if op.name == "graph.delay_next":
                scan.next(held[text(op.attrs, "state")], get(op.operands[0]))
            elif op.name == "graph.neuron":
                found = self.neuron_body(scan, op, get(op.operands[0]))
                local.update(zip(op.results, found, strict=True))
            elif op in factors:
                k, m = factors[op]
                scaled = scan.inner.one("ew.mul", number_value(scan.inner, get(op.operands[0])), k)
                local[op.result] = scan.inner.one(
                    "ew.cast", scan.inner.one("ew.add", scaled, m), to="f16"
                )
            else:
                local[op.result] = self.inner_op(scan.inner, op, [get(v) for v in op.operands])
        escaping = [
            r
            for o in ops
            for r in o.results
            if any(u not in ops for u, _ in r.uses) and r in inside
        ]
        for r in escaping:
            scan.output(full(scan.inner, local[r], r.type.step_shape, r.type.dtype))
        made = scan.finish([r.name for r in escaping])
        self.env.update(zip(escaping, made, strict=True))

    def inner_op(self, b: Builder, op: Op, args: list[Value]) -> Value:
        """Translate a stateless op inside a scan body, on step values."""
        kind = op.name[6:]
        if kind in STRUCTURAL and kind not in NOT_OF_A_STEP:
            types = [step_type(r.type) for r in op.results]
            return b.op(f"phase.{kind}", *args, types=types, attrs=_kept(op)).result
        if is_elementwise(op):
            return build_elementwise(b, op, args)
        fail(
            "E0375",
            f"{kind} of layer '{layer_of(op)}' lies on a cycle through time",
            where=str(op.loc),
            help="in a recurrent connection there may be dense layers, convolutions, element-wise "
            "operations and neurons",
        )

    def needs_running(self, op: Op) -> None:
        """Refuse batch statistics of what the step before decides."""
        if self.training.batch_statistics:
            fail(
                "E0375",
                f"the batch normalisation of layer '{layer_of(op)}' lies on a cycle through time, "
                "where batch statistics are not supported",
                where=str(op.loc),
                help='set statistics = "running" in [batchnorm]',
            )


def _kept(op: Op) -> dict[str, Attribute]:
    """Attributes that a structural op keeps."""
    return {k: v for k, v in op.attrs.items() if k != "origin"}


def _counts_inside(op: Op) -> bool:
    """Whether a pooling divides by the number of elements that a window has inside the input."""
    padded = any(ints(op.attrs, "padding", ()))
    return op.attrs.get("kind") == "avg" and padded and not flag(op.attrs, "count_pad", True)


def _softmax(b: Builder, x: Value, axis: int) -> Value:
    """exp(x - max)/sum: maximum, exponential by table, f32 sum, quotient rounded once."""
    x = cast_map(b, x, "f16")
    top = b.one("phase.reduce", x, kind="max", axes=(axis,), keepdims=True)

    def grow(inner: Builder, a: list[Value]) -> Value:
        top_ = inner.one("ew.stop_gradient", number_value(inner, a[1]))
        d = inner.one("ew.sub", number_value(inner, a[0]), top_)
        return inner.one("ew.table", d, fn="exp")

    def share(inner: Builder, a: list[Value]) -> Value:
        return inner.one("ew.cast", inner.one("ew.div", a[0], a[1]), to="f16")

    e = map_one(b, [x, top], grow)
    total = b.one("phase.reduce", e, kind="sum", axes=(axis,), keepdims=True, wide=True)
    return map_one(b, [e, total], share)
