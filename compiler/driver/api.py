"""The Python interface: load, compile, run, train; numpy arrays in, numpy arrays out.

    from snncc.compiler.driver import api as snncc

    model = snncc.load("net.onnx", config="net.toml", batch=64)
    program = snncc.compile(model, target="multicore20", cores=4)
    result = snncc.run(program, x, y)
    result["loss"], result["grad/fc1.weight"], result.stats["cycles"]
    history = snncc.train(model, "digits", epochs=10)

A mistake in a file or an array raises :class:`CompileError`, whose text says what to do; a program
that traps or deadlocks raises :class:`Stopped`.  See docs/api.md.

Over 400 lines: the interface that stays, all of it in one place.
"""

from __future__ import annotations

import math
import warnings as python_warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.backend.compile import CompileOptions, compile_module
from snncc.compiler.config.config import Config, load_config
from snncc.compiler.config.loss_scale import loss_scale
from snncc.compiler.diag import CompileError, Diagnostic, fail
from snncc.compiler.driver.build import TO_PHASED, Request, import_model, lower
from snncc.compiler.driver.data import check_targets, doubtful_scale, find_data
from snncc.compiler.driver.doubts import overflow_doubts
from snncc.compiler.driver.execute import Program, Result, load_program, run_program
from snncc.compiler.driver.failure import Stopped
from snncc.compiler.driver.identity import identity_of
from snncc.compiler.driver.interface import Interface, expose_spikes, interface_of
from snncc.compiler.driver.machines import DEFAULT_TARGET, find_machine
from snncc.compiler.driver.overflow import LAYERS, Lost, lost_warnings
from snncc.compiler.driver.readout import host_readout, logits_time
from snncc.compiler.driver.scaling import Guard
from snncc.compiler.driver.scoring import Scorer
from snncc.compiler.driver.simulate import LoadedProgram, read_program, step_seed
from snncc.compiler.driver.targets import fit_to_targets, is_scored, target_layout
from snncc.compiler.driver.trainer import (
    Data,
    History,
    Metrics,
    Plan,
    Progress,
    fit,
    steps_per_epoch,
)
from snncc.compiler.driver.versions import versions
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.layers import parameter_layers
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import Observer
from snncc.compiler.validate.verdict import SWITCHED_OFF, Verdict
from snncc.isa.cost.estimate import Densities
from snncc.isa.machine.machine import Machine
from snncc.isasim.observe.hooks import Tracer
from snncc.isasim.system import RunOptions

__all__ = [
    "CompileError",
    "History",
    "Model",
    "Program",
    "Result",
    "Stopped",
    "Training",
    "compile",
    "load",
    "load_program",
    "prepare_training",
    "read_program",
    "run",
    "train",
]

Array: TypeAlias = npt.NDArray[Any]
ArrayLike: TypeAlias = npt.ArrayLike
PIPELINE = "default"


@dataclass(frozen=True, slots=True)
class Model:
    """A model as imported, with its training configuration."""

    path: Path
    config: Config
    graph: Module
    request: Request
    warnings: tuple[Diagnostic, ...] = ()
    verdict: Verdict = SWITCHED_OFF
    """Whether the import was compared with the file."""

    @property
    def batch(self) -> int:
        """Samples per step."""
        return self.graph.batch

    @property
    def steps(self) -> int:
        """Time steps."""
        return self.graph.steps

    def interface(self, mode: str) -> Interface:
        """Return what a program of this model takes and gives."""
        found = interface_of(self.graph, mode, self.config.integer("time_axis"))
        if mode != "train":
            return found
        return replace(found, y=target_layout(self.graph, self.config))

    def for_targets(self, y: Array, where: str = "y", samples_first: bool = False) -> Model:
        """Return the model with what its configuration leaves open about targets as ``y`` looks."""
        config = fit_to_targets(self.graph, self.config, y, where, samples_first)
        return replace(self, config=config, request=replace(self.request, config=config))

    def with_batch(self, batch: int) -> Model:
        """Return the model for another batch size."""
        if batch == self.batch:
            return self
        request = replace(self.request, batch=batch, x_shape=None)
        if not self.verdict.validated:
            return _load(self.path, request)
        # the file was compared already; another batch changes nothing in how it is read
        again = _load(self.path, replace(request, validate=False))
        return replace(again, request=request, verdict=self.verdict)


