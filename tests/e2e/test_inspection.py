"""`snncc run` with --timing-only, --record, --debug and --trace: from outside."""

import json
from pathlib import Path
from typing import Any

import pytest

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("p") / "net.snnx"
    words = ("compile", DIGITS, "--config", CONFIG, "-o", path, "--cores", "2", "--spikes")
    assert snncc(*words).exit_code == 0
    return path


def stats_of(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_recorded_run_and_a_run_without_values_have_equal_statistics(
    program: Path, tmp_path: Path
) -> None:
    record, full, again = tmp_path / "a.npz", tmp_path / "f.json", tmp_path / "t.json"
    words = ("run", program, "-i", BATCH, "--stats", full, "--record", record)
    assert snncc(*words).exit_code == 0
    timed = ("run", program, "--timing-only", "--activity", record, "--stats", again)
    done = snncc(*timed)
    assert done.exit_code == 0, done.output
    found, expected = stats_of(again), stats_of(full)
    assert {k for k in expected if found[k] != expected[k]} <= {"versions"}
    assert f"{expected['cycles']} cycles" in done.stdout


def test_densities_of_another_run_come_close(program: Path, tmp_path: Path) -> None:
    full, again = tmp_path / "f.json", tmp_path / "t.json"
    assert snncc("run", program, "-i", BATCH, "--stats", full).exit_code == 0
    words = ("run", program, "--timing-only", "--activity", full, "--stats", again)
    assert snncc(*words).exit_code == 0
    a, b = stats_of(full), stats_of(again)
    assert b["cycles"] == pytest.approx(a["cycles"], rel=0.05)
    assert b["macs"]["performed"] == pytest.approx(a["macs"]["performed"], rel=0.01)
    assert b["dram_bytes"] == a["dram_bytes"]
    assert b["energy_pj"]["total"] == pytest.approx(a["energy_pj"]["total"], rel=0.02)


def test_a_model_needs_no_inputs_without_values(tmp_path: Path) -> None:
    cycles: list[int] = []
    for density in ("0.02", "0.5"):
        path = tmp_path / "s.json"
        words = ("run", DIGITS, "--config", CONFIG, "--cores", "1", "--timing-only")
        done = snncc(*words, "--density", density, "--stats", path)
        assert done.exit_code == 0, done.output
        cycles.append(stats_of(path)["cycles"])
    assert cycles[0] < cycles[1]


def test_mistakes(program: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.npz"
    junk.write_bytes(b"junk")
    refused(snncc("run", program, "--timing-only", "--activity", junk), "E0033")
    refused(snncc("run", program, "--timing-only", "--density", "2"), "E0033")
    junk.write_text('{"layers": 1}')
    refused(snncc("run", program, "--timing-only", "--activity", junk), "E0033")
    assert snncc("run", program, "-i", BATCH, "--density", "0.1").exit_code == 2
    assert snncc("run", program, "-i", BATCH, "--commands", "-").exit_code == 2
    done = snncc("run", program, "-i", BATCH, "--debug", "--stats", junk)
    assert done.exit_code == 2
    assert "--debug writes no files" in done.stderr
    words = ("run", program, "--timing-only", "--record", tmp_path / "r.npz")
    assert snncc(*words).exit_code == 2


def test_a_debugging_session_from_a_file_and_from_stdin(program: Path, tmp_path: Path) -> None:
    script = tmp_path / "session.txt"
    script.write_text("break layer lif1 unit fp\nc\nwhere\nprint x numbers 0\nwaits\ndelete\nc\n")
    words = ("run", program, "-i", BATCH, "--debug")
    one = snncc(*words, "--commands", script)
    two = snncc(*words, stdin=script.read_bytes())
    assert one.exit_code == two.exit_code == 0, one.output
    assert one.stdout == two.stdout
    assert "breakpoint 1: cycle" in one.stdout
    assert "lif1 fp" in one.stdout
    assert "x[0] f16 64" in one.stdout
    assert "halt after" in one.stdout


def test_a_session_ends_with_the_exit_code_of_the_run(tmp_path: Path) -> None:
    source, path = tmp_path / "p.s", tmp_path / "p.snnx"
    source.write_text(".machine small\n.core 0\n  wait fp, sem3, 1\n  halt\n")
    assert snncc("asm", source, "-o", path).exit_code == 0
    for commands, code in ((b"c\nwaits\nq\n", 5), (b"q\n", 0), (b"", 5)):
        done = snncc("run", path, "--debug", stdin=commands)
        assert done.exit_code == code, done.output
        assert ("error[E0903]" in done.stderr) == (code == 5)
    assert "core 0 fp at 00000000 (wait fp, sem3, 1) waits for sem3 >= 1" in done.stdout


def test_a_session_names_the_buffers_of_a_compiled_program(program: Path) -> None:
    script = "break layer fc1 unit fp\nc\nwhere\nbuffers 0 fc1\nprint fc1.product.w\nq\n"
    done = snncc("run", program, "-i", BATCH, "--debug", stdin=script.encode())
    assert done.exit_code == 0, done.output
    assert "of fc1.weight" in done.stdout
    assert "core 0 fc1.product.w of fc1.weight: 4096 f16" in done.stdout


def test_an_unfinished_trace_is_not_left_behind(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snncc.isasim.observe.perfetto import PerfettoTrace
    from snncc.isasim.observe.trace import JsonTrace, TextTrace

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for name, sink in (("t.pftrace", PerfettoTrace), ("t.jsonl", JsonTrace), ("t", TextTrace)):
        monkeypatch.setattr(sink, "finish", interrupt)
        path = tmp_path / name
        path.write_text("old")
        done = snncc("run", program, "-i", BATCH, "--trace", path)
        assert done.exit_code == 130
        assert path.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t", "t.jsonl", "t.pftrace"]


def test_the_trace_of_a_run_that_stops_is_kept(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    words = ("run", program, "-i", BATCH, "--trace", path, "--max-instructions", "300")
    assert snncc(*words).exit_code == 4
    assert " | core 0 " in path.read_text()


@pytest.mark.parametrize("name", ["t.txt", "t.jsonl", "t.json", "t.pftrace"])
def test_a_part_of_a_trace(program: Path, tmp_path: Path, name: str) -> None:
    whole, part = tmp_path / f"whole.{name}", tmp_path / name
    assert snncc("run", program, "-i", BATCH, "--trace", whole).exit_code == 0
    words = ("run", program, "-i", BATCH, "--trace", part, "--trace-cycles")
    assert snncc(*words, "5000:9000").exit_code == 0
    assert 100 < part.stat().st_size < whole.stat().st_size / 2
    if name == "t.txt":
        lines = [x for x in whole.read_text().splitlines() if " | " in x and "core" in x]
        wanted: list[str] = []
        for line in lines:
            cycles = [int(word) for word in line[:21].split()]
            if len(cycles) == 2 and cycles[1] > 5000 and cycles[0] < 9000:
                wanted.append(line)
        assert [x for x in part.read_text().splitlines() if x in set(wanted)] == wanted
    for wrong in ("5", "9:5", "a:b", "-1:4"):
        assert snncc(*words, wrong).exit_code == 2


def test_the_trace_opens_with_the_schema_of_perfetto(program: Path, tmp_path: Path) -> None:
    schema: Any = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    path, stats = tmp_path / "t.pftrace", tmp_path / "s.json"
    words = ("run", program, "-i", BATCH, "--trace", path, "--stats", stats)
    assert snncc(*words).exit_code == 0
    trace = schema.Trace.FromString(path.read_bytes())
    found = stats_of(stats)
    spans: dict[int, int] = {}
    names: dict[int, tuple[int, str]] = {}
    for packet in trace.packet:
        thread = packet.track_descriptor.thread
        if thread.thread_name:
            names[packet.track_descriptor.uuid] = (thread.pid - 1, thread.thread_name)
        event = packet.track_event
        if event.type in (1, 2):
            sign = -1 if event.type == 1 else 1
            spans[event.track_uuid] = spans.get(event.track_uuid, 0) + sign * packet.timestamp
    for track, (core, unit) in names.items():
        if unit in found["units"] and unit != "seq":
            record = next(c for c in found["units"][unit]["cores"] if c["core"] == core)
            shared = sum(record["stall"].get(cause, 0) for cause in ("dram", "link"))
            assert spans[track] == 2 * (record["busy"] + shared)  # 500 MHz: 2 ns per cycle
    assert {unit for _, unit in names.values()} >= {"dma", "noc", "fp", "bp", "wg", "vpu"}
