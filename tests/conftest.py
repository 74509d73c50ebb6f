"""What all tests share: options, hypothesis profiles, and skips for what is not on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings

from examples import SHARE, WHOLE
from pytorch_results import FOLDER, MODES, PyTorch, Results

# Tests give the same answer every time; `make fuzz` looks for new counter-examples.
settings.register_profile("default", derandomize=True, deadline=None, max_examples=SHARE)
settings.register_profile("whole", derandomize=True, deadline=None, max_examples=WHOLE)
settings.register_profile(
    "fuzz", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parents[1]


def corpus_dir() -> Path | None:
    """Return the folder of reference models: $SNNCC_CORPUS, or shared/corpus beside the clone."""
    named = os.environ.get("SNNCC_CORPUS")
    places = [Path(named)] if named else [ROOT.parent / "shared" / "corpus", ROOT / "shared/corpus"]
    return next((p for p in places if p.is_dir()), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the expected files")
    parser.addoption(
        "--pytorch", choices=MODES, default="stored",
        help="take PyTorch's results from tests/data/pytorch, or run it: record, compare",
    )  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {"needs_corpus": corpus_dir() is None}
    for item in items:
        for marker, absent in missing.items():
            if absent and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{marker}: not on this machine"))


NUMBERS_AT_IMPORT: dict[str, object] = {}
"""The state of a test module's ``RNG`` before its first test, by the module's name."""


@pytest.fixture(autouse=True)
def same_numbers(request: pytest.FixtureRequest) -> None:
    """Let a test draw the same numbers from its module's ``RNG``, whichever tests ran before.

    Tests of a module need not follow one another, so no fixture of the module may keep the state.
    """
    module: Any = cast("Any", request).module
    rng: Any = getattr(module, "RNG", None)
    if rng is not None:
        name = str(module.__name__)
        rng.bit_generator.state = NUMBERS_AT_IMPORT.setdefault(name, rng.bit_generator.state)


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite expected files instead of comparing with them."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="module")
def pytorch_file(request: pytest.FixtureRequest) -> Iterator[Results]:
    """The stored results of a test module; written after its tests when they are recorded."""
    path = FOLDER / f"{request.path.stem.removeprefix('test_')}.npz"
    recording = request.config.getoption("--pytorch") == "record"
    results = Results(path) if recording else Results.read(path)
    yield results
    if recording:
        results.write()


@pytest.fixture
def pytorch(request: pytest.FixtureRequest, pytorch_file: Results) -> PyTorch:
    """What PyTorch computes, whether or not it is installed."""
    mode = str(request.config.getoption("--pytorch"))
    return PyTorch(pytorch_file, request.node.name, mode)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of reference models; a test that uses it is marked needs_corpus."""
    found = corpus_dir()
    assert found is not None, "mark this test needs_corpus"
    return found
