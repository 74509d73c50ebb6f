"""From a model file to the modules that the commands work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from snncc.compiler.config.check import suggest
from snncc.compiler.config.config import Config
from snncc.compiler.config.schema import BY_PATH
from snncc.compiler.diag import CompileError, Diagnostic, DiagnosticSink, fail
from snncc.compiler.driver.evidence import EVIDENCE
from snncc.compiler.driver.files import MODEL_SUFFIXES
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Location, Module
from snncc.compiler.passes.graph.kit.spike_input import spike_input
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import Observer, PassManager
from snncc.compiler.pipeline.plan import plan
from snncc.compiler.validate.verdict import SWITCHED_OFF, Verdict
from snncc.isa.machine.machine import Machine

if TYPE_CHECKING:
    from snncc.compiler.frontend.dsl.parse import Program
    from snncc.compiler.frontend.node_report import FileNode

TO_PHASED = "frontend,phases"


@dataclass(frozen=True, slots=True)
class Reading:
    """How an ONNX file must be read to compute what it says, found out by comparing the two."""

    trained: tuple[str, ...] = ()
    """Numbers that are parameters, for others are computed from them."""
    as_arithmetic: bool = False
    """Whether neurons stay as they are written."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an import needs to know beside the file; None: the file or the configuration says it."""

    config: Config = field(default_factory=Config)
    batch: int | None = None
    x_shape: tuple[int, ...] | None = None
    """Shape of the user's ``x``: it gives the batch size, and the steps where time is an axis."""
    dt: float | None = None
    nodes: bool = False
    """Whether to find out what became of each node of an ONNX file."""
    validate: bool = True
    """Whether to compare the import with the file (ADR 0011)."""
    training: bool = True
    """Whether other gradients than the file's are a reason to refuse the import."""
    reading: Reading = Reading()
    """What an earlier import of the same file found out."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A graph module with what was noticed on the way."""

    module: Module
    config: Config
    """The request's; where it says nothing, the model file's own training settings."""
    warnings: tuple[Diagnostic, ...] = ()
    nodes: tuple[FileNode, ...] = ()
    verdict: Verdict = SWITCHED_OFF
    """Whether the import was compared with the file."""
    reading: Reading = Reading()


def import_model(path: Path, request: Request) -> Imported:
    """Read a model file into a graph module; its faults are diagnostics."""
    suffix = path.suffix.lower()
    if suffix not in MODEL_SUFFIXES:
        fail(
            "E0024",
            f"{suffix or 'a file without suffix'} is no kind of model that snncc knows",
            str(path),
            help="MODEL is .onnx, .nir or .snn; a compiled program is .snnx",
        )
    importers = {".onnx": _import_onnx, ".nir": _import_nir, ".snn": _import_dsl}
    imported = importers[suffix](path, request)
    if not imported.module.func("main").body.args:
        fail("E0105", "the model has no input that anything depends on", str(path))
    _relative(imported.module, path)
    EVIDENCE.module = imported.module
    return imported


def _relative(module: Module, path: Path) -> None:
    """Write locations from the model's folder: a program's bytes do not depend on where it lies."""
    short: dict[str, Location] = {}
    start = f"{path}:"
    for op in module.walk():
        text = op.loc.text
        if text.startswith(start):
            if text not in short:
                short[text] = Location(f"{path.name}:{text.removeprefix(start)}")
            op.loc = short[text]


def _import_onnx(path: Path, request: Request) -> Imported:
    from snncc.compiler.frontend.import_onnx import import_onnx
    from snncc.compiler.frontend.node_report import NodeTrace
    from snncc.compiler.validate.compare import LostParameters

    config = request.config
    steps = steps_of(config, request.x_shape)
    reading = request.reading

    def build(
        batch: int | None, steps: int | None, sink: DiagnosticSink | None = None,
        trace: NodeTrace | None = None, x_shape: Sequence[int] | None = None,
    ) -> Module:  # fmt: skip
        return import_onnx(
            path,
            steps=steps,
            time_axis=config.integer("time_axis"),
            batch=batch,
            x_shape=x_shape,
            batch_in_time_axis=config.flag("batch_in_time_axis"),
            trained=(*config.texts("parameters.train"), *reading.trained),
            as_arithmetic=reading.as_arithmetic,
            sink=sink,
            trace=trace,
        )

    def read() -> tuple[Module, NodeTrace | None, DiagnosticSink, Verdict]:
        trace, sink = NodeTrace() if request.nodes else None, DiagnosticSink()
        module = build(request.batch, steps, sink, trace, request.x_shape)
        sink.raise_if_errors()
        if not request.validate:
            return module, trace, sink, SWITCHED_OFF
        from snncc.compiler.validate.onnx.check import check_onnx

        verdict = check_onnx(module, path, config, build, gradients=request.training)
        return module, trace, sink, verdict

    first: CompileError | None = None
    other: Diagnostic | None = None
    while True:
        try:
            module, trace, sink, verdict = read()
            break
        except CompileError as error:
            first = first or error
            if isinstance(error, LostParameters) and not reading.trained:
                reading = replace(reading, trained=error.names)
            elif error.diagnostics[0].code == "E0114" and not reading.as_arithmetic:
                reading, other = replace(reading, as_arithmetic=True), error.diagnostics[0]
            else:
                raise first from None
    if other is not None:
        sink.warning("E0117", "the neurons of the file are left as arithmetic", other.where,
                     notes=other.notes)  # fmt: skip
    if request.validate:
        _tell(verdict, path, sink)
    if config.flag("input.spikes"):
        spike_input(module)
    nodes = tuple(trace.nodes) if trace is not None else ()
    return Imported(module, config, tuple(sink.warnings), nodes, verdict, reading)


