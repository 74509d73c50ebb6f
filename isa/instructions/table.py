"""THE instruction table: everything about an instruction that is not its executor or its cost.

Conventions used by every row
-----------------------------
* Addresses are bytes.  SRAM addresses are local to the core, DRAM addresses are global.
* ``<x>_stride`` is the distance in bytes between consecutive rows of ``x`` and may be negative.
* Spikes are packed little-endian, bit ``k`` of a row is bit ``k % 8`` of byte ``k // 8``; a row of
  ``n`` spikes occupies ``2 * ceil(n / 16)`` bytes.  Padding bits are written as 0, ignored on read.
* f16 and packed-spike addresses and strides are multiples of 2, f32 ones multiples of 4.
* Accumulators are binary32 in SRAM.  Terms are added one at a time in ascending order of the
  reduced index (docs/adr/0001-numeric-contract.md).
* ``init``: ``keep`` adds to what the accumulator holds, ``zero`` starts from +0, ``bias`` starts
  from +0 plus the binary16 vector at ``bias``.
* A zero-size dimension makes the instruction do nothing (``init`` still applies to what exists).
* **Windows.**  Instructions with an operand ``win`` read a channels-last image stack: position
  (y, x) of image ``i`` is the row of ``channels`` elements at ``a + i*a_image +
  (y*in_w + x)*a_stride``.  Output position (oy, ox) and tap (ky, kx) read position
  sy = (oy*mul_h + base_h + ky*step_h) / div_h, sx likewise; a tap whose division is not exact, or
  that lies outside the image, is no term (it is not a term with the value 0).  Rows ``r`` are
  image, oy, ox ascending: ``rows = images*out_h*out_w``.  The reduced index ``k`` of
  ``k_h*k_w*channels`` is ordered: channels in blocks of 16, ky, kx, channel within the block; rows
  of ``w`` (of ``acc`` in gouterw, outerw; columns of ``w`` when transposed) lie in that order.
  Convolution: mul = stride, base = -padding, step = dilation, div = 1.  Its input gradient:
  mul = 1, base = padding, step = -dilation, div = stride.  A window whose sizes, ``k`` or ``div``
  hold a 0 is illegal where it is used.  Positions that no tap reads need not exist.  Below,
  ``positions`` is out_h*out_w, ``inputs`` in_h*in_w and ``depth`` k_h*k_w*channels.
* **Average pooling** is ``pool`` with sum32, one binary32 division by the count in a lane
  instruction, one rounding.  Its gradient divides first: f32 quotients of the gradient by the
  count, then ``pool`` with type f32 and sum through the window of the input gradient.
"""

from __future__ import annotations

from snncc.isa.instructions.windows import POOLING, WINDOW_SETUP, WINDOWED
from snncc.isa.roles import Family, MemoryRole
from snncc.isa.spec import (
    COUNT,
    ELEMENT,
    F16,
    IMM32,
    IMM64,
    INIT,
    MICRO,
    REDUCTION,
    REG,
    SEM,
    STREAM,
    TAG,
    TARGET,
    TRIPS,
    UNIT,
    Insn,
    Kind,
    Unit,
    pack,
)

FLAG = Kind("flag", 1)

_ROWS_KN = ("rows", REG), ("k", REG), ("n", REG)
_ACC = ("acc", REG), ("acc_stride", REG)
_A = ("a", REG), ("a_stride", REG)
_W = ("w", REG), ("w_stride", REG)
_G = ("g", REG), ("g_stride", REG)
_COPY = (
    ("dst", REG),
    ("src", REG),
    ("n0", REG),
    ("n1", REG),
    ("bytes", REG),
    ("dst0", REG),
    ("dst1", REG),
    ("src0", REG),
    ("src1", REG),
)
_COPY_SYNTAX = "[<dst>:<dst0>:<dst1>], [<src>:<src0>:<src1>], n0=<n0>, n1=<n1>, bytes=<bytes>"
_COPY_SIZES = ("n0", "n1", "bytes")


def _copied(name: str, role: str, space: str = "sram") -> MemoryRole:
    """Return one side of a copy."""
    return MemoryRole(name, role, "byte", "bytes", (("n0", f"{name}0"), ("n1", f"{name}1")), space)


