"""``--dump-dir``: the IR after every pass that changed it, and an index.

``000-import.snnir``, ``003-dce.snnir``, one ``resources.npz`` and ``index.json``.  The first line
of a dump is the command that makes the next one.  No dates, durations or absolute paths are
written: two runs give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.printer import print_module
from snncc.compiler.ir.resources import SHARED, ResourceFile
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import shell
from snncc.compiler.pipeline.plan import Step, spec_of
from snncc.isa.container import write_whole


@dataclass(slots=True)
class _Dump:
    """A dump that waits for the command that makes the next one."""

    stem: str
    text: str
    entry: dict[str, object]
    skipped: list[Step]  # steps since then that changed nothing


class DumpWriter:
    """Writes the dumps of one run into a folder; an observer of the pass manager."""

    def __init__(self, folder: Path, first: str = "import") -> None:
        self.folder = folder
        self.first = f"000-{first}"
        self._arrays = ResourceFile(folder / SHARED)
        self._entries: list[dict[str, object]] = []
        self._pending: _Dump | None = None
        self._context = PassContext()
        self._ops = 0
        self._text = ""
        self._current: Step | None = None

    def begin(self, module: Module, steps: Sequence[Step], context: PassContext) -> None:
        """Clear the folder of old dumps and take the first one."""
        self._context = context
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in [*self.folder.glob("[0-9][0-9][0-9]-*.snnir"), self._arrays.path]:
                old.unlink(missing_ok=True)
        except OSError as error:
            fail("E0005", f"cannot write dumps: {error.strerror or error}", str(self.folder))
        self._text = print_module(module, self._arrays.sha256)
        self._ops = _count(module)
        entry = _entry(self.first[4:], {}, module, True, self._ops, self._ops)
        self._take(self.first, module, entry)

    def before(self, step: Step, module: Module) -> None:
        """Remember which step runs, in case it fails."""
        self._current = step

    def after(self, step: Step, module: Module, changed: bool) -> None:
        """Take a dump if the step changed the module."""
        self._current = None
        text = print_module(module, self._arrays.sha256)
        if text != self._text and not changed:
            raise ValueError(f"pass {step.name} changed the module but returned False")
        count = _count(module)
        entry = _entry(step.name, step.options_json(), module, changed, self._ops, count)
        self._ops = count
        if not changed:
            self._entries.append(entry)
            if self._pending is not None:
                self._pending.skipped.append(step)
            return
        self._flush([step], f"{step.stem}.snnir")
        self._text = text
        self._take(step.stem, module, entry)

    def end(self) -> None:
        """Write the last dump and the index."""
        failed = [self._current] if self._current is not None else []
        self._flush(failed, "-" if failed else "")
        context = self._context
        index = {
            "tool": {"name": "snncc", "version": _version()},
            "command": context.command,
            "machine": context.machine.name if context.machine is not None else None,
            "mode": context.mode,
            "passes": self._entries,
        }
        text = json.dumps(index, indent=1, ensure_ascii=False) + "\n"
        self._write(self.folder / "index.json", text)

    def _take(self, stem: str, module: Module, entry: dict[str, object]) -> None:
        self._entries.append(entry)
        self._pending = _Dump(stem, self._text, entry, [])
        try:
            self._arrays.add(module.resources.values())
        except OSError as error:
            fail("E0005", f"cannot write dumps: {error.strerror or error}", str(self.folder))

    def _flush(self, following: list[Step], output: str) -> None:
        dump, self._pending = self._pending, None
        if dump is None:
            return
        name = f"{dump.stem}.snnir"
        if output:
            spec = spec_of([*dump.skipped, *following])
            words = ("snncc", "opt", name, "-p", spec, "-o", output)
            head = f"// {shell(*words, self._context.flags)}\n"
        else:
            head = "// the last dump\n"
        text = head + dump.text
        dump.entry["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        dump.entry["file"] = name
        self._write(self.folder / name, text)

    def _write(self, path: Path, text: str) -> None:
        try:
            write_whole(path, [text.encode()])
        except OSError as error:
            fail("E0005", f"cannot write dumps: {error.strerror or error}", str(path))


def _entry(
    name: str, options: dict[str, object], module: Module, changed: bool, before: int, after: int
) -> dict[str, object]:
    return {
        "name": name,
        "options": options,
        "stage": module.stage,
        "changed": changed,
        "ops": {"before": before, "after": after},
        "sha256": None,
        "file": None,
    }


def _count(module: Module) -> int:
    return sum(1 for _ in module.walk())


def _version() -> str:
    try:
        return version("snncc")
    except PackageNotFoundError:
        return "0"
