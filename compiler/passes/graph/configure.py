"""Write the training configuration into a graph module (docs/design/training-config.md).

For every neuron the surrogate and the gradient through the reset, for every parameter whether it is
trained, for the module ``attrs["training"]``.  Precedence: flag and configuration, then what the
import found in the model's metadata, then a default.  ``attrs["origin"]`` of a neuron says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from snncc.compiler.config.check import Surrogate, suggest
from snncc.compiler.config.config import Config
from snncc.compiler.config.loss_scale import loss_scale
from snncc.compiler.diag import DiagnosticSink
from snncc.compiler.ir.core import Attribute, Module, Op
from snncc.compiler.ir.losses import CLASSES, LOSSES, usual_targets
from snncc.compiler.ir.neuron_constants import constants, promote
from snncc.compiler.ir.optimizers import OPTIMIZERS
from snncc.compiler.ir.surrogate import SURROGATES
from snncc.compiler.passes.graph.kit.initial_states import initial_state_names
from snncc.compiler.passes.graph.kit.reset_paths import detach_resets
from snncc.compiler.passes.graph.kit.spike_input import spike_input
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.registry import NoOptions, compiler_pass

DEFAULT_RESET_GRADIENT = "detached"
ARITHMETIC = "arithmetic"
"""Origin of a surrogate that the file computes itself."""


@compiler_pass(takes="graph")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Write surrogates, trained parameters, loss and optimizer into the graph."""
    if context.config is None and "training" in module.attrs:
        return False  # textual IR that was configured before
    before = _attributes(module)
    config = context.config or Config()
    packed = config.flag("input.spikes") and spike_input(module)
    configure(module, config, context.mode)
    if context.mode == "train" and not config.said("gradient.maximum"):
        _warn_of_equal_maxima(module, context.diagnostics)
    if context.mode == "train":
        warn_of_unused_settings(config, context.diagnostics)
    return packed or _attributes(module) != before


def _attributes(module: Module) -> list[dict[str, Attribute]]:
    return [dict(module.attrs), *(dict(op.attrs) for op in module.walk())]


def configure(module: Module, config: Config, mode: str = "train") -> None:
    """Fill in what the configuration decides; every mismatch with the model is reported."""
    sink = DiagnosticSink()
    layers = [op for op in module.walk() if op.name in ("graph.neuron", "graph.spike")]
    _check_layers(layers, config, sink)
    for op in layers:
        if op.attrs.get("compare") != "none":
            _surrogate(op, config)
            _reset_gradient(op, config)
    for op in module.walk():
        if op.name in ("graph.reduce", "graph.reduce_time") and op.attrs.get("kind") == "max":
            op.attrs["ties"] = config.text("gradient.maximum")
    for function in module.funcs.values():
        detach_resets(function.body)
    _parameters(module, config, sink)
    training = training_attributes(config, mode)
    readout = readout_of(module, config, sink)
    if mode == "train":
        training["readout"] = readout
    microbatch = config.integer("training.microbatch")
    if microbatch is not None and module.batch % microbatch:
        text = f"microbatch {microbatch} does not divide the batch of {module.batch}"
        sink.error("E0354", text, config.get("training.microbatch").where)
    sink.raise_if_errors()
    module.attrs["training"] = training


def _warn_of_equal_maxima(module: Module, sink: DiagnosticSink) -> None:
    """Say what is assumed of a maximum of spikes, of which many are equal at every step."""
    for op in module.walk():
        if "ties" in op.attrs and op.operands[0].type.dtype == "bit":
            sink.warning(
                "E0377",
                "the largest of several spikes: those that are equal share its gradient",
                str(op.loc),
                help='torch.amax does that; for torch.max(x, dim): [gradient] maximum = "first"',
            )
            return


def warn_of_unused_settings(config: Config, sink: DiagnosticSink) -> None:
    """Tell of settings that only other optimizers or losses have."""
    optimizer = str(optimizer_attributes(config).get("name", "none"))
    optimizers = {name: tuple(rule.settings) for name, rule in OPTIMIZERS.items()}
    losses = {name: tuple(rule.settings) for name, rule in LOSSES.items()}
    _warn_of_others("optimizer", optimizer, optimizers, config, sink)
    _warn_of_others("loss", config.text("loss.name"), losses, config, sink)


