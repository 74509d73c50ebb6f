"""The recipes for a pass, a machine, an error and a configuration key, done in a copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipes.workshop import Workshop

pytestmark = pytest.mark.slow

PASS = '''"""Write down how many multiplications a module has.

Sets the module's attribute ``multiplications``; ops stay as they are.
"""

from __future__ import annotations

from snncc.compiler.ir.core import Module
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass


@compiler_pass(takes="graph")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Count the multiplications."""
    found = sum(op.name == "graph.mul" for op in module.walk())
    if module.attrs.get("multiplications") == found:
        return False
    module.attrs["multiplications"] = found
    return True
'''
NETWORK = """network small
input(4, steps=2, static=false)
dense(3)
lif
output(spk)
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop(tmp_path_factory.mktemp("copy"))
    (made.root / "small.snn").write_text(NETWORK, encoding="utf-8")
    return made


def test_a_pass_is_one_file_and_its_place(workshop: Workshop) -> None:
    (workshop.root / "compiler/passes/graph/count_products.py").write_text(PASS, encoding="utf-8")
    listed = workshop.snncc("opt", "--list-passes")
    assert "count-products" in listed
    text = workshop.snncc("opt", "small.snn", "-p", "count-products")
    assert "multiplications = 0" in text


def test_a_machine_is_one_file(workshop: Workshop) -> None:
    small = (workshop.root / "isa/machines/small.toml").read_text(encoding="utf-8")
    mine = small.replace('name = "small"', 'name = "mine"').replace("cores = 4", "cores = 2", 1)
    mine = mine.replace("rows = 2", "rows = 1", 1)
    (workshop.root / "isa/machines/mine.toml").write_text(mine, encoding="utf-8")
    assert "mine" in workshop.snncc("targets")
    workshop.snncc("compile", "small.snn", "--target", "mine", "-o", "small.snnx")
    found = json.loads(workshop.snncc("dis", "small.snnx", "--json"))
    assert found["machine"]["name"] == "mine"
    assert len(found["cores"]) <= 2


def test_an_error_is_one_row(workshop: Workshop) -> None:
    workshop.append(
        "isa/diagnostics/errors.py",
        '\n\ndefine("E0098", "a test\'s error", "It is only here to be listed.")\n',
    )
    assert "E0098" in workshop.snncc("report", "errors", "--format", "md")
    code = (
        "from snncc.compiler.diag import fail\n"
        "fail('E0098', 'seven is not eight', 'net.snn:3', help='write 8')\n"
    )
    told = workshop.run("-c", code, fails=True)
    assert "error[E0098]: seven is not eight" in told
    assert "help: write 8" in told


def test_a_configuration_key_is_one_row(workshop: Workshop, tmp_path: Path) -> None:
    schema = workshop.root / "compiler/config/schema.py"
    text = schema.read_text(encoding="utf-8")
    row = '    Key("training.warm_up", "int", 0, "steps before the full learning rate", low=0),\n'
    begin = "KEYS: tuple[Key, ...] = (\n"
    assert text.count(begin) == 1
    schema.write_text(text.replace(begin, begin + row), encoding="utf-8")
    assert "| `training.warm_up` |" in workshop.snncc("report", "config", "--format", "md")
    config = tmp_path / "bad.toml"
    config.write_text("[training]\nwarm_up = -1\n", encoding="utf-8")
    told = workshop.run("-m", "snncc", "check", "small.snn", "--config", str(config), fails=True)
    assert "error[E0352]" in told
    assert "warm_up" in told
