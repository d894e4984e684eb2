"""Which keys may stand in a configuration: ours, and all that RecBole knows. Imports neither torch nor RecBole."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml

from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.names import recbole_folder
from recbole_hiersrec.reading import Settings
from recbole_hiersrec.settings import NEIGHBOUR_SETTINGS, HierSRecSettings

EXTRA_KEYS = frozenset(
    {
        "exact_time_order",
        "log_dir",
        "max_steps",
        "max_seconds",
        "catalogue_items",
        "history",
        "precision",
        "weight_average",
        "prepared_split",
    }
)
"""Keys of this package beside those of :data:`MODEL_KEYS`."""

_SETTINGS: tuple[type[Settings], ...] = (HierSRecSettings, *NEIGHBOUR_SETTINGS.values())
MODEL_KEYS = tuple(dict.fromkeys(key for settings in _SETTINGS for key in settings.model_fields))
"""Keys of this package's models."""

_READ = re.compile(
    r"""config(?:_dict)?(?:\[\s*|\.get\(\s*)["']([^"']+)["']|["'](\w+)["']\s+(?:not\s+)?in\s+(?:self\.)?config\b"""
)


def check_keys(given: Iterable[str], where: str) -> None:
    """Raise :class:`InputError` for the first key that neither this package nor RecBole reads."""
    allowed = recbole_keys() | EXTRA_KEYS | set(MODEL_KEYS)
    for key in given:
        if key not in allowed:
            close = nearest(key, [*MODEL_KEYS, *EXTRA_KEYS, *sorted(allowed)])
            raise InputError(f"{where}: unknown key '{key}'{close}")


@lru_cache(maxsize=1)
def recbole_keys() -> frozenset[str]:
    """Keys in RecBole's default files and argument lists, and keys that its code reads."""
    folder = recbole_folder()
    keys = _listed(folder / "utils" / "argument_list.py")
    for path in (folder / "properties").rglob("*.yaml"):
        if path.name not in ("url.yaml", "kg_url.yaml"):  # lists of downloads, no settings
            keys.update(yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader) or {})
    for path in folder.rglob("*.py"):
        keys.update(name for pair in _READ.findall(path.read_text(encoding="utf-8")) for name in pair if name)
    return frozenset(keys)


def _listed(path: Path) -> set[str]:
    """All strings in a file of lists of names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
