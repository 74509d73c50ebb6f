"""Compiles ``phase.map`` and ``phase.scan`` regions into lane work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Block, Op, Value
from snncc.compiler.ir.orders import KERNEL, Order
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import (
    ProgramWriter,
    RegionCompiler,
    constant_of,
    f16_bits,
    f32_bits,
)
from snncc.compiler.passes.tiling.kit.views import ELEMENT_BYTES, View, row_bytes, storage_shape
from snncc.compiler.passes.tiling.templates.fused import Producer
from snncc.compiler.passes.tiling.templates.lanes import Feed, LaneWork, lane_work, phase_lane
from snncc.isa.microprograms.code import MicroError


def product_of(shape: Sequence[int]) -> int:
    """Return the number of elements."""
    n = 1
    for d in shape:
        n *= d
    return n


@dataclass(frozen=True)
class Domain:
    """The shape of the elements of a region and its cut into rows and columns."""

    shape: tuple[int, ...]
    cut: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return product_of(self.shape[: self.cut])

    @property
    def cols(self) -> int:
        """Number of columns."""
        return product_of(self.shape[self.cut :])


def _aligned(value: Value, rank: int, order: Order) -> tuple[int, ...]:
    """Return a value's step shape with the rank and the axis order of a domain."""
    shape = value.type.step_shape
    if order == KERNEL:
        return storage_shape(value.type, KERNEL) if len(shape) == rank else (1, 1, 1, 1)
    full = (1,) * (rank - len(shape)) + shape
    return tuple(full[a] for a in order) if order else full


def _fits(value: Value, domain: Domain, rank: int, order: Order) -> bool:
    """Whether a value is full or constant over the domain's rows, and over its columns."""
    full = _aligned(value, rank, order)
    lead, trail = full[: domain.cut], full[domain.cut :]
    want_lead, want_trail = domain.shape[: domain.cut], domain.shape[domain.cut :]
    lead_ok = lead == want_lead or product_of(lead) == 1
    trail_ok = trail == want_trail or product_of(trail) == 1
    if not (lead_ok and trail_ok):
        return False
    dtype = value.type.dtype
    if dtype == "bit":  # packed rows are padded: cuts elsewhere need whole units
        last = max(0, len(domain.shape) - 1)
        whole = domain.cut < last and domain.shape[-1] % 16 == 0
        return trail == want_trail and (domain.cut == last or whole)
    return dtype != "i32" or product_of(trail) == 1


def has_domain(result: Value, values: Sequence[Value], order: Order) -> bool:
    """Whether some cut of the result's storage shape serves all values."""
    shape = storage_shape(result.type, order)
    rank = len(result.type.step_shape)
    return any(
        all(_fits(v, Domain(shape, cut), rank, order) for v in values)
        for cut in range(len(shape) + 1)
    )


def find_domain(op: Op, result: Value, values: Sequence[Value], order: Order) -> Domain:
    """Return a cut of the result's storage shape under which every value is a stream."""
    shape = storage_shape(result.type, order)
    rank = len(result.type.step_shape)
    for cut in sorted(range(len(shape) + 1), key=lambda c: (c == 0, c)):
        domain = Domain(shape, cut)
        if all(_fits(v, domain, rank, order) for v in values):
            return domain
    shapes = ", ".join(str(v.type) for v in values)
    fail(
        "E0402",
        f"{op.name} of layer '{op.attrs.get('layer', '')}' mixes shapes {shapes} over {shape}, "
        "which no row/column cut serves",
        where=str(op.loc),
        help="give the constants one value per neuron instead of broadcasting them",
    )


def use_view(
    context: TilingContext, value: Value, domain: Domain, steps: int, rank: int, order: Order
) -> tuple[View, bool]:
    """Return (view, row form) of an operand or result under a domain."""
    shape = _aligned(value, rank, order)
    lead, trail = product_of(shape[: domain.cut]), product_of(shape[domain.cut :])
    dram = context.tensors[value]
    dtype = dram.type.dtype if value.type.dtype == "i32" else value.type.dtype
    row_form = (trail == 1 and domain.cols > 1) or dtype == "i32"
    width = ELEMENT_BYTES.get(dtype, 2) if row_form else row_bytes(dtype, trail)
    row = width if lead > 1 else 0
    natural = context.view(value)
    step = natural.step if value.type.kind == "seq" and value.type.shape[0] > 1 else 0
    return View(
        dram, dtype, steps if step else 1, domain.rows, domain.cols, step, row, natural.start
    ), row_form


