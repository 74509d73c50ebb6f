from pathlib import Path

import pytest

from guards.layers import FOLDERS, imports, source_files, violations

ROOT = Path(__file__).resolve().parents[2]


def test_sources_keep_to_their_layers() -> None:
    assert violations(ROOT) == []


def test_the_walk_sees_the_sources() -> None:
    modules = {module for _, module in source_files(ROOT)}
    assert {f"snncc.{folder}" for folder in FOLDERS} <= modules
    assert {"snncc.compiler.passes.graph", "snncc.compiler.cli"} <= modules


def plant(root: Path, file: str, text: str) -> None:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


FORBIDDEN = [
    ("isa/cost/cost.py", "import networkx", "isa imports networkx"),
    ("isa/cost/cost.py", "from snncc.compiler import diag", "isa must not import"),
    ("assembler/parse.py", "from snncc.isasim.core import Core", "assembler must not import"),
    (
        "isasim/core.py",
        "def f():\n    from snncc.compiler.ir import core",
        "core.py:2: isasim must",
    ),
    ("isasim/core.py", "import importlib\nimportlib.import_module('snncc.assembler')", "must not"),
    ("isasim/core.py", "from ..assembler import parse", "must not import snncc.assembler.parse"),
    ("compiler/backend/emit.py", "import snncc.assembler.parse", "compiler must not import"),
    ("compiler/ir/core.py", "from snncc import isasim", "compiler must not import snncc.isasim"),
    ("compiler/backend/emit.py", "from snncc.compiler.cli import main", "nothing imports the comm"),
    ("compiler/api.py", "from .cli.main import main", "nothing imports the command line"),
    ("isasim/core.py", "from isa.spec import Insn", "import snncc.isa.spec.Insn, not the folder"),
    ("models/make.py", "from snncc.compiler.ir import core", "models must not import"),
    ("models/make.py", "from snncc.isa import fp16", "models must not import"),
    ("compiler/diag.py", "from snncc.compiler.ir import core", "diag must not reach compiler/ir"),
    ("compiler/ir/core.py", "from ..pipeline import registry", "ir must not reach compiler/pipe"),
    ("compiler/pipeline/x.py", "from ..passes.graph import dce", "pipeline must not reach"),
    ("compiler/passes/graph/x.py", "from snncc.compiler.backend import emit", "passes must not"),
    ("compiler/passes/graph/x.py", "from ...frontend import onnx", "passes must not reach"),
    ("compiler/frontend/x.py", "from snncc.compiler.pipeline import spec", "frontend must not"),
    ("compiler/passes/graph/x.py", "from ..tiling import search", "passes/graph must not import"),
    ("compiler/passes/graph/x.py", "import snncc.compiler.passes.tiling.search", "passes/graph"),
    ("compiler/interp/x.py", "from snncc.compiler.passes.tiling import x", "interp must not reach"),
    ("compiler/interp/x.py", "from snncc.compiler.backend import emit", "interp must not reach"),
    ("compiler/config/x.py", "from snncc.compiler.pipeline import spec", "config must not reach"),
    ("compiler/frontend/x.py", "from snncc.compiler.export import onnx", "frontend must not reach"),
    ("compiler/driver/x.py", "from snncc.compiler.cli.main import main", "nothing imports the com"),
    ("compiler/__init__.py", "from snncc.compiler.ir import core", "must import nothing"),
]


@pytest.mark.parametrize(("file", "text", "message"), FORBIDDEN)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, text: str, message: str) -> None:
    plant(tmp_path, file, text)
    found = violations(tmp_path)
    assert len(found) == 1
    assert file in found[0]
    assert message in found[0]


ALLOWED = [
    ("isa/spec.py", "import dataclasses, numpy as np\nfrom . import fp16\nfrom snncc.isa import x"),
    ("isasim/core.py", "import numba\nfrom snncc.isa.spec import Insn"),
    ("compiler/cli/main.py", "from snncc.isasim import core\nfrom snncc.assembler import parse"),
    ("compiler/backend/emit.py", "from ..passes.mapping import route\nfrom snncc.isa import spec"),
    ("compiler/pipeline/registry.py", "import_module('snncc.compiler.passes')"),
    ("compiler/passes/graph/x.py", "from ..tiling.kit.cost import bytes"),
    ("compiler/passes/graph/x.py", "from . import y\nfrom ...pipeline.registry import rule"),
    ("compiler/api.py", "from .backend import emit\nfrom .frontend import onnx"),
    ("models/make.py", "import onnx\nfrom . import shapes"),
]


@pytest.mark.parametrize(("file", "text"), ALLOWED)
def test_what_the_layers_allow(tmp_path: Path, file: str, text: str) -> None:
    plant(tmp_path, file, text)
    assert list(imports(tmp_path))
    assert violations(tmp_path) == []


def test_a_circle_of_folders_is_found(tmp_path: Path) -> None:
    for folder in (
        "isasim/__init__.py",
        "isasim/machine/__init__.py",
        "isasim/observe/__init__.py",
    ):
        plant(tmp_path, folder, "")
    plant(tmp_path, "isasim/machine/chip.py", "from snncc.isasim.observe.hooks import Hook")
    plant(tmp_path, "isasim/observe/trace.py", "from snncc.isasim.machine.core import Core")
    (found,) = violations(tmp_path)
    assert "isasim/machine/chip.py:1: snncc.isasim.machine imports snncc.isasim.observe" in found
    assert "isasim/observe/trace.py:1: snncc.isasim.observe imports snncc.isasim.machine" in found


def test_files_beside_folders_are_floors_of_their_own(tmp_path: Path) -> None:
    for file in ("isasim/__init__.py", "isasim/machine/__init__.py", "isasim/faults.py"):
        plant(tmp_path, file, "")
    plant(tmp_path, "isasim/machine/chip.py", "from snncc.isasim.faults import Trap")
    plant(tmp_path, "isasim/system.py", "from snncc.isasim.machine.chip import Chip")
    assert violations(tmp_path) == []


def test_a_detour_through_an_unlisted_module_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "compiler/helper.py", "from .backend import emit")
    plant(tmp_path, "compiler/ir/core.py", "from ..helper import x")
    assert violations(tmp_path) == [
        "compiler/ir/core.py:1: compiler/ir must not reach compiler/backend: "
        "ir -> helper -> backend"
    ]


def test_a_fault_is_told_once_where_it_lies(tmp_path: Path) -> None:
    plant(tmp_path, "compiler/diag.py", "from .backend import emit")
    plant(tmp_path, "compiler/ir/core.py", "from ..diag import Span")
    plant(tmp_path, "compiler/passes/graph/x.py", "from ...ir.core import Op")
    assert [message.split(":")[0] for message in violations(tmp_path)] == ["compiler/diag.py"]
