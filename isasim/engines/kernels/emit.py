# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""Writes LLVM vector code: the building blocks of the fast engine's kernels.

Why not plain numba loops: binary16 conversions, packed-spike masks and accumulators that stay in
registers are not expressible there.  Everything here is straight IEEE arithmetic on vectors of 16
binary32 lanes; LLVM splits them for narrower machines.  llvmlite publishes no types, hence the two
comments at the top.

Binary16 conversions use the CPU's instructions where they exist (x86 F16C, AArch64).  Elsewhere
they are made of integer operations: LLVM's fallback would call functions that do not exist.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from snncc.isasim.engines.kernels.host_cpu import has_feature

LANES = 16
I1, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 16, 32, 64))
F32 = ir.FloatType()
V1, V16, V32, V64 = (ir.VectorType(t, LANES) for t in (I1, I16, I32, I64))
VF = ir.VectorType(F32, LANES)
VH = ir.VectorType(ir.HalfType(), LANES)

NAN32 = 0x7FC00000
NAN16 = 0x7E00


NO_F16C = os.environ.get("SNNCC_NO_F16C", "") not in ("", "0")
"""Set by a test to try the integer conversions on a CPU that does not need them."""
HALF_INSTRUCTIONS = not NO_F16C and (
    has_feature("f16c") or platform.machine() in ("aarch64", "arm64")
)
NO_WIDE = os.environ.get("SNNCC_NO_AVX512", "") not in ("", "0")
"""Set by a test to try the kernels of machines with narrower registers."""
WIDE = not NO_WIDE and has_feature("avx512f")
"""Whether a vector of 16 binary32 lanes is one register and there are 32 of them."""


def const(value: int, vector: bool = False, bits: int = 32) -> Any:
    """Return an integer constant, or a vector of 16 of them."""
    kind = ir.IntType(bits)
    if vector:
        return ir.Constant(ir.VectorType(kind, LANES), [value] * LANES)
    return ir.Constant(kind, value)


def i64(value: int) -> Any:
    """Return a 64-bit constant."""
    return ir.Constant(I64, value)


