"""The cost table by hand on a machine with wide ports, where nothing equals anything else.

Wide ports let the units' own cycles show; no two sizes, energies or buffers are the same, so that a
swapped factor changes the result.  NARROW has the same units behind narrow ports.
"""

from __future__ import annotations

import pytest

from snncc.isa.cost.cost import CostActivity, InstructionCost, cost
from snncc.isa.machine.machine import load_machine
from snncc.isa.spec import ELEMENT, INIT, REDUCTION
from snncc.isa.window import Window

READ, WRITE, REG = 2.0, 3.0, 1 / 1024
ADD32, COMPARE, LOGIC, MOVE, MUX, ADD, MUL = 1.5, 0.25, 0.5, 0.125, 0.0625, 0.75, 1.25
A_BIT, B_BIT, ACC_BIT = 0.5, 0.25, 0.125
WIDE = load_machine("multicore20").with_(
    scratchpad_port_bytes=4096, scratchpad_acc_port_bytes=4096,
    scratchpad_read_pj_per_byte=READ, scratchpad_write_pj_per_byte=WRITE,
    vpu_lanes=8, vpu_latency_cycles=7,
    wg_rows=4, wg_cols=8, wg_a_buffer_bytes=400, wg_b_buffer_bytes=480,
    wg_a_pj_per_bit=A_BIT, wg_b_pj_per_bit=B_BIT, wg_acc_pj_per_bit=ACC_BIT, wg_latency_cycles=5,
    energy_add_f32=ADD32, energy_compare=COMPARE, energy_logic=LOGIC, energy_move=MOVE,
    energy_mux=MUX, energy_mac_add=ADD, energy_mac_mul=MUL, energy_register_pj_per_bit=REG,
)  # fmt: skip
NARROW = WIDE.with_(scratchpad_port_bytes=2, scratchpad_acc_port_bytes=4)
KEEP, ZERO = INIT.words.index("keep"), INIT.words.index("zero")

# 6 x 8 positions of 20 channels -> 3 x 4; 2 x 3 taps, stride 2, a column of padding on the left.
# Rows: all 3 * 2 taps inside; columns: 2 + 3 + 3 + 3 = 11.  Two images: 132 taps, 24 outputs.
WINDOW = Window(6, 8, 3, 4, 20, 2, 3, 2, 2, 0, -1, 1, 1, 1, 1)
TAPS, OUT, IN = 2 * 66, 24, 96


def kinds(element: str, op: str = "sum") -> dict[str, int]:
    return {"type": ELEMENT.words.index(element), "op": REDUCTION.words.index(op)}


def vector(
    cycles: int, compute: float, register_bits: int, read: int, write: int, latency: int = 7
) -> InstructionCost:
    """What a lane instruction costs: all that is not listed is zero."""
    return InstructionCost(
        cycles=cycles, latency=latency, compute_pj=compute, register_pj=register_bits * REG,
        sram_pj=read * READ + write * WRITE, sram_read_bytes=read, sram_write_bytes=write,
    )  # fmt: skip


ROWS20 = {"rows": 20, "n": 10}  # a lane per row: 3 turns of 8 lanes, 10 elements each


@pytest.mark.parametrize(
    ("element", "op", "wide", "narrow"),
    [
        ("f16", "sum", vector(30, 200 * ADD32, 200 * 96, 400, 40), 200),
        ("f16", "max", vector(30, 200 * COMPARE, 200 * 96, 400, 40), 200),
        ("f16", "sum32", vector(30, 200 * ADD32, 200 * 96, 400, 80), 200),
        # binary32: through the accumulator port, and twice the energy of a comparison
        ("f32", "sum", vector(30, 200 * ADD32, 200 * 96, 800, 40), 200),
        ("f32", "max", vector(30, 200 * 2 * COMPARE, 200 * 96, 800, 40), 200),
        ("f32", "sum32", vector(30, 200 * ADD32, 200 * 96, 800, 80), 200),
        ("bit", "sum", vector(30, 200 * ADD32, 200 * 96, 20 * 2, 40), 30),
    ],
)  # fmt: skip
def test_rowred(element: str, op: str, wide: InstructionCost, narrow: int) -> None:
    operands = {**ROWS20, **kinds(element, op)}
    assert cost("rowred", operands, WIDE) == wide
    assert cost("rowred", operands, NARROW).cycles == narrow


