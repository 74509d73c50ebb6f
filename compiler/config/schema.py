"""What a training configuration may say: one row per key, with its default and its meaning.

From this table come the checks, the messages, the defaults and docs/config.md.  ``default`` None
means "not said": then the model's metadata or the rule given in ``doc`` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from snncc.compiler.ir.losses import LOSSES, TARGETS, synonyms
from snncc.compiler.ir.optimizers import OPTIMIZERS

Value: TypeAlias = (
    "int | float | bool | str | tuple[str, ...] | tuple[float, ...] | tuple[int, ...] | None"
)
Kind: TypeAlias = Literal["int", "float", "bool", "str", "strs", "floats", "ints"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: ``path`` is ``section.key`` (or ``key`` at the top)."""

    path: str
    kind: Kind
    default: Value
    doc: str
    choices: tuple[str, ...] = ()
    low: float | None = None  # smallest allowed value
    above: float | None = None  # values must be greater
    high: float | None = None  # largest allowed value
    length: int | None = None  # number of entries of a list
    words: tuple[str, ...] = ()  # texts that a number may be instead
    below: float | None = None  # values must be smaller
    power_of_two: bool = False
    synonyms: Mapping[str, str] = field(default_factory=dict[str, str])
    """Other words for choices."""

    @property
    def section(self) -> str:
        """The table that holds the key, '' for the top."""
        return self.path.rpartition(".")[0]


def _rates() -> str:
    """Return the default learning rates: that of sgd, and of those that have another."""
    usual = OPTIMIZERS["sgd"].lr
    others = [f"{r.name}: {r.lr:g}" for r in OPTIMIZERS.values() if r.lr != usual]
    return f"{usual:g} ({', '.join(others)})"


def _defaults(setting: str) -> str:
    """Return what optimizers take where a setting is not given: ``adam 0.9, 0.999``."""
    found: list[str] = []
    for rule in OPTIMIZERS.values():
        value = rule.settings.get(setting)
        if value is not None:
            words = map(str, value) if isinstance(value, tuple) else [str(value).lower()]
            found.append(f"{rule.name} {', '.join(words)}")
    return "; ".join(found)


def _loss_default(setting: str) -> float:
    """Return what the loss that has a setting takes where it is not given."""
    return next(rule.settings[setting] for rule in LOSSES.values() if setting in rule.settings)


REDUCTIONS = ("sum", "mean", "max", "last", "none")

