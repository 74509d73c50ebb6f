"""First weights of a .snn network from an npz beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.dsl.args import Args
from snncc.compiler.frontend.dsl.net import Array
from snncc.isa.files.array_file import ArrayFileError, read_arrays


def read_weights(args: Args, folder: Path) -> dict[str, Array]:
    """Read the arrays; ``param/NAME``, as runs write them, is the same as ``NAME``."""
    where = args.span("file")
    path = (folder / args.word("file")).resolve()
    if folder.resolve() not in path.parents:
        fail("E0125", "the weights lie outside the model's folder", where)
    try:
        found = {n.removeprefix("param/"): a for n, a in read_arrays(path).items()}
    except (OSError, ArrayFileError) as error:
        fail("E0125", f"cannot read the weights: {str(error)[:200]}", where)
    for name, array in found.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            fail("E0125", f"{name} does not hold finite numbers", where)
    return found
