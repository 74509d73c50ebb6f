"""How active instructions are when nothing is computed: recorded in a full run, or expected.

A source answers for one execution of an instruction what an engine would have counted.  With the
recording of a full run (:class:`Recording`: every execution) a run without values has exactly the
same cycles and counters; with densities per layer and phase (:class:`Expected`) it has the blocks
and terms to be expected.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.cost.estimate import Densities
from snncc.isa.cost.expected import DEFAULT_DENSITY, expect
from snncc.isa.files.array_file import read_arrays
from snncc.isasim.engines.base import Activity, Engine, Resolved
from snncc.isasim.machine.chip import Core
from snncc.isasim.measure.pricing import SIZES

Source: TypeAlias = Callable[[Core, int, Resolved], Activity]
"""Takes core, address and instruction."""

MAX_RECORDING: Final = 1 << 31
"""Bytes of a file with a recording."""
_FORMAT: Final = 1
_COLUMNS: Final = len(Activity._fields)
_LARGEST: Final = 1 << 48
_ARRAYS: Final[Mapping[str, tuple[str, tuple[int | None, ...]]]] = {
    "places": ("iu", (None, 3)),
    "activity": ("iu", (None, _COLUMNS)),
    "format": ("iu", ()),
    "program": ("u", (None,)),
}
"""Kinds of numbers and shape of each array of a recording; None: any length."""


class ActivityError(ValueError):
    """A recording does not fit the program, or is none."""


class ActivityRecorder:
    """Keeps what was counted; ``engine`` executes (a system gives it its own)."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine
        self.found: dict[tuple[int, int], list[Activity]] = {}

    def reset(self) -> None:
        """A run begins."""
        self.found.clear()

    def __call__(self, core: Core, pc: int, op: Resolved) -> Activity:
        """Execute an instruction."""
        assert self.engine is not None
        activity = self.engine.execute(op, core.sram)
        key = (core.index, pc)
        kept = self.found.get(key)
        if kept is None:
            kept = self.found[key] = []
        kept.append(activity)
        return activity

    def write(self, out: BinaryIO | str | Path, program: str = "") -> None:
        """Write the recording as npz; ``program`` says what it belongs to."""
        keys = sorted(self.found)
        rows = [row for key in keys for row in self.found[key]]
        places = [(core, pc, len(self.found[core, pc])) for core, pc in keys]
        arrays: dict[str, Any] = {
            "activity": np.array(rows, np.int64).reshape(-1, _COLUMNS),
            "places": np.array(places, np.int64).reshape(-1, 3),
            "format": np.int64(_FORMAT),
            "program": np.frombuffer(program.encode(), np.uint8),
        }
        np.savez_compressed(out, **arrays)


