"""Warnings of `snncc check`: what compiles, and yet may cost days."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from snncc.compiler.config.config import Config
from snncc.compiler.config.loss_scale import loss_scale
from snncc.compiler.diag import Diagnostic
from snncc.compiler.driver.input_values import ROUNDS_TO_INFINITY
from snncc.compiler.driver.interface import Array, mapping
from snncc.compiler.ir.core import Attribute, Module, Op, Value
from snncc.isa.numbers.fp16 import MAX_FINITE

FOLDED_NAME = re.compile(r"onnx::Conv_\d+(#\d+)?")
"""What the older PyTorch exporter calls weights that it computed itself."""
COMPARES: Mapping[str, tuple[str, ...]] = {
    "snntorch": ("strict",),
    "norse": ("strict",),
    "spikingjelly": ("non_strict",),
    "sinabs": ("multi", "non_strict"),
}
"""How each framework compares the membrane with the threshold."""
SIGNS = {
    "strict": ">",
    "non_strict": ">=",
    "multi": "one spike for each threshold reached",
    "stairs": "one spike for each level reached",
}
KEEPS = ("reshape", "transpose", "slice", "expand", "relu", "stop_gradient", "select", "cast")


def doubts(module: Module, config: Config, where: str, largest_x: float = 1.0) -> list[Diagnostic]:
    """Return what is doubtful about a configured graph; ``largest_x`` bounds the input."""
    return [
        *_surrogates(module, where),
        *overflow_doubts(module, config, where, largest_x),
        *_batch_norm(module, config, where),
        *_compares(module, where),
    ]


def _warn(code: str, message: str, where: str, help: str = "") -> Diagnostic:
    return Diagnostic(code, message, where, help=help, severity="warning")


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - 4} more" if len(found) > 5 else ""
    return ", ".join(found[: 4 if more else 5]) + more


def _spiking(module: Module) -> list[Op]:
    found = [op for op in module.walk() if op.name in ("graph.neuron", "graph.spike")]
    return [op for op in found if op.attrs.get("compare") != "none"]


def _layer(op: Op) -> str:
    layer = op.attrs.get("layer")
    return layer if isinstance(layer, str) else str(op.loc).rpartition(":")[2]


# ---------------------------------------------------------------------- surrogate gradients
def _surrogates(module: Module, where: str) -> Iterator[Diagnostic]:
    """Surrogates that neither the file nor the configuration states."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for op in _spiking(module):
        origin = mapping(op.attrs.get("origin")).get("surrogate")
        framework = str(op.attrs.get("framework", ""))
        if origin in ("pattern", "default") or (origin == "metadata" and framework in COMPARES):
            if origin == "default":
                framework = ""
            key = (str(origin), framework, _formula(op.attrs.get("surrogate")))
            groups.setdefault(key, []).append(_layer(op))
    for (origin, framework, formula), layers in groups.items():
        if origin == "metadata":
            why = f"the file names {framework} but no parameters: its default"
        elif origin == "pattern":
            why = f"the neurons look like those of {framework}: its default"
        else:
            why = "nothing hints at a framework: the default"
        yield _warn(
            "E0370",
            f"the surrogate gradient of {_listed(layers)} is not in the file; {why}, {formula}, "
            "is assumed",
            where,
            help="say it with --surrogate NAME:P=V or [surrogate] in the configuration",
        )


def _formula(value: Attribute) -> str:
    found = mapping(value)
    rest = ", ".join(f"{k}={v:g}" for k, v in found.items() if isinstance(v, (int, float)))
    return f"{found.get('name', '')}({rest})" if rest else str(found.get("name", ""))


# ---------------------------------------------------------------------- binary16
def overflow_doubts(
    module: Module, config: Config, where: str, largest_x: float
) -> Iterator[Diagnostic]:
    """Numbers that do not fit binary16: weights, sums of products, scaled gradients."""
    for op in module.walk():
        if op.name == "graph.param":
            array = _array(op.results[0], module)
            peak = float(np.abs(array).max()) if array is not None and array.size else 0.0
            if not peak < ROUNDS_TO_INFINITY:
                what = f"{peak:.4g}" if np.isfinite(peak) else "a value that is no finite number"
                name = op.str_attr("name")
                yield _warn(
                    "E0371",
                    f"{name} holds {what}; the largest number is 65504",
                    where,
                    help="scale the layer down, or check where the value comes from",
                )
    bounds = _Bounds(module, largest_x)
    for op in module.walk():
        if op.name in ("graph.linear", "graph.conv", "graph.matmul"):
            bound = bounds.of(op.results[0])
            if bound is not None and np.isfinite(bound) and bound > MAX_FINITE:
                yield _warn(
                    "E0371",
                    f"a sum of {op.name.removeprefix('graph.')} may reach {bound:.4g}, and 65504 "
                    "is the largest number",
                    str(op.loc),
                    help="scale inputs or weights down (for inputs up to "
                    f"{largest_x:g}); --numerics float32 shows whether it matters",
                )
    training = mapping(module.attrs.get("training"))
    if training.get("mode") == "train":
        rule, summed = loss_scale(config), mapping(training.get("readout"))
        steps = module.steps if summed.get("reduce") in ("sum", "per-step") else 1
        scale = rule.minimum if rule.dynamic else rule.initial
        if scale * steps > MAX_FINITE:
            yield _warn(
                "E0371",
                f"a gradient may reach loss.scale x steps = {scale * steps:.4g}, and 65504 is the "
                "largest number",
                where,
                help="a smaller loss.scale; 128 suits most networks",
            )