def _warn_of_others(
    section: str, chosen: str, settings: Mapping[str, tuple[str, ...]], config: Config,
    sink: DiagnosticSink,
) -> None:  # fmt: skip
    has = settings.get(chosen, ())
    for key in dict.fromkeys(key for keys in settings.values() for key in keys):
        said = config.said(f"{section}.{key}") and config.get(f"{section}.{key}").value
        if said and key not in has:
            sink.warning(
                "E0378",
                f"{section}.{key} has no effect: the {section} {chosen} has no such setting",
                config.file,
                help=f"its settings: {', '.join(has) or 'none'}",
            )


def training_attributes(config: Config, mode: str) -> dict[str, Attribute]:
    """Return what a configuration says about the step as a whole, readout excepted."""
    training: dict[str, Attribute] = {"mode": mode}
    if config.said("batchnorm.statistics"):
        training["batchnorm"] = {"statistics": config.text("batchnorm.statistics")}
    if mode != "train":
        return training
    scale = loss_scale(config)
    loss: dict[str, Attribute] = {"name": config.text("loss.name"), "scale": scale.initial}
    loss |= _loss_settings(config)
    if scale.dynamic:
        loss["dynamic"] = True
    training["loss"] = loss
    training["rounding"] = config.text("weights.rounding")
    training["seed"] = config.integer("weights.seed") or 0
    microbatch = config.integer("training.microbatch")
    if microbatch is not None:
        training["microbatch"] = microbatch
    optimizer = optimizer_attributes(config)
    if optimizer:
        training["optimizer"] = optimizer
    return training


def _loss_settings(config: Config) -> dict[str, Attribute]:
    """Return what a loss has beside its name, where it is not the usual."""
    rule = LOSSES[config.text("loss.name")]
    made: dict[str, Attribute] = {}
    for key, default in rule.settings.items():
        said = config.get(f"loss.{key}").value
        if said is not None and said != default:
            made[key] = said
    targets = config.text("loss.targets") or usual_targets(rule)
    if targets != CLASSES:
        made["targets"] = targets
    if config.flag("loss.target_steps"):
        made["target_steps"] = True
    return made


def optimizer_attributes(config: Config) -> dict[str, Attribute]:
    """Return the optimizer as the IR writes it, empty for none."""
    name = config.text("optimizer.name")
    if name == "none":
        return {}
    if name == "sgd" and config.get("optimizer.momentum").value:
        name = "momentum"
    rule, lr = OPTIMIZERS[name], config.get("optimizer.lr").value
    made: dict[str, Attribute] = {
        "name": name,
        "lr": lr if isinstance(lr, float) else rule.lr,
        "weight_decay": config.number("optimizer.weight_decay"),
        "weights": config.text("weights.format"),
        "state": config.text("optimizer.state"),
    }
    for key, default in rule.settings.items():
        said = config.get(f"optimizer.{key}").value
        made[key] = default if said is None else said
    return made


def readout_of(module: Module, config: Config, sink: DiagnosticSink) -> dict[str, Attribute]:
    """Return what is read of a module's outputs, and how, as the IR writes it."""
    outputs = {op.str_attr("name"): op for op in module.walk() if op.name == "graph.output"}
    name = config.text("readout.output") or next(iter(outputs), "")
    if name not in outputs:
        known = ", ".join(outputs) or "none"
        sink.error(
            "E0354",
            f"the model has no output {name!r}",
            config.get("readout.output").where,
            help=suggest(name, outputs) or f"its outputs: {known}",
        )
        return {}
    output = outputs[name]
    axis = output.int_attr("axis", 0)
    reduce = config.text("readout.reduce") or ("none" if axis < 0 else _default_reduce(output))
    if config.flag("loss.per_step"):
        reduce = "per-step"
    said = config.integer("readout.axis")
    made: dict[str, Attribute] = {
        "output": name, "reduce": reduce, "axis": max(axis, 0) if said is None else said
    }  # fmt: skip
    if steps := config.integers("readout.steps"):
        made["steps"] = steps
        _check_steps(steps, output, config, sink)
    return made


def _check_steps(steps: tuple[int, ...], output: Op, config: Config, sink: DiagnosticSink) -> None:
    type_, where = output.operands[0].type, config.get("readout.steps").where
    name = output.str_attr("name")
    if type_.kind != "seq":
        sink.error("E0354", f"readout.steps: output {name!r} has no time axis", where)
        return
    count = type_.shape[0]
    for step in steps:
        if not -count <= step < count:
            text = f"readout.steps: there is no step {step}, output {name!r} has {count}"
            sink.error("E0354", text, where)


