"""Object files: round trips, determinism, damaged and hostile bytes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.isa.instructions.encoding import make
from snncc.isa.machine.machine import load_machine
from snncc.isa.microprograms.text import parse_micro
from snncc.isa.program import container
from snncc.isa.program import file as objfile
from snncc.isa.program import load as objload
from snncc.isa.program.file import (
    CoreProgram,
    FileRef,
    InitialData,
    ObjectFile,
    ObjectFileError,
    SourceLine,
    Symbol,
    from_bytes,
    read,
    to_bytes,
    write,
)
from snncc.isa.program.layout import TensorEntry, dense
from snncc.isa.random_programs.programs import random_program

SMALL = load_machine("small")


def sample() -> ObjectFile:
    micro = parse_micro(".micro neg\n x = ld.h s0\n y = neg.h x\n st.h s1, y\n.end".splitlines())
    code = (
        make("li", rd=1, imm=-5),
        make("ew", prog=0, steps=1, rows=1, cols=1, seed=1),
        make("halt"),
    )
    lines = (
        SourceLine(0, "a.s", 3, "", "fc1", "fp"),
        SourceLine(2, "a.s", 9, "model.onnx:/fc1", "fc1", "bp"),
    )
    return ObjectFile(
        machine_name="small",
        machine_hash=SMALL.hash,
        machine_toml=SMALL.to_toml(),
        cores=(CoreProgram(0, code, lines), CoreProgram(3, code)),
        micro=(micro,),
        symbols=(Symbol("loop1", "label", 1, 0), Symbol("weights", "dram", 64)),
        tensors=(
            TensorEntry(
                "w", "param", "f16", (3, 5), 64, dense("f16", (3, 5), 16), "fc.weight", True
            ),
            TensorEntry("s", "spikes", "bit", (2, 33), 4096),
        ),
        initial=(
            InitialData(64, b"abcd"),
            InitialData(0, ref=FileRef("x.bin", 2, 8, "0" * 64), convert="f32-f16"),
            InitialData(8, b"xyzw", row_bytes=2, row_stride=16, space="sram", core=3),
        ),
        metadata={"loss": {"scale": 1024.0}, "names": ["é", None, True]},
    )


GOOD = to_bytes(sample())


def resealed(data: bytes | bytearray) -> bytes:
    """The bytes with a checksum that matches, as an attacker would write it."""
    blank = bytearray(data)
    blank[24:56] = bytes(32)
    blank[24:56] = hashlib.sha256(blank).digest()
    return bytes(blank)


def sections(data: bytes) -> dict[str, bytes]:
    box = container.unpack_container(data)
    return {f"{s.kind}{s.number}": s.data for s in box.sections}


def with_section(kind: str, payload: bytes, number: int = 0) -> bytes:
    box = container.unpack_container(GOOD)
    changed = [
        dataclasses.replace(s, data=payload) if (s.kind, s.number) == (kind, number) else s
        for s in box.sections
    ]
    return container.pack_container(dataclasses.replace(box, sections=tuple(changed)))


def test_round_trip() -> None:
    assert from_bytes(GOOD) == sample()
    assert to_bytes(from_bytes(GOOD)) == GOOD


@pytest.mark.parametrize("seed", range(10))
def test_random_programs_round_trip(seed: int) -> None:
    program = random_program(seed, SMALL)
    data = to_bytes(program)
    assert from_bytes(data) == program
    assert to_bytes(random_program(seed, SMALL)) == data


def test_the_header_by_hand() -> None:
    assert GOOD[:8] == b"SNNX\r\n\x1a\n"
    version, count, size = struct.unpack_from("<IIQ", GOOD, 8)
    assert (version, count, size) == (2, 10, len(GOOD))
    assert GOOD[56:88].hex() == sample().isa
    assert GOOD[88:120].hex() == SMALL.hash
    assert GOOD[120:184] == b"small" + bytes(59)
    assert resealed(GOOD) == GOOD
    code = sections(GOOD)["CODE0"]
    assert len(code) == 48
    assert code[:16].hex() == "03c1feffffffffffff3f000000000000"  # li r1, -5


def test_write_is_atomic_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "p.snnx"
    path.write_bytes(b"old")
    write(sample(), path)
    assert read(path) == sample()
    assert [f.name for f in tmp_path.iterdir()] == ["p.snnx"]
    bad = dataclasses.replace(sample(), metadata={"x": float("nan")})
    with pytest.raises(ObjectFileError, match="cannot be written as JSON"):
        write(bad, path)
    assert read(path) == sample()
    assert [f.name for f in tmp_path.iterdir()] == ["p.snnx"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "p.snnx", tmp_path / "folder"):
        with pytest.raises(ObjectFileError, match="cannot be written"):
            write(sample(), path)
    assert [f.name for f in tmp_path.iterdir()] == ["folder"]


def test_unreadable_paths(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path / "none.snnx", "cannot be read"),
        (tmp_path, "cannot be read"),
        (pipe, "not a regular file"),
    ):
        with pytest.raises(ObjectFileError, match=message):
            read(path)
    text = tmp_path / "p.snnx"
    text.write_text("hello", encoding="utf-8")
    with pytest.raises(ObjectFileError, match=r"p\.snnx: no object file"):
        read(text)


def test_every_truncation_is_refused() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(ObjectFileError):
            from_bytes(GOOD[:size])
    with pytest.raises(ObjectFileError, match="too long"):
        from_bytes(GOOD + b"x")


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_every_flipped_byte_is_noticed(at: int, flip: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= flip
    with pytest.raises(ObjectFileError):
        from_bytes(bytes(data))


@given(st.integers(0, 2**32))
def test_hostile_bytes_with_a_right_checksum(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(GOOD)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        data[at] = rng.choice((0, 255, rng.randrange(256), *b'"[]{},-9e'))
    try:
        program = from_bytes(resealed(data))
    except ObjectFileError:
        return
    assert from_bytes(to_bytes(program)) == program


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(ObjectFileError):
        from_bytes(data)
    with pytest.raises(ObjectFileError):
        from_bytes(container.MAGIC + data)


def test_another_instruction_set_is_refused_unless_asked_for() -> None:
    box = container.unpack_container(GOOD)
    other = container.pack_container(dataclasses.replace(box, isa_hash="ab" * 32))
    with pytest.raises(ObjectFileError, match="made for instruction set abababababab"):
        from_bytes(other)
    assert from_bytes(other, any_isa=True).isa == "ab" * 32


def test_another_format_version_is_refused() -> None:
    data = bytearray(GOOD)
    data[8] = 3
    with pytest.raises(ObjectFileError, match="format version 3; this program reads 2"):
        from_bytes(resealed(data))


JSON_ATTACKS = [
    b"",
    b"\xff",
    b"[" * 200_000,
    b'{"a":' * 50_000,
    b"9" * 10_000,
    b"NaN",
    b"[1e999]",
    b'"\\ud800"',
    b"[[]]",
    b"{}",
    b"[{}]",
    b"[null]",
    b"null",
]


@pytest.mark.parametrize("kind", ["SYMS", "TENS", "INIT", "LINE", "META"])
@pytest.mark.parametrize("payload", JSON_ATTACKS, ids=range(len(JSON_ATTACKS)))
def test_hostile_json(kind: str, payload: bytes) -> None:
    if kind == "META" and payload == b"{}":
        return
    with pytest.raises(ObjectFileError):
        from_bytes(with_section(kind, payload))


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("TENS", {"shape": [1 << 50]}, "outside 0"),
        ("TENS", {"shape": [1 << 39, 1 << 39]}, "absurd shape"),
        ("TENS", {"dtype": "f8"}, "no element type"),
        ("TENS", {"address": -1}, "outside 0"),
        ("TENS", {"address": True}, "expected an integer"),
        ("TENS", {"transposed": 1}, "expected true or false"),
        ("TENS", {"name": 3}, "expected a string"),
        ("TENS", {"layout": [[0, 3, 1]]}, "axis, size, step, stride"),
        ("TENS", {"extra": 1}, "unknown entry 'extra'"),
        ("INIT", {"blob": [0, 1 << 60]}, "outside 0"),
        ("INIT", {"blob": [4, 4]}, "outside their place"),
        ("INIT", {"convert": "zip"}, "not one of"),
        ("INIT", {"ref": ["x", 0, 4, "zz"]}, "no SHA-256"),
        ("INIT", {"ref": ["x", 0, 4, "0" * 64]}, "both embedded and by reference"),
    ],
)
def test_wrong_entries(kind: str, change: dict[str, object], message: str) -> None:
    entries = json.loads(sections(GOOD)[f"{kind}0"])
    entries[0].update(change)
    with pytest.raises(ObjectFileError, match=message):
        from_bytes(with_section(kind, json.dumps(entries).encode()))


LINES = {"strings": ["net.snn", "fc"], "cores": {"0": [[0, 0, 3, 1, 1, 0]]}}


@pytest.mark.parametrize("column", range(6))
def test_source_lines_hold_numbers_that_are_there(column: int) -> None:
    """Address, file, line, place, layer, phase: two are numbers, four are numbers of strings."""
    payload = json.dumps(LINES).encode()
    assert from_bytes(with_section("LINE", payload)).cores[0].lines[0].file == "net.snn"
    for value in (-1, (1 << 32) + 1 if column in (0, 2) else 2, 0.5, None, True, "0"):
        row: list[object] = [0, 0, 3, 1, 1, 0]
        row[column] = value
        damaged = json.dumps({**LINES, "cores": {"0": [row]}}).encode()
        with pytest.raises(ObjectFileError, match=r"LINE\.cores\.0"):
            from_bytes(with_section("LINE", damaged))


def test_sections_that_do_not_fit_together() -> None:
    for change, message in (
        ({"micro": ()}, r"core 0, address 1: there is no microprogram @0"),
        ({"cores": sample().cores[:1] * 2}, "two"),
        ({"tensors": sample().tensors[:1] * 2}, "two tensors have one name"),
        ({"machine_name": "m" * 65}, "machine name"),
        (
            {"cores": (CoreProgram(0, (make("halt"),), (SourceLine(1),)),)},
            "source lines are not in order",
        ),
    ):
        with pytest.raises(ObjectFileError, match=message):
            to_bytes(dataclasses.replace(sample(), **change))
    with pytest.raises(ObjectFileError, match=r"core 0: address 0: word 0x0+: unknown"):
        from_bytes(with_section("CODE", bytes(16)))
    with pytest.raises(ObjectFileError, match="UCOD: truncated"):
        from_bytes(with_section("UCOD", b"\xff\xff"))
    with pytest.raises(ObjectFileError, match="BLOB has bytes that INIT does not use"):
        from_bytes(with_section("BLOB", sections(GOOD)["BLOB0"] + b"x"))


def test_code_that_cores_share_is_stored_once() -> None:
    code, lines = (*[make("nop")] * 99, make("halt")), (SourceLine(0, "a"),)
    alone = to_bytes(dataclasses.replace(sample(), cores=(CoreProgram(2, code, lines),)))
    many = tuple(CoreProgram(core, code, lines) for core in (2, 10, 11))
    data = to_bytes(dataclasses.replace(sample(), cores=many))
    assert len(data) < len(alone) + 2 * 24 + 100
    again = from_bytes(data)
    assert again.cores == many
    assert len({id(core.code) for core in again.cores}) == 1
    copied = tuple(CoreProgram(core, tuple([*code]), lines) for core in (2, 10, 11))
    assert to_bytes(dataclasses.replace(sample(), cores=copied)) == data
    bad = with_section("LINE", b'{"cores":{"2":[],"10":7},"strings":[]}')
    with pytest.raises(ObjectFileError, match=r"LINE.cores.10: core 7 has no table"):
        from_bytes(bad)


def test_unknown_and_missing_sections_are_refused() -> None:
    box = container.unpack_container(GOOD)
    extra = dataclasses.replace(box, sections=(*box.sections, container.Section("WHAT", 0, b"")))
    with pytest.raises(ObjectFileError, match="unknown section 'WHAT'"):
        from_bytes(container.pack_container(extra))
    fewer = dataclasses.replace(box, sections=box.sections[:-1])
    with pytest.raises(ObjectFileError, match="section META is missing"):
        from_bytes(container.pack_container(fewer))


def test_source_lines_cover_ranges() -> None:
    core = sample().cores[0]
    assert [core.source(i).line for i in range(3) if core.source(i)] == [3, 3, 9]  # type: ignore[union-attr]
    assert sample().cores[1].source(0) is None
    assert sample().tensor("w") == sample().tensors[0]
    assert sample().tensor("none") is None


def test_initial_data_by_reference(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 0.1, 70000.0], np.float32)
    data = values.tobytes()
    (tmp_path / "w.bin").write_bytes(b"??" + data)
    ref = FileRef("w.bin", 2, 16, hashlib.sha256(data).hexdigest())
    item = InitialData(100, ref=ref, convert="f32-f16", row_bytes=4, row_stride=32)
    halves = np.array([1.0, -2.5, 0.1, np.inf], np.float16).tobytes()
    assert list(objload.pieces(item, tmp_path)) == [(100, halves[:4]), (132, halves[4:])]
    raw = InitialData(100, ref=ref)
    assert list(objload.pieces(raw, tmp_path)) == [(100, data)]
    for broken in (
        dataclasses.replace(ref, sha256="0" * 64),
        dataclasses.replace(ref, bytes=17),
        dataclasses.replace(ref, offset=3),
    ):
        with pytest.raises(ObjectFileError, match="not those that the program was compiled with"):
            objload.contents(InitialData(0, ref=broken), tmp_path)
    for path in ("none.bin", ".", "/dev/zero", "a\0b"):
        with pytest.raises(ObjectFileError):
            objload.contents(
                InitialData(0, ref=dataclasses.replace(ref, path=path, offset=0)), tmp_path
            )
    with pytest.raises(ObjectFileError, match="no whole number of rows"):
        list(objload.pieces(InitialData(0, b"abc", row_bytes=2, row_stride=4), tmp_path))


def test_the_module_offers_what_it_says() -> None:
    assert all(hasattr(objfile, name) for name in objfile.__all__)


def test_shared_code_counts_once() -> None:
    one, two = (make("nop"), make("halt")), (make("halt"),)
    cores = (CoreProgram(0, one), CoreProgram(1, tuple([*one])), CoreProgram(2, two))
    assert dataclasses.replace(sample(), cores=cores).code_bytes == 16 * 3
