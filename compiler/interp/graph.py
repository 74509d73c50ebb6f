"""Ops that only the graph stage has: element-wise layers, neurons, recurrence.

A neuron is evaluated through the ops that ``build_neuron_step`` emits, which are also what the
phase pass emits; element-wise layers through the arithmetic that their ``ew`` op has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from snncc.compiler.interp.kernels import Call, aligned, batchnorm, bn_stats
from snncc.compiler.interp.numerics import Array, Numerics
from snncc.compiler.interp.region import Elementwise
from snncc.compiler.ir.build import Builder, flag, number, step_type, text
from snncc.compiler.ir.core import Block, Op, Type, Value, tensor
from snncc.compiler.ir.elementwise import build_elementwise
from snncc.compiler.ir.neuron_step import (
    NeuronStep,
    build_neuron_step,
    initial_state,
    param_names,
    state_names,
    step_params,
)

Runner: TypeAlias = Callable[[Op, Sequence[Array], Sequence[bool], int], list[Array]]


class Neuron:
    """A neuron op ready to run step by step."""

    def __init__(self, op: Op) -> None:
        """Emit the step once."""
        self.op = op
        x = op.operands[0].type
        self.shape = x.step_shape
        block = Block()
        self.x = block.add_arg(step_type(x), "x")
        self.states = [block.add_arg(tensor(self.shape), n) for n in state_names(op.attrs)]
        names = param_names(op.attrs)
        self.wanted = [1 + names.index(n) for n in step_params(op.attrs)]
        self.params = [block.add_arg(step_type(op.operands[i].type)) for i in self.wanted]
        named = dict(zip(step_params(op.attrs), self.params, strict=True))
        self.step: NeuronStep = build_neuron_step(
            Builder(block), op.attrs, self.x, self.states, named
        )
        self.ops = list(block.ops)

    def initial(self, num: Numerics, operand: Callable[[Value], Array]) -> list[Array]:
        """Return the states before the first step."""
        out: list[Array] = []
        for name in state_names(self.op.attrs):
            first = initial_state(self.op, name)
            array = (
                operand(first) if isinstance(first, Value) else num.value(np.float64(first), "f16")
            )
            out.append(np.broadcast_to(array, self.shape))
        return out

    def __call__(
        self, ew: Elementwise, args: Sequence[Array], states: list[Array]
    ) -> tuple[list[Array], list[Array]]:
        """Run one step: outputs and next states."""
        env: dict[Value, Array] = {self.x: args[0]}
        env.update(zip(self.states, states, strict=True))
        env.update(zip(self.params, [args[i] for i in self.wanted], strict=True))
        for op in self.ops:
            env[op.result] = ew(op, [env[v] for v in op.operands], 0)
        outs = [self.step.membrane] if self.step.spikes is None else [
            self.step.spikes, self.step.membrane
        ]  # fmt: skip
        full = [np.broadcast_to(env[v], self.shape) for v in outs]
        return full, [np.broadcast_to(env[v], self.shape) for v in self.step.states]


def _neuron(c: Call, ew: Elementwise) -> list[Array]:
    neuron = Neuron(c.op)
    lookup = dict(zip(c.op.operands, c.args, strict=True))
    states = neuron.initial(c.num, lambda v: lookup[v])
    out_type = c.op.results[0].type
    if out_type.kind == "tensor":
        return neuron(ew, c.args, states)[0]
    steps = out_type.shape[0]
    rows: list[list[Array]] = []
    for t in range(steps):
        here = [a[t] if s else a for a, s in zip(c.args, c.seqs, strict=True)]
        out, states = neuron(ew, here, states)
        rows.append(out)
    return [np.stack(column) for column in zip(*rows, strict=True)]


def _softmax(c: Call) -> list[Array]:
    """Max, exp(x - max) by table, f32 sum ascending, quotient rounded once."""
    axis = c.axis(c.op.int_attr("axis"))
    x = c.num.number(c.args[0])
    d = c.num.binary("sub", x, np.max(x, axis=axis, keepdims=True), "f16")
    e = c.num.table("exp", d)
    total = np.expand_dims(c.num.total(np.moveaxis(e, axis, 0)), axis)
    return [c.num.round(c.num.binary("div", e, total, "f32"), "f16")]


def _batchnorm(c: Call, batch: bool) -> list[Array]:
    """As the phase pass splits it: statistics, 1/sqrt(var + eps) in f32, scale and shift."""
    x, scale, shift, mean, var = c.args
    stepwise = batch and c.seqs[0] and flag(c.op.attrs, "per_step")
    if batch:
        mean, var = bn_stats(Call(c.num, c.op, [x], [c.seqs[0]]))
    f, eps = c.num.binary, c.num.value(np.float64(number(c.op.attrs, "eps")), "f32")
    sd = c.num.unary("sqrt", f("add", var, eps, "f32"), "f32")
    inv = f("div", np.ones((), c.num.real), sd, "f32")
    return batchnorm(Call(c.num, c.op, [x, mean, inv, scale, shift],
                          [c.seqs[0], stepwise, stepwise, False, False]))  # fmt: skip


def graph_op(c: Call, ew: Elementwise) -> list[Array]:
    """Evaluate an op of the graph stage that has no kernel of its own."""
    match c.op.name:
        case "graph.neuron":
            return _neuron(c, ew)
        case "graph.softmax":
            return _softmax(c)
        case "graph.batchnorm":
            return _batchnorm(c, ew.batch_statistics)
        case "graph.dropout" | "graph.stop_gradient":
            return [c.num.number(c.args[0]) if c.op.name == "graph.dropout" else c.args[0]]
        case _:
            return _elementwise(c, ew)


def _elementwise(c: Call, ew: Elementwise) -> list[Array]:
    """Through the same ew ops as the phase pass, all steps at once."""
    block = Block()
    args = aligned(c.args, c.seqs)
    values = [
        block.add_arg(Type("tensor", a.shape, v.type.dtype))
        for a, v in zip(args, c.op.operands, strict=True)
    ]
    result = build_elementwise(Builder(block), c.op, values)
    env = dict(zip(values, args, strict=True))
    for op in block.ops:
        env[op.result] = ew(op, [env[v] for v in op.operands], 0)
    return [env[result]]


class Recurrent:
    """Ops on a cycle through time, run step by step."""

    def __init__(self, num: Numerics, ew: Elementwise, ops: Sequence[Op], run_op: Runner) -> None:
        """``run_op`` evaluates an op that is not a neuron or a delay."""
        self.num, self.ew, self.ops, self.run_op = num, ew, ops, run_op

    @staticmethod
    def first(num: Numerics, op: Op, env: dict[Value, Array]) -> Array:
        """Return a delay's initial value."""
        out = op.results[0].type
        if op.operands:
            return np.broadcast_to(env[op.operands[0]], out.step_shape)
        value = num.value(np.float64(number(op.attrs, "init", 0.0)), out.dtype)
        return np.broadcast_to(value, out.step_shape)

    @staticmethod
    def shift(num: Numerics, op: Op, ops: Sequence[Op], env: dict[Value, Array]) -> None:
        """Evaluate a delay that is on no cycle."""
        state = text(op.attrs, "state")
        source = next(
            o.operands[0] for o in ops if o.name == "graph.delay_next" and o.attrs["state"] == state
        )
        out = op.results[0].type
        x = env[source]
        whole = x if source.type.kind == "seq" else np.broadcast_to(x, out.shape)
        env[op.result] = np.concatenate([Recurrent.first(num, op, env)[None], whole[:-1]])

    def run(self, env: dict[Value, Array]) -> None:
        """Evaluate all steps and put the stacked results into ``env``."""
        steps = next(o.results[0].type.shape[0] for o in self.ops if o.name == "graph.delay")
        neurons = {o: Neuron(o) for o in self.ops if o.name == "graph.neuron"}
        states = {o: n.initial(self.num, env.__getitem__) for o, n in neurons.items()}
        waiting = {
            o.str_attr("state"): self.first(self.num, o, env)
            for o in self.ops
            if o.name == "graph.delay"
        }
        made = [r for o in self.ops for r in o.results]
        rows: dict[Value, list[Array]] = {r: [] for r in made}
        for t in range(steps):
            local: dict[Value, Array] = {}
            coming: dict[str, Array] = {}

            def get(v: Value, t: int = t, local: dict[Value, Array] = local) -> Array:
                if v in local:
                    return local[v]
                return env[v][t] if v.type.kind == "seq" else env[v]

            for op in self.ops:
                if op.name == "graph.delay":
                    local[op.result] = waiting[op.str_attr("state")]
                    continue
                args = [get(v) for v in op.operands]
                if op.name == "graph.delay_next":
                    coming[op.str_attr("state")] = args[0]
                elif op in neurons:
                    found, states[op] = neurons[op](self.ew, args, states[op])
                    local.update(zip(op.results, found, strict=True))
                else:
                    found = self.run_op(op, args, [False] * len(args), t)
                    local.update(zip(op.results, found, strict=True))
            waiting = coming
            for r in made:
                rows[r].append(local[r])
        env.update({r: np.stack(column) for r, column in rows.items()})
