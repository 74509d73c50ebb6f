"""Numbers that are not finite any more, counted where they lie (docs/design/overflow.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.config.loss_scale import SCALE_STATE
from snncc.compiler.diag import Diagnostic
from snncc.isa.numbers import fp16
from snncc.isa.program.file import ObjectFile, TensorEntry, machine_of
from snncc.isa.program.layout import extent, read_tensor
from snncc.isasim.system import System

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal["gradient", "weight", "state", "result"]
RESULT = "result:"
LAYERS = "layers"
"""Key of a program's metadata: the layer of each parameter, for messages."""
LISTED = 4
"""Arrays that a message names."""

_PATTERNS: Mapping[str, tuple[str, int, int]] = {
    "f16": ("<u2", 0x7FFF, fp16.BITS_INF),
    "f32": ("<u4", 0x7FFFFFFF, 0x7F800000),
}
"""Type of a pattern, mask of its magnitude, pattern of infinity (NaNs are larger)."""
_LARGEST = 0x7BFF  # 65504


@dataclass(frozen=True, slots=True)
class Lost:
    """An array that holds ``count`` infinite or NaN values of ``size``."""

    kind: Kind
    name: str
    count: int
    size: int
    layer: str = ""

    def __str__(self) -> str:
        """Return ``gradient of fc1.weight (layer fc1): 3 of 8 values``."""
        what = self.name if self.kind == "result" else f"{self.kind} {self.name}"
        where = f" (layer {self.layer})" if self.layer else ""
        return f"{what}{where}: {self.count} of {self.size} values"


@dataclass(frozen=True, slots=True)
class _Watched:
    kind: Kind
    name: str
    layer: str
    tensor: TensorEntry


class Watch:
    """Counts what is not finite in the memory of a program's machine."""

    def __init__(self, program: ObjectFile) -> None:
        self.saturates = machine_of(program).saturate
        layers = _layers(program)
        trained = {t.file_name for t in program.tensors if _is_gradient(t)}
        self.watched: list[_Watched] = []
        for tensor in program.tensors:
            if tensor.dtype not in _PATTERNS or tensor.name == SCALE_STATE:
                continue
            name = tensor.file_name or tensor.name.removeprefix(RESULT)
            kind: Kind
            if _is_gradient(tensor):
                kind = "gradient"
            elif tensor.role == "param" and name in trained:
                kind = "weight"
            elif tensor.role == "state":
                kind = "state"
            elif tensor.name.startswith(RESULT):
                kind = "result"
            else:
                continue
            self.watched.append(_Watched(kind, name, _layer(layers, name), tensor))

    def look(
        self,
        system: System,
        kinds: Sequence[Kind] = ("gradient", "weight", "state", "result"),
        scale: float | None = None,
    ) -> list[Lost]:
        """Return the arrays of these kinds that hold infinite or NaN values.

        On a machine that saturates also values of the largest magnitude; for gradients, which are
        reported divided by the loss scale, that needs a ``scale`` which is a power of two.
        """
        found: list[Lost] = []
        for each in self.watched:
            if each.kind in kinds:
                count = self._count(each, system, scale)
                if count:
                    size = each.tensor.elements
                    found.append(Lost(each.kind, each.name, count, size, each.layer))
        return found

    def _count(self, each: _Watched, system: System, scale: float | None) -> int:
        tensor = each.tensor
        dtype, mask, first = _PATTERNS[tensor.dtype]
        if self.saturates and tensor.dtype == "f16":
            if each.kind == "weight":
                first = _LARGEST
            elif each.kind == "gradient" and scale is not None:
                reported = np.asarray([fp16.MAX_FINITE / scale], np.float32)
                first = int(fp16.to_bits(reported)[0])
        low, high = extent(tensor)
        bits = np.frombuffer(system.dram[low:high], dtype)
        if not bits.size or (
            int(bits.view(dtype.replace("u", "i")).max()) < first  # positive ones
            and int(bits.max()) < (mask + 1 | first)  # negative ones: the sign bit is the largest
        ):
            return 0  # two passes without temporary arrays, for what nearly always holds
        count = int(np.count_nonzero((bits & mask) >= first))
        if count and tensor.layout:  # padding lies between the values
            values = read_tensor(tensor, system.dram)
            exact = fp16.to_bits(values) if tensor.dtype == "f16" else values.view(np.uint32)
            count = int(np.count_nonzero((exact & mask) >= first))
        return count


def lost_values(found: Mapping[str, Array], layers: Mapping[str, str]) -> list[Lost]:
    """Return which arrays of an interpreted step are not finite as they are reported, in float32.

    ``layers``: the layer of each parameter.
    """
    kinds: Mapping[str, Kind] = {"grad": "gradient", "param": "weight", "state": "state"}
    lost: list[Lost] = []
    for name, value in found.items():
        if value.dtype.kind != "f":
            continue
        with np.errstate(over="ignore"):
            reported = value.astype(np.float32)
        count = int(value.size - np.count_nonzero(np.isfinite(reported)))
        if count:
            prefix, _, rest = name.partition("/")
            kind: Kind = kinds.get(prefix, "result")
            if kind == "result":
                lost.append(Lost(kind, name, count, value.size))
            else:
                lost.append(Lost(kind, rest, count, value.size, _layer(layers, rest)))
    return lost


def listed(lost: Iterable[Lost]) -> str:
    """Return the arrays as one text, gradients first."""
    order: Sequence[Kind] = ("gradient", "weight", "state", "result")
    texts = [str(each) for each in sorted(lost, key=lambda each: order.index(each.kind))]
    more = f"; and {len(texts) - LISTED} more arrays" if len(texts) > LISTED else ""
    return "; ".join(texts[:LISTED]) + more


def lost_warnings(lost: Sequence[Lost], where: str, trains: bool) -> list[Diagnostic]:
    """Return the warning after one step that was asked for by itself."""
    if not lost:
        return []
    if trains:
        help_ = (
            "lower loss.scale, optimizer.lr, or inputs and weights; `snncc check` names sums that "
            "may overflow, --numerics float32 shows whether it is the number format"
        )
    else:
        help_ = "`snncc check` names sums that may overflow; scale inputs or weights down"
    text = f"after the step these are not finite: {listed(lost)}"
    return [Diagnostic("E0360", text, where, help=help_, severity="warning")]


def _layers(program: ObjectFile) -> dict[str, str]:
    found = program.metadata.get(LAYERS)
    if not isinstance(found, Mapping):
        return {}
    return {str(name): str(layer) for name, layer in found.items()}


def _layer(layers: Mapping[str, str], name: str) -> str:
    """Return the layer of a parameter, or of a state that belongs to one (``NAME#momentum``)."""
    return layers.get(name) or layers.get(name.rpartition("#")[0], "")


def _is_gradient(tensor: TensorEntry) -> bool:
    return tensor.name.startswith(f"{RESULT}grad/")
