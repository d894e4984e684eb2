"""From YAML and mappings to settings; a fault is one line: where, what was received, what is allowed or nearest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from recbole_hiersrec.errors import InputError, nearest


class Settings(BaseModel):
    """Base: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, and in addition 1e-3 is a number, as in RecBole's files."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping in which no key stands twice; PyYAML alone keeps the last one without a word.

    A merge ("<<: *anchor") brings keys that those of the mapping itself replace.
    """
    own = [key_node for key_node, _ in node.value if key_node.tag != "tag:yaml.org,2002:merge"]
    keys = [loader.construct_object(key_node, deep=True) for key_node in own]
    for key_node, key in zip(own, keys, strict=True):
        if keys.count(key) > 1:
            raise yaml.constructor.ConstructorError(
                problem=f"key '{key}' stands more than once", problem_mark=key_node.start_mark
            )
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)

S = TypeVar("S", bound=Settings)


def parse(cls: type[S], values: Any, where: str) -> S:
    """Build ``cls`` from a mapping, or raise :class:`InputError` with one line.

    Args:
        cls: the settings class.
        values: what was read (from YAML, a dict, RecBole's configuration).
        where: named in the message, for instance the path of the file.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: expected settings as 'key: value', received {short(values)}")
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        raise InputError(f"{where}: {_first_line(error, cls)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; every fault becomes an :class:`InputError` that names the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{path}{place}: not YAML: {problem}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected settings as 'key: value', received {short(values)}")
    return values


def assignments(entries: Iterable[str], where: str) -> dict[str, Any]:
    """Read ``KEY=VALUE`` texts, the values as YAML.

    Raises:
        InputError: an entry has no "=", its value is not YAML, or a key stands twice.
    """
    found: dict[str, Any] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key or key in found:
            raise InputError(f"{where}: received {entry!r}; allowed: KEY=VALUE, each key once")
        try:
            found[key] = yaml.load(value, Loader=_Loader)
        except yaml.YAMLError:
            raise InputError(f"{where}: the value in {entry!r} is not YAML") from None
    return found


def short(value: Any) -> str:
    """A value as messages show it: its repr, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _first_line(error: ValidationError, cls: type[Settings]) -> str:
    """The first fault as one line: key, what is wrong, what was received, nearest name."""
    faults = error.errors(include_url=False)
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    path = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        key = str(fault["loc"][-1])
        allowed = _fields_at(cls, fault["loc"][:-1])
        return f"unknown key '{path}'{nearest(key, allowed)} (allowed: {', '.join(allowed)})"
    message = _in_yaml_words(fault["msg"].removeprefix("Value error, "))
    if fault["type"] == "missing":
        return f"key '{path}' is missing"
    if fault["type"] == "value_error":
        return f"{path + ': ' if path else ''}{message}"
    hint = ""
    if fault["type"] == "literal_error":
        hint = nearest(str(fault["input"]), re.findall(r"'([^']+)'", str(fault["ctx"]["expected"])))
    return f"{path}: {message[0].lower() + message[1:]}; received {short(fault['input'])}{hint}"


def _in_yaml_words(message: str) -> str:
    """Pydantic's message in the words of somebody who writes YAML."""
    message = re.sub(r"a valid dictionary or instance of \w+", "a block of 'key: value'", message)
    message = re.sub(r"a valid (tuple|list)", "a list", message)
    return re.sub(r"\b[Tt]uple should", "The list should", message)


def _fields_at(cls: type[Settings], location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the settings class at ``location`` below ``cls``."""
    current: type[Settings] = cls
    for part in location:
        if isinstance(part, str) and part in current.model_fields:
            inner = _settings_in(current.model_fields[part].annotation)
            if inner is not None:
                current = inner
    return list(current.model_fields)


def _settings_in(annotation: Any) -> type[Settings] | None:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _settings_in(argument)
        if found is not None:
            return found
    return None
