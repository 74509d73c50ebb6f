"""How long it takes to compile a training step for 20 cores: CIFAR shapes, T=4, batch 16.

The peer is a number of seconds.  The note says how many bytes of instructions come out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import convnets
from benchmarks.common import Case, Side

BATCH, CORES, BUDGET = 16, 20, 10.0


def resnet18() -> str:
    """Return a spiking ResNet-18 for CIFAR in the network language."""
    lines = [
        f"input(3x32x32, steps={convnets.STEPS}, static=true)",
        "init(seed=1, gain=1.4)",
        "let fire = if(reset=hard, surrogate=atan(alpha=2))",
        "conv(64, padding=1, bias=false)  bn  fire",
    ]
    for channels in (64, 128, 256, 512):
        for half in range(2):
            stride = 2 if channels > 64 and half == 0 else 1
            main = (
                f"conv({channels}, padding=1, stride={stride}, bias=false)  bn  fire  "
                f"conv({channels}, padding=1, bias=false)  bn"
            )
            short = f"conv({channels}, kernel=1, stride={stride}, bias=false)  bn"
            block = f"residual {{ {main} }}" + (f" {{ {short} }}" if stride > 1 else "")
            lines.append(f"{block}  fire")
    lines += ["avgpool(4)", "flatten", f"dense({convnets.CLASSES})"]
    lines.append(f"train {{ optimizer = sgd(lr={convnets.LR})  readout = mean }}")
    return "\n".join(lines) + "\n"


def vgg11() -> str:
    """Return the VGG-11 of the training-step benchmark."""
    return convnets.network((3, 32, 32), convnets.VGG11, ())


def _case(name: str, text: Callable[[], str]) -> Case:
    def prepare() -> tuple[Side, Side | None, str]:
        from snncc.compiler.driver import api

        path = Path(tempfile.mkdtemp(prefix="snncc-bench-"), f"{name}.snn")
        path.write_text(text())

        def run() -> Any:
            return api.compile(api.load(path, batch=BATCH))

        made = run().object_file
        return (
            run,
            None,
            f"{made.code_bytes / 1e6:.2f} MB of instructions on {len(made.cores)} cores",
        )

    return Case(f"compile/{name}-{CORES}-cores", "budget 10 s", prepare, budget=BUDGET)


def cases() -> list[Case]:
    """Return the compilation cases of DESIGN section 8."""
    return [_case("vgg11", vgg11), _case("resnet18", resnet18)]
