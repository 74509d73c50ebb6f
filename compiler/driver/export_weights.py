"""Trained parameters in the place of a model's own."""

from __future__ import annotations

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.driver.files import read_npz
from snncc.compiler.ir.core import Module


def put_weights(module: Module, file: str) -> None:
    """Replace the parameters of a graph module by those of an npz: NAME or param/NAME."""
    params = {op.str_attr("name"): op for op in module.walk() if op.name == "graph.param"}
    names = [prefix + name for name in params for prefix in ("", "param/")]
    found = {k.removeprefix("param/"): v for k, v in read_npz(file, names).items()}
    if not found:
        fail("E0021", "the file holds none of the model's parameters", file,
             help=f"the model has {', '.join(list(params)[:12])}")  # fmt: skip
    for name, array in found.items():
        op = params[name]
        inner = array.T if op.bool_attr("transpose", False) else array
        old = module.resources[op.str_attr("resource")]
        if inner.shape != old.shape:
            fail("E0022", f"{name} has shape {list(array.shape)}, another than the model's", file)
        key = f"{op.str_attr('resource')}@trained"
        module.resources[key] = np.ascontiguousarray(inner, np.float32)
        op.attrs["resource"] = key
