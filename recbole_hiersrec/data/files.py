"""RecBole's atomic files on disk: where they are, what columns they have, what they hash to.

Nothing here needs RecBole or torch, so a suite can be checked before anything heavy is imported.
Format: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.names import recbole_folder

SEPARATOR = "\t"
SHORTEST = 4  # interactions: one to begin with, one target each for training, validation and test
MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"}
    | {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
"""What pandas.read_csv takes for a missing value (its documentation of na_values)."""
PACKAGED = (
    "ml-100k"  # RecBole reads this name from its own folder and ignores data_path (configurator.py:381)
)


def dataset_folder(name: str, data_path: str | Path) -> Path:
    """Folder of the data set ``name``: RecBole's own for ml-100k, ``data_path/name`` for any other."""
    if name != PACKAGED:
        return Path(data_path) / name
    return recbole_folder() / "dataset_example" / PACKAGED


def atomic_files(name: str, data_path: str | Path = "dataset", separator: str = SEPARATOR) -> dict[str, Path]:
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
    header(found["inter"], separator)
    if next(_rows(found["inter"], separator), None) is None:
        raise InputError(f"data set '{name}' is empty: {found['inter']} has a header and no rows")
    return found


def header(path: Path, separator: str = SEPARATOR) -> list[tuple[str, str]]:
    """Columns of an atomic file as (field, type), from its first line ``field:type<TAB>field:type...``."""
    line = next(_lines(path), "")
    if line.startswith("\ufeff"):
        raise InputError(
            f"{path}: begins with a byte order mark, which RecBole takes for part of the first name"
        )
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
    return [value for _, (value,) in _cells(path, [field], separator)]


def check_interactions(path: Path, user: str, item: str, when: str, separator: str = SEPARATOR) -> set[str]:
    """Read an .inter file once and make sure that RecBole will take every row for what it says.

    Returns:
        The different item tokens.

    Raises:
        InputError: a column is missing, a cell is empty, a token would be read as missing (pandas takes "NA" and
            "null" for that, and RecBole then drops the row), a time is not a number, or no session has the
            four interactions that training, validation and test together need.
    """
    items = set()
    lengths: Counter[str] = Counter()
    for number, cells in _cells(path, [user, item, when], separator):
        for field, cell in zip((user, item), cells[:2], strict=True):
            if cell in MISSING:
                raise InputError(
                    f"{path}, line {number}: {field} is {cell!r}, which RecBole reads as missing; rename it"
                )
        try:
            finite = math.isfinite(float(cells[2]))
        except ValueError:
            finite = False
        if not finite:
            raise InputError(f"{path}, line {number}: {when} is {cells[2]!r}; allowed: a number")
        items.add(cells[1])
        lengths[cells[0]] += 1
    if max(lengths.values(), default=0) < SHORTEST:
        raise InputError(
            f"{path}: every session is too short; leave-one-out needs sessions of {SHORTEST} or more"
        )
    return items


def _cells(path: Path, fields: Sequence[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells of ``fields``) of every row."""
    known = [name for name, _ in header(path, separator)]
    for field in fields:
        if field not in known:
            raise InputError(
                f"{path}: no column '{field}'{nearest(field, known)} (columns: {', '.join(known)})"
            )
    positions = [known.index(field) for field in fields]
    for number, cells in _rows(path, separator):
        if len(cells) != len(known):
            raise InputError(f"{path}, line {number}: {len(cells)} cells, the header has {len(known)}")
        yield number, [cells[position] for position in positions]


def _rows(path: Path, separator: str = SEPARATOR) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row below the header; blank lines are left out."""
    lines = _lines(path)
    next(lines, "")
    for number, line in enumerate(lines, start=2):
        if line:
            yield number, line.split(separator)


def _lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file without their ends; raises :class:`InputError` where it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is not UTF-8: byte {error.object[error.start]:#04x}, {error.reason}"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
