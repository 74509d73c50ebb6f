"""Observers of the pass manager that talk: the IR before and after passes, differences, times."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence

from snncc.compiler.ir.core import Module
from snncc.compiler.ir.printer import print_module
from snncc.compiler.ir.resources import HashCache
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.plan import Step

Say = Callable[[str], None]


class Quiet:
    """An observer that does nothing; the others override what they need."""

    def begin(self, module: Module, steps: Sequence[Step], context: PassContext) -> None:
        """Act before the first step."""

    def before(self, step: Step, module: Module) -> None:
        """Act before a step."""

    def after(self, step: Step, module: Module, changed: bool) -> None:
        """Act after a step."""

    def end(self) -> None:
        """Act after the last step."""


class PrintIR(Quiet):
    """Prints the module before or after passes, or what they changed."""

    def __init__(
        self,
        say: Say,
        *,
        before: frozenset[str] = frozenset(),
        after: frozenset[str] = frozenset(),
        after_all: bool = False,
        diff: bool = False,
    ) -> None:
        self.say = say
        self.before_names = before
        self.after_names = after
        self.after_all = after_all
        self.diff = diff
        self._hashes = HashCache()
        self._last: list[str] = []

    def begin(self, module: Module, steps: Sequence[Step], context: PassContext) -> None:
        """Keep the text that the first difference starts from."""
        if self.diff:
            self._last = self._text(module).splitlines()

    def before(self, step: Step, module: Module) -> None:
        """Print the module if asked to."""
        if step.name in self.before_names:
            self.say(f"// ----- before {_title(step)}\n{self._text(module)}")

    def after(self, step: Step, module: Module, changed: bool) -> None:
        """Print the module, or the difference, if asked to."""
        note = "" if changed else " (no change)"
        if self.after_all or step.name in self.after_names:
            shown = "" if self.after_all and not changed else self._text(module)
            self.say(f"// ----- after {_title(step)}{note}\n{shown}")
        if self.diff:
            now = self._text(module).splitlines() if changed else self._last
            lines = difflib.unified_diff(self._last, now, n=2, lineterm="")
            body = "".join(f"{line}\n" for line in list(lines)[2:])
            self.say(f"// ----- changes of {_title(step)}{note}\n{body}")
            self._last = now

    def _text(self, module: Module) -> str:
        return print_module(module, self._hashes.sha256)


class Timer(Quiet):
    """Measures the passes and prints a table at the end."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.times: list[tuple[str, float]] = []
        self._started = 0.0

    def before(self, step: Step, module: Module) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def after(self, step: Step, module: Module, changed: bool) -> None:
        """Stop the clock; verification is part of the time."""
        self.times.append((_title(step), time.perf_counter() - self._started))

    def end(self) -> None:
        """Print the table, slowest first."""
        total = sum(t for _, t in self.times)
        for name, spent in sorted(self.times, key=lambda row: -row[1]):
            self.say(f"{1000 * spent:9.1f} ms  {100 * spent / (total or 1):5.1f} %  {name}\n")
        self.say(f"{1000 * total:9.1f} ms  total\n")


def _title(step: Step) -> str:
    return f"{step.name}@{step.occurrence}" if step.occurrence > 1 else step.name
