"""What exporters leave behind about the framework: layer names and training conventions.

Files never say which surrogate gradient a neuron was trained with; the newer exporter leaves class
names and source lines, from which a framework's default is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from snncc.compiler.frontend.flat.flat import AttrValue, OperatorNode, Val
from snncc.compiler.frontend.neurons.surrogate_hints import read_surrogate_hints
from snncc.compiler.frontend.time.rolled import RNode
from snncc.compiler.ir.core import Attribute
from snncc.compiler.ir.surrogate import DEFAULT

FRAMEWORKS = ("snntorch", "spikingjelly", "norse", "sinabs")
SNNTORCH_SURROGATES: tuple[tuple[int, str, dict[str, float]], ...] = (
    (11, "straight_through", {}),
    (53, "triangular", {"width": 1.0, "scale": 1.0}),
    (104, "fast_sigmoid", {"slope": 25.0}),
    (156, "atan", {"alpha": 2.0}),
    (217, "straight_through", {}),
    (263, "sigmoid", {"alpha": 25.0}),
    (323, "", {}),
)
"""First line of each class in snntorch/surrogate.py 1.0.0; an empty name: no counterpart."""
DEFAULTS: Mapping[str, tuple[dict[str, Attribute], str]] = {
    "snntorch": ({"name": "atan", "alpha": 2.0}, "detached"),
    "spikingjelly": ({"name": "sigmoid", "alpha": 4.0}, "attached"),
    "norse": ({"name": "super_spike", "alpha": 1.0}, "attached"),
    "sinabs": ({"name": "exponential", "width": 0.5, "scale": 1.0}, "attached"),
}
"""Surrogate and reset gradient of each framework's neurons when nothing else is said."""


DETACHING = tuple(
    f"spikingjelly.activation_based.{name}."
    for name in (
        "layer.attention",
        "model.spikformer",
        "model.maxformer",
        "model.ms_resnet",
        "model.snas_net",
        "model.spike_dhs",
        "model.masnn",
    )
)
"""SpikingJelly modules that build their neurons with detach_reset=True, whatever the rest does."""


ATTACHING = tuple(
    f"norse.torch.module.{name}." for name in ("lif_adex", "lif_ex", "coba_lif", "izhikevich")
)
"""norse modules whose recurrent cells let the gradient through the reset, unlike LIF and LSNN."""


@dataclass(frozen=True, slots=True)
class Convention:
    """What is guessed for one neuron; ``explicit``: keys known of this very layer."""

    surrogate: dict[str, Attribute]
    reset_gradient: str
    origin: str
    framework: str
    explicit: tuple[str, ...] = ()


def _classes(node: OperatorNode) -> list[str]:
    text = node.meta.get("pkg.torch.onnx.class_hierarchy", "")
    return [str(m) for m in re.findall(r"'([^']*)'", text)]


def framework_of(node: OperatorNode) -> str:
    """Return the framework whose class made a node, or ''."""
    for name in reversed(_classes(node)):
        for framework in FRAMEWORKS:
            if name.startswith(framework + "."):
                return framework
    return ""


def framework_defaults(
    node: OperatorNode, spike: OperatorNode | None, recurrent: bool, pattern: str = ""
) -> Convention | None:
    """Guess surrogate and reset gradient of the neuron around a node; None when nothing is known.

    ``spike`` is the comparison, ``pattern`` a framework guessed from what the neuron computes.
    """
    hinted = _from_hints(node.hints)
    if hinted is not None:
        return hinted
    framework, origin = framework_of(node), "metadata"
    if not framework:
        framework, origin = pattern, "pattern"
    if framework not in DEFAULTS:
        return None
    surrogate, gradient = DEFAULTS[framework]
    classes = _classes(node)
    if framework == "norse" and recurrent and not any(c.startswith(ATTACHING) for c in classes):
        gradient = "detached"
    trace = (spike or node).meta.get("pkg.torch.onnx.stack_trace", "")
    line = re.search(r'snntorch[/\\]surrogate\.py", line (\d+)', trace)
    if line:
        surrogate = _snntorch_surrogate(int(line.group(1))) or surrogate
    explicit: tuple[str, ...] = ()
    if any(c.startswith(DETACHING) for c in classes):
        gradient, explicit = "detached", ("reset_gradient",)
    return Convention(dict(surrogate), gradient, origin, framework, explicit)


def _snntorch_surrogate(line: int) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    for first, name, params in SNNTORCH_SURROGATES:
        if line >= first:
            found = {"name": name, **params} if name else {}
    return found


def _from_hints(hints: Mapping[str, AttrValue]) -> Convention | None:
    """Read the training attributes of an ai.snncc function."""
    surrogate, detach = read_surrogate_hints(hints), hints.get("detach_reset")
    if surrogate is None and detach is None:
        return None
    gradient = "attached" if detach == 0 else "detached"
    return Convention(dict(surrogate or DEFAULT), gradient, "metadata", "ai.snncc")


# ---------------------------------------------------------------------- names
def scope_of(node: OperatorNode) -> str:
    """Return the module path that a node was exported from, or ''."""
    scopes = re.findall(r"'([^']*)'", node.meta.get("pkg.torch.onnx.name_scopes", ""))
    if len(scopes) > 1:
        return str(scopes[-2])
    if not node.name.startswith("/"):
        return ""
    parts = [p for p in node.name.split("/") if p]
    out = ""
    for part in parts[:-1]:
        plain = part
        # torch repeats the path: /net/net.0/net.0.1
        out = plain if plain.startswith(out + ".") or not out else f"{out}.{plain}"
    return out


@dataclass(slots=True)
class Namer:
    """Gives every layer a name of its own."""

    taken: set[str] = field(default_factory=set[str])
    count: int = 0

    def scope(self, node: RNode) -> str:
        """Return a node's module path with the counters of repeated calls removed."""
        v = node.val
        if v is None or v.node is None:
            return ""
        scopes = {scope_of(x.node) for x in self._steps(node) if x.node is not None}
        scopes.discard("")
        if not scopes:
            return ""
        shortest = min(scopes, key=len)
        return re.sub(r"_\d+$", "", shortest) if len(scopes) == 1 and v.node else shortest

    def _steps(self, node: RNode) -> list[Val]:
        return [*node.vals[:2], *([node.val] if node.val is not None else [])]

    def layer(self, node: RNode) -> str:
        """Return a fresh layer name."""
        self.count += 1
        base = self.scope(node) or f"neuron{self.count}"
        name, n = base, 1
        while name in self.taken:
            n += 1
            name = f"{base}_{n}"
        self.taken.add(name)
        return name
