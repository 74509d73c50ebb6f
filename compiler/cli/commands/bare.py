"""Programs without a model behind them (assembled by hand): tensors by the names of their table."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from snncc.compiler.cli.commands.debug import debug_chip, make_debugger
from snncc.compiler.cli.commands.inspection import Inspection
from snncc.compiler.cli.commands.show import show_warnings
from snncc.compiler.cli.commands.tracing import open_tracers
from snncc.compiler.diag import fail
from snncc.compiler.driver.estimated import with_estimate
from snncc.compiler.driver.execute import Program
from snncc.compiler.driver.files import npz_bytes, read_npz, write_bytes, write_text
from snncc.compiler.driver.input_values import rounding_warnings
from snncc.compiler.driver.interface import InputLayout, Interface
from snncc.compiler.driver.simulate import LoadedProgram, refuse_races
from snncc.isa.program.file import ObjectFile
from snncc.isa.program.layout import LayoutError
from snncc.isasim.system import RunOptions


def run_bare(
    program: ObjectFile,
    path: Path,
    inputs: str | None,
    output: str | None,
    stats: str | None,
    trace: str | None,
    options: RunOptions,
    debug: bool,
    asked: Inspection,
) -> None:
    """Run a program as it is: inputs go to tensors of their names, all tensors come back."""
    nothing = Interface(path.stem, "bare", 1, 1, InputLayout(()))
    names = [t.name for t in program.tensors]
    arrays = read_npz(inputs, names) if inputs else {}
    with ExitStack() as files:
        files.enter_context(asked.keeping(stats))
        tracers = open_tracers(trace, program, files, asked.span())
        debugger = make_debugger(asked.commands) if debug else None
        if debugger is not None:
            tracers.append(debugger)
        chip = LoadedProgram(program, nothing, options=options, folder=path.parent, tracers=tracers)
        for name, value in arrays.items():
            if chip.system.tensor(name).dtype == "f16":
                show_warnings(rounding_warnings(value, name, inputs or ""))
            try:
                chip.system.write_tensor(name, value)
            except LayoutError as error:
                fail("E0022", str(error), inputs or "")
        if debugger is not None:
            debug_chip(chip, debugger)
            return
        result = chip.start()
    found = {
        t.name: np.asarray(chip.system.read_tensor(t.name), np.float32)
        for t in program.tensors
        if t.role not in ("input", "target")
    }
    if output:
        write_bytes(output, npz_bytes(found))
    counted = with_estimate(result.stats, program) if stats or asked.report else None
    asked.finish(program, options, counted)
    if stats:
        write_text(stats, json.dumps(counted, indent=1) + "\n")
    if "-" not in (output, stats):
        text = f"halt after {result.cycles} cycles, {result.instructions} instructions"
        print(text, file=sys.stderr)
    if result.races:
        refuse_races(tuple(map(str, result.races)), str(path))


def debug_program(
    program: Program, arrays: dict[str, Any], options: RunOptions, commands: str | None
) -> None:
    """Load inputs into a compiled program and start the debugger."""
    debugger = make_debugger(commands)
    chip = LoadedProgram(
        program.object_file,
        program.interface,
        options=options,
        folder=program.folder,
        tracers=[debugger],
    )
    chip.write_input(program.interface.x.name, program.interface.check_x(arrays["x"], "x"))
    if chip.trains and "y" in arrays:
        chip.write_input("y", program.interface.check_y(arrays["y"], "y"))
    debug_chip(chip, debugger)
