"""What all tests share: options, hypothesis profiles, and skips for what is not on this machine."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Tests give the same answer every time; `make fuzz` looks for new counter-examples.
settings.register_profile("default", derandomize=True, deadline=None)
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {
        "needs_torch": importlib.util.find_spec("torch") is None,
        "needs_corpus": corpus_dir() is None,
    }
    for item in items:
        for marker, absent in missing.items():
            if absent and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{marker}: not on this machine"))


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether to rewrite expected files instead of comparing with them."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of reference models; a test that uses it is marked needs_corpus."""
    found = corpus_dir()
    assert found is not None, "mark this test needs_corpus"
    return found