_LANES = (("prog", MICRO), ("steps", REG), ("rows", REG), ("cols", REG), ("seed", REG))
_LANES_SIZES = ("steps", "rows", "cols")
_LANES_SYNTAX = "<prog>, steps=<steps>, rows=<rows>, cols=<cols>, seed=<seed>"
_LANES_ACTION = "for t<steps: for r<rows, c<cols: run microprogram prog over its streams"


# fmt: off
SEQUENCER: tuple[Insn, ...] = (
    Insn("nop", 0x01, Unit.SEQ, (), "Do nothing.", "-"),
    Insn("halt", 0x02, Unit.SEQ, (), "End the core's program; its queues drain first.", "stop"),
    Insn(
        "li", 0x03, Unit.SEQ, pack(("rd", REG), ("imm", IMM64)),
        "Load an immediate.", "rd = imm", "<rd>, <imm>",
    ),
    Insn(
        "add", 0x04, Unit.SEQ, pack(("rd", REG), ("ra", REG), ("rb", REG)),
        "Add two registers.", "rd = ra + rb", traps=("overflow",),
    ),
    Insn(
        "addi", 0x05, Unit.SEQ, pack(("rd", REG), ("ra", REG), ("imm", IMM32)),
        "Add an immediate.", "rd = ra + imm", traps=("overflow",),
    ),
    Insn(
        "sub", 0x06, Unit.SEQ, pack(("rd", REG), ("ra", REG), ("rb", REG)),
        "Subtract two registers.", "rd = ra - rb", traps=("overflow",),
    ),
    Insn(
        "mul", 0x07, Unit.SEQ, pack(("rd", REG), ("ra", REG), ("rb", REG)),
        "Multiply two registers.", "rd = ra * rb", traps=("overflow",),
    ),
    Insn(
        "div", 0x0D, Unit.SEQ, pack(("rd", REG), ("ra", REG), ("rb", REG)),
        "Divide two registers, rounding down.", "rd = floor(ra / rb)",
        traps=("division", "overflow"),
    ),
    Insn(
        "min", 0x0E, Unit.SEQ, pack(("rd", REG), ("ra", REG), ("rb", REG)),
        "Take the smaller of two registers.", "rd = min(ra, rb)",
    ),
    Insn(
        "max", 0x0F, Unit.SEQ, pack(("rd", REG), ("ra", REG), ("rb", REG)),
        "Take the larger of two registers.", "rd = max(ra, rb)",
    ),
    Insn(
        "coreid", 0x12, Unit.SEQ, pack(("rd", REG)),
        "Load the number of the core that runs the program, so that cores can share one.",
        "rd = number of this core",
    ),
    Insn(
        "loop", 0x08, Unit.SEQ, pack(("count", REG), ("end", TARGET)),
        "Hardware loop: run the instructions up to address end (exclusive) count times; "
        "0 skips them, a negative count traps.",
        "push(count, pc+1, end)", traps=("loop",),
    ),
    Insn(
        "loopi", 0x09, Unit.SEQ, pack(("count", TRIPS), ("end", TARGET)),
        "Hardware loop with an immediate trip count.", "push(count, pc+1, end)",
        traps=("loop",),
    ),
    Insn(
        "stream", 0x0A, Unit.SEQ,
        pack(("s", STREAM), ("base", REG), ("step", REG), ("row", REG)),
        "Set a stream descriptor: base address (or counter base), distance between time steps "
        "and between rows.  A lane instruction captures the descriptors when it is issued.",
        "stream[s] = (base, step, row)", "<s>, [<base>:<step>:<row>]",
    ),
)

SYNCHRONISATION: tuple[Insn, ...] = (
    Insn(
        "wait", 0x10, Unit.SEQ, pack(("unit", UNIT), ("sem", SEM), ("n", COUNT)),
        "Enter a wait into a unit's queue (or stop the sequencer itself for unit seq): it "
        "passes when the semaphore holds at least n, and takes n from it.",
        "block until sem >= n; sem -= n", "<unit>, <sem>, <n>", traps=("token",),
    ),
    Insn(
        "post", 0x11, Unit.SEQ, pack(("unit", UNIT), ("sem", SEM), ("n", COUNT)),
        "Enter a post into a unit's queue: it adds n once everything before it is done.",
        "sem += n", "<unit>, <sem>, <n>", traps=("token",),
    ),
)

