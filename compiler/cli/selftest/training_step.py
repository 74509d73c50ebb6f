"""One training step of a shipped network against its stored bits.

``training_step.json`` holds a digest of every result; ``make_expected.py`` made it with the
reference engine on one core.  Here the engine and the cores are those of a usual run.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from snncc.compiler.cli.selftest.outcome import Wrong

if TYPE_CHECKING:
    from snncc.compiler.driver.api import Result

MODEL = "mlp_digits"
EXPECTED = "training_step.json"


def step(engine: str, cores: int) -> Result:
    """Compile the model and run one step on its shipped inputs."""
    from snncc.compiler.driver import api
    from snncc.compiler.driver.files import read_npz

    shipped = files("snncc.models")
    with (
        as_file(shipped / f"{MODEL}.onnx") as onnx,
        as_file(shipped / f"{MODEL}.npz") as npz,
        as_file(shipped / f"{MODEL}.toml") as toml,
    ):
        arrays = read_npz(str(npz), ("x", "y"))
        model = api.load(onnx, config=toml, x_shape=arrays["x"].shape)
        program = api.compile(model, cores=cores)
        return api.run(program, arrays["x"], arrays["y"], engine=engine)


def digests(result: Result) -> dict[str, str]:
    """Return a digest of type, shape and bits of every array."""
    found: dict[str, str] = {}
    for name in sorted(result):
        array = result[name]
        text = f"{array.dtype.str} {array.shape} ".encode()
        found[name] = hashlib.sha256(text + array.tobytes()).hexdigest()[:32]
    return found


def check_training_step() -> int:
    """Run the step; return the number of arrays compared, or raise Wrong."""
    place = files("snncc.compiler.cli.selftest") / EXPECTED
    expected: dict[str, str] = json.loads(place.read_text(encoding="utf-8"))["results"]
    found = digests(step("fast", cores=4))
    wrong = [name for name in expected if found.get(name) != expected[name]]
    wrong += [name for name in found if name not in expected]
    if wrong:
        raise Wrong(f"{MODEL}: {', '.join(wrong)} differ from what is stored")
    return len(expected)
