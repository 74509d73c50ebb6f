"""Between arrays as the model file lays them out and arrays as the program does.

Inside, the time axis leads and weights are ``[in, out]``; outside, everything is as in the file:
the time axis where the model has it, weights under their own names in their own layout.  A program
carries its :class:`Interface` in the object file's metadata, so that `snncc run` needs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.compiler.driver.input_values import only_spikes, refuse_unfit
from snncc.compiler.driver.target_layout import TargetLayout

if TYPE_CHECKING:
    from snncc.compiler.ir.core import Attribute, Module, Op

Array: TypeAlias = npt.NDArray[Any]
Dims: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InputLayout:
    """How ``x`` lies in the user's array; ``shape`` is the program's (time first)."""

    shape: Dims
    time_axis: int | None = None
    batch_in_time: bool = False
    spikes: bool = False
    name: str = "x"
    """The program's name for it (the file's)."""

    @property
    def user_shape(self) -> Dims:
        """The shape that the user gives."""
        if self.batch_in_time and self.time_axis is not None:
            return (self.shape[0] * self.shape[1], *self.shape[2:])
        if not self.time_axis:
            return self.shape
        rest = list(self.shape[1:])
        rest.insert(self.time_axis, self.shape[0])
        return tuple(rest)

    @property
    def batch(self) -> int:
        """The number of samples."""
        return self.shape[0 if self.time_axis is None else 1]

    def sample_of(self, index: Sequence[int]) -> int:
        """Return which sample a place in the user's array belongs to."""
        if self.time_axis is None:
            return index[0]
        if self.batch_in_time:
            return index[0] // self.shape[0]
        return index[1 if self.time_axis == 0 else 0]

    def inward(self, x: Array) -> Array:
        """Return the user's array in the program's layout, as float32."""
        if self.batch_in_time and self.time_axis is not None:
            steps, batch = self.shape[:2]
            x = np.moveaxis(x.reshape(batch, steps, *x.shape[1:]), 1, 0)
        elif self.time_axis:
            x = np.moveaxis(x, self.time_axis, 0)
        return np.array(x, dtype=np.float32, order="C")


@dataclass(frozen=True, slots=True)
class OutputLayout:
    """How the file lays out a result; ``axis`` is the place of time, -1 for none."""

    axis: int = 0
    shape: Dims = ()
    batch_in_time: bool = False
    transpose: bool = False

    def outward(self, value: Array) -> Array:
        """Return a result as the file has it, as float32 (exact)."""
        if self.transpose:
            value = np.swapaxes(value, -1, -2)
        elif self.batch_in_time:
            value = np.moveaxis(value, 0, 1)
            value = value.reshape(value.shape[0] * value.shape[1], *value.shape[2:])
        elif self.axis > 0:
            value = np.moveaxis(value, 0, self.axis)
        if self.shape and value.size == np.prod(self.shape, dtype=np.int64):
            value = value.reshape(self.shape)
        with np.errstate(over="ignore"):  # float64 of the interpreter: told by the caller
            return np.array(value, dtype=np.float32, order="C")


