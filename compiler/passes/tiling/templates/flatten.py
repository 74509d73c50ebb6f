"""Flattening images of spikes: channels-last in, one row of packed spikes per sample out.

Two storage conversions would do it (to natural order, whose short rows are padded, then to long
rows); together they take one pass: unpack, transpose each image, pack.
"""

from __future__ import annotations

from math import prod

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import order_of
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.sizes import share
from snncc.compiler.passes.tiling.kit.stacks import pad64
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream
from snncc.compiler.passes.tiling.kit.views import row_bytes
from snncc.compiler.passes.tiling.templates.copies import pack_program, unpack_program


def flattens(each: Op) -> bool:
    """Whether a conversion of spikes from channels-last order only feeds flattening reshapes."""
    if each.name != "phase.relayout" or each.result.type.dtype != "bit" or not each.result.uses:
        return False
    source = each.operands[0]
    rank = len(source.type.step_shape)
    last = (0, *range(2, rank), 1)
    if rank < 3 or order_of(source) != last or order_of(each.result):
        return False
    return all(
        user.parent is each.parent and _flat(user, each.result) for user, _ in each.result.uses
    )


def _flat(user: Op, value: Value) -> bool:
    shape = value.type.step_shape
    return (
        user.name == "phase.reshape"
        and user.result.type.kind == value.type.kind
        and user.result.type.step_shape == (shape[0], prod(shape[1:]))
        and not order_of(user.result)
    )


def is_flatten(each: Op) -> bool:
    """Whether a reshape takes spikes straight from channels-last order."""
    owner = each.operands[0].owner
    return isinstance(owner, Op) and flattens(owner)


def flatten(context: TilingContext, op: Op) -> None:
    """Emit the task of a flattening reshape whose operand's conversion :func:`flattens`."""
    relayout = op.operands[0].owner
    assert isinstance(relayout, Op)
    source = relayout.operands[0]
    channels = source.type.step_shape[1]
    a, z = context.view(source).flat(), context.view(op.result).flat()
    positions = a.rows // z.rows

    def memory(samples: int) -> int:
        wide = pad64(samples * z.cols * 2)
        return pad64(samples * positions * a.row) + 2 * wide + pad64(samples * z.row)

    samples = share(z.rows, 1, context.cores)
    while samples > 1 and memory(samples) > context.limit:
        samples = (samples + 1) // 2
    if memory(samples) > context.limit:
        context.too_small(op, "a flattening of spikes", memory(samples))
        return
    b = context.task(op, "flatten")
    packed_in, packed_out = (
        b.sram("in", samples * positions * a.row),
        b.sram("out", samples * z.row),
    )
    wide, turned = b.sram("wide", samples * z.cols * 2), b.sram("turned", samples * z.cols * 2)
    unpack, pack = (
        context.program("unpack", unpack_program()),
        context.program("pack", pack_program()),
    )

    def images(at: At, count: int, _: bool) -> None:
        size = positions * a.row
        b.load(packed_in, ZERO, a.dram, at * size + a.start, 1, count * size, 0, 0)
        width = row_bytes("bit", channels)
        streams = [Stream(packed_in, ZERO, 0, width), Stream(wide, ZERO, 0, channels * 2)]
        b.lanes("ew", unpack, streams, 1, count * positions, channels)

        def turn(image: At, _: int, __: bool) -> None:
            b.emit(
                "transpose",
                [("dst", turned, image * (z.cols * 2)), ("src", wide, image * (z.cols * 2))],
                dst_stride=positions * 2,
                src_stride=channels * 2,
                rows=positions,
                cols=channels,
            )

        b.tiles(count, 1, turn)
        streams = [Stream(turned, ZERO, 0, z.cols * 2), Stream(packed_out, ZERO, 0, z.row)]
        b.lanes("ew", pack, streams, 1, count, z.cols)
        b.store(z.dram, at * z.row + z.start, packed_out, ZERO, 1, count * z.row, 0, 0)

    b.tiles(z.rows, samples, images, parallel=True)
    context.add(b)
