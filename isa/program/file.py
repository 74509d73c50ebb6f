"""Object files (``.snnx``): what the compiler and the assembler make and the simulator runs.

The outer form is described in :mod:`snncc.isa.program.container`.  Sections::

    MACH 0   the machine's TOML text, UTF-8
    CODE c   the instructions of core c, 16 bytes each; stored once for cores that share them
    UCOD 0   microprograms: per program u16 name length, name, u16 length, 8 bytes per instruction;
             program i of this list is the operand ``@i`` of lane instructions
    SYMS 0   symbols, JSON          LINE 0   source lines per core, JSON
    TENS 0   tensors, JSON          META 0   free-form metadata, JSON
    INIT 0   initial memory, JSON   BLOB 0   the bytes that INIT embeds

Equal contents give equal bytes.  Reading trusts nothing: whatever the bytes, :func:`read` returns a
sound :class:`ObjectFile` or raises :class:`ObjectFileError`, in bounded time and memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from snncc.isa.instructions.encoding import (
    IllegalInstruction,
    decode_program,
    encode_program,
    isa_hash,
)
from snncc.isa.machine.machine import Machine, MachineError, parse_machine
from snncc.isa.microprograms.code import MICRO_BYTES, MicroError, decode_micro, encode_micro
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.program import json as objjson
from snncc.isa.program.container import (
    Container,
    ObjectFileError,
    Section,
    pack_container,
    read_file,
    unpack_container,
    write_atomically,
)
from snncc.isa.program.layout import LayoutDim, TensorEntry
from snncc.isa.program.model import (
    CoreProgram,
    FileRef,
    InitialData,
    Json,
    ObjectFile,
    SourceLine,
    Symbol,
)
from snncc.isa.spec import Inst, OperandError

__all__ = [
    "CoreProgram",
    "FileRef",
    "InitialData",
    "Json",
    "LayoutDim",
    "ObjectFile",
    "ObjectFileError",
    "SourceLine",
    "Symbol",
    "TensorEntry",
    "from_bytes",
    "machine_of",
    "read",
    "to_bytes",
    "write",
]

MAX_CODE_BYTES: Final = 1 << 26
"""The most bytes of code of all cores together."""

_KINDS: Final = ("MACH", "CODE", "UCOD", "SYMS", "TENS", "INIT", "BLOB", "LINE", "META")


def to_bytes(program: ObjectFile) -> bytes:
    """Return the file's bytes; ObjectFileError when the program is not sound."""
    try:
        encoded = {id(c.code): encode_program(c.code) for c in _distinct(program.cores)}
        code = [(c.core, encoded[id(c.code)]) for c in sorted(program.cores, key=_core)]
        micro = b"".join(map(_pack_micro, program.micro))
    except (OperandError, MicroError, struct.error) as error:
        raise ObjectFileError(str(error)) from None
    blob = bytearray()
    initial: list[Json] = []
    for item in program.initial:
        initial.append(objjson.initial_to(item, len(blob)))
        blob += item.data
    sections = [
        Section("MACH", 0, program.machine_toml.encode()),
        *(Section("CODE", core, data) for core, data in code),
        Section("UCOD", 0, micro),
        Section("SYMS", 0, objjson.dump([objjson.symbol_to(s) for s in program.symbols])),
        Section("TENS", 0, objjson.dump([objjson.tensor_to(t) for t in program.tensors])),
        Section("INIT", 0, objjson.dump(initial)),
        Section("BLOB", 0, bytes(blob)),
        Section("LINE", 0, objjson.dump(objjson.lines_to(sorted(program.cores, key=_core)))),
        Section("META", 0, objjson.dump(dict(program.metadata))),
    ]
    box = Container(program.isa, program.machine_hash, program.machine_name, tuple(sections))
    data = pack_container(box)
    _check(program)
    return data


def _distinct(cores: Iterable[CoreProgram]) -> Iterable[CoreProgram]:
    """Return the first core of those that share their code."""
    found: dict[int, CoreProgram] = {}
    for core in cores:
        found.setdefault(id(core.code), core)
    return found.values()


def _core(program: CoreProgram) -> int:
    return program.core


def _pack_micro(program: MicroProgram) -> bytes:
    name = program.name.encode()
    code = encode_micro(program)
    return struct.pack("<H", len(name)) + name + struct.pack("<H", len(program.code)) + code


