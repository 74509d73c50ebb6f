"""When a wait passes, a post overflows, a credit is missing, a message is there.

What units and cores share beside memory, and every rule about it, once.  A scheduler decides who
tries next, and at which time; what an attempt does is said here.  A rule that refuses keeps who was
refused, and the one that changes this names those who may try again, so nobody else keeps a list.

:mod:`snncc.isasim.engines.kernels.events` is a compiled twin of these rules; random programs
compare the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from snncc.isa.spec import SEMAPHORES
from snncc.isasim.faults import Trap

Message: TypeAlias = tuple[int, Any, Any, int]
"""Arrival time, what is sent (its bytes; their number in a plan), race clock of the sender, number
from 1 in the order of sending."""


class Semaphores:
    """The counting semaphores of one core.  An actor is ``core << 3 | slot``."""

    __slots__ = ("most", "values", "waiters")

    def __init__(self, most: int) -> None:
        self.most = most
        """Tokens that one semaphore can hold."""
        self.values = [0] * SEMAPHORES
        self.waiters: dict[int, list[int]] = {}
        """Semaphore to the actors that were refused, first come first."""

    def reset(self) -> None:
        """Go back to the start of a run."""
        self.values[:] = [0] * SEMAPHORES
        self.waiters.clear()

    def take(self, sem: int, n: int, actor: int) -> bool:
        """Take ``n`` tokens; where there are fewer take none, and ``actor`` waits."""
        values = self.values
        held = values[sem]
        if held >= n:
            values[sem] = held - n
            return True
        self.waiters.setdefault(sem, []).append(actor)
        return False

    def post(self, sem: int, n: int) -> Sequence[int]:
        """Add ``n`` tokens; return who may try again.  Traps where they are too many."""
        values = self.values
        value = values[sem] + n
        if value > self.most:
            raise Trap("token", f"sem{sem} holds {values[sem]}; {n} more exceed {self.most}")
        values[sem] = value
        return self.waiters.pop(sem, ())

    def state(self) -> tuple[Any, ...]:
        """Return what decides how attempts end from here on."""
        return self.values[:], sorted((sem, tuple(who)) for sem, who in self.waiters.items())


class Channels:
    """The messages between cores: one channel per source and target, with so many credits.

    A message holds a credit of its channel from when it is sent until it is received.  Messages
    from one core with one tag are received in the order in which they were sent.
    """

    __slots__ = ("credits", "in_flight", "inboxes", "lacking", "sent", "wanted")

    def __init__(self, cores: int, credits: int) -> None:
        self.credits = credits
        self.in_flight: dict[tuple[int, int], int] = {}
        """Source and target to the messages that hold a credit."""
        self.inboxes: list[dict[tuple[int, int], deque[Message]]] = [{} for _ in range(cores)]
        """By target: source and tag to the messages that were not received yet."""
        self.wanted: list[tuple[int, int] | None] = [None] * cores
        """By core: source and tag of the message that it waits for."""
        self.lacking: list[tuple[int, ...]] = [()] * cores
        """By core: the targets whose credits it waits for."""
        self.sent = 0

    def reset(self) -> None:
        """Forget all messages."""
        self.in_flight.clear()
        for box in self.inboxes:
            box.clear()
        self.wanted[:] = [None] * len(self.wanted)
        self.lacking[:] = [()] * len(self.lacking)
        self.sent = 0

    def may_send(self, source: int, targets: Sequence[int]) -> bool:
        """Whether every channel has a credit; where one has none, the source waits."""
        flight = self.in_flight
        lacking = tuple(t for t in targets if flight.get((source, t), 0) >= self.credits)
        self.lacking[source] = lacking
        return not lacking

    def send(
        self, source: int, tag: int, data: Any, targets: Sequence[int], arrivals: Sequence[int],
        clock: Any = None,
    ) -> tuple[list[int], list[tuple[int, int]]]:  # fmt: skip
        """Send a message to each target, for which :meth:`may_send` found credits.

        Returns the numbers of the messages, and the cores that waited for one, each with the time
        at which it arrives there.
        """
        key = (source, tag)
        numbers: list[int] = []
        woken: list[tuple[int, int]] = []
        for target, arrival in zip(targets, arrivals, strict=True):
            self.sent += 1
            numbers.append(self.sent)
            box = self.inboxes[target].setdefault(key, deque())
            box.append((arrival, data, clock, self.sent))
            channel = (source, target)
            self.in_flight[channel] = self.in_flight.get(channel, 0) + 1
            if self.wanted[target] == key:
                self.wanted[target] = None
                woken.append((target, arrival))
        return numbers, woken

    def first(self, core: int, source: int, tag: int) -> Message | None:
        """Return the message that is received next; where none was sent yet, the core waits."""
        box = self.inboxes[core].get((source, tag))
        if box:
            return box[0]
        self.wanted[core] = (source, tag)
        return None

    def take(self, core: int, source: int, tag: int) -> bool:
        """Receive the first message; return whether its source waited for the credit."""
        self.inboxes[core][source, tag].popleft()
        self.in_flight[source, core] -= 1
        if core not in self.lacking[source]:
            return False
        self.lacking[source] = ()
        return True

    def state(self) -> tuple[Any, ...]:
        """Return what decides how attempts end from here on, but for the times of arrival."""
        boxes = [[(key, len(box[key])) for key in sorted(box)] for box in self.inboxes]
        flight = sorted(item for item in self.in_flight.items() if item[1])
        return boxes, flight, self.wanted[:], self.lacking[:]

    def times(self) -> list[int]:
        """Return when messages arrive, in the order in which :meth:`set_times` takes them."""
        return [message[0] for box in self._boxes() for message in box]

    def set_times(self, times: Iterator[int]) -> None:
        """Let messages arrive at other times."""
        for box in self._boxes():
            for i, message in enumerate(box):
                box[i] = (next(times), *message[1:])

    def _boxes(self) -> list[deque[Message]]:
        return [box[key] for box in self.inboxes for key in sorted(box)]
