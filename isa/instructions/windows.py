"""Rows of the instruction table for convolution and pooling: operands read through windows.

Part of :mod:`snncc.isa.instructions.table`, which has the conventions.
"""

from __future__ import annotations

from snncc.isa.roles import Family, MemoryRole
from snncc.isa.spec import (
    ELEMENT,
    EXTENT,
    FACTOR,
    INIT,
    OFFSET,
    REDUCTION,
    REG,
    STEP,
    WINDOW,
    Insn,
    Kind,
    Unit,
    pack,
)

_FLAG = Kind("flag", 1)
_ACC = ("acc", REG), ("acc_stride", REG)
_A = ("a", REG), ("a_stride", REG), ("a_image", REG)
_W = ("w", REG), ("w_stride", REG)
_G = ("g", REG), ("g_stride", REG)
_X = ("x", REG), ("x_stride", REG), ("x_image", REG)
_SIZES = ("images", REG), ("n", REG)
_WIN = (("win", WINDOW),)

_ROWS = "images*positions"
_STACK = (("images", "a_image"), ("inputs", "a_stride"))
_SPIKES_IN = MemoryRole("a", "in", "bit", "channels", _STACK, reached=True)
_HALVES_IN = MemoryRole("a", "in", "f16", "channels", _STACK, reached=True)
_X_STACK = MemoryRole(
    "x", "in", "type", "channels", (("images", "x_image"), ("inputs", "x_stride")), reached=True
)
_WEIGHTS = MemoryRole("w", "in", "f16", "n", (("depth", "w_stride"),))
_TURNED_WEIGHTS = MemoryRole("w", "in", "f16", "n", (("depth", "w_stride"),), turned="trans")
_BIAS = MemoryRole("bias", "in", "f16", "n", when=("init=bias",))
_SUMS = MemoryRole("acc", "inout", "f32", "n", ((_ROWS, "acc_stride"),), read_when=("init=keep",))
_PRODUCTS = MemoryRole(
    "acc", "inout", "f32", "n", (("depth", "acc_stride"),), read_when=("init=keep",)
)
_GRADIENTS = MemoryRole("g", "in", "f16", "n", ((_ROWS, "g_stride"),))
_NO_MASK = (("masked", 0), ("mask", 0), ("mask_stride", 0))
_GATED = (("skip", 1), ("trans", 0), *_NO_MASK)
_MAC_SIZES = ("images", "n")
_TRAPS = ("bounds", "operand", "window")

_STACK_SYNTAX = "[<a>:<a_stride>:<a_image>]"
_MAC_SYNTAX = (
    f"[<acc>:<acc_stride>], {_STACK_SYNTAX}, [<w>:<w_stride>], <win>, images=<images>, n=<n>, "
    "init=<init>, bias=[<bias>]"
)
_OUTER_SYNTAX = (
    f"[<acc>:<acc_stride>], {_STACK_SYNTAX}, [<g>:<g_stride>], <win>, images=<images>, n=<n>, "
    "init=<init>"
)
_MAC_FIELDS = pack(
    *_ACC, *_A, *_W, *_SIZES, ("bias", REG), *_WIN, ("init", INIT), ("skip", _FLAG),
    ("trans", _FLAG),
)  # fmt: skip

# fmt: off
WINDOW_SETUP: tuple[Insn, ...] = (
    Insn(
        "winsize", 0x0B, Unit.SEQ,
        pack(*_WIN, ("in_h", EXTENT), ("in_w", EXTENT), ("out_h", EXTENT), ("out_w", EXTENT),
             ("channels", EXTENT)),
        "Set the sizes of a window: rows and columns of the input images and of the output, "
        "channels.  A windowed instruction captures its window when it is issued.",
        "window[win].sizes = (in_h, in_w, out_h, out_w, channels)",
        "<win>, in=<in_h>:<in_w>, out=<out_h>:<out_w>, channels=<channels>",
    ),
    Insn(
        "winmap", 0x0C, Unit.SEQ,
        pack(*_WIN, ("k_h", FACTOR), ("k_w", FACTOR), ("mul_h", FACTOR), ("mul_w", FACTOR),
             ("base_h", OFFSET), ("base_w", OFFSET), ("step_h", STEP), ("step_w", STEP),
             ("div_h", FACTOR), ("div_w", FACTOR)),
        "Set the taps of a window and which input position each of them reads.",
        "window[win].map = (k, mul, base, step, div); sy = (oy*mul_h + base_h + ky*step_h) / div_h",
        "<win>, k=<k_h>:<k_w>, mul=<mul_h>:<mul_w>, base=<base_h>:<base_w>, "
        "step=<step_h>:<step_w>, div=<div_h>:<div_w>",
    ),
)

