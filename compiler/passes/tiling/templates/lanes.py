"""Template for lane work: a microprogram over steps x rows x columns, with or without state."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.sizes import (
    INSTRUCTION_CHARGE,
    candidates,
    choose,
    share,
    smallest,
)
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import ELEMENT_BYTES, View, row_bytes
from snncc.compiler.passes.tiling.templates.dense import GRANULE, deals_first
from snncc.compiler.passes.tiling.templates.fused import Producer, ProducerTask
from snncc.isa.numbers.integers import ceil_div

FILL = {"f16": 2, "bit": 2, "f32": 4}


@dataclass(frozen=True)
class Feed:
    """One stream of a lane task.

    ``view``: the DRAM tensor with the strides of this use (0 where it is broadcast); ``row_form``:
    one value per row.  ``role``: ``in``, ``out`` or ``state``.  ``initial``: a state's first value
    when it is a constant; ``final``: where a state's last value goes.  ``counter``: (base, step,
    row) of a counter stream, which touches no memory.  ``acc``: the accumulators of the task's
    producer.
    """

    role: str
    view: View | None
    dtype: str
    row_form: bool = False
    initial: int = 0
    final: View | None = None
    counter: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class LaneWork:
    """A microprogram and what it runs over; ``feeds[i]`` is stream i."""

    program: str
    feeds: tuple[Feed, ...]
    steps: int
    rows: int
    cols: int
    reverse: bool
    mnemonic: str
    seed: int = 0
    name: str = "lanes"
    producer: Producer | None = None


def lane_work(context: TilingContext, op: Op, work: LaneWork) -> None:
    """Emit the task."""
    stateful = any(f.role == "state" for f in work.feeds)
    words = work.cols % GRANULE == 0 and work.cols >= GRANULE * context.cores
    granule = GRANULE if words or any(f.dtype == "bit" for f in work.feeds) else 1
    by_rows = share(work.rows, 1, context.cores) * work.cols <= (
        share(work.cols, granule, context.cores) * work.rows
    )
    if work.producer is not None:  # rows on all cores mean weights on all cores
        p = work.producer
        by_rows = deals_first(
            (
                share(work.rows, 1, context.cores) * work.cols,
                work.rows * GRANULE,
                p.k * work.cols * 2,
            ),
            (
                share(work.cols, granule, context.cores) * work.rows,
                work.cols,
                work.steps * work.rows * p.x.row,
            ),
            context.cores,
        )
    r_share = share(work.rows, 1, context.cores) if by_rows else work.rows
    n_share = work.cols if by_rows else share(work.cols, granule, context.cores)

    def memory(tc: int, n: int, r: int) -> int:
        own = sum(_feed_bytes(f, tc, r, n) for f in work.feeds)
        return own + (work.producer.memory(tc, r, n) if work.producer else 0)

    def cost(tc: int, n: int, r: int) -> int:
        chunks = ceil_div(work.steps, tc)
        count = ceil_div(r_share, r) * ceil_div(n_share, n) * chunks
        price = count * (1 + len(work.feeds)) * INSTRUCTION_CHARGE
        if work.producer is not None:
            n_tiles = ceil_div(n_share, n)
            loads = ceil_div(r_share, r) if by_rows else 1
            price += work.producer.traffic(r_share, n_share, n_tiles, loads)
        return price

    # of equal cost the widest: rows of tiles are what the DMA moves; long ones in whole words
    unit = GRANULE if n_share >= GRANULE * GRANULE else granule
    axes = [candidates(work.steps, 1), candidates(n_share, unit), candidates(r_share, 1)]
    choice = choose(axes, memory, cost, context.room)
    if choice is None:
        context.too_small(op, f"layer {op.attrs.get('layer', op.name)}", smallest(axes, memory))
        return
    b = context.task(op, work.name)
    tc, n, r = choice.sizes
    task = _LaneTask(work, b, (tc, r, n), stateful)
    if by_rows:
        b.tiles(
            work.rows,
            r,
            lambda at, size, first: b.tiles(
                work.cols, n, lambda c_at, c, _: task.columns_then_tile(at, size, c_at, c)
            ),
            parallel=True,
        )
    else:
        b.tiles(
            work.cols,
            n,
            lambda at, size, first: task.columns_then_rows(at, size, work.rows, r),
            parallel=True,
        )
    context.add(b)


def _extent(feed: Feed, tc: int, r: int, n: int) -> tuple[int, int, int]:
    """Return (steps, rows, bytes per row) that a tile of a feed holds in SRAM."""
    if feed.role == "state":
        return 1, r, row_bytes(feed.dtype, n)
    if feed.role == "acc":
        return tc, r, n * 4
    assert feed.view is not None
    width = ELEMENT_BYTES[feed.dtype] if feed.row_form else row_bytes(feed.dtype, n)
    return (tc if feed.view.step else 1), (r if feed.view.row else 1), width


def _feed_bytes(feed: Feed, tc: int, r: int, n: int) -> int:
    if feed.counter is not None:
        return 0
    steps, rows, width = _extent(feed, tc, r, n)
    return max(64, (steps * rows * width + 63) // 64 * 64)


class _LaneTask:
    """Emits the loops of one lane task."""

    def __init__(
        self, work: LaneWork, b: TaskBuilder, sizes: tuple[int, int, int], stateful: bool
    ) -> None:
        self.work, self.b, self.stateful = work, b, stateful
        self.tc, r, n = sizes
        self.producer = ProducerTask(work.producer, b, self.tc, r, n) if work.producer else None
        self.buffers: list[Value | None] = [
            None
            if f.counter is not None
            else b.sram(f"s{i}_{f.role}", _feed_bytes(f, self.tc, r, n))
            for i, f in enumerate(work.feeds)
        ]

    def columns_then_tile(self, r_at: At, r: int, c_at: At, n: int) -> None:
        """Load a slice of columns' weights, then run one tile."""
        if self.producer is not None:
            self.producer.columns(c_at, n)
        self.tile(r_at, r, c_at, n)

    def columns_then_rows(self, c_at: At, n: int, rows: int, r: int) -> None:
        """Load a slice of columns' weights once, then run all tiles of rows."""
        if self.producer is not None:
            self.producer.columns(c_at, n)
        self.b.tiles(rows, r, lambda r_at, rr, _: self.tile(r_at, rr, c_at, n))

    def tile(self, r_at: At, r: int, c_at: At, n: int) -> None:
        """Run all steps of one tile of rows and columns."""
        for feed, buffer in zip(self.work.feeds, self.buffers, strict=True):
            if feed.role == "state" and buffer is not None:
                self._start_state(feed, buffer, r_at, r, c_at, n)
        for i, feed in enumerate(self.work.feeds):  # what is the same at every step
            if feed.role == "in" and feed.counter is None and not self._moves(feed):
                self._move(i, At(), 1, r_at, r, c_at, n)
        self.b.tiles(
            self.work.steps,
            self.tc,
            lambda at, size, first: self._chunk(at, size, r_at, r, c_at, n),
        )
        for feed, buffer in zip(self.work.feeds, self.buffers, strict=True):
            if feed.final is not None and buffer is not None:
                width = row_bytes(feed.dtype, n)
                target = feed.final
                self.b.store(
                    target.dram,
                    target.at(r=r_at, c=c_at),
                    buffer,
                    ZERO,
                    r,
                    width,
                    target.row,
                    width,
                )

    @staticmethod
    def _moves(feed: Feed) -> bool:
        return feed.view is not None and feed.view.step != 0

    def _start_state(self, feed: Feed, buffer: Value, r_at: At, r: int, c_at: At, n: int) -> None:
        width = row_bytes(feed.dtype, n)
        source = feed.view
        if source is None:
            low, high = feed.initial & 0xFFFF, feed.initial >> 16
            if feed.dtype != "f32" or low == high:
                self._fill(buffer, 0, 1, r * width, low)
                return
            for at, half in ((0, low), (2, high)):  # a binary32 number, half by half
                self._fill(buffer, at, r * n, 2, half)
            return
        self.b.load(
            buffer, ZERO, source.dram, source.at(r=r_at, c=c_at), r, width, width, source.row
        )

    def _fill(self, buffer: Value, at: int, count: int, size: int, pattern: int) -> None:
        self.b.emit(
            "fill",
            [("dst", buffer, At(at))],
            dst0=4 if count > 1 else 0,
            n0=count,
            bytes=size,
            pattern=pattern,
        )

    def _move(self, index: int, t_at: At, tc: int, r_at: At, r: int, c_at: At, n: int) -> None:
        """Load or store one stream's part of a tile."""
        feed, buffer = self.work.feeds[index], self.buffers[index]
        if feed.view is None or buffer is None:
            return
        source = feed.view
        steps, rows, width = _extent(feed, tc, r, n)
        # a row form has one value per row: columns do not matter, rows are elements apart
        at = source.at(
            t=t_at if source.step else 0,
            r=r_at if source.row else 0,
            c=0 if feed.row_form else c_at,
        )
        outer_sram, outer_dram = rows * width, source.step
        if feed.role == "in":
            self.b.load(
                buffer,
                ZERO,
                source.dram,
                at,
                rows,
                width,
                width,
                source.row,
                (steps, outer_sram, outer_dram),
            )
        else:
            self.b.store(
                source.dram,
                at,
                buffer,
                ZERO,
                rows,
                width,
                source.row,
                width,
                (steps, outer_dram, outer_sram),
            )

    def _chunk(self, t_at: At, tc: int, r_at: At, r: int, c_at: At, n: int) -> None:
        """Load, compute and store a run of steps."""
        work = self.work
        if work.reverse:  # chunks from the end; within a chunk steps lie in time order
            t_at = At(work.steps - tc) + t_at * -1
        for i, feed in enumerate(work.feeds):
            if feed.role == "in" and feed.counter is None and self._moves(feed):
                self._move(i, t_at, tc, r_at, r, c_at, n)
        if self.producer is not None:
            acc = next(
                buffer
                for buffer, feed in zip(self.buffers, work.feeds, strict=True)
                if feed.role == "acc"
            )
            assert acc is not None
            self.producer.fill(acc, t_at, tc, r_at, r, n)
        streams = [self._stream(i, t_at, tc, r_at, r, c_at, n) for i in range(len(work.feeds))]
        self.b.lanes(work.mnemonic, work.program, streams, tc, r, n, work.seed)
        for i, feed in enumerate(work.feeds):
            if feed.role == "out":
                self._move(i, t_at, tc, r_at, r, c_at, n)

    def _stream(self, index: int, t_at: At, tc: int, r_at: At, r: int, c_at: At, n: int) -> Stream:
        feed = self.work.feeds[index]
        if feed.counter is not None:
            base, step, row = feed.counter
            at = At(base) + t_at * step + r_at * row + c_at
            if self.work.reverse:
                return Stream(None, at + (tc - 1) * step, -step, row)
            return Stream(None, at, step, row)
        steps, rows, width = _extent(feed, tc, r, n)
        row = width if rows > 1 else 0
        step = rows * width if steps > 1 else 0
        if feed.role == "state":
            return Stream(self.buffers[index], ZERO, 0, row)
        if self.work.reverse and step:
            return Stream(self.buffers[index], At((tc - 1) * step), -step, row)
        return Stream(self.buffers[index], ZERO, step, row)


def phase_lane(phase: str) -> str:
    """Return the lane instruction that serves a phase."""
    return {"fp": "neuron", "bp": "ngrad"}.get(phase, "ew")
