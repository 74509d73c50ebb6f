"""Machine descriptions: what a chip has and what its actions cost, read from TOML files.

:class:`Machine` and the parts in :mod:`snncc.isa.machine.parts` are the schema.  All numbers that
a cost or a check needs come from here.  Entries of ``[estimates] keys`` name the values that are
guesses, not evidence; they are exposed as :attr:`Machine.estimates`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from snncc.isa.files.toml_text import TomlError, read_toml
from snncc.isa.instructions.table import TABLE
from snncc.isa.machine import schema
from snncc.isa.machine.parts import (
    MAX_CORES,
    Array,
    Dma,
    Dram,
    Energy,
    MachineError,
    Mesh,
    Noc,
    Power,
    Range,
    Scratchpad,
    SequencerLimits,
    Stage,
    Words,
    flat,
)

__all__ = [
    "EXTENSIONS",
    "Array",
    "Dma",
    "Dram",
    "Energy",
    "Machine",
    "MachineError",
    "Mesh",
    "Noc",
    "Power",
    "Scratchpad",
    "SequencerLimits",
    "Stage",
    "flat",
    "from_table",
    "list_machines",
    "load_machine",
    "parse_machine",
    "schema_rows",
]

EXTENSIONS: Final = tuple(sorted({row.group for row in TABLE} - {"base"}))
"""Instruction groups that a machine may enable."""

FOLDER: Final = Path(__file__).parents[1] / "machines"
MAX_TOML_BYTES: Final = 1 << 20

_Table = schema.Table


@dataclass(frozen=True)
class Machine:
    """A whole chip.  Make one with :func:`load_machine`."""

    name: Annotated[str, Words(())]
    description: Annotated[str, Words(())]
    clock_hz: Annotated[int, Range("Hz", 1_000, 100_000_000_000)]
    cores: Annotated[int, Range("cores", 1, MAX_CORES)]
    accumulator: Annotated[str, Words(("fp32", "fp16"))]
    saturate: bool
    mesh: Mesh
    sequencer: SequencerLimits
    scratchpad: Scratchpad
    fp: Array
    bp: Array
    wg: Array
    vpu: Stage
    dma: Dma
    dram: Dram
    noc: Noc
    energy: Energy
    power: Power
    extensions: tuple[str, ...] = ()
    estimates: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other."""
        problems = self.problems()
        if problems:
            raise MachineError(self.name, problems)

    def problems(self) -> list[str]:
        """Return what contradicts what."""
        out: list[str] = []
        if self.mesh.rows * self.mesh.cols < self.cores:
            out.append(f"mesh: {self.mesh.rows} x {self.mesh.cols} places for cores = {self.cores}")
        if self.sequencer.instruction_bytes % 16:
            out.append(
                f"sequencer.instruction_bytes: {self.sequencer.instruction_bytes} is no multiple "
                "of 16, the size of an instruction"
            )
        if self.scratchpad.bytes % 4:
            out.append(f"scratchpad.bytes: {self.scratchpad.bytes} is no multiple of 4")
        return out

    @property
    def acc_bytes(self) -> int:
        """Bytes of a partial sum inside an engine: 4, or 2 with binary16 accumulators."""
        return 4 if self.accumulator == "fp32" else 2

    def place(self, core: int) -> tuple[int, int]:
        """Return the row and column of a core."""
        return divmod(core, self.mesh.cols)

    def hops(self, source: int, target: int) -> int:
        """Return the number of links between two cores (XY routing)."""
        (y0, x0), (y1, x1) = self.place(source), self.place(target)
        return abs(y0 - y1) + abs(x0 - x1)

    def multicast_links(self, source: int, targets: frozenset[int]) -> int:
        """Return the links of the XY tree from a core to others (shared links count once)."""
        y0, x0 = self.place(source)
        links: set[tuple[int, int, int, int]] = set()
        for target in targets:
            y1, x1 = self.place(target)
            x, y = x0, y0
            while (x, y) != (x1, y1):
                dx = (x1 > x) - (x1 < x)
                dy = 0 if dx else (y1 > y) - (y1 < y)
                links.add((y, x, dy, dx))
                x, y = x + dx, y + dy
        return len(links)

    @functools.cached_property
    def average_hops(self) -> float:
        """Mean number of links between two different cores."""
        pairs = self.cores * (self.cores - 1)
        total = sum(self.hops(a, b) for a in range(self.cores) for b in range(self.cores))
        return total / pairs if pairs else 0.0

    def seconds(self, cycles: float) -> float:
        """Return the time that a number of cycles takes, in seconds."""
        return cycles / self.clock_hz

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of all numbers; names, descriptions and estimate marks do not count."""
        facts: dict[str, object] = {**flat(self), "extensions": sorted(self.extensions)}
        del facts["name"], facts["description"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def with_(self, **changes: object) -> Machine:
        """Return a machine with some values changed, checked like a file's.

        A key is a dotted path with ``.`` or ``_``: ``cores=4``, ``scratchpad_bytes=65536``,
        ``**{"fp.stage.lanes": 8}``.  When only ``cores`` changes, the mesh becomes the squarest
        one that has exactly that many places.
        """
        return _changed(self, changes)

    def to_toml(self) -> str:
        """Return a TOML text that reads back as this machine."""
        return _to_toml(self)


def list_machines() -> list[str]:
    """Return the names of the machines that come with snncc."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def load_machine(name_or_path: str | Path) -> Machine:
    """Return a machine by the name of a shipped one or by the path of a TOML file."""
    text = str(name_or_path)
    path = Path(text)
    if isinstance(name_or_path, str) and not text.endswith(".toml") and path.name == text:
        if text not in list_machines():
            raise MachineError(
                text, [f"no such machine; there are {', '.join(list_machines())}, or name a .toml"]
            )
        path = FOLDER / f"{text}.toml"
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_TOML_BYTES + 1)
    except OSError as error:
        raise MachineError(text, [f"cannot be read: {error.strerror or error}"]) from None
    if len(data) > MAX_TOML_BYTES:
        raise MachineError(text, [f"is longer than {MAX_TOML_BYTES} bytes"])
    try:
        return parse_machine(data.decode(), str(path))
    except UnicodeDecodeError:
        raise MachineError(text, ["is not UTF-8 text"]) from None


