"""The bytes of a raw file, decompressed, and the one way in which a reader refuses a row while it reads."""

from __future__ import annotations

import gzip
import io
import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from recbole_hiersrec.data.log import REJECTED, BadRows, short
from recbole_hiersrec.errors import InputError

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Content:
    """A file that exists, is not empty, and is decompressed.

    Attributes:
        path: the file, for messages.
        data: its bytes; mapped, not loaded, unless the file is compressed.
        kind: its suffix in lower case, without ".gz": ".csv", ".parquet", ...
    """

    path: Path
    data: bytes | mmap.mmap
    kind: str

    @property
    def source(self) -> Path | bytes:
        """What Polars reads: the file itself where it can be mapped."""
        return self.data if isinstance(self.data, bytes) else self.path

    def lines(self) -> Iterator[bytes]:
        """Lines with their ends, split at line feeds only; a byte order mark is left out."""
        if isinstance(self.data, bytes):
            lines: Iterator[bytes] = iter(io.BytesIO(self.data))
        else:
            self.data.seek(0)
            lines = iter(self.data.readline, b"")
        first = next(lines, b"")
        yield first.removeprefix(BOM)
        yield from lines


def open_content(path: Path) -> Content:
    """Open a raw file, and decompress it if it is gzip (by its first bytes, whatever its name).

    Raises:
        InputError: it is missing, a folder, empty, unreadable, an archive, or gzip that is damaged or cut short;
            or its path is not UTF-8, which neither Polars nor a manifest can name.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    try:
        data = _map(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(path)
    elif suffixes[-1:] == [".gz"]:
        raise InputError(f"{path}: is not gzip, though its name ends in .gz; rename it or compress it again")
    if data[:4] == b"PK\x03\x04":
        raise InputError(f"{path}: is a zip archive; unpack it and pass the file inside")
    if not data[:4].removeprefix(BOM):
        raise InputError(f"{path}: is empty")
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return Content(path, data, suffixes[-1] if suffixes else "")


def _map(path: Path) -> bytes | mmap.mmap:
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is {'a folder' if path.is_dir() else 'no plain file'}; expected a file")
    if (name := printable(str(path))) != str(path):
        raise InputError(f"{name}: the path is not UTF-8; rename it")
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise InputError(f"{path}: is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def printable(text: str) -> str:
    """Text with the bytes that are not UTF-8, which Python keeps as lone surrogates, as ``\\xff``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    """A cell or line for a message: printable, and not too long."""
    return short(printable(text))


def _gunzip(path: Path) -> bytes:
    try:
        with gzip.open(path, "rb") as file:
            return file.read()
    except EOFError:
        raise InputError(
            f"{path}: the gzip file is cut short (it ends before its end mark); fetch it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path}: the gzip file is damaged ({error}); fetch it again") from None


@dataclass
class Faults:
    """Rows that a reader refuses: the first one stops it, or all are collected.

    Attributes:
        path: the file, for messages.
        bad_rows: "stop" or "skip".
        rows: (file, row, column, received, reason) of what was refused.
    """

    path: Path
    bad_rows: BadRows
    rows: list[tuple[str, int, str, str, str]] = field(default_factory=list)

    def add(self, row: int, column: str, received: str, reason: str) -> None:
        """Refuse a row; ``column`` is empty where the whole row is at fault.

        Raises:
            InputError: ``bad_rows`` is "stop".
        """
        received, column = short(received), short(column)
        if self.bad_rows == "stop":
            place = f", column '{column}'" if column else ""
            raise InputError(f"{self.path}, row {row}{place}: received {received!r}; {reason}")
        self.rows.append((self.path.name, row, column, received, reason))

    def nothing_left(self) -> str:
        """The message for a file without a single good row."""
        if not self.rows:
            return f"{self.path}: holds no rows"
        _, row, column, received, reason = self.rows[0]
        place = f", column '{column}'" if column else ""
        return f"{self.path}: every row was refused; row {row}{place}: received {received!r}; {reason}"

    def frame(self) -> pl.DataFrame:
        """What was refused, with the columns of :data:`~recbole_hiersrec.data.log.REJECTED`."""
        return pl.DataFrame(self.rows, schema=REJECTED, orient="row")
