"""Binary16 arithmetic: the numeric contract of ADR 0001, in plain numpy.

Sums of many terms are in :mod:`snncc.isa.numbers.accumulators`.

Two representations are used throughout:

*bits*
    ``uint16`` arrays, the IEEE 754 binary16 encoding.  This is what memory holds.
*carrier*
    ``float32`` arrays of which every element is exactly a binary16 value (or an infinity or NaN).
    This is what arithmetic is done on.

Every function that returns carrier values or bits returns the one canonical NaN (``0x7E00``; as a
carrier ``0x7FC00000``); subnormals are kept; rounding is to nearest, ties to even, unless the name
says otherwise; overflow gives an infinity (see :func:`saturate`).  No function mutates its input,
and none depends on the flush-to-zero state of the CPU, except that :func:`stochastic_round` is made
of integer operations and therefore sees subnormal float32 inputs whatever the CPU does.

Why one rounding of a float32 result is enough: ``+ - * / sqrt`` of 11-bit significands rounded to
24 bits and again to 11 bits equal the directly rounded result because 24 >= 2 * 11 + 2 (Figueroa,
"When is double rounding innocuous?", SIGNUM 1995).  This does *not* hold for a fused multiply-add,
which is why the contract has none, nor for float64 inputs, which is why float64 arrays are refused
by everything but :func:`f64_to_bits`.

Comparisons of carriers need no functions: numpy's ``== < <=`` on float32 are the contract's (any
comparison with NaN is false except ``!=``; ``-0 == +0``).  Likewise ``np.trunc``, ``np.floor``,
``np.where`` are exact on carriers.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

F32: TypeAlias = npt.NDArray[np.float32]
F64: TypeAlias = npt.NDArray[np.float64]
U8: TypeAlias = npt.NDArray[np.uint8]
U16: TypeAlias = npt.NDArray[np.uint16]
U32: TypeAlias = npt.NDArray[np.uint32]
Bool: TypeAlias = npt.NDArray[np.bool_]

BITS_NAN: Final = 0x7E00
"""The canonical binary16 NaN."""
BITS_INF: Final = 0x7C00
"""Binary16 plus infinity."""
F32_NAN_BITS: Final = 0x7FC00000
"""The canonical binary32 NaN, the carrier of :data:`BITS_NAN` and the NaN of FP32 accumulators."""
MAX_FINITE: Final = 65504.0
"""The largest finite binary16 value."""
PACK_BITS: Final = 16
"""Packed spike rows are padded with zeros to a multiple of this many bits."""

# binary32 fields.  113 and 143 are the biased exponents of 2**-14 (the smallest binary16 normal)
# and of 2**16 (the first power of two that overflows).
_EXP32: Final = np.uint32(0x7F800000)
_ABS32: Final = np.uint32(0x7FFFFFFF)
_LO32: Final = np.uint32(113 << 23)
_HI32: Final = np.uint32(143 << 23)
_NAN32: Final = np.uint32(F32_NAN_BITS)
_NAN16: Final = np.uint16(BITS_NAN)


def need(x: object, dtype: type[np.generic], name: str) -> None:
    """Refuse what is no array of a dtype; ``name`` is the function that needs it."""
    found: object = getattr(x, "dtype", None)
    if found != np.dtype(dtype):  # found may be None: numpy would read that as float64
        got = type(x).__name__ if found is None else found
        raise TypeError(f"{name}: expected an array of {np.dtype(dtype).name}, got {got}")


def need_f32(x: F32, name: str) -> F32:
    """Return ``x`` as an array, refusing other dtypes (float64 must never pass through float32)."""
    need(x, np.float32, name)
    return np.asarray(x)


# --------------------------------------------------------------------------- rounding, conversion


def canonical_f32(x: F32) -> F32:
    """Return ``x`` (float32, any shape) with every NaN replaced by ``0x7FC00000``.

    FP32 accumulators are addressable data, and the sign and payload of a NaN depend on the CPU and
    on operand order, so an accumulator is made canonical whenever it is written.
    """
    x = need_f32(x, "canonical_f32")
    nan = np.isnan(x)
    if not nan.any():
        return x
    out = np.array(x)
    out.view(np.uint32)[nan] = _NAN32
    return out


def _fix_specials(s: F32) -> F32:
    """In place: magnitudes above 65504 become infinite, NaNs canonical."""
    if s.size and not (np.max(s) <= MAX_FINITE and np.min(s) >= -MAX_FINITE):
        big = np.abs(s) > MAX_FINITE
        np.copyto(s, np.copysign(np.float32(np.inf), s), where=big)
        s.view(np.uint32)[np.isnan(s)] = _NAN32
    return s


def round_quietly(x: F32) -> F32:
    """Do :func:`round_f16` for callers that checked ``x`` and silenced numpy's warnings."""
    # With q the binary16 quantum of x, adding and subtracting 1.5 * 2**23 * q makes the float32
    # adder round to a multiple of q (ties to even: 1.5 * 2**23 is even).  The quantum is clamped at
    # 2**-24, which gives gradual underflow, so a float32 subnormal contributes nothing even on a
    # CPU that flushes it, and the difference is never a float32 subnormal.
    magic = np.empty(x.shape, np.uint32)
    np.bitwise_and(x.view(np.uint32), _EXP32, out=magic)
    np.maximum(magic, _LO32, out=magic)
    np.minimum(magic, _HI32, out=magic)
    np.add(magic, np.uint32((13 << 23) | (1 << 22)), out=magic)
    m: F32 = magic.view(np.float32)
    s: F32 = np.empty(x.shape, np.float32)
    np.add(x, m, out=s)
    np.subtract(s, m, out=s)
    np.copysign(s, x, out=s)
    return _fix_specials(s)


