# mypy: disable-error-code="no-untyped-call,no-any-return,no-untyped-def,misc"
# pyright: basic
"""The timed scheduler on arrays, without values.

It is the twin of :mod:`snncc.isasim.schedulers.timed` and of the rules of
:mod:`snncc.isasim.machine.rules`: random programs compare them.

Which instruction costs what is known beforehand; what is left is the order of events.  An event is
``time << 12 | core << 3 | slot`` there and here.  Columns of the tables are named below.
"""

from __future__ import annotations

import numpy as np

from snncc.isasim.engines.kernels.kernel_cache import kernel

# Items: instructions of units.  A and B: semaphore and n; first and one past the last target of a
# send; number of the message and source of a receive.  PLACE: core and address as one number.
KIND, PLACE, A, B, CYCLES, LATENCY, TRANSFER = range(7)
# Events of sequencers: what happens, slot and item (or semaphore and n).
NUMBER, WHAT, E_A, E_B, E_PLACE = range(5)
# Sequencers, by core index: next event, time of instruction 0, slot whose queue is full, time when
# stopped, first and one past the last pending post, whether a post is scheduled.
POS, OFFSET, FULL, TIME, POST, POSTS, PENDING, STEP = range(8)
# Units: when free, when all results are there, busy cycles, first and one past the last queued
# item, message that is waited for.
FREE, DRAINED, BUSY, HEAD, TAIL, WANTED = range(6)
# Posts of sequencers: event and time.
P_EVENT, P_TIME = range(2)
# Targets of messages: core, number of the message, first and one past the last link.
T_CORE, T_MESSAGE, T_FIRST, T_LAST = range(4)
# Links: number and what it is (bit 0: leaves the source, bit 1: leads into the core).
L_NUMBER, L_FLAGS = range(2)
# State of links.
L_FREE, L_BUSY, L_STAMP, L_HEAD = range(4)
# Registers of the scheduler.
HEAP, DRAM_FREE, DRAM_BUSY, SENDS, DEPTH, CREDITS, HOP, TOKENS = range(8)
TRAP_ACTOR, TRAP_SEM, TRAP_N = range(8, 11)
REGISTERS = 11

WAIT_KIND, POST_KIND, ENGINE_KIND, DMA_KIND, LOCAL_KIND, SEND_KIND, RECV_KIND = range(7)
PUSH, SEQ_WAIT, SEQ_POST, HALT = range(4)
EMPTY, SEMAPHORE, MESSAGE, CREDIT, DRAM, LINK, ENDING, QUEUE = range(8)
"""Stall causes in the order of ``STALL_CAUSES``; ENDING is ``latency``."""
CAUSES = 8
NOC_SLOT = 2
"""The slot of the unit that sends and receives."""


@kernel("void(int64[::1], int64[::1], int64)")
def push(heap, state, key):
    """Add an event."""
    i = state[HEAP]
    state[HEAP] = i + 1
    while i > 0:
        up = (i - 1) >> 1
        if heap[up] <= key:
            break
        heap[i] = heap[up]
        i = up
    heap[i] = key


@kernel("int64(int64[::1], int64[::1])")
def pop(heap, state):
    """Take the first event."""
    first = heap[0]
    size = state[HEAP] - 1
    state[HEAP] = size
    key = heap[size]
    i = 0
    while True:
        down = 2 * i + 1
        if down >= size:
            break
        if down + 1 < size and heap[down + 1] < heap[down]:
            down += 1
        if heap[down] >= key:
            break
        heap[i] = heap[down]
        i = down
    heap[i] = key
    return first


@kernel(
    "void(int64, int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[::1], int64[::1], int64[::1])"
)
def advance(core, items, events, posts, seqs, actors, issue, heap, state):
    """Let a sequencer run until it must stop, and schedule what it started."""
    seq = seqs[core]
    at, offset, tick = seq[POS], seq[OFFSET], seq[STEP]
    touched = 0
    seq[FULL] = -1
    while True:
        what = events[at, WHAT]
        time = offset + tick * events[at, NUMBER]
        if what == PUSH:
            actor = core << 3 | events[at, E_A]
            head, tail = actors[actor, HEAD], actors[actor, TAIL]
            if tail - head >= state[DEPTH]:
                seq[FULL] = events[at, E_A]
                break
            issue[tail] = time
            if tail == head:
                touched |= 1 << events[at, E_A]
            actors[actor, TAIL] = tail + 1
        elif what == SEQ_WAIT:
            push(heap, state, time << 12 | core << 3)
            break
        elif what == SEQ_POST:
            posts[seq[POSTS], P_TIME] = time
            seq[POSTS] += 1
        else:
            time += tick
            break
        at += 1
    seq[POS] = at
    seq[TIME] = time
    for slot in range(1, 7):
        if touched >> slot & 1:
            actor = core << 3 | slot
            item = actors[actor, HEAD]
            start = max(issue[item], actors[actor, FREE])
            if items[item, KIND] == POST_KIND:
                start = max(start, actors[actor, DRAINED])
            push(heap, state, start << 12 | actor)
    if seq[POSTS] > seq[POST] and not seq[PENDING]:
        seq[PENDING] = 1
        push(heap, state, posts[seq[POST], P_TIME] << 12 | core << 3 | 7)


