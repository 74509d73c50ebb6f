"""The DRAM bus and the links of the mesh in time, and which bytes hold something, by hand."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import TypeAlias, cast

import numpy as np
import pytest

from snncc.isasim.engines.base import Resolved
from snncc.isasim.engines.footprint.checks import Footprint, Region
from snncc.isasim.faults import Trap
from snncc.isasim.machine.initial import InitShadow, region_view
from snncc.isasim.machine.network import DRAM, DramBus, Link, MeshLinks

Taken: TypeAlias = list[tuple[Link, int, int]]


def mesh() -> tuple[MeshLinks, Taken]:
    """Return a mesh of two rows of three cores, 2 cycles a hop, and what its watcher is told."""
    found, taken = MeshLinks(3, 2, 2), Taken()
    found.watcher = lambda link, start, end: taken.append((link, start, end))
    return found, taken


@pytest.mark.parametrize(
    ("source", "target", "nodes"),
    [
        (0, 0, [0, 0]),
        (0, 5, [0, 1, 2, 5, 5]),  # along the row first
        (5, 0, [5, 4, 3, 0, 0]),
        (2, 3, [2, 1, 0, 3, 3]),
        (4, 1, [4, 1, 1]),
    ],
)
def test_ways(source: int, target: int, nodes: list[int]) -> None:
    links, _ = mesh()
    assert links.path(source, target) == tuple(pairwise(nodes))
    assert links.hops(source, target) == len(nodes) - 2


def test_links_that_several_targets_share_count_once() -> None:
    links, _ = mesh()
    assert links.links(0, [5]) == 3
    assert links.links(0, [2, 5, 1]) == 3
    assert links.links(0, [3, 5]) == 4
    assert links.links(0, [0]) == 0


def test_a_message_holds_each_link_for_its_flits() -> None:
    links, taken = mesh()
    assert links.send(0, [4], 10, 5) == (10, 15, [19])
    assert taken == [((0, 1), 10, 15), ((1, 4), 12, 17), ((4, 4), 14, 19)]
    taken.clear()  # the next one waits for the first link, and then for none
    assert links.send(0, [1], 11, 3) == (15, 18, [20])
    assert taken == [((0, 1), 15, 18), ((1, 1), 17, 20)]
    taken.clear()  # another one waits on its way
    assert links.send(1, [4], 13, 2) == (17, 19, [21])
    assert taken == [((1, 4), 17, 19), ((4, 4), 19, 21)]
    assert links.busy == {(0, 1): 8, (1, 4): 7, (4, 4): 7, (1, 1): 3}
    links.reset()
    assert (links.busy, links.free) == ({}, {})
    assert links.send(4, [4], 30, 2) == (30, 32, [32])


def test_one_message_to_several_takes_a_shared_link_once() -> None:
    links, taken = mesh()
    assert links.send(0, [2, 5], 20, 4) == (20, 24, [28, 30])
    assert taken == [((0, 1), 20, 24), ((1, 2), 22, 26), ((2, 2), 24, 28), ((2, 5), 24, 28),
                     ((5, 5), 26, 30)]  # fmt: skip
    taken.clear()  # two ways out of the sender: it is free when the later one is
    assert links.send(0, [3, 1], 22, 4) == (24, 28, [28, 30])
    assert taken == [((0, 3), 22, 26), ((3, 3), 24, 28), ((0, 1), 24, 28), ((1, 1), 26, 30)]


def test_the_bus_serves_one_after_the_other() -> None:
    bus, taken = DramBus(), Taken()
    bus.watcher = lambda link, start, end: taken.append((link, start, end))
    assert [bus.request(10, 4), bus.request(11, 3), bus.request(30, 1)] == [
        (10, 14), (14, 17), (30, 31)
    ]  # fmt: skip
    assert bus.request(30, 0) == (31, 31)  # nothing is moved, and nobody told
    assert taken == [(DRAM, 10, 14), (DRAM, 14, 17), (DRAM, 30, 31)]
    assert (bus.busy, bus.free) == (8, 31)
    bus.reset()
    assert (bus.busy, bus.free) == (0, 0)


def test_the_bytes_of_a_region() -> None:
    """Two groups, 10 apart, of three rows, 3 apart, of two bytes."""
    region = Region("x", "dram", 4, 2, 1, 2, 10, 3, 3)
    flags = np.zeros(32, np.bool_)
    region_view(flags, region)[...] = True
    rows = [4, 7, 10, 14, 17, 20]
    assert list(np.flatnonzero(flags)) == [byte for row in rows for byte in (row, row + 1)]
    assert list(region.starts()) == rows
    assert region.extent() == (4, 22)
    backward = Region("x", "dram", 20, 2, 1, 2, -10, 3, 3)
    assert list(backward.starts()) == [20, 23, 26, 10, 13, 16]
    assert backward.extent() == (10, 28)
    assert Region("x", "dram", 20, 2, 1, 2, 10, 3, -3).extent() == (14, 32)


def moves(reads: Region, writes: Region) -> tuple[Resolved, Footprint]:
    """Return an instruction that reads and writes a region."""
    op = cast("Resolved", SimpleNamespace(mnemonic="copy"))
    return op, ([reads], [writes])


def test_bytes_that_were_never_written_trap_where_they_are_read() -> None:
    shadow = InitShadow([1, 3], sram=64, dram=128)
    source = Region("src", "sram", 8, 4, 1, 3, 10)  # rows at 8, 18, 28
    op, footprint = moves(source, Region("dst", "dram", 100, 4, 1, 1, 0))
    shadow.sram[1][8:12] = True
    shadow.sram[1][18:21] = True
    text = r"copy: src reads byte 21 of sram \(row 1, 0\), which was never written"
    with pytest.raises(Trap, match=text):
        shadow.check(1, op, footprint)
    shadow.sram[1][21] = shadow.sram[1][28:32] = True
    shadow.check(1, op, footprint)
    with pytest.raises(Trap, match="byte 8 of sram"):
        shadow.check(3, op, footprint)
    assert not shadow.dram.any()  # looking writes nothing
    shadow.written(1, footprint)
    assert list(np.flatnonzero(shadow.dram)) == [100, 101, 102, 103]
    back, backward = moves(Region("src", "dram", 99, 3, 1, 1, 0), source)
    with pytest.raises(Trap, match="byte 99 of dram"):
        shadow.check(3, back, backward)
    shadow.written(3, backward)
    shadow.check(3, op, footprint)
    shadow.reset()
    assert not any(flags.any() for flags in shadow.sram.values())
    assert shadow.dram.sum() == 4
