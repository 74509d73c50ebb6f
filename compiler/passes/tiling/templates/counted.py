"""Maps over convolution weights that draw random numbers.

Random words are numbered by the element's place in natural order, but the weights lie in kernel
order.  So every channel block and tap is a piece of its own: its channels are the steps of a lane
operation, its outputs the rows; the numbers then advance by constants.
"""

from __future__ import annotations

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import KERNEL
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import (
    ProgramWriter,
    RegionCompiler,
    constant_of,
    f16_bits,
    f32_bits,
)
from snncc.compiler.passes.tiling.kit.task import At
from snncc.compiler.passes.tiling.kit.views import ELEMENT_BYTES, View
from snncc.compiler.passes.tiling.templates.lanes import Feed, LaneWork, lane_work, phase_lane

BLOCK = 16
COUNTERS = {"ew.rand", "ew.srnd"}


def is_counted(context: TilingContext, op: Op) -> bool:
    """Whether a map draws random numbers for values in kernel order."""
    return any(o.name in COUNTERS for o in op.regions[0].ops) and any(
        context.order(v) == KERNEL for v in (*op.operands, *op.results)
    )


def counted_map(context: TilingContext, op: Op) -> None:
    """Emit one piece per channel block and tap."""
    shape = next(v for v in (*op.operands, *op.results) if context.order(v) == KERNEL).type.shape
    taps = 1
    for d in shape[2:]:
        taps *= d
    for low in range(0, shape[1], BLOCK):
        for tap in range(taps):
            _Piece(context, op, shape, taps, low, tap).emit()


class _Piece:
    def __init__(
        self,
        context: TilingContext,
        op: Op,
        shape: tuple[int, ...],
        taps: int,
        low: int,
        tap: int,
    ) -> None:
        self.context, self.op, self.shape = context, op, shape
        self.taps, self.low, self.tap = taps, low, tap
        self.channels = min(BLOCK, shape[1] - low)
        self.writer = ProgramWriter()
        self.feeds: list[Feed] = []

    def emit(self) -> None:
        """Emit the piece."""
        op, block, writer = self.op, self.op.regions[0], self.writer
        region = RegionCompiler(writer)
        for arg, operand in zip(block.args, op.operands, strict=True):
            number, dtype = constant_of(operand), operand.type.dtype
            if number is not None and dtype in {"f16", "f32"}:
                bits = f16_bits(number) if dtype == "f16" else f32_bits(number)
                name = "const.h" if dtype == "f16" else "const.f"
                region.bind(arg, writer.add(name, imm=bits))
            else:
                stream = self._feed(Feed("in", self._view(operand), dtype))
                name = "ld.h" if dtype == "f16" else "ld.f"
                region.bind(arg, writer.add(name, imm=stream))
        for inner in block.ops:
            if inner.name in COUNTERS:
                base = (inner.int_attr("stream") << 40) + self.low * self.taps + self.tap
                counter = (base, self.taps, self.shape[1] * self.taps)
                region.counters[inner] = self._feed(Feed("in", None, "i32", counter=counter))
            elif inner.name == "ew.iota":
                self._refuse("numbers the elements of")
        registers = region.body(block)
        for register, value in zip(registers, op.results, strict=True):
            if value.uses:
                dtype = value.type.dtype
                stream = self._feed(Feed("out", self._view(value), dtype))
                writer.add("st.h" if dtype == "f16" else "st.f", (register,), stream)
        layer, phase = op.str_attr("layer", ""), op.str_attr("phase", "fp")
        program = self.context.program(f"{layer}_{phase}_counted", writer.program("p"))
        work = LaneWork(
            program,
            tuple(self.feeds),
            self.channels,
            self.shape[0],
            1,
            False,
            phase_lane(phase),
            name="counted",
        )
        lane_work(self.context, op, work)

    def _feed(self, feed: Feed) -> int:
        self.feeds.append(feed)
        return len(self.feeds) - 1

    def _view(self, value: Value) -> View:
        """Return channels x outputs of this block and tap (or one number for all)."""
        dram, dtype = self.context.tensors[value], value.type.dtype
        if dtype not in {"f16", "f32"}:
            self._refuse(f"has {dtype} values over")
        if value.type.size == 1 and self.shape != value.type.shape:
            return View(dram, dtype, 1, self.shape[0], 1, 0, 0)
        if self.context.order(value) != KERNEL or value.type.shape != self.shape:
            self._refuse(f"broadcasts {value.type} over")
        size = ELEMENT_BYTES[dtype]
        row = self.shape[0] * size
        start = (self.low * self.taps + self.tap * BLOCK) * row
        return View(dram, dtype, self.channels, self.shape[0], 1, row, size, At(start))

    def _refuse(self, what: str) -> None:
        fail(
            "E0402",
            f"a map of layer '{self.op.attrs.get('layer', '')}' draws random numbers and {what} "
            "convolution weights",
            where=str(self.op.loc),
            help="round to nearest instead",
        )