@kernel("int64(int64, int64, int64, int64, int64[:, ::1], int64[:, ::1], int64[::1], int64[::1])")
def give(core, sem, n, time, sems, waiters, heap, state):
    """Add to a semaphore and wake who waits for it; 0 when it holds too much."""
    value = sems[core, sem] + n
    if value > state[TOKENS]:
        state[TRAP_SEM], state[TRAP_N] = sem, n
        return 0
    sems[core, sem] = value
    who = waiters[core, sem]
    if who:
        waiters[core, sem] = 0
        for slot in range(7):
            if who >> slot & 1:
                push(heap, state, time << 12 | core << 3 | slot)
    return 1


@kernel(
    "int64(int64, int64, int64, int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[::1], int64[::1],"
    " int64[::1])"
)
def send(
    item, actor, time, items, targets, links, ways, flight, denied, arrival, actors, heap, state,
    begins,
):  # fmt: skip
    """Send a message when there is credit; return when the sender is free again, or -1."""
    source = actor >> 3
    first, last = items[item, A], items[item, B]
    denied[source, :] = 0
    missing = False
    for t in range(first, last):
        target = targets[t, T_CORE]
        if flight[source, target] >= state[CREDITS]:
            denied[source, target] = 1
            missing = True
    if missing:
        return -1
    flits, hop = items[item, TRANSFER], state[HOP]
    state[SENDS] += 1
    stamp = state[SENDS]
    begin, done = time, time + flits
    for t in range(first, last):
        at = time
        for w in range(targets[t, T_FIRST], targets[t, T_LAST]):
            link = links[ways[w, L_NUMBER]]
            if link[L_STAMP] != stamp:
                granted = max(link[L_FREE], at)
                link[L_STAMP] = stamp
                link[L_HEAD] = granted
                link[L_FREE] = granted + flits
                link[L_BUSY] += flits
                if ways[w, L_FLAGS] & 1 and granted + flits > done:
                    begin, done = granted, granted + flits
            granted = link[L_HEAD]
            at = granted if ways[w, L_FLAGS] & 2 else granted + hop
        target, message = targets[t, T_CORE], targets[t, T_MESSAGE]
        flight[source, target] += 1
        arrival[message] = at + flits
        there = target << 3 | NOC_SLOT
        if actors[there, WANTED] == message:
            actors[there, WANTED] = -1
            push(heap, state, (at + flits) << 12 | there)
    begins[0] = begin
    return max(done, begin + items[item, CYCLES])


