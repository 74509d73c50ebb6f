"""The sections of an object file beside its code, as lines of text."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Final

from snncc.assembler.memory import ROLES
from snncc.assembler.operands import is_resource
from snncc.assembler.quote import quoted, word
from snncc.assembler.source import is_name
from snncc.isa.machine.machine import MachineError, list_machines, load_machine, parse_machine
from snncc.isa.microprograms.code import canonical, encode_micro
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.microprograms.text import show_micro
from snncc.isa.program.layout import TensorEntry
from snncc.isa.program.model import InitialData, ObjectFile

_ROW: Final = 32
_RUN: Final = 2  # rows of one byte value that become a .fill


def machine_lines(program: ObjectFile) -> Iterator[str]:
    """Yield the directive of the machine: its name, or its description."""
    yield from _machine_lines(program.machine_name, program.machine_hash, program.machine_toml)


@functools.lru_cache(maxsize=8)
def _machine_lines(name: str, digest: str, toml: str) -> list[str]:
    try:
        found = parse_machine(toml)
        own = (found.name, found.hash) == (name, digest)
        if own and found.name in list_machines():
            shipped = load_machine(found.name)
            if shipped.to_toml() == toml:
                return [f".machine {word(found.name)}"]
            if shipped.with_(cores=found.cores).to_toml() == toml:
                return [f".machine {word(found.name)}, cores={found.cores}"]
    except MachineError:
        own = False
    facts = "" if own else f", name={quoted(name)}, hash={quoted(digest)}"
    lines = [f".machine text{facts}"]
    for line in toml.split("\n"):
        if not line:
            lines.append("|")
        elif line.isprintable():
            lines.append(f"| {line}")
        else:
            lines.append(f"|{quoted(line)}")
    return [*lines, ".end"]


def metadata_lines(program: ObjectFile) -> Iterator[str]:
    """Yield one line per entry of the metadata."""
    for key, value in sorted(program.metadata.items()):
        name = key if is_name(key) else quoted(key)
        yield f".meta {name} = {json.dumps(value, sort_keys=True, allow_nan=False)}"


def tensor_lines(program: ObjectFile, taken: set[str]) -> Iterator[str]:
    """Yield one line per tensor; names that are free become names of the text."""
    for entry in program.tensors:
        yield _tensor(entry, taken)


def _tensor(entry: TensorEntry, taken: set[str]) -> str:
    name = quoted(entry.name)
    reserved = is_resource(entry.name) or entry.name in ("core", "inf", "nan")
    if is_name(entry.name) and not reserved and entry.name not in taken:
        taken.add(entry.name)
        name = entry.name
    shape = ", ".join(map(str, entry.shape))
    parts = [name, entry.dtype, f"[{shape}]", f"addr={entry.address:#x}"]
    parts.append(f"role={entry.role if entry.role in ROLES else quoted(entry.role)}")
    if entry.space != "dram":
        parts.append(f"space={entry.space}")
    if entry.core != -1 or entry.space != "dram":
        parts.append(f"core={entry.core}")
    if entry.layout:
        loops = ", ".join(f"{d.axis}:{d.size}:{d.step}:{d.stride}" for d in entry.layout)
        parts.append(f"layout=[{loops}]")
    if entry.file_name:
        parts.append(f"file={quoted(entry.file_name)}")
    if entry.transposed:
        parts.append("transposed=1")
    return f".tensor {', '.join(parts)}"


def data_lines(
    item: InitialData, aside: Callable[[bytes], str] | None = None, least: int = 0
) -> Iterator[str]:
    """Yield a piece of initial memory; ``aside`` takes bytes from ``least`` on elsewhere."""
    parts = [item.space, f"{item.address:#x}"]
    if item.core != -1 or item.space != "dram":
        parts.append(f"core={item.core}")
    if item.row_bytes:
        parts.append(f"row_bytes={item.row_bytes}")
    if item.row_stride:
        parts.append(f"row_stride={item.row_stride}")
    if item.convert != "raw":
        parts.append(f"convert={quoted(item.convert)}")
    yield f".data {', '.join(parts)}"
    if item.ref is not None:
        ref = item.ref
        yield f"  .ref {quoted(ref.path)}, {ref.offset}, {ref.bytes}, {quoted(ref.sha256)}"
    elif aside is not None and len(item.data) >= least:
        yield f"  {aside(item.data)}"
    else:
        yield from _bytes(item.data)


def _bytes(data: bytes) -> Iterator[str]:
    """Yield rows of hexadecimal digits; runs of one byte value are filled."""
    at = 0
    while at < len(data):
        row = data[at : at + _ROW]
        end = at + _ROW
        if row.count(row[0]) == len(row):
            while data[end : end + _ROW] == row:
                end += _ROW
        if end - at >= _RUN * _ROW:
            yield f"  .fill {end - at}, {row[0]}"
        else:
            end = min(at + _ROW, len(data))
            yield f"  .hex {row.hex()}"
        at = end


def micro_lines(program: ObjectFile, names: list[str]) -> Iterator[str]:
    """Yield the blocks of the microprograms; ``names`` are those that need no quotes."""
    for micro, name in zip(program.micro, names, strict=True):
        shown = name or quoted(micro.name)
        yield ""
        code = encode_micro(micro)
        if encode_micro(canonical(micro)) != code:
            yield f".microcode {shown}, {quoted(code.hex())}"
            continue
        text = show_micro(MicroProgram("p", micro.code)).rstrip("\n").split("\n")
        yield f".micro {shown}"
        yield from text[1:]
