"""Build the wheel, install it in a clean environment outside the repository, compile a model there.

This finds what an editable install hides: packages and data files that the wheel lacks, and
dependencies that only the developers' tools bring along.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from guards.tree import ROOT

# Run by the clean environment: the path of a model that the wheel ships.
FIND_MODEL = """
import importlib.resources, sys
shipped = importlib.resources.files("snncc.models")
found = sorted(str(f) for f in shipped.rglob("*") if f.suffix in (".snn", ".onnx"))
print(found[0] if found else sys.exit("the wheel ships no model"))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, show it, and return what it prints on stdout; stop at the first failure."""
    print("+", *command, flush=True)
    # Variables that would let the clean environment see this one.
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=env, check=False, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}wheel-smoke: exit code {done.returncode}")
    return done.stdout


def main() -> None:
    """Go through the steps of a user who installs the wheel."""
    with tempfile.TemporaryDirectory(prefix="snncc-wheel-") as name:
        there = Path(name)
        # The wheel comes from the source archive, not from the tree: no stale build folder counts.
        run(sys.executable, "-m", "build", "--outdir", there / "dist", ROOT, cwd=there)
        (wheel,) = (there / "dist").glob("*.whl")
        venv.create(there / "venv", with_pip=True)
        programs = there / "venv" / ("Scripts" if os.name == "nt" else "bin")
        run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=there)

        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        printed = run(programs / "snncc", "--version", cwd=there)
        if version not in printed:
            sys.exit(f"wheel-smoke: `snncc --version` printed {printed!r}, not {version}")
        model = run(programs / "python", "-I", "-c", FIND_MODEL, cwd=there).strip()
        run(programs / "snncc", "compile", model, "-o", "smoke.snnx", cwd=there)
        if not (there / "smoke.snnx").stat().st_size:
            sys.exit("wheel-smoke: the compiled program is empty")
    print(f"wheel-smoke: {wheel.name} installs and compiles {Path(model).name}")


if __name__ == "__main__":
    main()