def test_rowred_writes_may_be_what_takes_longest() -> None:
    operands = {"rows": 20, "n": 1, **kinds("f16", "sum32")}
    slow = WIDE.with_(scratchpad_acc_port_bytes=4)
    assert cost("rowred", operands, slow).cycles == 20  # 4 bytes a row
    assert cost("rowred", {**operands, **kinds("f32")}, NARROW).cycles == 20  # 2 bytes a row


@pytest.mark.parametrize(
    ("element", "init", "active", "wide", "narrow"),
    [
        # a lane per column: 20 rows of 2 turns
        ("f16", ZERO, -1, vector(40, 200 * ADD32, 200 * 96, 400, 40), 200),
        ("f16", KEEP, -1, vector(40, 200 * ADD32, 200 * 96, 400 + 40, 40), 200),
        ("f32", KEEP, -1, vector(40, 200 * ADD32, 200 * 96, 800 + 40, 40), 210),
        ("bit", ZERO, -1, vector(40, 200 * ADD32, 200 * 96, 40, 40), 40),
        ("bit", ZERO, 7, vector(40, 7 * ADD32, 7 * 96, 40, 40), 40),
        ("f16", ZERO, 7, vector(40, 200 * ADD32, 200 * 96, 400, 40), 200),  # numbers are all added
    ],
)
def test_colsum(element: str, init: int, active: int, wide: InstructionCost, narrow: int) -> None:
    operands = {**ROWS20, **kinds(element), "init": init}
    assert cost("colsum", operands, WIDE, CostActivity(active=active)) == wide
    assert cost("colsum", operands, NARROW, CostActivity(active=active)).cycles == narrow


POOLS = {"images": 2, "win": 0, **WINDOW._asdict()}


def test_the_window_by_hand() -> None:
    assert (2 * WINDOW.terms(), 2 * WINDOW.positions) == (TAPS, OUT)


@pytest.mark.parametrize(
    ("element", "op", "active", "wide", "narrow"),
    [
        # 24 outputs of 6 taps in 3 turns of lanes
        ("f16", "max", -1, vector(432, 2640 * COMPARE, 2640 * 96, TAPS * 40, OUT * 40), 2640),
        ("f16", "sum", -1, vector(432, 2640 * ADD32, 2640 * 96, TAPS * 40, OUT * 40), 2640),
        ("f16", "sum32", -1, vector(432, 2640 * ADD32, 2640 * 96, TAPS * 40, OUT * 80), 2640),
        ("f32", "sum32", -1, vector(432, 2640 * ADD32, 2640 * 96, TAPS * 80, OUT * 80), 2640),
        # packed rows of 20 spikes have 4 bytes; the largest of spikes is a bit again
        ("bit", "max", -1, vector(432, 2640 * LOGIC, 2640 * 3, TAPS * 4, OUT * 4), 432),
        ("bit", "max", 9, vector(432, 2640 * LOGIC, 2640 * 3, TAPS * 4, OUT * 4), 432),
        ("bit", "sum", -1, vector(432, 2640 * ADD32, 2640 * 96, TAPS * 4, OUT * 40), 480),
        ("bit", "sum", 100, vector(432, 100 * ADD32, 2640 * 96, TAPS * 4, OUT * 40), 480),
    ],
)
def test_pool(element: str, op: str, active: int, wide: InstructionCost, narrow: int) -> None:
    operands = {**POOLS, **kinds(element, op)}
    assert cost("pool", operands, WIDE, CostActivity(active=active)) == wide
    assert cost("pool", operands, NARROW, CostActivity(active=active)).cycles == narrow


