"""Cost of convolution and pooling, against published numbers and by hand."""

from __future__ import annotations

import pytest

from snncc.isa.cost.cost import CostActivity, cost
from snncc.isa.machine.machine import load_machine
from snncc.isa.spec import ELEMENT, INIT, REDUCTION
from snncc.isa.window import Window

CHIP = load_machine("multicore20")
# As in test_cost: the fragments of the NeuroMC cost model, without the scratchpad.
PAPER = CHIP.with_(accumulator="fp16", fp_acc_buffer_bytes=1 << 20, bp_acc_buffer_bytes=1 << 20)
SOMA_COMPUTE = 0.03425 + 0.548 + 0.812 + 3 * 0.056
SOMA_MEMORY = (82_917_722.64 - 30_072_910.34 - 50_350_418.15) / (49 * 2048)
SRAM, ADD, COMPARE = CHIP.scratchpad.read_pj_per_byte, CHIP.energy.add_f32, CHIP.energy.compare
ZERO = INIT.words.index("zero")


def same(size: int, channels: int, kernel: int = 3) -> Window:
    """Stride 1, as much padding as the kernel needs."""
    pad = kernel // 2
    return Window(size, size, size, size, channels, kernel, kernel, 1, 1, -pad, -pad, 1, 1, 1, 1)


def conv(window: Window, n: int, images: int = 1) -> dict[str, int]:
    return {"images": images, "n": n, "init": ZERO, "win": 0, **window._asdict()}


def on_chip(name: str, operands: dict[str, int]) -> float:
    found = cost(name, operands, PAPER)
    return found.compute_pj + found.register_pj + found.buffer_pj


def test_forward_512_to_384_at_7x7() -> None:
    total = on_chip("gaccw", conv(same(7, 512), 384)) + 49 * 384 * (SOMA_COMPUTE + SOMA_MEMORY)
    assert total == pytest.approx(136_831_088.83, rel=1e-5)


def test_weight_gradient_64_to_64_at_56x56() -> None:
    assert on_chip("gouterw", conv(same(56, 64), 64)) == pytest.approx(131_966_832.73, rel=1e-5)


@pytest.mark.parametrize("name", ["gacc", "mac", "bmac", "gouter", "outer"])
def test_a_pointwise_convolution_costs_what_the_dense_instruction_costs(name: str) -> None:
    window = same(6, 48, kernel=1)
    operands = {"rows": 72, "k": 48, "n": 40, "init": ZERO}
    for activity in (CostActivity(), CostActivity(active=999)):
        expected = cost(name, operands, CHIP, activity)
        assert cost(f"{name}w", conv(window, 40, images=2), CHIP, activity) == expected


def test_inputs_are_read_once_and_blocks_do_not_reach_across_taps() -> None:
    wide = CHIP.with_(scratchpad_port_bytes=4096, scratchpad_acc_port_bytes=4096)
    window = same(8, 8)
    found = cost("macw", conv(window, 16), wide)
    assert found.cycles == 64 * 9  # 9 taps of half a block each
    assert found.sram_read_bytes == 64 * 16 + 72 * 16 * 2
    strided = window._replace(out_h=4, out_w=4, mul_h=2, mul_w=2, base_h=0, base_w=0, k_h=1, k_w=1)
    found = cost("macw", conv(strided, 16), wide)
    assert found.sram_read_bytes == 16 * 16 + 8 * 16 * 2  # every other row and column


def pool(window: Window, element: str, op: str) -> dict[str, int]:
    kinds = {"type": ELEMENT.words.index(element), "op": REDUCTION.words.index(op)}
    return {"images": 2, "win": 0, **kinds, **window._asdict()}


def test_pool_by_hand() -> None:
    window = Window(8, 8, 4, 4, 40, 3, 3, 2, 2, -1, -1, 1, 1, 1, 1)
    terms = 2 * 11 * 11  # along an axis 3 outputs have three taps and the first has two
    found = cost("pool", pool(window, "f16", "max"), CHIP)
    assert window.terms() == 11 * 11
    assert found.sram_read_bytes == terms * 80
    assert found.sram_write_bytes == 32 * 80
    assert found.compute_pj == pytest.approx(terms * 40 * COMPARE)
    lanes = CHIP.vpu.lanes
    assert found.cycles == max(32 * 9 * -(-40 // lanes), terms * 80 // 32)
    found = cost("pool", pool(window, "f16", "sum32"), CHIP)
    assert found.sram_write_bytes == 32 * 160
    found = cost("pool", pool(window, "bit", "sum"), CHIP, CostActivity(active=77))
    assert found.compute_pj == pytest.approx(77 * ADD)
    assert found.sram_read_bytes == terms * 6
    assert cost("pool", pool(window, "bit", "max"), CHIP).sram_write_bytes == 32 * 6


def test_poolgrad_by_hand() -> None:
    window = Window(8, 8, 4, 4, 16, 2, 2, 2, 2, 0, 0, 1, 1, 1, 1)
    found = cost("poolgrad", pool(window, "f16", "max"), CHIP)
    assert found.sram_read_bytes == 2 * 32 * (64 + 16 + 16)
    assert found.sram_write_bytes == 2 * 64 * 32
    assert found.compute_pj == pytest.approx(2 * 16 * (64 * COMPARE + 16 * ADD))


def test_transpose_by_hand() -> None:
    found = cost("transpose", {"rows": 40, "cols": 10}, CHIP)
    assert found.sram_read_bytes == found.sram_write_bytes == 800
    lanes = CHIP.vpu.lanes
    assert found.cycles == max(-(-40 // lanes) * 10, 800 // CHIP.scratchpad.port_bytes)
