"""A compiled program on the simulator: arrays in and out in the model file's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import Diagnostic, fail
from snncc.compiler.driver.evidence import EVIDENCE
from snncc.compiler.driver.failure import Stopped
from snncc.compiler.driver.interface import SPIKES, Interface, OutputLayout, public_name
from snncc.isa.program.file import ObjectFile, ObjectFileError
from snncc.isa.program.file import read as read_object
from snncc.isasim.faults import StopReason
from snncc.isasim.observe.hooks import Tracer
from snncc.isasim.system import RunOptions, SimulationResult, System

Array: TypeAlias = npt.NDArray[Any]
STOP_CODES = {StopReason.TRAP: "E0901", StopReason.LIMIT: "E0902", StopReason.DEADLOCK: "E0903"}
RESULT = "result:"


def read_program(path: str) -> ObjectFile:
    """Read an object file; a broken one is a diagnostic."""
    try:
        return read_object(path)
    except ObjectFileError as error:
        message = str(error).removeprefix(f"{path}: ")
        fail("E0801", message, path, help="compile or assemble the program again")


def refuse_races(races: Sequence[str], program: str) -> NoReturn:
    """Report the first of the races that ``--check-races`` found; its lines after the first are the
    two accesses."""
    first, *accesses = races[0].splitlines()
    more = f", and {len(races) - 1} more" if len(races) > 1 else ""
    fail("E0904", f"{first}{more}", program, notes=[line.strip() for line in accesses])


def step_seed(seed: object, number: int) -> int:
    """Return the seed of a step's random bits: that of the configuration, and the step's number."""
    return ((seed if isinstance(seed, int) else 0) << 32) | number


class LoadedProgram:
    """A program loaded into a simulated machine; DRAM lives from step to step."""

    def __init__(
        self,
        program: ObjectFile,
        interface: Interface | None = None,
        *,
        options: RunOptions | None = None,
        folder: str | Path = ".",
        tracers: Sequence[Tracer] = (),
    ) -> None:
        self.program = EVIDENCE.program = program
        self.interface = interface or Interface.from_json(program.metadata.get("interface"))
        try:
            self.system = System(program, options, folder=folder, tracers=tracers)
        except ObjectFileError as error:
            fail("E0801", str(error))
        self.result: SimulationResult | None = None
        self._results = {
            public_name(t.name.removeprefix(RESULT)): t
            for t in program.tensors
            if t.name.startswith(RESULT)
        }
        self._trained = {
            name.removeprefix("grad/") for name in self._results if name.startswith("grad/")
        }

    @property
    def trains(self) -> bool:
        """Whether the program computes gradients (it then needs labels)."""
        return self.interface.mode == "train"

    def write_input(self, name: str, values: Array) -> None:
        """Put an input into memory; ``values`` are in the program's layout."""
        shape = self.system.tensor(name).shape
        self.system.write_tensor(name, values.reshape(shape))

    def run(
        self, x: Array, y: Array | None = None, where: str = "", number: int = 0
    ) -> SimulationResult:
        """Run one step on checked inputs; a trap, limit or deadlock is :class:`Stopped`.

        ``number`` of the step in a training run: random bits depend on it.
        """
        self.write_input(self.interface.x.name, self.interface.check_x(x, where))
        if self.trains:
            if y is None:
                fail("E0021", "this is a training program: it needs targets y", where,
                     help="or compile for inference: --mode infer")  # fmt: skip
            self.write_input("y", self.interface.check_y(y, where))
        return self.start(number)

    def start(self, number: int = 0) -> SimulationResult:
        """Run the program on whatever its memory holds."""
        self.result = self.system.run(step_seed(self.program.metadata.get("seed"), number))
        fault = self.result.fault
        if fault is not None:
            text = str(Diagnostic(STOP_CODES[fault.reason], str(fault).partition("\n")[0]))
            rest = str(fault).partition("\n")[2]
            result = self.result
            stopped = {"code": result.exit_code, "kind": fault.kind, "report": str(fault)}
            raise Stopped(
                f"{text}\n{rest}".rstrip(),
                result.exit_code,
                lambda: {**result.stats, "stopped": stopped},
            )
        return self.result

    def output(self, name: str) -> Array:
        """Return a result in the file's layout, as float32."""
        entry = self._results[name]
        value = self.system.read_tensor(entry.name).reshape(entry.shape).astype(np.float32)
        layout = self.interface.outputs.get(name, OutputLayout(-1, (), False, entry.transposed))
        return layout.outward(value)

    def outputs(self, spikes: bool = False) -> dict[str, Array]:
        """Return the results of the last step by the names of DESIGN section 7."""
        if spikes and not any(name.startswith(SPIKES) for name in self._results):
            fail("E0029", "the program does not keep its spikes",
                 help="compile it with --spikes")  # fmt: skip
        found = {
            name: self.output(name)
            for name in self._results
            if spikes or not name.startswith(SPIKES)
        }
        if self.program.metadata.get("updates"):
            found |= {f"param/{n}": v for n, v in self.parameters().items() if n in self._trained}
        return found

    def parameters(self) -> dict[str, Array]:
        """Return the parameters in the file's layout."""
        return {
            t.file_name or t.name: OutputLayout(-1, (), False, t.transposed).outward(
                self.system.read_tensor(t.name)
            )
            for t in self.program.tensors
            if t.role == "param"
        }

    def state(self) -> dict[str, Array]:
        """Return everything that the next step depends on, exactly."""
        return {
            t.name: self.system.read_tensor(t.name)
            for t in self.program.tensors
            if t.role in ("param", "state")
        }

    def load_state(self, state: Mapping[str, Array], strict: bool = True) -> None:
        """Write parameters and states; ``strict``: all of them must be there."""
        for t in self.program.tensors:
            if t.role not in ("param", "state"):
                continue
            value = state.get(t.name)
            if value is not None and value.shape == t.shape:
                self.system.write_tensor(t.name, value)
            elif strict:
                fail("E0027", f"the checkpoint does not fit the program: {t.name}")