DMA: tuple[Insn, ...] = (
    Insn(
        "ld", 0x20, Unit.DMA, pack(*_COPY),
        "Copy rows from DRAM to SRAM.", "SRAM[dst+i*dst0+j*dst1][:bytes] = DRAM[src+i*src0+j*src1]",
        _COPY_SYNTAX,
        Family.COPY, (_copied("src", "in", "dram"), _copied("dst", "out")), _COPY_SIZES,
        ("bounds",),
    ),
    Insn(
        "st", 0x21, Unit.DMA, pack(*_COPY),
        "Copy rows from SRAM to DRAM.", "DRAM[dst+i*dst0+j*dst1][:bytes] = SRAM[src+i*src0+j*src1]",
        _COPY_SYNTAX,
        Family.COPY, (_copied("src", "in"), _copied("dst", "out", "dram")), _COPY_SIZES,
        ("bounds",),
    ),
    Insn(
        "copy", 0x22, Unit.DMA, pack(*_COPY),
        "Copy rows within SRAM; source and destination must not overlap.",
        "SRAM[dst+i*dst0+j*dst1][:bytes] = SRAM[src+i*src0+j*src1]",
        _COPY_SYNTAX,
        Family.COPY, (_copied("src", "in"), _copied("dst", "out")), _COPY_SIZES,
        ("bounds", "overlap"),
    ),
    Insn(
        "fill", 0x23, Unit.DMA,
        pack(("dst", REG), ("dst0", REG), ("n0", REG), ("bytes", REG), ("pattern", F16)),
        "Fill rows of SRAM with a 16-bit pattern (bytes is a multiple of 2).",
        "SRAM[dst+i*dst0][:bytes] = pattern, repeated",
        "[<dst>:<dst0>], n0=<n0>, bytes=<bytes>, <pattern>",
        Family.COPY, (MemoryRole("dst", "out", "byte", "bytes", (("n0", "dst0"),), multiple=2),),
        ("n0", "bytes"), ("bounds",),
    ),
)

_SENT = MemoryRole("src", "in", "byte", "bytes")

NOC: tuple[Insn, ...] = (
    Insn(
        "send", 0x30, Unit.NOC,
        pack(("core", REG), ("tag", TAG), ("src", REG), ("bytes", REG)),
        "Send SRAM bytes to a core; 0 bytes is a pure token.  Messages between two cores with "
        "one tag arrive in order.",
        "channel[self -> core, tag].push(SRAM[src][:bytes])",
        "<core>, <tag>, [<src>], bytes=<bytes>",
        Family.MESSAGE, (_SENT,), ("bytes",), ("bounds", "core"), route=("core",),
    ),
    Insn(
        "mcast", 0x31, Unit.NOC,
        pack(("mask", REG), ("tag", TAG), ("src", REG), ("bytes", REG)),
        "Send the same bytes to every core whose bit is set in mask (the sender excepted).",
        "for core in mask: channel[self -> core, tag].push(SRAM[src][:bytes])",
        "<mask>, <tag>, [<src>], bytes=<bytes>",
        Family.MESSAGE, (_SENT,), ("bytes",), ("bounds", "core"), route=("mask",),
    ),
    Insn(
        "recv", 0x32, Unit.NOC,
        pack(("core", REG), ("tag", TAG), ("dst", REG), ("bytes", REG)),
        "Wait for a message from a core and store it; its length must equal bytes.",
        "SRAM[dst][:bytes] = channel[core -> self, tag].pop()",
        "<core>, <tag>, [<dst>], bytes=<bytes>",
        Family.MESSAGE, (MemoryRole("dst", "out", "byte", "bytes"),), ("bytes",),
        ("bounds", "core", "length"), route=("core",),
    ),
    Insn(
        "recvadd", 0x33, Unit.NOC,
        pack(("core", REG), ("tag", TAG), ("dst", REG), ("count", REG)),
        "Wait for a message of binary32 partial sums and add it element by element.",
        "f32 SRAM[dst][:count] = RN32(SRAM[dst] + channel[core -> self, tag].pop())",
        "<core>, <tag>, [<dst>], count=<count>",
        Family.MESSAGE, (MemoryRole("dst", "inout", "f32", "count"),), ("count",),
        ("bounds", "core", "length"), route=("core",),
    ),
)

