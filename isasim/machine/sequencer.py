"""The sequencer of a core: runs the program, pushes resolved instructions into unit queues.

:meth:`Sequencer.run` goes as far as it can and says why it stopped.  It has its own clock, which
may be ahead of the simulated time: nothing that happens later can take away what it already saw
(room in a queue only grows), so running ahead changes neither values nor times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeAlias, cast

from snncc.isa.instructions.arithmetic import ARITHMETIC
from snncc.isa.spec import REGISTERS, SEED_REGISTER, STREAMS, WINDOWS
from snncc.isa.window import Window
from snncc.isasim.engines.base import Resolved
from snncc.isasim.faults import Trap
from snncc.isasim.machine.decode import (
    ADDI,
    COREID,
    DIV,
    HALT,
    LANES,
    LI,
    LOOP,
    LOOPI,
    NO_WINDOW,
    NOP,
    PUSH,
    SEQ_OPS,
    SEQ_POST,
    SEQ_WAIT,
    SET_WINDOW,
    STREAM,
    SYNC,
    Code,
)

FULL: Final = 0
WAITING: Final = 1
HALTED: Final = 2
TRAPPED: Final = 3
LIMIT: Final = 4

QUEUES: Final = 8
"""Queues by slot; those of slot 0 (the sequencer) and 7 (its posts) stay empty."""
_LOW: Final = -(1 << 63)
_HIGH: Final = 1 << 63

_SIGNS: Final = {"add": "+", "sub": "-", "mul": "*", "div": "/", "min": "min", "max": "max"}
_ARITHMETIC: Final = {SEQ_OPS[name]: (_SIGNS[name], ARITHMETIC[name]) for name in ARITHMETIC}

Entry: TypeAlias = tuple[int, int, Any, Any]
"""A queue entry: time of issue, pc, resolved instruction (or semaphore, n), clock of the issuer."""


class Sequencer:
    """Registers, loops, streams and the program counter of one core."""

    __slots__ = (
        "_steps",
        "clock",
        "code",
        "counts",
        "depth",
        "executed",
        "full_slot",
        "loop_depth",
        "loops",
        "pc",
        "post_pending",
        "posts",
        "queues",
        "registers",
        "status",
        "stop",
        "streams",
        "tick",
        "time",
        "touched",
        "trap",
        "wait",
    )

    def __init__(self, code: Code, depth: int, tick: int, loop_depth: int) -> None:
        self.code = code
        self.depth = depth
        self.tick = tick
        self.loop_depth = loop_depth
        self.queues: list[deque[Entry]] = [deque() for _ in range(QUEUES)]
        self.counts: list[int] = [0] * code.words
        self.touched: list[int] = []
        self.posts: deque[tuple[int, int, int, int, Any]] = deque()
        self.registers: list[int] = []
        self.streams: list[tuple[int, ...]] = []
        self.loops: list[list[int]] = []
        self.clock: Any = None
        self.trap: Trap | None = None
        self.wait: tuple[int, int] | None = None
        self.reset(0)

    def reset(self, start: int, seed: int = 0) -> None:
        """Go back to the state before the first instruction, which issues at time ``start``.

        ``seed`` is what r63 holds: the seed of this run's random words.
        """
        self.registers[:] = [0] * REGISTERS + self.code.constants
        self.registers[SEED_REGISTER] = seed
        self.streams[:] = [(0, 0, 0)] * STREAMS + [NO_WINDOW] * WINDOWS
        self.loops.clear()
        for queue in self.queues:
            queue.clear()
        self.touched.clear()
        self.posts.clear()
        self.counts[:] = [0] * self.code.words
        self.pc: int = 0
        self.time: int = start
        self.executed: int = 0
        self.full_slot: int = -1
        self.wait = None
        self.post_pending = False
        self.status = WAITING
        self.trap = None
        self.clock = None
        self.stop = 0
        self._steps = self._run()

    def run(self, limit: int) -> int:
        """Run until something stops the sequencer; return (and keep) why.

        About ``limit`` more instructions may be executed: the bound is checked where loops repeat.
        ``touched`` collects the slots whose queue was empty when an instruction was pushed.
        After ``FULL``, run again when the queue has room; after ``WAITING``, when the semaphore was
        taken.  ``time`` and ``executed`` may be moved forward in between.
        """
        self.stop = self.executed + limit
        self.status = next(self._steps)
        return self.status

    def state(self) -> tuple[Any, ...]:
        """Return what decides how it goes on, but for times, registers and trips left in loops."""
        return (
            self.pc, self.status, self.wait, self.full_slot, self.post_pending,
            [post[1:4] for post in self.posts],
            [[entry[1] for entry in queue] for queue in self.queues],
            [loop[1:] for loop in self.loops],
        )  # fmt: skip

    def times(self) -> list[int]:
        """Return its times, in the order in which :meth:`set_times` takes them."""
        issued = (entry[0] for queue in self.queues for entry in queue)
        return [self.time, *(post[0] for post in self.posts), *issued]

    def set_times(self, times: Iterator[int]) -> None:
        """Let what happened and what is due be at other times."""
        self.time = next(times)
        for i, post in enumerate(self.posts):
            self.posts[i] = (next(times), *post[1:])
        for queue in self.queues:
            for i, entry in enumerate(queue):
                queue[i] = (next(times), *entry[1:])

    def _run(self) -> Iterator[int]:
        """Execute the program; yields whenever it must stop.

        A generator, because that keeps everything in local variables from one stop to the next.
        """
        code = self.code
        steps, ends, words = code.steps, code.ends, code.words
        regs, streams, queues = self.registers, self.streams, self.queues
        counts, touched, tick, depth = self.counts, self.touched, self.tick, self.depth
        # a third of the time of Resolved(...): no Python-level call
        make: Callable[[tuple[Any, ...]], Resolved] = partial(cast(Any, tuple).__new__, Resolved)
        clock = self.clock
        pc = executed = 0
        time: int = self.time
        item: Any
        try:
            while True:
                if pc >= words:
                    raise Trap("illegal", "the program runs past its end; it has no halt")
                op, x, y, z = steps[pc]
                if op <= LANES:
                    queue = queues[x]
                    if len(queue) >= depth:
                        self.pc, self.time, self.executed, self.full_slot = pc, time, executed, x
                        while len(queue) >= depth:
                            yield FULL
                        self.full_slot = -1
                        time, clock, executed = self.time, self.clock, self.executed
                    if op == PUSH:
                        item = make((z, y(regs), (), None))
                    elif op == SYNC:
                        item = y
                    else:
                        item = make((z[0], y(regs), z[2](streams), z[1]))
                    if not queue:
                        touched.append(x)
                    queue.append((time, pc, item, clock))
                elif op == ADDI:
                    source: int = y
                    value: int = regs[source] + z
                    if not _LOW <= value < _HIGH:
                        raise Trap("overflow", f"{regs[source]} + {z} needs more than 64 bits")
                    if x:
                        regs[x] = value
                elif op == LI:
                    if x:
                        regs[x] = y
                elif op == LOOP or op == LOOPI:
                    following = self._enter_loop(pc, x if op == LOOPI else regs[x], y)
                    counts[pc] += 1
                    executed += 1
                    time += tick
                    pc = following
                    if ends[pc]:
                        pc = self._close_loops(pc)
                        if executed >= self.stop:
                            self.pc, self.time, self.executed = pc, time, executed
                            yield LIMIT
                    continue
                elif op == STREAM:
                    streams[x] = y(regs)
                elif op == SET_WINDOW:
                    window = list(streams[x])
                    window[y] = z
                    streams[x] = Window(*window)
                elif op in _ARITHMETIC:
                    self._arithmetic(op, x, y, z)
                elif op == COREID:
                    if x:
                        regs[x] = code.core
                elif op == HALT:
                    counts[pc] += 1
                    self.pc, self.time, self.executed = pc, time + tick, executed + 1
                    yield HALTED
                elif op == SEQ_WAIT:
                    self.wait = (x, y)
                    self.pc, self.time, self.executed = pc, time, executed
                    yield WAITING
                    time, clock, executed = self.time, self.clock, self.executed
                elif op == SEQ_POST:
                    self.posts.append((time, pc, x, y, clock))
                elif op != NOP:
                    raise Trap("illegal", code.problems[pc])
                counts[pc] += 1
                executed += 1
                pc += 1
                time += tick
                if ends[pc]:
                    pc = self._close_loops(pc)
                    if executed >= self.stop:
                        self.pc, self.time, self.executed = pc, time, executed
                        yield LIMIT
        except Trap as trap:
            self.pc, self.time, self.executed = pc, time, executed
            self.trap = trap
            yield TRAPPED

    def _enter_loop(self, pc: int, count: int, end: int) -> int:
        loops = self.loops
        if count < 0:
            raise Trap("loop", f"trip count {count} is negative")
        if not pc < end <= self.code.words:
            raise Trap("loop", f"loop end {end} is outside {pc + 1}..{self.code.words}")
        if loops and end > loops[-1][2]:
            raise Trap("loop", f"loop end {end} is after the end {loops[-1][2]} of its outer loop")
        if count == 0 or end == pc + 1:
            return end
        if len(loops) >= self.loop_depth:
            raise Trap("loop", f"more than {self.loop_depth} nested loops")
        loops.append([count, pc + 1, end])
        return pc + 1

    def _close_loops(self, pc: int) -> int:
        loops = self.loops
        while loops and loops[-1][2] == pc:
            top = loops[-1]
            top[0] -= 1
            if top[0]:
                return top[1]
            loops.pop()
        return pc

    def _arithmetic(self, op: int, rd: int, ra: int, rb: int) -> None:
        a, b = self.registers[ra], self.registers[rb]
        sign, compute = _ARITHMETIC[op]
        if op == DIV and not b:
            raise Trap("division", f"{a} / 0")
        value = compute(a, b)
        if not _LOW <= value < _HIGH:
            raise Trap("overflow", f"{a} {sign} {b} needs more than 64 bits")
        if rd:
            self.registers[rd] = value
