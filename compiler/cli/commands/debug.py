"""`snncc run --debug`: the debugger at a terminal, or fed from a file."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

from snncc.compiler.diag import Diagnostic
from snncc.compiler.driver.failure import Stopped
from snncc.compiler.driver.files import read_bytes
from snncc.compiler.driver.simulate import STOP_CODES, LoadedProgram
from snncc.isasim.debug.commands import execute
from snncc.isasim.debug.debugger import Debugger

REPEATED = ("s", "n", "c", "step", "next", "continue")


def make_debugger(commands: str | None) -> Debugger:
    """Return a debugger that asks the terminal, or reads its commands from a file."""
    prompt = _script(commands) if commands or not sys.stdin.isatty() else _terminal()
    return Debugger(prompt, lambda text: print(text, flush=True), execute)


def debug_chip(chip: LoadedProgram, debugger: Debugger) -> None:
    """Run the program of a chip under the debugger; a fault that nobody left is :class:`Stopped`.

    At a terminal, Ctrl-C stops the run at its next instruction.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        debugger.interrupt()

    debugger.attach(chip.system)
    before = signal.getsignal(signal.SIGINT)
    if sys.stdin.isatty():
        signal.signal(signal.SIGINT, stop)
    try:
        result = debugger.run()
    finally:
        signal.signal(signal.SIGINT, before)
    if result is not None and result.fault is not None:
        fault = result.fault
        text = Diagnostic(STOP_CODES[fault.reason], str(fault).partition("\n")[0])
        raise Stopped(str(text), result.exit_code)


def _script(commands: str | None) -> Callable[[str], str | None]:
    """Read commands from a file (or stdin) and show them; at its end the run goes on."""
    text = read_bytes(commands or "-").decode(errors="replace")
    lines: Iterator[str] = iter(text.splitlines())

    def prompt(mark: str) -> str | None:
        line = next(lines, None)
        if line is not None:
            print(f"{mark}{line}", flush=True)
        return line

    return prompt


def _terminal() -> Callable[[str], str | None]:
    """Ask a person; an empty line repeats the last step, Ctrl-D goes on to the end."""
    import importlib

    try:
        importlib.import_module("readline")
    except ImportError:
        pass
    last = ""

    def prompt(mark: str) -> str | None:
        nonlocal last
        try:
            line = input(mark)
        except EOFError:
            print()
            return None
        if not line.strip():
            return last
        last = line if line.split()[0] in REPEATED else ""
        return line

    return prompt
