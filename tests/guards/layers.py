"""Who may import whom: the layers of snncc as data, and a walk over the sources that checks them.

Every import counts: at the top of a file, inside a function, for type checking only, and
``importlib.import_module`` with a literal name.

Imports are looked at in four grains:

* folders: ``isa`` is the ground floor, ``assembler``, ``isasim`` and ``compiler`` stand on it and
  never see each other; ``compiler.driver`` brings them together and ``compiler.cli`` is the roof;
  ``models`` stands apart;
* rooms of the compiler: ROOMS says what each may reach. It holds through other rooms too, so a
  new folder or module of the compiler needs no entry here and opens no back door;
* pass folders: one never imports another's modules, except those of its ``kit`` folder;
* all folders, at any depth: no circle.  A file beside folders stands for itself.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

FOLDERS = ("isa", "assembler", "isasim", "compiler", "models")

# What the code of a folder may import of snncc, itself included.
MAY_IMPORT = {
    "isa": {"isa"},
    "assembler": {"assembler", "isa"},
    "isasim": {"isasim", "isa"},
    "compiler": {"compiler", "isa"},
    "compiler.driver": set(FOLDERS),
    "compiler.cli": set(FOLDERS),
    "models": {"models"},
}
GROUND_FLOOR_PACKAGES = {"numpy"}  # what isa may import beside the standard library

# What a room of the compiler may reach, itself left out; no room reaches the roof, ``cli``.
ROOMS: dict[str, set[str]] = {"diag": set()}
ROOMS["ir"] = {"diag"}
ROOMS["config"] = {"diag", "ir"}
ROOMS["interp"] = {"diag", "ir"}
ROOMS["frontend"] = {"diag", "ir"}
ROOMS["export"] = {"diag", "ir", "frontend"}
ROOMS["pipeline"] = {"diag", "config", "ir"}
ROOMS["passes"] = {"diag", "config", "ir", "pipeline"}
ROOMS["backend"] = ROOMS["passes"] | {"passes"}
ROOMS["validate"] = ROOMS["passes"] | {"passes", "interp", "frontend"}
ROOMS["driver"] = set(ROOMS) - {"driver"}
# The pass registry finds the passes by name; nothing else may import by name across rooms.
DISCOVERY = ("pipeline", "passes")


@dataclass(frozen=True)
class Import:
    """One imported name: ``module`` is the importer, ``target`` what it names, both dotted."""

    file: Path
    line: int
    module: str
    target: str
    by_name: bool  # through importlib

    @property
    def where(self) -> str:
        """``file:line``, for messages."""
        return f"{self.file}:{self.line}"


def source_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield every Python file of the source folders with its module name (``snncc.isa.spec``)."""
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            yield file.relative_to(root), ".".join(("snncc", *parts))


def imports(root: Path) -> Iterator[Import]:
    """Yield what the source files import, one entry per imported name."""
    for file, module in source_files(root):
        tree = ast.parse((root / file).read_text(encoding="utf-8"), filename=str(file))
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(tree):
            for target in _targets(node, package):
                yield Import(file, _line(node), module, target, isinstance(node, ast.Call))


def violations(root: Path) -> list[str]:
    """Return one message per import that breaks a layer rule, sorted by place."""
    found = list(imports(root))
    messages = [message for each in found for message in _folder_rule(each)]
    messages += [message for each in found for message in _pass_rule(each)]
    messages += _circle_rule(root, found)
    messages += _room_rule([i for i in found if (i.by_name, *_edge(i)) != (True, *DISCOVERY)])
    return sorted(messages)


