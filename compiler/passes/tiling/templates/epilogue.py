"""How a weight gradient leaves its tile: rounded, to DRAM and to the maps that follow it.

Unscaling a gradient and updating a weight are element-wise.  Where such a map needs nothing but the
gradient and tensors that lie like it (weights, momenta) it runs inside the gradient's task, piece
by piece, and the gradient itself makes no way through DRAM unless somebody else reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Protocol

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import KERNEL, order_of
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.kernels import BLOCK, KernelTensor, kernel_of
from snncc.compiler.passes.tiling.kit.microprogram import (
    ProgramWriter,
    RegionCompiler,
    constant_of,
    f16_bits,
    f32_bits,
    write_back_program,
)
from snncc.compiler.passes.tiling.kit.stacks import pad64
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import ELEMENT_BYTES, View
from snncc.isa.microprograms.code import MicroError
from snncc.isa.numbers.integers import ceil_div

GRADIENTS = {"phase.linear_dw", "phase.conv_dw"}
PIECE = 16_384
"""A gradient leaves in pieces of at most about so many elements: what they take, tiles lose."""
SHARE = 4
"""All buffers for a piece take at most about this part of the scratchpad."""


class Place(Protocol):
    """A tensor in DRAM of which a tile's rows are loaded and stored."""

    def load(self, b: TaskBuilder, buffer: Value, c_at: At, c: int, o_at: At, o: int) -> None:
        """Load ``c`` inputs (all taps of each) by ``o`` outputs."""
        ...

    def store(self, b: TaskBuilder, buffer: Value, c_at: At, c: int, o_at: At, o: int) -> None:
        """Store what :meth:`load` would load."""
        ...


@dataclass(frozen=True)
class Matrix:
    """A dense layer's weight: [inputs, outputs]."""

    view: View

    def load(self, b: TaskBuilder, buffer: Value, c_at: At, c: int, o_at: At, o: int) -> None:
        """Load rows of a slice of columns."""
        width = o * ELEMENT_BYTES[self.view.dtype]
        at = self.view.at(r=c_at, c=o_at)
        b.load(buffer, ZERO, self.view.dram, at, c, width, width, self.view.row)

    def store(self, b: TaskBuilder, buffer: Value, c_at: At, c: int, o_at: At, o: int) -> None:
        """Store rows of a slice of columns."""
        width = o * ELEMENT_BYTES[self.view.dtype]
        at = self.view.at(r=c_at, c=o_at)
        b.store(self.view.dram, at, buffer, ZERO, c, width, self.view.row, width)


def place_of(context: TilingContext, value: Value) -> Place:
    """Return where a weight, its gradient or its state lies."""
    if context.order(value) == KERNEL:
        return kernel_of(context, value)
    return Matrix(context.view(value))


def _alike(value: Value, gradient: Value) -> bool:
    return (
        value.type.kind == "tensor"
        and value.type.shape == gradient.type.shape
        and value.type.dtype in ELEMENT_BYTES
        and value.type.dtype != "i32"
        and order_of(value) == order_of(gradient)
    )


def _follows(gradient: Op, each: Op, position: dict[Op, int]) -> bool:
    """Whether a reader of a gradient can run in its task."""
    if each.name != "phase.map" or each.parent is not gradient.parent:
        return False
    if any(o.name in {"ew.rand", "ew.srnd", "ew.iota"} for o in each.regions[0].ops):
        return False  # counters number the elements in another order
    value = gradient.result
    if not all(_alike(r, value) for r in each.results):
        return False
    for operand in each.operands:
        if operand is value:
            continue
        if constant_of(operand) is not None and operand.type.dtype in {"f16", "f32"}:
            continue
        owner = operand.owner
        ready = not isinstance(owner, Op) or position.get(owner, len(position)) < position[gradient]
        if not (ready and _alike(operand, value)):
            return False
    return True


