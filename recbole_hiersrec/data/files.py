"""RecBole's atomic files on disk: where they are, what columns they have, what they hash to.

Nothing here needs RecBole or torch, so a suite can be checked before anything heavy is imported.
Format: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.names import recbole_folder

SEPARATOR = "\t"
PACKAGED = (
    "ml-100k"  # RecBole reads this name from its own folder and ignores data_path (configurator.py:381)
)


def dataset_folder(name: str, data_path: str | Path) -> Path:
    """Folder of the data set ``name``: RecBole's own for ml-100k, ``data_path/name`` for any other."""
    if name != PACKAGED:
        return Path(data_path) / name
    return recbole_folder() / "dataset_example" / PACKAGED


def atomic_files(name: str, data_path: str | Path = "dataset") -> dict[str, Path]:
    """Find the atomic files of a data set.

    Returns:
        suffix ("inter", "item", "user") -> path; "inter" is always there and holds at least one row.

    Raises:
        InputError: the data set is unknown, or its .inter file is missing or empty.
    """
    folder = dataset_folder(name, data_path)
    if not folder.is_dir():
        beside = (
            [path.name for path in Path(data_path).iterdir() if path.is_dir()]
            if Path(data_path).is_dir()
            else []
        )
        known = sorted({*beside, PACKAGED})
        raise InputError(
            f"unknown data set '{name}': no folder {folder}{nearest(name, known)} (there are: {', '.join(known)})"
        )
    files = {suffix: folder / f"{name}.{suffix}" for suffix in ("inter", "item", "user")}
    found = {suffix: path for suffix, path in files.items() if path.is_file()}
    if "inter" not in found:
        raise InputError(f"data set '{name}': {files['inter']} is missing")
    header(found["inter"])
    if next(_rows(found["inter"]), None) is None:
        raise InputError(f"data set '{name}' is empty: {found['inter']} has a header and no rows")
    return found


def header(path: Path, separator: str = SEPARATOR) -> list[tuple[str, str]]:
    """Columns of an atomic file as (field, type), from its first line ``field:type<TAB>field:type...``."""
    with path.open(encoding="utf-8") as file:
        line = file.readline().rstrip("\r\n")
    if not line:
        raise InputError(
            f"{path}: is empty; expected a header such as 'user_id:token{separator}item_id:token'"
        )
    columns = []
    for cell in line.split(separator):
        field, colon, kind = cell.rpartition(":")
        if not colon or kind not in ("token", "token_seq", "float", "float_seq"):
            raise InputError(
                f"{path}: header cell {cell!r} is not 'field:type' with type token, token_seq, float or float_seq"
            )
        columns.append((field, kind))
    return columns


def data_hash(files: Mapping[str, Path]) -> str:
    """SHA-256 (hex) over suffixes and bytes of the files, in the order of their suffixes."""
    digest = hashlib.sha256()
    for suffix in sorted(files):
        digest.update(f"{suffix}\0{files[suffix].stat().st_size}\0".encode())
        with files[suffix].open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def column(path: Path, field: str, separator: str = SEPARATOR) -> list[str]:
    """All values of one column, as written.

    Raises:
        InputError: the file has no such column, or a row has too few cells.
    """
    fields = [name for name, _ in header(path, separator)]
    if field not in fields:
        raise InputError(
            f"{path}: no column '{field}'{nearest(field, fields)} (columns: {', '.join(fields)})"
        )
    position = fields.index(field)
    values = []
    for number, cells in _rows(path, separator):
        if len(cells) <= position:
            raise InputError(f"{path}, line {number}: {len(cells)} cells, the header has {len(fields)}")
        values.append(cells[position])
    return values


def count_items(files: Mapping[str, Path], field: str = "item_id", *, catalogue: bool = False) -> int:
    """Number of different items in .inter, and with ``catalogue`` also those only in .item."""
    items = set(column(files["inter"], field))
    if catalogue and "item" in files:
        items.update(column(files["item"], field))
    return len(items)


def _rows(path: Path, separator: str = SEPARATOR) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row below the header; blank lines are left out."""
    with path.open(encoding="utf-8", newline="\n") as file:
        file.readline()
        for number, line in enumerate(file, start=2):
            text = line.rstrip("\r\n")
            if text:
                yield number, text.split(separator)
