"""Progress on stderr: a live bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from snncc.compiler.driver.trainer import Metrics


class TrainProgress:
    """Shows a training run; use as a context manager."""

    def __init__(self, epochs: int, steps: int, quiet: bool = False) -> None:
        self.epochs, self.steps, self.quiet = epochs, steps, quiet
        self._bar: Any = None
        self._task: Any = None
        self._began = time.perf_counter()

    def __enter__(self) -> TrainProgress:
        """Open the bar on a terminal."""
        if sys.stderr.isatty() and not self.quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
            from rich.progress import TimeRemainingColumn as Remaining

            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining(),
                console=Console(file=getattr(sys.stderr, "stream", sys.stderr)),
            )  # fmt: skip
            self._task = self._bar.add_task("training", total=self.epochs * self.steps)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()

    def on_step(self, epoch: int, step: int, loss: float) -> None:
        """Show a step."""
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=(epoch - 1) * self.steps + step,
                description=f"epoch {epoch}/{self.epochs} loss {loss:.4f}",
            )

    def on_epoch(self, metrics: Metrics) -> None:
        """Print a line."""
        if self.quiet:
            return
        line = f"epoch {metrics.epoch:3}/{self.epochs}  loss {metrics.loss:.4f}  "
        if metrics.train_accuracy is not None:
            line += f"train {100 * metrics.train_accuracy:5.1f} %  "
        if metrics.test_accuracy is not None:
            line += f"test {100 * metrics.test_accuracy:5.1f} %  "
        line += f"{metrics.seconds:.1f} s"
        if metrics.loss_scale is not None:
            line += f"  loss scale {metrics.loss_scale:.8g}"
        if metrics.skipped:
            steps = "1 step" if metrics.skipped == 1 else f"{metrics.skipped} steps"
            line += f", {steps} skipped (overflow)"
        if self._bar is not None:
            self._bar.console.print(line, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)
