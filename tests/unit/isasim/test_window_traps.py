"""Illegal windows and operands of windowed instructions; blocks of patches; the region's shapes."""

import numpy as np
import pytest

from snncc.isa.window import Window
from snncc.isasim.engines import Resolved, Trap, check, footprint, select_engine
from unit.isasim.engine_cases import Maker
from unit.isasim.window_cases import make_convolution

WINDOW = Window(4, 4, 2, 2, 16, 2, 2, 2, 2, 0, 0, 1, 1, 1, 1)
VALUES = {
    "gaccw": (1024, 64, 0, 2, 32, 2048, 32, 1, 16, 0, 0, 1),
    "macw": (1024, 64, 0, 32, 512, 2048, 32, 1, 16, 0, 0, 1, 1, 0),
    "bmacw": (1024, 64, 0, 32, 512, 2048, 32, 1, 16, 0, 0, 1, 1, 0),
    "gouterw": (4096, 64, 0, 2, 32, 2048, 32, 1, 16, 0, 1),
    "outerw": (4096, 64, 0, 32, 512, 2048, 32, 1, 16, 0, 1, 1),
    "pool": (1024, 64, 0, 32, 512, 1, 0, 0, 2),
    "poolgrad": (1024, 32, 512, 2048, 32, 0, 32, 512, 3072, 32, 1, 0, 0),
}
SIZE = 16384


def trap(op: Resolved) -> str:
    memory = np.full(SIZE, 7, np.uint8)
    for engine in ("fast", "reference"):
        with pytest.raises(Trap) as caught:
            select_engine(engine).execute(op, memory)
    assert (memory == 7).all()
    return f"{caught.value.kind}: {caught.value}"


@pytest.mark.parametrize("mnemonic", sorted(VALUES))
@pytest.mark.parametrize(
    "field", ["in_h", "in_w", "out_h", "out_w", "channels", "k_h", "k_w", "div_h", "div_w"]
)
def test_a_window_without_size_is_illegal(mnemonic: str, field: str) -> None:
    window = WINDOW._replace(**{field: 0})
    text = trap(Resolved(mnemonic, VALUES[mnemonic], (tuple(window),)))
    assert text.startswith("window: ")
    assert f"{field} is 0" in text
    assert "window" in trap(Resolved(mnemonic, VALUES[mnemonic], ((0,) * 15,)))


@pytest.mark.parametrize(
    ("mnemonic", "place", "value", "kind"),
    [
        ("gaccw", 2, 1, "alignment"),
        ("macw", 3, 31, "alignment"),
        ("macw", 4, 511, "alignment"),
        ("macw", 2, SIZE - 32, "bounds"),
        ("macw", 2, -2, "bounds"),
        ("macw", 7, -1, "operand"),
        ("macw", 7, 1 << 40, "operand"),
        ("macw", 8, -1, "operand"),
        ("macw", 11, 3, "operand"),
        ("bmacw", 12, 2, "operand"),
        ("bmacw", 13, 2, "operand"),
        ("gouterw", 10, 2, "operand"),
        ("outerw", 11, 2, "operand"),
        ("pool", 7, 3, "operand"),
        ("pool", 8, 3, "operand"),
        ("poolgrad", 12, 1, "operand"),
        ("poolgrad", 10, -1, "operand"),
    ],
)
def test_traps(mnemonic: str, place: int, value: int, kind: str) -> None:
    values = list(VALUES[mnemonic])
    values[place] = value
    assert trap(Resolved(mnemonic, tuple(values), (tuple(WINDOW),))).startswith(kind)


def test_absurd_windows_trap() -> None:
    huge = WINDOW._replace(out_h=65535, out_w=65535, k_h=255, k_w=255, channels=65535)
    for mnemonic, values in VALUES.items():
        assert trap(Resolved(mnemonic, values, (tuple(huge),))).startswith("operand")


def test_transpose_traps() -> None:
    assert trap(Resolved("transpose", (16, 8, 0, 8, 3, 4))).startswith("overlap")
    assert trap(Resolved("transpose", (101, 8, 0, 8, 3, 4))).startswith("alignment")
    assert trap(Resolved("transpose", (SIZE - 2, 8, 0, 8, 3, 4))).startswith("bounds")
    assert trap(Resolved("transpose", (100, 8, 0, 8, -3, 4))).startswith("operand")


def reached(window: Window, images: int = 3) -> list[tuple[int, ...]]:
    values = (1024, 64, 4096, 32, 8192, images, 0, 0, 2)
    reads, _ = footprint(Resolved("pool", values, (tuple(window),)))
    return [(r.start - 4096, r.n0, r.s0, r.n1, r.s1) for r in reads]


def test_stacks_are_few_regions() -> None:
    assert reached(WINDOW) == [(0, 3, 8192, 16, 32)]
    assert reached(WINDOW, 1) == [(0, 1, 0, 16, 32)]
    points = WINDOW._replace(k_h=1, k_w=1)  # rows and columns 0 and 2
    assert reached(points) == [(0, 3, 8192, 2, 64), (256, 3, 8192, 2, 64)]
    assert reached(points._replace(out_h=1)) == [(0, 3, 8192, 2, 64)]
    assert reached(WINDOW._replace(base_h=100)) == []
    # the rows that no tap reads may lie outside of the memory
    low = WINDOW._replace(in_h=60000, base_h=0)
    check(Resolved("pool", (1024, 64, 4096, 32, 512, 1, 0, 0, 2), (tuple(low),)), SIZE)


@pytest.mark.parametrize("mnemonic", ["gaccw", "bmacw", "gouterw", "outerw"])
def test_more_patches_than_the_scratch_holds(mnemonic: str) -> None:
    m = Maker(5, special=0.001)
    window = Window(40, 40, 40, 40, 112, 3, 3, 1, 1, -1, -1, 1, 1, 1, 1)
    images = 6 if mnemonic.startswith("g") else 1
    op = make_convolution(m, mnemonic, window, images, 5, 0.05)
    memory = m.memory()
    fast, reference = memory.copy(), memory.copy()
    activity = select_engine("fast").execute(op, fast)
    assert activity == select_engine("reference").execute(op, reference)
    assert (fast == reference).all()