def _targets(node: ast.AST, package: str) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=name, names=names, level=level):
            base = name or ""
            if level:
                parent = package.split(".")
                base = ".".join(parent[: len(parent) - level + 1] + ([name] if name else []))
            return [base if alias.name == "*" else f"{base}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
        case _:
            return []


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _is_or_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _folder_rule(found: Import) -> Iterator[str]:
    upper = ("compiler.cli", "compiler.driver")
    folder = next((f for f in upper if _is_or_in(found.module, f"snncc.{f}")), "")
    folder = folder or found.module.split(".")[1]
    top, *rest = found.target.split(".")
    if top != "snncc":
        allowed = sys.stdlib_module_names | GROUND_FLOOR_PACKAGES
        if top in FOLDERS:
            yield f"{found.where}: import snncc.{found.target}, not the folder {found.target}"
        elif folder == "isa" and top not in allowed:
            yield f"{found.where}: isa imports {top}; it may import the standard library and numpy"
    elif not rest or rest[0] not in MAY_IMPORT[folder]:
        yield f"{found.where}: {folder} must not import {found.target}"
    elif folder != "compiler.cli" and _is_or_in(found.target, "snncc.compiler.cli"):
        yield f"{found.where}: nothing imports the command line ({found.target})"


def _pass_rule(found: Import) -> Iterator[str]:
    prefix = "snncc.compiler.passes."
    if not (found.module.startswith(prefix) and found.target.startswith(prefix)):
        return
    own = found.module.removeprefix(prefix).split(".")[0]
    other, *rest = found.target.removeprefix(prefix).split(".")
    if own != other and rest[:1] != ["kit"]:
        yield f"{found.where}: passes/{own} must not import {found.target}: share a kit instead"


def _room(module: str) -> str:
    """Return the compiler's room that a module lies in, '' for the rest of snncc."""
    parts = module.split(".")
    if parts[:2] != ["snncc", "compiler"]:
        return ""
    return parts[2] if len(parts) > 2 else "compiler/__init__.py"


def _edge(found: Import) -> tuple[str, str]:
    return _room(found.module), _room(found.target)


def _room_rule(found: list[Import]) -> Iterator[str]:
    steps: dict[str, dict[str, Import]] = {}
    for each in found:
        source, target = _edge(each)
        if source and target and source != target:
            steps.setdefault(source, {}).setdefault(target, each)
    for target, each in steps.get("compiler/__init__.py", {}).items():
        yield f"{each.where}: compiler/__init__.py must import nothing, all rooms run it: {target}"
    for room, allowed in ROOMS.items():
        for target, path in _reach(room, steps).items():
            if target in ROOMS and target not in allowed and not _explained(path, allowed):
                way = " -> ".join([room, *(_room(step.target) for step in path)])
                yield f"{path[0].where}: compiler/{room} must not reach compiler/{target}: {way}"


def _reach(room: str, steps: dict[str, dict[str, Import]]) -> dict[str, list[Import]]:
    """Return each room that ``room`` reaches, with one shortest way there."""
    ways: dict[str, list[Import]] = {room: []}
    queue = [room]
    for here in queue:
        for there, step in steps.get(here, {}).items():
            if there not in ways:
                ways[there] = [*ways[here], step]
                queue.append(there)
    del ways[room]
    return ways


def _explained(path: list[Import], allowed: set[str]) -> bool:
    """Whether the fault lies further on, with a room that this one may reach; it is told there."""
    return any(_room(step.target) in allowed for step in path[:-1])


def _circle_rule(root: Path, found: list[Import]) -> Iterator[str]:
    """Yield one message per circle of folders, with an import of every step."""
    files = {module: file for file, module in source_files(root)}
    packages = {module for module, file in files.items() if file.name == "__init__.py"}
    steps: dict[tuple[str, str], str] = {}
    for each in found:
        target = each.target
        while target and target not in files:
            target = target.rpartition(".")[0]
        ends = _place(each.module, packages), _place(target, packages)
        if target and ends[0] != ends[1]:
            steps.setdefault(ends, each.where)
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from(steps)
    for circle in nx.strongly_connected_components(graph):
        if len(circle) > 1:
            inside = [(a, b) for a, b in sorted(steps) if a in circle and b in circle]
            yield "; ".join(f"{steps[a, b]}: {a} imports {b}" for a, b in inside) + ": a circle"


def _place(module: str, packages: set[str]) -> str:
    """Return the folder that a module lies in; the module itself beside folders."""
    package = module if module in packages else module.rpartition(".")[0]
    return module if any(p.startswith(package + ".") for p in packages) else package
