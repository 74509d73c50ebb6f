"""Make what the self-test compares with: ``python -m snncc.compiler.cli.selftest.make_expected``.

Arithmetic comes from Berkeley SoftFloat 3 (University of California, BSD licence) through the
package softfloatpy 1.2.3 (MIT licence), which is needed here only: ``pip install softfloatpy``.
Results are numbers; nothing of either is shipped.  NaN results become the canonical NaN of ADR
0001.  The training step is computed by the reference engine on one core; nothing is written unless
the fast engine gives the same bits on four.
"""

from __future__ import annotations

import importlib
import json
import random
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from snncc.compiler.cli.selftest.training_step import EXPECTED, MODEL, digests, step

HERE = Path(__file__).parent
SPECIAL = (
    0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x8400, 0x1400, 0x3BFF, 0x3C00, 0x3C01, 0xBC00,
    0x4000, 0x4248, 0x6400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00,
)  # fmt: skip
"""Zeros, subnormals, the smallest normal number, ones, the largest, infinities, NaN."""
RANDOM = 2000
ROWS, DEPTH, COLUMNS = 12, 96, 24


def main() -> None:
    """Write both files."""
    np.savez_compressed(HERE / "arithmetic.npz", **arithmetic())
    reference, fast = digests(step("reference", cores=1)), digests(step("fast", cores=4))
    if reference != fast:
        raise SystemExit("the engines differ: nothing written")
    made = {"model": MODEL, "made": "reference engine, 1 core", "results": reference}
    (HERE / EXPECTED).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


def arithmetic() -> dict[str, Any]:
    """Return operands and SoftFloat's results as patterns."""
    soft: Any = importlib.import_module("softfloatpy")
    draw = random.Random(16)

    def half(bits: int) -> Any:
        return soft.Float16.from_bytes(struct.pack(">H", bits))

    def single(bits: int) -> Any:
        return soft.Float32.from_bytes(struct.pack(">I", bits))

    def bits(value: Any) -> int:
        found = int.from_bytes(value.to_bytes(), "big")
        wide = len(value.to_bytes()) == 4
        if found & (0x7FFFFFFF if wide else 0x7FFF) > (0x7F800000 if wide else 0x7C00):
            return 0x7FC00000 if wide else 0x7E00
        return found

    def halves(values: Iterable[Any]) -> Any:
        return np.array([bits(v) for v in values], np.uint16)

    pairs = [(x, y) for x in SPECIAL for y in SPECIAL]
    pairs += [(draw.getrandbits(16), draw.getrandbits(16)) for _ in range(RANDOM)]
    operands = [(half(x), half(y)) for x, y in pairs]
    wide = [_wide(draw) for _ in range(RANDOM)]
    a = np.array([[_number(draw) for _ in range(DEPTH)] for _ in range(ROWS)], np.uint16)
    w = np.array([[_number(draw) for _ in range(COLUMNS)] for _ in range(DEPTH)], np.uint16)
    dots = np.zeros((ROWS, COLUMNS), np.uint32)
    for r in range(ROWS):
        for c in range(COLUMNS):
            total = single(0)
            for k in range(DEPTH):
                x, y = (soft.f16_to_f32(half(int(v))) for v in (a[r, k], w[k, c]))
                total = soft.f32_add(total, soft.f32_mul(x, y))
            dots[r, c] = bits(total)
    return {
        "x": np.array([x for x, _ in pairs], np.uint16),
        "y": np.array([y for _, y in pairs], np.uint16),
        "sum": halves(soft.f16_add(x, y) for x, y in operands),
        "difference": halves(soft.f16_sub(x, y) for x, y in operands),
        "product": halves(soft.f16_mul(x, y) for x, y in operands),
        "quotient": halves(soft.f16_div(x, y) for x, y in operands),
        "root": halves(soft.f16_sqrt(x) for x, _ in operands),
        "wide": np.array(wide, np.uint32),
        "rounded": halves(soft.f32_to_f16(single(x)) for x in wide),
        "a": a,
        "w": w,
        "dots": dots,
    }


def _wide(draw: random.Random) -> int:
    """Return a binary32 pattern, most of them near binary16's range and its ties."""
    if draw.random() < 0.1:
        return draw.getrandbits(32)
    low = draw.choice((0, 1, 0xFFF, 0x1000, 0x1001, 0x1FFF, draw.getrandbits(13)))
    high = draw.getrandbits(10) << 13
    return draw.getrandbits(1) << 31 | draw.randint(100, 144) << 23 | high | low


def _number(draw: random.Random) -> int:
    """Return the pattern of a finite binary16 number, of very different sizes."""
    return draw.getrandbits(1) << 15 | draw.randint(0, 24) << 10 | draw.getrandbits(10)


if __name__ == "__main__":
    main()
