"""Counter-based random bits: Philox-4x32-10.

Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, and the
known-answer vectors of its Random123 library.

A random word is a pure function of ``(seed, stream, counter)``.  There is no generator state, so
the bits do not depend on the order of tiles, on threads or on the number of cores.

The algorithm, all on unsigned 32-bit words.  ``mul(a, b)`` is the 64-bit product, ``hi``/``lo`` its
halves, ``^`` exclusive or, ``+`` modulo 2**32::

    philox(c0, c1, c2, c3, k0, k1):
        repeat 10 times:
            p = mul(0xD2511F53, c0);  q = mul(0xCD9E8D57, c2)
            c0, c1, c2, c3 = hi(q) ^ c1 ^ k0,  lo(q),  hi(p) ^ c3 ^ k1,  lo(p)
            k0, k1 = k0 + 0x9E3779B9,  k1 + 0xBB67AE85
        return c0, c1, c2, c3

    random_u32(seed, stream, counter):              # seed, stream, counter: 64 bits each
        block = counter >> 2;  word = counter & 3
        return philox(lo(block), hi(block), lo(stream), hi(stream), lo(seed), hi(seed))[word]

so four consecutive counters share one evaluation.  A scalar port needs 64-bit unsigned products
only.  The 13 bits of a stochastic rounding are the *top* 13 bits of a word: ``word >> 19``.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["philox4x32_10", "random_bits13", "random_range", "random_u32"]

U32: TypeAlias = npt.NDArray[np.uint32]
U64: TypeAlias = npt.NDArray[np.uint64]

_M0: Final = np.uint64(0xD2511F53)
_M1: Final = np.uint64(0xCD9E8D57)
_W0: Final = 0x9E3779B9
_W1: Final = 0xBB67AE85
_MASK: Final = np.uint64(0xFFFFFFFF)
_S32: Final = np.uint64(32)
_LIMIT: Final = 1 << 64
_CHUNK: Final = 1 << 13  # blocks evaluated at a time, to stay in the cache


def _u64(value: int, name: str) -> int:
    if not 0 <= value < _LIMIT:
        raise ValueError(f"{name} must be in 0..2**64-1, got {value}")
    return value


def philox4x32_10(counter: U64, key: tuple[int, int]) -> U32:
    """Evaluate the Philox-4x32-10 block function.

    ``counter``: uint64 [..., 4], each element one 32-bit counter word; ``key``: two 32-bit words.
    Returns uint32 [..., 4].
    """
    c = np.asarray(counter, dtype=np.uint64)
    if c.ndim == 0 or c.shape[-1] != 4:
        raise ValueError(f"philox4x32_10: expected counters of shape [..., 4], got {c.shape}")
    if c.size and int(c.max()) >> 32:
        raise ValueError("philox4x32_10: counter words must be below 2**32")
    c0, c1, c2, c3 = (np.array(c[..., i], ndmin=1) for i in range(4))
    k0, k1 = key
    if not (0 <= k0 < 1 << 32 and 0 <= k1 < 1 << 32):
        raise ValueError("philox4x32_10: key words must be in 0..2**32-1")
    for _ in range(10):
        p, q = c0 * _M0, c2 * _M1
        c0, c2 = (q >> _S32) ^ c1 ^ np.uint64(k0), (p >> _S32) ^ c3 ^ np.uint64(k1)
        c1, c3 = q & _MASK, p & _MASK
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32).reshape(c.shape)


def _blocks(seed: int, stream: int, block: U64) -> U32:
    """Return the four words, uint32 [n, 4], of each of the blocks, uint64 [n]."""
    seed, stream = _u64(seed, "seed"), _u64(stream, "stream")
    key = (seed & 0xFFFFFFFF, seed >> 32)
    out = np.empty((block.shape[0], 4), np.uint32)
    for lo in range(0, block.shape[0], _CHUNK):
        part = block[lo : lo + _CHUNK]
        c = np.empty((part.shape[0], 4), np.uint64)
        c[:, 0] = part & _MASK
        c[:, 1] = part >> _S32
        c[:, 2] = stream & 0xFFFFFFFF
        c[:, 3] = stream >> 32
        out[lo : lo + _CHUNK] = philox4x32_10(c, key)
    return out


def random_u32(seed: int, stream: int, counter: U64) -> U32:
    """Return one random word, uint32, for each element of ``counter`` (uint64, any shape).

    ``seed`` and ``stream`` are integers in 0..2**64-1.  See the module's text for the algorithm.
    """
    c = np.asarray(counter)
    if c.dtype != np.uint64:
        raise TypeError(f"random_u32: counter must be uint64, got {c.dtype}")
    flat: U64 = c.reshape(-1)
    words = _blocks(seed, stream, flat >> np.uint64(2))
    lane = (flat & np.uint64(3)).astype(np.intp)
    return words[np.arange(flat.shape[0]), lane].reshape(c.shape)


def random_range(seed: int, stream: int, start: int, count: int) -> U32:
    """Return ``random_u32`` of the counters start..start+count-1, uint32 [count].

    Four times faster than :func:`random_u32`.  The last counter must be below 2**64.
    """
    if count < 0 or start < 0 or start + count > _LIMIT:
        raise ValueError(f"random_range: bad range start={start} count={count}")
    if count == 0:
        return np.zeros(0, np.uint32)
    first, last = start >> 2, (start + count - 1) >> 2
    block = np.uint64(first) + np.arange(last - first + 1, dtype=np.uint64)
    words = _blocks(seed, stream, block).reshape(-1)
    skip = start & 3
    return words[skip : skip + count].copy()


def random_bits13(seed: int, stream: int, counter: U64) -> U32:
    """Return the 13 bits, uint32 in 0..8191, a stochastic rounding uses: the top of each word."""
    return random_u32(seed, stream, counter) >> np.uint32(19)