def _element_bytes(maps: Iterable[Op], gradient: Value) -> int:
    """Return the bytes that an element of a gradient has in the buffers of its followers."""
    values = {gradient: None}
    for each in maps:
        read = [v for v in each.operands if constant_of(v) is None]
        values |= dict.fromkeys((*read, *(r for r in each.results if r.uses)))
    return sum(ELEMENT_BYTES[v.type.dtype] for v in values)


def _smallest(gradient: Value) -> int:
    """Return the elements of the smallest tile."""
    if order_of(gradient) != KERNEL:
        return min(BLOCK, gradient.type.shape[1])
    outputs, channels, *kernel = gradient.type.shape
    return min(BLOCK, outputs) * min(BLOCK, channels) * prod(kernel)


def followers(ops: Iterable[Op], limit: int) -> dict[Op, tuple[Op, ...]]:
    """Return the maps that run inside the tasks of weight gradients.

    On a scratchpad of ``limit`` bytes whose half could not hold the smallest tile and what its
    followers need, none do.
    """
    listed = list(ops)
    position = {each: i for i, each in enumerate(listed)}
    found: dict[Op, tuple[Op, ...]] = {}
    for each in listed:
        if each.name in GRADIENTS:
            readers = dict.fromkeys(user for user, _ in each.result.uses)
            maps = tuple(user for user in readers if _follows(each, user, position))
            need = _smallest(each.result) * (4 + _element_bytes(maps, each.result))
            if maps and 2 * need <= limit:
                found[each] = maps
    return found


@dataclass(frozen=True)
class _Slot:
    """A stream of a follower; no value: the gradient."""

    value: Value | None
    written: bool


@dataclass(frozen=True)
class _Follower:
    op: Op
    program: str
    slots: tuple[_Slot, ...]


def _follower(context: TilingContext, each: Op, gradient: Value) -> _Follower:
    """Compile a map's region to a microprogram."""
    writer = ProgramWriter()
    region = RegionCompiler(writer)
    slots: list[_Slot] = []
    for arg, operand in zip(each.regions[0].args, each.operands, strict=True):
        letter = "h" if operand.type.dtype == "f16" else "f"
        number = constant_of(operand)
        if number is not None:
            bits = f16_bits(number) if letter == "h" else f32_bits(number)
            region.bind(arg, writer.add(f"const.{letter}", imm=bits))
            continue
        region.bind(arg, writer.add(f"ld.{letter}", imm=len(slots)))
        slots.append(_Slot(None if operand is gradient else operand, False))
    registers = region.body(each.regions[0])
    for register, result in zip(registers, each.results, strict=True):
        if result.uses:
            letter = "h" if result.type.dtype == "f16" else "f"
            writer.add(f"st.{letter}", (register,), len(slots))
            slots.append(_Slot(result, True))
    layer, phase = each.str_attr("layer", ""), each.str_attr("phase", "")
    try:
        program = context.program(f"{layer}_{phase}_map", writer.program("p"))
    except MicroError as error:
        fail(
            "E0402",
            f"{each.name} of layer '{layer}' is too large for a microprogram: {error}",
            where=str(each.loc),
            help="make the update simpler: fewer operations",
        )
    return _Follower(each, program, tuple(slots))


