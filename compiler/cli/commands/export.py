"""`snncc export`: a model as a NIR or ONNX file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from snncc.compiler.cli.commands.options import MODEL, config_options, read_config

FORMATS = (".nir", ".onnx")


@click.command(short_help="Write a model as NIR or ONNX.")
@MODEL
@click.option("-o", "--output", required=True, help="OUT.nir or OUT.onnx.")
@config_options
@click.option("--batch", type=click.IntRange(1), help="Samples per step (ONNX files fix it).")
@click.option("--dt", type=float, help="Time step of .nir files, in their unit.")
@click.option("--parameters", help="NPZ with trained parameters: weights.npz of `snncc train`.")
def export(
    model: str, output: str, config: str | None, batch: int | None, dt: float | None,
    parameters: str | None, **flags: Any,
) -> None:  # fmt: skip
    """Write MODEL as NIR (inference) or ONNX (neurons are functions of the domain ai.snncc).

    \b
      snncc export net.snn --parameters runs/1/weights.npz -o net.onnx
      snncc export net.onnx --config net.toml -o net.nir --dt 1e-4

    x and the outputs of the file are [T, B, ...]; where MODEL takes the same input at every step, x
    of an ONNX file is [B, ...] too, and a NIR file wants it repeated. What a format has no words
    for is an error.
    """
    from snncc.compiler.cli.commands.places import check_places
    from snncc.compiler.cli.commands.show import show_warnings
    from snncc.compiler.diag import fail
    from snncc.compiler.driver import api
    from snncc.compiler.driver.build import lower
    from snncc.compiler.driver.export_weights import put_weights

    check_places({"MODEL": model, "--config": config, "--parameters": parameters}, {"-o": output})
    path = Path(output)
    if path.suffix.lower() not in FORMATS:
        fail("E0024", f"{path.suffix or 'no suffix'} is no format to export to", output,
             help="-o OUT.nir or OUT.onnx")  # fmt: skip
    loaded = api.load(model, config=read_config(config, flags), batch=batch, dt=dt)
    show_warnings(loaded.warnings)
    module, _ = lower(loaded.graph, "configure", config=loaded.config, mode="train")
    if parameters:
        put_weights(module, parameters)
    if path.suffix.lower() == ".nir":
        from snncc.compiler.export.nir import export_nir

        step = export_nir(module, path, dt)
        print(f"{output}: the time step is {step:g}; NIR does not hold it", file=sys.stderr)
        return
    from snncc.compiler.export.onnx import export_onnx

    export_onnx(module, path)
    moving = any(arg.type.kind == "seq" for arg in module.func("main").body.args)
    flags_ = f"--timesteps {module.steps}" + (" --time-axis 0" if moving else "")
    print(f"{output}: {module.steps} steps, batch {module.batch}; read it with {flags_}",
          file=sys.stderr)  # fmt: skip
