"""The compiler's estimate: by hand for one layer, and against runs of every instruction."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snncc.isa.cost.estimate import Densities, estimate
from snncc.isa.machine.machine import load_machine, parse_machine
from snncc.isa.program.file import CoreProgram, ObjectFile, SourceLine
from snncc.isasim.measure.activity import Expected
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import Asm, program, small

ROWS, K, N = 64, 128, 32
SPIKES, WEIGHTS, TILES = ROWS * K // 8, 2 * K * N, 10


def streaming_layer() -> tuple[Asm, int]:
    """A layer whose weights come in tiles; return also the address of its accumulation."""
    asm = Asm()
    for value in (1, 4 * N, K // 8, 2 * N, ROWS, K, N, SPIKES, WEIGHTS, 20480):
        asm.reg(value)
    asm.copy("ld", 0, 0, SPIKES)
    with asm.loop(TILES):
        asm.copy("ld", SPIKES, SPIKES, WEIGHTS)
        asm.sync(0, "dma", "fp")
        at = asm.emit(
            "gacc", acc=asm.reg(20480), acc_stride=asm.reg(4 * N), a=asm.reg(0),
            a_stride=asm.reg(K // 8), w=asm.reg(SPIKES), w_stride=asm.reg(2 * N),
            rows=asm.reg(ROWS), k=asm.reg(K), n=asm.reg(N), bias=asm.reg(0), init=1,
        )  # fmt: skip
        asm.sync(1, "fp", "dma")
    return asm, at


def of(file: ObjectFile, densities: Densities | None = None) -> dict[str, Any]:
    machine = parse_machine(file.machine_toml, "test")
    found = estimate(file.cores, file.micro, machine, densities)
    assert found is not None
    return found


def test_a_layer_by_hand() -> None:
    """A quarter of the spikes: 2048 of 8192 inputs, 65536 of 262144 terms per tile.

    A block of 16 inputs is idle with probability 0.75**16 = 0.01002, so 507 of 512 blocks take a
    step in each of the two blocks of outputs; ports need less (288 and 128 cycles).
    """
    machine = small()
    asm, at = streaming_layer()
    words = asm.done()
    lines = [
        SourceLine(0, layer="fc", phase="load"),
        SourceLine(at, layer="fc", phase="fp"),
        SourceLine(at + 1, layer="fc", phase="load"),
    ]
    file = program(words, machine, lines={0: lines})
    found = of(file, Densities({("fc", "fp"): 0.25}, "a.json"))
    work, load = found["layers"]
    assert (work["phase"], load["phase"]) == ("fp", "load")
    assert work["expected"] == {"density": 0.25, "from": "a.json"}
    assert load["expected"] == {"density": 0.1, "from": "default"}
    assert work["macs"] == {"dense": TILES * ROWS * K * N, "performed": TILES * ROWS * K * N // 4}
    assert work["density"] == 0.25
    assert work["units"] == {"fp": TILES * 1014}
    assert work["dram_bytes"] == {"read": 0, "write": 0, "instruction": 16}
    assert load["units"] == {"dma": SPIKES // 16 + TILES * (WEIGHTS // 16 + 2), "fp": TILES * 2}
    moved = SPIKES + TILES * WEIGHTS
    assert load["dram_bytes"] == {
        "read": moved, "write": 0, "instruction": 16 * (len(words) - 1),
    }  # fmt: skip
    executed = len(words) - 6 + 6 * TILES  # the loop's body has six instructions
    assert found["instructions"] == executed
    assert found["bound"] == {"cycles": TILES * 1016, "unit": "fp", "core": 0}
    bits = 8 * (moved + 16 * (len(words) - 1))
    energy = bits * machine.dram.pj_per_bit + moved * machine.scratchpad.write_pj_per_byte
    energy += (executed - TILES) * 16 * machine.sequencer.fetch_pj_per_byte
    assert load["energy_pj"] == pytest.approx(energy, rel=1e-12)


def test_the_bus_can_be_the_bound() -> None:
    """Four cores load 4096 bytes each: 128 cycles of the bus for all, 64 * 4 on a port."""
    machine = small(**{"dram.bytes_per_cycle": 8, "dma.bytes_per_cycle": 8})
    asm = Asm()
    asm.copy("ld", 0, 0, 4096)
    file = program({core: asm.done() for core in range(4)}, machine)
    code = -(-16 * len(asm.done()) * 4 // 8)
    assert of(file)["bound"] == {"cycles": 4 * 4096 // 8 + code, "unit": "dram", "core": -1}


def varying(bytes_from_loop: bool) -> Asm:
    """A loop that counts a register up, which is (or is not) a size."""
    asm = Asm()
    for value in (1, 64):
        asm.reg(value)
    asm.emit("li", rd=20, imm=64)
    with asm.loop(3):
        size = 20 if bytes_from_loop else asm.reg(64)
        zero, one = asm.reg(0), asm.reg(1)
        asm.emit("ld", dst=20, src=zero, n0=one, n1=one, bytes=size, dst0=zero, dst1=zero,
                 src0=zero, src1=zero)  # fmt: skip
        asm.emit("addi", rd=20, ra=20, imm=64)
    return asm


def test_sizes_that_change_from_turn_to_turn_have_no_estimate() -> None:
    machine = small()
    for changes in (False, True):
        cores = program(varying(changes).done()).cores
        assert (estimate(cores, (), machine) is None) == changes


def load(asm: Asm, size: int) -> None:
    """Append a transfer of as many bytes as the register holds."""
    zero, one = asm.reg(0), asm.reg(1)
    asm.emit("ld", dst=zero, src=zero, n0=one, n1=one, bytes=size, dst0=zero, dst1=zero,
             src0=zero, src1=zero)  # fmt: skip


def counting(outer: int, inner: int, *, after: bool = False) -> Asm:
    """A load in a loop; a loop inside it changes the size, so often, before or ``after``."""
    asm = Asm()
    asm.reg(1)
    asm.emit("li", rd=20, imm=64)
    with asm.loop(outer):
        if not after:
            load(asm, 20)
        with asm.loop(inner):
            asm.emit("addi", rd=20, ra=20, imm=64)
        if after:
            load(asm, 20)
    return asm


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("inner", [1, 2, 3])
@pytest.mark.parametrize("outer", [2, 3])
def test_a_loop_inside_changes_the_size_outside(outer: int, inner: int, after: bool) -> None:
    cores = program(counting(outer, inner, after=after).done()).cores
    assert estimate(cores, (), small()) is None


def test_a_loop_of_one_turn_changes_nothing_for_itself() -> None:
    """The first load has 64 bytes; the one behind the loop inside has 128."""
    for after, size in ((False, 64), (True, 128)):
        found = of(program(counting(1, 1, after=after).done()))
        assert found["dram_bytes"]["read"] == size
    assert estimate(program(counting(1, 2, after=True).done()).cores, (), small()) is None


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_two_turns_are_enough_to_change_a_size(turns: int) -> None:
    asm = Asm()
    asm.reg(1)
    asm.emit("li", rd=20, imm=64)
    with asm.loop(turns):
        load(asm, 20)
        asm.emit("addi", rd=20, ra=20, imm=64)
    found = estimate(program(asm.done()).cores, (), small())
    assert (found is None) == (turns > 1)


@pytest.mark.parametrize("inside", [False, True])
def test_a_window_that_changes_in_a_loop_inside(inside: bool) -> None:
    asm = Asm()
    size = {"in_h": 4, "in_w": 4, "out_h": 2, "out_w": 2, "channels": 16}
    steps = {"k_h": 2, "k_w": 2, "mul_h": 2, "mul_w": 2, "base_h": 0, "base_w": 0}
    rest = {"step_h": 1, "step_w": 1, "div_h": 1, "div_w": 1}
    one = asm.reg(1)
    asm.emit("winsize", win=0, **size)
    asm.emit("winmap", win=0, **steps, **rest)
    pool: dict[str, int] = {
        "dst": 0, "dst_stride": asm.reg(32), "x": asm.reg(1024), "x_stride": asm.reg(32),
        "x_image": 0, "images": one, "win": 0, "type": 0, "op": 0,
    }  # fmt: skip
    with asm.loop(2):
        asm.emit("pool", **pool)
        with asm.loop(2):
            asm.emit("winsize", win=0 if inside else 1, **{**size, "channels": 32})
    found = estimate(program(asm.done()).cores, (), small())
    assert (found is None) == inside


def test_nested_loops_that_end_together() -> None:
    """2 * 3 * 5 loads of 64 bytes, the last instruction of three loops; then 7 more."""
    asm = Asm()
    size, first = asm.reg(64), asm.reg(1)
    assert first
    with asm.loop(2), asm.loop(3):
        with asm.loop(5):
            load(asm, size)
    with asm.loop(7):
        load(asm, size)
    file = program(asm.done())
    found = of(file)
    assert found["dram_bytes"]["read"] == 64 * (2 * 3 * 5 + 7)
    assert found["layers"][0]["units"]["dma"] == 4 * (30 + 7)  # 16 bytes a cycle
    assert found["instructions"] == System(file, RunOptions(engine="reference")).run().instructions


def test_registers_windows_and_loops_are_followed() -> None:
    """Counts from registers, loops of no turn, sizes set inside the loop that uses them."""
    asm = Asm()
    one = asm.reg(1)
    asm.emit("li", rd=30, imm=6)
    asm.emit("li", rd=31, imm=7)
    asm.emit("mul", rd=32, ra=30, rb=31)
    asm.emit("addi", rd=32, ra=32, imm=-2)  # 40
    asm.emit("sub", rd=33, ra=32, rb=30)  # 34
    asm.emit("add", rd=33, ra=33, rb=30)  # 40
    at = asm.emit("loop", count=33, end=0)
    with asm.loop(5):
        asm.emit("li", rd=34, imm=16)
        asm.emit("addi", rd=34, ra=34, imm=16)
        asm.emit("fill", dst=0, dst0=0, n0=one, bytes=34, pattern=0)
    with asm.loop(0):
        asm.emit("fill", dst=0, dst0=0, n0=one, bytes=33, pattern=0)
    asm.code[at] = replace(asm.code[at], values=(33, len(asm.code)))
    file = program(asm.done())
    found = of(file)
    assert found["layers"][0]["units"] == {"dma": 40 * 5}  # 32 bytes: a cycle of the port
    system = System(file, RunOptions(engine="reference"))
    result = system.run()
    assert result.instructions == found["instructions"]
    assert result.stats["units"]["dma"]["busy"] == 200


def equal_to_a_run(file: ObjectFile, densities: dict[tuple[str, str], float]) -> None:
    """Compare with a run without values, which executes every instruction."""
    found = of(file, Densities(densities, "test"))
    stats = System(file, RunOptions(source=Expected(densities))).run().stats
    counted = {(one["name"], one["phase"]): one for one in stats["layers"]}
    assert found["instructions"] == stats["instructions"]
    assert found["macs"] == stats["macs"]
    assert found["dram_bytes"] == stats["dram_bytes"]
    for one in found["layers"]:
        there = counted.pop((one["name"], one["phase"]))
        for key in ("cycles", "units", "dram_bytes", "noc_bytes", "instructions", "macs"):
            assert one[key] == there[key], (one["name"], one["phase"], key)
        energy = there["energy_pj"] - there["energy_by"]["static"]
        assert one["energy_pj"] == pytest.approx(energy, rel=1e-9)
    assert not any(one["instructions"] for one in counted.values())
    bound = found["bound"]
    if bound["unit"] == "dram":
        assert bound["cycles"] >= stats["dram"]["busy"]  # code is loaded core by core
    else:
        mine = next(c for c in stats["units"][bound["unit"]]["cores"] if c["core"] == bound["core"])
        assert mine["busy"] == bound["cycles"]
    assert bound["cycles"] <= stats["cycles"]


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("name", ["dense", "convolutional", "recurrent"])
def test_a_compiled_network_costs_what_a_run_at_these_densities_counts(
    name: str, cores: int, tmp_path: Any
) -> None:
    from made_networks import compiled

    file = compiled(name, tmp_path, cores)
    layers = {(line.layer, line.phase) for core in file.cores for line in core.lines}
    some = sorted(key for key in layers if key[1] in ("fp", "bp", "wg"))
    densities = {key: (3 + 7 * i) % 20 / 20 for i, key in enumerate(some)}
    equal_to_a_run(file, densities)


def test_a_dense_network_by_hand(tmp_path: Any) -> None:
    """24 -> 40 -> 6 over 5 steps of 4 samples: the arrays' terms, from the network alone.

    Forward and weight gradient of both layers, the input's gradient of the second only.  The
    input is no spikes, the second layer's are: a quarter of them are expected.
    """
    from made_networks import compiled

    file = compiled("dense", tmp_path, 2)
    found = of(file, Densities({("", "fp"): 0.25, ("", "wg"): 0.25}, "test"))
    terms = {"fp": 0, "bp": 0, "wg": 0}
    for one in found["layers"]:
        if one["macs"]["dense"]:
            terms[one["phase"]] += one["macs"]["dense"]
    first, second = 5 * 4 * 24 * 40, 5 * 4 * 40 * 6
    assert terms == {"fp": first + second, "bp": second, "wg": first + second}


@pytest.mark.parametrize("name", ["dense", "convolutional", "recurrent"])
def test_the_densities_that_a_run_counted_give_what_it_counted(name: str, tmp_path: Any) -> None:
    """A run with values counts its own terms; the estimate is given nothing but its densities."""
    from made_networks import compiled

    file = compiled(name, tmp_path, 2)
    system = System(file, RunOptions(engine="reference"))
    for tensor in file.tensors:
        if tensor.role == "input":
            rng = np.random.default_rng(1)
            system.write_tensor(tensor.name, rng.integers(0, 2, tensor.shape).astype(np.float32))
    result = system.run()
    assert result.fault is None
    layers = [one for one in result.stats["layers"] if one["macs"]["dense"]]
    densities = {(one["name"], one["phase"]): one["density"] for one in layers}
    assert any(0 < d < 1 for d in densities.values())
    estimated = {(o["name"], o["phase"]): o for o in of(file, Densities(densities))["layers"]}
    for one in layers:
        expected = estimated[one["name"], one["phase"]]
        assert expected["macs"]["dense"] == one["macs"]["dense"]
        assert expected["macs"]["performed"] == pytest.approx(one["macs"]["performed"], rel=0.1)
        assert expected["dram_bytes"] == one["dram_bytes"]
        assert expected["instructions"] == one["instructions"]


def test_every_core_of_the_machine_is_read_from_its_own_code() -> None:
    short, long = Asm(), Asm()
    short.copy("ld", 0, 0, 64)
    for _ in range(5):
        long.copy("ld", 0, 0, 64)
    machine = load_machine("small")
    cores = [CoreProgram(2, long.done()), CoreProgram(0, short.done())]
    found = estimate(cores, (), machine)
    assert found is not None
    assert found["bound"]["core"] == 2
    assert found["dram_bytes"]["read"] == 6 * 64
