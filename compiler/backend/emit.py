"""Core IR to an object file: flattened loops, microprograms, tensor table, initial memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from snncc.compiler.ir.core import Block, Func, Module, Op
from snncc.compiler.ir.orders import KERNEL
from snncc.compiler.passes.lowering.lower_to_core import microprograms
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.machine.machine import Machine
from snncc.isa.numbers import fp16
from snncc.isa.program.layout import DTYPES, LayoutDim, TensorEntry, write_tensor
from snncc.isa.program.model import CoreProgram, InitialData, Json, ObjectFile, SourceLine, Symbol
from snncc.isa.spec import Inst

Array = npt.NDArray[Any]


def emit(
    module: Module, machine: Machine, metadata: Mapping[str, Json] | None = None
) -> ObjectFile:
    """Return the object file of a module of stage ``core``."""
    programs = tuple(microprograms(module).values())
    symbols: list[Symbol] = []
    cores = tuple(_core(f, symbols) for f in module.funcs.values() if f.name != "data")
    tensors: list[TensorEntry] = []
    initial: list[InitialData] = []
    for op in module.func("data").body.ops:
        if op.name == "tile.dram":
            entry = tensor_entry(op)
            tensors.append(entry)
            data = initial_data(op, entry, module)
            if data is not None:
                initial.append(data)
        elif op.name == "tile.export":
            tensors.append(export_entry(op))
    return ObjectFile(
        machine.name,
        machine.hash,
        machine.to_toml(),
        cores,
        programs,
        tuple(symbols),
        tuple(tensors),
        tuple(initial),
        {
            "module": module.name,
            "steps": module.steps,
            "batch": module.batch,
            "dram_bytes": cast("int", module.attrs["dram_bytes"]),
            **(metadata or {}),
        },
    )


def _core(func: Func, symbols: list[Symbol]) -> CoreProgram:
    code: list[Inst] = []
    lines: list[SourceLine] = []
    core = cast("int", func.attrs["core"])
    buffers: list[Symbol] = []
    _flatten(func.body, code, lines, buffers)
    symbols += _lives(buffers, core)
    return CoreProgram(core, tuple(code), tuple(lines))


def _lives(buffers: list[Symbol], core: int) -> list[Symbol]:
    """Return the buffers with the ends of their lives: where the next task begins."""
    starts = sorted({b.first for b in buffers})
    after = dict(zip(starts, [*starts[1:], -1], strict=False))
    return [replace(b, core=core, last=after[b.first]) for b in buffers]


def _flatten(
    block: Block, code: list[Inst], lines: list[SourceLine], buffers: list[Symbol]
) -> None:
    for op in block.ops:
        if op.name == "core.buffer":
            where = op.int_attr("address"), -1, op.int_attr("bytes"), len(code), -1
            buffers.append(Symbol(op.str_attr("name"), "sram", *where, op.str_attr("tensor")))
            continue
        row = BY_MNEMONIC[op.name.partition(".")[2]]
        layer, phase = op.str_attr("layer", ""), op.str_attr("phase", "")
        place = str(op.loc)
        last = lines[-1] if lines else None
        if last is None or (last.layer, last.phase, last.location) != (layer, phase, place):
            lines.append(SourceLine(len(code), location=place, layer=layer, phase=phase))
        if op.regions:
            at = len(code)
            code.append(Inst(row, ()))
            _flatten(op.regions[0], code, lines, buffers)
            head = op.attrs["count"]
            code[at] = Inst(row, (cast("int", head), len(code)))
            continue
        values = tuple(cast("int", op.attrs[f.name]) for f in row.operands)
        code.append(Inst(row, values))


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
