"""A trace in Perfetto's own format (protocol buffers), for https://ui.perfetto.dev.

A process per core with a track per unit (slices are instructions, ``mnemonic layer``, category =
phase) and a track that shows which layer and phase its engines work on; arrows from ``send`` to
``recv`` and from ``post`` to the ``wait`` that took its tokens; a process for the shared resources
with a counter for the DRAM bus and for every link, in percent of its time.

Field numbers are those of ``protos/perfetto/trace/*.proto``; the few that are needed are written
here, and a test reads the files back with Perfetto's published schema.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import BinaryIO, Final

from snncc.isa.spec import WORD_BYTES
from snncc.isasim.engines.footprint.checks import Footprint
from snncc.isasim.machine.chip import Core
from snncc.isasim.machine.decode import SLOTS
from snncc.isasim.machine.network import DRAM, Link
from snncc.isasim.measure.timeline import Timeline
from snncc.isasim.observe.trace_span import FOREVER, TraceSpan

VARINT, FIXED64, BYTES = 0, 1, 2

# TracePacket
_PACKET: Final = 1
_TIMESTAMP, _SEQUENCE, _EVENT, _FLAGS, _DESCRIPTOR = 8, 10, 11, 13, 60
# TrackDescriptor, ProcessDescriptor, ThreadDescriptor, CounterDescriptor
_UUID, _NAME, _PARENT, _PROCESS, _THREAD, _COUNTER = 1, 2, 5, 3, 4, 8
_PID, _PROCESS_NAME, _TID, _THREAD_NAME, _UNIT_NAME = 1, 6, 2, 5, 6
# TrackEvent
_TYPE, _TRACK, _CATEGORY, _EVENT_NAME, _ANNOTATION = 9, 11, 22, 23, 4
_FLOW, _FLOW_END, _VALUE = 47, 48, 30
BEGIN, END, COUNTER = 1, 2, 4
# DebugAnnotation
_KEY, _UINT, _STRING = 10, 3, 6

_LAYER_TRACK: Final = 8
_SHARED: Final = 1 << 20
"""Process and tracks of the shared resources."""
_ENGINES: Final = frozenset(("fp", "bp", "wg", "vpu"))


def varint(value: int) -> bytes:
    """Return a number in base 128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """Return a field that holds a number."""
    return varint(field << 3 | VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """Return a field of eight bytes."""
    return varint(field << 3 | FIXED64) + value.to_bytes(8, "little")


def block(field: int, data: bytes | str) -> bytes:
    """Return a field that holds bytes, a text or a message."""
    raw = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | BYTES) + varint(len(raw)) + raw