def load(
    path: str | Path,
    *,
    config: str | Path | Config | None = None,
    batch: int | None = None,
    x_shape: Sequence[int] | None = None,
    dt: float | None = None,
    validate: bool = True,
    training: bool = True,
) -> Model:
    """Read a model file (.onnx) for a batch size, and compare what was read with the file.

    ``config`` is a TOML file or a :class:`Config`; ``x_shape`` (the shape of the array that will be
    given) says the batch size where ``batch`` does not.  Neither: the batch size in the file.
    Without ``validate`` the import is taken as it is, and ``verdict`` and programs say so.  Without
    ``training`` other gradients than the file's are a warning; such a model can only infer.
    """
    if config is None:
        config = Config()
    elif not isinstance(config, Config):
        config = load_config(Path(config))
    shape = None if x_shape is None else tuple(int(n) for n in x_shape)
    return _load(
        Path(path), Request(config, batch, shape, dt, validate=validate, training=training)
    )


def _load(path: Path, request: Request) -> Model:
    imported = import_model(path, request)
    return Model(path, imported.config, imported.module,
                 replace(request, reading=imported.reading), imported.warnings,
                 imported.verdict)  # fmt: skip


def machine_for(config: Config, target: str = "", cores: int | None = None) -> Machine:
    """Return the machine that arguments, configuration or the default name, in this order."""
    return find_machine(
        target or config.text("machine.target") or DEFAULT_TARGET,
        cores if cores is not None else config.integer("machine.cores"),
    )


def compile(
    model: Model,
    *,
    target: str = "",
    cores: int | None = None,
    mode: str = "train",
    level: int = 2,
    spikes: bool = False,
    observers: Sequence[Observer] = (),
    flags: str = "",
    densities: Densities | None = None,
) -> Program:
    """Compile a model for a machine; ``target`` is a name or a TOML file.

    ``spikes``: keep the spikes of every layer, so that :func:`run` can return them.
    ``densities``: what the estimate of the program's cost expects.
    """
    _refuse_training(model, mode)
    config = model.config
    machine = machine_for(config, target, cores)
    module = clone(model.graph)
    if spikes:
        expose_spikes(module)
    interface = replace(model, graph=module).interface(mode)
    context = PassContext(machine, config, mode, command="snncc compile", flags=flags)
    updates = mode == "train" and config.text("optimizer.name") != "none"
    result = compile_module(
        module,
        machine,
        CompileOptions(PIPELINE, level, level == 0, densities or Densities()),
        context=context,
        observers=observers,
        metadata={
            "interface": interface.as_json(),
            "updates": updates,
            "seed": config.integer("weights.seed") or 0,
            "versions": versions(),
            LAYERS: parameter_layers(module),
            "validation": model.verdict.as_json(),
        },
    )
    return Program(result.object_file, interface, model.path.parent, result.module)


def _refuse_training(model: Model, mode: str) -> None:
    other = model.verdict.other_gradients
    if mode == "train" and other:
        text = "the import has other gradients than the file: it can infer, and not train"
        fail("E0114", text, str(model.path), notes=[other])


def run(
    what: Program | Model,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    numerics: str = "fp16",
    engine: str = "fast",
    spikes: bool = False,
    stats: bool = True,
    options: RunOptions | None = None,
    tracers: Sequence[Tracer] = (),
    where: str = "x",
) -> Result:
    """Run one step: a training step with ``y``, inference without.

    Results that are not finite are told as a Python warning, and in ``Result.warnings``.
    ``numerics`` float32 or float64 evaluates the training step in that type instead of simulating
    a chip: is it the model or FP16?  It needs a :class:`Model`.
    """
    result = step(
        what, x, y, numerics=numerics, engine=engine, spikes=spikes, stats=stats, options=options,
        tracers=tracers, where=where,
    )  # fmt: skip
    _tell(result.warnings)
    return result


