"""Evaluating functions of every stage that is not machine code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.graph import Recurrent, graph_op
from snncc.compiler.interp.kernels import KERNELS, Call
from snncc.compiler.interp.losses import seed, softmax_ce, total
from snncc.compiler.interp.numerics import Array, Numerics, numerics_of
from snncc.compiler.interp.region import Elementwise, shaped, yielded
from snncc.compiler.interp.tiled import evaluate_tiled
from snncc.compiler.ir.build import number, text
from snncc.compiler.ir.core import Module, Op, Value
from snncc.compiler.ir.recurrence import groups
from snncc.compiler.ir.training import training_seed, uses_batch_statistics

_LOSSES = {"softmax_ce": softmax_ce, "total": total, "seed": seed}


class Interpreter:
    """One evaluation: arithmetic, module, states and what was computed so far."""

    def __init__(
        self, module: Module, num: Numerics, state: Mapping[str, npt.ArrayLike], seed: int
    ) -> None:
        """``state`` replaces parameters and states by name."""
        self.module, self.num, self.state = module, num, state
        self.ew = Elementwise(num, seed)
        self.ew.batch_statistics = uses_batch_statistics(module)
        self.outputs: dict[str, Array] = {}

    def source(self, op: Op) -> Array:
        """Value of a param, const or state op."""
        type_ = op.results[0].type
        name = op.attrs.get("name")
        if isinstance(name, str) and name in self.state:
            array = np.asarray(self.state[name])
        elif isinstance(op.attrs.get("resource"), str):
            array = np.asarray(self.module.resources[op.str_attr("resource")])
        else:
            key = "init" if op.name == "phase.state" else "value"
            array = np.asarray(np.float64(number(op.attrs, key, 0.0)))
        return np.broadcast_to(self.num.value(array, type_.dtype), type_.shape)

    def result(self, op: Op, value: Array) -> None:
        """Record an output or a stored state."""
        name = op.str_attr("name")
        if op.name == "phase.store":
            name = f"param/{name}" if op.attrs.get("kind") == "param" else f"state/{name}"
        elif op.name == "graph.output":
            name = f"out/{name}"
        self.outputs[name] = value

    def run_op(self, op: Op, args: Sequence[Array], seqs: Sequence[bool], step: int) -> list[Array]:
        """Evaluate one op; ``step`` counts inside a region."""
        kind = op.name.partition(".")[2]
        if op.dialect == "ew":
            return [self.ew(op, args, step)]
        if kind in ("param", "const", "state"):
            return [self.source(op)]
        if kind in ("output", "store"):
            self.result(op, args[0])
            return []
        if kind in KERNELS and op.name != "graph.batchnorm":
            return list(KERNELS[kind](Call(self.num, op, args, seqs)))
        if kind in _LOSSES:
            return list(_LOSSES[kind](Call(self.num, op, args, seqs)))
        if op.name == "phase.map":
            return self.map(op, args, seqs)
        if op.name == "phase.scan":
            return self.scan(op, args)
        if op.dialect == "graph":
            return graph_op(Call(self.num, op, args, seqs), self.ew)
        raise AssertionError(f"nobody said what {op.name} computes")

    def region(self, op: Op, args: Sequence[Array], step: int) -> list[Array]:
        """Evaluate a region's body once."""
        block = op.regions[0]
        env: dict[Value, Array] = dict(zip(block.args, args, strict=True))
        for inner in block.ops[:-1]:
            operands = [env[v] for v in inner.operands]
            found = self.run_op(inner, operands, [False] * len(operands), step)
            env.update(zip(inner.results, found, strict=True))
        return [shaped(env[v], v.type) for v in yielded(op)]

    def map(self, op: Op, args: Sequence[Array], seqs: Sequence[bool]) -> list[Array]:
        """Apply a region to every step (or once)."""
        steps = op.results[0].type.shape[0] if op.results[0].type.kind == "seq" else None
        if steps is None:
            return self.region(op, args, 0)
        columns: list[list[Array]] = []
        for t in range(steps):
            here = [a[t] if s else a for a, s in zip(args, seqs, strict=True)]
            columns.append(self.region(op, here, t))
        return [np.stack(part) for part in zip(*columns, strict=True)]

    def scan(self, op: Op, args: Sequence[Array]) -> list[Array]:
        """Run a region over time."""
        n, m, steps = op.int_attr("carried"), op.int_attr("seqs"), op.int_attr("steps")
        carried, seqs, captured = list(args[:n]), args[n : n + m], args[n + m :]
        order = range(steps)
        outputs = [np.empty((0,))] * (len(op.results) - n)
        for first, t in enumerate(reversed(order) if op.attrs.get("reverse") else order):
            values = self.region(op, [*carried, *(s[t] for s in seqs), *captured], t)
            carried = values[:n]
            for i, value in enumerate(values[n:]):
                if first == 0:
                    outputs[i] = np.empty((steps, *value.shape), value.dtype)
                outputs[i][t] = value
        return [*carried, *outputs]

    def run(self, func: str, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Evaluate a function and return its outputs."""
        body = self.module.func(func).body
        env: dict[Value, Array] = {}
        for arg in body.args:
            if arg.name not in inputs:
                raise ValueError(f"input {arg.name!r} is missing")
            found = np.asarray(inputs[arg.name])
            if found.shape != arg.type.shape:
                raise ValueError(
                    f"input {arg.name!r} has shape {found.shape}, not {arg.type.shape}"
                )
            env[arg] = self.num.value(found, arg.type.dtype)
        last = {v: o for o in body.ops for v in o.operands}
        with np.errstate(all="ignore"):
            for group in groups(body):
                if group.recurrent:
                    Recurrent(self.num, self.ew, group.ops, self.run_op).run(env)
                    continue
                (op,) = group.ops
                args = [env[v] for v in op.operands]
                seqs = [v.type.kind == "seq" for v in op.operands]
                if op.name == "graph.delay_next":
                    continue
                if op.name == "graph.delay":
                    Recurrent.shift(self.num, op, body.ops, env)
                    continue
                env.update(zip(op.results, self.run_op(op, args, seqs, 0), strict=True))
                if op.dialect == "phase":  # large training steps: free what is not read again
                    for v in op.operands:
                        if last[v] is op:
                            env.pop(v, None)
        return self.outputs


def evaluate(
    module: Module,
    func: str,
    inputs: Mapping[str, npt.ArrayLike],
    numerics: str = "fp16",
    *,
    state: Mapping[str, npt.ArrayLike] | None = None,
    seed: int | None = None,
) -> dict[str, Array]:
    """Evaluate a function of a module of any stage but ``core`` (that is for the simulator).

    ``inputs`` by argument name (sequences have time first); ``numerics`` is ``fp16`` (bit-exact),
    ``float32`` or ``float64``; ``state`` replaces parameters and states by name; ``seed`` is that
    of the random bits (default: the training configuration's).  Returns arrays in the IR's own
    layout: graph outputs as ``out/NAME``, outputs of a step by their name (``loss``,
    ``logits``, ``out/..``, ``grad/..``), stored values as ``param/NAME`` and ``state/NAME``.
    :func:`snncc.compiler.interp.layout.in_file_layout` gives them the file's layout.
    Stages ``tiled`` and ``mapped`` compute on bytes and know fp16 only.
    """
    stage = text(module.attrs, "stage", "graph")
    chosen = training_seed(module) if seed is None else seed
    if stage in {"tiled", "mapped"}:
        if numerics != "fp16":
            raise ValueError(f"stage {stage} computes in fp16, not in {numerics}")
        return evaluate_tiled(module, inputs, state=state, seed=chosen)
    if stage == "core":
        raise ValueError("stage core is machine code: compile the module and simulate it")
    return Interpreter(module, numerics_of(numerics), state or {}, chosen).run(func, inputs)
