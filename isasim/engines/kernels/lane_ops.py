# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Micro-operations as vector code: one loop over groups of 16 lanes for each, behind one switch.

A number register is a row of binary32 lanes, a constant one group that is read again and again
(distance 0), a mask 16 packed bits per group.  Results are stored group by group after their
operands were read, so a result may take the place of an operand that is not needed any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snncc.isa.microprograms.code import MICRO_BY_NAME
from snncc.isa.microprograms.table import MICRO_OPS
from snncc.isasim.engines.kernels.emit import (
    I16,
    LANES,
    NAN16,
    V1,
    V16,
    V32,
    V64,
    VF,
    VectorBuilder,
    const,
    i64,
)

COPY, COPY_MASK, SATURATE = 0x7D, 0x7E, 0x7F
"""Operations of the translation, beside those of the table."""


def _least(e: VectorBuilder, x: Any, y: Any, *, largest: bool) -> Any:
    """min.h and max.h: equal values have equal bits, except the zeros: OR gives -0, AND +0."""
    b = e.b
    combine = b.and_ if largest else b.or_
    tie = combine(e.bits(x), e.bits(y))
    first = b.fcmp_ordered(">" if largest else "<", x, y)
    out = b.select(b.fcmp_ordered("==", x, y), tie, b.select(first, e.bits(x), e.bits(y)))
    nan = b.fcmp_unordered("uno", x, y)
    return e.float_of(b.select(nan, const(0x7FC00000, True), out))


def _stochastic(e: VectorBuilder, x: Any, random: Any) -> Any:
    """Round as ``fp16.stochastic_round``: add 13 random bits below the last place and truncate."""
    b = e.b
    u = e.bits(x)
    r = b.lshr(e.bits(random), const(19, True))
    a = b.and_(u, const(0x7FFFFFFF, True))
    exp = b.lshr(a, const(23, True))
    normal = b.lshr(b.add(b.sub(a, const(112 << 23, True)), r), const(13, True))
    one = b.select(b.icmp_unsigned(">", exp, const(0, True)), const(1 << 23, True), const(0, True))
    man = b.or_(b.and_(a, const(0x7FFFFF, True)), one)
    exp = b.select(b.icmp_unsigned("<", exp, const(1, True)), const(1, True), exp)
    big = b.icmp_unsigned(">=", exp, const(113, True))
    shift = b.sub(const(113, True), b.select(big, const(113, True), exp))
    far = b.icmp_unsigned(">", shift, const(31, True))
    shift = b.select(far, const(31, True), shift)
    small = b.lshr(b.add(b.lshr(man, shift), r), const(13, True))
    mag = b.select(big, normal, small)
    mag = b.select(b.icmp_unsigned(">", mag, const(0x7C00, True)), const(0x7C00, True), mag)
    out = b.or_(mag, b.and_(b.lshr(u, const(16, True)), const(0x8000, True)))
    out = b.select(b.icmp_unsigned(">", a, const(0x7F800000, True)), const(NAN16, True), out)
    return e.widen(b.trunc(out, V16))


def lookup(e: VectorBuilder, x: Any, table: Any) -> Any:
    """Look 16 binary16 numbers up."""
    b = e.b
    index = e.narrow(x)
    out = const(0, True, 16)
    for lane in range(LANES):
        i = b.zext(b.extract_element(index, const(lane)), ir.IntType(64))
        value = e.load(b.add(table, b.shl(i, i64(1))), I16, 2)
        out = b.insert_element(out, value, const(lane))
    return e.widen(out)


def saturated(e: VectorBuilder, x: Any) -> Any:
    """Clamp to the finite binary16 numbers; NaN stays NaN."""
    b, big = e.b, 65504.0
    x = b.select(b.fcmp_ordered(">", x, e.floats(big)), e.floats(big), x)
    return b.select(b.fcmp_ordered("<", x, e.floats(-big)), e.floats(-big), x)


def _uniform(e: VectorBuilder, x: Any) -> Any:
    top = e.b.lshr(e.bits(x), const(21, True))
    return e.b.fmul(e.b.uitofp(top, VF), e.floats(1.0 / 2048))


Numbers = Callable[[VectorBuilder, Any, Any], Any]

