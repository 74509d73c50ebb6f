"""Tensors and results as entries of an object file's tensor table, and what they hold first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from snncc.compiler.ir.core import Module, Op
from snncc.compiler.ir.orders import KERNEL
from snncc.isa.numbers import fp16
from snncc.isa.program.layout import DTYPES, LayoutDim, TensorEntry, write_tensor
from snncc.isa.program.model import InitialData

Array = npt.NDArray[Any]


def _layout_of(
    dtype: str, shape: tuple[int, ...], is_seq: bool, order: tuple[int, ...]
) -> tuple[LayoutDim, ...]:
    """Return where the elements of a tensor are; natural order needs no layout."""
    if not order:
        return ()
    lead = 1 if is_seq else 0
    if order == KERNEL:
        outputs, channels, *kernel = shape
        loops = [(0, outputs, 1), (1, 16, 1)]
        loops += [(2 + i, d, 1) for i, d in reversed(list(enumerate(kernel)))]
        loops.append((1, (channels + 15) // 16, 16))
    else:
        loops = [(lead + a, shape[lead + a], 1) for a in reversed(order)]
        if is_seq:
            loops.append((0, shape[0], 1))
    found: list[LayoutDim] = []
    stride = DTYPES[dtype]
    for axis, count, step in loops:
        found.append(LayoutDim(axis, count, step, stride))
        stride = stride * count if stride else fp16.packed_bytes(count)
    return tuple(reversed(found))


def _role(op: Op) -> str:
    role = op.str_attr("role")
    return role if role in {"input", "target", "param", "state"} else "other"


def tensor_entry(op: Op) -> TensorEntry:
    """Return the table entry of a DRAM tensor."""
    type_ = op.result.type
    source = cast("Mapping[str, Any]", op.attrs.get("source", {}))
    role, name = _role(op), op.str_attr("name")
    layout = _layout_of(
        type_.dtype, type_.shape, op.bool_attr("seq", False), op.ints_attr("order", ())
    )
    return TensorEntry(
        name,
        role,
        type_.dtype,
        type_.shape,
        op.int_attr("address", 0),
        layout,
        name if role == "param" else "",
        bool(source.get("transpose", False)),
    )


RESULT_ROLES = {"grad": "grad", "spikes": "spikes", "logits": "logits", "loss": "loss"}


def export_entry(op: Op) -> TensorEntry:
    """Return the table entry of a result; its memory belongs to a DRAM tensor."""
    tensor = op.operands[0].owner
    assert isinstance(tensor, Op)
    name, dims = op.str_attr("name"), op.ints_attr("dims")
    dtype = op.operands[0].type.dtype
    prefix, _, rest = name.partition("/")
    return TensorEntry(
        f"result:{name}",
        RESULT_ROLES.get(prefix, "output"),
        dtype,
        dims,
        tensor.int_attr("address", 0),
        _layout_of(dtype, dims, op.bool_attr("seq", False), op.ints_attr("order", ())),
        rest if prefix in {"grad", "param"} else "",
        bool(op.attrs.get("transpose", False)),
    )


def initial_data(op: Op, entry: TensorEntry, module: Module) -> InitialData | None:
    """Return what a tensor holds before the first step, or None for nothing."""
    source = cast("Mapping[str, Any]", op.attrs.get("source", {}))
    resource = source.get("resource")
    if isinstance(resource, str):
        array: Array = np.asarray(module.resources[resource])
    elif "init" in source or "value" in source:
        array = np.full(entry.shape, float(source.get("init", source.get("value", 0.0))))
    else:
        return None
    memory = np.zeros(op.int_attr("bytes"), np.uint8)
    local = TensorEntry(entry.name, entry.role, entry.dtype, entry.shape, 0, entry.layout)
    values: Array
    if entry.dtype == "f16" and array.dtype == np.float64:
        values = fp16.f64_to_bits(array)
    elif entry.dtype == "f16" and array.dtype == np.float16:
        values = fp16.to_bits(array)
    else:
        values = array.astype(np.float32)
    write_tensor(local, memory, values.reshape(entry.shape))
    return InitialData(entry.address, memory.tobytes())