def read_recording(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a recording; a wrong one is a ValueError before anything uses it."""
    found = read_arrays(io.BytesIO(data), _ARRAYS)
    for name, (kinds, shape) in _ARRAYS.items():
        if name not in found:
            raise ValueError(f"array {name!r} is missing")
        array = found[name]
        if array.dtype.kind not in kinds:
            raise ValueError(f"{name} holds {array.dtype}, not integers")
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, there) for wanted, there in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"{name} has shape {list(array.shape)}")
    counts = found["activity"]
    if counts.size and not -1 <= int(counts.min()) <= int(counts.max()) <= _LARGEST:
        raise ValueError("activity holds counts that no instruction can have")
    return found


class Recording:
    """Plays a recording back: the n-th execution of an address gets what was counted then."""

    def __init__(self, found: Mapping[tuple[int, int], Sequence[Activity]]) -> None:
        self.found = found
        self._next: dict[tuple[int, int], int] = {}

    @classmethod
    def of(cls, places: npt.NDArray[np.int64], activity: npt.NDArray[np.int64]) -> Recording:
        """Return a recording from rows of activity and (core, address, number of rows)."""
        found: dict[tuple[int, int], list[Activity]] = {}
        rows = [Activity(*row) for row in activity.tolist()]
        begin = 0
        for core, pc, count in places.tolist():
            found[core, pc] = rows[begin : begin + count]
            begin += count
        if begin != len(rows) or (places.size and int(places[:, 2].min()) < 0):
            raise ActivityError("the recording is damaged: its parts have different lengths")
        return cls(found)

    @classmethod
    def read(cls, data: bytes, program: str = "") -> Recording:
        """Read what :meth:`Recorder.write` wrote."""
        try:
            arrays = read_recording(data)
        except (OSError, ValueError) as error:
            raise ActivityError(f"this is no recording: {error}") from None
        if int(arrays["format"]) != _FORMAT:
            raise ActivityError("this recording has another format")
        made = arrays["program"].tobytes().decode(errors="replace")
        if program and made and program != made:
            raise ActivityError("the recording is of another program")
        return cls.of(arrays["places"].astype(np.int64), arrays["activity"].astype(np.int64))

    def reset(self) -> None:
        """A run begins."""
        self._next.clear()

    def __call__(self, core: Core, pc: int, op: Resolved) -> Activity:
        """Return what the instruction did."""
        key = (core.index, pc)
        turn = self._next.get(key, 0)
        self._next[key] = turn + 1
        kept = self.found.get(key, ())
        if turn >= len(kept):
            raise ActivityError(
                f"core {core.index} {16 * pc:08x} ({core.code.text(pc)}) runs more often than in "
                f"the recording ({len(kept)} times)"
            )
        return kept[turn]


class Expected:
    """Expects a density: by layer and phase, by layer, or one for all.

    Spikes and inputs of which zeros are skipped are as dense as their layer and phase; so are the
    outputs that a mask leaves, of dense inputs.  Keys are ``(layer, phase)``; an empty phase or
    layer stands for all.
    """

    def __init__(
        self, densities: Mapping[tuple[str, str], float], default: float = DEFAULT_DENSITY
    ) -> None:
        for key, density in {**densities, ("", "default"): default}.items():
            if not 0.0 <= density <= 1.0:
                name = " ".join(x for x in key if x)
                raise ActivityError(f"density {density:g} of {name} is not between 0 and 1")
        self.densities = Densities(dict(densities), default=default)
        self._known: dict[Any, Activity] = {}
        self._at: dict[tuple[int, int], float] = {}

    @classmethod
    def from_stats(cls, stats: Mapping[str, Any], default: float = DEFAULT_DENSITY) -> Expected:
        """Take the densities of the layers that ``--stats`` wrote."""
        layers: Any = stats.get("layers")
        if not isinstance(stats.get("layers"), list):
            raise ActivityError("these statistics have no layers")
        found: dict[tuple[str, str], float] = {}
        for layer in layers:
            try:
                if layer["macs"]["dense"]:
                    found[str(layer["name"]), str(layer["phase"])] = float(layer["density"])
            except (KeyError, TypeError, ValueError):
                raise ActivityError("a layer of these statistics has no density") from None
        return cls(found, default)

    def reset(self) -> None:
        """A run begins."""

    def density(self, core: Core, pc: int) -> float:
        """Return what is expected of an address."""
        key = (core.index, pc)
        found = self._at.get(key)
        if found is None:
            line = core.code.program.source(pc)
            layer, phase = (line.layer, line.phase) if line else ("", "")
            found = self._at[key] = self.densities.of(layer, phase)[0]
        return found

    def __call__(self, core: Core, pc: int, op: Resolved) -> Activity:
        """Return what is to be expected."""
        density = self.density(core, pc)
        key = (op[0], SIZES[op[0]](op[1]), op[2] if op[3] is None else (), density)
        found = self._known.get(key)
        if found is None:
            window = op.window if op[2] and op[3] is None else None
            expectation = expect(op[0], op[1], window, density)
            found = self._known[key] = Activity(*expectation)
        return found
