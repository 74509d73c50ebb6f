import hashlib
import itertools
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.ir.core import Array, Block, Func, Location, Module, op, tensor
from snncc.compiler.ir.printer import print_module
from snncc.compiler.ir.resources import read_module
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.dumps import DumpWriter
from snncc.compiler.pipeline.manager import Observer, PassFailure, PassManager
from snncc.compiler.pipeline.observers import PrintIR, Timer
from snncc.compiler.pipeline.plan import plan


def module() -> Module:
    body = Block()
    x = body.add_arg(tensor((2,)), "x")
    body.append(op("graph.output", [x], [], {"name": "y"}, loc=Location("net:/y")))
    weights: dict[str, Array] = {"w": np.arange(3, dtype=np.float16)}
    return Module("m", {"stage": "graph"}, weights, {"f": Func("f", body)})


def run(
    text: str, *observers: Observer, crash_dir: Path | None = None, verify: bool = True
) -> Module:
    made = module()
    steps = plan(text, "graph")
    PassManager(
        steps, PassContext(), observers=observers, crash_dir=crash_dir, verify_each=verify
    ).run(made)
    return made


def test_passes_run_in_order() -> None:
    made = run("all{values=1,2}")
    assert made.attrs == {"a": (1, 2), "b": (1, 2), "stage": "phased"}


def test_whether_something_changed() -> None:
    made = module()
    assert PassManager(plan("set-key", "graph"), PassContext()).run(made)
    assert not PassManager(plan("set-key", "graph"), PassContext()).run(made)


def test_users_mistakes_pass_through() -> None:
    with pytest.raises(CompileError) as caught:
        run("complain")
    assert not isinstance(caught.value, PassFailure)
    assert [d.message for d in caught.value.diagnostics] == ["no threshold"]
    with pytest.raises(CompileError, match="no beta"):
        run("set-key{values=1},complain")


def test_an_invalid_input_is_refused() -> None:
    made = module()
    made.attrs["batch"] = 0
    with pytest.raises(CompileError, match="E0260"):
        PassManager([], PassContext()).run(made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crash", "error[E0006]: pass crash failed\nnote: IndexError: off by one\n"),
        ("vandal", "pass vandal left IR that breaks the rules\nnote: E0250: graph.nothing: no dia"),
        ("to-phased,to-tiled", "note: ValueError: it gives stage tiled but left phased"),
    ],
)
def test_a_broken_pass_is_our_bug(text: str, message: str) -> None:
    with pytest.raises(PassFailure) as caught:
        run(text)
    assert message in str(caught.value)


def test_verification_can_be_left_out() -> None:
    assert len(run("vandal", verify=False).func("f").body.ops) == 2


@pytest.mark.parametrize("name", ["crash", "vandal"])
def test_a_crash_leaves_a_reproducer(tmp_path: Path, name: str) -> None:
    with pytest.raises(PassFailure) as caught:
        run(f"set-key{{values=5}},{name}", crash_dir=tmp_path / "new")
    path = caught.value.reproducer
    assert path is not None
    assert path == tmp_path / "new" / f"crash-002-{name}.snnir"
    assert caught.value.command == f"snncc opt {shlex.quote(str(path))} -p {name}"
    assert caught.value.command in str(caught.value)
    before = read_module(path).module
    assert before.attrs["k"] == (5,)
    assert "half" not in before.attrs
    assert list(before.resources) == ["w"]
    with pytest.raises(PassFailure):
        PassManager(plan(name, before.stage), PassContext()).run(before)


def test_a_pass_that_denies_a_change_is_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pass liar changed the module but returned False"):
        run("liar", DumpWriter(tmp_path))


# --- dumps ---------------------------------------------------------------------------------

TEXT = "set-key{values=1,2},set-key{values=1,2},set-key{key=other},to-phased"