class RegionTiler:
    """Builds the lane work of one region op."""

    def __init__(
        self,
        context: TilingContext,
        op: Op,
        fused: Value | None = None,
        producer: Producer | None = None,
    ) -> None:
        self.context, self.op = context, op
        self.fused, self.producer = fused, producer
        self.writer = ProgramWriter()
        self.region = RegionCompiler(self.writer)
        self.feeds: list[Feed] = []
        self.rank = 0
        self.order: Order = ()

    def _feed(self, feed: Feed) -> int:
        self.feeds.append(feed)
        return len(self.feeds) - 1

    def _use(self, value: Value, domain: Domain, steps: int) -> tuple[View, bool]:
        return use_view(self.context, value, domain, steps, self.rank, self.order)

    def _domain(self, result: Value, values: Sequence[Value]) -> Domain:
        self.rank = len(result.type.step_shape)
        self.order = self.context.order(result)
        return find_domain(self.op, result, values, self.order)

    def _bind_input(self, arg: Value, operand: Value, domain: Domain, steps: int) -> None:
        number = constant_of(operand)
        dtype = operand.type.dtype
        if number is not None and dtype in {"f16", "f32"}:
            name, bits = (
                ("const.h", f16_bits(number)) if dtype == "f16" else ("const.f", f32_bits(number))
            )
            self.region.bind(arg, self.writer.add(name, imm=bits))
            return
        if operand is self.fused:
            stream = self._feed(Feed("acc", None, "f32"))
            self.region.bind(arg, self.writer.add("ld.acc", imm=stream))
            return
        use, row_form = self._use(operand, domain, steps)
        stream = self._feed(Feed("in", use, dtype, row_form))
        if row_form:
            load = {"f16": "ld.row.h", "f32": "ld.row.f", "i32": "ld.row.i"}[dtype]
        else:
            load = {"f16": "ld.h", "f32": "ld.f", "bit": "ld.m"}[dtype]
        self.region.bind(arg, self.writer.add(load, imm=stream))

    def _counters(self, block: Block, domain: Domain) -> None:
        """Give random and index ops their counter streams."""
        size = domain.rows * domain.cols
        for inner in block.ops:
            kind = inner.name.partition(".")[2]
            if kind in {"rand", "srnd"}:
                base = inner.int_attr("stream") << 40
                stream = self._feed(Feed("in", None, "i32", counter=(base, size, domain.cols)))
                self.region.counters[inner] = stream
            elif kind == "iota":
                axis = inner.int_attr("axis")
                if axis != len(domain.shape) - 1 or domain.cut != axis:
                    fail(
                        "E0402", f"an index along axis {axis} has no stream", where=str(self.op.loc)
                    )
                stream = self._feed(Feed("in", None, "i32", counter=(0, 0, 0)))
                self.region.counters[inner] = stream

    def _store(self, register: int, result: Value, domain: Domain, steps: int) -> None:
        use, _ = self._use(result, domain, steps)
        stream = self._feed(Feed("out", use, result.type.dtype))
        name = {"f16": "st.h", "f32": "st.f", "bit": "st.m"}[result.type.dtype]
        self.writer.add(name, (register,), stream)

    def _finish(self, domain: Domain, steps: int, reverse: bool, name: str) -> None:
        layer = self.op.str_attr("layer", "")
        phase = self.op.str_attr("phase", "fp")
        try:
            program = self.context.program(f"{layer}_{phase}_{name}", self.writer.program("p"))
        except MicroError as error:
            fail(
                "E0402",
                f"{self.op.name} of layer '{layer}' is too large for a microprogram: {error}",
                where=str(self.op.loc),
                help="make the cell smaller: fewer constants, fewer operations",
            )
        lane_work(
            self.context,
            self.op,
            LaneWork(
                program,
                tuple(self.feeds),
                steps,
                domain.rows,
                domain.cols,
                reverse,
                phase_lane(phase),
                name=name,
                producer=self.producer,
            ),
        )

    def map(self) -> None:
        """Tile a ``phase.map``."""
        op, block = self.op, self.op.regions[0]
        result = max(op.results, key=lambda r: r.type.size)
        steps = result.type.shape[0] if result.type.kind == "seq" else 1
        results = [r for r in op.results if r.uses]
        used = [v for v in (*op.operands, *results) if constant_of(v) is None]
        domain = self._domain(result, used)
        for arg, operand in zip(block.args, op.operands, strict=True):
            self._bind_input(arg, operand, domain, steps)
        self._counters(block, domain)
        registers = self.region.body(block)
        for register, value in zip(registers, op.results, strict=True):
            if value.uses:
                self._store(register, value, domain, steps)
        self._finish(domain, steps, False, "map")

    def scan(self) -> None:
        """Tile a ``phase.scan`` whose body is element-wise."""
        op, block = self.op, self.op.regions[0]
        carried, seqs = op.int_attr("carried"), op.int_attr("seqs")
        steps = op.int_attr("steps")
        reverse = op.bool_attr("reverse", False)
        used = [
            *(v for v in op.operands if constant_of(v) is None),
            *(r for r in op.results if r.uses),
        ]
        result = max(op.results, key=lambda r: product_of(r.type.step_shape))
        domain = self._domain(result, used)
        states: list[int] = []
        for i in range(carried):
            states.append(self._bind_state(i, domain))
        for arg, operand in zip(block.args[carried:], op.operands[carried:], strict=True):
            self._bind_input(arg, operand, domain, steps)
        self._counters(block, domain)
        registers = self.region.body(block)
        for state, register in zip(states, registers[:carried], strict=True):
            self.writer.add("next", (state, register))
        for register, value in zip(registers[carried:], op.results[carried:], strict=True):
            if value.uses:
                self._store(register, value, domain, steps)
        del seqs
        self._finish(domain, steps, reverse, "scan")

    def _bind_state(self, index: int, domain: Domain) -> int:
        op, arg = self.op, self.op.regions[0].args[index]
        operand, result = op.operands[index], op.results[index]
        dtype = arg.type.dtype
        number = constant_of(operand)
        source: View | None = None
        initial = 0
        if number is None:
            source, row_form = self._use(operand, domain, 1)
            if row_form or (source.row == 0 and domain.rows > 1):
                fail(
                    "E0402",
                    f"the initial state of layer '{op.attrs.get('layer', '')}' is broadcast",
                    where=str(op.loc),
                    help="give one value per neuron and sample",
                )
        elif dtype == "bit":
            initial = 0xFFFF if number else 0
        else:
            initial = f16_bits(number) if dtype == "f16" else f32_bits(number)
        final = self._use(result, domain, 1)[0] if result.uses else None
        stream = self._feed(Feed("state", source, dtype, initial=initial, final=final))
        letter = {"f16": "h", "f32": "f", "bit": "m"}[dtype]
        register = self.writer.add(f"state.{letter}", imm=stream)
        self.region.bind(arg, register)
        return register
