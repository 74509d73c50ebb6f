"""``--dump-dir``: the IR after every pass that changed it, and an index.

``000-import.snnir``, ``003-dce.snnir``, one ``resources.npz`` and ``index.json``.  The first line
of a dump is the command that makes the next one.  No dates, durations or absolute paths are
written: two runs give equal bytes.  Dumps of an earlier run are replaced, also half-written ones;
files that no run has dumped are not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.printer import print_module
from snncc.compiler.ir.resources import SHARED, ResourceFile, refuse_foreign
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.manager import shell
from snncc.compiler.pipeline.plan import Step, spec_of
from snncc.isa.files.whole_file import read_at_most, remove_orphans, write_whole

INDEX = "index.json"
MAX_INDEX = 1 << 26
"""Bytes of an index that may be replaced."""
DUMPS = "[0-9][0-9][0-9]-*.snnir"
NEXT, LAST = "// snncc opt ", "// the last dump"
"""How dumps begin."""


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
        self._made: list[Path] = []
        self._broken = False

    def begin(self, module: Module, steps: Sequence[Step], context: PassContext) -> None:
        """Clear the folder of old dumps and take the first one."""
        self._context = context
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear()
        except OSError as error:
            self._give_up(error)
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
        if self._broken:
            return
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
        self._write(self.folder / INDEX, json.dumps(index, indent=1) + "\n")

    def _take(self, stem: str, module: Module, entry: dict[str, object]) -> None:
        self._entries.append(entry)
        self._pending = _Dump(stem, self._text, entry, [])
        try:
            self._made.append(self._arrays.path)
            self._arrays.add(module.resources.values())
        except OSError as error:
            self._give_up(error)

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
            head = f"{LAST}\n"
        text = head + dump.text
        dump.entry["sha256"] = hashlib.sha256(text.encode()).hexdigest()
        dump.entry["file"] = name
        self._write(self.folder / name, text)

    def _write(self, path: Path, text: str) -> None:
        if path.exists():
            self._refuse(path)
        try:
            write_whole(path, [text.encode()])
        except OSError as error:
            self._give_up(error)
        self._made.append(path)

    def _clear(self) -> None:
        """Take away the dumps of an earlier run, finished or not."""
        old = [path for path in sorted(self.folder.glob(DUMPS)) if _is_dump(path)]
        index = self.folder / INDEX
        if index.exists():
            if not _is_index(index):
                self._refuse(index)
            old.append(index)
        refuse_foreign(self._arrays.path)
        for path in [*old, self._arrays.path]:
            path.unlink(missing_ok=True)
        remove_orphans(self.folder, r"\d{3}-.*|index\.json|resources\.npz")

    def _refuse(self, path: Path) -> NoReturn:
        self._broken = True
        fail(
            "E0040",
            "a dump would go here, but this file is none",
            str(path),
            help="dump into another folder, or move the file away",
        )

    def _give_up(self, error: OSError) -> NoReturn:
        """Take away what was written: a part of the dumps is worth nothing."""
        self._broken = True
        for path in self._made:
            path.unlink(missing_ok=True)
        where = str(error.filename or self.folder)
        fail("E0005", f"cannot write dumps: {error.strerror or error}", where)


def _is_dump(path: Path) -> bool:
    """Whether a file begins as dumps do."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.readline().startswith((NEXT, LAST))


def _is_index(path: Path) -> bool:
    """Whether a file is the index of dumps."""
    try:
        found = json.loads(read_at_most(path, MAX_INDEX))
        return bool(found["tool"]["name"] == "snncc" and "passes" in found)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


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