WINDOWED: tuple[Insn, ...] = (
    Insn(
        "gaccw", 0x42, Unit.FP,
        pack(*_ACC, *_A, *_W, *_SIZES, ("bias", REG), *_WIN, ("init", INIT)),
        "Spike-gated convolution: gacc whose spikes are read through a window.",
        "acc[r,j] = init; for k ascending, tap inside: if a[r,k]: acc[r,j] = RN32(acc[r,j] + "
        "w[k,j])",
        _MAC_SYNTAX,
        Family.MAC, (_SPIKES_IN, _WEIGHTS, _BIAS, _SUMS), _MAC_SIZES, _TRAPS, _GATED,
        meaning="accumulate.mac",
    ),
    Insn(
        "macw", 0x43, Unit.FP, _MAC_FIELDS,
        "Convolution of binary16 inputs: mac whose inputs are read through a window.",
        "acc[r,j] = init; for k ascending, tap inside: acc[r,j] = RN32(acc[r,j] + a[r,k]*w[k,j])",
        _MAC_SYNTAX + ", skip=<skip>, trans=<trans>",
        Family.MAC, (_HALVES_IN, _TURNED_WEIGHTS, _BIAS, _SUMS), _MAC_SIZES, _TRAPS, _NO_MASK,
        meaning="accumulate.mac",
    ),
    Insn(
        "bmacw", 0x51, Unit.BP, _MAC_FIELDS,
        "Input gradient of a convolution: bmac whose gradients are read through a window, "
        "without a mask.",
        "as macw",
        _MAC_SYNTAX + ", skip=<skip>, trans=<trans>",
        Family.MAC, (_HALVES_IN, _TURNED_WEIGHTS, _BIAS, _SUMS), _MAC_SIZES, _TRAPS, _NO_MASK,
        meaning="accumulate.mac",
    ),
    Insn(
        "gouterw", 0x62, Unit.WG, pack(*_ACC, *_A, *_G, *_SIZES, *_WIN, ("init", INIT)),
        "Weight gradient of a spike-gated convolution: gouter whose spikes are read through a "
        "window (init bias is illegal).",
        "acc[k,j] = init; for r ascending: if tap inside and a[r,k]: acc[k,j] = RN32(acc[k,j] + "
        "g[r,j])",
        _OUTER_SYNTAX,
        Family.OUTER, (_PRODUCTS, _SPIKES_IN, _GRADIENTS), _MAC_SIZES, _TRAPS, (("skip", 1),),
        ("init=bias",),
        meaning="accumulate.outer",
    ),
    Insn(
        "outerw", 0x63, Unit.WG,
        pack(*_ACC, *_A, *_G, *_SIZES, *_WIN, ("init", INIT), ("skip", _FLAG)),
        "Weight gradient of a convolution of binary16 inputs: outer whose inputs are read "
        "through a window.",
        "acc[k,j] = init; for r ascending, tap inside: acc[k,j] = RN32(acc[k,j] + a[r,k]*g[r,j])",
        _OUTER_SYNTAX + ", skip=<skip>",
        Family.OUTER, (_PRODUCTS, _HALVES_IN, _GRADIENTS), _MAC_SIZES, _TRAPS,
        illegal=("init=bias",),
        meaning="accumulate.outer",
    ),
)

_POOLED = (("op=sum32", "f32"), ("op=max,type=bit", "bit"), ("", "f16"))

POOLING: tuple[Insn, ...] = (
    Insn(
        "pool", 0x73, Unit.VPU,
        pack(("dst", REG), ("dst_stride", REG), *_X, ("images", REG), *_WIN, ("type", ELEMENT),
             ("op", REDUCTION)),
        "Reduce every window per channel; taps outside the input are left out.  sum and sum32 "
        "add in binary32, ky then kx ascending, and write binary16 or binary32.  max writes "
        "binary16 (NaN if any NaN, -infinity for a window without taps), of spikes packed spikes.",
        "dst[r,c] = op over ky, kx ascending of x[r + (ky,kx), c]",
        "[<dst>:<dst_stride>], [<x>:<x_stride>:<x_image>], <win>, images=<images>, type=<type>, "
        "op=<op>",
        Family.POOLING,
        (_X_STACK, MemoryRole("dst", "out", _POOLED, "channels", ((_ROWS, "dst_stride"),))),
        ("images",), _TRAPS,
        meaning="reduce.pool",
    ),
    Insn(
        "poolgrad", 0x74, Unit.VPU,
        pack(("dst", REG), ("dst_stride", REG), ("dst_image", REG), *_G, *_X, ("y", REG),
             ("y_stride", REG), ("images", REG), *_WIN, ("type", ELEMENT)),
        "Gradient of pool with op max: the gradient of an output goes to its first tap inside "
        "the input (ky, then kx ascending) at which x equals y.  The window is that of pool; x and "
        "y have the given type (binary16 or spikes), g and dst are binary16.  An input position "
        "sums what it gets in binary32, ky, then kx, then output position ascending.",
        "dst[i,c] = RN16(sum of g[r,c] over the r whose first maximum is at i)",
        "[<dst>:<dst_stride>:<dst_image>], [<g>:<g_stride>], [<x>:<x_stride>:<x_image>], "
        "[<y>:<y_stride>], <win>, images=<images>, type=<type>",
        Family.POOL_GRADIENT,
        (MemoryRole("g", "in", "f16", "channels", ((_ROWS, "g_stride"),)), _X_STACK,
         MemoryRole("y", "in", "type", "channels", ((_ROWS, "y_stride"),)),
         MemoryRole("dst", "out", "f16", "channels",
                (("images", "dst_image"), ("inputs", "dst_stride")))),
        ("images", "inputs"), _TRAPS, illegal=("type=f32",),
        meaning="reduce.poolgrad",
    ),
    Insn(
        "transpose", 0x75, Unit.VPU,
        pack(("dst", REG), ("dst_stride", REG), ("src", REG), ("src_stride", REG), ("rows", REG),
             ("cols", REG)),
        "Transpose a matrix of 16-bit elements, which are moved as they are; source and "
        "destination must not overlap.",
        "dst[j,i] = src[i,j] for i < rows, j < cols",
        "[<dst>:<dst_stride>], [<src>:<src_stride>], rows=<rows>, cols=<cols>",
        Family.TRANSPOSE,
        (MemoryRole("src", "in", "f16", "cols", (("rows", "src_stride"),)),
         MemoryRole("dst", "out", "f16", "rows", (("cols", "dst_stride"),))),
        ("rows", "cols"), ("bounds", "overlap"),
        meaning="reduce.transpose",
    ),
)
# fmt: on
