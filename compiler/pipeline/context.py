"""What a pass may know beside the module: machine, configuration, where to report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from snncc.compiler.config.config import Config
from snncc.compiler.diag import DiagnosticSink
from snncc.isa.machine.machine import Machine


def _silent(message: str) -> None:
    """Drop a progress message."""


@dataclass(slots=True)
class PassContext:
    """Shared by the passes of one run.  A pass adds user errors to ``diagnostics``.

    ``machine`` is the target where one was named.  ``command`` and ``flags``
    go into dumps: the command that was run, and the options that resuming needs (``--target x``).
    """

    machine: Machine | None = None
    config: Config | None = None
    mode: str = "train"
    diagnostics: DiagnosticSink = field(default_factory=DiagnosticSink)
    progress: Callable[[str], None] = _silent
    command: str = ""
    flags: str = ""
