"""Rules for the passes that snncc has; in a process of its own, away from the tests' own passes."""

import json
import subprocess
import sys

SCRIPT = """
import importlib, json, pkgutil
from snncc.compiler.pipeline import named, registry
from snncc.compiler.pipeline.plan import plan
files = []
package = importlib.import_module(registry.PASSES_PACKAGE)
for folder in pkgutil.iter_modules(package.__path__):
    inner = importlib.import_module(f"{package.__name__}.{folder.name}")
    files += [m.name for m in pkgutil.iter_modules(inner.__path__) if not m.ispkg]
found = registry.passes()
print(json.dumps({
    "files": sorted(f.replace("_", "-") for f in files),
    "passes": sorted(found),
    "chains": [plan("default", "graph", level)[-1].each.gives for level in named.LEVELS],
    "undocumented": [p.name for p in found.values() if not p.doc or not p.summary],
}))
"""


def test_every_file_is_a_pass_and_the_default_pipeline_chains() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True
    )
    facts = json.loads(found.stdout)
    assert facts["files"] == facts["passes"]
    assert facts["chains"] == ["core"] * 4
    assert facts["undocumented"] == []