def from_bytes(data: bytes, *, any_isa: bool = False) -> ObjectFile:
    """Return the program that the bytes of a file hold.

    A file made with another instruction table is refused unless ``any_isa`` is set; then its code
    must still decode.
    """
    box = unpack_container(data)
    if box.isa_hash != isa_hash() and not any_isa:
        raise ObjectFileError(
            f"made for instruction set {box.isa_hash[:12]}, this is {isa_hash()[:12]}: "
            "compile or assemble it again"
        )
    parts = _sections(box)
    lines = objjson.lines_from(objjson.load(parts["LINE"], "LINE"))
    cores = _cores(box, lines)
    blob = parts["BLOB"]
    program = ObjectFile(
        machine_name=box.machine_name,
        machine_hash=box.machine_hash,
        machine_toml=objjson.text(parts["MACH"], "MACH"),
        cores=cores,
        micro=_unpack_micro(parts["UCOD"]),
        symbols=objjson.symbols_from(objjson.load(parts["SYMS"], "SYMS")),
        tensors=objjson.tensors_from(objjson.load(parts["TENS"], "TENS")),
        initial=objjson.initial_from(objjson.load(parts["INIT"], "INIT"), blob),
        metadata=objjson.mapping(objjson.load(parts["META"], "META"), "META"),
        isa=box.isa_hash,
    )
    _check(program)
    return program


def machine_of(program: ObjectFile) -> Machine:
    """Return the machine that a program was made for; ObjectFileError when it is none of today."""
    try:
        return parse_machine(program.machine_toml, "section MACH")
    except MachineError as error:
        raise ObjectFileError(str(error)) from None


def _sections(box: Container) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    for section in box.sections:
        if section.kind not in _KINDS:
            raise ObjectFileError(f"unknown section '{section.kind}'")
        if section.kind != "CODE":
            if section.number:
                raise ObjectFileError(f"section {section.kind} has number {section.number}")
            parts[section.kind] = section.data
    missing = [kind for kind in _KINDS if kind != "CODE" and kind not in parts]
    if missing:
        raise ObjectFileError(f"section {missing[0]} is missing")
    return parts


def _cores(box: Container, lines: dict[int, tuple[SourceLine, ...]]) -> tuple[CoreProgram, ...]:
    code = [s for s in box.sections if s.kind == "CODE"]
    if sum(map(len, {id(s.data): s.data for s in code}.values())) > MAX_CODE_BYTES:
        raise ObjectFileError(f"more than {MAX_CODE_BYTES} bytes of code")
    cores: list[CoreProgram] = []
    decoded: dict[int, tuple[Inst, ...]] = {}
    for section in code:
        insts = decoded.get(id(section.data))
        if insts is None:
            try:
                insts = decoded[id(section.data)] = decode_program(section.data)
            except IllegalInstruction as error:
                raise ObjectFileError(f"core {section.number}: {error}") from None
        cores.append(CoreProgram(section.number, insts, lines.pop(section.number, ())))
    if lines:
        raise ObjectFileError(f"section LINE: there is no core {min(lines)}")
    return tuple(cores)


def _unpack_micro(data: bytes) -> tuple[MicroProgram, ...]:
    out: list[MicroProgram] = []
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        if count > len(data) - at:
            raise ObjectFileError("section UCOD: truncated")
        at += count
        return data[at - count : at]

    while at < len(data):
        name = objjson.text(take(int.from_bytes(take(2), "little")), "UCOD")
        code = take(MICRO_BYTES * int.from_bytes(take(2), "little"))
        try:
            out.append(decode_micro(name, code))
        except MicroError as error:
            raise ObjectFileError(f"microprogram '{name}': {error}") from None
    return tuple(out)


def _check(program: ObjectFile) -> None:
    """Raise ObjectFileError unless the parts fit together."""
    numbers = [c.core for c in program.cores]
    if len(set(numbers)) != len(numbers):
        raise ObjectFileError("two programs for one core")
    for core in program.cores:
        last = -1
        for line in core.lines:
            if not last < line.address < len(core.code):
                raise ObjectFileError(f"core {core.core}: source lines are not in order")
            last = line.address
    for core in _distinct(program.cores):
        for address, inst in enumerate(core.code):
            _check_operands(program, core.core, address, inst)
    names = [t.name for t in program.tensors]
    if len(set(names)) != len(names):
        raise ObjectFileError("two tensors have one name")


def _check_operands(program: ObjectFile, core: int, address: int, inst: Inst) -> None:
    for operand, value in zip(inst.insn.operands, inst.values, strict=True):
        if operand.kind.name == "microprogram" and value >= len(program.micro):
            raise ObjectFileError(
                f"core {core}, address {address}: there is no microprogram @{value}"
            )


def write(program: ObjectFile, path: str | Path) -> None:
    """Write an object file atomically: under a temporary name, then renamed."""
    write_atomically(Path(path), [to_bytes(program)])


def read(path: str | Path, *, any_isa: bool = False) -> ObjectFile:
    """Read an object file; ObjectFileError names the file and what is wrong with it."""
    data = read_file(Path(path))
    try:
        return from_bytes(data, any_isa=any_isa)
    except ObjectFileError as error:
        raise ObjectFileError(f"{path}: {error}") from None