def _tell(verdict: Verdict, path: Path, sink: DiagnosticSink) -> None:
    """Warn of what could not be compared."""
    help_ = "check by hand that it computes what your framework computes"
    if not verdict.validated:
        sink.warning("E0116", verdict.words, str(path), help=help_)
    for remark in verdict.remarks:
        sink.warning("E0116", f"validated in part: {remark}", str(path), help=help_)
    if verdict.other_gradients:
        sink.warning(
            "E0116",
            f"{verdict.words}: {verdict.other_gradients}",
            str(path),
            help="results are right; training this import is refused (E0114)",
        )


def _import_nir(path: Path, request: Request) -> Imported:
    from snncc.compiler.frontend.import_nir import import_graph
    from snncc.compiler.frontend.nir.file import read_nir

    config, sink = request.config, DiagnosticSink()
    if config.integer("time_axis") not in (None, 0):
        fail("E0354", "the time axis of a NIR model is 0: x is [T, B, ...]", config.file)
    graph, version = read_nir(path)

    def build(batch: int | None, steps: int | None, sink: DiagnosticSink) -> Module:
        shape = request.x_shape
        return import_graph(
            graph, version, path, steps=steps, batch=batch, x_shape=shape, dt=request.dt, sink=sink
        )

    module = build(request.batch, config.integer("timesteps"), sink)
    sink.raise_if_errors()
    verdict = SWITCHED_OFF
    if request.validate:
        from snncc.compiler.validate.compare import Settings
        from snncc.compiler.validate.judge import judge
        from snncc.compiler.validate.nir.check import TOLERANCE as NIR
        from snncc.compiler.validate.nir.check import check_nir

        def again(batch: int, steps: int) -> Module:
            return build(batch, steps, DiagnosticSink())

        settings = Settings(tolerance=NIR, gradients=request.training)
        verdict = judge(lambda: check_nir(module, str(path), graph, again, request.dt, settings))
        _tell(verdict, path, sink)
    if config.flag("input.spikes"):
        spike_input(module)
    return Imported(module, config, tuple(sink.warnings), verdict=verdict)


def _import_dsl(path: Path, request: Request) -> Imported:
    from snncc.compiler.frontend.dsl.parse import read_program
    from snncc.compiler.frontend.import_dsl import SHORT, import_program

    config, sink = request.config, DiagnosticSink()
    if config.integer("time_axis") not in (None, 0):
        fail("E0354", "the time axis of a .snn model is 0: x is [T, B, ...]", config.file)
    program = read_program(path)
    module, settings = import_program(
        program,
        path,
        steps=config.integer("timesteps"),
        batch=request.batch,
        x_shape=request.x_shape,
        sink=sink,
    )
    for said in settings:
        if said.path not in BY_PATH:
            fail("E0121", f"there is no setting {said.path!r}", said.key,
                 help=suggest(said.path, (*SHORT, *BY_PATH)) or "docs/dsl.md")  # fmt: skip
        if config.said(said.path):
            continue
        try:
            config = config.override({said.path: said.value}, "metadata")
        except CompileError as error:
            fail("E0122", error.diagnostics[0].message, said.span)
    sink.raise_if_errors()
    verdict = SWITCHED_OFF
    if request.validate:
        verdict = _compare_dsl(module, program, path, request.training)
        _tell(verdict, path, sink)
    if config.flag("input.spikes"):
        spike_input(module)
    return Imported(module, config, tuple(sink.warnings), verdict=verdict)


def _compare_dsl(module: Module, program: Program, path: Path, gradients: bool) -> Verdict:
    from snncc.compiler.frontend.import_dsl import first_weights, import_program
    from snncc.compiler.validate.compare import Settings
    from snncc.compiler.validate.dsl.check import TOLERANCE, check_dsl
    from snncc.compiler.validate.judge import judge

    def again(batch: int, steps: int) -> Module:
        return import_program(program, path, batch=batch, steps=steps, sink=DiagnosticSink())[0]

    weights = first_weights(program, path)[0] or None
    settings = Settings(tolerance=TOLERANCE, gradients=gradients)
    return judge(lambda: check_dsl(module, program, again, weights, settings))


def steps_of(config: Config, x_shape: Sequence[int] | None) -> int | None:
    """Return the number of steps as far as configuration and ``x`` say it.

    The batch is for the importer to find: it knows where the file has which axis.
    """
    steps, axis = config.integer("timesteps"), config.integer("time_axis")
    if x_shape is None or axis is None or config.flag("batch_in_time_axis"):
        return steps
    if axis >= len(x_shape):
        fail("E0354", f"time_axis is {axis}, but x has {len(x_shape)} axes", config.file)
    return steps or x_shape[axis]


def lower(
    graph: Module,
    pipeline: str,
    *,
    config: Config,
    mode: str,
    machine: Machine | None = None,
    level: int = 2,
    observers: Sequence[Observer] = (),
    crash_dir: Path | None = None,
    verify_each: bool = True,
) -> tuple[Module, DiagnosticSink]:
    """Run a pipeline over a copy of a module; return it and the warnings."""
    module = clone(graph)
    context = PassContext(machine, config, mode)
    steps = plan(pipeline, module.stage, level)
    manager = PassManager(
        steps, context, observers=observers, crash_dir=crash_dir, verify_each=verify_each
    )
    manager.run(module)
    return module, context.diagnostics
