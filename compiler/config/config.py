"""The training configuration: a TOML file, overridden by flags, with the origin of every value.

    surrogate = config.surrogate("lif1")     # Surrogate(name, params) with its origin, or None
    config.number("loss.scale"), config.origin("loss.scale")

The keys are those of :mod:`snncc.compiler.config.schema`; an unknown one is an error.  What neither
file nor flag says is None or the documented default; the ``configure`` pass decides the rest with
the model's metadata.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from snncc.compiler.config.check import (
    Origin,
    Surrogate,
    check_value,
    read_surrogate,
    suggest,
)
from snncc.compiler.config.schema import (
    BY_PATH,
    RESET_GRADIENTS,
    SECTIONS,
    Value,
)
from snncc.compiler.diag import DiagnosticSink, fail
from snncc.compiler.ir.surrogate import rule_of
from snncc.isa.files.toml_text import TomlError, read_toml
from snncc.isa.files.whole_file import read_at_most

MAX_BYTES = 1 << 20
_T = TypeVar("_T")
_ReadTable: TypeAlias = Callable[[str, Mapping[str, object], str], None]


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, where it came from, and the place in the file."""

    value: Value
    origin: Origin = "config"
    where: str = ""


@dataclass(slots=True)
class Config:
    """What file and flags say.  ``file`` is '' when there is none."""

    file: str = ""
    settings: dict[str, Setting] = field(default_factory=dict[str, Setting])
    surrogates: dict[str, Surrogate] = field(default_factory=dict[str, Surrogate])
    resets: dict[str, Setting] = field(default_factory=dict[str, Setting])
    """The last two by layer pattern, '*' for all."""

    def get(self, path: str) -> Setting:
        """Return a key's setting; its default when nobody said it."""
        said = self.settings.get(path)
        return said if said is not None else Setting(BY_PATH[path].default, "default")

    def said(self, path: str) -> bool:
        """Whether file or flags say this key."""
        return path in self.settings

    def origin(self, path: str) -> Origin:
        """Return where the value of a key came from."""
        return self.get(path).origin

    def text(self, path: str) -> str:
        """Return a text value ('' for None)."""
        value = self.get(path).value
        return value if isinstance(value, str) else ""

    def number(self, path: str) -> float:
        """Return a number."""
        value = self.get(path).value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{path} is {value!r}, not a number")
        return float(value)

    def integer(self, path: str) -> int | None:
        """Return an integer or None."""
        value = self.get(path).value
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, path: str) -> bool:
        """Return a boolean."""
        return self.get(path).value is True

    def texts(self, path: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self.get(path).value
        return tuple(str(v) for v in value) if isinstance(value, tuple) else ()

    def floats(self, path: str) -> tuple[float, ...]:
        """Return a list of numbers."""
        value = self.get(path).value
        return tuple(float(v) for v in value) if isinstance(value, tuple) else ()

    def integers(self, path: str) -> tuple[int, ...]:
        """Return a list of integers."""
        value = self.get(path).value
        return tuple(int(v) for v in value) if isinstance(value, tuple) else ()

    def surrogate(self, layer: str) -> Surrogate | None:
        """Return the surrogate that the configuration gives a layer; the longest pattern wins."""
        return _pick(self.surrogates, layer)

    def reset_gradient(self, layer: str) -> Setting | None:
        """Return attached or detached, if the configuration says it for a layer."""
        return _pick(self.resets, layer)

    def override(self, values: Mapping[str, Value], origin: Origin = "flag") -> Config:
        """Return a copy in which the given values (None: not given) win; checks them."""
        sink = DiagnosticSink()
        settings = dict(self.settings)
        for path, value in values.items():
            if value is None:
                continue
            if path not in BY_PATH:
                raise ValueError(f"{path} is not a configuration key")
            checked = check_value(BY_PATH[path], value, _flag_place(path), sink)
            settings[path] = Setting(checked, origin)
        sink.raise_if_errors()
        return Config(self.file, settings, dict(self.surrogates), dict(self.resets))

    def with_surrogate(self, text: str) -> Config:
        """Return a copy with ``NAME[:param=value,...]`` or ``NAME:value`` for every layer."""
        name, _, rest = text.partition(":")
        table: dict[str, object] = {"name": name}
        sink = DiagnosticSink()
        rule = rule_of(name)
        places = list(rule.params) if rule else []
        for i, part in enumerate(p for p in rest.split(",") if p):
            key, eq, value = part.partition("=")
            if not eq and i < len(places):
                key, value = places[i], key
            try:
                table[key.strip()] = float(value)
            except ValueError:
                sink.error("E0352", f"{part!r} is not PARAMETER=NUMBER", "--surrogate")
        found = read_surrogate(table, lambda _: "--surrogate", sink, "flag")
        sink.raise_if_errors()
        assert found is not None
        return Config(self.file, dict(self.settings), {"*": found}, dict(self.resets))

    def with_reset_gradient(self, gradient: str) -> Config:
        """Return a copy with this reset gradient for every layer."""
        return Config(
            self.file,
            dict(self.settings),
            dict(self.surrogates),
            {"*": Setting(gradient, "flag", "--reset-gradient")},
        )


def load_config(path: Path) -> Config:
    """Read a TOML file; every error in it is reported, with line and suggestion."""
    try:
        data = read_at_most(path, MAX_BYTES)
    except OSError as error:
        fail("E0005", f"cannot read: {error.strerror}", str(path))
    if len(data) > MAX_BYTES:
        fail("E0350", "larger than 1 MB, no configuration", str(path))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{path}: byte {error.start}"
        fail("E0350", "not UTF-8 text", where)
    return parse_config(text, str(path))


def parse_config(text: str, name: str = "<config>") -> Config:
    """Read a configuration from text."""
    try:
        data = read_toml(text)
    except TomlError as error:
        where = f"{name}:{error.line}:{error.column}" if error.line else name
        fail("E0350", error.message, where)
    return _Reader(text, name).read(data)


class _Reader:
    """Checks a parsed file and finds the lines to complain about."""

    def __init__(self, text: str, name: str) -> None:
        self.lines = text.split("\n")
        self.name = name
        self.sink = DiagnosticSink()
        self.config = Config(name)

    def read(self, data: Mapping[str, object]) -> Config:
        for key, value in data.items():
            if _is_table(value) and key in SECTIONS:
                self._section(key, _table(value))
            elif key in BY_PATH:
                self._set(key, value)
            else:
                kind = "section" if _is_table(value) else "key"
                known = [k for k in BY_PATH if "." not in k] if kind == "key" else list(SECTIONS)
                self._unknown(kind, "", key, known)
        self.sink.raise_if_errors()
        return self.config

    def _section(self, section: str, table: Mapping[str, object]) -> None:
        if section == "surrogate":
            self._layered(section, table, self._surrogate)
        elif section == "reset":
            self._layered(section, table, self._reset)
        else:
            for key, value in table.items():
                path = f"{section}.{key}"
                if path in BY_PATH:
                    self._set(path, value)
                else:
                    known = [p.partition(".")[2] for p in BY_PATH if p.startswith(section + ".")]
                    self._unknown("key", section, key, known)

    def _layered(self, section: str, table: Mapping[str, object], read: _ReadTable) -> None:
        own = {k: v for k, v in table.items() if not _is_table(v)}
        if own:
            read("*", own, section)
        for layer, value in table.items():
            if _is_table(value):
                read(layer, _table(value), f"{section}.{layer}")

    def _surrogate(self, layer: str, table: Mapping[str, object], section: str) -> None:
        found = read_surrogate(table, lambda key: self.place(section, key), self.sink, "config")
        if found is not None:
            self.config.surrogates[layer] = found

    def _reset(self, layer: str, table: Mapping[str, object], section: str) -> None:
        for key, value in table.items():
            where = self.place(section, key)
            if key != "gradient":
                self._unknown("key", section, key, ["gradient"])
            elif value not in RESET_GRADIENTS:
                text = f"[{section}] gradient is {value!r}, not one of {', '.join(RESET_GRADIENTS)}"
                self.sink.error("E0352", text, where, help=suggest(value, RESET_GRADIENTS))
            else:
                self.config.resets[layer] = Setting(str(value), "config", where)

    def _set(self, path: str, value: object) -> None:
        section, _, key = path.rpartition(".")
        where = self.place(section, key)
        self.config.settings[path] = Setting(
            check_value(BY_PATH[path], value, where, self.sink), "config", where
        )

    def _unknown(self, kind: str, section: str, key: str, known: list[str]) -> None:
        inside = f" in [{section}]" if section else ""
        self.sink.error(
            "E0351",
            f"unknown {kind} {key!r}{inside}",
            self.place(section, key) if kind == "key" else self.place(key, ""),
            help=suggest(key, known) or f"known here: {', '.join(known)}",
        )

    def place(self, section: str, key: str) -> str:
        """Return ``file:line:col`` of a key, or of its section, or the file."""
        here, header = "", 0
        for number, line in enumerate(self.lines, 1):
            found = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line)
            if found:
                here = found[1].replace('"', "").replace("'", "")
                if here == section:
                    header = number
            elif here == section or (not here and section):
                wanted = key if here == section else f"{section}.{key}"
                match = re.match(rf"(\s*)[\"']?{re.escape(wanted)}[\"']?\s*=", line)
                if key and match:
                    return f"{self.name}:{number}:{len(match[1]) + 1}"
        return f"{self.name}:{header}:1" if header else self.name


def _pick(patterns: Mapping[str, _T], layer: str) -> _T | None:
    fitting = [p for p in patterns if p == layer or fnmatchcase(layer, p)]
    return patterns[max(fitting, key=lambda p: (p == layer, len(p)))] if fitting else None


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _table(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value)


def _flag_place(path: str) -> str:
    return f"--{path.rpartition('.')[2].replace('_', '-')}"
