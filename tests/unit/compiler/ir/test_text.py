import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from examples import examples
from snncc.compiler.diag import CompileError
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Attribute, Location, Module, Op
from snncc.compiler.ir.parser import MAX_DEPTH, parse_module
from snncc.compiler.ir.printer import print_module, print_op
from snncc.compiler.ir.resources import ResourceFile, parse_text, read_module, write_module
from snncc.compiler.ir.verify import verify
from strategies import modules


def test_parser_takes_what_the_printer_writes(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("ir")

    @given(modules())
    @settings(suppress_health_check=[HealthCheck.too_slow])
    def round_trip(module: Module) -> None:
        verify(module, locations=True)
        text = print_module(module)
        (folder / "m.snnir.npz").unlink(missing_ok=True)
        write_module(module, folder / "m.snnir")
        assert (folder / "m.snnir").read_text(encoding="utf-8") == text
        back = read_module(folder / "m.snnir").module
        assert print_module(back) == text
        verify(back, locations=True)
        assert same(module, back)
        assert print_module(clone(module)) == text
        verify(clone(module))

    round_trip()


def same(a: Module, b: Module) -> bool:
    """Whether two modules agree in all but the names of values."""
    arrays = a.resources.keys() == b.resources.keys() and all(
        a.resources[k].dtype == b.resources[k].dtype
        and a.resources[k].shape == b.resources[k].shape
        and a.resources[k].tobytes() == b.resources[k].tobytes()
        for k in a.resources
    )
    ops = zip(a.walk(), b.walk(), strict=True)
    return (
        arrays
        and a.name == b.name
        and equal(a.attrs, b.attrs)
        and list(a.funcs) == list(b.funcs)
        and all(equal(a.funcs[f].attrs, b.funcs[f].attrs) for f in a.funcs)
        and all(same_op(x, y) for x, y in ops)
    )


def same_op(a: Op, b: Op) -> bool:
    places = [[(v.index, type(v.owner)) for v in op.operands] for op in (a, b)]
    types = [[r.type for r in op.results] for op in (a, b)]
    alike = a.name == b.name and a.loc == b.loc and equal(a.attrs, b.attrs)
    return alike and places[0] == places[1] and types[0] == types[1]


def equal(a: Attribute, b: Attribute) -> bool:
    """Whether two attributes are the same: NaN equals NaN, 1 is not 1.0, -0.0 is not 0.0."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, float):
        if math.isnan(a) or math.isnan(b):
            return math.isnan(a) and math.isnan(b)
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and a == b


TEXT = """
module @m attributes {stage = "phased", steps = 3, x = [1, {a = -0.5, b = none}]} {
  func @f(%x: tensor<2xf16>) {
    %y = phase.map(%x) : tensor<2xf16> loc("net:/y") ({
      ^(%e: tensor<2xf16>):
      phase.yield(%e) loc("net:/z")
    })
  }
}
"""


@given(st.data())
@settings(max_examples=examples(300))
def test_damaged_text_gives_a_diagnostic(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(at, min(len(TEXT), at + 8)))
    new = data.draw(st.text(st.sampled_from('%@^{}()[]<>,:="\\/ \n\0é1aef.-'), max_size=6))
    with contextlib.suppress(CompileError):
        verify(parse_module(TEXT[:at] + new + TEXT[end:]).module)


@given(st.text())
def test_any_text_gives_a_diagnostic(text: str) -> None:
    with pytest.raises(CompileError):
        parse_module(text)


@pytest.mark.parametrize("text", ["(" * 10**5, "[" * 10**5, "{" * 10**5, '"' * 10**5, "%" * 10**5])
def test_deep_nesting_is_refused(text: str) -> None:
    for before in ("", "module @m attributes {a = ", "module @m { func @f() { a.b() "):
        with pytest.raises(CompileError):
            parse_module(before + text)
    deep = "".join("a.b() ({ " for _ in range(MAX_DEPTH + 1))
    with pytest.raises(CompileError, match="E0156"):
        parse_module("module @m { func @f() { " + deep)


def test_spans_and_locations() -> None:
    parsed = parse_module(TEXT, "t.snnir")
    assert [str(s) for s in parsed.spans.values()] == ["t.snnir:6:7", "t.snnir:4:10"]
    assert {op.loc for op in parsed.module.walk()} == {Location("net:/y"), Location("net:/z")}


def test_print_op_shows_one_op() -> None:
    op = parse_module(TEXT).module.func("f").body.ops[0]
    assert print_op(op).splitlines()[0].startswith("%y = phase.map(%x) : tensor<2xf16> loc(")


def test_an_unprintable_attribute_is_a_bug() -> None:
    module = Module("m", {"stage": np.int64(3)})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="cannot be an attribute"):
        print_module(module)


# --- resources -----------------------------------------------------------------------------


def with_weights(*arrays: np.ndarray) -> Module:
    resources = {f"w{i}": a for i, a in enumerate(arrays)}
    return Module("m", {"stage": "graph"}, dict(resources))


W = np.arange(6, dtype=np.float16).reshape(2, 3)


def test_side_file_bytes_depend_on_the_arrays_only(tmp_path: Path) -> None:
    for name in "ab":
        write_module(with_weights(W, W.copy(), W.T), tmp_path / f"{name}.snnir")
    assert (tmp_path / "a.snnir.npz").read_bytes() == (tmp_path / "b.snnir.npz").read_bytes()
    with np.load(tmp_path / "a.snnir.npz", allow_pickle=False) as stored:
        assert len(stored.files) == 2
    back = read_module(tmp_path / "a.snnir").module
    assert np.array_equal(back.resources["w2"], W.T)
    assert not back.resources["w0"].flags.writeable


def fault(path: Path) -> str:
    with pytest.raises(CompileError) as caught:
        read_module(path)
    return str(caught.value)


def test_faults_of_side_files(tmp_path: Path) -> None:
    path, side = tmp_path / "m.snnir", tmp_path / "m.snnir.npz"
    write_module(with_weights(W), path)
    good, text = side.read_bytes(), path.read_text(encoding="utf-8")

    path.write_text(text.replace("2x3x", "3x2x"), encoding="utf-8")
    assert (
        "error[E0155]: resource @w0 is tensor<3x2xf16> here but f16 (2, 3) in m.snnir.npz"
        in fault(path)
    )
    assert "\n    2 |   resource @w0" in fault(path)
    path.write_text(text, encoding="utf-8")

    for cut in range(0, len(good), 7):
        side.write_bytes(good[:cut])
        assert "error[E0154]" in fault(path)
    data = bytearray(good)
    data[data.index(W.tobytes())] ^= 1
    side.write_bytes(bytes(data))
    assert "error[E01" in fault(path)

    sha = text.partition("sha256:")[2][:64]
    np.savez(side, allow_pickle=True, **{sha: W + 1})
    assert "error[E0155]: resource @w0 in m.snnir.npz does not have the hash" in fault(path)
    np.savez(side, allow_pickle=True, **{sha: np.array([[print] * 3] * 2)})
    assert "error[E0155]" in fault(path)
    np.savez(side, other=W)
    assert "m.snnir.npz: note: holds no array with this SHA-256" in fault(path)
    side.unlink()
    assert (
        "error[E0154]: resource @w0: not found in m.snnir.npz or m.npz or resources.npz"
        in fault(path)
    )
    with pytest.raises(CompileError, match="E0154"):
        parse_module(text)
    side.write_bytes(good)
    assert parse_text(text, "<stdin>", [side]).module.resources["w0"].shape == (2, 3)


def test_a_shared_file_grows(tmp_path: Path) -> None:
    shared = ResourceFile(tmp_path / "resources.npz")
    shared.add([W])
    shared.add([W.copy(), W + 1])
    shared.add([])
    with np.load(tmp_path / "resources.npz") as stored:
        assert sorted(stored.files) == sorted([shared.sha256(W), shared.sha256(W + 1)])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "E0005" in fault(tmp_path / "none.snnir")
    (tmp_path / "x.snnir").write_bytes(b"module \xff")
    assert "not UTF-8 text: invalid start byte at byte 7" in fault(tmp_path / "x.snnir")
    with pytest.raises(CompileError, match="E0005"):
        write_module(with_weights(), tmp_path / "no" / "x.snnir")


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_twenty_thousand_ops_within_the_budget() -> None:
    lines = ['%0 = ew.const() {value = 1.0} : tensor<f16> loc("net:/c")']
    for i in range(1, 20000):
        attrs = f'{{layer = "fc{i}", phase = "fp"}}'
        lines.append(
            f'%v{i} = ew.add(%{"v" * (i > 1)}{i - 1}, %0) {attrs} : tensor<f16> loc("a:/{i}")'
        )
    head = 'module @m attributes {stage = "phased"} { func @f() {\n'
    module = parse_module(head + "\n".join(lines) + "\n} }").module
    verify(module, locations=True)
    print_module(module)


@pytest.mark.parametrize(("length", "shown"), [(1, 1), (40, 40), (41, 40), (4000, 40)])
def test_a_message_shows_the_begin_of_a_long_word(length: int, shown: int) -> None:
    with pytest.raises(CompileError) as caught:
        parse_module("module @m {} " + "x" * length)
    wanted = "x" * shown + "..." * (length > 40)
    assert caught.value.diagnostics[0].message == f"expected the end of the text, found {wanted}"