def _default_reduce(output: Op) -> str:
    value = output.operands[0]
    spikes = value.type.dtype == "bit"
    owner = value.owner
    if isinstance(owner, Op) and owner.name == "graph.neuron":
        spikes = value.index == 0 and len(owner.results) > 1
    return "sum" if spikes else "last"


def _layer(op: Op) -> str:
    layer = op.attrs.get("layer")
    return layer if isinstance(layer, str) else str(op.loc)


def _check_layers(layers: list[Op], config: Config, sink: DiagnosticSink) -> None:
    names = [_layer(op) for op in layers]
    for section, patterns in (("surrogate", config.surrogates), ("reset", config.resets)):
        for pattern in patterns:
            if pattern != "*" and not any(n == pattern or fnmatchcase(n, pattern) for n in names):
                sink.error(
                    "E0354",
                    f"[{section}.{pattern}] names no neuron layer",
                    config.file,
                    help=suggest(pattern, names) or f"layers: {', '.join(names)}",
                )


def _origin(op: Op, key: str, origin: str) -> None:
    known = op.attrs.get("origin")
    op.attrs["origin"] = {**(known if isinstance(known, Mapping) else {}), key: origin}


def surrogate_attribute(surrogate: Surrogate) -> dict[str, Attribute]:
    """Return a surrogate as the IR writes it."""
    return {"name": surrogate.name.replace("-", "_"), **surrogate.params}


def _surrogate(op: Op, config: Config) -> None:
    said = config.surrogate(_layer(op))
    origin = op.attrs.get("origin")
    if isinstance(origin, Mapping) and origin.get("surrogate") == ARITHMETIC:
        return  # the file computes the gradient itself
    if said is None and isinstance(op.attrs.get("surrogate"), Mapping):
        if not (isinstance(origin, Mapping) and "surrogate" in origin):
            _origin(op, "surrogate", "metadata")
        return
    if said is None:
        said = Surrogate("atan", dict(SURROGATES["atan"].params), "default")
    op.attrs["surrogate"] = surrogate_attribute(said)
    _origin(op, "surrogate", said.origin)


def _reset_gradient(op: Op, config: Config) -> None:
    if op.attrs.get("reset") == "none":
        return
    said = config.reset_gradient(_layer(op))
    explicit = op.attrs.get("explicit")
    if isinstance(explicit, tuple) and "reset_gradient" in explicit:
        # the model says it of this very layer: what the configuration says of all gives way
        said = None if said is config.resets.get("*") else said
    if said is not None:
        op.attrs["reset_gradient"] = str(said.value)
        _origin(op, "reset_gradient", said.origin)
        return
    origin = op.attrs.get("origin")
    known = isinstance(origin, Mapping) and origin.get("reset_gradient") not in (None, "default")
    if not (known and isinstance(op.attrs.get("reset_gradient"), str)):
        op.attrs["reset_gradient"] = DEFAULT_RESET_GRADIENT
        _origin(op, "reset_gradient", "default")


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern means a parameter; one with wildcards means all roles of a name."""
    return fnmatchcase(name, pattern) or (
        "*" in pattern and fnmatchcase(name.partition("#")[0], pattern)
    )


def _parameters(module: Module, config: Config, sink: DiagnosticSink) -> None:
    wanted = config.texts("parameters.train")
    promote(module, lambda name: any(_fits(name, pattern) for pattern in wanted))
    params = [op for op in module.walk() if op.name == "graph.param"]
    names = [op.str_attr("name") for op in params] + [name for name, _, _ in constants(module)]
    also = initial_state_names(module)
    for path, train in (("parameters.train", True), ("parameters.freeze", False)):
        for pattern in config.texts(path):
            fitting = [
                op
                for op in params
                if any(_fits(n, pattern) for n in (op.str_attr("name"), *also.get(op, ())))
            ]
            if not fitting:
                sink.error(
                    "E0354",
                    f"{path} pattern {pattern!r} names no parameter",
                    config.get(path).where,
                    help=suggest(pattern, names) or f"parameters: {', '.join(names)}",
                )
            for op in fitting:
                op.attrs["train"] = train