def round_f16(x: F32) -> F32:
    """Round float32 values of any shape to binary16, returned as carriers.

    Nearest, ties to even; overflow to infinity (from 65520 in magnitude); subnormals and the sign
    of zero kept; NaN canonical.
    """
    with np.errstate(all="ignore"):
        return round_quietly(need_f32(x, "round_f16"))


def to_bits(x: F32 | npt.NDArray[np.float16]) -> U16:
    """Round float32 (or float16) values of any shape once to binary16 bits (uint16)."""
    if getattr(x, "dtype", None) == np.dtype(np.float16):
        h: U16 = np.array(x).view(np.uint16)
        h[(h & np.uint16(0x7FFF)) > BITS_INF] = _NAN16
        return h
    v = need_f32(x, "to_bits")  # type: ignore[arg-type]
    u: U32 = v.view(np.uint32)
    # E = exponent of x clamped to that of a binary16 normal; |x| + 2**(E + 13) rounds to the
    # quantum 2**(E - 10), and its distance in units of the last place is the rounded significand.
    e = np.empty(v.shape, np.uint32)
    np.bitwise_and(u, _EXP32, out=e)
    np.maximum(e, _LO32, out=e)
    np.minimum(e, _HI32, out=e)
    np.add(e, np.uint32(13 << 23), out=e)
    t: F32 = np.empty(v.shape, np.float32)
    with np.errstate(all="ignore"):
        np.abs(v, out=t)
        np.add(t, e.view(np.float32), out=t)
    n: U32 = t.view(np.uint32)
    nan = n > _EXP32
    np.subtract(n, e, out=n)
    np.subtract(e, np.uint32((113 + 13) << 23), out=e)
    np.right_shift(e, np.uint32(13), out=e)
    np.add(n, e, out=n)
    np.minimum(n, np.uint32(BITS_INF), out=n)
    np.right_shift(u, np.uint32(16), out=e)
    np.bitwise_and(e, np.uint32(0x8000), out=e)
    np.bitwise_or(n, e, out=n)
    bits: U16 = n.astype(np.uint16)
    if nan.any():
        bits[nan] = _NAN16
    return bits


