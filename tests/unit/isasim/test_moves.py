"""Transfers checked at once: never more lenient than one by one, rows as the rules want them."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from snncc.isasim.engines import Resolved, Trap, check
from snncc.isasim.machine.movement import copy
from snncc.isasim.machine.moves import Moves

SRAM, DRAM = 4096, 8192


def move(
    name: str, dst: int, src: int, counts: tuple[int, ...], strides: tuple[int, ...]
) -> Resolved:
    return Resolved(name, (dst, src, *counts, *strides))


EDGES = st.sampled_from([0, 1, -1, 63, 64, SRAM, DRAM, 1 << 24, (1 << 24) + 1, 1 << 40, -(1 << 63)])
PLACE = st.integers(-8, DRAM) | EDGES
COUNT = st.integers(-1, 12) | EDGES
STRIDE = st.integers(-300, 300) | EDGES
MOVE = st.builds(
    move,
    st.sampled_from(["ld", "st"]),
    PLACE,
    PLACE,
    st.tuples(COUNT, COUNT, st.integers(0, 200) | EDGES),
    st.tuples(STRIDE, STRIDE, STRIDE, STRIDE),
)


def traps(op: Resolved) -> bool:
    try:
        check(op, SRAM, DRAM)
    except Trap:
        return True
    return False


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(MOVE, max_size=20))
def test_what_is_inside_does_not_trap(ops: list[Resolved]) -> None:
    moves = Moves(ops)
    for op, inside, usual in zip(ops, moves.inside(SRAM, DRAM), moves.usual, strict=True):
        assert not (inside and traps(op))
        if usual and not traps(op):
            assert inside


NEAR = st.builds(
    move,
    st.sampled_from(["ld", "st"]),
    st.integers(1000, 3000),
    st.integers(1000, 3000),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 40)),
    st.tuples(*[st.integers(-200, 200) | st.sampled_from([1, 7, 8, 40])] * 4),
)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(NEAR, min_size=1, max_size=10))
def test_rows_move_what_the_instructions_move(ops: list[Resolved]) -> None:
    moves = Moves(ops)
    ones = np.zeros(len(ops), np.int64)
    table, sound = moves.rows(5, 1 << 20, ones)  # DRAM begins at 2**20, scratchpads at 0
    inside = moves.inside(SRAM, DRAM)
    rng = np.random.default_rng(1)
    for op, row, good in zip(ops, table.tolist(), (sound & inside).tolist(), strict=True):
        if not good:
            continue
        sram, dram = (rng.integers(0, 256, n).astype(np.uint8) for n in (SRAM, DRAM))
        flat = _moved(row, sram, dram)
        source, target = (dram, sram) if op.mnemonic == "ld" else (sram, dram)
        copy(op, source, target, SRAM, DRAM)
        assert np.array_equal(flat[0], sram)
        assert np.array_equal(flat[1], dram)


def _moved(row: list[int], sram: Any, dram: Any) -> tuple[Any, Any]:
    """Carry out a row of the table, its lines in reverse: no order may matter."""
    kind, to, source, n0, n1, size, dst0, dst1, src0, src1 = row
    assert kind == 5
    memory = {False: sram.copy(), True: dram.copy()}
    base = 1 << 20
    old = {key: part.copy() for key, part in memory.items()}
    for i in reversed(range(n0)):
        for j in reversed(range(n1)):
            a, b = to + i * dst0 + j * dst1, source + i * src0 + j * src1
            into, out = a >= base // 2, b >= base // 2
            a, b = a - base * into, b - base * out
            memory[into][a : a + size] = old[out][b : b + size]
    return memory[False], memory[True]
