"""Neurons and attention of the network language (docs/dsl.md)."""

from __future__ import annotations

from snncc.compiler.diag import fail
from snncc.compiler.frontend.dsl.args import Args, Par
from snncc.compiler.frontend.dsl.layers import Emit, Layer, bound
from snncc.compiler.frontend.dsl.net import Net
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Value

FIRE = (
    Par("threshold", "float", 1.0),
    Par("reset", "word", "subtract", choices=("subtract", "hard", "none")),
    Par("reset_value", "float", 0.0),
    Par("delay", "bool", False, doc="the reset comes one step late"),
    Par("compare", "word", "strict", choices=("strict", "non_strict", "multi")),
    Par("surrogate", "surrogate", None, doc="default: of the configuration, else atan"),
    Par("detach", "bool", None, doc="no gradient through the reset"),
    Par("v_min", "float", None),
    Par("recurrent", "bool", False, doc="spikes come back through weights one step later"),
)
LEAK = (
    Par("beta", "float", 0.9),
    Par("tau", "float", None, low=1e-6, doc="v + (x - v)/tau in the place of beta*v + x"),
    Par("norm_input", "bool", False, doc="(1 - beta)*x in the place of x"),
    Par("v_rest", "float", 0.0),
    Par("learn", "bool", False, doc="beta or tau is trained"),
)
NUMBERS = ("threshold", "reset_value", "v_rest", "v_min")


def _leak(net: Net, a: Args, name: str, b: Builder) -> tuple[dict[str, Attribute], list[Value]]:
    key = "tau" if a.said("tau") else "beta"
    if a.said("tau") and (a.said("beta") or a.flag("norm_input")):
        text = "tau and beta" if a.said("beta") else "tau and norm_input"
        fail("E0121", f"{text} cannot both be given", a.span("tau"))
    attrs: dict[str, Attribute] = {"dynamics": "decay_input" if key == "tau" else "leaky"}
    if a.flag("norm_input"):
        attrs["norm_input"] = True
    if not a.flag("learn"):
        attrs[key] = a.float(key)
        return attrs, []
    attrs["params"] = (key,)
    return attrs, [net.param(b, a.span(), f"{name}.{key}", (), key, fill=a.float(key), train=True)]


def _neuron(kind: str) -> Emit:
    def emit(net: Net, x: Value, a: Args, name: str) -> Value:
        b = net.builder(a.span(), name)
        attrs: dict[str, Attribute] = {"dynamics": "integrate"}
        operands: list[Value] = []
        if kind != "if":
            attrs, operands = _leak(net, a, name, b)
        if kind == "synaptic":
            attrs |= {"synapse": "before", "a_syn": a.float("alpha")}
        for key in NUMBERS:
            value = a.values.get(key)
            if isinstance(value, float) and (value or key in ("threshold", "v_min")):
                attrs[key] = value
        if kind == "li":
            attrs["compare"] = "none"
        else:
            _fire(a, attrs)
        said = {
            "a_syn": a.said("alpha"),
            "reset_gradient": a.said("detach"),
            "dynamics": True,
            "synapse": True,
        }
        attrs["origin"] = {
            k: "file" if said.get(k, a.said(k)) else "default"
            for k in attrs
            if k in a.values or k in said
        }
        state = None
        if kind != "li" and a.flag("recurrent"):
            x, state = _feedback(net, x, a, name, b)
        if x.type.kind == "tensor":
            attrs["steps"] = net.steps
        made = b.op("graph.neuron", x, *operands, attrs=attrs)
        for result, hint in zip(reversed(made.results), ("v", "s"), strict=False):
            result.name = f"{name}.{hint}"
        if state is not None:
            b.op("graph.delay_next", made.results[0], attrs={"state": state})
        return made.results[0]

    return emit


def _fire(a: Args, attrs: dict[str, Attribute]) -> None:
    attrs |= {key: a.word(key) for key in ("reset", "compare")}
    attrs["delay"] = a.flag("delay")
    surrogate = a.get("surrogate")
    if isinstance(surrogate, dict):
        attrs["surrogate"] = surrogate
    if a.said("detach"):
        attrs["reset_gradient"] = "detached" if a.flag("detach") else "attached"
    if not attrs["threshold"] and attrs["compare"] == "multi":
        fail("E0122", "threshold must not be 0 for multi-spike neurons", a.span("threshold"))


def _feedback(net: Net, x: Value, a: Args, name: str, b: Builder) -> tuple[Value, str]:
    """Add the neuron's own spikes of the step before, through weights."""
    shape = x.type.step_shape
    attrs: dict[str, Attribute] = {
        "state": name,
        "shape": shape,
        "steps": net.steps,
        "dtype": "f16" if a.word("compare") == "multi" else "bit",
    }
    if attrs["dtype"] == "f16":
        attrs["init"] = 0.0
    old = b.op("graph.delay", attrs=attrs).result
    size = shape[-1]
    weight = net.param(b, a.span(), f"{name}.recurrent", (size, size), "weight",
                       bound=bound(size), swap=True)  # fmt: skip
    return b.one("graph.add", x, b.one("graph.linear", old, weight)), name


NEURONS: dict[str, Layer] = {
    "lif": Layer((*LEAK, *FIRE), "leaky integrate and fire", _neuron("lif")),
    "if": Layer(FIRE, "integrate and fire", _neuron("if")),
    "synaptic": Layer(
        (Par("alpha", "float", 0.8), *LEAK, *FIRE), "with a synaptic current", _neuron("synaptic")
    ),
    "li": Layer(LEAK, "leaky integrator: its result is the membrane", _neuron("li")),
}