def f64_to_bits(x: F64) -> U16:
    """Round float64 values of any shape to binary16 bits (uint16) with a single rounding."""
    need(x, np.float64, "f64_to_bits")
    v: F64 = np.asarray(x)
    u = v.view(np.uint64)
    lo, hi = np.uint64((1023 - 14) << 52), np.uint64((1023 + 16) << 52)
    exp = np.uint64(0x7FF << 52)
    e = np.empty(v.shape, np.uint64)
    np.bitwise_and(u, exp, out=e)
    np.maximum(e, lo, out=e)
    np.minimum(e, hi, out=e)
    np.add(e, np.uint64(42 << 52), out=e)
    t: F64 = np.empty(v.shape, np.float64)
    with np.errstate(all="ignore"):
        np.abs(v, out=t)
        np.add(t, e.view(np.float64), out=t)
    n = t.view(np.uint64)
    nan = n > exp
    np.subtract(n, e, out=n)
    np.subtract(e, np.uint64((1023 - 14 + 42) << 52), out=e)
    np.right_shift(e, np.uint64(42), out=e)
    np.add(n, e, out=n)
    np.minimum(n, np.uint64(BITS_INF), out=n)
    np.right_shift(u, np.uint64(48), out=e)
    np.bitwise_and(e, np.uint64(0x8000), out=e)
    np.bitwise_or(n, e, out=n)
    bits: U16 = n.astype(np.uint16)
    bits[nan] = _NAN16
    return bits


def _make_from_bits_table() -> F32:
    """Build the 65,536 carriers from the definition of the format, integer operations only."""
    b = np.arange(1 << 16, dtype=np.uint32)
    sign, exp, man = (b & 0x8000) << 16, (b >> 10) & 0x1F, b & 0x3FF
    normal = ((exp + 112) << 23) | (man << 13)
    top = np.zeros_like(man)  # position of the leading one of a subnormal significand
    for i in range(10):
        top[(man >> i) > 0] = i
    sub = np.where(man > 0, ((top + 103) << 23) | ((man << (23 - top)) & 0x7FFFFF), 0)
    special = np.where(man == 0, 0x7F800000, F32_NAN_BITS)
    mag = np.where(exp == 0, sub, np.where(exp == 31, special, normal))
    out: U32 = np.where((exp == 31) & (man != 0), mag, mag | sign).astype(np.uint32)
    table: F32 = out.view(np.float32)
    table.setflags(write=False)
    return table


_from_bits_table: F32 | None = None


def from_bits(bits: U16) -> F32:
    """Return the carriers (float32, same shape) of binary16 ``bits`` (uint16).  Exact."""
    global _from_bits_table
    need(bits, np.uint16, "from_bits")
    if _from_bits_table is None:
        _from_bits_table = _make_from_bits_table()
    return np.asarray(np.take(_from_bits_table, bits))


def saturate(x: F32) -> F32:
    """Clamp carriers of any shape to +-65504, infinities included.  NaN stays NaN (canonical).

    This is the SAT flag of an instruction, applied after the one rounding.
    """
    v = need_f32(x, "saturate")
    big = np.float32(MAX_FINITE)
    return canonical_f32(np.asarray(np.minimum(np.maximum(v, -big), big)))


