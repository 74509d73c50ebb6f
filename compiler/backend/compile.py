"""From a graph module to a program: the default pipeline, then the object file."""

from __future__ import annotations

import gc
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from snncc.compiler.backend.count_work import step_work
from snncc.compiler.backend.emit import emit
from snncc.compiler.ir.core import Module
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import Observer, PassManager
from snncc.compiler.pipeline.named import DEFAULT_LEVEL
from snncc.compiler.pipeline.plan import Step, plan
from snncc.isa.cost.estimate import KEY, Densities, estimate
from snncc.isa.cost.step_work import KEY as STEP
from snncc.isa.cost.step_work import StepWork
from snncc.isa.machine.machine import Machine
from snncc.isa.program.model import Json, ObjectFile


@dataclass(frozen=True)
class CompileOptions:
    """How to compile: the pipeline, its level, whether to verify after every pass.

    ``densities``: what the estimate of the program's cost expects.
    """

    pipeline: str = "default"
    level: int = DEFAULT_LEVEL
    verify_each: bool = True
    densities: Densities = field(default_factory=Densities)


@dataclass(frozen=True)
class CompileResult:
    """A program and the core IR that it was written from."""

    object_file: ObjectFile
    module: Module


class _WorkObserver:
    """Counts the work of a step when all passes over the phased module have run."""

    def __init__(self) -> None:
        self.work: StepWork | None = None

    def begin(self, module: Module, steps: Sequence[Step], context: PassContext) -> None:
        """Count what comes in, in case no pass changes it."""
        self._count(module)

    def before(self, step: Step, module: Module) -> None:
        """Nothing."""

    def after(self, step: Step, module: Module, changed: bool) -> None:
        """Count again after a change."""
        if changed:
            self._count(module)

    def end(self) -> None:
        """Nothing."""

    def _count(self, module: Module) -> None:
        if module.stage == "phased":
            self.work = step_work(module)


@contextmanager
def _without_garbage_collection() -> Generator[None]:
    """Put the search for garbage off: passes make a million objects, and nearly all of them live.

    Looking through them again and again takes more than half of a large network's compilation.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def compile_module(
    module: Module,
    machine: Machine,
    options: CompileOptions | None = None,
    *,
    context: PassContext | None = None,
    observers: Sequence[Observer] = (),
    metadata: Mapping[str, Json] | None = None,
) -> CompileResult:
    """Compile a module of any stage for a machine; ``module`` is changed in place.

    Raises CompileError with diagnostics when the model or the machine does not allow it.
    """
    with _without_garbage_collection():
        return _compile(module, machine, options or CompileOptions(), context, observers, metadata)


def _compile(
    module: Module,
    machine: Machine,
    options: CompileOptions,
    context: PassContext | None,
    observers: Sequence[Observer],
    metadata: Mapping[str, Json] | None,
) -> CompileResult:
    context = context or PassContext()
    context.machine = machine
    steps = plan(options.pipeline, module.stage, options.level)
    watch = _WorkObserver()
    lookers = (*observers, watch)
    PassManager(steps, context, observers=lookers, verify_each=options.verify_each).run(module)
    made = emit(module, machine, metadata)
    expected = estimate(made.cores, made.micro, machine, options.densities)
    assert expected is not None, "sizes and trip counts of compiled programs are immediates"
    found: dict[str, Json] = {**made.metadata, KEY: expected}
    if watch.work is not None:
        found[STEP] = watch.work.as_json()
    return CompileResult(replace(made, metadata=found), module)
