"""What the debugger says about memory, for a few tensors and buffers made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from snncc.isa.program.layout import TensorEntry
from snncc.isa.program.model import Symbol
from snncc.isasim.debug.debugger import DebugError
from snncc.isasim.debug.memory import (
    a_core,
    as_type,
    buffer,
    buffers,
    integer,
    memory,
    names,
    space_of,
    tensor,
)

TENSORS = (
    TensorEntry("fc1.weight", "param", "f16", (3, 4), 0x40),  # 24 bytes
    TensorEntry("fc2.weight", "param", "f16", (2, 2), 0x58),
    TensorEntry("bias", "param", "f32", (2,), 0x80),
    TensorEntry("state", "state", "f16", (2,), 0x20, space="sram", core=2),
    TensorEntry("other", "state", "f16", (2,), 0x20, space="sram", core=5),
)
BUFFERS = (
    Symbol("task.x", "sram", 0x00, 2, 16, first=0, last=8, tensor="fc1.weight"),
    Symbol("task.x", "sram", 0x10, 2, 16, first=8, last=20),
    Symbol("acc", "sram", 0x10, 2, 24, first=4),
)


def system() -> Any:
    """Return as much of a machine as the debugger looks at: core 2 of three has a program."""
    code = SimpleNamespace(places={"sram": BUFFERS})
    core = SimpleNamespace(index=2, sram=np.arange(64, dtype=np.uint8), code=code)
    return SimpleNamespace(
        tensors={t.name: t for t in TENSORS},
        program=SimpleNamespace(tensors=TENSORS),
        chip=SimpleNamespace(by_index=[None, None, core]),
        dram=np.arange(256, dtype=np.uint8),
    )


def the_core() -> Any:
    return system().chip.by_index[2]


def test_numbers_are_written_in_any_base() -> None:
    assert [integer(word, "a size") for word in ("12", "0x20", "-3", "0b11")] == [12, 32, -3, 3]
    with pytest.raises(DebugError, match="a size must be a number, not 'big'"):
        integer("big", "a size")


def test_tensors_by_the_end_of_their_name() -> None:
    assert tensor(system(), "fc1.weight") is TENSORS[0]
    assert tensor(system(), "2.weight") is TENSORS[1]
    assert tensor(system(), "weight") is None  # of two
    assert tensor(system(), "none") is None


@pytest.mark.parametrize(
    ("name", "pc", "found"),
    [
        ("x", 0, 0), ("task.x", 7, 0), ("x", 8, 1), ("x", 19, 1), ("acc", 4, 2), ("acc", 900, 2),
        ("acc", 0, 2), ("task.x", 20, 0),  # lives no more: the first of that name
        ("x", 20, None), ("y", 0, None), ("cc", 5, None),
    ],
)  # fmt: skip
def test_buffers_by_name_and_place(name: str, pc: int, found: int | None) -> None:
    assert buffer(the_core(), name, pc) is (None if found is None else BUFFERS[found])


def test_bytes_of_memories() -> None:
    assert list(memory(system(), "dram", -1, 250, 6)) == [250, 251, 252, 253, 254, 255]
    assert list(memory(system(), "sram", 2, 62, 2)) == [62, 63]
    for start, size in ((-1, 2), (0, 0), (255, 2)):
        with pytest.raises(DebugError, match=r"is outside 0\.\.0xff"):
            memory(system(), "dram", -1, start, size)


def test_bytes_as_numbers() -> None:
    raw = np.array([0x00, 0x3C, 0x00, 0xC0, 0x05], np.uint8)
    assert list(as_type(raw, "f16")) == [1.0, -2.0]  # what is left of a number is not shown
    assert list(as_type(raw[:4], "i32")) == [-0x3FFFC400]
    assert list(as_type(raw[4:], "u8")) == [5]
    assert list(as_type(raw[4:], "bit")) == [1, 0, 1, 0, 0, 0, 0, 0]
    with pytest.raises(DebugError, match="types are f16, f32, u8, i32, bit"):
        as_type(raw, "f64")


@pytest.mark.parametrize(
    ("pc", "space", "start", "end", "said"),
    [
        (0, "dram", 0x40, 0x58, "fc1.weight"),
        (0, "dram", 0x48, 0x5C, "fc1.weight+0x8, fc2.weight"),
        (0, "dram", 0x57, 0x58, "fc1.weight+0x17"),
        (0, "dram", 0x60, 0x80, ""),
        (0, "dram", 0x7F, 0x81, "bias"),
        (0, "dram", 0x20, 0x24, ""),
        (0, "sram", 0x00, 0x04, "task.x (fc1.weight)"),
        (5, "sram", 0x08, 0x14, "task.x (fc1.weight)+0x8, acc"),
        (9, "sram", 0x08, 0x14, "task.x, acc"),
        (9, "sram", 0x18, 0x19, "task.x+0x8, acc+0x8"),
        (30, "sram", 0x00, 0x10, ""),
        (30, "sram", 0x22, 0x24, "acc+0x12, state+0x2"),  # of this core, not of core 5
    ],
)
def test_names_of_what_lies_there(pc: int, space: str, start: int, end: int, said: str) -> None:
    assert names(system(), the_core(), pc, space, start, end) == said


def test_buffers_are_listed_with_their_lives() -> None:
    every = list(buffers(the_core(), ""))
    assert [line.split() for line in every] == [
        ["task.x", "0x0..0xf", "code", "00000000..00000080", "of", "fc1.weight"],
        ["task.x", "0x10..0x1f", "code", "00000080..00000140"],
        ["acc", "0x10..0x27", "code", "00000040..end"],
    ]
    assert list(buffers(the_core(), "weight")) == every[:1]
    assert list(buffers(the_core(), "acc")) == every[2:]


def test_places_that_somebody_writes() -> None:
    assert space_of(system(), ["dram", "0x40", "8"]) == ("dram", -1, ["0x40", "8"])
    assert space_of(system(), ["core", "2", "4"]) == ("sram", 2, ["4"])
    for words in ([], ["core"], ["sram", "2"]):
        with pytest.raises(DebugError, match="say `dram ADDRESS"):
            space_of(system(), words)
    assert a_core(system(), "0x2").index == 2
    for word in ("0", "3", "-1"):
        with pytest.raises(DebugError, match="has no program"):
            a_core(system(), word)
