"""RNN, GRU and LSTM, unrolled over their sequence by their equations.

The products with the input are taken for the whole sequence at once; what depends on the state is
written once for every step, like a recurrence that the file itself unrolls.  A direction that runs
backwards is the same recurrence from the last step to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.flat import F32, Val, attr_int, attr_str
from snncc.compiler.frontend.onnx.build import MAX_TRIPS, Bound, Call, GraphBuilder, rule

ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu"}
Function: TypeAlias = Callable[[Val], Val]
Step: TypeAlias = Callable[["Direction", list[Val], list[Val]], list[Val]]
"""One step: the direction, the input of each gate [B, H], states [B, H] -> states after it."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a layer; a matrix [H, H] and a bias [H] for each gate."""

    call: Call
    weights: Sequence[Val]
    biases: Sequence[Val | None]
    functions: tuple[Function, ...]

    def of_state(self, gate: int, h: Val) -> Val:
        """Return h R^T + b for one gate."""
        return _plus(self.call, self.call.one("MatMul", h, self.weights[gate]), self.biases[gate])


def _plus(c: Call, x: Val, bias: Val | None) -> Val:
    return x if bias is None else c.one("Add", x, bias)


def _rnn(d: Direction, x: list[Val], states: list[Val]) -> list[Val]:
    """h = f(x + h R^T + b)."""
    return [d.functions[0](d.call.one("Add", x[0], d.of_state(0, states[0])))]


def _gru(d: Direction, x: list[Val], states: list[Val]) -> list[Val]:
    """h = (1 - z)*n + z*h; n sees r*h before or after its product (linear_before_reset)."""
    c, (h,) = d.call, states
    f, g = d.functions
    z, r = (f(c.one("Add", x[k], d.of_state(k, h))) for k in (0, 1))
    if attr_int(c.attrs, "linear_before_reset", 0):
        inner = c.one("Mul", r, d.of_state(2, h))
    else:
        inner = d.of_state(2, c.one("Mul", r, h))
    n = g(c.one("Add", x[2], inner))
    return [c.one("Add", c.one("Mul", c.one("Sub", 1.0, z), n), c.one("Mul", z, h))]


def _lstm(d: Direction, x: list[Val], states: list[Val]) -> list[Val]:
    """c = f*c + i*g(cell); h = o*l(c)."""
    c, (h, memory) = d.call, states
    f, g, last = d.functions
    i, o, forget, cell = (c.one("Add", x[k], d.of_state(k, h)) for k in range(4))
    kept, new = c.one("Mul", f(forget), memory), c.one("Mul", f(i), g(cell))
    memory = c.one("Add", kept, new)
    return [c.one("Mul", f(o), last(memory)), memory]


