"""Dialect ``graph``: what the model is.

An op applies to every time step; a ``tensor`` operand is the same at every step, and a result is a
``seq`` when any operand is.  Attributes speak of the step shape (batch first).  The reference is
docs/design/ir.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from snncc.compiler.ir import infer
from snncc.compiler.ir.build import (
    INFER,
    Attrs,
    Infer,
    broadcast,
    check_types,
    integer,
    ints,
    lift,
    stacked,
    text,
)
from snncc.compiler.ir.core import Op, Type, seq
from snncc.compiler.ir.opdef import AttrDef, OpDef, dialect, register

UNARY = (
    *("neg", "abs", "sign", "sqrt", "floor", "trunc"),
    *("exp", "exp2", "log", "log2", "tanh", "sigmoid", "rsqrt", "recip", "atan"),
    *("erf", "softplus", "sin", "cos"),
)
NEURON_PARAMS = (
    *("beta", "tau", "rate", "a_syn", "threshold", "reset_value", "v_rest", "v_min"),
    *("v_init", "i_init"),
)

dialect(
    "graph",
    "Layers, neurons and time.",
    ("graph",),
    {
        "layer": AttrDef("str", doc="layer name"),
        "origin": AttrDef("dict", doc="attribute -> where its value came from"),
    },
)


def _row(
    name: str,
    doc: str,
    infer_: Infer,
    operands: tuple[int, int | None],
    attrs: dict[str, AttrDef] | None = None,
    results: tuple[int, int | None] = (1, 1),
    pure: bool = True,
) -> None:
    INFER[f"graph.{name}"] = infer_
    register(
        OpDef(f"graph.{name}", doc, operands, results, attrs or {}, pure=pure, verify=check_types)
    )


def _values(name: str, doc: str) -> None:
    """Param and const: any result type."""
    attrs = {
        "param": {
            "name": AttrDef("str", True, "output key of its gradient"),
            "resource": AttrDef("str", True, "the array, canonical layout"),
            "role": AttrDef("str", doc="weight, bias, scale, shift, mean, var, beta, ..."),
            "train": AttrDef("bool", doc="gets a gradient and an update"),
            "transpose": AttrDef("bool", doc="the file holds the transpose"),
        },
        "const": {
            "value": AttrDef("number"),
            "resource": AttrDef("str"),
        },
    }[name]
    register(OpDef(f"graph.{name}", doc, (0, 0), (1, 1), attrs, open_attrs=True))


_values("param", "A parameter of the model: weight, bias, neuron constant, statistics.")
_values("const", "A constant: a number repeated, or an array.")

WINDOW = {
    "stride": AttrDef("ints"),
    "padding": AttrDef("ints", doc="begins, then ends"),
    "dilation": AttrDef("ints"),
    "groups": AttrDef("int"),
    "rank": AttrDef("int"),
}
POOL = {
    "kind": AttrDef("str", True, choices=("max", "avg", "sum")),
    "kernel": AttrDef("ints", True),
    "stride": AttrDef("ints"),
    "padding": AttrDef("ints", doc="begins, then ends"),
    "count_pad": AttrDef("bool", doc="average: padding counts as elements"),
}
SLICE = {
    "starts": AttrDef("ints", True),
    "ends": AttrDef("ints", True),
    "strides": AttrDef("ints"),
}
PAD = {"low": AttrDef("ints", True), "high": AttrDef("ints", True), "value": AttrDef("number")}
TIES = AttrDef(
    "str",
    doc="max: equal maxima share the gradient, or the first gets it",
    choices=("even", "first"),
)
REDUCE = {
    "kind": AttrDef("str", True, choices=("sum", "mean", "max")),
    "axes": AttrDef("ints", True),
    "keepdims": AttrDef("bool"),
    "wide": AttrDef("bool", doc="f32 result"),
    "ties": TIES,
}
TIME = {"kind": AttrDef("str", True, choices=("sum", "mean", "max", "last")), "ties": TIES}
MATMUL = {"transpose_a": AttrDef("bool"), "transpose_b": AttrDef("bool")}
OUTPUT = {
    "name": AttrDef("str", True),
    "axis": AttrDef("int", doc="position of time in the file's output, -1: none"),
    "shape": AttrDef("ints", doc="as in the file"),
    "batch_in_time": AttrDef("bool", doc="the file folds [batch, time] into axis 0"),
    "transpose": AttrDef("bool", doc="the file holds the transpose"),
}
SHAPE = {"shape": AttrDef("ints", True, "step shape")}
PERM = {"perm": AttrDef("ints", True, "of the step axes")}
AXIS = {"axis": AttrDef("int", True, "of the step shape")}

_row("linear", "y[r,j] = b[j] + sum_k x[r,k]*w[k,j]", infer.linear, (2, 3))
_row(
    "conv",
    "y[o,p] = b[o] + sum_{c,k} x[c, stride*p + dilation*k - padding] * w[o,c,k]",
    infer.conv,
    (2, 3),
    WINDOW,
)
_row(
    "conv_transpose",
    "the transpose of conv: y[o, stride*p + dilation*k - padding] += x[c,p]*w[c,o,k]",
    infer.conv_transpose,
    (2, 3),
    {**WINDOW, "output_padding": AttrDef("ints")},
)
_row("pool", "max, mean or sum over windows", infer.pool, (1, 1), POOL)
_row(
    "batchnorm",
    "y = (x - mean)/sqrt(var + eps)*scale + shift per channel; operands x, scale, shift, mean, "
    "var; batch statistics over steps and samples, or with per_step over each step's samples",
    infer.same,
    (5, 5),
    {
        "eps": AttrDef("number", True),
        "axis": AttrDef("int"),
        "momentum": AttrDef("number"),
        "per_step": AttrDef("bool"),
    },
)
for _name, _doc in {
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "div": "a / b",
    "min": "the smaller",
    "max": "the larger",
}.items():
    _row(_name, f"{_doc} (bits count as 0 and 1)", infer.elementwise, (2, 2))
for _name, _doc in {"and": "both", "or": "either", "iand": "(not a) and b"}.items():
    _row(_name, f"{_doc}, on bits", infer.logical, (2, 2))
_row("relu", "max(x, 0)", infer.same, (1, 1))
_row("unary", "fn(x)", infer.same, (1, 1), {"fn": AttrDef("str", True, choices=UNARY)})
_row(
    "clip",
    "min(max(x, low), high)",
    infer.same,
    (1, 1),
    {"low": AttrDef("number"), "high": AttrDef("number")},
)
_row("cast", "a bit becomes 0 or 1", infer.same, (1, 1), {"to": AttrDef("str", choices=("f16",))})
_row("stop_gradient", "x; no gradient passes", infer.identity, (1, 1))


def _spike(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    dtype = "f16" if text(attrs, "compare") in ("multi", "stairs") else "bit"
    return [lift(t, broadcast([x.step_shape for x in t]), dtype)]


SPIKE = {
    "compare": AttrDef("str", True, choices=("strict", "non_strict", "multi", "stairs")),
    "levels": AttrDef("tuple", doc="stairs: where each step is, theta the first"),
    "strict": AttrDef("tuple", doc="stairs: whether a membrane at a level is still below the step"),
    "surrogate": AttrDef("dict", doc="name and parameters"),
    "reset": AttrDef(
        "str", doc="the file says what gradient passes: no reset path is cut", choices=("none",)
    ),
    "reset_gradient": AttrDef("str", choices=("attached", "detached")),
}
_row(
    "spike",
    "h > theta, or the number of levels that h is above (stairs), with a surrogate derivative",
    _spike,
    (2, 2),
    SPIKE,
)


def _select(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    bits = all(x.dtype == "bit" for x in t)
    return [lift(t, broadcast([x.step_shape for x in t]), "bit" if bits else "f16")]


_row("select", "a where mask else b", _select, (3, 3))
_row("matmul", "a @ b on the last two axes", infer.matmul, (2, 2), MATMUL)
_row("softmax", "exp(x - max)/sum along an axis", infer.same, (1, 1), AXIS)
_row("reduce", "over step axes", infer.reduce, (1, 1), REDUCE)
_row("reduce_time", "over the steps", infer.reduce_time, (1, 1), TIME)
_row("time_to_axis", "the steps as the first axis of one tensor", infer.time_to_axis, (1, 1))
_row("axis_to_time", "the first axis of a tensor as the steps", infer.axis_to_time, (1, 1))
_row("reshape", "same elements, other step shape", infer.reshape, (1, 1), SHAPE)
_row("expand", "repeat along axes of size 1", infer.expand, (1, 1), SHAPE)
_row("transpose", "permute step axes", infer.transpose, (1, 1), PERM)
_row("concat", "join along a step axis", infer.concat, (1, None), AXIS)
_row("slice", "x[starts:ends:strides] for every step axis", infer.slice_, (1, 1), SLICE)
_row("pad", "a frame of value", infer.pad, (1, 1), PAD)
_row(
    "dropout",
    "training: x/(1-rate) where a random number >= rate, else 0",
    infer.same,
    (1, 1),
    {"rate": AttrDef("number", True), "stream": AttrDef("int", True)},
)


def _delay(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    return [seq((integer(attrs, "steps"), *ints(attrs, "shape")), text(attrs, "dtype", "f16"))]


_row(
    "delay",
    "the value that delay_next of the same state got one step before",
    _delay,
    (0, 1),
    {
        "state": AttrDef("str", True),
        "init": AttrDef("number"),
        "shape": AttrDef("ints", True),
        "dtype": AttrDef("str"),
        "steps": AttrDef("int", True),
    },
)
_row(
    "delay_next",
    "what delay yields at the next step",
    infer.nothing,
    (1, 1),
    {"state": AttrDef("str", True)},
    (0, 0),
    pure=False,
)


def neuron_types(t: Sequence[Type], attrs: Attrs) -> list[Type]:
    """Spikes (unless a leaky integrator) and membrane."""
    shape = t[0].step_shape
    for other in t[1:]:
        if broadcast([shape, other.step_shape]) != shape:
            raise ValueError(f"constant of shape {other.step_shape} does not broadcast to {shape}")
    membrane = lift(t, shape, "f16")
    steps = attrs.get("steps")
    if membrane.kind == "tensor" and isinstance(steps, int):
        membrane = stacked(membrane, steps)
    compare = text(attrs, "compare", "strict")
    if compare == "none":
        return [membrane]
    return [membrane.with_(dtype="f16" if compare == "multi" else "bit"), membrane]


def _neuron_rule(op_: Op) -> Iterable[str]:
    yield from check_types(op_)
    params = op_.attrs.get("params", ())
    names = [str(n) for n in params] if isinstance(params, tuple) else []
    if len(names) != len(op_.operands) - 1:
        yield f"has {len(op_.operands) - 1} constants as operands, params names {len(names)}"
    for bad in [n for n in names if n not in NEURON_PARAMS]:
        yield f"params names {bad!r}, not one of {', '.join(NEURON_PARAMS)}"
    have = {*names, *op_.attrs}
    dynamics, need = op_.attrs.get("dynamics"), set[str]()
    if dynamics == "leaky" and "beta" not in have:
        need.add("beta")
    if dynamics == "decay_input" and not {"tau", "rate"} & have:
        need.add("tau (or rate)")
    if op_.attrs.get("synapse", "none") != "none" and "a_syn" not in have:
        need.add("a_syn")
    if op_.attrs.get("compare", "strict") != "none" and "threshold" not in have:
        need.add("threshold")
    if op_.attrs.get("norm_input") and dynamics != "leaky":
        yield "norm_input needs dynamics = leaky"
    for missing in sorted(need):
        yield f"{missing} is neither an attribute nor an operand"


INFER["graph.neuron"] = neuron_types
register(
    OpDef(
        "graph.neuron",
        "A layer of neurons; the equations are in docs/design/ir.md.",
        (1, None),
        (1, 2),
        {
            "dynamics": AttrDef("str", True, choices=("leaky", "decay_input", "integrate")),
            "synapse": AttrDef("str", choices=("none", "before", "after", "scaled")),
            "compare": AttrDef("str", choices=("strict", "non_strict", "multi", "none")),
            "reset": AttrDef("str", choices=("subtract", "hard", "none")),
            "reset_gradient": AttrDef("str", choices=("attached", "detached")),
            "surrogate": AttrDef("dict", doc="name and parameters"),
            "delay": AttrDef("bool"),
            "norm_input": AttrDef("bool"),
            "steps": AttrDef("int", doc="results are seqs although every operand is a tensor"),
            "params": AttrDef("strs", doc="constants that are operands after x"),
            **{name: AttrDef("number") for name in NEURON_PARAMS},
        },
        open_attrs=True,
        verify=_neuron_rule,
    )
)
_row("output", "A result of the model.", infer.nothing, (1, 1), OUTPUT, (0, 0), pure=False)
