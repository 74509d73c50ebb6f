"""Let this process, and those that it starts, import modules from other texts than their files.

``MUTANT_FILE`` is a module's file, ``MUTANT_TEXT`` the file to read in its place.  With
``REACHED_FOLDER`` every function of the files below ``REACHED_SOURCES`` notes that it was called,
in ``builtins.__reached__``; a process leaves its notes in that folder when it ends.  The source
tree stays as it is, so a run that is cut off leaves no fault behind.
"""

import ast
import atexit
import builtins
import json
import os
import uuid
from importlib.machinery import SourceFileLoader
from types import CodeType

FILE = os.environ.get("MUTANT_FILE")
FOLDER = os.environ.get("REACHED_FOLDER")
SOURCES = tuple(filter(None, os.environ.get("REACHED_SOURCES", "").split(os.pathsep)))
EXCEPT = frozenset(os.environ.get("REACHED_EXCEPT", "").split(os.pathsep))
_get_code = SourceFileLoader.get_code


def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
    """Compile the other text for that file; byte code that is kept beside it is not used."""
    path = os.path.realpath(self.path)
    noting = path.startswith(SOURCES) and path not in EXCEPT if FOLDER and SOURCES else False
    if path != FILE and not noting:
        return _get_code(self, fullname)
    with open(os.environ["MUTANT_TEXT"] if path == FILE else path, "rb") as text:
        read = text.read()
    if not noting:
        return self.source_to_code(read, self.path)
    return compile(with_notes(ast.parse(read), fullname), self.path, "exec", dont_inherit=True)


def with_notes(tree: ast.Module, module: str) -> ast.Module:
    """Let every function begin with a note of its name."""

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}"
            visit(child, inner)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                call = ast.parse(f"__reached__.add({inner!r})").body[0]
                for each in ast.walk(call):
                    ast.copy_location(each, child.body[0])
                has_doc = ast.get_docstring(child, clean=False) is not None
                child.body.insert(int(has_doc), call)

    visit(tree, module)
    return tree


def leave_notes() -> None:
    """Write what this process called."""
    path = os.path.join(str(FOLDER), f"{uuid.uuid4().hex}.json")
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(sorted(builtins.__reached__), file)  # type: ignore[attr-defined]
    os.replace(path + ".part", path)


if FILE or FOLDER:
    SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]
if FOLDER:
    builtins.__reached__ = set()  # type: ignore[attr-defined]
    atexit.register(leave_notes)