@rule("RNN")
def rnn(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """An Elman network."""
    return _layer(b, c, 1, ("Tanh",), _rnn)


@rule("GRU")
def gru(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Gated recurrent units."""
    return _layer(b, c, 3, ("Sigmoid", "Tanh"), _gru)


@rule("LSTM")
def lstm(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Long short-term memory."""
    return _layer(b, c, 4, ("Sigmoid", "Tanh", "Tanh"), _lstm)


def _refuse_options(b: GraphBuilder, c: Call, steps: int) -> None:
    """Refuse what the equations here do not have."""
    lengths, peepholes = c.optional(4), c.optional(7)
    for there, what, instead in (
        (attr_int(c.attrs, "layout", 0), "layout = 1", "export it with the steps first"),
        (c.attrs.get("clip") is not None, "clip", "leave the clip out"),
        (attr_int(c.attrs, "input_forget", 0), "input_forget", "write the cell as arithmetic"),
        (peepholes is not None, "peepholes", "write the cell as arithmetic"),
        (
            lengths is not None and (lengths.const is None or (lengths.const != steps).any()),
            "sequence_lens",
            "every sample must have all steps",
        ),
    ):
        if there:
            fail("E0104", f"{c.proto.op_type} with {what}", b.where(c.name), help=instead)


def _functions(b: GraphBuilder, c: Call, default: tuple[str, ...]) -> tuple[Function, ...]:
    """Return the activations of a cell, the same ones in both directions."""
    named = c.attrs.get("activations") or default
    names = [str(n).lower() for n in cast("tuple[str, ...]", named)]
    count = len(default)
    other = [n for n in names if n not in ACTIVATIONS]
    uneven = len(names) > count and names[:count] != names[count:]
    if other or uneven or c.attrs.get("activation_alpha") or c.attrs.get("activation_beta"):
        fail(
            "E0104",
            f"{c.proto.op_type} with the activations {', '.join(names)}",
            b.where(c.name),
            help="supported: Tanh, Sigmoid and Relu, the same ones in both directions",
        )

    def function(name: str) -> Function:
        return lambda x: c.one(ACTIVATIONS[name], x)

    return tuple(function(n) for n in names[:count])


def _layer(
    b: GraphBuilder, c: Call, gates: int, default: tuple[str, ...], step: Step
) -> list[Bound]:
    """Unroll a layer: all states h [T, D, B, H], and the last of each state [D, B, H]."""
    x, w = c.val(0), c.val(1)
    steps, batch, _ = x.shape
    _refuse_options(b, c, steps)
    if steps > MAX_TRIPS:
        fail("E0109", f"{c.proto.op_type} over {steps} steps", b.where(c.name))
    size, count = c.val(2).shape[-1], w.shape[0]
    way = attr_str(c.attrs, "direction", "forward")
    if w.shape[1] != gates * size or count != (2 if way == "bidirectional" else 1):
        raise ValueError(f"weights {list(w.shape)} do not fit {size} units, {way}")
    functions = _functions(b, c, default)
    rows: list[list[Val]] = []
    lasts: list[list[Val]] = []
    for d in range(count):
        outer, inner = _biases(c, d, gates, size)
        recurrent = _matrices(c, c.val(2), d, gates, size)
        currents = [
            _plus(c, c.one("MatMul", x, m), k)
            for m, k in zip(_matrices(c, w, d, gates, size), outer, strict=True)
        ]
        direction = Direction(c, recurrent, inner, functions)
        states = [_first(b, c, i, d, (batch, size)) for i in ((5, 6) if gates == 4 else (5,))]
        back = way == "reverse" or d == 1
        shown: list[Val] = []
        for t in reversed(range(steps)) if back else range(steps):
            at = b.const(np.array(t, np.int64))
            now = [c.add("Gather", [x, at], {"axis": 0})[0] for x in currents]
            states = step(direction, now, states)
            shown.append(states[0])
        rows.append(shown[::-1] if back else shown)
        lasts.append(states)
    parts = [b.stack([r[t] for r in rows], 0, c.name, c.scope) for t in range(steps)]
    sequence = b.stack(parts, 0, c.name, c.scope)
    final = [b.stack([s[k] for s in lasts], 0, c.name, c.scope) for k in range(len(lasts[0]))]
    return [sequence, *final]


def _entry(c: Call, v: Val, d: int) -> Val:
    """Return what belongs to one direction: entry d of the first axis."""
    if v.shape[0] == 1:
        return c.one("Squeeze", v, c.ints(0))
    return c.add("Gather", [v, c.builder.const(np.array(d, np.int64))], {"axis": 0})[0]


def _matrices(c: Call, w: Val, d: int, gates: int, size: int) -> list[Val]:
    """Cut the weights of a direction, [gates*H, I], into the matrices [I, H] of the gates.

    Parts of parameters are computed once; parts of a product would be cut out at every step.
    """
    parts = c.add("Split", [_entry(c, w, d), c.ints(*[size] * gates)], {"axis": 0})
    return [c.add("Transpose", [v], {"perm": (1, 0)})[0] for v in parts]


def _biases(
    c: Call, d: int, gates: int, size: int
) -> tuple[Sequence[Val | None], Sequence[Val | None]]:
    """Return the biases of the gates: of the product with the input, and with the state."""
    bias = c.optional(3)
    if bias is None:
        return [None] * gates, [None] * gates
    parts = c.add("Split", [_entry(c, bias, d), c.ints(*[size] * 2 * gates)], {"axis": 0})
    return parts[:gates], parts[gates:]


def _first(b: GraphBuilder, c: Call, i: int, d: int, shape: tuple[int, int]) -> Val:
    """Return an initial state, zeros where the file gives none."""
    found = c.optional(i)
    return b.const(np.zeros(shape, F32)) if found is None else _entry(c, found, d)
