"""Patches that a convolution reduces: right for every width, and nothing beyond their end."""

import numpy as np
import pytest

from snncc.isa.numbers.fp16 import pack_bits
from snncc.isa.semantics.call import active_blocks
from snncc.isasim.engines.kernels.host_cpu import features_in
from snncc.isasim.engines.kernels.panel import OUTSIDE
from snncc.isasim.engines.kernels.windows import window_bits, window_halves

IMAGES, PIXELS = 2, 3
TAPS = np.array([[0, -1, 2], [1, 0, -1], [-1, -1, -1]])
"""The pixel that each tap of each position sees, -1 outside the image: the last of one row, too."""
GUARD = 40
UNTOUCHED = 0xAAAA


def offsets(pixel: int) -> np.ndarray:
    """Return where the taps lie in an image with so many bytes per pixel."""
    return np.where(TAPS < 0, OUTSIDE, TAPS * pixel).astype(np.int64)


def wanted(images: np.ndarray) -> np.ndarray:
    """[image, pixel, channel] -> [image * position, reduced index]: by blocks, taps, channels."""
    rows: list[list[int]] = []
    for image in images:
        for taps in TAPS:
            row: list[int] = []
            for low in range(0, image.shape[1], 16):
                for tap in taps:
                    part = image[tap, low : low + 16]
                    row += list(part if tap >= 0 else np.zeros_like(part))
            rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("channels", [3, 16, 21, 32])
@pytest.mark.parametrize("part", [(0, 6), (1, 3), (4, 5)])
def test_patches_of_numbers_end_where_they_should(channels: int, part: tuple[int, int]) -> None:
    images = np.random.default_rng(channels).integers(1, 1 << 16, (IMAGES, PIXELS, channels))
    memory = images.astype(np.uint16)
    depth = TAPS.shape[1] * channels
    out = np.full((part[1] - part[0] + 1, depth + GUARD), UNTOUCHED, np.uint16)
    window_halves(memory.ctypes.data, PIXELS * 2 * channels, offsets(2 * channels), channels, *part,
                  out)  # fmt: skip
    assert np.array_equal(out[:-1, :depth], wanted(images)[slice(*part)])
    assert (out[:-1, depth:] == UNTOUCHED).all()
    assert (out[-1] == UNTOUCHED).all()


@pytest.mark.parametrize("channels", [3, 16, 21, 32, 48])
@pytest.mark.parametrize("part", [(0, 6), (1, 3), (4, 5)])
@pytest.mark.parametrize("inside", [False, True])
def test_patches_of_spikes(channels: int, part: tuple[int, int], inside: bool) -> None:
    images = np.random.default_rng(channels).random((IMAGES, PIXELS, channels)) < 0.5
    packed = pack_bits(images.reshape(-1, channels)).view(np.uint8)
    pixel = packed.shape[1]
    memory = np.append(packed.reshape(-1), np.full(8, 255, np.uint8))
    depth = TAPS.shape[1] * channels
    words = np.full((part[1] - part[0] + 1, -(-depth // 64) + 1), UNTOUCHED, np.uint64)
    address = 0 if inside else memory.ctypes.data
    window_bits(address, PIXELS * pixel, offsets(pixel), channels, *part, words)
    bits = np.unpackbits(words[:-1, :-1].copy().view(np.uint8), axis=1, bitorder="little")
    seen = wanted(np.ones_like(images) if inside else images)[slice(*part)]
    assert np.array_equal(bits[:, :depth], seen)
    assert not bits[:, depth:].any()
    assert (words[:, -1] == UNTOUCHED).all()
    assert (words[-1] == UNTOUCHED).all()


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize(("channels", "taps"), [(3, 1), (16, 1), (32, 2), (21, 4), (5, 9), (0, 1)])
def test_blocks_with_an_active_input(rows: int, channels: int, taps: int) -> None:
    """A block is what one tap has of 16 channels, the last one what is left of them."""
    active = np.random.default_rng(rows).random((rows, taps, channels)) < 0.05
    blocks = [active[:, :, low : low + 16] for low in range(0, channels, 16)]
    count = sum(int(block.any(axis=2).sum()) for block in blocks)
    lines = [block.reshape(rows, taps * block.shape[2]) for block in blocks]
    flat = np.concatenate([np.zeros((rows, 0), bool), *lines], axis=1)
    assert active_blocks(flat, taps) == count


@pytest.mark.parametrize(
    ("text", "half"),
    [("+avx,+f16c", True), ("+f16c", True), ("+f16c,-avx", False), ("-avx, +f16c ,", False),
     ("+avx,-f16c", False), ("+avx", False), ("-avx,+f16c,+avx", True), ("", False)],
)  # fmt: skip
def test_half_instructions_go_only_where_avx_is_switched_off(text: str, half: bool) -> None:
    assert features_in(text).get("f16c", False) is half