@kernel(
    "int64(int64[:, ::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1], int64[:, ::1],"
    " int64[:, ::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[::1])"
)
def run_events(
    items, events, cores, posts, targets, ways, links, seqs, actors, stalls, sems, waiters,
    cycles, messages, denied, state,
):  # fmt: skip
    """Run to the end; return 0, or 1 when a semaphore would hold too much.

    ``cycles`` collects per place the cycles spent, then those waited by cause; ``messages`` are
    arrival times, -1; ``denied`` says which credits (source, target) are waited for.
    """
    heap = np.empty(actors.shape[0] + 8, np.int64)
    issue = np.empty(items.shape[0] + 1, np.int64)
    flight = np.zeros((seqs.shape[0], seqs.shape[0]), np.int64)
    begins = np.zeros(1, np.int64)
    for number in range(cores.shape[0]):
        advance(cores[number], items, events, posts, seqs, actors, issue, heap, state)
    while state[HEAP]:
        key = pop(heap, state)
        time, actor = key >> 12, key & 4095
        core, slot = actor >> 3, actor & 7
        seq = seqs[core]
        if slot == 7:
            event = posts[seq[POST], P_EVENT]
            if not give(core, events[event, E_A], events[event, E_B], time, sems, waiters, heap,
                        state):  # fmt: skip
                state[TRAP_ACTOR] = actor
                return 1
            seq[POST] += 1
            seq[PENDING] = 0
            if seq[POSTS] > seq[POST]:
                seq[PENDING] = 1
                push(heap, state, posts[seq[POST], P_TIME] << 12 | actor)
            continue
        if slot == 0:
            event = seq[POS]
            sem, n = events[event, E_A], events[event, E_B]
            if sems[core, sem] < n:
                waiters[core, sem] |= 1
                continue
            sems[core, sem] -= n
            if time > seq[TIME]:
                stalls[actor, SEMAPHORE] += time - seq[TIME]
                cycles[events[event, E_PLACE], 1 + SEMAPHORE] += time - seq[TIME]
                seq[OFFSET] += time - seq[TIME]
            seq[POS] = event + 1
            advance(core, items, events, posts, seqs, actors, issue, heap, state)
            continue
        unit = actors[actor]
        item = unit[HEAD]
        place, kind, ready = items[item, PLACE], items[item, KIND], unit[FREE]
        if issue[item] > ready:
            stalls[actor, EMPTY] += issue[item] - ready
            cycles[place, 1 + EMPTY] += issue[item] - ready
            ready = issue[item]
            unit[FREE] = ready
        held = 0
        cause = DRAM
        end = time + items[item, CYCLES]
        if kind == WAIT_KIND:
            sem, n = items[item, A], items[item, B]
            if sems[core, sem] < n:
                waiters[core, sem] |= 1 << slot
                continue
            sems[core, sem] -= n
            if time > ready:
                stalls[actor, SEMAPHORE] += time - ready
                cycles[place, 1 + SEMAPHORE] += time - ready
        elif kind == POST_KIND:
            if not give(core, items[item, A], items[item, B], time, sems, waiters, heap, state):
                state[TRAP_ACTOR] = actor
                return 1
            if time > ready:
                stalls[actor, ENDING] += time - ready
                cycles[place, 1 + ENDING] += time - ready
        else:
            if kind == DMA_KIND or kind == LOCAL_KIND:
                transfer = items[item, TRANSFER]
                if transfer:
                    begin = max(state[DRAM_FREE], time)
                    state[DRAM_FREE] = begin + transfer
                    state[DRAM_BUSY] += transfer
                    held = begin - time
                    end = max(begin + items[item, CYCLES], begin + transfer)
            elif kind == SEND_KIND:
                end = send(item, actor, time, items, targets, links, ways, flight, denied,
                           messages, actors, heap, state, begins)  # fmt: skip
                if end < 0:
                    continue
                stalls[actor, CREDIT] += time - ready
                cycles[place, 1 + CREDIT] += time - ready
                held, cause = begins[0] - time, LINK
            elif kind == RECV_KIND:
                number, source = items[item, A], items[item, B]
                if messages[number] < 0:
                    unit[WANTED] = number
                    continue
                if messages[number] > time:
                    push(heap, state, messages[number] << 12 | actor)
                    continue
                flight[source, core] -= 1
                stalls[actor, MESSAGE] += time - ready
                cycles[place, 1 + MESSAGE] += time - ready
                if denied[source, core]:
                    denied[source, :] = 0
                    push(heap, state, time << 12 | source << 3 | slot)
            unit[DRAINED] = max(unit[DRAINED], end + items[item, LATENCY])
        if held > 0:
            stalls[actor, cause] += held
            cycles[place, 1 + cause] += held
        else:
            held = 0
        unit[HEAD] = item + 1
        cycles[place, 0] += end - time - held
        unit[BUSY] += end - time - held
        unit[FREE] = end
        if unit[HEAD] < unit[TAIL]:
            item += 1
            end = max(end, issue[item])
            if items[item, KIND] == POST_KIND:
                end = max(end, unit[DRAINED])
            push(heap, state, end << 12 | actor)
        if seq[FULL] == slot:
            if time > seq[TIME]:
                stalls[core << 3, QUEUE] += time - seq[TIME]
                cycles[events[seq[POS], E_PLACE], 1 + QUEUE] += time - seq[TIME]
                seq[OFFSET] += time - seq[TIME]
            advance(core, items, events, posts, seqs, actors, issue, heap, state)
    return 0