@dataclass(frozen=True, slots=True)
class Interface:
    """What a program takes and gives."""

    model: str
    mode: str
    steps: int
    batch: int
    x: InputLayout
    outputs: Mapping[str, OutputLayout] = field(default_factory=dict[str, OutputLayout])
    y: TargetLayout | None = None
    """The targets of a training step."""

    def as_json(self) -> dict[str, Any]:
        """Return plain data for the object file."""
        return asdict(self)

    @staticmethod
    def from_json(data: object) -> Interface:
        """Read what :meth:`as_json` wrote; anything else is an error of the file."""
        try:
            table = dict(cast("Mapping[str, Any]", data))
            x = dict(table["x"])
            x["shape"] = _dims(x["shape"])
            outputs = {
                str(name): OutputLayout(
                    int(v["axis"]),
                    _dims(v["shape"]),
                    bool(v["batch_in_time"]),
                    bool(v["transpose"]),
                )
                for name, v in dict(table["outputs"]).items()
            }
            plain = {k: table[k] for k in ("model", "mode", "steps", "batch")}
            y = table.get("y")
            if y is not None:
                y = TargetLayout(_dims(y["shape"]), int(y["classes"]), int(y["time_axis"]))
            return Interface(**plain, x=InputLayout(**x), outputs=outputs, y=y)
        except (KeyError, TypeError, ValueError, AttributeError):
            fail(
                "E0029",
                "the program does not say what its inputs and outputs are",
                help="it was not made by `snncc compile`; the debugger can still run it",
            )

    def check_x(self, x: Array, where: str, numerics: str = "fp16") -> Array:
        """Return ``x`` in the program's layout, or complain; its values must fit the numerics."""
        expected = self.x.user_shape
        if x.shape != expected:
            hint = _shape_hint(x.shape, self.x)
            fail("E0022", f"x has shape {_show(x.shape)}, expected {_show(expected)}", where,
                 help=hint)  # fmt: skip
        if x.dtype.kind not in "biuf":
            fail("E0023", f"x holds {x.dtype}, not numbers", where)
        if self.x.spikes and only_spikes(x):
            return self.x.inward(x)
        refuse_unfit(x, "x", where, self.x.sample_of, numerics == "fp16")
        if self.x.spikes:
            fail("E0023", "x holds other values than 0 and 1, but [input] spikes = true", where)
        return self.x.inward(x)

    def check_y(self, y: Array, where: str) -> Array:
        """Return ``y`` in the program's layout, or complain."""
        if self.y is None:
            fail("E0029", "the program does not say what its targets are", where)
        return self.y.inward(y, where)


def interface_of(module: Module, mode: str, time_axis: int | None = None) -> Interface:
    """Return the interface of a graph or phased module; its first argument is ``x``.

    ``time_axis`` (of the configuration) counts where the import did not find out.
    """
    func = next(iter(module.funcs.values()))
    x = func.body.args[0]
    facts = mapping(mapping(module.attrs.get("inputs")).get(x.name))
    axis = facts.get("axis", time_axis if time_axis is not None else 0)
    layout = InputLayout(
        x.type.shape,
        axis if x.type.kind == "seq" and isinstance(axis, int) and axis >= 0 else None,
        facts.get("batch_in_time") is True,
        x.type.dtype == "bit",
        x.name,
    )
    outputs = {
        _key(op): OutputLayout(
            op.int_attr("axis", 0) if op.operands[0].type.kind == "seq" else -1,
            op.ints_attr("shape", ()),
            op.bool_attr("batch_in_time", False),
            op.bool_attr("transpose", False),
        )
        for op in module.walk()
        if op.name in ("graph.output", "phase.output")
    }
    return Interface(module.name, mode, module.steps, module.batch, layout, outputs)


SPIKES = "spikes/"


def expose_spikes(module: Module) -> None:
    """Make the spikes of every layer outputs of a graph module, named ``spikes/LAYER``."""
    from snncc.compiler.ir.core import op as build_op

    for func in module.funcs.values():
        for op in list(func.body.ops):
            if op.name == "graph.neuron" and op.attrs.get("compare") != "none":
                spikes, layer = op.results[0], op.str_attr("layer", "")
                attrs: dict[str, Attribute] = {"name": f"{SPIKES}{layer}", "axis": 0}
                func.body.append(build_op("graph.output", [spikes], [], attrs, loc=op.loc))


def public_name(name: str) -> str:
    """Return the name of a result as the user sees it."""
    return name.removeprefix("out/") if name.startswith(f"out/{SPIKES}") else name


def _key(op: Op) -> str:
    name = op.str_attr("name")
    return public_name(f"out/{name}" if op.name == "graph.output" else name)


def mapping(value: Attribute) -> Mapping[str, Attribute]:
    """Return an attribute that should be a mapping; an empty one if it is not."""
    return value if isinstance(value, Mapping) else {}


def _dims(value: object) -> Dims:
    return tuple(int(v) for v in cast("Sequence[int]", value))


def _show(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _shape_hint(shape: Dims, layout: InputLayout) -> str:
    if len(shape) == len(layout.user_shape) + 1 and layout.time_axis is None:
        return "this model takes the same input at every step; for one per step set time_axis = 0"
    if len(shape) == len(layout.user_shape) - 1 and layout.time_axis is not None:
        return f"the model takes one input per step; its axis {layout.time_axis} is time"
    if layout.time_axis is None and shape[1:] == layout.shape[1:]:
        return f"compile for this batch size: --batch {shape[0]}"
    return ""
