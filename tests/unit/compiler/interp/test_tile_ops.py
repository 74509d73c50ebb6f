"""The tile operations of the interpreter against the simulator's reference engine; its checks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from snncc.compiler.interp.tile_lanes import Stream, run_lanes
from snncc.compiler.interp.tile_memory import Actors, Memory, TileError
from snncc.compiler.interp.tile_ops import Place, run
from snncc.compiler.ir.core import Attribute, Op, op
from snncc.compiler.ir.dialect_tile import address_operands
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.spec import EnumKind
from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.reference.engine import ReferenceEngine
from unit.isasim.engine_cases import random_case

DENSE = ("gacc", "mac", "bmac", "gouter", "outer", "rowred", "colsum")
WINDOWED = ("gaccw", "macw", "bmacw", "gouterw", "outerw", "pool", "poolgrad", "transpose")


def scratchpad(memory: npt.NDArray[np.uint8]) -> Memory:
    """Return a buffer that holds what a scratchpad holds."""
    made = Memory("scratchpad", memory.size)
    made.bytes[...] = memory
    made.known.fill(True)
    return made


def call_of(resolved: Resolved, memory: Memory) -> tuple[Op, dict[str, Place]]:
    """Return the tile operation that is an instruction, and where its operands lie."""
    row = BY_MNEMONIC[resolved.mnemonic]
    attrs: dict[str, Attribute] = {}
    if resolved.streams:
        attrs["window"] = tuple(resolved.streams[0])
    places: dict[str, Place] = {}
    for field, value in zip(row.operands, resolved.values, strict=True):
        if field.name in address_operands(row):
            places[field.name] = Place(memory, value)
        elif isinstance(field.kind, EnumKind):
            attrs[field.name] = field.kind.words[value]
        else:
            attrs[field.name] = value
    return op(f"tile.{resolved.mnemonic}", attrs=attrs), places


@pytest.mark.parametrize("mnemonic", [*DENSE, *WINDOWED])
def test_operations_compute_what_the_simulator_computes(mnemonic: str) -> None:
    for seed in range(16):
        resolved, memory = random_case(mnemonic, seed, 20)
        mine = scratchpad(memory)
        ReferenceEngine().execute(resolved, memory)
        if mnemonic == "transpose":  # source and target are different buffers there
            tile_op, places = call_of(resolved, mine)
            target = scratchpad(mine.bytes)
            run(tile_op, {**places, "dst": Place(target, places["dst"].at)})
            mine = target
        else:
            with np.errstate(all="ignore"):
                run(*call_of(resolved, mine))
        assert np.array_equal(mine.bytes, memory), seed


def test_microprograms_compute_what_the_simulator_computes() -> None:
    for seed in range(40):
        resolved, memory = random_case("ew", seed, 20)
        mine = scratchpad(memory)
        ReferenceEngine().execute(resolved, memory)
        program = resolved.micro
        assert program is not None
        counters = {i.imm for i in program.code if i.op.name in {"iota", "rand"}}
        streams = {
            number: Stream(None if number in counters else Place(mine, base), base, step, row)
            for number, (base, step, row) in zip(program.streams, resolved.streams, strict=True)
        }
        o = resolved.operands
        empty = Stream(None, 0, 0, 0)
        every = [streams.get(i, empty) for i in range(max(streams, default=0) + 1)]
        with np.errstate(all="ignore"):
            code = MicroProgram(program.name, program.code)
            run_lanes("ew", code, every, steps=o.steps, rows=o.rows, cols=o.cols, seed=o.seed)
        assert np.array_equal(mine.bytes, memory), seed


# ------------------------------------------------------------------------------------ memory


def halves(*shape: int) -> npt.NDArray[np.uint16]:
    return np.ones(shape, np.uint16)


def test_an_access_stays_inside() -> None:
    memory = Memory("m", 64)
    memory.write(0, [(4, 16)], halves(4, 8))
    assert memory.read(48, [(4, -16)], 16).shape == (4, 8)
    for at, stride in ((2, 16), (-2, 16), (0, -16)):
        with pytest.raises(TileError, match="which has 64"):
            memory.read(at, [(4, stride)], 16)
    with pytest.raises(TileError, match="which has 64"):
        memory.gather(np.array([50]), 16)


def test_nothing_is_read_that_was_not_written() -> None:
    memory = Memory("m", 64)
    memory.write(0, [(2, 8)], halves(2, 3))
    assert (memory.read(8, [], 6) == 1).all()
    with pytest.raises(TileError, match="never written"):
        memory.read(0, [(2, 8)], 8)
    with pytest.raises(TileError, match="never written"):
        memory.gather(np.array([6]), 2)
    memory.forget()
    with pytest.raises(TileError, match="never written"):
        memory.read(0, [], 2)


def test_rows_of_one_write_do_not_share_a_place() -> None:
    memory = Memory("m", 64)
    for dims in ([(2, 4)], [(3, 0)], [(2, 6), (2, 14)]):
        with pytest.raises(TileError, match="on top of each other"):
            memory.write(0, dims, halves(*(n for n, _ in dims), 4))
    memory.write(0, [(2, 4), (2, 8)], halves(2, 2, 2))  # interleaved


def test_alignment() -> None:
    memory = Memory("m", 64)
    with pytest.raises(TileError, match="not aligned to 4"):
        memory.write(2, [], halves(2), 4)
    with pytest.raises(TileError, match="not aligned to 2"):
        memory.read(1, [], 2)


def test_actors_without_an_order_do_not_meet() -> None:
    actors = Actors()
    memory = Memory("m", 64, actors)
    first = actors.start(3)
    memory.write(0, [], halves(4))
    actors.now = first + 1
    with pytest.raises(TileError, match="another wrote"):
        memory.read(6, [], 2)
    with pytest.raises(TileError, match="another wrote"):
        memory.write(6, [], halves(1))
    actors.start(3)  # a barrier
    memory.read(0, [], 8)
    actors.now += 1
    memory.read(4, [], 2)
    with pytest.raises(TileError, match="another reads"):
        memory.write(4, [], halves(1))
    actors.now -= 1
    with pytest.raises(TileError, match="another reads"):
        memory.write(4, [], halves(1))
    memory.write(0, [], halves(2))