def test_dumps_have_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(TEXT, DumpWriter(tmp_path / name))
    run(TEXT, DumpWriter(tmp_path / "one"))
    files = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "two").iterdir()}
    assert sorted(files) == [
        "000-import.snnir",
        "001-set-key.snnir",
        "003-set-key.3.snnir",
        "004-to-phased.snnir",
        "index.json",
        "resources.npz",
    ]


def test_each_dump_names_the_command_for_the_next(tmp_path: Path) -> None:
    final = run(TEXT, DumpWriter(tmp_path))
    dumps = sorted(tmp_path.glob("*.snnir"))
    for here, there in itertools.pairwise(dumps):
        first = here.read_text(encoding="utf-8").partition("\n")[0]
        words = shlex.split(first.removeprefix("// "))
        assert words[:4] == ["snncc", "opt", here.name, "-p"]
        assert words[5:] == ["-o", there.name]
        made = read_module(here).module
        PassManager(plan(words[4], made.stage), PassContext()).run(made)
        assert there.read_text(encoding="utf-8").partition("\n")[2] == print_module(made)
    last = dumps[-1].read_text(encoding="utf-8")
    assert last == "// the last dump\n" + print_module(final)


def test_the_index_lists_every_pass(tmp_path: Path) -> None:
    context = PassContext(command="snncc opt x.snnir", flags="--mode infer")
    PassManager(plan(TEXT, "graph"), context, observers=[DumpWriter(tmp_path)]).run(module())
    index = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    assert index["command"] == "snncc opt x.snnir"
    assert index["machine"] is None
    rows = index["passes"]
    assert [(r["name"], r["stage"], r["changed"], r["file"]) for r in rows] == [
        ("import", "graph", True, "000-import.snnir"),
        ("set-key", "graph", True, "001-set-key.snnir"),
        ("set-key", "graph", False, None),
        ("set-key", "graph", True, "003-set-key.3.snnir"),
        ("to-phased", "phased", True, "004-to-phased.snnir"),
    ]
    assert rows[1]["options"]["values"] == [1, 2]
    assert rows[1]["ops"] == {"before": 1, "after": 1}
    for row in rows:
        if row["file"]:
            data = (tmp_path / row["file"]).read_bytes()
            assert row["sha256"] == hashlib.sha256(data).hexdigest()
    head = (tmp_path / "000-import.snnir").read_text(encoding="utf-8").partition("\n")[0]
    assert head.endswith(" --mode infer")


def test_dumps_are_complete_up_to_a_failure(tmp_path: Path) -> None:
    with pytest.raises(PassFailure):
        run("set-key,crash", DumpWriter(tmp_path), crash_dir=tmp_path)
    head = (tmp_path / "001-set-key.snnir").read_text(encoding="utf-8").partition("\n")[0]
    assert head == "// snncc opt 001-set-key.snnir -p crash -o -"
    assert (tmp_path / "index.json").is_file()
    assert (tmp_path / "crash-002-crash.snnir").is_file()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CompileError, match="E0005"):
        run("set-key", DumpWriter(tmp_path / "file"))


# --- talk ----------------------------------------------------------------------------------


def test_printing_and_differences() -> None:
    said: list[str] = []
    watch = PrintIR(
        said.append, before=frozenset({"to-phased"}), after=frozenset({"to-phased"}), diff=True
    )
    run("set-key{values=1},set-key{values=1},to-phased", watch)
    text = "".join(said)
    assert [line for line in text.splitlines() if line.startswith("// -----")] == [
        "// ----- changes of set-key",
        "// ----- changes of set-key@2 (no change)",
        "// ----- before to-phased",
        "// ----- after to-phased",
        "// ----- changes of to-phased",
    ]
    assert '+module @m attributes {k = [1], stage = "graph"} {' in text
    every: list[str] = []
    run("set-key,set-key", PrintIR(every.append, after_all=True))
    assert [t.partition("\n")[0] for t in every] == [
        "// ----- after set-key",
        "// ----- after set-key@2 (no change)",
    ]


def test_times() -> None:
    said: list[str] = []
    run("all", Timer(said.append))
    assert len(said) == 6
    assert said[-1].endswith("ms  total\n")
