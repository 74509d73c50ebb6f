"""The cost model against calculations by hand and against published numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.isa.cost.array import expected_blocks
from snncc.isa.cost.cost import (
    COSTS,
    DENSE,
    CostActivity,
    InstructionCost,
    cost,
    dram_runs,
    fetch_cost,
    static_pj,
)
from snncc.isa.instructions.table import TABLE
from snncc.isa.machine.machine import Machine, load_machine
from snncc.isa.microprograms.text import parse_micro
from snncc.isa.spec import ELEMENT, INIT, REDUCTION
from snncc.isa.window import Window

CHIP = load_machine("multicore20")
KEEP, ZERO, BIAS = (INIT.words.index(word) for word in ("keep", "zero", "bias"))
SRAM = 2.89634375  # pJ/byte of the scratchpad
ADD, MUL, MUX, REG = 0.548, 0.812, 0.03425, 0.002538


def mac(rows: int, k: int, n: int, init: int = ZERO, **more: int) -> dict[str, int]:
    return {"rows": rows, "k": k, "n": n, "init": init, **more}


def test_every_instruction_has_a_formula() -> None:
    assert set(COSTS) == {row.mnemonic for row in TABLE}


# --- published numbers ---------------------------------------------------------------------------
# Fragments of the NeuroMC cost model: a layer at one sample and time step.  Binary16 accumulators,
# buffers that hold a whole fragment's partial sums; compute + registers + buffers without the
# scratchpad, which that model leaves out.

PAPER = CHIP.with_(accumulator="fp16", fp_acc_buffer_bytes=1 << 20, bp_acc_buffer_bytes=1 << 20)
SOMA = MUX + ADD + MUL + 3 * 0.056  # per neuron, part of the forward fragments' compute
GRAD = MUX + 2 * ADD + 4 * MUL


def memory(found: InstructionCost) -> float:
    return found.register_pj + found.buffer_pj


def test_forward_512_to_2048_at_7x7() -> None:
    found = cost("gacc", mac(49, 512, 2048), PAPER)
    assert found.compute_pj + 49 * 2048 * SOMA == pytest.approx(30_072_910.34, rel=1e-9)
    assert memory(found) == pytest.approx(50_350_418.15, rel=1e-5)
    assert found.cycles == 49 * 32 * 128
    assert found.macs_dense == found.macs_performed == 49 * 512 * 2048


def test_backward_64_to_64_at_56x56() -> None:
    found = cost("bmac", mac(56 * 56, 64, 64, masked=0), PAPER)
    assert found.compute_pj + 56 * 56 * 64 * GRAD == pytest.approx(18_348_008.45, rel=1e-9)
    assert memory(found) == pytest.approx(15_435_188.67, rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "k", "n", "total"),
    [(28 * 28, 128, 512, 58_912_553.05), (56 * 56, 256, 512, 469_215_405.25)],
)
def test_weight_gradients(rows: int, k: int, n: int, total: float) -> None:
    found = cost("gouter", mac(rows, k, n), PAPER)
    assert found.compute_pj + memory(found) == pytest.approx(total, rel=1e-5)


# --- calculations by hand ------------------------------------------------------------------------


def test_gacc_dense_by_hand() -> None:
    found = cost("gacc", mac(4, 32, 16, BIAS), CHIP)
    terms = 4 * 32 * 16
    # a: 4 rows of 4 bytes; w: 32*16*2; bias: 32 -> 1072 bytes at 32 per cycle, slower than 8 steps
    assert found.sram_read_bytes == 16 + 1024 + 32
    assert found.cycles == 34
    assert found.sram_write_bytes == 4 * 16 * 4
    assert found.sram_pj == pytest.approx((1072 + 256) * SRAM)
    assert found.compute_pj == pytest.approx(terms * (ADD + MUX))
    # updates: 64 outputs, twice; the second reads the first
    assert found.buffer_pj == pytest.approx(
        128 * 1 * 0.4485 + 512 * 5.3025 + (128 + 64) * 2 * 5.7927
    )
    bits = 2 * terms + 2 * 512 * 16 + (3 * terms - 64 + 64) * 32
    assert found.register_pj == pytest.approx(bits * REG)
    assert found.latency == 16


def test_gacc_skips_blocks_without_spikes() -> None:
    operands = mac(64, 160, 32)
    terms = 64 * 160 * 32
    some = CostActivity(active=3 * 32, blocks=2)  # three spikes in two blocks of one row
    found = cost("gacc", operands, CHIP, some)
    assert found.macs_performed == 96
    assert found.macs_dense == terms
    steps = 2 * 2
    slots = terms * steps // (64 * 10 * 2)
    assert found.compute_pj == pytest.approx(96 * ADD + slots * MUX)
    assert found.cycles == (64 * 20 + 160 * 32 * 2) // 32  # bytes through the port
    wide = CHIP.with_(scratchpad_port_bytes=4096, scratchpad_acc_port_bytes=4096)
    assert cost("gacc", operands, wide).cycles == 64 * 10 * 2
    assert cost("gacc", operands, wide, CostActivity(active=5000 * 32, blocks=600)).cycles == 1200
    silent = cost("gacc", operands, CHIP, CostActivity(active=0, blocks=0))
    assert silent.compute_pj == 0
    assert silent.macs_performed == 0


@pytest.mark.parametrize(("skip", "steps"), [("none", 1280), ("block", 2 * 500), ("compact", 126)])
def test_what_skipping_saves(skip: str, steps: int) -> None:
    machine = CHIP.with_(fp_skip=skip, scratchpad_port_bytes=4096, scratchpad_acc_port_bytes=4096)
    activity = CostActivity(active=1001 * 32, blocks=500)
    found = cost("gacc", mac(64, 160, 32), machine, activity)
    assert found.cycles == steps
    assert found.macs_performed == 1001 * 32


def test_mac_multiplies_and_muxes_only_what_is_inactive() -> None:
    dense = cost("mac", mac(8, 16, 16, skip=0, trans=0), CHIP)
    assert dense.compute_pj == pytest.approx(2048 * (ADD + MUL))
    assert dense.sram_read_bytes == 8 * 32 + 512
    half = cost("mac", mac(8, 16, 16, skip=1, trans=0), CHIP, CostActivity(active=1024, blocks=8))
    assert half.compute_pj == pytest.approx(1024 * (ADD + MUL) + 1024 * MUX)


def test_masked_outputs_are_not_computed() -> None:
    operands = mac(64, 64, 64, masked=1)
    wide = CHIP.with_(scratchpad_port_bytes=4096, scratchpad_acc_port_bytes=4096)
    activity = CostActivity(active=10 * 64, blocks=64 * 4, outputs=10, out_blocks=5)
    found = cost("bmac", operands, wide, activity)
    assert found.cycles == max(4 * 5, 64 * 64 * 4 // 4096)
    assert found.macs_performed == 640
    mask = (
        cost("bmac", operands, CHIP).sram_read_bytes
        - cost("bmac", {**operands, "masked": 0}, CHIP).sram_read_bytes
    )
    assert mask == 64 * 8


def test_accumulators_that_are_kept_are_read() -> None:
    for name, count in (("gacc", 4 * 32), ("gouter", 16 * 32)):
        kept = cost(name, mac(4, 16, 32, KEEP), CHIP)
        fresh = cost(name, mac(4, 16, 32, ZERO), CHIP)
        assert kept.sram_read_bytes - fresh.sram_read_bytes == 4 * count
        assert kept.sram_write_bytes == fresh.sram_write_bytes == 4 * count


def test_partial_sums_beyond_the_buffer_live_in_the_scratchpad() -> None:
    fits, spills = mac(128, 32, 16), mac(129, 32, 16)
    inside, outside = cost("gacc", fits, CHIP), cost("gacc", spills, CHIP)
    assert inside.sram_write_bytes == 128 * 16 * 4
    assert outside.sram_write_bytes == 129 * 16 * 4 * (1 + 2)  # both chunks are written
    assert outside.sram_read_bytes == 129 * 4 + 1024 + 129 * 16 * 4
    assert outside.buffer_pj < inside.buffer_pj


def test_inputs_beyond_the_buffer_are_read_once_per_output_block() -> None:
    fits = cost("gacc", mac(144, 128, 64), CHIP)  # 144*128 bits = 2304 of 2312 bytes
    more = cost("gacc", mac(145, 128, 64), CHIP.with_(fp_acc_buffer_bytes=1 << 20))
    assert fits.sram_read_bytes - (144 * 64 * 4 * 7 if 144 > 128 else 0) == 144 * 16 + 128 * 128
    assert more.sram_read_bytes == 145 * 16 * 4 + 128 * 128


def test_gouter_by_hand() -> None:
    found = cost("gouter", mac(10, 20, 24), CHIP)
    terms = 10 * 20 * 24
    assert found.macs_dense == terms
    assert found.sram_read_bytes == 10 * 4 + 10 * 48
    assert found.sram_write_bytes == 20 * 24 * 4
    assert found.cycles == max(10 * 2 * 2, 520 // 32 + 1, 1920 // 64)
    assert found.compute_pj == pytest.approx(terms * (ADD + MUX))
    reads = terms / 16
    assert found.buffer_pj == pytest.approx(reads * 0.4485 + reads * 5.7927 + 20 * 24 * 2 * 5.3025)
    bits = 2 * terms * (1 + 16) + 2 * terms * 32
    assert found.register_pj == pytest.approx(bits * REG)


LIF = parse_micro(
    """.micro lif
    v = state.h s1
    x = ld.acc s0
    b = const.h 0.9
    t = mul.h b, v
    h = add.h t, x
    m = gt h, b
    r = sel.h m, b, h
    next v, r
    st.m s2, m
    .end""".splitlines()
)


def test_neuron_by_hand() -> None:
    found = cost("neuron", {"steps": 5, "rows": 8, "cols": 40}, CHIP, DENSE, LIF)
    elements = 5 * 8 * 40
    assert found.compute_pj == pytest.approx(elements * (MUL + ADD + 0.056 + MUX))
    bits = 3 * 16 + 3 * 16 + (16 + 16 + 1) + (1 + 16 + 16 + 16)
    assert found.register_pj == pytest.approx(elements * bits * REG)
    packed = 5 * 8 * 6
    assert found.sram_read_bytes == elements * (2 + 4)
    assert found.sram_write_bytes == elements * 2 + packed
    assert found.cycles == max(
        5 * 8 * 3,  # 40 columns on 16 lanes, one cycle for 4 operations
        -(-(elements * 2 + packed) // 32),
        elements * 4 // 64,
    )
    slow = CHIP.with_(**{"fp.stage.ops_per_cycle": 1})
    assert cost("neuron", {"steps": 5, "rows": 8, "cols": 40}, slow, DENSE, LIF).cycles == 480


def test_microprograms_with_slow_operations_and_rows() -> None:
    program = parse_micro(
        """.micro adam
        g = ld.f s0
        c = ld.row.h s1
        q = sqrt.f g
        d = div.f g, q
        e = mul.f d, c
        r = rand s2
        o = srnd e, r
        st.h s3, o
        .end""".splitlines()
    )
    found = cost("ew", {"steps": 1, "rows": 4, "cols": 16}, CHIP, DENSE, program)
    assert found.cycles == 4 * (1 + 2 * 4)
    energies = CHIP.energy
    per = energies.sqrt_f32 + energies.div_f32 + energies.mul_f32 + energies.random
    assert found.compute_pj == pytest.approx(64 * (per + energies.add_f32))
    assert found.sram_read_bytes == 64 * 4 + 4 * 2
    assert found.sram_write_bytes == 64 * 2
    with pytest.raises(ValueError, match="needs its microprogram"):
        cost("ew", {"steps": 1, "rows": 1, "cols": 1}, CHIP)


def test_reductions_by_hand() -> None:
    operands = {"rows": 20, "n": 10, "type": ELEMENT.words.index("f16")}
    total = cost("rowred", {**operands, "op": REDUCTION.words.index("sum")}, CHIP)
    assert total.cycles == 2 * 10  # a lane per row: 16 rows, then 4
    tall = cost("rowred", {**operands, "rows": 40, "op": REDUCTION.words.index("sum")}, CHIP)
    assert tall.cycles == 3 * 10  # a lane per column would need 40
    assert total.compute_pj == pytest.approx(200 * CHIP.energy.add_f32)
    assert (total.sram_read_bytes, total.sram_write_bytes) == (400, 40)
    greatest = cost("rowred", {**operands, "op": REDUCTION.words.index("max")}, CHIP)
    assert greatest.compute_pj == pytest.approx(200 * 0.056)
    wide = cost("rowred", {**operands, "op": REDUCTION.words.index("sum32")}, CHIP)
    assert wide.sram_write_bytes == 80
    bits = {"rows": 20, "n": 40, "type": ELEMENT.words.index("bit"), "init": KEEP}
    counted = cost("colsum", bits, CHIP, CostActivity(active=7))
    assert counted.compute_pj == pytest.approx(7 * CHIP.energy.add_f32)
    assert counted.cycles == 20 * 3
    assert (counted.sram_read_bytes, counted.sram_write_bytes) == (20 * 6 + 160, 160)


def transfer(n0: int, n1: int, size: int, stride0: int, stride1: int) -> dict[str, int]:
    strides = {"src0": stride0, "src1": stride1, "dst0": 0, "dst1": size}
    return {"n0": n0, "n1": n1, "bytes": size, **strides}


def test_dma_by_hand() -> None:
    found = cost("ld", transfer(1, 10, 20, 0, 64), CHIP)
    assert found.dram_read_bytes == 10 * 24  # bursts of 8 bytes
    assert found.sram_write_bytes == 200
    assert found.dram_pj == pytest.approx(240 * 8 * 20.3125)
    assert found.sram_pj == pytest.approx(200 * SRAM)
    assert found.cycles == 15
    assert found.latency == 70
    merged = cost("ld", transfer(1, 10, 20, 0, 20), CHIP)
    assert merged.dram_read_bytes == 200
    stored = cost("st", transfer(1, 10, 20, 0, 64), CHIP)
    assert (stored.dram_write_bytes, stored.sram_read_bytes) == (200, 200)
    assert stored.dram_bytes == 200
    many = cost("ld", transfer(1, 100, 2, 0, 64), CHIP)
    assert many.cycles == 100  # a row per cycle at best


@pytest.mark.parametrize(
    ("loops", "runs"),
    [
        ((2, 3, 10, 99, 50), (6, 10)),
        ((2, 3, 10, 99, 10), (2, 30)),
        ((2, 3, 10, 30, 10), (1, 60)),
        ((1, 3, 10, 99, 10), (1, 30)),
        ((4, 1, 10, 10, 99), (1, 40)),
        ((4, 1, 10, 12, 99), (4, 10)),
        ((0, 3, 10, 30, 10), (0, 0)),
    ],
)
def test_contiguous_rows_merge(
    loops: tuple[int, int, int, int, int], runs: tuple[int, int]
) -> None:
    assert dram_runs(*loops) == runs


def test_copy_and_fill() -> None:
    moved = cost("copy", transfer(2, 4, 100, 0, 0), CHIP)
    assert (moved.sram_read_bytes, moved.sram_write_bytes, moved.cycles) == (800, 800, 25)
    filled = cost("fill", {"n0": 4, "bytes": 100, "pattern": 0}, CHIP)
    assert (filled.sram_read_bytes, filled.sram_write_bytes, filled.cycles) == (0, 400, 13)


def test_messages_by_hand() -> None:
    sent = cost("send", {"core": 3, "tag": 0, "bytes": 100}, CHIP, CostActivity(hops=3))
    assert (sent.cycles, sent.latency, sent.noc_bytes, sent.sram_read_bytes) == (7, 6, 100, 100)
    assert sent.noc_pj == pytest.approx(7 * 16 * 8 * 3 * 0.1)
    token = cost("send", {"core": 3, "tag": 0, "bytes": 0}, CHIP, CostActivity(hops=1))
    assert (token.cycles, token.noc_bytes) == (1, 0)
    assert token.noc_pj == pytest.approx(16 * 8 * 0.1)
    tree = cost("mcast", {"mask": 0b1110, "tag": 0, "bytes": 16}, CHIP, CostActivity(hops=5))
    assert tree.noc_pj == pytest.approx(16 * 8 * 5 * 0.1)  # links, not receivers
    guess = cost("send", {"core": 3, "tag": 0, "bytes": 16}, CHIP)
    assert guess.noc_pj == pytest.approx(16 * 8 * CHIP.average_hops * 0.1)
    received = cost("recv", {"core": 0, "tag": 0, "bytes": 100}, CHIP)
    assert (received.cycles, received.sram_write_bytes, received.noc_pj) == (7, 100, 0)
    added = cost("recvadd", {"core": 0, "tag": 0, "count": 25}, CHIP)
    assert (added.sram_read_bytes, added.sram_write_bytes) == (100, 100)
    assert added.compute_pj == pytest.approx(25 * CHIP.energy.add_f32)


def test_sequencer_fetch_and_static_power() -> None:
    assert cost("addi", {"rd": 1, "ra": 2, "imm": 3}, CHIP) == InstructionCost(cycles=1)
    assert fetch_cost(CHIP).sram_pj == 16.0
    # one microsecond: 10 + 20*4 mW always, 2 mW for one core that runs half of the time
    expected = (90 + 2 * 0.5) * 1e-3 * 1e-6 * 1e12
    assert static_pj(CHIP, 500, 250) == pytest.approx(expected)


# --- properties ----------------------------------------------------------------------------------

sizes = st.integers(0, 70)


@given(sizes, sizes, sizes, st.sampled_from(["gacc", "mac", "bmac", "gouter", "outer"]), st.data())
def test_less_activity_never_costs_more(
    rows: int, k: int, n: int, name: str, data: st.DataObject
) -> None:
    operands = mac(rows, k, n, masked=0)
    terms = rows * k * n
    more = data.draw(st.integers(0, terms))
    less = data.draw(st.integers(0, more))
    skip = data.draw(st.sampled_from(["none", "block", "compact"]))
    machine = CHIP.with_(fp_skip=skip, bp_skip=skip, wg_skip=skip)
    high = cost(name, operands, machine, CostActivity(active=more))
    low = cost(name, operands, machine, CostActivity(active=less))
    assert low.cycles <= high.cycles <= cost(name, operands, machine).cycles
    assert low.total_pj <= high.total_pj <= cost(name, operands, machine).total_pj * (1 + 1e-9)
    assert low.macs_dense == high.macs_dense == terms
    assert (low.macs_performed, high.macs_performed) == (less, more)


@given(st.integers(1, 50), st.integers(1, 100), st.integers(1, 32), st.data())
def test_expected_blocks_lie_between_packed_and_all(
    rows: int, k: int, width: int, data: st.DataObject
) -> None:
    inputs = data.draw(st.integers(0, rows * k))
    blocks = expected_blocks(rows, k, width, inputs)
    assert -(-inputs // width) <= blocks <= rows * -(-k // width)


def test_the_expectation_is_that_of_independent_inputs() -> None:
    # 1000 rows of 3 blocks of 16, a tenth active: 3000 * (1 - 0.9**16)
    assert expected_blocks(1000, 48, 16, 4800) == round(3000 * (1 - 0.9**16))
    assert expected_blocks(0, 48, 16, 0) == 0


def test_costs_add_up() -> None:
    first = cost("ld", transfer(1, 10, 20, 0, 64), CHIP)
    second = cost("gacc", mac(4, 32, 16), CHIP)
    both = first + second
    assert both.total_pj == pytest.approx(first.total_pj + second.total_pj)
    assert sum(both.energy_pj.values()) == pytest.approx(both.total_pj)
    assert both.cycles == first.cycles + second.cycles
    assert (first + first).dram_read_bytes == first.times(2).dram_read_bytes


@pytest.mark.parametrize("machine", [CHIP, load_machine("small")], ids=lambda m: m.name)
def test_nothing_to_do_costs_next_to_nothing(machine: Machine) -> None:
    for name in ("gacc", "mac", "bmac", "gouter", "outer"):
        found = cost(name, mac(0, 5, 5, masked=1), machine)
        assert (found.macs_dense, found.compute_pj, found.register_pj) == (0, 0.0, 0.0)
        assert found.sram_read_bytes == 0
        assert found.sram_write_bytes == (4 * 25 if "outer" in name else 0)  # init applies
    assert cost("ld", transfer(0, 10, 20, 0, 64), machine).dram_bytes == 0


def test_expected_steps_of_a_strided_input_gradient_are_those_of_its_terms() -> None:
    """Stride 2, 3x3, 4x4 gradients to 8x8 inputs: 11 of 24 taps per axis exist.

    Even rows have the tap in the middle (4), odd ones the two others (3 and 4 inside): 11; both
    axes 121; two images of 64 channels, 4 blocks each, one block of outputs: 968 steps.
    """
    window = Window(4, 4, 8, 8, 64, 3, 3, 1, 1, 1, 1, -1, -1, 2, 2)
    operands = {"images": 2, "n": 16, "skip": 1, "trans": 1, "init": INIT.words.index("zero")}
    terms = 2 * 121 * 64 * 16
    found = cost(
        "bmacw", {**operands, **window._asdict()}, load_machine("multicore20"), CostActivity(terms)
    )
    assert found.macs_performed == terms
    assert found.cycles == 968
