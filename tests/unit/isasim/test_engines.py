"""Both engines write the same bits and report the same activity, whatever the instruction."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.microprograms.code import MicroBuilder
from snncc.isasim.engines import (
    FP32,
    MNEMONICS,
    EngineNumerics,
    Resolved,
    Trap,
    prepare,
    select_engine,
)
from snncc.isasim.engines.footprint.checks import KEEP, check
from snncc.isasim.engines.kernels.code_store import CodeStore
from unit.isasim.engine_cases import (
    DENSITIES,
    Maker,
    Memory,
    make_lanes,
    make_mac,
    make_outer,
    random_case,
    random_program,
)

HALF = EngineNumerics(accumulator="fp16")
SATURATE = EngineNumerics(saturate=True)
SEED = int(os.environ.get("SNNCC_FUZZ_SEED", "0"))


def agree(op: Resolved, memory: Memory, numerics: EngineNumerics = FP32) -> Memory:
    """Run both engines on copies; return the memory after."""
    fast, reference = memory.copy(), memory.copy()
    activity = select_engine("fast", numerics).execute(op, fast)
    expected = select_engine("reference", numerics).execute(op, reference)
    wrong = np.flatnonzero(fast != reference)
    text = f"{op.mnemonic} {op.values} {op.streams} {op.micro.code if op.micro else ''}"
    assert not wrong.size, f"{text}: {wrong.size} bytes differ, first {wrong[:8]}"
    assert activity == expected, text
    return fast


def trap_of(engine: str, op: Resolved, memory: Memory) -> str:
    """Execute an instruction; return the kind of its trap, or nothing."""
    try:
        select_engine(engine).execute(op, memory)
    except Trap as trap:
        return trap.kind
    return ""


@pytest.mark.parametrize("numerics", [FP32, HALF, SATURATE], ids=["fp32", "fp16", "saturate"])
@pytest.mark.parametrize("mnemonic", sorted(MNEMONICS))
def test_random_instructions(mnemonic: str, numerics: EngineNumerics) -> None:
    for seed in range(SEED, SEED + 60):
        op, memory = random_case(mnemonic, seed)
        agree(op, memory, numerics)


@pytest.mark.parametrize("mnemonic", ["gacc", "mac", "bmac", "gouter", "outer", "gaccw", "macw"])
def test_half_accumulators_that_start_from_no_binary16_value(mnemonic: str) -> None:
    """Words below 2^-25, where a term of 0 already rounds (ADR 0001, N2.5)."""
    place = [f.name for f in BY_MNEMONIC[mnemonic].operands].index("init")
    for seed in range(SEED, SEED + 40):
        op, memory = random_case(mnemonic, seed)
        op = op._replace(values=(*op.values[:place], KEEP, *op.values[place + 1 :]))
        numbers = np.random.default_rng(seed)
        for region in check(op, memory.size)[1]:
            for at in region.starts():
                size = region.size // 4
                tiny = numbers.choice([-1, 1], size) * 2.0 ** numbers.integers(-40, -20, size)
                memory[at : at + region.size] = tiny.astype(np.float32).view(np.uint8)
        agree(op, memory, HALF)


@pytest.mark.parametrize(
    ("start", "a", "skip", "wanted"),
    [
        (-(2.0**-30), 0.0, 0, 0x80000000),  # RN16(-2^-30 + 0) = -0
        (-(2.0**-30), 0.0, 1, 0xB0800000),  # no term: the word as it was
        (2.0**-30, 0.0, 0, 0x00000000),
        (-0.0, 0.0, 1, 0x00000000),  # loading adds to +0
        (1.5 * 2.0**-24, 0.0, 0, 0x34000000),  # a tie between 1 and 2 times 2^-24: the even one
        (1 + 2.0**-12, 1.0, 0, 0x40000000),  # RN16(2 + 2^-12) = 2
    ],
)
def test_half_accumulators_by_hand(start: float, a: float, skip: int, wanted: int) -> None:
    """acc at 0, a at 8, w (1.0) at 16: one row, one term, one output, init=keep."""
    memory = np.zeros(64, np.uint8)
    memory[0:4] = np.frombuffer(np.float32(start).tobytes(), np.uint8)
    memory[8:10] = np.frombuffer(np.float16(a).tobytes(), np.uint8)
    memory[16:18] = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    op = Resolved("mac", (0, 4, 8, 2, 16, 2, 1, 1, 1, 0, KEEP, skip, 0))
    after = agree(op, memory, HALF)
    assert int(after[0:4].view(np.uint32)[0]) == wanted


@pytest.mark.parametrize("numerics", [FP32, SATURATE], ids=["fp32", "saturate"])
def test_compiled_lane_programs(numerics: EngineNumerics, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is used a lot becomes one loop; here every program does at once."""
    fast_lanes = importlib.import_module("snncc.isasim.engines.fast.lanes")
    monkeypatch.setattr(fast_lanes, "FUSE_AFTER", 0)
    monkeypatch.setattr(fast_lanes, "FUSE_FROM", 1)
    lane_fused = importlib.import_module("snncc.isasim.engines.kernels.lane_fused")
    monkeypatch.setattr(lane_fused, "STORE", CodeStore(None, print))
    for seed in range(SEED, SEED + 60):
        op, memory = random_case("ew", seed)
        agree(op, memory, numerics)
    m = Maker(9)
    program = random_program(m.random, 12)
    agree(make_lanes(m, program, 3, 40, 1000), m.memory(), numerics)
    agree(make_lanes(m, program, 2, 1, 70001), m.memory(), numerics)


