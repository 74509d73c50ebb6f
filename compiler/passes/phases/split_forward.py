"""Turn the graph into the forward phase of a training step.

``@main`` of the graph stage becomes ``@step`` of the phased stage: structural ops keep their names,
element-wise ops become ``phase.map``, neurons and delays ``phase.scan`` with the ops of
``build_neuron_step`` in its body; ops on a cycle through delays share one scan.  Does nothing about
losses or gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

from snncc.compiler.ir.build import Builder, flag, integer, ints, number, step_type, text
from snncc.compiler.ir.core import Attribute, Block, Func, Module, Op, Type, Value, tensor
from snncc.compiler.ir.elementwise import build_elementwise, is_elementwise
from snncc.compiler.ir.neuron_step import (
    build_neuron_step,
    initial_state,
    param_names,
    state_names,
    step_params,
)
from snncc.compiler.ir.recurrence import groups
from snncc.compiler.ir.training import Training, training_of
from snncc.compiler.passes.phases._emit import (
    cast_map,
    full,
    map_one,
    number_value,
    region_const,
)
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

STRUCTURAL = frozenset(
    (
        *("param", "const", "linear", "conv", "conv_transpose", "pool", "matmul", "reduce"),
        *("reduce_time", "reshape", "expand", "transpose", "concat", "slice", "pad"),
    )
)


@compiler_pass(takes="graph", gives="phased")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Split the graph's forward computation into phase ops."""
    main = module.funcs.pop("main")
    step = Func("step", Block(), dict(main.attrs))
    _Split(module, training_of(module), main, step).run()
    module.funcs["step"] = step
    module.attrs["stage"] = "phased"
    return True


def _layer_of(op: Op) -> str:
    """Return the layer's name: its own, or what its weight is called without the last part."""
    layer = op.attrs.get("layer")
    if isinstance(layer, str):
        return layer
    for v in op.operands[1:]:
        if isinstance(v.owner, Op) and v.owner.name == "graph.param":
            return v.owner.str_attr("name").partition("#")[0].rpartition(".")[0]
    return ""


class _Split:
    def __init__(self, module: Module, training: Training, main: Func, step: Func) -> None:
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
        layer = _layer_of(op)
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
                return self.batchnorm(b, op)
            case "graph.dropout":
                return self.dropout(b, op)
            case _:
                raise NotImplementedError(op.name)

    def average(self, b: Builder, op: Op) -> Value:
        """Average what lies inside: the sum over a window, divided by the sum over ones."""
        (x,) = self.args(op)
        attrs = {k: v for k, v in _kept(op).items() if k != "count_pad"} | {"kind": "sum"}
        ones = b.op("phase.const", types=[tensor(x.type.step_shape)], value=1.0).result
        total = b.op("phase.pool", x, attrs=attrs).result
        count = b.op("phase.pool", ones, attrs=attrs).result
        return map_one(b, [total, count], lambda inner, a: inner.one("ew.div", a[0], a[1]))

    def batchnorm(self, b: Builder, op: Op) -> Value:
        """Statistics, 1/sqrt(var + eps), then the normalisation as one op."""
        x, scale, shift, mean, var = self.args(op)
        axis, eps = integer(op.attrs, "axis", 1), number(op.attrs, "eps")
        batch = self.training.batch_statistics
        if batch:
            stats = b.op("phase.bn_stats", x, axis=axis)
            if self.training.optimizer is not None:
                self.running(op, [mean, var], stats.results, x.type, axis)
            mean, var = stats.results
        mean = cast_map(b, mean, "f32")

        def invert(inner: Builder, a: list[Value]) -> Value:
            sd = inner.one("ew.add", a[0], region_const(inner, eps, "f32"))
            one = region_const(inner, 1.0, "f32")
            return inner.one("ew.div", one, inner.one("ew.sqrt", sd))

        inv = map_one(b, [cast_map(b, var, "f32")], invert)
        return b.one(
            "phase.batchnorm", x, mean, inv, scale, shift,
            axis=axis, statistics="batch" if batch else "running",
        )  # fmt: skip

    def running(self, op: Op, old: list[Value], new: list[Value], x: Type, axis: int) -> None:
        """Move the running statistics: old + momentum*(new - old); the variance unbiased."""
        b, m = self.builder(op, "update"), number(op.attrs, "momentum", 0.1)
        count = x.size // x.step_shape[axis]
        factors = (1.0, count / max(count - 1, 1))
        for before, found, factor in zip(old, new, factors, strict=True):

            def move(inner: Builder, a: list[Value], factor: float = factor) -> Value:
                scaled = inner.one("ew.mul", a[1], region_const(inner, factor, "f32"))
                keep = inner.one("ew.mul", a[0], region_const(inner, 1 - m, "f32"))
                part = inner.one("ew.mul", scaled, region_const(inner, m, "f32"))
                return inner.one("ew.cast", inner.one("ew.add", keep, part), to="f16")

            owner = before.owner
            if isinstance(owner, Op) and owner.name == "phase.param":
                value = map_one(b, [before, found], move)
                b.op("phase.store", value, name=owner.str_attr("name"), kind="param")

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
        scan = _Scan(b, out.shape[0] if out.kind == "seq" else 1)
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

    def neuron_body(self, scan: _Scan, op: Op, x: Value) -> list[Value]:
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
        scan = _Scan(b, op.results[0].type.shape[0])
        held = scan.carry(self.delay_init(b, op), state)
        scan.next(held, scan.read(self.env[source]))
        scan.output(held)
        return scan.finish([])[0]

    def recurrent(self, ops: Sequence[Op]) -> None:
        """One scan for ops on a cycle through delays."""
        first = next((o for o in ops if o.name == "graph.neuron"), ops[0])
        steps = next(o.results[0].type.shape[0] for o in ops if o.name == "graph.delay")
        b = self.builder(first)
        scan = _Scan(b, steps)
        local: dict[Value, Value] = {}
        held: dict[str, Value] = {}
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
        if kind in STRUCTURAL and kind not in ("param", "const", "reduce_time"):
            types = [step_type(r.type) for r in op.results]
            return b.op(f"phase.{kind}", *args, types=types, attrs=_kept(op)).result
        if is_elementwise(op):
            return build_elementwise(b, op, args)
        raise NotImplementedError(f"{op.name} on a cycle through time")


def _kept(op: Op) -> dict[str, Attribute]:
    """Attributes that a structural op keeps."""
    return {k: v for k, v in op.attrs.items() if k != "origin"}


def _counts_inside(op: Op) -> bool:
    """Whether a pooling divides by the number of elements that a window has inside the input."""
    padded = any(ints(op.attrs, "padding", ()))
    return op.attrs.get("kind") == "avg" and padded and not flag(op.attrs, "count_pad", True)


def _softmax(b: Builder, x: Value, axis: int) -> Value:
    """exp(x - max)/sum: maximum, exponential by table, f32 sum, quotient rounded once."""
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


class _Scan:
    """Collects the parts of a scan while its body is being written."""

    def __init__(self, b: Builder, steps: int) -> None:
        self.b, self.steps = b, steps
        self.block = Block()
        self.inner = Builder(self.block, b.loc)
        self.carried: list[tuple[Value, Value]] = []  # outer initial value, body value
        self.following: dict[Value, Value] = {}
        self.reads: dict[Value, Value] = {}
        self.outputs: list[Value] = []

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
        return made.results[n:]
