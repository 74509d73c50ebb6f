"""A configuration as TOML, so that a run can be repeated from one file."""

from __future__ import annotations

import json

from snncc.compiler.config.config import Config
from snncc.compiler.config.schema import Value


def to_toml(config: Config) -> str:
    """Return what file, flags and model say; what is left to defaults stays out."""
    sections: dict[str, list[str]] = {"": []}
    for path, setting in config.settings.items():
        section, _, key = path.rpartition(".")
        if setting.value is not None:
            sections.setdefault(section, []).append(f"{key} = {_value(setting.value)}")
    for layer, rule in config.surrogates.items():
        lines = sections.setdefault(_table("surrogate", layer), [])
        lines.append(f"name = {_text(rule.name)}")
        lines += [f"{key} = {_value(value)}" for key, value in rule.params.items()]
    for layer, setting in config.resets.items():
        lines = sections.setdefault(_table("reset", layer), [])
        lines.append(f"gradient = {_value(setting.value)}")
    text = [*sections.pop("")]
    for name, lines in sections.items():
        text += [f"[{name}]", *lines]
    return "".join(f"{line}\n" for line in text)


def _table(section: str, layer: str) -> str:
    return section if layer == "*" else f"{section}.{_text(layer)}"


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _text(text: str) -> str:
    """Return a text in quotes; TOML escapes as JSON does, but knows no halves of characters."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
