"""Sizes of tiles, views of tensors and programs of lanes: small rules, worked out by hand."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from snncc.compiler.ir.core import Block, Type, seq, tensor
from snncc.compiler.ir.orders import KERNEL
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.kernels import KernelTensor
from snncc.compiler.passes.tiling.kit.microprogram import (
    ProgramWriter,
    f16_bits,
    f32_bits,
    write_back_program,
)
from snncc.compiler.passes.tiling.kit.sizes import (
    Choice,
    Room,
    candidates,
    choose,
    round_up,
    share,
    smallest,
)
from snncc.compiler.passes.tiling.kit.stacks import Stack, pad64
from snncc.compiler.passes.tiling.kit.task import At
from snncc.compiler.passes.tiling.kit.views import geometry, row_bytes, storage_shape, view
from snncc.compiler.passes.tiling.templates.copies import step_bytes, strides
from snncc.isa.machine.machine import load_machine
from snncc.isa.microprograms.table import MicroProgram

DRAM = Block().add_arg(tensor((1,)), "memory")


@pytest.mark.parametrize(
    ("limit", "granule", "sizes"),
    [
        (1, 1, [1]),
        (6, 1, [6, 3, 2, 1]),  # 6, 3, 2, 2, 1: each size once
        (100, 16, [100, 64, 48, 32, 16]),  # 100/1, /2, /3, /4, /7
        (16, 16, [16]),
        (10, 16, [10]),
        (17, 16, [17, 16]),
    ],
)
def test_sizes_to_try(limit: int, granule: int, sizes: list[int]) -> None:
    assert candidates(limit, granule) == sizes


def test_many_sizes_grow_by_a_quarter() -> None:
    """1 to 4 pieces, then 5, 6, 7, 8, 10, 12, 15, ...: few for large tensors, too."""
    assert candidates(1000, 1)[:11] == [1000, 500, 334, 250, 200, 167, 143, 125, 100, 84, 67]
    assert len(candidates(1 << 20, 1)) < 70


@pytest.mark.parametrize(
    ("total", "granule", "cores", "columns"),
    [(100, 16, 4, 32), (100, 16, 1, 100), (100, 16, 20, 16), (5, 16, 4, 5), (64, 16, 3, 32),
     (65, 16, 4, 32), (64, 16, 4, 16)],
)  # fmt: skip
def test_shares_of_cores(total: int, granule: int, cores: int, columns: int) -> None:
    """Granules of columns dealt out evenly: 100 columns are 7 granules, of 4 cores 2 each."""
    assert share(total, granule, cores) == columns


def test_rounding_up() -> None:
    assert [round_up(n, 16) for n in (0, 1, 16, 17)] == [0, 16, 16, 32]
    assert [pad64(n) for n in (0, 1, 64, 65, 128)] == [64, 64, 64, 128, 128]


AXES = [[8, 4, 2], [6, 3]]


def test_the_cheapest_tile_that_fits() -> None:
    def memory(a: int, b: int) -> int:
        return a * b

    # What they cost, with a * b for the first and the last tile: 48 of 100 do not fit.
    costs = {(8, 3): 50, (4, 6): 40, (4, 3): 60, (2, 6): 60, (2, 3): 45}

    def cost(a: int, b: int) -> int:
        return costs[a, b]

    def less(a: int, b: int) -> int:
        return 100 - a * b

    assert choose(AXES, memory, cost, Room(24, 0)) == Choice((2, 3), 51, 6)  # 74, 64, 72, 72, 51
    assert choose(AXES, memory, less, Room(24, 0)) == Choice((8, 3), 100, 24)
    assert choose(AXES, memory, cost, Room(5, 5)) is None
    assert smallest(AXES, memory) == 6


@pytest.mark.parametrize(
    ("small", "sizes"), [(149, (3,)), (150, (3,)), (151, (8,))], ids=["less", "equal", "more"]
)
def test_tiles_that_leave_room_may_cost_half_as_much_again(
    small: int, sizes: tuple[int, ...]
) -> None:
    """The large tile costs 92 and its 8 bytes; the small one takes 3 bytes."""
    costs = {8: 92, 3: small - 3}

    def memory(n: int) -> int:
        return n

    def cost(n: int) -> int:
        return costs[n]

    found = choose([[8, 3]], memory, cost, Room(8, 4))
    assert found is not None
    assert found.sizes == sizes


@pytest.mark.parametrize(
    ("dtype", "columns", "size"),
    [
        ("bit", 1, 2),
        ("bit", 16, 2),
        ("bit", 17, 4),
        ("f16", 17, 34),
        ("f32", 17, 68),
        ("i32", 3, 12),
    ],
)
def test_bytes_of_a_row(dtype: str, columns: int, size: int) -> None:
    assert row_bytes(dtype, columns) == size


IMAGES = seq((5, 2, 3, 4, 7))


@pytest.mark.parametrize(
    ("type_", "order", "wanted"),
    [
        (tensor(()), (), (1, 1, 1)),
        (tensor((9,)), (), (1, 1, 9)),
        (tensor((2, 9)), (), (1, 2, 9)),
        (seq((5, 2, 9)), (), (5, 2, 9)),
        (IMAGES, (), (5, 24, 7)),
        (IMAGES, (0, 2, 3, 1), (5, 56, 3)),
        (tensor((40, 18, 3, 2)), KERNEL, (1, 192, 40)),  # 2 blocks, 6 taps, 16 channels
    ],
)
def test_tensors_as_steps_of_rows(
    type_: Type, order: tuple[int, ...], wanted: tuple[int, int, int]
) -> None:
    assert geometry(type_, order) == wanted
    found = view(type_, DRAM, order)
    steps, rows, columns = wanted
    assert (found.steps, found.rows, found.cols, found.row) == (steps, rows, columns, 2 * columns)
    assert found.step == (rows * columns * 2 if steps > 1 else 0)
    assert found.at(2, 3, 4) == At(2 * found.step + 3 * found.row + 8)
    flat = found.flat()
    assert (flat.steps, flat.rows, flat.step, flat.row) == (1, steps * rows, 0, found.row)


def test_spikes_are_packed_by_rows() -> None:
    packed = view(seq((5, 2, 40), "bit"), DRAM)
    assert (packed.row, packed.step) == (6, 12)
    assert packed.at(1, 1, 32) == At(12 + 6 + 4)
    assert storage_shape(tensor((40, 16, 3)), KERNEL) == (1, 3, 16, 40)
    assert storage_shape(IMAGES, (0, 2, 3, 1)) == (2, 4, 7, 3)


@pytest.mark.parametrize(
    ("dtype", "order", "wanted", "size"),
    [
        ("f16", (), [168, 56, 14, 2], 336),
        ("f32", (), [336, 112, 28, 4], 672),
        ("bit", (), [24, 8, 2, -1], 48),  # rows of 7 spikes take 2 bytes
        ("bit", (0, 2, 3, 1), [56, -1, 14, 2], 112),
        ("f16", (0, 2, 3, 1), [168, 2, 42, 6], 336),
    ],
)
def test_distances_of_elements(
    dtype: str, order: tuple[int, ...], wanted: list[int], size: int
) -> None:
    assert strides((2, 3, 4, 7), order, dtype) == wanted
    assert step_bytes((2, 3, 4, 7), order, dtype) == size


def test_a_scalar_takes_one_element() -> None:
    assert strides((), (), "f16") == []
    assert [step_bytes((), (), dtype) for dtype in ("f16", "f32", "bit")] == [2, 4, 2]


@pytest.mark.parametrize(("dtype", "row", "channel"), [("f16", 42, 32), ("bit", 4, 2)])
def test_images_lie_channels_last(dtype: str, row: int, channel: int) -> None:
    """Images of 4 x 7 positions of 21 channels."""
    images = Stack(view(tensor((2, 21, 4, 7), dtype), DRAM, (0, 2, 3, 1)), 2, (4, 7), 21)
    assert (images.position, images.line, images.image) == (row, 7 * row, 28 * row)
    assert images.channel_at(At(16)) == At(channel)


def test_kernels_lie_in_blocks() -> None:
    kernel = KernelTensor(DRAM, outputs=40, channels=21, taps=6)
    assert kernel.row == 80
    assert kernel.block_at(At(16)) == At(16 * 6 * 80)
    assert KernelTensor(DRAM, 40, 21, 6, element=4).row == 160


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, 0.1, -65504.0, 65520.0, 1e-8, 6e-8, 1e39])
def test_patterns_of_constants(value: float) -> None:
    with np.errstate(over="ignore"):
        half = struct.unpack("<H", np.array(value, "<f8").astype("<f2").tobytes())[0]
        single = struct.unpack("<I", np.array(value, "<f8").astype("<f4").tobytes())[0]
    assert (f16_bits(value), f32_bits(value)) == (half, single)


def test_no_number_has_one_pattern() -> None:
    for value in (float("nan"), -float("nan")):
        assert (f16_bits(value), f32_bits(value)) == (0x7E00, 0x7FC00000)


def constant_program(number: float) -> MicroProgram:
    """Return a program that writes a number."""
    w = ProgramWriter()
    assert w.add("st.h", (w.add("const.h", imm=f16_bits(number)),), imm=0) == -1
    return w.program("any")


def test_equal_programs_share_a_name() -> None:
    context = TilingContext(Room(1, 1), 1, 1, load_machine("small"))
    names = [context.program("fc 1/é!", constant_program(n)) for n in (1.0, 2.0, 1.0, 3.0)]
    assert names == ["fc_1", "fc_1_2", "fc_1", "fc_1_3"]
    assert context.program("3x", constant_program(4.0)) == "lanes_3x"
    assert context.program("é", constant_program(5.0)) == "lanes"
    assert context.program("write_back", write_back_program()) == "write_back"
    assert list(context.programs) == [
        "fc_1", "fc_1_2", "fc_1_3", "lanes_3x", "lanes", "write_back"
    ]  # fmt: skip
    assert "lanes_3x" in context.programs["lanes_3x"]
