"""What an op means nothing without: the verifier refuses an op that lacks it."""

from __future__ import annotations

import pytest

from snncc.compiler.ir.opdef import REGISTRY, load_dialects

load_dialects()

STREAMED = "prog steps rows cols streams"
PLACED = "addr at"
REQUIRED = {
    "graph": {
        "batchnorm": "eps", "concat": "axis", "delay": "state shape steps", "delay_next": "state",
        "dropout": "rate stream", "expand": "shape", "neuron": "dynamics", "output": "name",
        "pad": "low high", "param": "name resource", "pool": "kind kernel", "reduce": "kind axes",
        "reduce_time": "kind", "reshape": "shape", "slice": "starts ends", "softmax": "axis",
        "spike": "compare", "transpose": "perm", "unary": "fn",
    },
    "ew": {
        "cast": "to", "const": "value", "expand": "shape", "iota": "shape axis",
        "rand": "shape stream", "spike": "compare", "srnd": "stream", "table": "fn",
    },
    "phase": {
        "concat": "axis", "conv_dw": "shape", "conv_dx": "shape", "expand": "shape",
        "output": "name", "pad": "low high", "param": "name", "pool": "kind kernel",
        "pool_dx": "kind kernel shape", "reduce": "kind axes", "reduce_time": "kind",
        "reshape": "shape", "scan": "carried seqs captured steps", "select_time": "steps",
        "slice": "starts ends", "slice_dx": "starts strides shape", "softmax_ce": "scale batch",
        "state": "name", "store": "name", "sum_to": "shape", "total": "factor",
        "transpose": "perm",
    },
    "tile": {
        "dram": "name role", "export": "name", "loop": "trips", "parallel": "trips",
        "sram": "name slots", "steps": "trips", "task": "name id", "ew": STREAMED,
        "neuron": STREAMED, "ngrad": STREAMED,
        **dict.fromkeys(
            (
                "bmac", "bmacw", "colsum", "copy", "fill", "gacc", "gaccw", "gouter", "gouterw",
                "ld", "mac", "macw", "mcast", "outer", "outerw", "pool", "poolgrad", "recv",
                "recvadd", "rowred", "send", "st", "transpose",
            ),
            PLACED,
        ),
    },
    "core": {"buffer": "number name address bytes", "buffer_end": "number"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_what_an_op_needs(name: str) -> None:
    """Passes read these without asking whether they are there."""
    dialect, _, kind = name.partition(".")
    needed = [key for key, attribute in REGISTRY[name].attrs.items() if attribute.required]
    assert sorted(needed) == sorted(REQUIRED[dialect].get(kind, "").split())


def test_every_op_in_the_list_exists() -> None:
    listed = {f"{dialect}.{kind}" for dialect, kinds in REQUIRED.items() for kind in kinds}
    assert listed <= set(REGISTRY)
