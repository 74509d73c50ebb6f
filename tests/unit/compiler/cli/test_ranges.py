"""Numbers that an option does not take are refused before anything is read."""

import pytest
from click.testing import CliRunner

from snncc.compiler.cli.main import cli


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[(f"{command} --batch", 0) for command in ("check", "export", "compile", "train")],
        *[(f"{command} --cores", 0) for command in ("demo", "compile", "run")],
        *[(f"{command} --epochs", 0) for command in ("demo", "train")],
        ("run --max-instructions", 0),
        ("compile -O", -1), ("compile -O", 4), ("opt -O", -1), ("opt -O", 4),
        ("dis --core", -1),
    ],
)  # fmt: skip
def test_numbers_out_of_range(option: str, value: int) -> None:
    done = CliRunner().invoke(cli, [*option.split(), str(value)])
    assert done.exit_code == 2
    assert f"{value} is not in the range" in done.output