class VectorBuilder:
    """Vector operations on an LLVM builder; addresses are 64-bit integers."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    # memory

    def at(self, address: Any, offset: int) -> Any:
        """Return ``address + offset``."""
        return self.b.add(address, i64(offset)) if offset else address

    def load(self, address: Any, kind: Any, align: int) -> Any:
        """Load a value of an LLVM type."""
        return self.b.load(self.b.inttoptr(address, kind.as_pointer()), align=align)

    def store(self, value: Any, address: Any, align: int) -> None:
        """Store a value."""
        self.b.store(value, self.b.inttoptr(address, value.type.as_pointer()), align=align)

    def load_half(self, address: Any) -> Any:
        """Load 16 binary16 numbers as binary32."""
        return self.widen(self.load(address, V16, 2))

    def load_mask(self, address: Any) -> Any:
        """Load 16 packed spikes."""
        return self.b.bitcast(self.load(address, I16, 2), V1)

    def store_mask(self, mask: Any, address: Any) -> None:
        """Store 16 packed spikes."""
        self.store(self.b.bitcast(mask, I16), address, 2)

    def masked_load(self, address: Any, mask: Any) -> Any:
        """Load the binary32 lanes whose mask is set; the others are 0."""
        call = self.intrinsic("llvm.masked.load.v16f32.p0", VF, (VF.as_pointer(), I32, V1, VF))
        pointer = self.b.inttoptr(address, VF.as_pointer())
        return self.b.call(call, (pointer, const(4), mask, self.floats(0.0)))

    def masked_store(self, value: Any, address: Any, mask: Any) -> None:
        """Store the binary32 lanes whose mask is set."""
        call = self.intrinsic(
            "llvm.masked.store.v16f32.p0", ir.VoidType(), (VF, VF.as_pointer(), I32, V1)
        )
        pointer = self.b.inttoptr(address, VF.as_pointer())
        self.b.call(call, (value, pointer, const(4), mask))

    def intrinsic(self, name: str, result: Any, args: Sequence[Any]) -> Any:
        """Return an LLVM intrinsic function of the module."""
        module = self.b.module
        if name in module.globals:
            return module.globals[name]
        return ir.Function(module, ir.FunctionType(result, args), name)

    def unary(self, name: str, x: Any) -> Any:
        """Call ``llvm.<name>`` on a vector of binary32."""
        return self.b.call(self.intrinsic(f"llvm.{name}.v16f32", VF, (VF,)), (x,))

    # lanes

    def floats(self, value: float) -> Any:
        """Return a vector of equal binary32 constants."""
        return ir.Constant(VF, [value] * LANES)

    def splat(self, scalar: Any) -> Any:
        """Return a vector of which every lane is ``scalar``."""
        kind = ir.VectorType(scalar.type, LANES)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, const(0))
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), const(0, vector=True))

    def first_lanes(self, count: Any) -> Any:
        """Return a mask of the lanes below ``count`` (a 64-bit value)."""
        lanes = ir.Constant(V32, list(range(LANES)))
        return self.b.icmp_unsigned("<", lanes, self.splat(self.b.trunc(count, I32)))

    def bits(self, x: Any) -> Any:
        """Return the binary32 lanes as integers."""
        return self.b.bitcast(x, V32)

    def float_of(self, x: Any) -> Any:
        """Return integer lanes as binary32."""
        return self.b.bitcast(x, VF)

    def is_nan(self, x: Any) -> Any:
        """Return the mask of the NaN lanes."""
        return self.b.fcmp_unordered("uno", x, x)

    def canonical(self, x: Any) -> Any:
        """Replace every NaN by the canonical one."""
        fixed = self.b.select(self.is_nan(x), const(NAN32, vector=True), self.bits(x))
        return self.float_of(fixed)

    # binary16

    def widen(self, h: Any) -> Any:
        """Convert 16 binary16 patterns to binary32."""
        if HALF_INSTRUCTIONS:
            return self.b.fpext(self.b.bitcast(h, VH), VF)
        b = self.b
        u = b.zext(h, V32)
        sign = b.shl(b.and_(u, const(0x8000, True)), const(16, True))
        mag = b.and_(u, const(0x7FFF, True))
        normal = b.add(b.shl(mag, const(13, True)), const(112 << 23, True))
        # A subnormal is its significand (an integer below 1024) times 2**-24, both exact.
        small = self.bits(b.fmul(b.uitofp(mag, VF), self.floats(2.0**-24)))
        special = b.or_(const(0x7F800000, True), b.shl(mag, const(13, True)))
        out = b.select(b.icmp_unsigned("<", mag, const(0x400, True)), small, normal)
        out = b.select(b.icmp_unsigned(">=", mag, const(0x7C00, True)), special, out)
        return self.float_of(b.or_(out, sign))

    def narrow(self, x: Any) -> Any:
        """Round binary32 lanes to binary16 patterns, NaN canonical."""
        b = self.b
        if HALF_INSTRUCTIONS:
            h = b.bitcast(b.fptrunc(x, VH), V16)
        else:
            h = b.trunc(self._narrow_bits(self.bits(x)), V16)
        return b.select(self.is_nan(x), const(NAN16, vector=True, bits=16), h)

    def _narrow_bits(self, u: Any) -> Any:
        """Round to nearest even with integers: normal and subnormal results apart."""
        b = self.b
        sign = b.and_(b.lshr(u, const(16, True)), const(0x8000, True))
        a = b.and_(u, const(0x7FFFFFFF, True))
        odd = b.and_(b.lshr(a, const(13, True)), const(1, True))
        normal = b.lshr(
            b.add(b.add(a, const((-(112 << 23) + 0xFFF) & 0xFFFFFFFF, True)), odd), const(13, True)
        )
        exp = b.lshr(a, const(23, True))
        man = b.or_(b.and_(a, const(0x7FFFFF, True)), const(0x800000, True))
        shift = b.sub(const(126, True), exp)  # to units of 2**-24; used for 102 <= exp <= 112
        shift = b.select(b.icmp_unsigned(">", shift, const(25, True)), const(25, True), shift)
        half = b.sub(b.shl(const(1, True), b.sub(shift, const(1, True))), const(1, True))
        even = b.and_(b.lshr(man, shift), const(1, True))
        small = b.lshr(b.add(b.add(man, half), even), shift)
        out = b.select(b.icmp_unsigned("<", exp, const(113, True)), small, normal)
        out = b.select(b.icmp_unsigned("<", exp, const(102, True)), const(0, True), out)
        big = b.icmp_unsigned(">=", a, const(143 << 23, True))
        out = b.select(b.icmp_unsigned(">", out, const(0x7C00, True)), const(0x7C00, True), out)
        return b.or_(b.select(big, const(0x7C00, True), out), sign)

    def round16(self, x: Any) -> Any:
        """Round binary32 lanes to binary16 and widen them again.

        A NaN stays some NaN: it becomes the canonical one when it is written to memory.
        """
        b = self.b
        if HALF_INSTRUCTIONS:
            return b.fpext(b.fptrunc(x, VH), VF)
        return self.widen(self.narrow(x))

    # control flow

    def loop(
        self, count: Any, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]
    ) -> list[Any]:
        """Emit ``for i in range(count): carried = body(i, carried)``; return the last values."""
        b = self.b
        before = b.block
        head, after = b.append_basic_block("loop"), b.append_basic_block("after")
        b.cbranch(b.icmp_signed(">", count, i64(0)), head, after)
        b.position_at_end(head)
        i = b.phi(I64)
        i.add_incoming(i64(0), before)
        old = [b.phi(value.type) for value in carried]
        for phi, value in zip(old, carried, strict=True):
            phi.add_incoming(value, before)
        new = list(body(i, list(old)))
        following = b.add(i, i64(1))
        last = b.block
        i.add_incoming(following, last)
        for phi, value in zip(old, new, strict=True):
            phi.add_incoming(value, last)
        b.cbranch(b.icmp_signed("<", following, count), head, after)
        b.position_at_end(after)
        results = []
        for start, end in zip(carried, new, strict=True):
            phi = b.phi(start.type)
            phi.add_incoming(start, before)
            phi.add_incoming(end, last)
            results.append(phi)
        return results
