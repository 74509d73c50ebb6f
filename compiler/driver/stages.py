"""What each stage of a compilation made of the model: for --stats, the demo and messages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from snncc.compiler.driver.execute import Program
from snncc.compiler.driver.versions import versions
from snncc.compiler.ir.core import Module
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.plan import Step
from snncc.isa.cost.estimate import KEY


@dataclass(slots=True)
class Row:
    """One pass: what it left behind."""

    name: str
    stage: str
    ops: int
    seconds: float
    funcs: int


@dataclass(slots=True)
class Recorder:
    """An observer of the pass manager that keeps a row per pass."""

    rows: list[Row] = field(default_factory=list[Row])
    _started: float = 0.0

    def begin(self, module: Module, steps: Sequence[Step], context: PassContext) -> None:
        """Take the first row."""
        self.rows = [Row("import", module.stage, _count(module), 0.0, len(module.funcs))]

    def before(self, step: Step, module: Module) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def after(self, step: Step, module: Module, changed: bool) -> None:
        """Take a row."""
        spent = time.perf_counter() - self._started
        self.rows.append(Row(step.name, module.stage, _count(module), spent, len(module.funcs)))

    def end(self) -> None:
        """Nothing to do."""

    def report(self, program: Program) -> dict[str, Any]:
        """Return what `snncc compile --stats` writes."""
        made = program.object_file
        return {
            "target": made.machine_name,
            "mode": program.mode,
            "batch": program.interface.batch,
            "steps": program.interface.steps,
            "cores": len(made.cores),
            "instructions": {str(c.core): len(c.code) for c in made.cores},
            "code_bytes": made.code_bytes,
            "dram_bytes": made.metadata.get("dram_bytes"),
            "tensors": len(made.tensors),
            "estimate": made.metadata.get(KEY),
            "passes": [
                {"name": r.name, "stage": r.stage, "ops": r.ops, "seconds": round(r.seconds, 6)}
                for r in self.rows
            ],
            "versions": versions(),
            "validation": made.metadata.get("validation"),
        }


def _count(module: Module) -> int:
    return sum(1 for _ in module.walk())
