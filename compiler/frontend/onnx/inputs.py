"""The data inputs of an ONNX file: sizes that the file leaves open, and the user's batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.flat import Shape, Val
from snncc.compiler.frontend.time.unroll import Rolled

TIME_NAMES = frozenset(
    {"t", "time", "steps", "timesteps", "time_steps", "num_steps", "seq", "sequence", "seq_len"}
)
DEFAULT_BATCH = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is known beside the file; None and (): not known."""

    steps: int | None = None
    time_axis: int | None = None
    batch: int | None = None
    batch_in_time_axis: bool = False
    x_shape: Shape = ()
    """Shape of the user's array for the first input."""


def input_shape(info: onnx.ValueInfoProto) -> list[int | str]:
    """Return an input's dimensions; a text stands for a dimension that is not fixed."""
    dims = info.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in dims]


def input_shapes(path: Path, model: onnx.ModelProto, wanted: Wanted) -> dict[str, Shape]:
    """Return concrete shapes of the inputs; a size that nothing says is E0108."""
    held = {t.name for t in model.graph.initializer}
    out: dict[str, Shape] = {}
    names: dict[str, int] = {}
    for info in model.graph.input:
        if info.name in held:
            continue
        if not info.type.HasField("tensor_type"):
            fail("E0104", "an input that is no tensor", f"{path}:{info.name}")
        shape: list[int] = []
        for i, d in enumerate(input_shape(info)):
            if isinstance(d, str) and (d not in names or d == "?"):
                names[d] = _open_size(path, info.name, i, d, wanted, first=not out)
            shape.append(names[d] if isinstance(d, str) else d)
        out[info.name] = tuple(shape)
    return out


def _open_size(path: Path, name: str, i: int, dim: str, wanted: Wanted, first: bool) -> int:
    """Return the size of axis ``i`` that the file calls ``dim``."""
    axis = wanted.time_axis if first else None
    given = wanted.x_shape[i] if first and i < len(wanted.x_shape) else None
    if wanted.batch_in_time_axis and i == 0:
        if wanted.batch is None and given:
            return given
        return (wanted.batch or 1) * (wanted.steps or 1)
    if axis == i or dim.lower() in TIME_NAMES:
        steps = wanted.steps or given
        if steps is None:
            fail(
                "E0108",
                f"axis {i} ({dim}) of input {name!r} is open and nothing says how many steps",
                str(path),
                help="set timesteps and time_axis in the configuration",
            )
        return steps
    if i == 0 or (i == 1 and axis == 0):
        return wanted.batch or given or DEFAULT_BATCH
    if given is None:
        fail(
            "E0108",
            f"axis {i} ({dim}) of input {name!r} has no fixed size",
            str(path),
            help="export the model with fixed sizes, except batch and time",
        )
    return given


def batch_in(shape: Shape, x: Val, rolled: Rolled, merged: bool) -> int | None:
    """Return the number of samples in a user's array, from the axis that holds them in the file.

    None where the array's axes do not fit the input: what is wrong is said where arrays are read.
    ``merged``: samples and steps share axis 0.
    """
    lay = rolled.time_inputs.get(x.id)
    beside = lay is not None and rolled.steps == 1  # a step graph: only the array has time
    if not shape or len(shape) != len(x.shape) + beside:
        return None
    if lay is None:
        return shape[0]
    if merged or not lay.pure:
        return shape[0] // rolled.steps if shape[0] % rolled.steps == 0 else None
    rest = [d for i, d in enumerate(shape) if i != lay.axis]
    return rest[0] if rest else None