def parse_machine(text: str, source: str = "machine") -> Machine:
    """Return the machine that a TOML text describes; ``source`` names it in errors."""
    try:
        table = read_toml(text)
    except TomlError as error:
        place = f" (at line {error.line}, column {error.column})" if error.line else ""
        raise MachineError(source, [f"not valid TOML: {error}{place}"]) from None
    return from_table(table, source)


def from_table(table: _Table, source: str) -> Machine:
    """Return the machine of a parsed TOML table, every value checked; reports all problems."""
    problems: list[str] = []
    rest = dict(table)
    estimates = _estimates(rest.pop("estimates", {}), problems)
    extensions = _extensions(rest.pop("extensions", []), problems)
    rest.setdefault("description", "")
    rest.setdefault("saturate", False)
    values = schema.values(Machine, rest, "", problems)
    known = schema.keys(Machine)
    for key in sorted(estimates - known):
        problems.append(f"estimates.keys: '{key}' is no key{schema.close(key, known)}")
    if problems:
        raise MachineError(source, problems)
    try:
        return Machine(**values, extensions=extensions, estimates=frozenset(estimates))
    except MachineError as error:
        raise MachineError(source, error.problems) from None


def _estimates(value: object, problems: list[str]) -> set[str]:
    if isinstance(value, Mapping):
        table = typing.cast(_Table, value)
        keys = table.get("keys")
        if set(table) == {"keys"} and isinstance(keys, list):
            return {str(key) for key in typing.cast(list[object], keys)}
        if not table:
            return set()
    problems.append('estimates: expected a table with keys = ["...", ...]')
    return set()


def _extensions(value: object, problems: list[str]) -> tuple[str, ...]:
    names = [str(n) for n in typing.cast(list[object], value)] if isinstance(value, list) else None
    allowed = ", ".join(EXTENSIONS) or "none in this instruction set"
    if names is None:
        problems.append(f"extensions: expected a list of names ({allowed})")
        return ()
    for name in names:
        if name not in EXTENSIONS:
            problems.append(f"extensions: '{name}' is no extension; allowed: {allowed}")
    return tuple(sorted(set(names)))


def schema_rows() -> list[tuple[str, str]]:
    """Return ``(dotted key, what it may hold)`` of every value of a machine description."""
    return schema.rows(Machine)


def _changed(machine: Machine, changes: Mapping[str, object]) -> Machine:
    """Return a machine with values changed; see :meth:`Machine.with_`."""
    table = _as_table(machine)
    keys = {key.replace(".", "_"): key for key in flat(machine)}
    problems: list[str] = []
    for name, value in changes.items():
        key = keys.get(name.replace(".", "_"))
        if name == "extensions":
            table[name] = list(typing.cast(Iterable[object], value))
        elif key is None:
            problems.append(f"{name}: unknown key{schema.close(name, [*keys, *keys.values()])}")
        else:
            _set(table, key, value)
    if problems:
        raise MachineError(machine.name, problems)
    cores = changes.get("cores")
    if type(cores) is int and cores > 0 and not any(n.startswith("mesh") for n in changes):
        rows = next(r for r in range(math.isqrt(cores), 0, -1) if cores % r == 0)
        _set(table, "mesh.rows", rows)
        _set(table, "mesh.cols", cores // rows)
    return from_table(table, machine.name)


def _as_table(machine: Machine) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in flat(machine).items():
        _set(table, key, value)
    table["extensions"] = list(machine.extensions)
    table["estimates"] = {"keys": sorted(machine.estimates)}
    return table


def _set(table: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
    table[last] = value


def _to_toml(machine: Machine) -> str:
    """Return a TOML text that reads back as the machine, in the order of the schema."""
    tables: dict[str, list[str]] = {"": []}
    for key, value in flat(machine).items():
        parent, _, last = key.rpartition(".")
        tables.setdefault(parent, []).append(f"{last} = {_toml(value)}")
    tables[""].append(f"extensions = {json.dumps(list(machine.extensions))}")
    if machine.estimates:
        tables["estimates"] = [f"keys = {json.dumps(sorted(machine.estimates))}"]
    blocks = [
        "\n".join(([f"[{name}]"] if name else []) + lines) + "\n" for name, lines in tables.items()
    ]
    return "\n".join(blocks)


def _toml(value: bool | int | float | str) -> str:
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value)