class Epilogue:
    """Rounds tiles of a gradient and hands them on.  ``taps``: rows of a tile per input."""

    def __init__(
        self, context: TilingContext, value: Value, taps: int, maps: tuple[Op, ...]
    ) -> None:
        self.context, self.taps = context, taps
        self.own = place_of(context, value) if value in context.tensors else None
        self.maps = tuple(_follower(context, each, value) for each in maps)
        self.program = context.program("write_back", write_back_program())
        self.places = {
            slot.value: place_of(context, slot.value)
            for each in self.maps
            for slot in each.slots
            if slot.value is not None
        }
        self.bytes = 2 + sum(ELEMENT_BYTES[v.type.dtype] for v in self.places)
        self.channels = value.type.shape[1] if context.order(value) == KERNEL else 0
        self.buffers: dict[Value | None, Value] = {}
        self.zero: Value | None = None

    def piece(self, inputs: int, outputs: int) -> int:
        """Return how many inputs of a tile leave at a time."""
        unit = BLOCK if self.channels else 1
        room = min(PIECE, self.context.limit // (SHARE * self.bytes))
        pieces = ceil_div(inputs * self.taps * outputs, max(1, room))
        return min(inputs, ceil_div(ceil_div(inputs, pieces), unit) * unit)

    def memory(self, inputs: int, outputs: int) -> int:
        """Return the scratchpad bytes that pieces of a tile need."""
        elements = self.piece(inputs, outputs) * self.taps * outputs
        sizes = (2, *(ELEMENT_BYTES[v.type.dtype] for v in self.places))
        padding = pad64(BLOCK * outputs * 4) if self.channels % BLOCK else 0
        return sum(pad64(elements * size) for size in sizes) + padding

    def instructions(self, inputs: int, outputs: int) -> int:
        """Return how many instructions a tile's pieces take."""
        each = 1 + (self.own is not None) + len(self.maps) + len(self.places)
        return each * ceil_div(inputs, self.piece(inputs, outputs))

    def declare(self, b: TaskBuilder, inputs: int, outputs: int) -> None:
        """Declare the buffers for the largest tile."""
        self.size = self.piece(inputs, outputs)
        elements = self.size * self.taps * outputs
        self.buffers[None] = b.sram("out", elements * 2)
        for value in self.places:
            self.buffers[value] = b.sram(
                f"{value.name}_piece", elements * ELEMENT_BYTES[value.type.dtype]
            )
        if self.channels % BLOCK:
            self.zero = b.sram("zero", BLOCK * outputs * 4)

    def emit(self, b: TaskBuilder, acc: Value, c_at: At, c: int, o_at: At, n: int) -> None:
        """Let a tile leave whose binary32 sums are in ``acc``."""
        b.tiles(c, self.size, lambda at, count, _: self._piece(b, acc, at, c_at, count, o_at, n))
        if self.zero is not None and c % BLOCK:
            size = (BLOCK - c % BLOCK) * n * 4
            b.emit("fill", [("dst", self.zero, ZERO)], dst0=0, n0=1, bytes=size, pattern=0)
            for place in (self.own, *(p for v, p in self.places.items() if self._written(v))):
                if isinstance(place, KernelTensor):
                    place.store_padding(b, self.zero, c_at, c, o_at, n)

    def _written(self, value: Value) -> bool:
        return any(slot.value is value and slot.written for m in self.maps for slot in m.slots)

    def _piece(
        self, b: TaskBuilder, acc: Value, at: At, c_at: At, c: int, o_at: At, n: int
    ) -> None:
        rows = c * self.taps
        out = self.buffers[None]
        first = c_at + at
        streams = [
            Stream(acc, at * (self.taps * n * 4), 0, n * 4),
            Stream(out, ZERO, 0, n * 2),
        ]
        b.lanes("ew", self.program, streams, 1, rows, n)
        if self.own is not None:
            self.own.store(b, out, first, c, o_at, n)
        for each in self.maps:
            with b.phase(each.op.str_attr("phase", "")):
                for slot in each.slots:
                    if slot.value is not None and not slot.written:
                        buffer = self.buffers[slot.value]
                        self.places[slot.value].load(b, buffer, first, c, o_at, n)
                streams = [
                    Stream(self.buffers[s.value], ZERO, 0, n * self._element(s.value))
                    for s in each.slots
                ]
                b.lanes("ew", each.program, streams, 1, rows, n)
                for slot in each.slots:
                    if slot.value is not None and slot.written:
                        buffer = self.buffers[slot.value]
                        self.places[slot.value].store(b, buffer, first, c, o_at, n)

    @staticmethod
    def _element(value: Value | None) -> int:
        return ELEMENT_BYTES[value.type.dtype] if value is not None else 2