_SIZES = ("rows", "k", "n")
_SPIKES_IN = MemoryRole("a", "in", "bit", "k", (("rows", "a_stride"),))
_HALVES_IN = MemoryRole("a", "in", "f16", "k", (("rows", "a_stride"),))
_WEIGHTS = MemoryRole("w", "in", "f16", "n", (("k", "w_stride"),))
_TURNED_WEIGHTS = MemoryRole("w", "in", "f16", "n", (("k", "w_stride"),), turned="trans")
_BIAS = MemoryRole("bias", "in", "f16", "n", when=("init=bias",))
_MASK = MemoryRole("mask", "in", "bit", "n", (("rows", "mask_stride"),), when=("masked", "k"))
_SUMS = MemoryRole("acc", "inout", "f32", "n", (("rows", "acc_stride"),), read_when=("init=keep",))
_PRODUCTS = MemoryRole("acc", "inout", "f32", "n", (("k", "acc_stride"),), read_when=("init=keep",))
_GRADIENTS = MemoryRole("g", "in", "f16", "n", (("rows", "g_stride"),))
_ELEMENTS = MemoryRole("x", "in", "type", "n", (("rows", "x_stride"),))
_NO_MASK = (("masked", 0), ("mask", 0), ("mask_stride", 0))
_GATED = (("skip", 1), ("trans", 0), *_NO_MASK)
_MAC_SYNTAX = (
    "[<acc>:<acc_stride>], [<a>:<a_stride>], [<w>:<w_stride>], rows=<rows>, k=<k>, n=<n>, "
    "init=<init>, bias=[<bias>]"
)

ENGINES: tuple[Insn, ...] = (
    Insn(
        "gacc", 0x40, Unit.FP, pack(*_ACC, *_A, *_W, *_ROWS_KN, ("bias", REG), ("init", INIT)),
        "Spike-gated accumulate of a dense layer: add the weight rows whose spike is 1.",
        "acc[r,j] = init; for k ascending: if a[r,k]: acc[r,j] = RN32(acc[r,j] + w[k,j])",
        _MAC_SYNTAX,
        Family.MAC, (_SPIKES_IN, _WEIGHTS, _BIAS, _SUMS), _SIZES, ("bounds",), _GATED,
        meaning="accumulate.mac",
    ),
    Insn(
        "mac", 0x41, Unit.FP,
        pack(*_ACC, *_A, *_W, *_ROWS_KN, ("bias", REG), ("init", INIT), ("skip", FLAG),
             ("trans", FLAG)),
        "Multiply-accumulate of binary16 inputs (encoding layers).  skip=1: an input that is +0 "
        "or -0 selects nothing.  trans=1: w is stored [n][k].",
        "acc[r,j] = init; for k ascending: acc[r,j] = RN32(acc[r,j] + a[r,k]*w[k,j])",
        _MAC_SYNTAX + ", skip=<skip>, trans=<trans>",
        Family.MAC, (_HALVES_IN, _TURNED_WEIGHTS, _BIAS, _SUMS), _SIZES, ("bounds",), _NO_MASK,
        meaning="accumulate.mac",
    ),
    Insn(
        "neuron", 0x48, Unit.FP, pack(*_LANES),
        "Neuron stage of the FP engine: run a microprogram over steps x rows x cols, carrying "
        "its state from step to step.",
        _LANES_ACTION, _LANES_SYNTAX, Family.LANES, (), _LANES_SIZES, ("bounds", "microprogram"),
        meaning="lanes.run",
    ),
    Insn(
        "bmac", 0x50, Unit.BP,
        pack(*_ACC, *_A, *_W, *_ROWS_KN, ("bias", REG), ("init", INIT), ("skip", FLAG),
             ("trans", FLAG), ("masked", FLAG), ("mask", REG), ("mask_stride", REG)),
        "Back-propagation multiply-accumulate: as mac; masked=1 leaves the initial value in every "
        "output whose mask bit is 0 (output sparsity).",
        "as mac, for (r,j) with mask[r,j]",
        _MAC_SYNTAX
        + ", skip=<skip>, trans=<trans>, masked=<masked>, mask=[<mask>:<mask_stride>]",
        Family.MAC, (_HALVES_IN, _TURNED_WEIGHTS, _MASK, _BIAS, _SUMS), _SIZES, ("bounds",),
        meaning="accumulate.mac",
    ),
    Insn(
        "ngrad", 0x58, Unit.BP, pack(*_LANES),
        "Gradient stage of the BP engine: as neuron, for surrogate gradients through time.",
        _LANES_ACTION, _LANES_SYNTAX, Family.LANES, (), _LANES_SIZES, ("bounds", "microprogram"),
        meaning="lanes.run",
    ),
    Insn(
        "gouter", 0x60, Unit.WG, pack(*_ACC, *_A, *_G, *_ROWS_KN, ("init", INIT)),
        "Spike-gated outer product: add gradient rows to the weight-gradient rows whose spike "
        "is 1 (init bias is illegal).",
        "acc[k,j] = init; for r ascending: if a[r,k]: acc[k,j] = RN32(acc[k,j] + g[r,j])",
        "[<acc>:<acc_stride>], [<a>:<a_stride>], [<g>:<g_stride>], rows=<rows>, k=<k>, n=<n>, "
        "init=<init>",
        Family.OUTER, (_PRODUCTS, _SPIKES_IN, _GRADIENTS), _SIZES, ("bounds", "operand"),
        (("skip", 1),), ("init=bias",),
        meaning="accumulate.outer",
    ),
    Insn(
        "outer", 0x61, Unit.WG,
        pack(*_ACC, *_A, *_G, *_ROWS_KN, ("init", INIT), ("skip", FLAG)),
        "Outer product of binary16 inputs and gradients; skip as in mac (on a).",
        "acc[k,j] = init; for r ascending: acc[k,j] = RN32(acc[k,j] + a[r,k]*g[r,j])",
        "[<acc>:<acc_stride>], [<a>:<a_stride>], [<g>:<g_stride>], rows=<rows>, k=<k>, n=<n>, "
        "init=<init>, skip=<skip>",
        Family.OUTER, (_PRODUCTS, _HALVES_IN, _GRADIENTS), _SIZES, ("bounds", "operand"),
        illegal=("init=bias",),
        meaning="accumulate.outer",
    ),
)