@pytest.mark.parametrize(
    ("element", "compute", "register_bits", "read"),
    [
        # x at the taps, y and g at the outputs
        ("f16", 20 * (TAPS * COMPARE + OUT * ADD32), 20 * (TAPS * 32 + OUT * 96),
         TAPS * 40 + OUT * 40 + OUT * 40),
        # the gradient of a largest spike: packed x and y, g in binary16
        ("bit", 20 * (TAPS * LOGIC + OUT * ADD32), 20 * (TAPS * 2 + OUT * 96),
         TAPS * 4 + OUT * 4 + OUT * 40),
    ],
)  # fmt: skip
def test_poolgrad(element: str, compute: float, register_bits: int, read: int) -> None:
    operands = {**POOLS, **kinds(element)}
    wanted = vector((OUT * 6 + IN) * 3, compute, register_bits, read, IN * 40)
    assert cost("poolgrad", operands, WIDE) == wanted
    assert cost("poolgrad", operands, NARROW).cycles == max(720, read // 2, 1920)


def test_transpose() -> None:
    operands = {"rows": 20, "cols": 10}
    assert cost("transpose", operands, WIDE) == vector(30, 200 * MOVE, 200 * 32, 400, 400)
    assert cost("transpose", operands, NARROW).cycles == 200


# --- outer products: 10 rows, 20 inputs in blocks of 4, 24 outputs in blocks of 8 ----------------

OUTER = {"rows": 10, "k": 20, "n": 24}
TERMS = 10 * 20 * 24


def outer(init: int = ZERO, skip: int = 0) -> dict[str, int]:
    return {**OUTER, "init": init, "skip": skip}


def test_outer() -> None:
    accumulators = 20 * 24
    buffers = TERMS / 8 * 16 * A_BIT + TERMS / 4 * 16 * B_BIT + accumulators * 32 * ACC_BIT
    assert cost("outer", outer(), WIDE) == InstructionCost(
        cycles=10 * 5 * 3, latency=5, compute_pj=TERMS * (ADD + MUL),
        register_pj=(2 * TERMS * 32 + 2 * TERMS * 32) * REG, buffer_pj=buffers,
        sram_pj=(400 + 480) * READ + 4 * accumulators * WRITE,
        sram_read_bytes=400 + 480, sram_write_bytes=4 * accumulators,
        macs_dense=TERMS, macs_performed=TERMS,
    )  # fmt: skip


def test_kept_sums_are_read_from_the_scratchpad_and_twice_in_the_buffer() -> None:
    fresh, kept = (cost("outer", outer(init), WIDE) for init in (ZERO, KEEP))
    assert kept.sram_read_bytes - fresh.sram_read_bytes == 4 * 480
    assert kept.sram_write_bytes == fresh.sram_write_bytes == 4 * 480
    assert kept.buffer_pj - fresh.buffer_pj == pytest.approx(480 * 32 * ACC_BIT)
    assert kept.sram_pj - fresh.sram_pj == pytest.approx(4 * 480 * READ)
    slow = WIDE.with_(scratchpad_acc_port_bytes=4)
    assert cost("outer", outer(KEEP), slow).cycles == 480


@pytest.mark.parametrize(
    ("a_buffer", "b_buffer", "read"),
    [
        (400, 480, 400 + 480),
        (399, 480, 400 * 3 + 480),  # a again for each of the three blocks of outputs
        (400, 479, 400 + 480 * 5),  # b again for each of the five blocks of inputs
        (399, 479, 400 * 3 + 480 * 5),
    ],
)
def test_operands_beyond_their_buffers_are_read_again(
    a_buffer: int, b_buffer: int, read: int
) -> None:
    machine = WIDE.with_(wg_a_buffer_bytes=a_buffer, wg_b_buffer_bytes=b_buffer)
    found = cost("outer", outer(), machine)
    assert found.sram_read_bytes == read
    assert found.sram_pj == pytest.approx(read * READ + 4 * 480 * WRITE)
    assert cost("outer", outer(), machine.with_(scratchpad_port_bytes=2)).cycles == read // 2


def test_an_outer_product_that_skips_zeros() -> None:
    """20 of 50 blocks have one of the 50 active inputs: 60 of 150 steps, 1920 slots."""
    found = cost("outer", outer(skip=1), WIDE, CostActivity(active=1200, blocks=20))
    assert (found.cycles, found.macs_performed, found.macs_dense) == (60, 1200, TERMS)
    assert found.compute_pj == pytest.approx(1200 * (ADD + MUL) + 720 * MUX)
    assert found.register_pj == pytest.approx((2 * 1920 * 32 + 2 * 1200 * 32) * REG)
    buffers = 1920 / 8 * 16 * A_BIT + 1920 / 4 * 16 * B_BIT + 480 * 32 * ACC_BIT
    assert found.buffer_pj == pytest.approx(buffers)


def test_an_outer_product_smaller_than_the_array() -> None:
    """7 rows, 3 inputs, 5 outputs: an input serves 5 outputs, a gradient 3 inputs."""
    found = cost("gouter", {"rows": 7, "k": 3, "n": 5, "init": ZERO}, WIDE)
    assert found.buffer_pj == pytest.approx(21 * A_BIT + 35 * 16 * B_BIT + 15 * 32 * ACC_BIT)
    assert found.cycles == 7
    assert found.sram_read_bytes == 7 * 2 + 7 * 10  # packed rows have at least two bytes


# --- transfers -----------------------------------------------------------------------------------


def test_messages_through_a_narrow_port() -> None:
    message = {"core": 3, "tag": 0, "bytes": 100}
    assert cost("send", message, WIDE, CostActivity(hops=3)).cycles == 7  # flits of 16 bytes
    assert cost("send", message, NARROW, CostActivity(hops=3)).cycles == 50
    received = cost("recv", message, WIDE)
    assert received == InstructionCost(cycles=7, sram_pj=100 * WRITE, sram_write_bytes=100)
    assert cost("recv", message, NARROW).cycles == 50


def test_recvadd() -> None:
    operands = {"core": 3, "tag": 0, "count": 25}
    assert cost("recvadd", operands, WIDE) == InstructionCost(
        cycles=7, compute_pj=25 * ADD32, register_pj=25 * 96 * REG,
        sram_pj=100 * READ + 100 * WRITE, sram_read_bytes=100, sram_write_bytes=100,
    )  # fmt: skip
    assert cost("recvadd", operands, NARROW).cycles == 50


def test_a_multicast_pays_for_links_not_for_receivers() -> None:
    """Three receivers along five links; the mesh of 4 x 5 is at most 7 links wide."""
    operands = {"mask": 0b1110, "tag": 0, "bytes": 40}
    bits = 8 * 3 * 16
    noc = WIDE.noc
    found = cost("mcast", operands, WIDE, CostActivity(hops=5))
    assert (found.cycles, found.latency, found.noc_bytes) == (3, 5 * noc.hop_cycles, 40)
    assert found.noc_pj == pytest.approx(bits * 5 * noc.pj_per_bit_hop)
    far = cost("mcast", operands, WIDE, CostActivity(hops=9))
    assert far.latency == 7 * noc.hop_cycles
    assert far.noc_pj == pytest.approx(bits * 9 * noc.pj_per_bit_hop)
    unknown = cost("mcast", {**operands, "mask": 0b1110 | 1 << 25}, WIDE)  # there is no core 25
    assert unknown.noc_pj == pytest.approx(bits * 3 * noc.pj_per_bit_hop)


def test_dram_transfers_through_a_narrow_port() -> None:
    strides = {"src0": 0, "src1": 64, "dst0": 0, "dst1": 64}
    operands = {"n0": 1, "n1": 10, "bytes": 20, **strides}
    for name in ("ld", "st"):
        assert cost(name, operands, WIDE).cycles == 15  # 240 bytes in bursts, 16 a cycle
        assert cost(name, operands, NARROW).cycles == 100
    assert cost("ld", operands, WIDE).sram_pj == pytest.approx(200 * WRITE)
    assert cost("st", operands, WIDE).sram_pj == pytest.approx(200 * READ)
    assert cost("copy", operands, WIDE).sram_pj == pytest.approx(200 * (READ + WRITE))
    assert cost("copy", operands, WIDE).cycles == 10
    assert cost("copy", operands, NARROW).cycles == 100
