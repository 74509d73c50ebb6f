"""Arithmetic of an engine against stored results of Berkeley SoftFloat.

``arithmetic.npz`` comes from ``make_expected.py``: pairs of binary16 patterns with their sum,
difference, product and quotient, square roots, binary32 numbers rounded to binary16, and rows of
dot products that were accumulated in binary32, one term after the other.
"""

from __future__ import annotations

import io
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.cli.selftest.outcome import Wrong
from snncc.isa.microprograms.code import MicroBuilder
from snncc.isasim.engines import Engine, Resolved, prepare

Array: TypeAlias = npt.NDArray[Any]

BINARY = {"sum": "add.h", "difference": "sub.h", "product": "mul.h", "quotient": "div.h"}
"""Array of the file to micro-operation."""


def stored() -> dict[str, Array]:
    """Return operands and results."""
    data = (files("snncc.compiler.cli.selftest") / "arithmetic.npz").read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as box:
        return {name: box[name] for name in box.files}


def check_arithmetic(engine: Engine) -> int:
    """Compare an engine with what is stored; return the number of results, or raise Wrong."""
    data = stored()
    compared = 0
    for name, op in BINARY.items():
        compared += _same(op, _lanes(engine, op, data["x"], data["y"]), data[name])
    compared += _same("sqrt.h", _lanes(engine, "sqrt.h", data["x"]), data["root"])
    compared += _same("f2h", _lanes(engine, "f2h", data["wide"]), data["rounded"])
    compared += _same("mac", _dots(engine, data["a"], data["w"]), data["dots"])
    return compared


def _lanes(engine: Engine, op: str, *operands: Array) -> Array:
    """Run one micro-operation over vectors; return binary16 patterns."""
    kind = "ld.f" if operands[0].dtype == np.uint32 else "ld.h"
    builder = MicroBuilder("selftest")
    loaded = tuple(builder.emit(kind, (), slot) for slot in range(len(operands)))
    builder.emit("st.h", (builder.emit(op, loaded),), len(operands))
    count = operands[0].size
    bases = [0]
    for operand in operands:
        bases.append(bases[-1] + operand.nbytes + -operand.nbytes % 64)
    memory = np.zeros(bases[-1] + 2 * count, np.uint8)
    for base, operand in zip(bases, operands, strict=False):
        memory[base : base + operand.nbytes] = operand.view(np.uint8)
    sizes = [operand.nbytes for operand in operands] + [2 * count]
    streams = tuple((base, size, size) for base, size in zip(bases, sizes, strict=True))
    instruction = Resolved("ew", (0, 1, 1, count, 0), streams, prepare(builder.build()))
    engine.execute(instruction, memory)
    return memory[bases[-1] :].view(np.uint16).copy()


def _dots(engine: Engine, a: Array, w: Array) -> Array:
    """Multiply matrices of binary16 patterns; return the accumulators' patterns."""
    rows, depth = a.shape
    columns = w.shape[1]
    result = 4 * rows * columns
    second = result + a.nbytes
    memory = np.zeros(second + w.nbytes, np.uint8)
    memory[result:second] = a.reshape(-1).view(np.uint8)
    memory[second:] = w.reshape(-1).view(np.uint8)
    places = (0, 4 * columns, result, 2 * depth, second, 2 * columns)
    engine.execute(Resolved("mac", (*places, rows, depth, columns, 0, 0, 0, 0)), memory)
    return memory[:result].view(np.uint32).reshape(rows, columns).copy()


def _same(op: str, found: Array, expected: Array) -> int:
    wrong = np.flatnonzero(found.reshape(-1) != expected.reshape(-1))
    if wrong.size:
        at = int(wrong[0])
        got, right = int(found.reshape(-1)[at]), int(expected.reshape(-1)[at])
        raise Wrong(
            f"{op}: {wrong.size} of {expected.size} results are wrong, "
            f"number {at} is {got:#x}, not {right:#x}"
        )
    return expected.size
