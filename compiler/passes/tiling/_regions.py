"""Compiles ``phase.map`` and ``phase.scan`` regions into lane work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Block, Op, Value
from snncc.compiler.passes.tiling._context import TilingContext
from snncc.compiler.passes.tiling._lanes import ProgramWriter, RegionCompiler, f16_bits, f32_bits
from snncc.compiler.passes.tiling._stage import Feed, LaneWork, lane_work, phase_lane
from snncc.compiler.passes.tiling._views import ELEMENT_BYTES, View, row_bytes


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


def _aligned(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(shape)) + shape


def _fits(shape: tuple[int, ...], domain: Domain, dtype: str) -> bool:
    """Whether a shape is full or constant over the domain's rows, and over its columns."""
    full = _aligned(shape, len(domain.shape))
    lead, trail = full[: domain.cut], full[domain.cut :]
    want_lead, want_trail = domain.shape[: domain.cut], domain.shape[domain.cut :]
    lead_ok = lead == want_lead or product_of(lead) == 1
    trail_ok = trail == want_trail or product_of(trail) == 1
    if not (lead_ok and trail_ok):
        return False
    if dtype != "bit":
        return dtype != "i32" or product_of(trail) == 1
    # packed rows are padded: they are what the tensor's own first axis says
    natural = len(shape) == len(domain.shape) and domain.cut == 1
    return (natural and trail == want_trail) or (
        product_of(trail) == domain.cols and domain.cols % 16 == 0
    )


def find_domain(
    op: Op, shape: tuple[int, ...], types: Sequence[tuple[tuple[int, ...], str]]
) -> Domain:
    """Return a cut of ``shape`` under which every operand is a stream."""
    rank = len(shape)
    for cut in sorted(range(rank + 1), key=lambda c: (c != 1, c)):
        domain = Domain(shape, cut)
        if all(_fits(s, domain, d) for s, d in types):
            return domain
    fail(
        "E0402",
        f"{op.name} of layer '{op.attrs.get('layer', '')}' mixes shapes "
        f"{', '.join(str(s) for s, _ in types)} over {shape}, which no row/column cut serves",
        where=str(op.loc),
        help="give the constants one value per neuron instead of broadcasting them",
    )


def use_view(context: TilingContext, value: Value, domain: Domain, steps: int) -> tuple[View, bool]:
    """Return (view, row form) of an operand or result under a domain."""
    type_ = value.type
    shape = _aligned(type_.step_shape, len(domain.shape))
    lead, trail = product_of(shape[: domain.cut]), product_of(shape[domain.cut :])
    dtype = type_.dtype
    row_form = (trail == 1 and domain.cols > 1) or dtype == "i32"
    width = ELEMENT_BYTES.get(dtype, 2) if row_form else row_bytes(dtype, trail)
    row = width if lead > 1 else 0
    natural = context.view(value)
    step = 0
    if type_.kind == "seq" and type_.shape[0] > 1:
        step = (
            natural.step
            if dtype == "bit"
            else product_of(type_.step_shape) * (ELEMENT_BYTES[dtype])
        )
    return View(natural.dram, dtype, steps if step else 1, domain.rows, domain.cols, step, row), (
        row_form
    )


def constant_of(value: Value) -> float | None:
    """Return the number that a ``phase.const`` holds, or None."""
    owner = value.owner
    if isinstance(owner, Op) and owner.name == "phase.const" and "value" in owner.attrs:
        return owner.float_attr("value")
    return None


class RegionTiler:
    """Builds the lane work of one region op."""

    def __init__(self, context: TilingContext, op: Op) -> None:
        self.context, self.op = context, op
        self.writer = ProgramWriter()
        self.region = RegionCompiler(self.writer)
        self.feeds: list[Feed] = []

    def _feed(self, feed: Feed) -> int:
        self.feeds.append(feed)
        return len(self.feeds) - 1

    def _bind_input(self, arg: Value, operand: Value, domain: Domain, steps: int) -> None:
        number = constant_of(operand)
        dtype = operand.type.dtype
        if number is not None and dtype in {"f16", "f32"}:
            name, bits = (
                ("const.h", f16_bits(number)) if dtype == "f16" else ("const.f", f32_bits(number))
            )
            self.region.bind(arg, self.writer.add(name, imm=bits))
            return
        use, row_form = use_view(self.context, operand, domain, steps)
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
        use, _ = use_view(self.context, result, domain, steps)
        stream = self._feed(Feed("out", use, result.type.dtype))
        name = {"f16": "st.h", "f32": "st.f", "bit": "st.m"}[result.type.dtype]
        self.writer.add(name, (register,), stream)

    def _finish(self, domain: Domain, steps: int, reverse: bool, name: str) -> None:
        layer = self.op.str_attr("layer", "")
        phase = self.op.str_attr("phase", "fp")
        program = self.context.program(f"{layer}_{phase}_{name}", self.writer.program("p"))
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
            ),
        )

    def map(self) -> None:
        """Tile a ``phase.map``."""
        op, block = self.op, self.op.regions[0]
        result = op.results[0].type
        steps = result.shape[0] if result.kind == "seq" else 1
        domain = find_domain(
            op,
            result.step_shape,
            [
                (v.type.step_shape, v.type.dtype)
                for v in (*op.operands, *op.results)
                if constant_of(v) is None
            ],
        )
        for arg, operand in zip(block.args, op.operands, strict=True):
            self._bind_input(arg, operand, domain, steps)
        self._counters(block, domain)
        registers = self.region.body(block)
        for register, value in zip(registers, op.results, strict=True):
            self._store(register, value, domain, steps)
        self._finish(domain, steps, False, "map")

    def scan(self) -> None:
        """Tile a ``phase.scan`` whose body is element-wise."""
        op, block = self.op, self.op.regions[0]
        carried, seqs = op.int_attr("carried"), op.int_attr("seqs")
        steps = op.int_attr("steps")
        reverse = op.bool_attr("reverse", False)
        shapes = [a.type.shape for a in block.args[:carried]]
        shapes += [r.type.step_shape for r in op.results]
        shape = max(shapes, key=lambda s: (product_of(s), len(s)))
        used = [
            *(v for v in op.operands if constant_of(v) is None),
            *(r for r in op.results if r.uses),
        ]
        domain = find_domain(op, shape, [(v.type.step_shape, v.type.dtype) for v in used])
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
            source, row_form = use_view(self.context, operand, domain, 1)
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
        final = use_view(self.context, result, domain, 1)[0] if result.uses else None
        stream = self._feed(Feed("state", source, dtype, initial=initial, final=final))
        letter = {"f16": "h", "f32": "f", "bit": "m"}[dtype]
        register = self.writer.add(f"state.{letter}", imm=stream)
        self.region.bind(arg, register)
        return register
