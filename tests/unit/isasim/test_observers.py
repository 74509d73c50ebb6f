"""Race check, uninitialised reads, traces, statistics, determinism."""

import io
import json
from typing import Any

import numpy as np
import pytest

from snncc.isa.microprograms.code import MicroBuilder
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.program.file import ObjectFile, SourceLine, TensorEntry
from snncc.isa.spec import Inst
from snncc.isasim.faults import StopReason
from snncc.isasim.observe.trace import EventTrace, JsonTrace, TextTrace
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import Asm, program, run, run_code


def busy_program() -> ObjectFile:
    """Four cores in a ring that load, compute, exchange and store; correct."""
    codes: dict[int, tuple[Inst, ...]] = {}
    lines: dict[int, list[SourceLine]] = {}
    for core in range(4):
        asm = Asm()
        near, far, step = asm.reg(0), asm.reg(512), asm.reg(128)
        one = asm.reg(1)
        source, target = 40, 41
        compute = asm.emit("li", rd=source, imm=256 * core)
        asm.emit("li", rd=target, imm=2048 + 256 * core)
        copy = {"n0": one, "n1": one, "bytes": step, "dst0": near, "dst1": near}
        copy |= {"src0": near, "src1": near}
        asm.reg(64)
        asm.reg((core + 1) % 4)
        asm.reg((core - 1) % 4)
        asm.reg(256)
        asm.reg(1024)
        asm.reg(2 * 64)
        with asm.loop(2):
            asm.emit("ld", dst=near, src=source, **copy)
            asm.sync(0, "dma", "vpu")
            asm.colsum(512, 0, 64)
            asm.sync(1, "vpu", "noc")
            exchange = asm.send((core + 1) % 4, 5, 512, 256)
            asm.recv((core - 1) % 4, 5, 1024, 256)
            asm.sync(2, "noc", "dma")
            asm.emit("st", dst=target, src=asm.reg(1024), **copy)
            asm.sync(3, "dma", "vpu")
            asm.emit("addi", rd=source, ra=source, imm=128)
            asm.emit("addi", rd=target, ra=target, imm=128)
        assert far
        codes[core] = asm.done()
        lines[core] = [
            SourceLine(0, "net.snn", 1, "", "", ""),
            SourceLine(compute, "net.snn", 2, "", "fc1", "fp"),
            SourceLine(exchange, "net.snn", 3, "", "fc1", "bp"),
        ]
    return program(codes, lines=lines)


