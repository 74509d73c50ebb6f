"""Footprints: exactly the bytes that an instruction reads and writes, and the traps they cause."""

import random

import numpy as np
import pytest

from snncc.isa.microprograms.code import MicroBuilder
from snncc.isa.microprograms.table import MicroProgram
from snncc.isasim.engines import (
    MNEMONICS,
    Region,
    Resolved,
    Trap,
    check,
    footprint,
    overlapping,
    prepare,
    select_engine,
)
from unit.isasim.engine_cases import Memory, random_case
from unit.isasim.programs import Asm, run_code


def covered(regions: list[Region], size: int) -> np.ndarray:
    out = np.zeros(size, np.bool_)
    for region in regions:
        for low, high in region.intervals():
            out[low:high] = True
    return out


@pytest.mark.parametrize("mnemonic", sorted(MNEMONICS))
def test_nothing_outside_the_footprint_matters(mnemonic: str) -> None:
    """Changing other bytes changes no result, and only bytes of the footprint are written."""
    engine = select_engine("reference")
    for seed in range(25):
        op, memory = random_case(mnemonic, seed, limit=30)
        reads, writes = check(op, len(memory))
        read, written = covered(reads, len(memory)), covered(writes, len(memory))
        other = np.where(read, memory, memory ^ 0xFF).astype(np.uint8)
        after, other_after = memory.copy(), other.copy()
        engine.execute(op, after)
        engine.execute(op, other_after)
        assert (after[written] == other_after[written]).all()
        assert (after[~written] == memory[~written]).all()
        assert (other_after[~written] == other[~written]).all()


def random_region(r: random.Random) -> Region:
    counts = r.randint(1, 3), r.randint(-9, 9), r.randint(1, 3), r.randint(-9, 9)
    return Region("x", "sram", r.randint(60, 90), r.randint(1, 5), 1, *counts)


def test_regions_overlap_exactly_when_they_share_a_byte() -> None:
    r = random.Random(0)
    for _ in range(3000):
        a, b = random_region(r), random_region(r)
        share = covered([a], 200) & covered([b], 200)
        assert overlapping(a, b) == bool(share.any())
        every = [byte for start in a.starts().tolist() for byte in range(start, start + a.size)]
        assert a.self_overlapping() == (len(set(every)) < len(every))
        assert a.extent() == (min(every), max(every) + 1)
        assert not overlapping(a, a._replace(space="dram"))


MOVES = {
    "ld": (64, 8, 2, 3, 4, 20, 5, 40, 10),
    "st": (8, 64, 2, 3, 4, 20, 5, 40, 10),
    "copy": (64, 0, 2, 3, 4, 20, 5, 12, 4),
    "fill": (64, -8, 3, 6, 0x3C00),
    "send": (1, 7, 32, 10),
    "mcast": (3, 7, 32, 10),
    "recv": (1, 7, 32, 10),
    "recvadd": (1, 7, 32, 5),
}


SPACES: dict[str, tuple[list[str], list[str]]] = {
    "ld": (["dram"], ["sram"]),
    "st": (["sram"], ["dram"]),
    "copy": (["sram"], ["sram"]),
    "fill": ([], ["sram"]),
    "send": (["sram"], []),
    "mcast": (["sram"], []),
    "recv": ([], ["sram"]),
    "recvadd": (["sram"], ["sram"]),
}


def test_footprints_of_moves() -> None:
    for mnemonic, values in MOVES.items():
        reads, writes = footprint(Resolved(mnemonic, values))
        spaces = [r.space for r in reads], [w.space for w in writes]
        assert spaces == SPACES[mnemonic], mnemonic
    _, (region,) = footprint(Resolved("ld", MOVES["ld"]))
    assert region.starts().tolist() == [64, 69, 74, 84, 89, 94]
    _, (region,) = footprint(Resolved("fill", MOVES["fill"]))
    assert region.extent() == (48, 70)
    assert footprint(Resolved("halt", ())) == ([], [])


