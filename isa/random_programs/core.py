"""The program of one core of a random program while it grows; see :mod:`random_programs`."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from snncc.isa.instructions.encoding import make
from snncc.isa.instructions.table import TABLE
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.numbers.integers import ceil_div
from snncc.isa.random_programs.instructions import random_f16, random_micro
from snncc.isa.roles import ACCUMULATING, Family
from snncc.isa.spec import ELEMENT, INIT, QUEUED_UNITS, REDUCTION, Insn, Inst, Unit

_UNITS = tuple(Unit)
_MACS = tuple(row for row in TABLE if row.family in ACCUMULATING and not row.windowed)
_LANES = tuple(row for row in TABLE if row.family is Family.LANES)
_SIZE = {"f16": 2, "f32": 4, "bit": 0}
_SPAN = 2  # rows that a sliding access needs beside its own: loops run at most three times
_OFFSET = 62  # register that loops advance
_FREE = 48  # registers 1.._FREE hold operands


@dataclass(eq=False)
class RandomRegion:
    """A matrix in the scratchpad of a core; rows of bits are padded to 16."""

    kind: str
    rows: int
    cols: int
    address: int
    stride: int
    dram_in: int = 0
    dram_out: int = 0
    writer: Unit | None = None
    readers: set[Unit] = field(default_factory=set[Unit])

    @property
    def row_bytes(self) -> int:
        """Bytes of a row, without the gap to the next one."""
        return row_bytes(self.kind, self.cols)


def row_bytes(kind: str, cols: int) -> int:
    """Return the bytes of a row of ``cols`` elements."""
    return 2 * ceil_div(cols, 16) if kind == "bit" else cols * _SIZE[kind]


def element(row: Insn, address: str) -> str:
    """Return the element format of a memory operand that has but one."""
    found = row.at(address).element
    assert isinstance(found, str), f"{row.mnemonic}: {address} has several formats"
    return found


class RandomCore:
    """The program of one core while it grows."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self.number = number
        self.rng = rng
        self.code: list[Inst] = []
        self.regions: list[RandomRegion] = []
        self.used: set[Unit] = set()
        self.stride = 16 * rng.randint(1, 6)  # bytes between rows, the same in all regions
        self._register = 0

    def emit(self, mnemonic: str, /, **operands: int) -> None:
        """Append an instruction with the operands as they are."""
        self.code.append(make(mnemonic, **operands))

    def load(self, value: int, slide: bool = False) -> int:
        """Return a register that holds ``value`` (plus the loop offset when it slides)."""
        self._register = self._register % _FREE + 1
        self.emit("li", rd=self._register, imm=value)
        if slide:
            self.emit("add", rd=self._register, ra=self._register, rb=_OFFSET)
        return self._register

    def signal(self, source: Unit, target: Unit) -> None:
        """Make ``target`` wait for what ``source`` was given so far."""
        sem = _UNITS.index(source) * len(_UNITS) + _UNITS.index(target)
        tokens = self.rng.randint(1, 3)
        self.emit("post", unit=_UNITS.index(source), sem=sem, n=tokens)
        self.emit("wait", unit=_UNITS.index(target), sem=sem, n=tokens)

    def access(self, unit: Unit, reads: list[RandomRegion], writes: list[RandomRegion]) -> None:
        """Order ``unit`` behind all earlier uses of the regions that conflict with this one."""
        before = {r.writer for r in reads + writes}
        for region in writes:
            before |= region.readers
        for source in QUEUED_UNITS:
            if source in before and source is not unit:
                self.signal(source, unit)
        for region in writes:
            region.writer, region.readers = unit, set()
        for region in reads:
            region.readers.add(unit)
        self.used.add(unit)

    def barrier(self) -> None:
        """Make the sequencer wait for all units."""
        for unit in QUEUED_UNITS:
            if unit in self.used:
                self.signal(unit, Unit.SEQ)
        self.used.clear()
        for region in self.regions:
            region.writer, region.readers = None, set()

    def pick(self, *kinds: str, but: tuple[RandomRegion, ...] = ()) -> RandomRegion:
        """Return a region of one of the kinds."""
        return self.rng.choice([r for r in self.regions if r.kind in kinds and r not in but])

    def matrix(self, region: RandomRegion, rows: int, slide: bool = False) -> tuple[int, int]:
        """Return registers with address and stride of some ``rows`` rows, sometimes upside down."""
        spare = 0 if slide else region.rows - rows
        first = self.rng.randint(0, max(0, spare))
        address, stride = region.address + first * region.stride, region.stride
        if rows > 1 and not slide and self.rng.random() < 0.2:
            address, stride = address + (rows - 1) * stride, -stride
        return self.load(address, slide), self.load(stride)

    # --- steps -----------------------------------------------------------------------------------

    def macs(self, slide: bool) -> None:
        """Append one of the accumulating instructions without a window."""
        row = self.rng.choice(_MACS)
        outer = row.family is Family.OUTER
        a = self.pick(element(row, "a"))
        b = self.pick("f16")
        acc = self.pick("f32")
        trans = "trans" in row.names and self.rng.random() < 0.5
        span = _SPAN if slide else 0
        if outer:
            rows = self.size(a.rows - span, b.rows)
            k, n = self.size(a.cols, acc.rows), self.size(b.cols, acc.cols)
        else:
            rows = self.size(a.rows - span, acc.rows)
            k = self.size(a.cols, b.cols if trans else b.rows)
            n = self.size(acc.cols, b.rows if trans else b.cols)
        bias = self.pick("f16")
        n = min(n, bias.cols)
        init = self.rng.choice((0, 1) if outer else (0, 1, 2))
        mask = self.pick("bit")
        fits = mask.rows >= rows and mask.cols >= n
        masked = "masked" in row.names and fits and self.rng.random() < 0.6
        extra = ([bias] if init == INIT.words.index("bias") else []) + ([mask] if masked else [])
        self.access(row.unit, [a, b, *extra], [acc])
        operands: dict[str, int] = {}
        b_name, b_rows, acc_rows = ("g", rows, k) if outer else ("w", n if trans else k, rows)
        operands["a"], operands["a_stride"] = self.matrix(a, rows, slide)
        operands[b_name], operands[f"{b_name}_stride"] = self.matrix(b, b_rows)
        operands["acc"], operands["acc_stride"] = self.matrix(acc, acc_rows)
        operands.update(rows=self.load(rows), k=self.load(k), n=self.load(n), init=init)
        if not outer:
            operands["bias"] = self.load(bias.address)
        if "skip" in row.names:
            operands["skip"] = self.rng.getrandbits(1)
        if "trans" in row.names:
            operands["trans"] = int(trans)
        if "masked" in row.names:
            operands["masked"] = int(masked)
            operands["mask"], operands["mask_stride"] = self.matrix(mask, min(rows, mask.rows))
        self.emit(row.mnemonic, **operands)

    def size(self, *limits: int) -> int:
        """Return a size within all limits: often the largest, sometimes 0."""
        limit = max(0, min(limits))
        return limit if self.rng.random() < 0.4 else self.rng.randint(0, limit)

    def reduce(self, slide: bool) -> None:
        """Append rowred or colsum."""
        if self.rng.random() < 0.5:
            x = self.pick("f16", "f32")
            op = self.rng.randrange(len(REDUCTION.words))
            dst = self.pick("f32" if REDUCTION.words[op] == "sum32" else "f16", but=(x,))
            rows = self.size(x.rows - (_SPAN if slide else 0), dst.rows)
            self.access(Unit.VPU, [x], [dst])
            address, stride = self.matrix(x, rows, slide)
            out, out_stride = self.matrix(dst, rows)
            self.emit(
                "rowred", dst=out, dst_stride=out_stride, x=address, x_stride=stride,
                rows=self.load(rows), n=self.load(max(1, self.size(x.cols))),
                type=ELEMENT.words.index(x.kind), op=op,
            )  # fmt: skip
            return
        x = self.pick("f16", "f32", "bit")
        acc = self.pick("f32", but=(x,))
        rows = self.size(x.rows - (_SPAN if slide else 0))
        self.access(Unit.VPU, [x], [acc])
        address, stride = self.matrix(x, rows, slide)
        self.emit(
            "colsum", acc=self.load(acc.address), x=address, x_stride=stride,
            rows=self.load(rows), n=self.load(self.size(x.cols, acc.cols)),
            type=ELEMENT.words.index(x.kind), init=self.rng.randrange(2),
        )  # fmt: skip

    def move(self, slide: bool) -> None:
        """Append copy, fill, or a way through DRAM and back."""
        source = self.pick("f16", "f32", "bit")
        target = self.pick(source.kind, but=(source,))
        rows = self.size(source.rows, target.rows - (_SPAN if slide else 0))
        size = min(source.row_bytes, target.row_bytes)
        if self.rng.random() < 0.3:
            self.access(Unit.DMA, [], [target])
            address, stride = self.matrix(target, rows, slide)
            pattern = random_f16(self.rng) if target.kind == "f16" else 0
            self.emit(
                "fill", dst=address, dst0=stride, n0=self.load(rows), bytes=self.load(size),
                pattern=pattern,
            )  # fmt: skip
            return
        self.access(Unit.DMA, [source], [target])
        through_dram = self.rng.random() < 0.5
        if through_dram:
            self.transfer("st", source, rows, size, dram=source.dram_out)
            self.transfer("ld", target, rows, size, dram=source.dram_out, slide=slide)
            return
        dst, dst_stride = self.matrix(target, rows, slide)
        src, src_stride = self.matrix(source, rows)
        self.emit(
            "copy", dst=dst, src=src, n0=self.load(1), n1=self.load(rows), bytes=self.load(size),
            dst0=self.load(0), dst1=dst_stride, src0=self.load(0), src1=src_stride,
        )  # fmt: skip

    def transfer(
        self, name: str, region: RandomRegion, rows: int, size: int, dram: int, slide: bool = False
    ) -> None:
        """Append ld or st of some rows; in DRAM they lie one behind the other."""
        address, stride = self.matrix(region, rows, slide)
        place, one, zero = self.load(dram), self.load(1), self.load(0)
        count, length = self.load(rows), self.load(size)
        near, far = ("dst", "src") if name == "ld" else ("src", "dst")
        operands = {near: address, f"{near}0": zero, f"{near}1": stride}
        operands |= {far: place, f"{far}0": zero, f"{far}1": length}
        self.emit(name, n0=one, n1=count, bytes=length, **operands)

    def lanes(self, programs: list[MicroProgram]) -> None:
        """Append a lane instruction with a new microprogram."""
        insn = self.rng.choice(_LANES)
        rows, steps = self.rng.randint(1, 4), self.rng.randint(0, 3)
        deep = max(1, steps) * rows
        fitting = [r for r in self.regions if r.rows >= deep]
        chosen = self.rng.sample(fitting, min(len(fitting), self.rng.randint(3, 6)))
        if len(chosen) < 3:
            return
        cols = max(1, self.size(*(r.cols for r in chosen)))
        cut = self.rng.randint(1, len(chosen) - 1)
        states = self.rng.randint(0, 1) if cut > 1 else 0
        loaded, carried, stored = chosen[: cut - states], chosen[cut - states : cut], chosen[cut:]
        inputs = [_input(r, self.rng) for r in loaded]
        counters = self.rng.sample(("rand", "iota"), self.rng.randint(0, 2))
        micro = random_micro(
            self.rng,
            f"m{len(programs)}",
            [*inputs, *counters],
            [f"state.{_suffix(r)}" for r in carried],
            [f"st.{_suffix(r)}" for r in stored],
            self.rng.randint(2, 14),
        )
        streams = [(r.address, rows * r.stride, r.stride) for r in loaded]
        streams += [(self.rng.randrange(1 << 12), rows * cols, cols) for _ in counters]
        streams += [(r.address, 0, r.stride) for r in carried]
        streams += [(r.address, rows * r.stride, r.stride) for r in stored]
        self.access(insn.unit, [*loaded, *carried], [*carried, *stored])
        for number, (base, step, row) in enumerate(streams):
            self.emit(
                "stream", s=number, base=self.load(base), step=self.load(step), row=self.load(row)
            )
        self.emit(
            insn.mnemonic, prog=len(programs), steps=self.load(steps), rows=self.load(rows),
            cols=self.load(cols), seed=self.load(self.rng.getrandbits(62)),
        )  # fmt: skip
        programs.append(micro)

    def arithmetic(self) -> None:
        """Append register arithmetic whose result nothing uses."""
        x, y = self.load(self.rng.randint(-(1 << 30), 1 << 30)), self.load(self.rng.randint(-9, 9))
        self.emit("coreid", rd=60)
        self.emit(self.rng.choice(("add", "sub", "min", "max")), rd=60, ra=60, rb=x)
        self.emit(self.rng.choice(("add", "sub", "mul", "min", "max")), rd=60, ra=60, rb=y)
        self.emit("div", rd=60, ra=60, rb=self.load(self.rng.choice((-7, -1, 1, 4, 9))))
        self.emit("addi", rd=60, ra=60, imm=self.rng.randint(-(1 << 31), (1 << 31) - 1))
        self.emit("nop")

    def step(self, programs: list[MicroProgram], slide: bool) -> None:
        """Append a random step that concerns this core alone."""
        kind = self.rng.random()
        if kind < 0.4:
            self.macs(slide)
        elif kind < 0.7:
            self.lanes(programs)
        elif kind < 0.8:
            self.reduce(slide)
        elif kind < 0.95:
            self.move(slide)
        else:
            self.arithmetic()

    def loop(self, programs: list[MicroProgram], depth: int = 0) -> None:
        """Append a hardware loop around some steps, sometimes around another loop."""
        sliding = depth == 0
        with_register = self.rng.random() < 0.5
        trips = self.rng.randint(0, 3)
        start = self.open_loop(trips, sliding=sliding, with_register=with_register)
        for _ in range(self.rng.randint(1, 3)):
            self.step(programs, sliding and self.rng.random() < 0.5)
        if depth == 0 and self.rng.random() < 0.3:
            self.loop(programs, depth + 1)
        self.close_loop(start, sliding=sliding)

    def open_loop(self, trips: int, *, sliding: bool, with_register: bool) -> int:
        """Append a loop instruction whose end is not yet known; return its address."""
        self.barrier()
        if sliding:
            self.emit("li", rd=_OFFSET, imm=0)
        if with_register:
            self.emit("loop", count=self.load(trips), end=0)
        else:
            self.emit("loopi", count=trips, end=0)
        return len(self.code) - 1

    def close_loop(self, start: int, *, sliding: bool) -> None:
        """End the body of the loop that begins at ``start``."""
        self.barrier()
        if sliding:
            self.emit("addi", rd=_OFFSET, ra=_OFFSET, imm=self.stride)
        head = self.code[start]
        self.code[start] = make(head.insn.mnemonic, count=head["count"], end=len(self.code))


def _suffix(region: RandomRegion) -> str:
    return {"f16": "h", "f32": "f", "bit": "m"}[region.kind]


def _input(region: RandomRegion, rng: random.Random) -> str:
    if region.kind == "bit":
        return "ld.m"
    if region.kind == "f16":
        return rng.choice(("ld.h", "ld.h", "ld.row.h"))
    return rng.choice(("ld.f", "ld.acc", "ld.row.f", "ld.row.i"))