def filled(file: ObjectFile, **options: Any) -> System:
    merged: dict[str, Any] = {"engine": "reference", **options}
    system = System(file, RunOptions(**merged))
    values = np.random.default_rng(3).normal(size=system.dram.size // 2).astype(np.float16)
    system.dram[:] = values.view(np.uint8)
    return system


def test_a_correct_program_has_no_races() -> None:
    system = filled(busy_program(), check_races=True)
    for _ in range(2):
        result = system.run()
        assert result.reason is StopReason.HALT, result.fault
        assert result.races == ()


def test_a_missing_wait_is_a_race_whatever_the_times() -> None:
    asm = Asm()
    load = asm.copy("ld", 0, 0, 128)
    use = asm.colsum(512, 0, 64)
    for timing in (True, False):
        _, result = run_code(asm.done(), check_races=True, timing=timing)
        assert result.reason is StopReason.HALT
        (race,) = result.races
        assert {race.first.pc, race.second.pc} == {load, use}
        assert {race.first.unit, race.second.unit} == {"dma", "vpu"}
        assert (race.space, race.low, race.high) == ("sram of core 0", 0, 128)


def test_a_write_after_an_unordered_read_is_a_race() -> None:
    asm = Asm()
    asm.copy("ld", 0, 0, 128)
    asm.sync(0, "dma", "vpu")
    asm.colsum(512, 0, 64)
    asm.copy("ld", 64, 0, 128)  # no wait for the reader
    _, result = run_code(asm.done(), check_races=True)
    assert len(result.races) == 1
    assert (result.races[0].low, result.races[0].high) == (64, 128)


def test_rows_that_interleave_without_touching_are_no_race() -> None:
    asm = Asm()
    asm.copy("ld", 0, 0, 2, n0=64, dst0=4, src0=4)
    asm.fill(258, 2, 0)
    asm.emit(
        "rowred", dst=asm.reg(2), dst_stride=asm.reg(4), x=asm.reg(1024), x_stride=asm.reg(2),
        rows=asm.reg(32), n=asm.reg(1), type=0, op=0,
    )  # fmt: skip
    _, result = run_code(asm.done(), check_races=True)
    assert result.races == ()


def test_cores_race_for_the_dram_unless_a_message_orders_them() -> None:
    def codes(ordered: bool) -> dict[int, tuple[Inst, ...]]:
        one, two = Asm(), Asm()
        one.copy("st", 64, 0, 32)
        two.copy("ld", 0, 80, 32)
        if ordered:
            one, two = Asm(), Asm()
            one.copy("st", 64, 0, 32)
            one.sync(0, "dma", "noc")
            one.send(1, 0, 0, 0)
            two.recv(0, 0, 0, 0)
            two.sync(0, "noc", "dma")
            two.copy("ld", 0, 80, 32)
        return {0: one.done(), 1: two.done()}

    _, result = run(program(codes(False)), check_races=True)
    (race,) = result.races
    assert (race.space, race.low, race.high) == ("dram", 80, 96)
    assert {race.first.core, race.second.core} == {0, 1}
    _, result = run(program(codes(True)), check_races=True)
    assert result.races == ()


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("kind", ["send", "mcast"])
def test_what_is_sent_may_not_be_overwritten_at_once(kind: str, ordered: bool) -> None:
    one, two = Asm(), Asm()
    if kind == "send":
        sent = one.send(1, 3, 32, 64)
    else:
        sent = one.mcast(0b10, 3, 32, 64)
    if ordered:
        one.sync(0, "noc", "dma")
    load = one.copy("ld", 64, 0, 96)
    two.recv(0, 3, 0, 64)
    _, result = run(program({0: one.done(), 1: two.done()}), check_races=True)
    if ordered:
        assert result.races == ()
        return
    (race,) = result.races
    assert {(race.first.pc, race.first.unit), (race.second.pc, race.second.unit)} == {
        (sent, "noc"), (load, "dma"),
    }  # fmt: skip
    assert (race.space, race.low, race.high) == ("sram of core 0", 64, 96)


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_received_may_not_be_read_at_once(ordered: bool) -> None:
    one, two = Asm(), Asm()
    one.send(1, 3, 0, 128)
    two.recv(0, 3, 64, 128)
    if ordered:
        two.sync(0, "noc", "vpu")
    two.colsum(512, 128, 64)
    _, result = run(program({0: one.done(), 1: two.done()}), check_races=True)
    places = [(race.space, race.low, race.high) for race in result.races]
    assert places == ([] if ordered else [("sram of core 1", 128, 192)])


def test_a_message_orders_what_came_before_it_and_nothing_else() -> None:
    """The other core may read what was stored before the send, not what was stored after it."""
    one, two = Asm(), Asm()
    one.copy("st", 0, 0, 32)
    one.sync(0, "dma", "noc")
    one.send(1, 0, 0, 0)
    one.sync(1, "noc", "dma")
    late = one.copy("st", 64, 0, 32)
    two.recv(0, 0, 0, 0)
    two.sync(0, "noc", "dma")
    two.copy("ld", 0, 0, 32)
    read = two.copy("ld", 32, 64, 32)
    _, result = run(program({0: one.done(), 1: two.done()}), check_races=True)
    (race,) = result.races
    assert {(race.first.core, race.first.pc), (race.second.core, race.second.pc)} == {
        (0, late), (1, read),
    }  # fmt: skip
    assert (race.space, race.low, race.high) == ("dram", 64, 96)


def test_two_takers_of_one_semaphore_are_reported() -> None:
    asm = Asm()
    asm.post("seq", 0, 2)
    asm.wait("fp", 0)
    asm.wait("bp", 0)
    _, result = run_code(asm.done(), check_races=True)
    assert result.reason is StopReason.HALT
    assert [race.kind for race in result.races] == ["token"]


def test_tokens_of_the_wrong_poster_are_reported() -> None:
    asm = Asm()
    asm.post("dma", 0)
    asm.post("wg", 0)
    asm.wait("fp", 0)
    _, result = run_code(asm.done(), check_races=True)
    assert [race.kind for race in result.races] == ["token"]
    asm = Asm()
    asm.post("dma", 0)
    asm.post("wg", 0)
    asm.wait("fp", 0, 2)
    _, result = run_code(asm.done(), check_races=True)
    assert result.races == ()


@pytest.mark.parametrize("timing", [True, False])
def test_strict_init_finds_the_byte(timing: bool) -> None:
    asm = Asm()
    asm.fill(0, 126, 0)
    asm.sync(0, "dma", "vpu")
    asm.colsum(512, 0, 64)
    system, result = run_code(asm.done(), strict_init=True, timing=timing)
    assert result.fault is not None
    assert result.fault.kind == "uninitialised"
    assert "byte 126 of sram" in result.fault.message
    assert (system.chip.cores[0].sram[512:] == 0x7E).all()


def test_strict_init_knows_tensors_and_what_was_written() -> None:
    asm = Asm()
    asm.copy("ld", 0, 0, 128)
    asm.sync(0, "dma", "vpu")
    asm.colsum(512, 0, 64)
    tensor = TensorEntry("x", "input", "f16", (64,), 0)
    file = program(asm.done(), tensors=[tensor])
    system, result = run(file, strict_init=True)
    assert result.fault is not None
    assert "of dram" in result.fault.message
    system.write_tensor("x", np.arange(64, dtype=np.float32))
    assert (system.read_tensor("x") == np.arange(64)).all()
    assert system.run().reason is StopReason.HALT


def test_the_sums_add_up() -> None:
    system = filled(busy_program())
    result = system.run()
    stats = result.stats
    assert json.loads(json.dumps(stats)) == stats
    energy = stats["energy_pj"]
    parts = [energy["dram"], energy["noc"]]
    for group in ("unit", "memory", "static"):
        parts += energy[group].values()
    assert energy["total"] == pytest.approx(sum(parts))
    layers = stats["layers"]
    assert energy["total"] == pytest.approx(sum(x["energy_pj"] for x in layers))
    for key in ("read", "write", "instruction"):
        assert stats["dram_bytes"][key] == sum(x["dram_bytes"][key] for x in layers)
    assert stats["noc_bytes"] == sum(x["noc_bytes"] for x in layers) == 4 * 2 * 256
    assert stats["instructions"] == sum(x["instructions"] for x in layers)
    assert stats["dram_bytes"]["read"] == stats["dram_bytes"]["write"] == 4 * 2 * 128
    assert {(x["name"], x["phase"]) for x in layers} == {("", ""), ("fc1", "fp"), ("fc1", "bp")}
    assert sum(x["cycles"] for x in layers) == sum(
        unit["busy"] for name, unit in stats["units"].items() if name != "seq"
    )
    for unit in stats["units"].values():
        for core in unit["cores"]:
            assert core["busy"] + sum(core["stall"].values()) == stats["cycles"]
            assert min(core["stall"].values()) > 0


def test_the_same_run_twice_gives_the_same_everything() -> None:
    outputs: list[str] = []
    for _ in range(2):
        out = io.StringIO()
        system = System(busy_program(), RunOptions(engine="reference"), tracers=[JsonTrace(out)])
        system.dram[:] = np.arange(system.dram.size) % 120
        first = system.run()
        text, stats = out.getvalue(), json.dumps(first.stats)
        out.seek(0)
        out.truncate()
        assert json.dumps(system.run().stats) == stats
        assert json.dumps(first.stats) == stats
        assert out.getvalue() == text
        outputs.append(text + stats)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("seed", [None, *range(12)])
def test_values_do_not_depend_on_order_or_time(seed: int | None) -> None:
    timed = filled(busy_program())
    other = filled(busy_program(), timing=False, order_seed=seed)
    first, second = timed.run(), other.run()
    assert (timed.dram == other.dram).all()
    for a, b in zip(timed.chip.cores, other.chip.cores, strict=True):
        assert (a.sram == b.sram).all()
        assert a.seq.counts == b.seq.counts
    assert first.instructions == second.instructions


def test_machines_change_times_but_no_bits() -> None:
    file = busy_program()
    base = filled(file)
    base.run()
    for key, value in (
        ("dram.bytes_per_cycle", 1),
        ("sequencer.queue_depth", 1),
        ("noc.hop_cycles", 90),
    ):
        machine = base.machine.with_(**{key: value})
        system = System(file, RunOptions(engine="reference"), machine=machine)
        system.dram[:] = filled(file).dram
        result = system.run()
        assert result.reason is StopReason.HALT
        assert (system.dram == base.dram).all()


def test_traces_in_three_forms() -> None:
    text, lines, events = io.StringIO(), io.StringIO(), io.StringIO()
    system = System(
        busy_program(),
        RunOptions(engine="reference"),
        tracers=[TextTrace(text), JsonTrace(lines), EventTrace(events, 5e8)],
    )
    result = system.run()
    assert "core 3 vpu" in text.getvalue()
    assert "colsum" in text.getvalue()
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    starts = [r["start"] for r in records if "start" in r]
    assert starts == sorted(starts)
    assert records[-1] == {"event": "end", "time": result.cycles}
    trace = json.loads(events.getvalue())
    slices = [e for e in trace if e["ph"] == "X"]
    assert len(slices) == len(starts)
    sent = {e["id"] for e in trace if e["ph"] == "s"}
    assert sent == {e["id"] for e in trace if e["ph"] == "f"}
    assert len(sent) == 8
    assert any(e["args"].get("layer") == "fc1" for e in slices)


def double() -> MicroProgram:
    """y = x + x, one step."""
    b = MicroBuilder("double")
    x = b.emit("ld.h", imm=3)
    b.emit("st.h", [b.emit("add.h", [x, x])], imm=9)
    return b.build()


@pytest.mark.parametrize("options", [{}, {"timing": False}, {"check_races": True}])
def test_lane_instructions_use_the_streams_set_when_they_were_issued(
    options: dict[str, Any],
) -> None:
    asm = Asm()
    asm.fill(0, 64, 0x3C00)
    asm.sync(0, "dma", "vpu")
    one, cols, zero = asm.reg(1), asm.reg(32), asm.reg(0)
    for k in range(3):
        asm.emit("stream", s=3, base=asm.reg(128 * k), step=zero, row=zero)
        asm.emit("stream", s=9, base=asm.reg(128 * (k + 1)), step=zero, row=zero)
        asm.emit("ew", prog=0, steps=one, rows=one, cols=cols, seed=zero)
    system, result = run(program(asm.done(), micro=[double()]), **options)
    assert result.reason is StopReason.HALT, result.fault
    sram = system.chip.cores[0].sram.view(np.float16)
    for k in range(4):
        assert (sram[64 * k : 64 * k + 32] == 2.0**k).all()
    if options.get("timing", True):
        assert result.stats["energy_pj"]["unit"]["vpu"] > 0


@pytest.mark.parametrize("options", [{}, {"timing": False}, {"check_races": True}])
def test_windowed_instructions_use_the_window_set_when_they_were_issued(
    options: dict[str, Any],
) -> None:
    """Two max poolings over 4 x 4 positions of one channel, 2 x 2 and 1 x 4 at a time."""
    asm = Asm()
    asm.copy("ld", 0, 0, 32)
    asm.sync(0, "dma", "vpu")
    one = asm.reg(1)
    for target, out_h, out_w, k_h, k_w in ((64, 2, 2, 2, 2), (128, 4, 1, 1, 4)):
        asm.emit("winsize", win=5, in_h=4, in_w=4, out_h=out_h, out_w=out_w, channels=1)
        asm.emit(
            "winmap", win=5, k_h=k_h, k_w=k_w, mul_h=k_h, mul_w=k_w, base_h=0, base_w=0,
            step_h=1, step_w=1, div_h=1, div_w=1,
        )  # fmt: skip
        asm.emit(
            "pool", dst=asm.reg(target), dst_stride=asm.reg(2), x=asm.reg(0),
            x_stride=asm.reg(2), x_image=asm.reg(32), images=one, win=5, type=0, op=1,
        )  # fmt: skip
    system, result = run(program(asm.done()), **options)
    assert result.reason is StopReason.HALT, result.fault
    values = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3], np.float16)
    system.dram[:32] = values.view(np.uint8)
    result = system.run()
    sram = system.chip.cores[0].sram.view(np.float16)
    assert sram[32:36].tolist() == [9, 6, 9, 9]
    assert sram[64:68].tolist() == [4, 9, 8, 9]
    if options.get("timing", True):
        assert result.stats["energy_pj"]["unit"]["vpu"] > 0
