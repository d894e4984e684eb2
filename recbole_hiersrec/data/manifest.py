"""manifest.json: what a prepared data set was made from, how, and what came out. No times and no paths: equal
input and settings give equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_hiersrec import __version__, resources
from recbole_hiersrec.errors import InputError

SCHEMA = 1
MANIFEST = "manifest.json"
IDENTITY = ("schema", "name", "source", "reader", "code", "inputs", "settings")
"""The parts that say what a preparation is; if all are equal, nothing needs to be done."""

SECTIONS = frozenset(
    {*IDENTITY, "time", "read", "rejected_rows", "ties_in_time", "counts", "result", "parts"}
    | {"items_without_a_row", "leakage", "levels", "notes", "outputs"}
)
"""All parts of a manifest."""

_HERE = Path(__file__).resolve().parent


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def describe_inputs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Name, size and hash of each input file; raises :class:`InputError` for one that cannot be read."""
    found = [(path, file_hash(path)) for path in paths]
    return [{"name": path.name, "bytes": path.stat().st_size, "sha256": digest} for path, digest in found]


def code_version() -> str:
    """The package's version and a hash of the code of preparation, so that changed code prepares anew."""
    return f"{__version__}+{resources.code_hash(_HERE)[:12]}"


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a prepared folder; None where there is none.

    Raises:
        InputError: it is damaged, or of another version of its format.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read: {error}; if hiersrec made this folder, delete it and prepare it again"
        ) from None
    if isinstance(values, dict) and values.get("schema") == SCHEMA and not set(values) >= SECTIONS:
        missing = ", ".join(sorted(SECTIONS - set(values)))
        raise InputError(
            f"{path}: lacks {missing}; if hiersrec made this folder, delete it and prepare it again"
        )
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        received = values.get("schema") if isinstance(values, dict) else type(values).__name__
        raise InputError(
            f"{path}: schema {received!r}; allowed: {SCHEMA}; if hiersrec made this folder, delete it and prepare "
            "it again"
        )
    return values


def is_current(folder: Path, wanted: dict[str, Any]) -> bool:
    """Whether ``folder`` holds all that preparing with ``wanted`` (the keys of IDENTITY) would write."""
    found = read_manifest(folder)
    if found is None or any(found.get(key) != wanted[key] for key in IDENTITY):
        return False
    return all((folder / name).is_file() for name in found["outputs"])


def changed_outputs(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Names of the files of a prepared folder that are there and are not what the manifest says."""
    outputs = manifest["outputs"]
    there = [name for name in outputs if (folder / name).is_file()]
    return [name for name in there if file_hash(folder / name) != outputs[name]]


def write_manifest(folder: Path, values: dict[str, Any]) -> None:
    """Write manifest.json, with the hashes of the other files of ``folder``."""
    outputs = {path.name: file_hash(path) for path in sorted(folder.iterdir())}
    text = json.dumps({**values, "outputs": outputs}, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
