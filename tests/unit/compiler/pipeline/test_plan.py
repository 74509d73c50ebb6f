from pathlib import Path

import pytest
from click.testing import CliRunner

from snncc.compiler.cli.main import cli
from snncc.compiler.diag import CompileError
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.resources import write_module
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.named import LEVELS, named
from snncc.compiler.pipeline.options import NoOptions, options_table
from snncc.compiler.pipeline.plan import bridge, plan, spec_of
from snncc.compiler.pipeline.registry import compiler_pass, lookup


def specs(text: str, stage: str = "graph", level: int = 2, stop_after: str = "") -> list[str]:
    return [step.spec for step in plan(text, stage, level, stop_after)]


def test_options_are_read_and_written() -> None:
    text = 'set-key{key="a b",values=1,2,limit=7,ratio=0.25,fast=true}'
    [step] = plan(text, "graph")
    assert step.options_json() == {
        "key": "a b", "values": (1, 2), "limit": 7, "ratio": 0.25, "fast": True
    }  # fmt: skip
    assert step.spec == text
    assert spec_of(plan(step.spec, "graph")) == text
    assert specs(" set-key { key = k , values = 1 } , set-key{limit=none} ") == [
        "set-key{values=1}",
        "set-key",
    ]
    assert specs("") == specs("  ") == []


def test_named_pipelines_expand() -> None:
    both = ["set-key{key=a}", "set-key{key=b}"]
    assert specs("both") == both
    assert specs("all") == [*both, "to-phased", *both]
    assert specs("all", level=0) == ["to-phased"]
    assert specs("both{ratio=1}") == ["set-key{key=a,ratio=1.0}", "set-key{key=b,ratio=1.0}"]


def test_repeated_passes_are_numbered() -> None:
    steps = plan("all", "graph")
    assert [s.stem for s in steps] == [
        "001-set-key",
        "002-set-key.2",
        "003-to-phased",
        "004-set-key.3",
        "005-set-key.4",
    ]
    assert len(specs("all", stop_after="set-key@2")) == 2
    assert len(specs("all", stop_after="to-phased")) == 3


FAULTS = [
    ("set-kez", "<pipeline>:1:1: error[E0001]: there is no pass set-kez", "did you mean set-key?"),
    ("bot", "error[E0001]: there is no pass bot", "did you mean both?"),
    ("zzzzz", "error[E0001]: there is no pass zzzzz", "see snncc opt --list-passes"),
    ("set-key,", "error[E0002]: expected the name of a pass, found the end", ""),
    ("set-key to-phased", "error[E0002]: expected a comma between passes, found t", ""),
    ("set-key{key", "error[E0002]: expected option=value, found key", ""),
    ("set-key{key=a", "error[E0002]: the brace is never closed", ""),
    ("set-key{key=a,key=b}", "error[E0002]: option key is given twice", ""),
    ("set-key{kez=a}", "<pipeline>:1:9: error[E0003]: set-key has no option kez", "mean key?"),
    ("to-phased{x=1}", "E0003]: to-phased has no option x", "it takes no options"),
    ("set-key{limit=1.5}", "E0003]: set-key: limit=1.5: expected an integer", ""),
    ("set-key{limit=1,2}", "E0003]: set-key: limit=1,2: expected one value", ""),
    ("set-key{ratio=x}", "E0003]: set-key: ratio=x: expected a number", ""),
    ("set-key{ratio=-1}", "E0003]: set-key: ratio is -1.0, below 0", ""),
    ("set-key{fast=1}", "E0003]: set-key: fast=1: expected true or false", ""),
    ("both{x=1}", "E0003]: no pass of the pipeline both has an option x", ""),
    ("to-tiled", "E0004]: to-tiled takes IR in stage phased, but the input is in stage graph",
     "help: put to-phased before to-tiled"),
    ("to-phased,to-phased", "to-phased takes IR in stage graph, but to-phased leaves it in stage "
     "phased", "help: no pass leads from phased to graph; a stage never reaches back"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "help_"), FAULTS)
def test_faults(text: str, message: str, help_: str) -> None:
    with pytest.raises(CompileError) as caught:
        plan(text, "graph")
    assert message in str(caught.value)
    assert help_ in str(caught.value)


def test_stop_after_something_that_does_not_run() -> None:
    with pytest.raises(CompileError, match="--stop-after crash: the pipeline runs set-key"):
        plan("set-key", "graph", stop_after="crash")
    with pytest.raises(CompileError, match="--stop-after set-key@3"):
        plan("both", "graph", stop_after="set-key@3")


def test_bridges() -> None:
    assert bridge("graph", "tiled") == ["to-phased", "to-tiled"]
    assert bridge("graph", "core") == []


def test_options_of_a_pass_are_listed() -> None:
    rows = options_table(lookup("set-key").options)
    assert rows[0][:3] == ("key", "str", "k")
    assert [row[2] for row in rows] == ["k", "", "none", "0.5", "false"]


def test_registration_is_checked() -> None:
    def run(module: Module, options: NoOptions, context: PassContext) -> bool:
        """Do nothing."""
        return False

    with pytest.raises(ValueError, match="pass crash is registered twice"):
        compiler_pass(takes="graph", name="crash")(run)
    with pytest.raises(ValueError, match="unknown stages"):
        compiler_pass(takes="grape")
    compiler_pass(takes="graph")(run)
    assert lookup("test-plan").summary == "Do nothing."


@pytest.mark.parametrize(("level", "code"), [(-1, 2), (0, 0), (1, 0), (2, 0), (3, 0), (4, 2)])
def test_levels_of_the_command(level: int, code: int, tmp_path: Path) -> None:
    path = tmp_path / "m.snnir"
    write_module(Module("m", {"stage": "graph"}), path)
    done = CliRunner().invoke(cli, ["opt", str(path), "-O", str(level)])
    assert done.exit_code == code, done.output
    assert (level in LEVELS) == (code == 0)
    assert named("no pipeline of this name", level) is None
