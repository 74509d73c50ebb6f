"""Random instructions for the engine tests: operands anywhere legal, values of every kind."""

import math
import random
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.instructions.operands import OPERANDS
from snncc.isa.microprograms.code import MicroBuilder, is_load, is_state, is_store
from snncc.isa.microprograms.table import MICRO_OPS, MicroOp
from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isa.numbers.tables import UNARY_NAMES
from snncc.isa.semantics.call import Call
from snncc.isa.spec import EnumKind, Insn
from snncc.isasim.engines import LaneProgram, Resolved, prepare
from snncc.isasim.engines.base import LANE_MNEMONICS, WINDOW_MNEMONICS
from unit.isasim.window_cases import make_windowed

SPECIAL16: tuple[int, ...] = (
    *(0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0xFE01, 0x7C01, 0xFFFF),
    *(0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00),
)
SPECIAL32: tuple[int, ...] = (
    *(0x00000000, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345, 0x7F800001),
    *(0x00000001, 0x80800000, 0x477FF000, 0xC77FEFFF, 0x7F7FFFFF, 0x33000000, 0x387FE000),
)

DENSITIES = (0.0, 0.02, 0.1, 0.5, 0.7, 1.0)

Memory = npt.NDArray[np.uint8]


@dataclass
class Maker:
    """Lays operands out in a scratchpad and fills them."""

    seed: int
    special: float = 0.0
    values: list[int] = field(default_factory=list[int])

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.numbers = np.random.default_rng(self.seed)
        self.used = self.random.randrange(0, 64, 4)
        self.pieces: list[tuple[npt.NDArray[np.int64], Memory]] = []

    def place(self, rows: int, size: int, align: int, data: Memory | None) -> tuple[int, int]:
        """Reserve rows of ``size`` bytes; return the first address and the stride."""
        pad = self.random.choice((0, 0, align, 7 * align, 64))
        stride = -(-size // align) * align + pad
        self.used += -self.used % align + self.random.choice((0, align, 64))
        starts = self.used + stride * np.arange(rows)
        self.used += stride * rows
        if self.random.random() < 0.25:
            starts, stride = starts[::-1], -stride
        if data is not None:
            self.pieces += [(starts, data)]
        return (int(starts[0]) if rows else self.used), stride

    def halves(self, rows: int, n: int, zeros: float = 0.0) -> Memory:
        scale = 2.0 ** self.random.choice((-18, -3, 0, 0, 4))
        x = (self.numbers.standard_normal((rows, n)) * scale).astype(np.float16).view(np.uint16)
        x = np.where(self.numbers.random((rows, n)) < zeros, np.uint16(0), x)
        mark = self.numbers.random((rows, n)) < self.special
        special = self.numbers.choice(np.array(SPECIAL16, np.uint16), (rows, n))
        return np.ascontiguousarray(np.where(mark, special, x)).astype(np.uint16).view(np.uint8)

    def floats(self, rows: int, n: int) -> Memory:
        x = (self.numbers.standard_normal((rows, n)) * 4096).astype(np.float32).view(np.uint32)
        mark = self.numbers.random((rows, n)) < self.special
        special = self.numbers.choice(np.array(SPECIAL32, np.uint32), (rows, n))
        return np.ascontiguousarray(np.where(mark, special, x)).astype(np.uint32).view(np.uint8)

    def spikes(self, rows: int, n: int, density: float) -> Memory:
        """Return packed rows; the padding is random and must be ignored."""
        m = np.zeros((rows, 8 * packed_bytes(n)), np.bool_)
        m[:, :n] = self.numbers.random((rows, n)) < density
        m[:, n:] = self.numbers.random((rows, m.shape[1] - n)) < 0.5
        return np.packbits(m, axis=1, bitorder="little")

    def memory(self) -> Memory:
        """Return the scratchpad; it ends with the last operand, as a real one may."""
        out = self.numbers.integers(0, 256, self.used, dtype=np.uint8)
        for starts, data in self.pieces:
            for start, row in zip(starts, data, strict=True):
                out[start : start + row.shape[0]] = row
        return out

    def size(self, limit: int) -> int:
        """Return a dimension: often small or next to a multiple of 16."""
        r = self.random
        near = 16 * r.randint(1, max(1, limit // 16)) + r.randint(-1, 1)
        return min(limit, r.choice((1, r.randint(1, 20), near, r.randint(1, limit))))


def _accumulators(m: Maker, rows: int, n: int) -> tuple[int, int]:
    return m.place(rows, 4 * n, 4, m.floats(rows, n))


def make_mac(m: Maker, mnemonic: str, rows: int, k: int, n: int, density: float) -> Resolved:
    r = m.random
    if mnemonic == "gacc":
        a = m.place(rows, packed_bytes(k), 2, m.spikes(rows, k, density))
    else:
        a = m.place(rows, 2 * k, 2, m.halves(rows, k, 1 - density))
    trans = mnemonic != "gacc" and r.random() < 0.5
    depth, width = (n, k) if trans else (k, n)
    bias, _ = m.place(1, 2 * n, 2, m.halves(1, n))
    mask = m.place(rows, packed_bytes(n), 2, m.spikes(rows, n, 0.5))
    acc = _accumulators(m, rows, n)
    w = m.place(depth, 2 * width, 2, m.halves(depth, width))
    values: tuple[int, ...] = (*acc, *a, *w, rows, k, n, bias, r.randint(0, 2))
    if mnemonic != "gacc":
        values += (r.randint(0, 1), int(trans))
    if mnemonic == "bmac":
        values += (r.randint(0, 1), *mask)
    return Resolved(mnemonic, values)


def make_outer(m: Maker, mnemonic: str, rows: int, k: int, n: int, density: float) -> Resolved:
    r = m.random
    if mnemonic == "gouter":
        a = m.place(rows, packed_bytes(k), 2, m.spikes(rows, k, density))
    else:
        a = m.place(rows, 2 * k, 2, m.halves(rows, k, 1 - density))
    acc = _accumulators(m, k, n)
    g = m.place(rows, 2 * n, 2, m.halves(rows, n))
    values = (*acc, *a, *g, rows, k, n, r.randint(0, 1))
    return Resolved(mnemonic, values + ((r.randint(0, 1),) if mnemonic == "outer" else ()))


def _elements(m: Maker, kind: int, rows: int, n: int, density: float) -> tuple[int, int]:
    if kind == 0:
        return m.place(rows, 2 * n, 2, m.halves(rows, n))
    if kind == 1:
        return m.place(rows, 4 * n, 4, m.floats(rows, n))
    return m.place(rows, packed_bytes(n), 2, m.spikes(rows, n, density))


def make_reduction(m: Maker, mnemonic: str, rows: int, n: int, density: float) -> Resolved:
    kind, red = m.random.randint(0, 2), m.random.randint(0, 2)
    x = _elements(m, kind, rows, n, density)
    if mnemonic == "colsum":
        acc, _ = _accumulators(m, 1, n)
        return Resolved("colsum", (acc, *x, rows, n, kind, m.random.randint(0, 1)))
    size = 4 if red == 2 else 2
    return Resolved("rowred", (*m.place(rows, size, size, None), *x, rows, n, kind, red))


def random_program(r: random.Random, operations: int) -> LaneProgram:
    """Return a random microprogram; every register is stored or carried in the end."""
    b = MicroBuilder(f"random{operations}")
    registers: dict[str, list[int]] = {"h": [], "f": [], "m": [], "i": []}
    states: list[tuple[int, str]] = []
    stream = iter(range(32))
    rows = [op for op in MICRO_OPS if not is_store(op) and op.name != "next"]
    loads = [op for op in rows if is_load(op) or is_state(op)]

    def pick(letter: str) -> int | None:
        found = registers["h"] + registers["f"] if letter == "n" else registers[letter]
        return r.choice(found) if found else None

    def emit(op: MicroOp) -> None:
        args = [pick(letter) for letter in op.args]
        if None in args:
            return
        number = {"stream": 0, "f16": r.choice((*SPECIAL16, 0x3800)), "f32": r.choice(SPECIAL32)}
        number |= {"": 0, "table": r.randrange(len(UNARY_NAMES))}
        if op.imm == "stream":
            number["stream"] = next(stream)
        register = b.emit(op.name, tuple(a for a in args if a is not None), number[op.imm])
        registers[op.result].append(register)
        if is_state(op):
            states.append((register, op.result))

    for _ in range(r.randint(2, 6)):
        emit(r.choice(loads))
    emit(next(op for op in rows if op.name == "ld.h"))
    emit(next(op for op in rows if op.name == "ld.m"))
    for _ in range(operations):
        op = r.choice(rows)
        if op.imm != "stream" or r.random() < 0.1:
            emit(op)
    for state, kind in states:
        wanted = registers["h"] + registers["f"] if kind == "f" else registers[kind]
        b.emit("next", (state, r.choice(wanted)))
    for kind in "hfm":
        for register in r.sample(registers[kind], min(3, len(registers[kind]))):
            b.emit(f"st.{kind}", (register,), next(stream))
    return prepare(b.build())


def make_lanes(m: Maker, program: LaneProgram, steps: int, rows: int, cols: int) -> Resolved:
    r = m.random
    uses = {use.slot: use for use in program.uses}
    streams: list[tuple[int, int, int]] = []
    dense = r.random() < 0.4
    for slot in range(len(program.streams)):
        use = uses.get(slot)
        if use is None:  # a counter
            row = cols if dense else r.choice((1, cols, -3))
            streams.append((r.choice((0, 5, (1 << 63) - 8)), rows * row, row))
            continue
        width = 1 if use.per_row else cols
        total = rows if use.state else steps * rows
        align = 4 if use.element == "f" else 2
        if use.element == "m":
            data = m.spikes(total, cols, 0.3)
        else:
            data = m.halves(total, width) if use.element == "h" else m.floats(total, width)
        if dense and not use.per_row:
            m.used += -m.used % 4
            size = data.shape[1]
            if (m.used + size * total) % 4:
                m.used += 2 if align == 2 else 0
            m.pieces.append((m.used + size * np.arange(total), data))
            base, row = m.used, size
            m.used += size * total
        else:
            base, row = m.place(total, data.shape[1], align, data)
        streams.append((base, rows * row, row))
    return Resolved(
        r.choice(("neuron", "ngrad", "ew")),
        (0, steps, rows, cols, r.getrandbits(63)),
        tuple(streams),
        program,
    )


def make_from_row(m: Maker, row: Insn, density: float) -> Resolved:
    """Return an instruction of which only its row is known: no window, no accumulators."""
    values = dict.fromkeys(row.names, 0)
    for operand in row.operands:
        if operand.name in row.sizes:
            values[operand.name] = m.size(40)
        elif isinstance(operand.kind, EnumKind):
            words = [w for w in operand.kind.words if f"{operand.name}={w}" not in row.illegal]
            values[operand.name] = operand.kind.words.index(m.random.choice(words))
        elif operand.kind.name == "flag":
            values[operand.name] = m.random.randint(0, 1)
    call = Call(row, OPERANDS[row.mnemonic](values.values()), lambda name: pytest.fail(name))

    def extent(text: str) -> int:
        return math.prod(values[f] if f in values else int(f) for f in text.split("*"))

    for memory in row.memory:
        rows = math.prod(extent(count) for count, _ in memory.rows)
        kind = ("f16", "f32", "bit").index(call.format(memory.address))
        values[memory.address], stride = _elements(m, kind, rows, extent(memory.row), density)
        values |= dict.fromkeys(memory.distances, stride)
    return Resolved(row.mnemonic, tuple(values.values()))


def random_case(mnemonic: str, seed: int, limit: int = 70) -> tuple[Resolved, Memory]:
    """Return a random instruction and the scratchpad it works on."""
    m = Maker(seed, special=(0.0, 0.0, 0.02, 0.3)[seed % 4])
    rows, k, n = m.size(limit), m.size(2 * limit), m.size(3 * limit)
    density = m.random.choice(DENSITIES)
    if mnemonic in ("gacc", "mac", "bmac"):
        op = make_mac(m, mnemonic, rows, k, n, density)
    elif mnemonic in ("gouter", "outer"):
        op = make_outer(m, mnemonic, rows, k, n, density)
    elif mnemonic in WINDOW_MNEMONICS or mnemonic == "transpose":
        op = make_windowed(m, mnemonic, density)
    elif mnemonic in ("rowred", "colsum"):
        op = make_reduction(m, mnemonic, rows, n, density)
    elif mnemonic not in LANE_MNEMONICS:
        op = make_from_row(m, BY_MNEMONIC[mnemonic], density)
    else:
        program = random_program(m.random, m.random.randint(1, 40))
        steps, cols = m.random.randint(1, 5), m.random.choice((1, 10, 16, 33, 80, n))
        op = make_lanes(m, program, steps, m.random.choice((1, 3, rows)), cols)
        op = op._replace(mnemonic=mnemonic)
    return op, m.memory()
