"""Lists of active inputs: right, shared by equal spikes only, and bounded."""

import numpy as np
import pytest

from snncc.isa.numbers.fp16 import pack_bits, packed_bytes
from snncc.isasim.engines.fast.inputs import Inputs, matrix
from snncc.isasim.engines.fast.spike_lists import KEPT, LEAST, SpikeLists

ROWS, COLUMNS = 300, 200


def spikes(seed: int, rows: int = ROWS, columns: int = COLUMNS) -> tuple[np.ndarray, np.ndarray]:
    """Return random spikes and their packed bytes."""
    bits = np.random.default_rng(seed).random((rows, columns)) < 0.1
    return bits, pack_bits(bits).reshape(-1).view(np.uint8).copy()


def inputs(memory: np.ndarray, rows: int = ROWS, columns: int = COLUMNS) -> Inputs:
    """Return packed spikes as an instruction's inputs."""
    start = int(memory.ctypes.data)
    stride = packed_bytes(columns)
    return matrix(start, stride, rows, columns, start + memory.size, bits=True)


@pytest.mark.parametrize("outer", [False, True])
def test_lists_say_where_the_spikes_are(outer: bool) -> None:
    bits, memory = spikes(1)
    found = SpikeLists().find(inputs(memory), outer, int(bits.sum()))
    assert found is not None
    wanted = bits.T if outer else bits
    for r, row in enumerate(wanted):
        listed = found.index[found.start[r] : found.start[r + 1]]
        assert list(listed) == list(np.flatnonzero(row))


def test_equal_spikes_elsewhere_share_their_lists() -> None:
    bits, memory = spikes(1)
    lists, copy = SpikeLists(), memory.copy()
    first = lists.find(inputs(memory), False, int(bits.sum()))
    assert lists.find(inputs(copy), False, int(bits.sum())) is first
    assert lists.find(inputs(copy), True, int(bits.sum())) is not first


def test_one_other_spike_makes_other_lists() -> None:
    bits, memory = spikes(1)
    lists = SpikeLists()
    first = lists.find(inputs(memory), False, int(bits.sum()))
    memory[-packed_bytes(COLUMNS)] ^= 1
    bits[-1, 0] ^= True
    second = lists.find(inputs(memory), False, int(bits.sum()))
    assert first is not None
    assert second is not None
    assert second is not first
    assert list(second.index[second.start[ROWS - 1] : second.start[ROWS]]) == list(
        np.flatnonzero(bits[-1])
    )


def test_old_lists_are_forgotten() -> None:
    lists = SpikeLists()
    made = [spikes(seed) for seed in range(KEPT + 1)]
    found = [lists.find(inputs(memory), False, int(bits.sum())) for bits, memory in made]
    (bits, memory), (old, old_memory) = made[-1], made[0]
    assert lists.find(inputs(memory), False, int(bits.sum())) is found[-1]
    assert lists.find(inputs(old_memory), False, int(old.sum())) is not found[0]


def test_little_work_is_not_listed_ahead() -> None:
    bits, memory = spikes(1, 4, 100)
    assert 400 < LEAST
    assert SpikeLists().find(inputs(memory, 4, 100), False, int(bits.sum())) is None