class PerfettoTrace:
    """Writes the trace while the program runs; counters come at the end of each run.

    What lies outside of ``span`` is followed, as a wait may take tokens posted before, but not
    written.
    """

    def __init__(self, out: BinaryIO, clock_hz: float, span: TraceSpan | None = None) -> None:
        self.out = out
        self.span = span or TraceSpan(most=FOREVER)
        self.scale = 1e9 / clock_hz
        self._offset = 0
        self._flows = 0
        self._named: set[int] = set()
        self._ends: dict[int, list[int]] = {}
        """Flows to attach to the next slice of an actor: begin there, or end there."""
        self._starts: dict[int, list[int]] = {}
        self._messages: dict[int, int] = {}
        self._tokens: dict[tuple[int, int], deque[list[int]]] = {}
        self._working: dict[int, tuple[str, str]] = {}
        self._load = Timeline()

    def _packet(self, body: bytes, time: int | None = None) -> None:
        stamp = (
            number(_TIMESTAMP, round((time + self._offset) * self.scale))
            if time is not None
            else b""
        )
        self.out.write(block(_PACKET, stamp + number(_SEQUENCE, 1) + body))

    def begin(self) -> None:
        """A run begins: it goes behind the one before."""
        for left in (
            self._ends,
            self._starts,
            self._messages,
            self._tokens,
            self._working,
        ):
            left.clear()
        self._load.reset()

    def before(self, core: Core, slot: int, pc: int, time: int) -> None:
        """Nothing to do."""

    def _process(self, pid: int, name: str) -> int:
        uuid = pid << 8 | 255
        if uuid not in self._named:
            self._named.add(uuid)
            process = number(_PID, pid + 1) + block(_PROCESS_NAME, name)
            self._packet(block(_DESCRIPTOR, number(_UUID, uuid) + block(_PROCESS, process)))
        return uuid

    def _track(self, core: int, slot: int) -> int:
        """Return the track of a unit; its first use describes it."""
        uuid = core << 8 | slot + 1
        if uuid not in self._named:
            self._named.add(uuid)
            parent = self._process(core, f"core {core}")
            name = SLOTS[slot] if slot < _LAYER_TRACK else "layer and phase"
            thread = number(_PID, core + 1) + number(_TID, (core + 1) * 16 + slot)
            body = number(_UUID, uuid) + number(_PARENT, parent)
            body += block(_THREAD, thread + block(_THREAD_NAME, name))
            self._packet(block(_DESCRIPTOR, body))
        return uuid

    def _event(self, kind: int, track: int, time: int, *more: bytes) -> None:
        body = number(_TYPE, kind) + number(_TRACK, track) + b"".join(more)
        self._packet(block(_EVENT, body), time)

    def _flow_fields(self, actor: int) -> bytes:
        out = b"".join(fixed64(_FLOW, f) for f in self._starts.pop(actor, ()))
        return out + b"".join(fixed64(_FLOW_END, f) for f in self._ends.pop(actor, ()))

    def instruction(
        self, core: Core, slot: int, pc: int, start: int, end: int, footprint: Footprint
    ) -> None:
        """Write a slice."""
        if not self.span.takes(start, end):
            return
        line = core.code.program.source(pc)
        layer, phase = (line.layer, line.phase) if line else ("", "")
        name = core.code.program.code[pc].insn.mnemonic
        track = self._track(core.index, slot)
        facts = [("text", core.code.text(pc)), ("layer", layer), ("phase", phase)]
        facts += [("source", core.code.source(pc))]
        facts += [("writes", f"{r.space}[{r.start:#x}]") for r in footprint[1]]
        body = [
            block(_EVENT_NAME, f"{name} {layer}".rstrip()),
            block(_CATEGORY, phase or "core"),
            _annotations((key, text) for key, text in facts if text),
            _annotations([("address", WORD_BYTES * pc), ("start", start), ("end", end)]),
            self._flow_fields(core.index << 3 | slot),
        ]
        self._event(BEGIN, track, start, *body)
        self._event(END, track, end)
        if SLOTS[slot] in _ENGINES and (layer or phase):
            self._work(core.index, (layer, phase), start)

    def _work(self, core: int, what: tuple[str, str], start: int) -> None:
        """The engines of a core went on to a layer and phase."""
        before = self._working.get(core)
        if before == what:
            return
        track = self._track(core, _LAYER_TRACK)
        if before is not None:
            self._event(END, track, start)
        self._working[core] = what
        name = " ".join(x for x in what if x)
        self._event(BEGIN, track, start, block(_EVENT_NAME, name), block(_CATEGORY, what[1]))

    def message(self, core: Core, slot: int, numbers: Sequence[int], time: int, sent: bool) -> None:
        """Remember the flows of the slice that follows."""
        if not self.span.holds(time):
            return
        actor = core.index << 3 | slot
        for each in numbers:
            if sent:
                self._flows += 1
                self._messages[each] = self._flows
                self._starts.setdefault(actor, []).append(self._flows)
            elif each in self._messages:
                self._ends.setdefault(actor, []).append(self._messages.pop(each))

    def semaphore(
        self, core: Core, slot: int, pc: int, sem: int, n: int, time: int, posted: bool
    ) -> None:
        """Tie a wait to the posts whose tokens it took, first come first served."""
        actor = core.index << 3 | slot
        queue = self._tokens.setdefault((core.index, sem), deque())
        inside = self.span.holds(time)
        if posted:
            self._flows += inside
            queue.append([self._flows if inside else 0, n])  # 0: a post that is not in the trace
            if inside:
                self._starts.setdefault(actor, []).append(self._flows)
        else:
            while n and queue:
                flow, left = queue[0]
                taken = min(n, left)
                n -= taken
                queue[0][1] -= taken
                place = self._starts if queue[0][1] else self._ends
                if flow and inside:
                    place.setdefault(actor, []).append(flow)
                if not queue[0][1]:
                    queue.popleft()
        if slot == 0:  # the sequencer's own ones are no entries of a queue
            self.instruction(core, 0, pc, time, time + 1, ([], []))

    def transfer(self, link: tuple[int, int], begin: int, end: int) -> None:
        """Count when a shared resource was taken."""
        first = self.span.first
        if begin < self.span.last and end > first and self.span.cut is None:
            self._load.transfer(link, max(begin, first) - first, min(end, self.span.last) - first)

    def finish(self, end: int) -> None:
        """Close what is open, write the counters."""
        for core in self._working:
            self._event(END, self._track(core, _LAYER_TRACK), min(end, self._stop()))
        for link, busy in sorted(self._load.links.items()):
            self._counter(link, busy, end)
        self.out.flush()
        self._offset += end + 1

    def _stop(self) -> int:
        """Return where the trace ends."""
        return self.span.last if self.span.cut is None else self.span.cut

    def _counter(self, link: Link, busy: Sequence[int], end: int) -> None:
        name = "DRAM bus"
        if link != DRAM:
            name = f"link {link[0]} -> {link[1]}" if link[0] != link[1] else f"into core {link[0]}"
        uuid = _SHARED << 8 | link[0] + 1 << 12 | link[1] + 1
        if uuid not in self._named:
            self._named.add(uuid)
            parent = self._process(_SHARED, "shared: DRAM and links")
            body = number(_UUID, uuid) + number(_PARENT, parent) + block(_NAME, name)
            body += block(_COUNTER, block(_UNIT_NAME, "% busy"))
            self._packet(block(_DESCRIPTOR, body))
        width, first = self._load.width, self.span.first
        last, at = -1, first
        for i in range(max(j for j, cycles in enumerate(busy) if cycles) + 1):
            at = first + i * width
            percent = min(100, round(100 * busy[i] / max(1, min(width, end - at))))
            if percent != last:
                self._event(COUNTER, uuid, at, number(_VALUE, percent))
            last = percent
        self._event(COUNTER, uuid, max(end, at + 1), number(_VALUE, 0))


def _annotations(items: Iterable[tuple[str, int | str]]) -> bytes:
    """Return facts about a slice."""
    return b"".join(
        block(
            _ANNOTATION,
            block(_KEY, key)
            + (number(_UINT, value) if isinstance(value, int) else block(_STRING, value)),
        )
        for key, value in items
    )
