"""CONTRIBUTING's recipes, followed in a copy of the sources: how many files they touch, and that
what they add works on both engines."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("assembler", "compiler", "isa", "isasim", "models", "tests/unit", "tests/golden/asm")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


class Copy:
    """A copy of the sources that a recipe changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.touched: set[str] = set()
        for part in PARTS:
            ignored = shutil.ignore_patterns("__pycache__", "data")
            shutil.copytree(ROOT / part, root / part, ignore=ignored)
        shutil.copy(ROOT / "tests/isa_strategies.py", root / "tests")
        (root / "snncc").mkdir()
        for file in (ROOT / "snncc").iterdir():
            if file.is_symlink():
                (root / "snncc" / file.name).symlink_to(Path("..") / file.name)
            elif file.suffix == ".py":
                shutil.copy(file, root / "snncc" / file.name)

    def edit(self, path: str, before: str, added: str) -> None:
        """Put text before the only occurrence of a text of a file."""
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{path} has {text.count(before)} times {before!r}"
        file.write_text(text.replace(before, added + before), encoding="utf-8")
        self.touched.add(path)

    def append(self, path: str, added: str) -> None:
        """Put text at the end of a file."""
        with (self.root / path).open("a", encoding="utf-8") as out:
            out.write(added)
        self.touched.add(path)

    def python(self, *words: str) -> str:
        """Run Python on the copy and return what it prints."""
        env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(self.root), str(self.tests)))}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.root, env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def tests(self) -> Path:
        """The folder of the tests."""
        return self.root / "tests"


AGREE = """
import numpy as np
import snncc.isa.spec
from snncc.isasim.engines import Resolved, prepare, select_engine
from snncc.isasim.engines.fast.engine import FastEngine
assert snncc.isa.spec.__file__.startswith({root!r}), snncc.isa.spec.__file__

def agree(op, memory):
    fast, slow = memory.copy(), memory.copy()
    counted = FastEngine().execute(op, fast)
    assert select_engine("reference").execute(op, slow) == counted
    assert np.array_equal(fast, slow)
    return slow
"""

INSTRUCTION = """    Insn(
        "colmax", 0x76, Unit.VPU,
        pack(("dst", REG), ("x", REG), ("x_stride", REG), ("rows", REG), ("n", REG),
             ("type", ELEMENT)),
        "The largest element of each column.", "dst[j] = max of x[r,j]",
        "[<dst>], [<x>:<x_stride>], rows=<rows>, n=<n>, type=<type>",
        Family.REDUCTION, (_ELEMENTS, MemoryRole("dst", "out", "f16", "n")), ("rows", "n"),
        ("bounds", "operand"), meaning="reduce.colmax",
    ),
"""
MEANING = '''

def colmax(c: Call) -> Activity:
    """Keep the largest element of each column."""
    o = c.operands
    if not o.rows or not o.n:
        return NOTHING
    x, ones = numbers(c, "x", [(o.rows, o.x_stride)], o.n)
    largest = x[0]
    for row in x[1:]:
        largest = fp16.maximum(largest, row)
    put(c, "dst", (), largest)
    terms = o.rows * o.n
    return Activity(terms, ones if c.format("x") == "bit" else terms, ones)
'''
KERNEL = '''
    def colmax(self, op: Resolved, sram: Sram) -> Activity:
        """Largest element of each column."""
        o = op.operands
        if o.type != F16:
            return self.reference.execute(op, sram)
        at = o.x + o.x_stride * np.arange(o.rows)[:, None] + 2 * np.arange(o.n)
        bits = sram[at] | sram[at + 1].astype(np.uint16) << 8
        size = (bits & 0x7FFF).astype(np.int32)
        key = np.where(bits >> 15, -size - 1, size).max(axis=0)
        out = np.where(key < 0, (-key - 1) | 0x8000, key).astype(np.uint16)
        out[(size > 0x7C00).any(axis=0)] = 0x7E00
        sram[o.dst : o.dst + 2 * o.n] = out.view(np.uint8)
        return Activity(o.rows * o.n, o.rows * o.n)
'''


def test_an_instruction(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.edit("isa/instructions/table.py", '    Insn(\n        "colsum",', INSTRUCTION)
    copy.append("isa/semantics/reduce.py", MEANING)
    copy.edit("isasim/engines/fast/sums.py", "from snncc.isa.numbers", "import numpy as np\n\n")
    copy.append("isasim/engines/fast/sums.py", KERNEL)
    word = 0x76 | 1 << 8 | 2 << 14 | 3 << 20 | 4 << 26 | 5 << 32 | 1 << 38
    line = f"{word:032x} colmax [r1], [r2:r3], rows=r4, n=r5, type=f32\n"
    copy.append("tests/golden/asm/encodings.txt", line)
    assert len(copy.touched) == 4
    copy.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "colmax or every",
                "tests/unit/isa/test_encoding.py", "tests/unit/isa/test_rows.py")  # fmt: skip
    copy.python(
        "-c",
        AGREE.format(root=str(copy.root))
        + """
from snncc.isa.manual import manual
from unit.isasim.engine_cases import random_case
assert "### colmax" in manual()
for seed in range(60):
    agree(*random_case("colmax", seed))
memory = np.zeros(64, np.uint8)
memory.view(np.float16)[:6] = [1, -2, 0.5, -3, -1, 4]
out = agree(Resolved("colmax", (32, 0, 6, 2, 3, 0)), memory)
assert out.view(np.float16)[16:19].tolist() == [1, -1, 4]
""",
    )


def test_a_micro_operation(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    row = (
        '    MicroOp(\n        "twice.h", 0x2C, "h", "h", "", _C.ADD, "a + a",\n'
        "        lambda a: fp16.add(a, a), rounds=True,\n    ),\n"
    )
    copy.edit("isa/microprograms/table.py", "    # binary32 arithmetic\n", row)
    kernel = '    "twice.h": lambda e, x: e.round16(e.b.fadd(x, x)),\n'
    copy.edit("isasim/engines/kernels/lane_ops.py", '    "neg.h": lambda', kernel)
    assert len(copy.touched) == 2
    copy.python(
        "-c",
        AGREE.format(root=str(copy.root))
        + """
from snncc.isa.manual import manual
from snncc.isa.microprograms.code import MicroBuilder
assert "twice.h" in manual()
b = MicroBuilder("twice")
b.emit("st.h", (b.emit("twice.h", (b.emit("ld.h", (), 0),)),), 1)
memory = np.zeros(256, np.uint8)
memory.view(np.float16)[:4] = [1.5, -0.0, 40000, np.nan]
op = Resolved("ew", (0, 1, 1, 4, 0), ((0, 0, 0), (128, 0, 0)), prepare(b.build()))
out = agree(op, memory).view(np.uint16)[64:68].tolist()
assert out == [0x4200, 0x8000, 0x7C00, 0x7E00], out
""",
    )


def test_a_row_without_its_meaning_is_refused(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    row = INSTRUCTION.replace(', meaning="reduce.colmax"', "")
    copy.edit("isa/instructions/table.py", '    Insn(\n        "colsum",', row)
    script = (
        "try:\n    import snncc.isa.instructions.encoding\n"
        "except AssertionError as error:\n    print(error)\n"
    )
    assert "colmax: an engine executes it, but no function says what it computes" in copy.python(
        "-c", script
    )