def step(
    what: Program | Model,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    numerics: str = "fp16",
    engine: str = "fast",
    spikes: bool = False,
    stats: bool = True,
    options: RunOptions | None = None,
    tracers: Sequence[Tracer] = (),
    where: str = "x",
) -> Result:
    """Do what :func:`run` does, and leave it to the caller to show ``Result.warnings``."""
    x = np.asarray(x)
    y = None if y is None else np.asarray(y)
    if isinstance(what, Model):
        mode = "infer" if y is None else "train"
        if y is not None:
            what = what.for_targets(y, where)
        if numerics != "fp16":
            return _interpret(what, x, y, mode, numerics, spikes, where)
        what = compile(what, mode=mode, spikes=spikes)
    elif numerics != "fp16":
        fail("E0029", f"a program runs in FP16 only, not in {numerics}", help="give the model")
    return run_program(
        what, x, y, spikes=spikes, stats=stats, options=options or RunOptions(engine=engine),
        tracers=tracers, where=where,
    )  # fmt: skip


def _interpret(
    model: Model, x: Array, y: Array | None, mode: str, numerics: str, spikes: bool, where: str
) -> Result:
    from snncc.compiler.driver.interpret import interpret

    _refuse_training(model, mode)
    if spikes:
        graph = clone(model.graph)
        expose_spikes(graph)
        model = replace(model, graph=graph)
    interface = model.interface(mode)
    values = {interface.x.name: interface.check_x(x, where, numerics)}
    seed = step_seed(model.config.integer("weights.seed"), 0)
    module, _ = lower(model.graph, TO_PHASED, config=model.config, mode=mode)
    lost: list[Lost] = []
    found = interpret(module, interface, values, y, numerics, where, seed, lost)
    return Result(found, warnings=lost_warnings(lost, model.path.name, mode == "train"))


def _tell(warnings: Sequence[Diagnostic]) -> None:
    for each in warnings:
        python_warnings.warn(str(each), stacklevel=3)


@dataclass(slots=True)
class ChipLearner:
    """A training program and an inference program of one model, with common weights."""

    chip: LoadedProgram
    predictor: LoadedProgram
    reduce: Callable[[Mapping[str, Array]], Array]
    guard: Guard
    scorer: Scorer = field(default_factory=Scorer)
    fresh: bool = False

    def step(self, x: Array, y: Array, number: int) -> tuple[float, Array]:
        """Run a training step; numbers that overflow are E0360, or undo the step."""
        self.guard.before()
        self.chip.run(x, y, number=number)
        self.fresh = False
        loss = float(self.chip.output("loss"))
        if math.isfinite(loss):  # the caller reports a loss that is not
            self.guard.after(number)
        return loss, self.chip.output("logits")

    def predict(self, x: Array) -> Array:
        """Run an inference step with the present weights."""
        if not self.fresh:
            self.predictor.load_state(self.chip.state(), strict=False)
            self.fresh = True
        self.predictor.run(x)
        return self.reduce(self.predictor.outputs())

    def state(self) -> dict[str, Array]:
        """Return weights, optimizer state, and how the loss scale stands."""
        return self.chip.state() | self.guard.state()

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from a state."""
        self.chip.load_state(state)
        self.guard.load_state(state)
        self.fresh = False

    def stats(self) -> Mapping[str, Any]:
        """Return what the last training step cost, and how the loss scale stands."""
        assert self.chip.result is not None
        return {**self.chip.result.summary, **self.guard.stats()}


def learner(
    model: Model, *, target: str = "", cores: int | None = None, engine: str = "fast"
) -> ChipLearner:
    """Compile a model for training and for inference and load both into simulators."""
    options = RunOptions(engine=engine)
    programs = [
        compile(model, target=target, cores=cores, mode=mode) for mode in ("train", "infer")
    ]
    chips = [
        LoadedProgram(p.object_file, p.interface, options=options, folder=p.folder)
        for p in programs
    ]
    module, _ = lower(model.graph, "configure", config=model.config, mode="train")
    guard = Guard(chips[0], loss_scale(model.config), str(model.path))
    layout = programs[0].interface.y
    scorer = Scorer(logits_time(module), layout is not None and layout.time_axis >= 0)
    return ChipLearner(chips[0], chips[1], host_readout(module), guard, scorer)


@dataclass(frozen=True, slots=True)
class Training:
    """A training run that is ready to go."""

    worker: ChipLearner
    data: Data
    plan: Plan
    warnings: tuple[Diagnostic, ...] = ()
    """What is doubtful about numbers and samples, found before the first step."""

    @property
    def steps_per_epoch(self) -> int:
        """Training steps in an epoch."""
        return steps_per_epoch(self.data, self.plan)

    def fit(
        self,
        *,
        out: str | Path | None = None,
        resume: bool = False,
        overwrite: bool = False,
        on_step: Progress = lambda epoch, step, loss: None,
        on_epoch: Callable[[Metrics], None] = lambda metrics: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> tuple[History, dict[str, Array]]:
        """Train; return the history and the parameters in the file's layout."""
        folder = None if out is None else Path(out)
        history = fit(
            self.worker,
            self.data,
            self.plan,
            out=folder,
            resume=resume,
            overwrite=overwrite,
            on_step=on_step,
            on_epoch=on_epoch,
            on_note=on_note,
        )
        return history, self.worker.chip.parameters()


