"""The trace for Perfetto, read back with Perfetto's published schema."""

import io
from collections import Counter
from typing import Any

import pytest

from snncc.isasim.observe.perfetto import PerfettoTrace, block, number, varint
from snncc.isasim.observe.trace_span import TraceSpan
from snncc.isasim.system import RunOptions, System
from unit.isasim.test_observers import busy_program

schema: Any = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")


def parsed(runs: int = 1, options: RunOptions | None = None, span: TraceSpan | None = None) -> Any:
    out = io.BytesIO()
    system = System(
        busy_program(),
        options or RunOptions(engine="reference"),
        tracers=[PerfettoTrace(out, 500_000_000, span)],
    )
    system.dram[:] = 0
    for _ in range(runs):
        assert system.run().exit_code == 0
    trace = schema.Trace()
    assert trace.ParseFromString(out.getvalue()) == len(out.getvalue())
    return trace


def test_numbers_are_written_as_protocol_buffers_say() -> None:
    assert varint(0) == b"\0"
    assert varint(300) == b"\xac\x02"
    assert number(1, 150) == b"\x08\x96\x01"
    assert block(2, "testing") == b"\x12\x07testing"


def test_no_field_is_unknown_and_every_event_has_a_described_track() -> None:
    trace = parsed()
    described: set[int] = set()
    for packet in trace.packet:
        assert packet.SerializeToString() == _known(packet)
        if packet.HasField("track_descriptor"):
            described.add(packet.track_descriptor.uuid)
            parent = packet.track_descriptor.parent_uuid
            assert not parent or parent in described
        else:
            assert packet.track_event.track_uuid in described
            assert packet.trusted_packet_sequence_id == 1


def _known(packet: Any) -> bytes:
    """Return a packet without the fields that the schema does not know."""
    copy = schema.TracePacket()
    copy.CopyFrom(packet)
    copy.DiscardUnknownFields()
    return bytes(copy.SerializeToString())


def test_a_track_per_core_and_unit_with_layers_and_phases() -> None:
    trace = parsed()
    descriptors = [p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")]
    processes = {d.process.process_name for d in descriptors if d.HasField("process")}
    assert processes == {"core 0", "core 1", "core 2", "core 3", "shared: DRAM and links"}
    threads = Counter(d.thread.thread_name for d in descriptors if d.HasField("thread"))
    assert threads == dict.fromkeys(("dma", "noc", "vpu", "layer and phase"), 4)
    counters = {d.name for d in descriptors if d.HasField("counter")}
    assert {"DRAM bus", "link 0 -> 1", "into core 3"} <= counters
    names = {p.track_event.name for p in trace.packet if p.HasField("track_event")}
    assert {"ld fc1", "send fc1", "colsum fc1", "fc1 fp"} <= names


@pytest.mark.parametrize("runs", [1, 2])
def test_slices_nest_and_arrows_have_two_ends(runs: int) -> None:
    trace = parsed(runs)
    events = [(p.timestamp, p.track_event) for p in trace.packet if p.HasField("track_event")]
    open_slices: Counter[int] = Counter()
    starts: Counter[int] = Counter()
    ends: Counter[int] = Counter()
    kind = schema.TrackEvent.Type
    for _, event in sorted(events, key=lambda e: e[0]):  # stable: as the trace processor sorts
        if event.type == kind.TYPE_SLICE_BEGIN:
            open_slices[event.track_uuid] += 1
            starts.update(event.flow_ids)
            ends.update(event.terminating_flow_ids)
        elif event.type == kind.TYPE_SLICE_END:
            open_slices[event.track_uuid] -= 1
        assert 0 <= open_slices[event.track_uuid] <= 1
    assert not +open_slices
    assert set(starts) == set(ends)
    assert len(starts) == runs * 4 * 2 * 5  # a message and four posts per core and turn


def test_counters_are_percents_that_end_at_zero() -> None:
    trace = parsed()
    series: dict[int, list[int]] = {}
    for packet in trace.packet:
        event = packet.track_event
        if packet.HasField("track_event") and event.type == schema.TrackEvent.TYPE_COUNTER:
            series.setdefault(event.track_uuid, []).append(event.counter_value)
    assert series
    for values in series.values():
        assert all(0 <= v <= 100 for v in values)
        assert max(values) > 0
        assert values[-1] == 0


def slices(trace: Any) -> list[tuple[int, int, str]]:
    """Return start and end in cycles and the text of every instruction."""
    found: list[tuple[int, int, str]] = []
    for packet in trace.packet:
        facts = {a.name: a for a in packet.track_event.debug_annotations}
        if "text" in facts:
            text = facts["text"].string_value
            found.append((facts["start"].uint_value, facts["end"].uint_value, text))
    return found


def test_a_span_is_the_part_of_the_whole_trace_in_these_cycles() -> None:
    whole = slices(parsed())
    low, high = 400, 900
    part = parsed(span=TraceSpan(low, high))
    assert slices(part) == [s for s in whole if s[1] > low and s[0] < high]
    assert 0 < len(slices(part)) < len(whole)
    last = max(end for _, end, _ in slices(part))
    begun: set[int] = set()
    ended: set[int] = set()
    for packet in part.packet:
        begun |= set(packet.track_event.flow_ids)
        ended |= set(packet.track_event.terminating_flow_ids)
        if packet.HasField("track_event"):
            assert packet.timestamp <= 2 * max(last, 2 * high)
    assert ended <= begun  # no arrow comes from a post outside
    assert ended


def test_a_trace_ends_when_it_has_enough() -> None:
    span = TraceSpan(most=7)
    assert len(slices(parsed(span=span))) == 7
    assert span.cut is not None
    assert slices(parsed())[:7] == slices(parsed(span=TraceSpan(most=7)))


def test_a_further_run_begins_a_cycle_after_the_end_of_the_one_before() -> None:
    """In cycles of 2 ns: 500 MHz.  Packets of both runs come in order."""
    times = [p.timestamp for p in parsed(2).packet if p.HasField("track_event")]
    one = [p.timestamp for p in parsed(1).packet if p.HasField("track_event")]
    cycles = System(busy_program(), RunOptions(engine="reference")).run().cycles
    shift = 2 * (cycles + 1)
    assert times == one + [time + shift for time in one]