class _Bounds:
    """Upper bounds of magnitudes, as far as these follow from shapes and weights alone."""

    def __init__(self, module: Module, largest_x: float) -> None:
        self.module, self.largest_x = module, largest_x
        self.known: dict[Value, float | None] = {}
        for func in module.funcs.values():
            for op in func.body.ops:
                for result in op.results:
                    self.known[result] = self._op(op, result)

    def of(self, value: Value) -> float | None:
        if value.type.dtype == "bit":
            return 1.0
        if not isinstance(value.owner, Op):
            return self.largest_x
        return self.known.get(value)

    def _op(self, op: Op, result: Value) -> float | None:
        kind = op.name.removeprefix("graph.")
        if kind in ("linear", "conv"):
            return self._product(op, kind)
        ins = [self.of(v) for v in op.operands]
        known = [b for b in ins if b is not None]
        if len(known) < len(ins) or not ins:
            return None
        if kind in KEEPS or kind in ("concat", "max", "min"):
            return max(known)
        if kind in ("add", "sub"):
            return sum(known)
        if kind == "pool":
            area = float(np.prod(op.ints_attr("kernel", (1,))))
            return known[0] * (area if op.attrs.get("kind") == "sum" else 1.0)
        if kind == "matmul":
            terms = op.operands[0].type.shape[-2 if op.attrs.get("transpose_a") else -1]
            return known[0] * known[1] * terms
        return None

    def _product(self, op: Op, kind: str) -> float | None:
        x, weights = self.of(op.operands[0]), _array(op.operands[1].owner, self.module)
        if x is None or weights is None or not weights.size:
            return None
        axes = 0 if kind == "linear" else tuple(range(1, weights.ndim))
        sums = np.abs(weights.astype(np.float64)).sum(axis=axes) * x
        if len(op.operands) > 2:
            bias = _array(op.operands[2].owner, self.module)
            if bias is not None and bias.size == sums.size:
                sums = sums + np.abs(bias.astype(np.float64)).reshape(-1)
        return float(np.max(sums))


def _array(source: object, module: Module) -> Array | None:
    """Return the numbers of a parameter in the layout of its operand."""
    if isinstance(source, Value):
        source = source.owner
    if not isinstance(source, Op) or not isinstance(source.attrs.get("resource"), str):
        return None
    found = np.asarray(module.resources[source.str_attr("resource")])
    return found if found.dtype.kind == "f" else None


# ---------------------------------------------------------------------- batch normalisation
def _batch_norm(module: Module, config: Config, where: str) -> Iterator[Diagnostic]:
    """A normalisation that is not there any more although its statistics should be trained."""
    if any(op.name == "graph.batchnorm" for op in module.walk()):
        return
    convs = [op for op in module.walk() if op.name == "graph.conv"]
    names = [
        v.owner.str_attr("name")
        for op in convs
        for v in op.operands[1:2]
        if isinstance(v.owner, Op) and v.owner.name == "graph.param"
    ]
    folded = [n for n in names if FOLDED_NAME.fullmatch(n)]
    asked = config.said("batchnorm.statistics") and config.text("batchnorm.statistics") == "batch"
    help_ = "export in training mode (training=TrainingMode.TRAINING, do_constant_folding=False)"
    if asked:
        yield _warn("E0372", "batchnorm.statistics is batch, but the file has no batch "
                    "normalisation: if the network has one, the exporter folded it into the "
                    "weights", where, help=help_)  # fmt: skip
    elif folded:
        yield _warn("E0372", f"the exporter computed the weights {_listed(folded)} itself, most "
                    "likely a convolution with its batch normalisation folded in: that will not "
                    "be trained as a batch normalisation", where, help=help_)  # fmt: skip


# ---------------------------------------------------------------------- comparisons
def _compares(module: Module, where: str) -> Iterator[Diagnostic]:
    """Neurons that fire on another condition than their framework, or than their neighbours."""
    kinds: dict[str, list[str]] = {}
    for op in _spiking(module):
        compare, layer = str(op.attrs.get("compare", "strict")), _layer(op)
        if op.name == "graph.neuron":
            kinds.setdefault(compare, []).append(layer)
        framework = str(op.attrs.get("framework", ""))
        known = mapping(op.attrs.get("origin")).get("framework") == "metadata"
        habit: Sequence[str] = COMPARES.get(framework, ()) if known else ()
        if habit and compare not in habit:
            yield _warn(
                "E0373",
                f"{layer} fires when the membrane is {SIGNS[compare]} the threshold; {framework} "
                f"uses {SIGNS[habit[0]]}",
                str(op.loc),
                help="a membrane exactly at the threshold then gives another spike",
            )
    if "strict" in kinds and "non_strict" in kinds:
        yield _warn(
            "E0373",
            f"{_listed(kinds['strict'])} fire above the threshold (>), "
            f"{_listed(kinds['non_strict'])} also at it (>=)",
            where,
            help="fine if it is meant; a mix often comes from two frameworks or versions",
        )