# name: result from two (or one) number operands
NUMBERS: dict[str, Numbers] = {
    "add.h": lambda e, x, y: e.round16(e.b.fadd(x, y)),
    "sub.h": lambda e, x, y: e.round16(e.b.fsub(x, y)),
    "mul.h": lambda e, x, y: e.round16(e.b.fmul(x, y)),
    "div.h": lambda e, x, y: e.round16(e.b.fdiv(x, y)),
    "min.h": lambda e, x, y: _least(e, x, y, largest=False),
    "max.h": lambda e, x, y: _least(e, x, y, largest=True),
    "add.f": lambda e, x, y: e.b.fadd(x, y),
    "sub.f": lambda e, x, y: e.b.fsub(x, y),
    "mul.f": lambda e, x, y: e.b.fmul(x, y),
    "div.f": lambda e, x, y: e.b.fdiv(x, y),
    "gt": lambda e, x, y: e.b.fcmp_ordered(">", x, y),
    "ge": lambda e, x, y: e.b.fcmp_ordered(">=", x, y),
    "lt": lambda e, x, y: e.b.fcmp_ordered("<", x, y),
    "le": lambda e, x, y: e.b.fcmp_ordered("<=", x, y),
    "eq": lambda e, x, y: e.b.fcmp_ordered("==", x, y),
    "srnd": _stochastic,
}
SINGLE: dict[str, Callable[[VectorBuilder, Any], Any]] = {
    "sqrt.h": lambda e, x: e.round16(e.unary("sqrt", x)),
    "sqrt.f": lambda e, x: e.unary("sqrt", x),
    "neg.h": lambda e, x: e.float_of(e.b.xor(e.bits(x), const(0x80000000, True))),
    "neg.f": lambda e, x: e.float_of(e.b.xor(e.bits(x), const(0x80000000, True))),
    "abs.h": lambda e, x: e.float_of(e.b.and_(e.bits(x), const(0x7FFFFFFF, True))),
    "trunc.h": lambda e, x: e.unary("trunc", x),
    "floor.h": lambda e, x: e.unary("floor", x),
    "f2h": lambda e, x: e.round16(x),
    "i2h": _uniform,
    "copy": lambda e, x: x,
    "saturate": saturated,
}
MASKS: dict[str, Callable[[VectorBuilder, Any, Any], Any]] = {
    "and": lambda e, x, y: e.b.and_(x, y),
    "or": lambda e, x, y: e.b.or_(x, y),
    "not": lambda e, x, y: e.b.not_(x),
    "copy mask": lambda e, x, y: x,
}
_ALONE = {"sel.h", "sel.f", "tab.h", "h2f"}
_ADDED = {"copy", "copy mask", "saturate"}
_WITHOUT = {
    op.name for op in MICRO_OPS if op.meaning is not None and op.imm not in ("stream", "f16", "f32")
} ^ ({*NUMBERS, *SINGLE, *MASKS} - _ADDED | _ALONE)
assert not _WITHOUT, f"no kernel, or no micro-operation: {', '.join(sorted(_WITHOUT))}"

CODES = {name: op.opcode for name, op in MICRO_BY_NAME.items()}
CODES |= {"copy": COPY, "copy mask": COPY_MASK, "saturate": SATURATE, "h2f": COPY, "sel.f": 0x48}


def _body(name: str, e: VectorBuilder, i: Any, args: list[Any]) -> None:
    """Emit one group: read operands, compute, store."""
    dst, a, a_step, b, b_step, c, c_step, imm = args
    group = e.b.shl(i, i64(1))

    def number(address: Any, step: Any) -> Any:
        return e.load(e.b.add(address, e.b.mul(i, step)), VF, 4)

    def mask(address: Any) -> Any:
        return e.load_mask(e.b.add(address, group))

    if name in MASKS:
        result = MASKS[name](e, mask(a), mask(b) if name in ("and", "or") else None)
    elif name == "sel.h":
        result = e.b.select(mask(a), number(b, b_step), number(c, c_step))
    elif name == "tab.h":
        result = lookup(e, number(a, a_step), imm)
    elif name in SINGLE:
        result = SINGLE[name](e, number(a, a_step))
    else:
        result = NUMBERS[name](e, number(a, a_step), number(b, b_step))
    if result.type == V1:
        e.store_mask(result, e.b.add(dst, group))
    else:
        e.store(result, e.b.add(dst, e.b.shl(i, i64(6))), 4)


