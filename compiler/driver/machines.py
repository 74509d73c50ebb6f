"""The machine to compile for: a shipped one or a TOML file, perhaps with fewer cores."""

from __future__ import annotations

from snncc.compiler.diag import CompileError, Diagnostic, fail
from snncc.isa.machine.machine import Machine, MachineError, load_machine

DEFAULT_TARGET = "multicore20"


def find_machine(target: str = "", cores: int | None = None) -> Machine:
    """Return a machine; every fault of its file is one diagnostic."""
    try:
        machine = load_machine(target or DEFAULT_TARGET)
        if cores is None or cores == machine.cores:
            return machine
        if cores > machine.cores:
            fail(
                "E0028",
                f"{cores} cores asked for; {machine.name} has {machine.cores}",
                help="use fewer, or copy the description with `snncc targets NAME` and edit it",
            )
        return machine.with_(cores=cores)
    except MachineError as error:
        raise CompileError(
            Diagnostic("E0028", problem, target, help="`snncc targets` lists the machines")
            for problem in error.problems
        ) from None
