"""The values of a plan: every instruction bound to its memory, called one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.instructions.operands import ordered
from snncc.isa.spec import SEED_REGISTER
from snncc.isasim.engines.base import Activity, Resolved
from snncc.isasim.engines.fast.engine import FastEngine
from snncc.isasim.engines.kernels import move as km
from snncc.isasim.machine.chip import Chip, Core
from snncc.isasim.machine.decode import DMA_KIND, ENGINE_KIND, LOCAL_KIND, SEND_KIND
from snncc.isasim.machine.movement import rows_disjoint
from snncc.isasim.replay.plan import PlanItem, RunPlan

ordered("neuron ngrad ew", "prog steps rows cols seed")
ordered("fill", "dst dst0 n0 bytes pattern")
ordered("ld st copy", "dst src n0 n1 bytes dst0 dst1 src0 src1")

Row: TypeAlias = list[int]
Bytes: TypeAlias = npt.NDArray[np.uint8]


class _Staging:
    """Room for messages under way; taken again when a message has been received."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.buffers: dict[int, Bytes] = {}
        self.left: dict[int, int] = {}
        self.spare: dict[int, list[Bytes]] = {}

    def sent(self, place: int) -> int:
        """Return the address for what an item sends."""
        message = self.plan.sends[place]
        spare = self.spare.get(message.size)
        buffer = spare.pop() if spare else np.empty(message.size, np.uint8)
        self.buffers[place] = buffer
        self.left[place] = len(message.targets)
        return int(buffer.ctypes.data)

    def received(self, place: int) -> int:
        """Return the address of what an item receives."""
        source = self.plan.senders[self.plan.receives[place]]
        buffer = self.buffers[source]
        self.left[source] -= 1
        if not self.left[source]:
            self.spare.setdefault(buffer.size, []).append(buffer)
        return int(buffer.ctypes.data)


class Bound:
    """The instructions of a plan that touch memory, ready to be called."""

    def __init__(self, plan: RunPlan, chip: Chip, engine: FastEngine) -> None:
        self.chip = chip
        self.engine = engine
        self.seed = 0
        self.steps: list[tuple[Callable[[], Any], int]] = []
        """What to call, and the item whose activity that returns (-1: none)."""
        self._others: list[Row] = []
        self._staging = _Staging(plan)
        self._known: dict[tuple[int, int, Resolved], Callable[[], Activity]] = {}
        table, sound = plan.moves.rows(
            km.COPY,
            int(chip.dram.ctypes.data),
            self._addresses(plan),
        )
        numbers = dict(
            zip(plan.moved, np.where(sound, np.arange(len(table)), -1).tolist(), strict=True)
        )
        self._rows: list[int] = []
        """Rows of ``table``, then of ``_others``, in the order of the moves."""
        self._pending = 0
        spans: list[tuple[int, int, int]] = []
        for place in plan.order:
            item = plan.items[place]
            kind = item.kind
            if kind == DMA_KIND and numbers[place] >= 0:
                self._rows.append(numbers[place])
                continue
            row = None if kind == ENGINE_KIND else self._move(place, item)
            if row is not None:
                if row:
                    self._rows.append(len(table) + len(self._others))
                    self._others.append(row)
                continue
            self._flush(spans)
            if kind == ENGINE_KIND:
                self.steps.append((self._engine(item), place))
            else:
                self.steps.append((partial(chip.move, item.core, item.op), -1))
        self._flush(spans)
        others = np.array(self._others, np.int64).reshape(-1, km.COLUMNS)
        ordered = np.concatenate([table, others])[np.array(self._rows, np.intp)]
        for at, low, high in spans:
            self.steps[at] = (partial(km.move_rows, ordered, low, high), -1)
        self._rows, self._others = [], []

    def _addresses(self, plan: RunPlan) -> npt.NDArray[np.int64]:
        """Return where the scratchpad of every transfer begins."""
        begins = {core.index: int(core.sram.ctypes.data) for core in self.chip.cores}
        return np.array([begins[plan.items[p].core.index] for p in plan.moved], np.int64)

    def run(self, seed: int, found: list[Activity | None]) -> None:
        """Execute everything; ``found`` gets the activity of every engine instruction."""
        self.seed = seed
        for call, place in self.steps:
            if place < 0:
                call()
            else:
                found[place] = call()

    def _flush(self, spans: list[tuple[int, int, int]]) -> None:
        """Let the moves collected so far be one step."""
        if len(self._rows) > self._pending:
            spans.append((len(self.steps), self._pending, len(self._rows)))
            self.steps.append((int, -1))
            self._pending = len(self._rows)

    def _engine(self, item: PlanItem) -> Callable[[], Activity]:
        op, sram = item.op, item.core.sram
        key = (item.core.index, item.pc, op)
        known = self._known.get(key)
        if known is not None:
            return known

        unseeded = op.values[:-1]

        def seeded() -> Activity:
            return self.engine.execute(op._replace(values=(*unseeded, self.seed)), sram)

        draws = op.micro is not None and self._draws(item)
        found = self._known[key] = seeded if draws else self.engine.bind(op, sram)
        return found

    def _draws(self, item: PlanItem) -> bool:
        """Whether a lane instruction draws random bits with the seed of the run."""
        inst = item.core.code.program.code[item.pc]
        draws = any(i.op.name == "rand" for i in item.op.micro.code)
        return draws and inst["seed"] == SEED_REGISTER

    def _move(self, place: int, item: PlanItem) -> Row | None:
        """Return the row of the table for a move, [] for nothing; None: it needs more care."""
        core, op = item.core, item.op
        if item.kind == DMA_KIND or item.kind == LOCAL_KIND:
            return self._copy(core, op)
        base, o = int(core.sram.ctypes.data), op.operands
        if item.kind == SEND_KIND:
            buffer, size = self._staging.sent(place), o.bytes
            return [km.COPY, buffer, base + o.src, 1, 1, size, 0, 0, 0, 0] if size else []
        buffer = self._staging.received(place)
        what, size = (km.ADD, 4 * o.count) if op.mnemonic == "recvadd" else (km.COPY, o.bytes)
        return [what, base + o.dst, buffer, 1, 1, size, 0, 0, 0, 0] if size else []

    def _copy(self, core: Core, op: Resolved) -> Row | None:
        base = int(core.sram.ctypes.data)
        if op[0] == "fill":
            dst, dst0, n0, size, pattern = op[1]
            empty = not (n0 and size)
            return [] if empty else [km.FILL, base + dst, pattern, n0, 1, size, dst0, 0, 0, 0]
        dst, src, n0, n1, size, dst0, dst1, src0, src1 = op[1]
        if not (n0 and n1 and size):
            return []
        if n1 > 1 and dst1 == size == src1:
            size, n1 = size * n1, 1
        if n0 > 1 and n1 == 1 and dst0 == size == src0:
            size, n0 = size * n0, 1
        if n0 * n1 > 1 and not rows_disjoint(n0, dst0, n1, dst1, size):
            return None
        dram = int(self.chip.dram.ctypes.data)
        to = dram if op[0] == "st" else base
        source = dram if op[0] == "ld" else base
        return [km.COPY, to + dst, source + src, n0, n1, size, dst0, dst1, src0, src1]