@intrinsic
def lane_op(tyctx, code, groups, dst, a, a_step, b, b_step, c, c_step, imm):
    """Run one micro-operation on groups of 16 lanes; unknown codes do nothing."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        code, groups = args[:2]
        after = builder.append_basic_block("switched")
        switch = builder.switch(code, after)
        for name in (*MASKS, "sel.h", "tab.h", *SINGLE, *NUMBERS):
            case = builder.append_basic_block("case")
            switch.add_case(i64(CODES[name]), case)
            builder.position_at_end(case)

            def body(i: Any, carried: list[Any], name: str = name) -> list[Any]:
                _body(name, e, i, list(args[2:]))
                return []

            e.loop(groups, [], body)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10), codegen


MOVE_HALF, MOVE_FLOAT, MOVE_ROUND, PUT_HALF, PUT_FLOAT = range(5)


@intrinsic
def move_groups(tyctx, kind, groups, source, target):
    """Copy groups of 16 elements between memory and lanes, converting."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        kind, groups, source, target = args
        after = builder.append_basic_block("moved")
        switch = builder.switch(kind, after)
        for move in range(5):
            case = builder.append_basic_block("case")
            switch.add_case(i64(move), case)
            builder.position_at_end(case)

            def body(i: Any, carried: list[Any], move: int = move) -> list[Any]:
                step_in, step_out = (5 if move == MOVE_HALF else 6), (5 if move == PUT_HALF else 6)
                place = builder.add(source, builder.shl(i, i64(step_in)))
                x = e.load_half(place) if move == MOVE_HALF else e.load(place, VF, 4)
                if move == MOVE_ROUND:
                    x = e.round16(x)
                elif move == PUT_HALF:
                    x = e.narrow(x)
                elif move == PUT_FLOAT:
                    x = e.canonical(x)
                e.store(x, builder.add(target, builder.shl(i, i64(step_out))), 2)
                return []

            e.loop(groups, [], body)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), codegen


@intrinsic
def number_lanes(tyctx, first, target):
    """Write the binary32 numbers first, first+1, ... to a group."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        lanes = builder.add(e.splat(args[0]), ir.Constant(V64, list(range(LANES))))
        e.store(builder.sitofp(lanes, VF), args[1], 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def fill_group(tyctx, bits, target):
    """Write one 32-bit pattern to the 16 lanes of a group."""

    def codegen(context, builder, signature, args):
        e = VectorBuilder(builder)
        e.store(e.splat(builder.trunc(args[0], ir.IntType(32))), args[1], 4)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def random_words(tyctx, block, seed, target):
    """Write the 64 random words of 16 consecutive Philox blocks (stream 0), isa/numbers/rng.py."""

    def codegen(context, builder, signature, args):
        e, b = VectorBuilder(builder), builder
        block, seed, target = args
        blocks = b.add(e.splat(block), ir.Constant(V64, list(range(LANES))))
        blocks = b.and_(blocks, const((1 << 62) - 1, True, 64))

        def halves(x: Any) -> tuple[Any, Any]:
            return b.trunc(b.lshr(x, const(32, True, 64)), V32), b.trunc(x, V32)

        c1, c0 = halves(blocks)
        c2 = c3 = const(0, True)
        k1, k0 = halves(e.splat(seed))
        for _ in range(10):
            p1, p0 = halves(b.mul(b.zext(c0, V64), const(0xD2511F53, True, 64)))
            q1, q0 = halves(b.mul(b.zext(c2, V64), const(0xCD9E8D57, True, 64)))
            c0, c1, c2, c3 = b.xor(b.xor(q1, c1), k0), q0, b.xor(b.xor(p1, c3), k1), p0
            k0 = b.add(k0, const(0x9E3779B9, True))
            k1 = b.add(k1, const(0xBB67AE85, True))
        order = [n for i in range(LANES) for n in (i, i + LANES)]
        pairs = ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANES), order)
        x, y = b.shuffle_vector(c0, c1, pairs), b.shuffle_vector(c2, c3, pairs)
        quads = [n for i in range(LANES) for n in (2 * i, 2 * i + 1, 2 * i + 32, 2 * i + 33)]
        for part in range(4):
            chosen = ir.Constant(V32, quads[16 * part : 16 * part + 16])
            e.store(b.shuffle_vector(x, y, chosen), e.at(target, 64 * part), 4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), codegen


@intrinsic
def store_bits16(tyctx, bits, address):
    """Store the low 16 bits of a word."""

    def codegen(context, builder, signature, args):
        VectorBuilder(builder).store(builder.trunc(args[0], I16), args[1], 2)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64), codegen


@intrinsic
def load_pattern(tyctx, address):
    """Return the 32 bits at an address, zero-extended."""

    def codegen(context, builder, signature, args):
        return builder.zext(VectorBuilder(builder).load(args[0], ir.IntType(32), 4), ir.IntType(64))

    return types.int64(types.int64), codegen


@intrinsic
def load_int(tyctx, address):
    """Return the int32 at an address."""

    def codegen(context, builder, signature, args):
        return VectorBuilder(builder).load(args[0], ir.IntType(32), 4)

    return types.int32(types.int64), codegen


@intrinsic
def pattern_of(tyctx, number):
    """Return the bits of a binary32 number, zero-extended."""

    def codegen(context, builder, signature, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(32)), ir.IntType(64))

    return types.int64(types.float32), codegen
