"""Accumulators: many terms added one at a time, in one order (ADR 0001).

Terms and results are float32 arrays (:mod:`snncc.isa.numbers.fp16`); an accumulator holds float32,
or binary16 where a machine says so.  NaNs are canonical, no function mutates its input.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.numbers.fp16 import (
    canonical_f32,
    need,
    need_f32,
    round_f16,
    round_quietly,
    saturate,
)

F32: TypeAlias = npt.NDArray[np.float32]
Bool: TypeAlias = npt.NDArray[np.bool_]
Accumulator: TypeAlias = Literal["fp32", "fp16"]

_BLOCK: Final = 1 << 15  # accumulator elements worked on at a time (128 KiB)
_WIDE: Final = 32  # from this many columns on, a row-by-row loop beats np.add.accumulate
_CHUNK: Final = 4096


def _check_accumulator(accumulator: str) -> None:
    if accumulator not in ("fp32", "fp16"):
        raise ValueError(f"accumulator must be 'fp32' or 'fp16', got {accumulator!r}")


def load_acc(c: F32) -> F32:
    """Load values (any shape) into an accumulator: a new array of ``+0 + c``, NaN canonical.

    A ``-0`` becomes ``+0``.  An accumulator loaded this way never becomes ``-0`` again, so that
    not adding a term and adding ``+0`` are the same thing.
    """
    with np.errstate(all="ignore"):
        return canonical_f32(np.asarray(np.add(need_f32(c, "load_acc"), np.float32(0.0))))


def writeback(acc: F32, *, sat: bool = False) -> F32:
    """Round accumulators (float32, any shape) to carriers: round once, NaN canonical, then SAT."""
    r = round_f16(acc)
    return saturate(r) if sat else r


def _start(shape: tuple[int, ...], acc: F32 | None, name: str) -> F32:
    if acc is None:
        return np.zeros(shape, np.float32)
    acc = need_f32(acc, name)
    if acc.shape != shape:
        raise ValueError(f"{name}: accumulator has shape {acc.shape}, expected {shape}")
    return np.array(load_acc(acc))


def ordered_sum(
    terms: F32, axis: int = 0, acc: F32 | None = None, *, accumulator: Accumulator = "fp32"
) -> F32:
    """Sum ``terms`` along ``axis`` strictly one at a time, index ascending.

    ``terms``: float32 of any shape; ``acc``: float32 of that shape without ``axis``, the value to
    start from (default +0).  Returns the accumulator, float32, NaN canonical.

    ``accumulator="fp32"`` rounds each addition to float32, ``"fp16"`` to binary16 (the terms are
    taken as they are).  ``np.sum`` may not be used for this: it sums pairwise along a contiguous
    axis.  What is used is a loop over rows and ``np.add.accumulate``, whose definition is
    sequential.
    """
    _check_accumulator(accumulator)
    t: F32 = np.moveaxis(need_f32(terms, "ordered_sum"), axis, 0)
    count, shape = t.shape[0], t.shape[1:]
    out = _start(shape, acc, "ordered_sum")
    width = out.size
    rows: F32 = t.reshape(count, width)
    flat: F32 = out.reshape(width)
    with np.errstate(all="ignore"):
        if accumulator == "fp16":
            for k in range(count):
                flat[...] = round_quietly(np.asarray(np.add(flat, rows[k])))
        elif width >= _WIDE:
            for k in range(count):
                np.add(flat, rows[k], out=flat)
        elif width:
            for lo in range(0, count, _CHUNK):
                part = rows[lo : lo + _CHUNK]
                run: F32 = np.empty((part.shape[0] + 1, width), np.float32)
                run[0] = flat
                run[1:] = part
                np.add.accumulate(run, axis=0, out=run)
                flat[...] = run[-1]
    return canonical_f32(flat.reshape(shape))


def _mac_shapes(rows_k: tuple[int, ...], k_n: tuple[int, ...], name: str) -> tuple[int, int, int]:
    if len(rows_k) != 2 or len(k_n) != 2 or rows_k[1] != k_n[0]:
        raise ValueError(f"{name}: expected [rows, k] and [k, n], got {rows_k} and {k_n}")
    return rows_k[0], rows_k[1], k_n[1]


def mac_ordered(
    a: F32,
    w: F32,
    acc: F32 | None = None,
    skip_zero: bool = False,
    *,
    accumulator: Accumulator = "fp32",
) -> F32:
    """Matrix product with one strictly ascending accumulation per output.

    ``a``: carriers [rows, k]; ``w``: carriers [k, n]; ``acc``: float32 [rows, n], added to +0 first
    (default +0).  Returns the accumulators, float32 [rows, n], NaN canonical:
    for k ascending, ``acc = RN32(acc + a[:, k] * w[k, :])`` with the exact product.

    ``skip_zero``: a term with ``a == 0`` (either sign) is not added at all, whatever ``w`` holds.
    The results differ from ``skip_zero=False`` only where such a ``w`` is infinite or NaN.

    ``accumulator="fp16"``: the product is rounded to binary16 and so is every addition; ``acc`` and
    the result are carriers.
    """
    _check_accumulator(accumulator)
    a, w = need_f32(a, "mac_ordered"), need_f32(w, "mac_ordered")
    rows, depth, n = _mac_shapes(a.shape, w.shape, "mac_ordered")
    out = _start((rows, n), acc, "mac_ordered")
    half = accumulator == "fp16"
    step = max(1, _BLOCK // max(n, 1))
    with np.errstate(all="ignore"):
        for lo in range(0, rows, step):
            block, ab = out[lo : lo + step], a[lo : lo + step]
            term: F32 = np.empty(block.shape, np.float32)
            live: Bool | None = (ab != 0) if skip_zero else None
            for k in range(depth):
                if live is not None and not live[:, k].all():
                    idx = np.flatnonzero(live[:, k])
                    if idx.size:
                        p: F32 = np.asarray(ab[idx, k : k + 1] * w[k])
                        total: F32 = np.asarray(block[idx] + (round_quietly(p) if half else p))
                        block[idx] = round_quietly(total) if half else total
                    continue
                np.multiply(ab[:, k : k + 1], w[k], out=term)
                np.add(block, round_quietly(term) if half else term, out=block)
                if half:
                    block[...] = round_quietly(block)
    return canonical_f32(out)


def gated_mac_ordered(
    mask: Bool, w: F32, acc: F32 | None = None, *, accumulator: Accumulator = "fp32"
) -> F32:
    """Spike-gated accumulation, one strictly ascending accumulation per output.

    ``mask``: bool [rows, k]; ``w``: carriers [k, n]; ``acc``: float32 [rows, n], added to +0 first
    (default +0).  Returns the accumulators, float32 [rows, n], NaN canonical:
    for k ascending, where ``mask[:, k]``: ``acc = RN32(acc + w[k, :])``.

    Gating selects, it does not multiply: an infinite or NaN weight whose mask is 0 has no effect.
    ``accumulator="fp16"`` rounds every addition to binary16.
    """
    _check_accumulator(accumulator)
    need(mask, np.bool_, "gated_mac_ordered")
    w = need_f32(w, "gated_mac_ordered")
    rows, depth, n = _mac_shapes(mask.shape, w.shape, "gated_mac_ordered")
    out = _start((rows, n), acc, "gated_mac_ordered")
    half = accumulator == "fp16"
    columns = np.ascontiguousarray(mask.T)
    with np.errstate(all="ignore"):
        for k in range(depth):
            idx = np.flatnonzero(columns[k])
            if idx.size:
                total: F32 = np.asarray(out[idx] + w[k])
                out[idx] = round_quietly(total) if half else total
    return canonical_f32(out)