VECTOR: tuple[Insn, ...] = (
    Insn(
        "ew", 0x70, Unit.VPU, pack(*_LANES),
        "Element-wise stage of the vector unit: optimizers, losses, residuals, dropout.",
        _LANES_ACTION, _LANES_SYNTAX, Family.LANES, (), _LANES_SIZES, ("bounds", "microprogram"),
        meaning="lanes.run",
    ),
    Insn(
        "rowred", 0x71, Unit.VPU,
        pack(("dst", REG), ("dst_stride", REG), ("x", REG), ("x_stride", REG), ("rows", REG),
             ("n", REG), ("type", ELEMENT), ("op", REDUCTION)),
        "Reduce each row over its columns in ascending order, sums in binary32: sum rounds to "
        "binary16 at the end, sum32 writes binary32, max writes binary16 (NaN if any NaN).",
        "dst[r] = op(x[r,0], x[r,1], ...)",
        "[<dst>:<dst_stride>], [<x>:<x_stride>], rows=<rows>, n=<n>, type=<type>, op=<op>",
        Family.REDUCTION,
        (_ELEMENTS, MemoryRole("dst", "out", (("op=sum32", "f32"), ("", "f16")), "1",
                           (("rows", "dst_stride"),))),
        ("rows", "n"), ("bounds", "operand"),
        meaning="reduce.rowred",
    ),
    Insn(
        "colsum", 0x72, Unit.VPU,
        pack(("acc", REG), ("x", REG), ("x_stride", REG), ("rows", REG), ("n", REG),
             ("type", ELEMENT), ("init", INIT)),
        "Sum rows into a vector of binary32 accumulators, rows ascending (bias gradients, "
        "readouts; init bias is illegal).",
        "acc[j] = init; for r ascending: acc[j] = RN32(acc[j] + x[r,j])",
        "[<acc>], [<x>:<x_stride>], rows=<rows>, n=<n>, type=<type>, init=<init>",
        Family.REDUCTION,
        (MemoryRole("acc", "inout", "f32", "n", read_when=("init=keep",)), _ELEMENTS),
        ("rows", "n"), ("bounds", "operand"), illegal=("init=bias",),
        meaning="reduce.colsum",
    ),
)

# fmt: on

TABLE: tuple[Insn, ...] = (
    *SEQUENCER, *WINDOW_SETUP, *SYNCHRONISATION, *DMA, *NOC, *ENGINES, *WINDOWED, *VECTOR, *POOLING,
)  # fmt: skip

RETIRED: frozenset[int] = frozenset()
"""Opcodes that once meant something; they are never given out again."""
