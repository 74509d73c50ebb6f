"""`snncc demo`: the whole way once, on a small model that comes with snncc."""

from __future__ import annotations

import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from snncc.compiler.driver.api import Program
    from snncc.compiler.driver.stages import Recorder

MODEL = "mlp_digits"
GOAL = 0.93
COSINE = 0.97  # what rounding to binary16 may change in a gradient
STAGES = {
    "graph": "layers, neurons and time",
    "phased": "one training step: forward, backward, weight gradients, update",
    "tiled": "loops and buffers that fit a scratchpad",
    "mapped": "work dealt out to cores, barriers between tasks",
    "core": "instructions and addresses",
}


@click.command(short_help="Train a small network on a simulated chip (start here).")
@click.option("--target", default="multicore20", show_default=True, help="The machine.")
@click.option("--cores", type=click.IntRange(1), default=4, show_default=True)
@click.option("--epochs", type=click.IntRange(1), default=8, show_default=True)
def demo(target: str, cores: int, epochs: int) -> None:
    """Compile a shipped model, check one step against PyTorch, then train it in simulated FP16.

    The model is a 64-128-10 network of snnTorch's Leaky neurons for 8x8 digits.
    """
    shipped = files("snncc.models")
    with as_file(shipped / f"{MODEL}.onnx") as onnx, as_file(shipped / f"{MODEL}.npz") as npz:
        with as_file(shipped / f"{MODEL}.toml") as toml:
            _demo(onnx, npz, toml, target, cores, epochs)


def _demo(onnx: Path, npz: Path, toml: Path, target: str, cores: int, epochs: int) -> None:
    from snncc.compiler.config.config import load_config
    from snncc.compiler.diag import fail
    from snncc.compiler.driver import api
    from snncc.compiler.driver.files import read_npz
    from snncc.compiler.driver.stages import Recorder

    began = time.perf_counter()
    config = load_config(toml)
    reference = read_npz(str(npz))
    model = api.load(onnx, config=config, x_shape=reference["x"].shape)
    click.echo(f"1. {onnx.name}, {model.steps} time steps, batch {model.batch}, for {target}\n")
    recorder = Recorder()
    program = api.compile(model, target=target, cores=cores, observers=[recorder])
    _show_stages(recorder, program)

    click.echo(
        f"\n2. One training step in FP16 on {cores} simulated cores, against PyTorch float32\n"
    )
    result = api.run(program, reference["x"], reference["y"])
    worst = _compare(result, reference)
    if worst < COSINE:
        fail("E0031", f"a gradient has cosine {worst:.4f} with PyTorch's, below {COSINE}", MODEL)
    assert result.stats is not None
    _show_costs(result.stats)

    click.echo(
        f"\n3. Training on scikit-learn's digits, {epochs} epochs, every operation in FP16\n"
    )
    history = _train(api, model, target, cores, epochs)
    accuracy = history.test_accuracy or 0.0
    costs = history.costs
    click.echo(
        f"\ntest accuracy {100 * accuracy:.1f} %; on the chip: {costs.cycles} cycles "
        f"({costs.seconds * 1e3:.3g} ms), {costs.energy_pj / 1e9:.3g} mJ, "
        f"{costs.dram_bytes / 1e6:.4g} MB of DRAM traffic"
    )
    click.echo(f"{time.perf_counter() - began:.0f} s on this computer")
    click.echo("\nnext: snncc check MODEL, snncc train --help, docs/api.md")
    if accuracy < GOAL:
        fail("E0030", f"test accuracy {100 * accuracy:.1f} %, expected {100 * GOAL:.0f} %", MODEL)


def _train(api: Any, model: Any, target: str, cores: int, epochs: int) -> Any:
    from snncc.compiler.cli.commands.progress import TrainProgress

    ready = api.prepare_training(model, "digits", epochs=epochs, target=target, cores=cores)
    with TrainProgress(epochs, ready.steps_per_epoch) as progress:
        history, _ = ready.fit(on_step=progress.on_step, on_epoch=progress.on_epoch)
    return history


def _show_stages(recorder: Recorder, program: Program) -> None:
    click.echo(f"  {'stage':8} {'passes':36} {'ops':>6} {'ms':>7}  what it is")
    for stage, what in STAGES.items():
        rows = [r for r in recorder.rows if r.stage == stage]
        if not rows:
            continue
        names = ", ".join(r.name for r in rows)
        spent = 1000 * sum(r.seconds for r in rows)
        shown = names if len(names) <= 36 else names[:33] + "..."
        click.echo(f"  {stage:8} {shown:36} {rows[-1].ops:6} {spent:7.1f}  {what}")
    made = program.object_file
    code = made.code_bytes
    click.echo(
        f"  program: {len(made.cores)} cores, {code} bytes of code, {len(made.tensors)} tensors, "
        f"{made.metadata.get('dram_bytes')} bytes of DRAM"
    )


def _compare(result: Any, reference: dict[str, Any]) -> float:
    """Print each gradient beside PyTorch's; return the smallest cosine."""
    import numpy as np

    click.echo(f"  {'':18} {'snncc':>12} {'PyTorch':>12}  cosine")
    click.echo(f"  {'loss':18} {float(result['loss']):12.5f} {float(reference['loss']):12.5f}")
    worst = 1.0
    for name in sorted(n for n in reference if n.startswith("grad/")):
        ours, theirs = result[name].ravel().astype(float), reference[name].ravel().astype(float)
        sizes = np.linalg.norm(ours), np.linalg.norm(theirs)
        cosine = float(ours @ theirs / (sizes[0] * sizes[1])) if all(sizes) else 0.0
        worst = min(worst, cosine)
        click.echo(f"  |{name}|".ljust(21) + f"{sizes[0]:12.5f} {sizes[1]:12.5f}  {cosine:.6f}")
    return worst


def _show_costs(stats: Any) -> None:
    traffic = stats["dram_bytes"]
    click.echo(
        f"\n  {stats['cycles']} cycles, {stats['energy_pj']['total'] / 1e6:.3g} uJ, DRAM "
        f"{traffic['read']} bytes read, {traffic['write']} written, "
        f"{traffic['instruction']} of instructions; "
        f"{stats['macs']['performed']} of {stats['macs']['dense']} MACs performed"
    )
