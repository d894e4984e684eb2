"""RecBole's atomic files on disk: where they are, what columns they have, what they hash to.

Nothing here needs RecBole or torch, so a suite can be checked before anything heavy is imported; Polars reads the
rows, and is imported when there are rows to read.
Format: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.keys import check_keys
from recbole_hiersrec.names import recbole_folder
from recbole_hiersrec.reading import read_yaml

if TYPE_CHECKING:
    import polars as pl

SEPARATOR = "\t"
LINE = "__line__"
"""Column of :func:`read_columns`: number of the line in the file, from 1; the header is line 1."""

SHORTEST = {"leave-one-out": 4, "temporal": 2}
"""Split -> interactions of the shortest session with a target: leave-one-out needs one each for training, validation
and test."""

MISSING = frozenset(
    {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"}
    | {"NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
)
"""What pandas.read_csv takes for a missing value (its documentation of na_values)."""
MISREAD = r'^"|[\r\x00]'
"""In a token: pandas.read_csv takes it for a quoted cell or a line break, or pandas.factorize for the token's end."""
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


def read_columns(path: Path, fields: Sequence[str], separator: str = SEPARATOR) -> pl.DataFrame:
    """Columns of an atomic file as text: cells as written, without quoting; blank lines are left out.

    Returns:
        :data:`LINE`, then the columns ``fields``, named without their types.

    Raises:
        InputError: the file has no such column, a row has too few or too many cells, or it is not UTF-8.
    """
    import polars as pl

    known = [name for name, _ in header(path, separator)]
    for field in fields:
        if field not in known:
            raise InputError(
                f"{path}: no column '{field}'{nearest(field, known)} (columns: {', '.join(known)})"
            )
    frame = read_even(path, len(known), separator)
    if frame is None:
        frame = _read_lines(path, len(known), separator)
    return frame.select(LINE, *(pl.col(str(known.index(field))).alias(field) for field in fields))


def column(path: Path, field: str, separator: str = SEPARATOR) -> list[str]:
    """All values of one column, as written.

    Raises:
        InputError: the file has no such column, or a row has too few cells.
    """
    return read_columns(path, [field], separator)[field].to_list()


def check_interactions(
    path: Path, user: str, item: str, when: str, separator: str = SEPARATOR, split: str = "leave-one-out"
) -> set[str]:
    """Read an .inter file and make sure that RecBole will take every row for what it says.

    Returns:
        The different item tokens.

    Raises:
        InputError: a column is missing, a cell is empty, a token would be read as missing (pandas takes "NA" and
            "null" for that, and RecBole then drops the row) or as another one (see :data:`MISREAD`), a time is not a
            number, or no session has the interactions that the split needs (see :data:`SHORTEST`).
    """
    import polars as pl

    frame = read_columns(path, [user, item, when], separator)
    missing = list(MISSING)
    time = pl.col(when).str.strip_chars().cast(pl.Float64, strict=False)  # pandas strips them too
    no_number = ~time.is_finite().fill_null(False)
    tokens = pl.col(user, item)
    misread = pl.any_horizontal(tokens.is_in(missing) | tokens.str.contains(MISREAD))
    wrong = frame.filter(misread | no_number)
    for row in wrong.head(1).iter_rows(named=True):
        where = f"{path}, line {row[LINE]}"
        for field in (user, item):
            if row[field] in MISSING:
                raise InputError(
                    f"{where}: {field} is {row[field]!r}, which RecBole reads as missing; rename it"
                )
            if re.search(MISREAD, row[field]):
                raise InputError(
                    f"{where}: {field} is {row[field]!r}, which RecBole reads otherwise; "
                    "allowed: no quote at the start, no carriage return, no NUL"
                )
        raise InputError(f"{where}: {when} is {row[when]!r}; allowed: a number")
    shortest = SHORTEST[split]
    if not (frame.group_by(user).len()["len"] >= shortest).any():
        raise InputError(f"{path}: every session is too short; {split} needs sessions of {shortest} or more")
    return set(frame[item].unique().to_list())


def folder_settings(name: str, data_path: str | Path) -> dict[str, Any]:
    """Settings in NAME.yaml of the data set's folder, which preparation writes; {} where there is no such file.

    Raises:
        InputError: it is not YAML, or a key is unknown.
    """
    path = dataset_folder(name, data_path) / f"{name}.yaml"
    if not path.is_file():
        return {}
    values = read_yaml(path)
    check_keys(values, str(path))
    return values


def read_even(path: Path, n_cells: int, separator: str) -> pl.DataFrame | None:
    """The rows as columns "0", "1", ... beside :data:`LINE`; None unless every line has ``n_cells`` cells."""
    import polars as pl

    if len(separator.encode()) != 1:
        return None
    try:
        frame = pl.read_csv(
            path,
            separator=separator,
            quote_char=None,
            infer_schema=False,
            empty_string_is_null=False,
            glob=False,
        )
    except pl.exceptions.PolarsError:  # reading line by line says which line it is, and why
        return None
    frame.columns = [str(position) for position in range(n_cells)]
    # Polars stops at a cell too many, but fills up cells that are missing: then separators are missing as well.
    if _count(path, separator.encode()) != (len(frame) + 1) * (n_cells - 1):
        return None
    if n_cells == 1 and (frame["0"] == "").any():
        return None
    return frame.with_row_index(LINE, offset=2)


def _read_lines(path: Path, n_cells: int, separator: str) -> pl.DataFrame:
    """As :func:`read_even`, line by line: slower, skips blank lines, and names the line that is at fault."""
    import polars as pl

    numbers, rows = [], []
    for number, cells in _rows(path, separator):
        if len(cells) != n_cells:
            raise InputError(f"{path}, line {number}: {len(cells)} cells, the header has {n_cells}")
        numbers.append(number)
        rows.append(cells)
    schema = {str(position): pl.String() for position in range(n_cells)}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.insert_column(0, pl.Series(LINE, numbers, dtype=pl.UInt32))


def _count(path: Path, byte: bytes) -> int:
    with path.open("rb") as file:
        return sum(block.count(byte) for block in iter(lambda: file.read(1 << 20), b""))


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
