"""The commands in this process, through click's runner."""

from importlib.resources import files
from pathlib import Path

from click.testing import CliRunner, Result

from snncc.compiler.cli.main import cli

SHIPPED = Path(str(files("snncc.models")))
DIGITS = SHIPPED / "mlp_digits.onnx"
CONFIG = SHIPPED / "mlp_digits.toml"
BATCH = SHIPPED / "mlp_digits.npz"


def snncc(*words: object, stdin: bytes | None = None) -> Result:
    """Run a command; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(cli, [str(w) for w in words], input=stdin, prog_name="snncc")


def refused(done: Result, code: str, exit_code: int = 1) -> str:
    """Check that a command ended with one clear error; return its text."""
    assert done.exit_code == exit_code, done.output
    assert f"error[{code}]" in done.stderr, done.stderr
    assert "Traceback" not in done.output
    assert len(done.stderr) < 4000
    return done.stderr
