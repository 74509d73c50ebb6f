"""How well compiled training steps use the chip: utilisation, traffic, speed-up, size of the code.

No seconds are measured here.  A step runs in full on the default machine, bit by bit; its time is
compared with the bound of an ideal program and its DRAM bytes with what recomputation needs
(``step`` of ``snncc run --stats``, docs/design/step-bound.md).  ``speedup`` compares simulations
without values, at the densities that the full run counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import convnets, trainstep
from benchmarks.common import Finding
from benchmarks.compiling import resnet18, vgg11
from benchmarks.models import mlp_onnx

VGG5: tuple[convnets.Layer, ...] = (64, "M", 128, 128, "M")
CIFAR = (3, 32, 32)
SPIKFORMER = Path(__file__).resolve().parent.parent / "models" / "spikformer.snn"
UTILISATION = {
    "resnet18-b16": 0.70, "resnet18-b4": 0.70, "vgg11-b16": 0.70, "vgg11-b4": 0.60,
    "mlp-b128": 0.60, "vgg5-b16": 0.45, "csnn-b16": 0.35, "spikformer-b16": 0.30,
}  # fmt: skip
"""The least share of the bound that a step should reach."""
TRAFFIC = {
    "resnet18-b16": 2.0, "vgg11-b4": 1.3, "vgg11-b16": 1.3, "vgg5-b16": 1.3, "mlp-b128": 1.3,
    "csnn-b16": 1.3,
}  # fmt: skip
"""The most DRAM bytes, as a multiple of what recomputation needs."""
SPEEDUP, CODE_BYTES = 16.0, 800_000
COMPARED = "resnet18-b16"
"""The network whose speed-up and code are looked at."""


@dataclass(frozen=True)
class _Step:
    """A training step: its program, made for a number of cores (None: all), and its data."""

    compile: Callable[[int | None], Any]
    data: Callable[[], tuple[np.ndarray, np.ndarray]]


def _written(text: str, shape: tuple[int, int, int], batch: int) -> _Step:
    def compile_for(cores: int | None) -> Any:
        from snncc.compiler.driver import api

        path = Path(tempfile.mkdtemp(prefix="snncc-bench-"), "net.snn")
        path.write_text(text)
        return api.compile(api.load(path, batch=batch), cores=cores)

    return _Step(compile_for, lambda: convnets.inputs(shape, batch))


def _mlp(cores: int | None) -> Any:
    from snncc.compiler.driver import api

    path = mlp_onnx(
        Path(tempfile.mkdtemp(prefix="snncc-bench-"), "mlp.onnx"),
        steps=trainstep.STEPS, batch=trainstep.BATCH, sizes=trainstep.SIZES, beta=trainstep.BETA,
    )  # fmt: skip
    model = api.load(path, config=trainstep.configuration(), batch=trainstep.BATCH)
    return api.compile(model, cores=cores)


def _steps() -> dict[str, _Step]:
    csnn = convnets.network((1, 28, 28), convnets.CSNN, (512,))
    vgg5 = convnets.network(CIFAR, VGG5, (1024,))
    return {
        "resnet18-b16": _written(resnet18(), CIFAR, 16),
        "resnet18-b4": _written(resnet18(), CIFAR, 4),
        "vgg11-b16": _written(vgg11(), CIFAR, 16),
        "vgg11-b4": _written(vgg11(), CIFAR, 4),
        "mlp-b128": _Step(_mlp, lambda: trainstep.inputs(10)),
        "vgg5-b16": _written(vgg5, CIFAR, 16),
        "csnn-b16": _written(csnn, (1, 28, 28), 16),
        "spikformer-b16": _written(SPIKFORMER.read_text(encoding="utf-8"), CIFAR, 16),
    }


def full_run(step: _Step) -> tuple[Any, dict[str, Any]]:
    """Compile and run a step; return the program and its statistics with ``step``."""
    from snncc.compiler.driver.estimated import with_estimate
    from snncc.compiler.driver.simulate import LoadedProgram

    program = step.compile(None)
    chip = LoadedProgram(program.object_file, program.interface, folder=program.folder)
    x, y = step.data()
    return program, with_estimate(chip.run(x, y).stats, program.object_file)


def _timed(program: Any, stats: dict[str, Any]) -> int:
    """Return the cycles of a program at the densities of a run."""
    from snncc.isasim.measure.activity import Expected
    from snncc.isasim.system import RunOptions, System

    layers = {(one["name"], one["phase"]): one["density"] for one in stats["layers"]}
    result = System(program.object_file, RunOptions(source=Expected(layers))).run()
    assert result.exit_code == 0, result.fault
    return result.cycles


def findings(only: str = "") -> Iterator[Finding]:
    """Yield what is found; ``only``: rows whose name contains it, other steps are not run."""
    for name, step in _steps().items():
        rows = [f"utilisation/{name}"]
        rows += [f"step-traffic/{name}"] if name in TRAFFIC else []
        if name == COMPARED:
            rows += [f"speedup/{name}", "code-bytes/resnet18-20-cores"]
        if any(only in row for row in rows):
            yield from (row for row in _of_step(name, step) if only in row.name)


def _of_step(name: str, step: _Step) -> Iterator[Finding]:
    program, stats = full_run(step)
    judged = stats["step"]
    note = f"{stats['cycles']} cycles, bound {judged['cycles']:.0f} ({judged['limit']})"
    yield Finding(
        f"utilisation/{name}", judged["utilisation"], None, "of the bound", UTILISATION[name],
        higher=True, note=note,
    )  # fmt: skip
    if name in TRAFFIC:
        moved = sum(stats["dram_bytes"].values())
        yield Finding(
            f"step-traffic/{name}", moved, judged["recomputing_bytes"], "bytes", TRAFFIC[name],
            note=f"{moved / judged['compulsory_bytes']:.2f} x the compulsory bytes",
        )  # fmt: skip
    if name == COMPARED:
        alone, together = _timed(step.compile(1), stats), _timed(program, stats)
        yield Finding(
            f"speedup/{name}", alone / together, None, "times", SPEEDUP, higher=True,
            note=f"{together} cycles on 20 cores, {alone} on one, without values",
        )  # fmt: skip
        size = program.object_file.code_bytes
        yield Finding("code-bytes/resnet18-20-cores", size, None, "bytes", CODE_BYTES)
