"""Timing-only simulation: cycles, energy and traffic of networks too large to compute.

Training steps on 20 cores at 10 % density; turns of loops that repeat exactly may be left out.
The peer is a number: 1e8 core-cycles per second, and a minute for VGG-16 on ImageNet shapes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.common import Case, Side
from benchmarks.vgg import vgg_onnx

DENSITY = 0.1
MEMORY = 1 << 36
"""Bytes of DRAM: the activations of VGG-16 at batch 16 need more than the default machine has."""


def _system(name: str, size: int, batch: int, dense: tuple[int, ...]) -> tuple[Side, float, int]:
    """Compile a network; return its run, the core-cycles of one, and its instructions."""
    from snncc.compiler.config.config import parse_config
    from snncc.compiler.driver import api
    from snncc.isa.machine.machine import load_machine
    from snncc.isasim.measure.activity import Expected
    from snncc.isasim.system import RunOptions, System

    config = parse_config('timesteps = 4\ntime_axis = 0\n[readout]\nreduce = "sum"')
    folder = Path(tempfile.mkdtemp(prefix="snncc-bench-"))
    machine = folder / "machine.toml"
    machine.write_text(load_machine("multicore20").with_(**{"dram.bytes": MEMORY}).to_toml())
    path = vgg_onnx(folder / f"{name}.onnx", name, size=size, steps=4, batch=batch, dense=dense)
    program = api.compile(api.load(path, config=config, batch=batch), target=str(machine))
    path.unlink()
    system = System(program.object_file, RunOptions(source=Expected({}, DENSITY)))
    result = system.run()
    assert result.exit_code == 0, result.fault
    return system.run, result.cycles * float(len(program.object_file.cores)), result.instructions


def _rate() -> tuple[Side, Side | None, str]:
    run, work, instructions = _system("vgg11", 32, 4, (512, 10))
    note = f"{work:.3g} core-cycles, {instructions} instructions"
    return run, None, note


def _imagenet() -> tuple[Side, Side | None, str]:
    run, work, instructions = _system("vgg16", 224, 16, (4096, 4096, 1000))
    return run, None, f"{work:.3g} core-cycles, {instructions} instructions"


def cases() -> list[Case]:
    """Return the cases of DESIGN section 8."""
    return [
        Case("timing-only/vgg11-cifar", "2.6 s: 1e8 core-cycles/s", _rate, budget=2.6),
        Case("timing-only/vgg16-imagenet", "a minute", _imagenet, budget=60.0),
    ]
