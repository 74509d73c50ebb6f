"""An internal error leaves files that show it again: the command, the IR, the program.

``snncc-crash-DIGEST.txt`` holds command, versions, inputs and traceback.  Beside it lie the IR
before the pass that failed with machine, configuration and the command that runs the pass; or,
where no pass failed, the graph as imported and the program, as far as the command had come.  No
file is replaced.
"""

from __future__ import annotations

import hashlib
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from snncc.compiler.diag import Diagnostic
from snncc.compiler.driver.evidence import EVIDENCE
from snncc.compiler.driver.versions import versions
from snncc.compiler.pipeline.manager import PassFailure
from snncc.compiler.pipeline.reproducer import free_name


def report_crash(error: Exception, words: Sequence[str]) -> str:
    """Write the files of an internal error; return the message, which says where they are."""
    trace = "".join(traceback.format_exception(error))
    tried: OSError | None = None
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            report = _write(folder, error, words, trace)
            break
        except OSError as refusal:
            tried = refusal
    else:
        return f"{_message(error, f'no file could be written ({tried})')}\n{trace}"
    return _message(error, f"details and the command are in {report}")


def _message(error: Exception, where: str) -> str:
    if isinstance(error, PassFailure):
        return f"{error}\n{where}"
    what = f"{type(error).__name__}: {error}"
    help_ = f"this is a bug of snncc, please report it with what snncc selftest prints; {where}"
    return str(Diagnostic("E0006", what, help=help_))


def _write(folder: Path, error: Exception, words: Sequence[str], trace: str) -> Path:
    digest = hashlib.sha256(trace.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    report = free_name(folder, f"snncc-crash-{digest}", ".txt")
    lines = [
        f"command: {shlex.join(['snncc', *words])}",
        f"folder: {Path.cwd()}",
        f"versions: {versions()}",
        *_inputs(words),
    ]
    try:
        if isinstance(error, PassFailure):
            if error.reproducer is None:
                error.write(folder, report.stem)
            lines.append(f"to see the failure again: {error.command}")
        else:
            lines += _evidence(folder, report.stem)
        text = "\n".join([*lines, "", trace])
        report.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError:
        report.unlink(missing_ok=True)
        raise
    return report


def _inputs(words: Sequence[str]) -> list[str]:
    """Return size and digest of the files that the command line names."""
    found: list[str] = []
    for word in words:
        try:
            data = Path(word).read_bytes() if Path(word).is_file() else None
        except (OSError, ValueError):
            continue
        if data is not None:
            digest = hashlib.sha256(data).hexdigest()
            found.append(f"file: {word}, {len(data)} bytes, sha256 {digest}")
    return found


def _evidence(folder: Path, stem: str) -> list[str]:
    """Write what the command worked on; return lines that say how to look at it."""
    from snncc.compiler.ir.resources import write_module
    from snncc.isa.program.file import to_bytes

    lines: list[str] = []
    if EVIDENCE.module is not None:
        path = free_name(folder, stem, ".snnir")
        write_module(EVIDENCE.module, path)
        command = shlex.join(["snncc", "opt", str(path), "-p", "default"])
        lines.append(f"the graph as imported: {path}; to compile it: {command}")
    if EVIDENCE.program is not None:
        path = free_name(folder, stem, ".snnx")
        path.write_bytes(to_bytes(EVIDENCE.program))
        command = shlex.join(["snncc", "run", str(path)])
        lines.append(f"the program: {path}; to run it: {command}, with the inputs of the command")
    return lines
