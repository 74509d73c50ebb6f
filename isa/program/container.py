"""The outer form of an object file: header, section table, checksum.  What sections mean is in
:mod:`snncc.isa.program.file`.

All numbers are little-endian::

    offset  size  header
         0     8  magic "SNNX" 0D 0A 1A 0A
         8     4  format version
        12     4  number of sections
        16     8  size of the file in bytes
        24    32  SHA-256 of the file with these 32 bytes zero
        56    32  ISA hash
        88    32  machine hash
       120    64  machine name, UTF-8, padded with zeros

    then, per section, 24 bytes: kind (4 ASCII letters), number (4), offset (8), size (8)
    then the sections, each beginning at a multiple of 8, zeros between them, in table order;
    sections of one kind with equal bytes, not none, are stored once (the code that cores share)
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from snncc.isa.files.whole_file import write_whole

MAGIC: Final = b"SNNX\r\n\x1a\n"
FORMAT_VERSION: Final = 2
MAX_FILE_BYTES: Final = 1 << 31
MAX_SECTIONS: Final = 4096

_HEADER: Final = struct.Struct("<8sIIQ32s32s32s64s")
_ENTRY: Final = struct.Struct("<4sIQQ")
_DIGEST_AT: Final = 24
_NAME_BYTES: Final = 64
_ALIGN: Final = 8


class ObjectFileError(ValueError):
    """A file is no sound object file; the message says where and why."""


@dataclass(frozen=True)
class Section:
    """Bytes of one kind; ``number`` tells sections of one kind apart (the core, for code)."""

    kind: str
    number: int
    data: bytes


@dataclass(frozen=True)
class Container:
    """A header's facts (hashes in hex) and the sections."""

    isa_hash: str
    machine_hash: str
    machine_name: str
    sections: tuple[Section, ...]


def pack_container(box: Container) -> bytes:
    """Return the bytes of a container; equal containers give equal bytes."""
    name = box.machine_name.encode()
    if len(name) > _NAME_BYTES:
        raise ObjectFileError(f"machine name '{box.machine_name}' is longer than {_NAME_BYTES} B")
    if len(box.sections) > MAX_SECTIONS:
        raise ObjectFileError(f"{len(box.sections)} sections; at most {MAX_SECTIONS}")
    at = _aligned(_HEADER.size + _ENTRY.size * len(box.sections))
    table = bytearray()
    places: dict[int, bytes] = {}
    stored: dict[tuple[str, bytes], int] = {}
    for section in box.sections:
        key = section.kind, section.data
        place = stored.setdefault(key, at) if section.data else at
        table += _ENTRY.pack(section.kind.encode("ascii"), section.number, place, len(section.data))
        if place == at:
            places[at] = section.data
            at = _aligned(at + len(section.data))
    if at > MAX_FILE_BYTES:
        raise ObjectFileError(f"the file would have {at} bytes; at most {MAX_FILE_BYTES}")
    out = bytearray(at)
    _HEADER.pack_into(
        out, 0, MAGIC, FORMAT_VERSION, len(box.sections), at, bytes(32),
        bytes.fromhex(box.isa_hash), bytes.fromhex(box.machine_hash), name,
    )  # fmt: skip
    out[_HEADER.size : _HEADER.size + len(table)] = table
    for place, stored_data in places.items():
        out[place : place + len(stored_data)] = stored_data
    out[_DIGEST_AT : _DIGEST_AT + 32] = hashlib.sha256(out).digest()
    return bytes(out)


def is_program(begin: bytes) -> bool:
    """Whether a file that begins with these bytes is an object file."""
    return begin.startswith(MAGIC)


def unpack_container(data: bytes) -> Container:
    """Return what the bytes of a container hold; every bound and the checksum are checked."""
    if len(data) < len(MAGIC) or data[: len(MAGIC)] != MAGIC:
        raise ObjectFileError("no object file: the first bytes are not those of a .snnx file")
    if len(data) < _HEADER.size:
        raise ObjectFileError(f"truncated: {len(data)} bytes, the header alone has {_HEADER.size}")
    header: tuple[bytes, int, int, int, bytes, bytes, bytes, bytes] = _HEADER.unpack_from(data)
    _, version, count, size, digest, isa, machine, name = header
    if version != FORMAT_VERSION:
        raise ObjectFileError(f"format version {version}; this program reads {FORMAT_VERSION}")
    if size != len(data):
        kind = "truncated" if size > len(data) else "too long"
        raise ObjectFileError(f"{kind}: {len(data)} bytes, the header says {size}")
    blank = hashlib.sha256(data[:_DIGEST_AT])
    blank.update(bytes(32))
    blank.update(memoryview(data)[_DIGEST_AT + 32 :])
    if blank.digest() != digest:
        raise ObjectFileError("damaged: the checksum does not match the contents")
    if count > MAX_SECTIONS or _HEADER.size + count * _ENTRY.size > size:
        raise ObjectFileError(f"{count} sections do not fit")
    try:
        machine_name = name.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise ObjectFileError("the machine's name is not UTF-8") from None
    sections = _unpack_sections(data, count)
    return Container(isa.hex(), machine.hex(), machine_name, sections)


def _unpack_sections(data: bytes, count: int) -> tuple[Section, ...]:
    sections: list[Section] = []
    seen: set[tuple[str, int]] = set()
    stored: dict[tuple[str, int, int], bytes] = {}
    end = _aligned(_HEADER.size + count * _ENTRY.size)
    for index in range(count):
        entry: tuple[bytes, int, int, int]
        entry = _ENTRY.unpack_from(data, _HEADER.size + index * _ENTRY.size)
        raw, number, offset, size = entry
        kind = raw.decode("ascii", "replace")
        shared = stored.get((kind, offset, size))
        if shared is None and (offset != end or size > len(data) - offset):
            raise ObjectFileError(f"section {index} ('{kind}') lies outside its place")
        if (kind, number) in seen:
            raise ObjectFileError(f"there are two sections '{kind}' {number}")
        seen.add((kind, number))
        if shared is None:
            shared = data[offset : offset + size]
            end = _aligned(offset + size)
            if size:
                stored[kind, offset, size] = shared
        sections.append(Section(kind, number, shared))
    if end != len(data):
        raise ObjectFileError("there are bytes after the last section")
    return tuple(sections)


def _aligned(at: int) -> int:
    return (at + _ALIGN - 1) // _ALIGN * _ALIGN


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe that nobody writes to must not hold us up."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_file(path: Path) -> bytes:
    """Return the contents of a regular file of bounded size."""
    try:
        with open(path, "rb", opener=_without_waiting) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ObjectFileError(f"{path}: not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise ObjectFileError(f"{path}: {status.st_size} bytes; at most {MAX_FILE_BYTES}")
            return stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ObjectFileError(f"{path}: cannot be read: {error.strerror or error}") from None


def write_atomically(path: Path, pieces: Sequence[bytes]) -> None:
    """Write a file whole or not at all; ObjectFileError when that fails."""
    try:
        write_whole(path, pieces)
    except OSError as error:
        raise ObjectFileError(f"{path}: cannot be written: {error.strerror or error}") from None