def test_compiled_lane_programs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process compiled another one loads; a damaged file is as none."""
    fast_lanes = importlib.import_module("snncc.isasim.engines.fast.lanes")
    lane_fused = importlib.import_module("snncc.isasim.engines.kernels.lane_fused")
    monkeypatch.setattr(lane_fused, "STORE", CodeStore(tmp_path, print))
    m = Maker(9)
    b = MicroBuilder("double")
    x, y = b.emit("ld.h", (), 0), b.emit("ld.row.h", (), 1)
    b.emit("st.h", (b.emit("add.h", (b.emit("mul.h", (x, y)), x)),), 2)
    program = b.build()
    assert lane_fused.kept(prepare(program), False) is None
    assert lane_fused.fuse(prepare(program), False) is not None
    kept = list(tmp_path.iterdir())
    assert [file.suffix for file in kept] == [".code"]
    assert lane_fused.kept(prepare(program), False) is not None
    assert lane_fused.kept(prepare(program), True) is None
    monkeypatch.setattr(fast_lanes, "LOAD_FROM", 1)
    monkeypatch.setattr(fast_lanes, "fuse", None)  # nothing is compiled again
    for columns in (16, 1008):
        agree(make_lanes(m, prepare(program), 3, 40, columns), m.memory(), FP32)
    kept[0].write_bytes(kept[0].read_bytes()[:-1])
    assert lane_fused.kept(prepare(program), False) is None


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("mnemonic", ["gacc", "mac", "bmac", "gouter", "outer"])
def test_reductions_longer_than_a_block(mnemonic: str, density: float) -> None:
    m = Maker(7)
    if mnemonic in ("gouter", "outer"):
        op = make_outer(m, mnemonic, 4200, 70, 20, density)
    else:
        op = make_mac(m, mnemonic, 9, 4200, 150, density)
    agree(op, m.memory())


@pytest.mark.parametrize("mnemonic", ["gacc", "gouter"])
def test_more_rows_than_a_list_holds(mnemonic: str) -> None:
    m = Maker(8)
    make = make_mac if mnemonic == "gacc" else make_outer
    sizes = (1100, 30, 5) if mnemonic == "gacc" else (30, 1100, 5)
    op = make(m, mnemonic, *sizes, 0.2)
    agree(op, m.memory())


def test_long_lane_runs() -> None:
    for seed in range(6):
        m = Maker(seed, special=0.01)
        program = random_program(m.random, 12)
        shape = ((3, 70, 1000), (4, 1, 40000), (2, 4000, 10))[seed % 3]
        agree(make_lanes(m, program, *shape), m.memory())


@pytest.mark.parametrize("mnemonic", sorted(MNEMONICS))
def test_zero_sizes(mnemonic: str) -> None:
    for seed in range(12):
        op, memory = random_case(mnemonic, seed)
        operands = [f.name for f in BY_MNEMONIC[mnemonic].operands]
        sizes = ("steps", "rows", "cols", "k", "n", "images")
        names = [i for i, name in enumerate(operands) if name in sizes]
        values = list(op.values)
        values[names[seed % len(names)]] = 0
        if seed > 6:
            values[names[(seed + 1) % len(names)]] = 0
        agree(op._replace(values=tuple(values)), memory)


@pytest.mark.parametrize("mnemonic", sorted(MNEMONICS))
def test_overlapping_operands_have_one_meaning(mnemonic: str) -> None:
    """Operands are read before anything is written, rows are written in ascending order."""
    for seed in range(40):
        op, memory = random_case(mnemonic, seed, limit=24)
        r = Maker(seed + 1000).random
        if op.micro:
            streams = list(op.streams)
            for _ in range(2):
                i, j = r.randrange(len(streams)), r.randrange(len(streams))
                base, step, row = streams[j]
                stride = r.choice((row, streams[i][2]))
                streams[i] = (base + r.choice((0, 0, 4, 16)), r.choice((step, 0)), stride)
            op = op._replace(streams=tuple(streams))
        else:
            values = list(op.values)
            addresses = [0, 2, 4] if mnemonic not in ("rowred", "colsum") else [0, 1]
            values[r.choice(addresses)] = values[r.choice(addresses)] // 4 * 4
            if r.random() < 0.5 and mnemonic != "colsum":
                values[1] = r.choice((0, 4, -4, 8))
            op = op._replace(values=tuple(values))
        try:
            agree(op, memory)
        except Trap:
            continue


def test_carried_state_may_swap() -> None:
    b = MicroBuilder("swap")
    one, two = b.emit("state.h", (), 0), b.emit("state.h", (), 1)
    three = b.emit("state.m", (), 2)
    flipped = b.emit("not", (three,))
    total = b.emit("add.h", (one, two))
    b.emit("next", (one, two))
    b.emit("next", (two, one))
    b.emit("next", (three, flipped))
    b.emit("st.h", (total,), 3)
    for steps in (1, 2, 3):
        m = Maker(3)
        agree(make_lanes(m, prepare(b.build()), steps, 5, 40), m.memory())


def test_a_load_after_a_store_sees_the_old_value() -> None:
    b = MicroBuilder("late load")
    x = b.emit("ld.h", (), 0)
    b.emit("st.h", (b.emit("neg.h", (x,)),), 1)
    b.emit("st.h", (b.emit("ld.h", (), 2),), 3)
    memory = Maker(1).halves(1, 40)[0]
    streams = ((0, 0, 0), (0, 0, 0), (0, 0, 0), (40, 0, 0))
    op = Resolved("ew", (0, 1, 1, 20, 0), streams, prepare(b.build()))
    after = agree(op, memory)
    assert (after[40:] == memory[:40]).all()


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("mnemonic", sorted(MNEMONICS))
def test_traps_change_nothing(mnemonic: str, engine: str) -> None:
    traps = 0
    for seed in range(40):
        op, memory = random_case(mnemonic, seed, limit=30)
        r = Maker(seed).random
        values, streams = list(op.values), list(op.streams)
        if op.micro and r.random() < 0.7:
            i = r.randrange(len(streams))
            base, step, row = streams[i]
            bad = ((base + 1, step, row), (len(memory), step, row), (base, step, 1 << 40))
            streams[i] = r.choice((*bad, (-2, step, row)))
        else:
            i = r.randrange(1 if op.micro else 0, 4 if op.micro else len(values))
            values[i] = r.choice((-1, -5, 1 << 30, 3 + values[i]))
        before = memory.copy()
        if kind := trap_of(
            engine, op._replace(values=tuple(values), streams=tuple(streams)), memory
        ):
            traps += 1
            assert kind in ("bounds", "alignment", "operand", "overlap")
            assert (memory == before).all()
    assert traps > 10


def test_the_order_of_terms_is_ascending() -> None:
    a = np.array([4096, 1, -4096], np.float16)
    w = np.array([4096, 1, 4096], np.float16)
    for width in (1, 10, 16, 130):
        memory = np.zeros(4096, np.uint8)
        memory[:6] = a.view(np.uint8)
        memory[6 : 6 + 6 * width] = np.repeat(w, width).view(np.uint8)
        acc = 2048
        for skip in (0, 1):
            values = (acc, 0, 0, 0, 6, 2 * width, 1, 3, width, 0, 1, skip, 0)
            out = agree(Resolved("mac", values), memory)[acc : acc + 4 * width].view(np.float32)
            assert (out == 0).all()  # descending order would give 1


def test_gated_sums_are_rounded_one_at_a_time() -> None:
    """2**24 is a binary32 number, 2**24 + 1 is not."""
    for terms, expected in (((-1, 1, 1), 2.0**24), ((1, 1, -1), 2.0**24 - 1), ((1,) * 16, 2.0**24)):
        memory = np.zeros(256, np.uint8)
        memory[:2] = 0xFF
        memory[2 : 2 + 2 * len(terms)] = np.array(terms, np.float16).view(np.uint8)
        memory[64:68] = np.array([2.0**24], np.float32).view(np.uint8)
        op = Resolved("gacc", (64, 4, 0, 2, 2, 2, 1, len(terms), 1, 0, 0))
        assert agree(op, memory)[64:68].view(np.float32)[0] == expected
        turned = Resolved("gouter", (64, 4, 0, 0, 2, 2, len(terms), 1, 1, 0))
        assert agree(turned, memory)[64:68].view(np.float32)[0] == expected


def test_the_fast_engine_falls_back_with_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snncc.isasim.engines.kernels.kernel_cache", None)
    monkeypatch.delattr("snncc.isasim.engines.kernels.kernel_cache", raising=False)
    told: list[str] = []
    assert select_engine("fast", notice=told.append).name == "reference"
    assert len(told) == 1
    assert "not available" in told[0]


def test_unknown_engine() -> None:
    with pytest.raises(ValueError, match="known: fast, reference"):
        select_engine("quick")


def test_importing_the_engines_does_not_import_numba() -> None:
    code = "import sys, snncc.isasim.engines; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_integer_conversions_where_the_cpu_has_none() -> None:
    """The whole file again with binary16 conversions made of integer operations."""
    if os.environ.get("SNNCC_NO_F16C"):
        pytest.skip("this is the run without them")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    env = {**os.environ, "SNNCC_NO_F16C": "1"}
    here = Path(__file__)
    done = subprocess.run(
        [*command, str(here)], env=env, cwd=here.parents[3], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]
