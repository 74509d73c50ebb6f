"""Runs a plan: each step, the verifier after it, and the observers around it.

A user's mistake found by a pass (:class:`CompileError`) passes through.  Any other exception, and a
module that does not verify afterwards, is a bug of that pass: :class:`PassFailure`, which holds the
IR before it and can write it down with the one command that shows the failure again.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from snncc.compiler.diag import CompileError, Diagnostic, DiagnosticSink, Span
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module, Op
from snncc.compiler.ir.verify import lacks_location, verify
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.plan import Step, check_chain
from snncc.compiler.pipeline.reproducer import write_reproducer


class Observer(Protocol):
    """Looks on while passes run (dumps, printing, timing); it must not change the module."""

    def begin(self, module: Module, steps: Sequence[Step], context: PassContext) -> None:
        """Act before the first step."""

    def before(self, step: Step, module: Module) -> None:
        """Act before a step."""

    def after(self, step: Step, module: Module, changed: bool) -> None:
        """Act after a step that went well."""

    def end(self) -> None:
        """Act after the last step, also when one failed."""


class PassFailure(CompileError):
    """A pass broke: our bug.

    ``module`` is the IR before it and ``remaining`` the steps that show the failure again;
    ``reproducer`` is the file that holds them, if it was written.
    """

    def __init__(
        self, step: Step, cause: Exception, module: Module, remaining: Sequence[Step],
        context: PassContext,
    ) -> None:  # fmt: skip
        self.step = step
        self.cause = cause
        self.module = module
        self.remaining = remaining
        self.context = context
        self.reproducer: Path | None = None
        self.command = ""
        super().__init__(self._diagnostic())

    def write(self, folder: Path, stem: str) -> None:
        """Write the reproducer; the message then says where.  Raises OSError."""
        self.reproducer, self.command = write_reproducer(
            folder, stem, self.module, self.remaining, self.context
        )
        self.diagnostics = (self._diagnostic(),)

    def _diagnostic(self) -> Diagnostic:
        if isinstance(self.cause, CompileError):
            what = f"pass {self.step.name} left IR that breaks the rules"
            notes = tuple(f"{d.code}: {d.message}" for d in self.cause.diagnostics)
        else:
            what = f"pass {self.step.name} failed"
            notes = (f"{type(self.cause).__name__}: {self.cause}",)
        help_ = "this is a bug of snncc, please report it"
        if self.reproducer is not None:
            help_ += f" with {self.reproducer} and the files beside it; to see it again: "
            help_ += self.command
        return Diagnostic("E0006", what, notes=notes, help=help_)


class PassManager:
    """Runs the steps of a plan over a module."""

    def __init__(
        self,
        steps: Sequence[Step],
        context: PassContext,
        *,
        observers: Sequence[Observer] = (),
        verify_each: bool = True,
        crash_dir: Path | None = None,
    ) -> None:
        self.steps = steps
        self.context = context
        self.observers = observers
        self.verify_each = verify_each
        self.crash_dir = crash_dir

    def run(self, module: Module, spans: Mapping[Op, Span] | None = None) -> bool:
        """Run all steps in place; return whether any changed the module."""
        verify(module, spans)
        check_chain(self.steps, module.stage)
        locations = not lacks_location(module)
        start = clone(module)
        for observer in self.observers:
            observer.begin(module, self.steps, self.context)
        any_change = False
        try:
            for step in self.steps:
                for observer in self.observers:
                    observer.before(step, module)
                self.context.progress(step.name)
                try:
                    changed = self._step(step, module, locations)
                except CompileError:
                    raise
                except _Broken as error:
                    raise self._failure(step, error.cause, start) from error.cause
                except Exception as error:
                    raise self._failure(step, error, start) from error
                any_change |= changed
                for observer in self.observers:
                    observer.after(step, module, changed)
        finally:
            for observer in self.observers:
                observer.end()
        return any_change

    def _step(self, step: Step, module: Module, locations: bool) -> bool:
        changed = step.run(module, self.context)
        self.context.diagnostics.raise_if_errors()
        if step.each.gives and module.stage != step.each.gives:
            raise ValueError(f"it gives stage {step.each.gives} but left {module.stage}")
        if self.verify_each and changed:
            try:
                verify(module, locations=locations)
            except CompileError as error:
                raise _Broken(error) from error
        return changed

    def _failure(self, step: Step, cause: Exception, start: Module) -> PassFailure:
        """Replay the steps before the broken one to have the IR that it was given."""
        remaining = [step]
        quiet = PassContext(self.context.machine, self.context.config, self.context.mode)
        quiet.diagnostics = DiagnosticSink()
        replayed = clone(start)
        try:
            for earlier in self.steps[: step.number - 1]:
                earlier.run(replayed, quiet)
        except Exception as error:  # then the whole way from the start reproduces it
            self.context.progress(f"replay failed: {error}")
            replayed, remaining = start, list(self.steps[: step.number])
        failure = PassFailure(step, cause, replayed, remaining, self.context)
        if self.crash_dir is not None:
            try:
                failure.write(self.crash_dir, f"crash-{step.stem}")
            except (OSError, ValueError) as error:
                self.context.progress(f"no reproducer: {error}")
        return failure


class _Broken(Exception):
    """The module does not verify after a pass."""

    def __init__(self, cause: CompileError) -> None:
        self.cause = cause
        super().__init__()


def shell(*words: str) -> str:
    """Return a command line; the last word is a piece of one already."""
    *plain, flags = words
    return " ".join([*map(shlex.quote, plain), *([flags] if flags else [])])
