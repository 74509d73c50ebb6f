"""Core IR to an object file: flattened loops, microprograms, tensor table, initial memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from snncc.compiler.ir.core import Block, Func, Module
from snncc.compiler.ir.microprograms import microprograms
from snncc.compiler.ir.tensor_table import export_entry, initial_data, tensor_entry
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.machine.machine import Machine
from snncc.isa.program.layout import TensorEntry
from snncc.isa.program.model import CoreProgram, InitialData, Json, ObjectFile, SourceLine, Symbol
from snncc.isa.spec import Inst


def emit(
    module: Module, machine: Machine, metadata: Mapping[str, Json] | None = None
) -> ObjectFile:
    """Return the object file of a module of stage ``core``."""
    programs = tuple(microprograms(module).values())
    symbols: list[Symbol] = []
    cores = _cores(module.func("program"), symbols)
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


def _cores(func: Func, symbols: list[Symbol]) -> tuple[CoreProgram, ...]:
    """Return the cores, which share their code; the names of their buffers hold for all."""
    code: list[Inst] = []
    lines: list[SourceLine] = []
    buffers: dict[int, Symbol] = {}
    _flatten(func.body, code, lines, buffers)
    symbols += buffers.values()
    shared, sources = tuple(code), tuple(lines)
    return tuple(
        CoreProgram(core, shared, sources) for core in range(cast("int", func.attrs["cores"]))
    )


def _flatten(
    block: Block, code: list[Inst], lines: list[SourceLine], buffers: dict[int, Symbol]
) -> None:
    for op in block.ops:
        if op.name == "core.buffer":
            where = op.int_attr("address"), -1, op.int_attr("bytes"), len(code), -1
            symbol = Symbol(op.str_attr("name"), "sram", *where, op.str_attr("tensor"))
            buffers[op.int_attr("number")] = symbol
            continue
        if op.name == "core.buffer_end":
            number = op.int_attr("number")
            buffers[number] = replace(buffers[number], last=len(code))
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
