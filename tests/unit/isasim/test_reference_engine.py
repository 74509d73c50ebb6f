"""The reference engine against scalar Python loops with exact rational rounding."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from snncc.isa.microprograms.code import MicroBuilder
from snncc.isasim.engines import FP32, EngineNumerics, Resolved, prepare, select_engine
from unit.isasim.engine_cases import Maker, Memory, make_mac, make_outer, make_reduction


def rounded(x: Fraction, precision: int, least: int, limit: float) -> float:
    """Round a rational to ``precision`` bits, quantum at least 2**least, ties to even."""
    if x == 0:
        return 0.0
    exponent = math.frexp(float(abs(x)))[1] - precision
    while Fraction(2) ** (exponent + precision) <= abs(x):
        exponent += 1
    while Fraction(2) ** (exponent + precision - 1) > abs(x):
        exponent -= 1
    quantum = Fraction(2) ** max(exponent, least)
    value = round(x / quantum) * quantum  # Python rounds ties to even
    result = math.inf if abs(value) > limit else float(abs(value))
    return math.copysign(result, 1 if x > 0 else -1)


def rn16(x: Fraction) -> float:
    return rounded(x, 11, -24, 65504.0)


def rn32(x: Fraction) -> float:
    return rounded(x, 24, -149, float(np.finfo(np.float32).max))


Rounding = Callable[[Fraction], float]


def plus(a: float, b: float, to: Rounding) -> float:
    """Add exactly and round once; the double sum has the right sign of zero and special values."""
    if not (math.isfinite(a) and math.isfinite(b)):
        return a + b
    exact = Fraction(a) + Fraction(b)
    return to(exact) if exact else a + b


def times(a: float, b: float, to: Rounding) -> float:
    if not (math.isfinite(a) and math.isfinite(b)):
        return a * b
    return math.copysign(to(Fraction(a) * Fraction(b)), math.copysign(1, a) * math.copysign(1, b))


class Scalar:
    """Reads and writes one element at a time."""

    def __init__(self, memory: Memory, numerics: EngineNumerics) -> None:
        self.memory = memory
        self.half = numerics.accumulator == "fp16"

    def h(self, address: int) -> float:
        return float(self.memory[address : address + 2].view(np.float16)[0])

    def f(self, address: int) -> float:
        return float(self.memory[address : address + 4].view(np.float32)[0])

    def bit(self, address: int, k: int) -> int:
        return int(self.memory[address + k // 8]) >> (k % 8) & 1

    def put_f(self, address: int, value: float) -> None:
        bits = 0x7FC00000 if math.isnan(value) else int(np.float32(value).view(np.uint32))
        self.memory[address : address + 4] = np.array([bits], np.uint32).view(np.uint8)

    def put_h(self, address: int, value: float) -> None:
        bits = 0x7E00 if math.isnan(value) else int(np.float16(value).view(np.uint16))
        self.memory[address : address + 2] = np.array([bits], np.uint16).view(np.uint8)

    def start(self, address: int, init: int, bias: int) -> float:
        if init == 1:
            return 0.0
        return 0.0 + (self.f(address) if init == 0 else self.h(bias))

    def add(self, acc: float, a: float, b: float = 1.0) -> float:
        if self.half:
            return plus(acc, times(a, b, rn16), rn16)
        return plus(acc, times(a, b, rn32), rn32)


def scalar_mac(op: Resolved, s: Scalar) -> None:
    acc, acc_stride, a, a_stride, w, w_stride, rows, k, n, bias, init = op.values[:11]
    skip, trans = op.values[11:13] if op.mnemonic != "gacc" else (0, 0)
    masked, mask, mask_stride = op.values[13:] if op.mnemonic == "bmac" else (0, 0, 0)
    for r in range(rows):
        for j in range(n):
            value = s.start(acc + r * acc_stride + 4 * j, init, bias + 2 * j)
            for i in range(k):
                weight = s.h(w + (j * w_stride + 2 * i if trans else i * w_stride + 2 * j))
                if op.mnemonic == "gacc":
                    if s.bit(a + r * a_stride, i):
                        value = s.add(value, weight)
                    continue
                x = s.h(a + r * a_stride + 2 * i)
                if (skip and x == 0) or (masked and not s.bit(mask + r * mask_stride, j)):
                    continue
                value = s.add(value, x, weight)
            s.put_f(acc + r * acc_stride + 4 * j, value)


def scalar_outer(op: Resolved, s: Scalar) -> None:
    acc, acc_stride, a, a_stride, g, g_stride, rows, k, n, init = op.values[:10]
    for i in range(k):
        for j in range(n):
            value = s.start(acc + i * acc_stride + 4 * j, init, 0)
            for r in range(rows):
                grad = s.h(g + r * g_stride + 2 * j)
                if op.mnemonic == "gouter":
                    if s.bit(a + r * a_stride, i):
                        value = s.add(value, grad)
                    continue
                x = s.h(a + r * a_stride + 2 * i)
                if not (op.values[10] and x == 0):
                    value = s.add(value, x, grad)
            s.put_f(acc + i * acc_stride + 4 * j, value)


def element(s: Scalar, kind: int, row: int, j: int) -> float:
    if kind == 2:
        return s.bit(row, j)
    return s.f(row + 4 * j) if kind else s.h(row + 2 * j)


def larger(a: float, b: float) -> float:
    if math.isnan(a) or math.isnan(b):
        return math.nan
    if a == b:
        return a if math.copysign(1, a) > 0 else b
    return max(a, b)


def scalar_reduction(op: Resolved, s: Scalar) -> None:
    if op.mnemonic == "colsum":
        acc, x, x_stride, rows, n, kind, init = op.values
        for j in range(n):
            value = s.start(acc + 4 * j, init, 0)
            for r in range(rows):
                value = plus(value, element(s, kind, x + r * x_stride, j), rn32)
            s.put_f(acc + 4 * j, value)
        return
    dst, dst_stride, x, x_stride, rows, n, kind, red = op.values
    for r in range(rows):
        row = [element(s, kind, x + r * x_stride, j) for j in range(n)]
        value = row[0] if red == 1 else 0.0
        for other in row[1:] if red == 1 else row:
            value = larger(value, other) if red == 1 else plus(value, other, rn32)
        if red == 2:
            s.put_f(dst + r * dst_stride, value)
        else:
            s.put_h(dst + r * dst_stride, rn16(Fraction(value)) if math.isfinite(value) else value)


@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
@pytest.mark.parametrize("mnemonic", ["gacc", "mac", "bmac", "gouter", "outer", "rowred", "colsum"])
def test_scalar_loops_agree(mnemonic: str, accumulator: str) -> None:
    numerics = EngineNumerics(accumulator="fp16") if accumulator == "fp16" else FP32
    for seed in range(24):
        m = Maker(seed, special=(0.0, 0.05, 0.5)[seed % 3])
        rows, k, n = m.random.randint(1, 3), m.random.randint(1, 9), m.random.randint(1, 5)
        density = m.random.choice((0.3, 0.8))
        if mnemonic in ("gouter", "outer"):
            op, oracle = make_outer(m, mnemonic, rows, k, n, density), scalar_outer
        elif mnemonic in ("rowred", "colsum"):
            op, oracle = make_reduction(m, mnemonic, rows, n, density), scalar_reduction
        else:
            op, oracle = make_mac(m, mnemonic, rows, k, n, density), scalar_mac
        memory = m.memory()
        expected = memory.copy()
        with np.errstate(all="ignore"):
            oracle(op, Scalar(expected, numerics))
        select_engine("reference", numerics).execute(op, memory)
        assert (memory == expected).all(), (seed, op)


def lif() -> MicroBuilder:
    """Leaky integrate and fire with soft reset: v = h - s*theta, h = beta*v + x, s = h >= theta."""
    b = MicroBuilder("lif")
    v, x = b.emit("state.h", (), 0), b.emit("ld.acc", (), 1)
    theta = b.emit("const.h", (), 0x3C00)
    decayed = b.emit("mul.h", (v, b.emit("const.h", (), 0x3B33)))
    h = b.emit("add.h", (decayed, x))
    s = b.emit("ge", (h, theta))
    b.emit("next", (v, b.emit("sel.h", (s, b.emit("sub.h", (h, theta)), h))))
    b.emit("st.m", (s,), 2)
    return b


def test_a_neuron_is_what_its_equations_say() -> None:
    steps, rows, cols = 6, 3, 5
    m = Maker(5)
    v = m.place(rows, 2 * cols, 2, m.halves(rows, cols))
    currents = m.numbers.standard_normal((steps * rows, cols)).astype(np.float32)
    x = m.place(steps * rows, 4 * cols, 4, currents.view(np.uint8))
    s = m.place(steps * rows, 2, 2, None)
    streams = ((v[0], 0, v[1]), (x[0], rows * x[1], x[1]), (s[0], rows * s[1], s[1]))
    op = Resolved("neuron", (0, steps, rows, cols, 0), streams, prepare(lif().build()))
    memory = m.memory()
    expected = memory.copy()
    scalar = Scalar(expected, FP32)
    beta = float(np.array([0x3B33], np.uint16).view(np.float16)[0])
    spikes = 0
    for r in range(rows):
        for c in range(cols):
            place = v[0] + r * v[1] + 2 * c
            state = scalar.h(place)
            for t in range(steps):
                current = rn16(Fraction(scalar.f(x[0] + (t * rows + r) * x[1] + 4 * c)))
                h = plus(times(beta, state, rn16), current, rn16)
                fires = h >= 1.0
                state = plus(h, -1.0, rn16) if fires else h
                word = s[0] + (t * rows + r) * s[1]
                expected[word + 1] = 0
                expected[word] = (int(expected[word]) & ~(1 << c) & 31) | fires << c
                spikes += fires
            scalar.put_h(place, state)
    activity = select_engine("reference").execute(op, memory)
    assert (memory == expected).all()
    assert activity == (steps * rows * cols, steps * rows * cols, spikes, -1, -1, -1)
    assert 0 < spikes < steps * rows * cols


def test_rounding_helper() -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for value in values[np.isfinite(values)][::97]:
        assert rn16(Fraction(float(value))) == float(value)
    assert rn16(Fraction(65519)) == 65504
    assert rn16(Fraction(65520)) == math.inf
    assert rn16(Fraction(1, 2**25)) == 0
    assert rn16(Fraction(3, 2**25)) == 2.0**-23
    assert rn32(Fraction(2**24 + 1)) == 2.0**24
