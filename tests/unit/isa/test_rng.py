"""The random generator: published vectors, the written algorithm, independence of tiling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.isa.numbers import rng

M32 = 0xFFFFFFFF
words = st.integers(0, M32)
longs = st.integers(0, 2**64 - 1)


def philox(c: list[int], k: list[int]) -> list[int]:
    """The module's pseudocode in Python integers."""
    (c0, c1, c2, c3), (k0, k1) = c, k
    for _ in range(10):
        p, q = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (q >> 32) ^ c1 ^ k0, q & M32, (p >> 32) ^ c3 ^ k1, p & M32
        k0, k1 = (k0 + 0x9E3779B9) & M32, (k1 + 0xBB67AE85) & M32
    return [c0, c1, c2, c3]


# Random123, file kat_vectors: philox4x32 with 10 rounds.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([M32] * 4, [M32] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "want"), KNOWN)
def test_known_answers(counter: list[int], key: list[int], want: list[int]) -> None:
    got = rng.philox4x32_10(np.array(counter, np.uint64), (key[0], key[1]))
    assert got.dtype == np.uint32
    assert got.tolist() == want == philox(counter, key)


def test_known_answers_through_random_u32() -> None:
    """The placement of seed, stream and counter in the block's words."""
    for (c0, c1, c2, c3), (k0, k1), want in (KNOWN[0], KNOWN[2]):
        block = c0 | c1 << 32
        if block >= 1 << 62:
            continue  # a counter has 62 bits of block number
        got = rng.random_range(k0 | k1 << 32, c2 | c3 << 32, block * 4, 4)
        assert got.tolist() == want


@given(longs, longs, st.lists(longs, min_size=1, max_size=9))
def test_random_u32_follows_its_definition(seed: int, stream: int, counters: list[int]) -> None:
    got = rng.random_u32(seed, stream, np.array(counters, np.uint64))
    for value, n in zip(got.tolist(), counters, strict=True):
        block = n >> 2
        c = [block & M32, block >> 32, stream & M32, stream >> 32]
        assert value == philox(c, [seed & M32, seed >> 32])[n & 3]


@given(longs, st.integers(0, 2**64 - 100), st.integers(0, 99))
def test_ranges_equal_single_counters(seed: int, start: int, count: int) -> None:
    counters = np.uint64(start) + np.arange(count, dtype=np.uint64)
    np.testing.assert_array_equal(
        rng.random_range(seed, 7, start, count), rng.random_u32(seed, 7, counters)
    )


def test_any_tiling_and_order_gives_the_same_bits() -> None:
    n = 100_003
    whole = rng.random_range(1, 2, 0, n)
    order = np.random.default_rng(0).permutation(n).astype(np.uint64)
    np.testing.assert_array_equal(rng.random_u32(1, 2, order), whole[order])
    parts = [rng.random_range(1, 2, lo, min(777, n - lo)) for lo in range(0, n, 777)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    grid = order[:600].reshape(20, 30)
    assert rng.random_u32(1, 2, grid).shape == (20, 30)
    assert rng.random_u32(1, 2, grid[0, 0:1].reshape(())).shape == ()
    assert rng.random_u32(1, 2, grid[:0]).shape == (0, 30)


def test_seeds_streams_and_counters_all_matter() -> None:
    base = rng.random_range(0, 0, 0, 64)
    for seed, stream, start in ((1, 0, 0), (1 << 32, 0, 0), (0, 1, 0), (0, 1 << 32, 0), (0, 0, 64)):
        assert (rng.random_range(seed, stream, start, 64) == base).sum() <= 1


def test_bits_look_uniform() -> None:
    bits = rng.random_bits13(3, 4, np.arange(1 << 16, dtype=np.uint64))
    assert bits.max() == 8191
    counts = np.bincount(bits, minlength=8192)
    chi2 = float(((counts - 8) ** 2 / 8).sum())
    assert abs(chi2 - 8191) < 6 * (2 * 8191) ** 0.5
    top = rng.random_u32(3, 4, np.arange(8, dtype=np.uint64)) >> 19
    np.testing.assert_array_equal(bits[:8], top)


def test_arguments_are_checked() -> None:
    c = np.zeros(1, np.uint64)
    signed: Any = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="seed must be in"):
        rng.random_u32(-1, 0, c)
    with pytest.raises(ValueError, match="stream must be in"):
        rng.random_u32(0, 1 << 64, c)
    with pytest.raises(TypeError, match="uint64"):
        rng.random_u32(0, 0, signed)
    with pytest.raises(ValueError, match="bad range"):
        rng.random_range(0, 0, 1 << 64, 1)
    with pytest.raises(ValueError, match="below"):
        rng.philox4x32_10(np.full(4, 1 << 32, np.uint64), (0, 0))
    with pytest.raises(ValueError, match="shape"):
        rng.philox4x32_10(np.zeros(3, np.uint64), (0, 0))
    with pytest.raises(ValueError, match="key"):
        rng.philox4x32_10(np.zeros(4, np.uint64), (1 << 32, 0))
