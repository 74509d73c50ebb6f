"""Moves convolution weights between kernel order in DRAM and tiles in the scratchpad."""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.task import At, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import ELEMENT_BYTES

BLOCK = 16


@dataclass(frozen=True)
class KernelTensor:
    """A weight ``[outputs, channels, taps]`` in kernel order: block, tap, channel, output."""

    dram: Value
    outputs: int
    channels: int
    taps: int
    element: int = 2
    """Bytes of a number."""

    @property
    def row(self) -> int:
        """Bytes of one row of outputs."""
        return self.outputs * self.element

    def block_at(self, c_at: At) -> At:
        """Return the offset of a channel block (``c_at`` is a multiple of 16)."""
        return c_at * (self.taps * self.row)

    def load(self, b: TaskBuilder, buffer: Value, c_at: At, c: int, o_at: At, o: int) -> None:
        """Load ``[k, o]`` rows in reduction order for ``c`` channels and ``o`` outputs."""
        e = self.element
        for at, start, n0, n1, step in self._pieces(c_at, c):
            b.load(
                buffer,
                At(start * o * e),
                self.dram,
                at + o_at * e,
                n1,
                o * e,
                o * e,
                self.row,
                (n0, step * o * e, BLOCK * self.row),
            )

    def store(self, b: TaskBuilder, buffer: Value, c_at: At, c: int, o_at: At, o: int) -> None:
        """Store what :meth:`load` would load."""
        e = self.element
        for at, start, n0, n1, step in self._pieces(c_at, c):
            b.store(
                self.dram,
                at + o_at * e,
                buffer,
                At(start * o * e),
                n1,
                o * e,
                self.row,
                o * e,
                (n0, BLOCK * self.row, step * o * e),
            )

    def store_padding(
        self, b: TaskBuilder, zero: Value, c_at: At, c: int, o_at: At, o: int
    ) -> None:
        """Store zeros where the last block has no channels (element-wise ops read them)."""
        e = self.element
        full, rest = divmod(c, BLOCK)
        at = self.block_at(c_at + full * BLOCK) + rest * self.row + o_at * e
        b.store(
            self.dram,
            at,
            zero,
            At(),
            BLOCK - rest,
            o * e,
            self.row,
            o * e,
            (self.taps, BLOCK * self.row, 0),
        )

    def _pieces(self, c_at: At, c: int) -> list[tuple[At, int, int, int, int]]:
        """Return (DRAM offset, first row in SRAM, outer count, rows, SRAM rows per outer)."""
        full, rest = divmod(c, BLOCK)
        found: list[tuple[At, int, int, int, int]] = []
        if full:
            found.append((self.block_at(c_at), 0, 1, full * self.taps * BLOCK, 0))
        if rest:
            at = self.block_at(c_at + full * BLOCK)
            found.append((at, full * self.taps * BLOCK, self.taps, rest, rest))
        return found

    def load_turned(
        self, b: TaskBuilder, buffer: Value, c_at: At, c: int, o_at: At, o: int
    ) -> None:
        """Load ``[c, k]`` rows whose k runs over blocks of outputs, taps, output in block."""
        row = o * self.taps * 2
        full_o, rest_o = divmod(o, BLOCK)

        def outputs(c_piece: At, channels: int, sram: At) -> None:
            def block(ob_at: At, _: int, __: bool) -> None:
                self._turned_block(
                    b,
                    buffer,
                    c_piece,
                    channels,
                    o_at + ob_at * BLOCK,
                    BLOCK,
                    sram + ob_at * (self.taps * BLOCK * 2),
                    row,
                )

            def tap(tap_at: At, _: int, __: bool) -> None:
                b.load(
                    buffer,
                    sram + tap_at * (BLOCK * 2),
                    self.dram,
                    self.block_at(c_piece) + tap_at * (BLOCK * self.row) + o_at * 2,
                    full_o,
                    BLOCK * 2,
                    self.taps * BLOCK * 2,
                    BLOCK * 2,
                    (channels, row, self.row),
                )

            if full_o > self.taps:  # fewer, larger transfers
                b.tiles(self.taps, 1, tap)
            else:
                b.tiles(full_o, 1, block)
            if rest_o:
                self._turned_block(
                    b,
                    buffer,
                    c_piece,
                    channels,
                    o_at + full_o * BLOCK,
                    rest_o,
                    sram + full_o * self.taps * BLOCK * 2,
                    row,
                )

        full_c, rest_c = divmod(c, BLOCK)
        b.tiles(
            full_c,
            1,
            lambda cb, _, __: outputs(c_at + cb * BLOCK, BLOCK, cb * (BLOCK * row)),
        )
        if rest_c:
            outputs(c_at + full_c * BLOCK, rest_c, At(full_c * BLOCK * row))

    def _turned_block(
        self,
        b: TaskBuilder,
        buffer: Value,
        c_at: At,
        channels: int,
        o_at: At,
        outputs: int,
        sram: At,
        row: int,
    ) -> None:
        b.load(
            buffer,
            sram,
            self.dram,
            self.block_at(c_at) + o_at * 2,
            self.taps,
            outputs * 2,
            outputs * 2,
            BLOCK * self.row,
            (channels, row, self.row),
        )


def kernel_of(context: TilingContext, value: Value) -> KernelTensor:
    """Return a weight (or its gradient) in kernel order."""
    outputs, channels, *kernel = value.type.shape
    taps = 1
    for d in kernel:
        taps *= d
    return KernelTensor(
        context.tensors[value], outputs, channels, taps, ELEMENT_BYTES[value.type.dtype]
    )