KEYS: tuple[Key, ...] = (
    Key("timesteps", "int", None, "time steps; a model that is unrolled already says it", low=1),
    Key(
        "time_axis",
        "int",
        None,
        "position of the time axis in the model's input `x`; absent: the same input at every step "
        "(an unrolled model's own layout decides where it can)",
        low=0,
    ),
    Key(
        "batch_in_time_axis",
        "bool",
        False,
        "the model folds batch and time into one axis, sample-major",
    ),
    Key("input.spikes", "bool", False, "`x` holds only 0 and 1: packed bits, gated accumulation"),
    Key("readout.output", "str", None, "the graph output that is read; default: the first one"),
    Key(
        "readout.reduce",
        "str",
        None,
        "how the output over time becomes logits; none: every step is compared, and the loss is "
        "the mean over the steps too; default: sum for spikes, last for membranes (none where `y` "
        "has the shape of all steps)",
        REDUCTIONS,
    ),
    Key("readout.axis", "int", None, "time axis of that output in the file; default: its own"),
    Key(
        "readout.steps",
        "ints",
        (),
        "the steps that are read, counted from 0, negative ones from the end: `[-3, -2, -1]` for "
        "the last three; default: all",
    ),
    Key(
        "loss.name",
        "str",
        "cross-entropy",
        "the loss, a mean over the batch: see Losses",
        tuple(LOSSES),
        synonyms=synonyms(),
    ),
    Key(
        "loss.targets",
        "str",
        None,
        "what `y` holds: "
        + "; ".join(f"{name}: {doc}" for name, doc in TARGETS.items())
        + ". Default: what the `y` of `run` or `train` looks like; without one, classes where the "
        "loss takes them",
        tuple(TARGETS),
    ),
    Key(
        "loss.target_steps",
        "bool",
        None,
        "`y` has a time axis where the output has it; default: as `y` looks; without one, no",
    ),
    Key(
        "loss.label_smoothing",
        "float",
        None,
        "share of a label that all classes get equally (cross-entropy); default: "
        f"{_loss_default('label_smoothing'):g}",
        low=0.0,
        below=1.0,
    ),
    Key(
        "loss.beta",
        "float",
        None,
        f"where smooth-l1 goes over into a line; default: {_loss_default('beta'):g}",
        above=0.0,
        high=65504.0,
    ),
    Key(
        "loss.delta",
        "float",
        None,
        f"where huber goes over into a line; default: {_loss_default('delta'):g}",
        above=0.0,
        high=65504.0,
    ),
    Key(
        "loss.scale",
        "float",
        128.0,
        "the loss is multiplied by it before the backward pass; every reported gradient and every "
        "update is divided by it. Larger keeps small gradients out of binary16's subnormals, but "
        "scaled gradients must stay below 65504. `dynamic`: halved and the step undone when a "
        "gradient overflows, doubled after `growth_interval` good steps (powers of two)",
        above=0.0,
        high=65504.0,
        words=("dynamic",),
    ),
    Key(
        "loss.initial_scale",
        "float",
        32768.0,
        "scale of the first step, where `scale` is dynamic",
        low=1.0,
        high=2.0**24,
        power_of_two=True,
    ),
    Key(
        "loss.growth_interval",
        "int",
        1000,
        "good steps after which a dynamic scale is doubled",
        low=1,
    ),
    Key(
        "loss.minimum_scale",
        "float",
        1.0,
        "smallest dynamic scale; a gradient that overflows at it ends the training",
        low=1.0,
        high=2.0**24,
        power_of_two=True,
    ),
    Key(
        "loss.maximum_scale",
        "float",
        2.0**24,
        "largest dynamic scale",
        low=1.0,
        high=2.0**24,
        power_of_two=True,
    ),
    Key("loss.per_step", "bool", False, "the loss of every step's output, summed over the steps"),
    Key(
        "optimizer.name",
        "str",
        "none",
        "none: `run` reports gradients only (`train` then takes sgd)",
        ("none", *OPTIMIZERS),
    ),
    Key("optimizer.lr", "float", None, f"learning rate; default {_rates()}", above=0.0),
    Key(
        "optimizer.momentum",
        "float",
        None,
        f"momentum; default: {_defaults('momentum')}. With it sgd is the optimizer momentum",
        low=0.0,
        high=1.0,
    ),
    Key("optimizer.weight_decay", "float", 0.0, "L2 weight decay", low=0.0),
    Key(
        "optimizer.nesterov",
        "bool",
        None,
        f"Nesterov momentum; default: {_defaults('nesterov')}",
    ),
    Key(
        "optimizer.betas",
        "floats",
        None,
        f"decay of the moments; default: {_defaults('betas')}",
        low=0.0,
        high=1.0,
        length=2,
    ),
    Key(
        "optimizer.eps",
        "float",
        None,
        f"added to a divisor; default: {_defaults('eps')} (1e-8 is 0 in binary16)",
        above=0.0,
    ),
    Key(
        "optimizer.state",
        "str",
        "fp32",
        "where momentum and moments live",
        ("fp16", "fp32"),
    ),
    Key(
        "weights.format",
        "str",
        "fp16",
        "fp16: weights live in binary16; fp32-master: a binary32 copy takes the updates",
        ("fp16", "fp32-master"),
    ),
    Key(
        "weights.rounding",
        "str",
        "nearest",
        "rounding of an updated weight to binary16",
        ("nearest", "stochastic"),
    ),
    Key("weights.seed", "int", 0, "seed of stochastic rounding and dropout", low=0, high=2**31 - 1),
    Key(
        "gradient.maximum",
        "str",
        "even",
        "several entries that are the maximum of a reduction (`ReduceMax`): even: they share its "
        "gradient equally, as `torch.amax` does; first: the first along the axis has it, as with "
        "`torch.max(x, dim)` (over several axes at once it is shared)",
        ("even", "first"),
    ),
    Key(
        "batchnorm.statistics",
        "str",
        None,
        "running: those of the file; batch: of all steps together where the file folds time into "
        "the batch, of each step where it normalises step by step; default: batch when training",
        ("running", "batch"),
    ),
    Key(
        "parameters.train",
        "strs",
        (),
        "patterns of further parameters to train (neuron constants; an initial state is also "
        "called LAYER.v0); a name in full also makes a parameter of what `check` lists as taken "
        "for a setting or a number of the exporter",
    ),
    Key("parameters.freeze", "strs", (), "patterns of parameters to leave as they are"),
    Key(
        "training.microbatch",
        "int",
        None,
        "samples per micro-batch of the weight-gradient order; default: the whole batch",
        low=1,
    ),
    Key("training.batch", "int", 128, "batch size of `snncc train`", low=1),
    Key("training.seed", "int", 0, "seed of the shuffling", low=0, high=2**32 - 1),
    Key("machine.target", "str", "multicore20", "machine name or TOML file"),
    Key("machine.cores", "int", None, "use only so many cores; default: all", low=1),
)

BY_PATH = {key.path: key for key in KEYS}
for _rule in OPTIMIZERS.values():
    for _setting in _rule.settings:
        if f"optimizer.{_setting}" not in BY_PATH:
            raise ValueError(f"optimizer {_rule.name}: {_setting} needs a row optimizer.{_setting}")
for _loss in LOSSES.values():
    for _setting in _loss.settings:
        if f"loss.{_setting}" not in BY_PATH:
            raise ValueError(f"loss {_loss.name}: {_setting} needs a row loss.{_setting}")
SECTIONS = (*dict.fromkeys(k.section for k in KEYS if k.section), "surrogate", "reset")
RESET_GRADIENTS = ("attached", "detached")
