"""Importing NIR models: the entry of the NIR frontend (docs/nir.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snncc.compiler.diag import DiagnosticSink, fail
from snncc.compiler.frontend.nir.build import NirBuilder
from snncc.compiler.frontend.nir.file import NirGraph, read_nir
from snncc.compiler.frontend.nir.graph import FlatNir, flatten
from snncc.compiler.frontend.nir.layers import CONVOLUTIONS, MATRICES, POOLS, need
from snncc.compiler.frontend.nir.time import find_dt
from snncc.compiler.ir.core import Module

MAX_ELEMENTS = 1 << 28


def import_nir(
    path: Path,
    *,
    steps: int | None = None,
    batch: int | None = None,
    x_shape: Sequence[int] | None = None,
    dt: float | None = None,
    sink: DiagnosticSink | None = None,
) -> Module:
    """Read a NIR file into a graph-stage module.

    ``x_shape`` is the shape of the input that will be given, [T, B, ...]; ``steps`` and ``batch``
    count where it is not known; ``dt`` is the time step in the file's unit.  Warnings go to
    ``sink``; faults raise ``CompileError``.
    """
    return import_graph(
        *read_nir(path), path, steps=steps, batch=batch, x_shape=x_shape, dt=dt, sink=sink
    )


def import_graph(
    graph: NirGraph,
    version: str,
    path: Path,
    *,
    steps: int | None = None,
    batch: int | None = None,
    x_shape: Sequence[int] | None = None,
    dt: float | None = None,
    sink: DiagnosticSink | None = None,
) -> Module:
    """Make a module of a graph that was read from ``path``, as :func:`import_nir`."""
    sink = sink if sink is not None else DiagnosticSink()
    file = str(path)
    flat = flatten(graph, file)
    sample = _sample(flat, x_shape, file)
    if x_shape is not None:
        _refuse_without_batch(flat.input, sample, tuple(x_shape), file)
    if x_shape is not None and len(x_shape) > 2:
        steps, batch = steps or x_shape[0], batch or x_shape[1]
    if steps is None:
        sink.warning("E0111", "nothing says how many time steps to run; 1 is assumed", file,
                     help="set timesteps in the configuration")  # fmt: skip
    total, samples = steps or 1, batch or 1
    elements = total * samples
    for d in sample:
        elements *= d
    if elements > MAX_ELEMENTS:
        fail("E0103", f"an input of {total} steps, batch {samples}, {sample} is absurd", file)
    found, source = find_dt(((n, x.node) for n, x in flat.nodes.items()), dt, file, sink)
    module = Module(path.stem)
    builder = NirBuilder(flat, file, total, found, sink, module)
    builder.run(sample, samples)
    module.attrs.update(
        {
            "stage": "graph",
            "steps": total,
            "batch": samples,
            "source": path.name,
            "producer": f"NIR {version}".strip(),
            "dt": found,
            "dt_origin": source,
            "inputs": {flat.input: {"axis": 0}},
            "states": (),
        }
    )
    return module


def _refuse_without_batch(
    name: str, sample: tuple[int, ...], x_shape: tuple[int, ...], file: str
) -> None:
    """Refuse an input [T, ...] of one sample: NIR networks take [T, B, ...]."""
    shown = "".join(f", {d}" for d in sample)
    if x_shape[1:] == sample and x_shape[2:] != sample:
        fail(
            "E0022",
            f"x of shape {list(x_shape)} has no batch axis: a NIR network takes [T, B{shown}]",
            f"{file}:{name}",
            help=f"give one sample as [{x_shape[0]}, 1{shown}]: x[:, None]",
        )


def _sample(flat: FlatNir, x_shape: Sequence[int] | None, file: str) -> tuple[int, ...]:
    """Return the shape of one sample: the file's, without a batch axis that some writers leave."""
    node = flat.nodes[flat.input].node
    where = f"{file}:{flat.input}"
    shape = tuple(int(d) for d in need(node, "shape", where).reshape(-1))
    if not shape or min(shape) < 1 or len(shape) > 8 or max(shape) > MAX_ELEMENTS:
        fail("E0103", f"the input has shape {list(shape)}", where)
    given = tuple(x_shape[2:]) if x_shape is not None and len(x_shape) > 2 else None
    rank = len(shape)
    for x in flat.nodes.values():
        if flat.input in x.ins:
            if x.kind in MATRICES:
                rank = 1
            elif x.kind in CONVOLUTIONS:
                rank = 2 if x.kind == "Conv1d" else 3
            elif x.kind in POOLS:
                rank = 3
            break
    ones = next((i for i, d in enumerate(shape) if d != 1), len(shape) - 1)
    tails = [shape[i:] for i in range(ones + 1)]
    if given is not None and given in tails:
        return given
    if x_shape is not None and tuple(x_shape[1:]) in tails:
        return tuple(x_shape[1:])  # the batch axis is missing, which is told
    extra = max(0, min(ones, len(shape) - rank))
    return shape[extra:]
