"""Make the files of this folder: what PyTorch and its frameworks compute for the tests.

    pip install torch onnxscript snntorch norse sinabs spikingjelly
    python tests/data/pytorch/make.py            # rewrite them
    python tests/data/pytorch/make.py --compare  # only compare with what is here

The tests hold the question in both languages side by side; ``tests/pytorch_results.py`` says how
they are asked.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run all test modules that ask for PyTorch, with PyTorch."""
    mode = "compare" if sys.argv[1:] == ["--compare"] else "record"
    modules = [
        str(path)
        for path in sorted(TESTS.rglob("test_*.py"))
        if "pytorch: PyTorch" in path.read_text(encoding="utf-8")
    ]
    return int(pytest.main(["-q", "--pytorch", mode, *modules]))


if __name__ == "__main__":
    sys.exit(main())