def stochastic_round(x: F32, random_bits13: npt.NDArray[np.unsignedinteger[Any]]) -> F32:
    """Round float32 ``x`` to binary16 carriers using 13 random bits per element.

    Let ``E = max(floor(log2 |x|), -14)`` and ``q = 2**(E - 10)``, the binary16 quantum at ``x``.
    ``M = floor(|x| / (q / 2**13))`` and ``r = random_bits13 mod 2**13``.  The result is
    ``sign(x) * floor((M + r) / 2**13) * q``; when that is 65536 or more it is an infinity.

    * Normal results: ``M`` is exact (float32 has 13 bits more than binary16), so the result is one
      of the two neighbours of ``x``, the far one with probability exactly proportional.
    * Subnormal results (``|x| < 2**-14``): ``q = 2**-24``; bits of ``x`` below ``2**-37`` are
      dropped before the addition.  A carry into the smallest normal is allowed.
    * The rule works on the magnitude, so it is symmetric: ``f(-x) = -f(x)`` for equal bits, and a
      negative ``x`` that rounds to zero gives ``-0``.
    * A binary16 ``x`` is returned unchanged whatever the bits.  Infinities are kept, NaN canonical.

    ``random_bits13``: any unsigned dtype, broadcastable to ``x``; only the low 13 bits are used.
    The source of the bits is :func:`snncc.isa.numbers.rng.random_bits13`.
    """
    v, r_in = np.broadcast_arrays(need_f32(x, "stochastic_round"), np.asarray(random_bits13))
    if r_in.dtype.kind != "u":
        raise TypeError(f"stochastic_round: random bits must be unsigned, got {r_in.dtype}")
    r: U32 = (r_in & r_in.dtype.type(0x1FFF)).astype(np.uint32)
    u: U32 = np.ascontiguousarray(v).reshape(v.shape).view(np.uint32)
    a: U32 = u & _ABS32
    exp: U32 = a >> np.uint32(23)
    normal = (a - np.uint32(112 << 23) + r) >> np.uint32(13)  # wraps for small a, not selected then
    man = (a & np.uint32(0x7FFFFF)) | np.where(exp > 0, np.uint32(1 << 23), np.uint32(0))
    shift = np.minimum(np.uint32(113) - np.clip(exp, 1, 113).astype(np.uint32), np.uint32(31))
    small = ((man >> shift) + r) >> np.uint32(13)
    mag = np.minimum(np.where(exp >= 113, normal, small), np.uint32(BITS_INF))
    bits = mag | ((u >> np.uint32(16)) & np.uint32(0x8000))
    # Infinities: a = 0x7F800000 gives a magnitude far above BITS_INF, so the minimum keeps them.
    bits = np.where(a > _EXP32, np.uint32(BITS_NAN), bits)
    return from_bits(np.asarray(bits).astype(np.uint16))


def from_int(i: npt.NDArray[np.integer[Any]]) -> F32:
    """Convert integers (any dtype and shape) to carriers, nearest even; overflow to infinity."""
    v = np.asarray(i)
    if v.dtype.kind not in "iu":
        raise TypeError(f"from_int: expected integers, got {v.dtype}")
    # Exact below 2**53; above, any float64 rounding still overflows binary16.
    return from_bits(f64_to_bits(v.astype(np.float64)))


def to_int(x: F32, bits: int = 32, *, signed: bool = True) -> npt.NDArray[np.int64]:
    """Convert carriers to integers of ``bits`` bits (1..32), returned as int64, same shape.

    Nearest, ties to even; out-of-range values saturate, infinities to the end of their sign; NaN
    gives the largest integer (as RISC-V ``fcvt``).
    """
    if not 1 <= bits <= 32:
        raise ValueError(f"to_int: bits must be in 1..32, got {bits}")
    v = need_f32(x, "to_int")
    lo = -(1 << (bits - 1)) if signed else 0
    hi = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
    d = np.rint(v.astype(np.float64))
    d = np.where(np.isnan(d), np.float64(hi), np.clip(d, lo, hi))
    return np.asarray(d).astype(np.int64)


def rint(x: F32) -> F32:
    """Round carriers to integral carriers, ties to even; keeps the sign of zero; NaN canonical."""
    return canonical_f32(np.asarray(np.rint(need_f32(x, "rint"))))


# ----------------------------------------------------------------------------------- elementwise


def add(a: F32, b: F32) -> F32:
    """Binary16 ``a + b`` of carriers (broadcast), one rounding."""
    with np.errstate(all="ignore"):
        return round_quietly(np.asarray(np.add(need_f32(a, "add"), need_f32(b, "add"))))


def sub(a: F32, b: F32) -> F32:
    """Binary16 ``a - b`` of carriers (broadcast), one rounding."""
    with np.errstate(all="ignore"):
        return round_quietly(np.asarray(np.subtract(need_f32(a, "sub"), need_f32(b, "sub"))))


