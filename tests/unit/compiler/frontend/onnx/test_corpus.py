"""All reference models: imported, compared with onnxruntime where it runs them, in time."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnx_models import agree, load, run_file, run_module
from snncc.compiler.diag import CompileError

pytestmark = pytest.mark.needs_corpus
LIBRARIES = ("norse", "sinabs", "snntorch", "spikingjelly", "spikingjelly014", "recipes")
REFUSED = {"r9_sj014_pythonop_atan.ts.onnx": "E0106", "r9_sj014_pythonop_sigmoid.ts.onnx": "E0106",
           "r5_scripted_loop.ts.onnx": "E0108"}  # fmt: skip
EXACT = 1 << 24


def config_of(path: Path) -> tuple[dict[str, Any], Path | None]:
    stem = path.name.split(".")[0]
    if path.parent.name == "spikingjelly014":
        stem = stem.removesuffix("_m").removesuffix("_s")
    for found in sorted(path.parent.glob(f"{stem}*.toml")):
        if found.name[:-5] in (stem, f"{stem}.train", f"{stem}.eval"):
            return tomllib.loads(found.read_text()), found.with_suffix(".npz")
    return {}, None


@pytest.mark.parametrize("library", LIBRARIES)
def test_every_file(corpus: Path, library: str) -> None:
    for path in sorted((corpus / "onnx" / library).glob("*.onnx")):
        config, data = config_of(path)
        if path.name in REFUSED:
            with pytest.raises(CompileError) as caught:
                load(path)
            assert caught.value.diagnostics[0].code == REFUSED[path.name]
            continue
        module = load(
            path,
            steps=config.get("timesteps"),
            time_axis=config.get("time_axis"),
            batch_in_time_axis=config.get("batch_in_time_axis", False),
        )
        held = f"T{module.steps}." in path.name or f"unroll{module.steps}." in path.name
        plain = "customop" not in path.name and data is not None and data.exists()
        if not (held and plain and data is not None):
            continue
        with np.load(data) as arrays:
            x = arrays["x"].astype(np.float32)
        agree(run_module(module, x), run_file(path, x))