def prepare_training(
    model: Model,
    data: str | Mapping[str, ArrayLike] | Data,
    *,
    epochs: int,
    target: str = "",
    cores: int | None = None,
    engine: str = "fast",
) -> Training:
    """Load the data, compile the model for training and for inference.

    Without an ``[optimizer]`` in the configuration plain SGD is used.
    """
    config = model.config
    if config.text("optimizer.name") == "none":
        config = config.override({"optimizer.name": "sgd"}, "default")
        model = replace(model, config=config, request=replace(model.request, config=config))
    found = data if isinstance(data, Data) else find_data(data, model.interface("train"))
    where = data if isinstance(data, str) else "data"
    model = model.for_targets(found.y, where, samples_first=True)
    config, interface = model.config, model.interface("train")
    layout = interface.y
    if layout is not None:
        found = check_targets(found, layout, where)
    worker = learner(model, target=target, cores=cores, engine=engine)
    plan = Plan(
        epochs,
        model.batch,
        config.integer("training.seed") or 0,
        1 if interface.x.time_axis == 0 and not interface.x.batch_in_time else 0,
        layout.sample_axis if layout is not None else 0,
        worker.scorer if is_scored(layout) else None,
        identity_of(
            model.graph,
            config,
            machine_for(config, target, cores),
            (found.x, found.y),
            (found.x_test, found.y_test),
        ),
    )
    worker.guard.check_start()
    return Training(
        worker, found, plan, (*_may_overflow(model, found), *doubtful_scale(found, where))
    )


def _may_overflow(model: Model, data: Data) -> tuple[Diagnostic, ...]:
    """Return the warnings of `snncc check` about numbers too large for binary16."""
    module, _ = lower(model.graph, "configure", config=model.config, mode="train")
    largest = max((float(np.abs(x).max()) for x in (data.x, data.x_test) if x.size), default=1.0)
    return tuple(overflow_doubts(module, model.config, str(model.path), largest))


def train(
    model: Model,
    data: str | Mapping[str, ArrayLike] | Data,
    *,
    epochs: int,
    target: str = "",
    cores: int | None = None,
    engine: str = "fast",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> tuple[History, dict[str, Array]]:
    """Train a model; return the history and the parameters in the file's layout.

    ``data`` is a data set's name or arrays x, y, x_test, y_test (samples first).
    """
    ready = prepare_training(model, data, epochs=epochs, target=target, cores=cores, engine=engine)
    _tell(ready.warnings)
    return ready.fit(out=out, resume=resume, overwrite=overwrite)