def mul(a: F32, b: F32) -> F32:
    """Binary16 ``a * b`` of carriers (broadcast), one rounding (the float32 product is exact)."""
    with np.errstate(all="ignore"):
        return round_quietly(np.asarray(np.multiply(need_f32(a, "mul"), need_f32(b, "mul"))))


def div(a: F32, b: F32) -> F32:
    """Binary16 ``a / b`` of carriers (broadcast), one rounding; x/0 is infinite, 0/0 NaN."""
    with np.errstate(all="ignore"):
        return round_quietly(np.asarray(np.divide(need_f32(a, "div"), need_f32(b, "div"))))


def sqrt(a: F32) -> F32:
    """Binary16 square root of carriers, one rounding; NaN below zero, ``sqrt(-0) = -0``."""
    with np.errstate(all="ignore"):
        return round_quietly(np.asarray(np.sqrt(need_f32(a, "sqrt"))))


def neg(a: F32) -> F32:
    """Flip the sign of carriers; NaN canonical."""
    return canonical_f32(np.asarray(np.negative(need_f32(a, "neg"))))


def absolute(a: F32) -> F32:
    """Clear the sign of carriers; NaN canonical."""
    return canonical_f32(np.asarray(np.abs(need_f32(a, "absolute"))))


def minimum(a: F32, b: F32) -> F32:
    """Smaller of two carriers (broadcast): NaN if either is NaN, and ``-0 < +0``."""
    x, y = np.broadcast_arrays(need_f32(a, "minimum"), need_f32(b, "minimum"))
    # Equal values have equal bits, except zeros of unlike sign, of which OR gives -0.
    tie = np.asarray(x.view(np.uint32) | y.view(np.uint32)).view(np.float32)
    with np.errstate(all="ignore"):
        return canonical_f32(np.asarray(np.where(x == y, tie, np.minimum(x, y))))


def maximum(a: F32, b: F32) -> F32:
    """Larger of two carriers (broadcast): NaN if either is NaN, and ``-0 < +0``."""
    x, y = np.broadcast_arrays(need_f32(a, "maximum"), need_f32(b, "maximum"))
    tie = np.asarray(x.view(np.uint32) & y.view(np.uint32)).view(np.float32)
    with np.errstate(all="ignore"):
        return canonical_f32(np.asarray(np.where(x == y, tie, np.maximum(x, y))))


# ----------------------------------------------------------------------------------- packed spikes


def packed_bytes(n: int) -> int:
    """Bytes of a packed row of ``n`` bits: padded to a multiple of 16 bits."""
    return (n + PACK_BITS - 1) // PACK_BITS * (PACK_BITS // 8)


def pack_bits(mask: npt.NDArray[Any]) -> U8:
    """Pack ``mask`` [..., n] (non-zero is 1) into uint8 [..., packed_bytes(n)].

    Bit ``i`` of a row is bit ``i % 8`` of byte ``i // 8``; padding bits are 0.
    """
    m: Bool = np.asarray(mask).astype(np.bool_)
    if m.ndim == 0:
        raise ValueError("pack_bits: expected at least one axis")
    out = np.zeros((*m.shape[:-1], packed_bytes(m.shape[-1])), np.uint8)
    packed = np.packbits(m, axis=-1, bitorder="little")
    out[..., : packed.shape[-1]] = packed
    return out


def unpack_bits(packed: U8, n: int) -> Bool:
    """Unpack uint8 [..., packed_bytes(n)] into bool [..., n]; padding bits are ignored."""
    need(packed, np.uint8, "unpack_bits")
    if packed.ndim == 0 or packed.shape[-1] != packed_bytes(n):
        raise ValueError(
            f"unpack_bits: {n} bits need rows of {packed_bytes(n)} bytes, got shape {packed.shape}"
        )
    return np.unpackbits(packed, axis=-1, count=n, bitorder="little").astype(np.bool_)