@pytest.mark.parametrize(
    ("mnemonic", "values", "kind", "words"),
    [
        ("ld", (0, 90, 1, 1, 20, 0, 0, 0, 0), "bounds", "src covers bytes 90..109 of dram"),
        ("st", (0, 90, 1, 1, 20, 0, 0, 0, 0), "bounds", "src covers bytes 90..109 of sram"),
        ("copy", (0, 2, 1, 1, 4, 0, 0, 0, 0), "overlap", "overlap"),
        ("fill", (0, 0, 1, 3, 0), "operand", "not a multiple of 2"),
        ("fill", (1, 0, 1, 2, 0), "alignment", "aligned to 2 bytes"),
        ("fill", (0, 0, -1, 2, 0), "operand", "n0 is -1"),
        ("recvadd", (0, 0, 2, 1), "alignment", "aligned to 4 bytes"),
        ("gouter", (0, 4, 0, 2, 0, 2, 1, 1, 1, 2), "operand", "init 2"),
        ("gacc", (0, 4, 0, 2, 0, 2, 1, 1, 1, 0, 3), "operand", "init 3"),
        ("rowred", (0, 2, 0, 2, 1, 1, 3, 0), "operand", "type 3"),
        ("rowred", (0, 2, 0, 2, 1, 1, 0, 3), "operand", "op 3"),
        ("colsum", (0, 0, 2, 1, 1, 0, 2), "operand", "init 2"),
        ("colsum", (0, 0, 2, -1, 1, 0, 1), "operand", "rows is -1"),
        ("mac", (0, 4, 0, 2, 0, 2, 1, 1, 1, 0, 1, 2, 0), "operand", "skip is 2"),
        ("neuron", (5, 1, 1, 1, 0), "microprogram", "@5"),
    ],
)
def test_traps(mnemonic: str, values: tuple[int, ...], kind: str, words: str) -> None:
    with pytest.raises(Trap, match=words) as caught:
        check(Resolved(mnemonic, values), 100, 100)
    assert caught.value.kind == kind


def test_zero_sizes_touch_nothing() -> None:
    far: Memory = np.zeros(16, np.uint8)
    for values in (
        (1 << 40, 4, 1 << 40, 3, 5, 2, 0, 3, 3, 7, 2),
        (3, 3, 3, 3, 3, 3, 5, 3, 0, 3, 0),
    ):
        assert footprint(Resolved("gacc", values)) == ([], [])
        select_engine("reference").execute(Resolved("gacc", values), far)
    reads, writes = footprint(Resolved("gacc", (0, 8, 1 << 40, 3, 1 << 40, 2, 2, 0, 2, 4, 1)))
    assert reads == []
    assert [w.extent() for w in writes] == [(0, 16)]


def test_a_bad_microprogram_is_a_trap() -> None:
    good = MicroBuilder("good")
    good.emit("st.h", (good.emit("ld.h", (), 3),), 1)
    program = good.build()
    assert prepare(program).streams == (1, 3)
    bad = MicroProgram("bad", program.code[1:])
    with pytest.raises(Trap, match=r"bad\[0\]") as caught:
        prepare(bad)
    assert caught.value.kind == "microprogram"
    short = Resolved("ew", (0, 1, 1, 1, 0), ((0, 0, 0),), prepare(program))
    with pytest.raises(Trap, match="1 descriptors"):
        footprint(short)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (-1, "send: there is no core -1; cores are 0..3"),
        (4, "send: there is no core 4; cores are 0..3"),
        (3, "send: core 3 has no program in this object file"),
    ],
)
def test_messages_to_nobody(target: int, words: str) -> None:
    asm = Asm()
    asm.send(target, 0, 0, 16)
    _, result = run_code(asm.done())
    assert result.fault is not None
    assert (result.fault.kind, result.fault.message) == ("core", words)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (1 << 4 | 2, "mcast: mask 0x12 names cores beyond 3"),
        (2, "mcast: core 1 has no program in this object file"),
    ],
)
def test_messages_to_many_that_are_not_there(mask: int, words: str) -> None:
    asm = Asm()
    asm.mcast(mask, 0, 0, 16)
    _, result = run_code(asm.done())
    assert result.fault is not None
    assert (result.fault.kind, result.fault.message) == ("core", words)
