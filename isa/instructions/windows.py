"""Rows of the instruction table for convolution and pooling: operands read through windows.

Part of :mod:`snncc.isa.instructions.table`, which has the conventions.
"""

from __future__ import annotations

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
    Access,
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

_OUT_ROWS = "images*out_h*out_w rows"
_STACK = "the positions that the window reaches, rows of channels"
_READS_A = {
    "bit": Access("sram", "a", f"{_STACK} bits"),
    "f16": Access("sram", "a", f"{_STACK} binary16 elements"),
}
_READS_W = Access("sram", "w", "k rows of 2*n bytes (n rows of 2*k when transposed)")
_BIAS = Access("sram", "bias", "2*n bytes when init is bias")
_ACC_ROWS = Access("sram", "acc", f"{_OUT_ROWS} of 4*n bytes")
_ACC_K = Access("sram", "acc", "k rows of 4*n bytes")
_READS_G = Access("sram", "g", f"{_OUT_ROWS} of 2*n bytes")
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
        _MAC_SYNTAX, (_READS_A["bit"], _READS_W, _BIAS, _ACC_ROWS), (_ACC_ROWS,), _TRAPS,
    ),
    Insn(
        "macw", 0x43, Unit.FP, _MAC_FIELDS,
        "Convolution of binary16 inputs: mac whose inputs are read through a window.",
        "acc[r,j] = init; for k ascending, tap inside: acc[r,j] = RN32(acc[r,j] + a[r,k]*w[k,j])",
        _MAC_SYNTAX + ", skip=<skip>, trans=<trans>",
        (_READS_A["f16"], _READS_W, _BIAS, _ACC_ROWS), (_ACC_ROWS,), _TRAPS,
    ),
    Insn(
        "bmacw", 0x51, Unit.BP, _MAC_FIELDS,
        "Input gradient of a convolution: bmac whose gradients are read through a window, "
        "without a mask.",
        "as macw",
        _MAC_SYNTAX + ", skip=<skip>, trans=<trans>",
        (_READS_A["f16"], _READS_W, _BIAS, _ACC_ROWS), (_ACC_ROWS,), _TRAPS,
    ),
    Insn(
        "gouterw", 0x62, Unit.WG, pack(*_ACC, *_A, *_G, *_SIZES, *_WIN, ("init", INIT)),
        "Weight gradient of a spike-gated convolution: gouter whose spikes are read through a "
        "window (init bias is illegal).",
        "acc[k,j] = init; for r ascending: if tap inside and a[r,k]: acc[k,j] = RN32(acc[k,j] + "
        "g[r,j])",
        _OUTER_SYNTAX, (_READS_A["bit"], _READS_G, _ACC_K), (_ACC_K,), _TRAPS,
    ),
    Insn(
        "outerw", 0x63, Unit.WG,
        pack(*_ACC, *_A, *_G, *_SIZES, *_WIN, ("init", INIT), ("skip", _FLAG)),
        "Weight gradient of a convolution of binary16 inputs: outer whose inputs are read "
        "through a window.",
        "acc[k,j] = init; for r ascending, tap inside: acc[k,j] = RN32(acc[k,j] + a[r,k]*g[r,j])",
        _OUTER_SYNTAX + ", skip=<skip>",
        (_READS_A["f16"], _READS_G, _ACC_K), (_ACC_K,), _TRAPS,
    ),
)

_X_ACCESS = Access("sram", "x", f"{_STACK} elements")

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
        (_X_ACCESS,), (Access("sram", "dst", f"{_OUT_ROWS} of channels results"),), _TRAPS,
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
        (Access("sram", "g", f"{_OUT_ROWS} of channels binary16 elements"), _X_ACCESS,
         Access("sram", "y", f"{_OUT_ROWS} of channels elements")),
        (Access("sram", "dst", "images stacks of in_h*in_w rows of 2*channels bytes"),), _TRAPS,
    ),
    Insn(
        "transpose", 0x75, Unit.VPU,
        pack(("dst", REG), ("dst_stride", REG), ("src", REG), ("src_stride", REG), ("rows", REG),
             ("cols", REG)),
        "Transpose a matrix of 16-bit elements, which are moved as they are; source and "
        "destination must not overlap.",
        "dst[j,i] = src[i,j] for i < rows, j < cols",
        "[<dst>:<dst_stride>], [<src>:<src_stride>], rows=<rows>, cols=<cols>",
        (Access("sram", "src", "rows rows of 2*cols bytes"),),
        (Access("sram", "dst", "cols rows of 2*rows bytes"),), ("bounds", "overlap"),
    ),
)
# fmt: on
