"""Compiled programs on the simulator: what `snncc run PROG.snnx` needs, without the compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import Diagnostic
from snncc.compiler.driver.estimated import with_estimate
from snncc.compiler.driver.interface import Interface
from snncc.compiler.driver.overflow import Watch, lost_warnings
from snncc.compiler.driver.simulate import LoadedProgram, read_program
from snncc.compiler.driver.versions import versions
from snncc.isa.program.file import ObjectFile, to_bytes
from snncc.isasim.observe.hooks import Tracer
from snncc.isasim.system import RunOptions

if TYPE_CHECKING:
    from snncc.compiler.ir.core import Module

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled model: an object file and what its inputs and outputs are."""

    object_file: ObjectFile
    interface: Interface
    folder: Path = field(default_factory=Path)
    core_module: Module | None = None

    @property
    def mode(self) -> str:
        """``train`` or ``infer``."""
        return self.interface.mode

    def to_bytes(self) -> bytes:
        """Return the object file."""
        return to_bytes(self.object_file)


@dataclass(frozen=True, slots=True)
class Result(Mapping[str, Array]):
    """The arrays of one step by name; ``stats`` is what it cost (None in the interpreter)."""

    arrays: Mapping[str, Array]
    stats: Mapping[str, Any] | None = None
    races: Sequence[str] = ()
    warnings: Sequence[Diagnostic] = ()
    """What went wrong with the numbers (E0360)."""

    def __getitem__(self, name: str) -> Array:
        """Return an array."""
        return self.arrays[name]

    def __iter__(self) -> Any:
        """Iterate over the names."""
        return iter(self.arrays)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self.arrays)


def load_program(path: str | Path) -> Program:
    """Read a program that `snncc compile` wrote."""
    return as_program(read_program(str(path)), Path(path))


def as_program(object_file: ObjectFile, path: Path) -> Program:
    """Return a program that was read from a path."""
    interface = Interface.from_json(object_file.metadata.get("interface"))
    return Program(object_file, interface, path.parent)


def run_program(
    program: Program,
    x: Array,
    y: Array | None = None,
    *,
    spikes: bool = False,
    stats: bool = True,
    options: RunOptions | None = None,
    tracers: Sequence[Tracer] = (),
    where: str = "x",
) -> Result:
    """Run one step of a program; see :func:`snncc.compiler.driver.api.run`."""
    chip = LoadedProgram(
        program.object_file,
        program.interface,
        options=options,
        folder=program.folder,
        tracers=tracers,
    )
    done = chip.run(np.asarray(x), None if y is None else np.asarray(y), where)
    found = with_estimate(done.stats, program.object_file) if stats else None
    if found is not None:
        found.setdefault("versions", versions())
    lost = Watch(program.object_file).look(chip.system)
    warnings = lost_warnings(lost, program.interface.model, chip.trains)
    return Result(chip.outputs(spikes), found, tuple(str(r) for r in done.races), warnings)
