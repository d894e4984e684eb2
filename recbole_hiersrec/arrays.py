"""Named arrays in one small file that ``numpy.load`` opens: npz, packed by LZMA, in the narrowest exact type.

Ranks of test cases are kept so (ranks.npz): about half the size that ``numpy.savez_compressed`` gives them.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recbole_hiersrec.errors import InputError

try:
    import lzma  # noqa: F401
except ImportError:  # Python was built without it: files are written larger
    PACKED = zipfile.ZIP_DEFLATED
else:
    PACKED = zipfile.ZIP_LZMA

WIDE = {"i": np.int64, "f": np.float64}
NARROW = {"i": (np.int8, np.int16, np.int32), "f": (np.float16, np.float32)}


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file of named arrays; the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w") as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = PACKED
            with file.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, _narrowed(array), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, numbers as int64 and float64.

    Raises:
        InputError: the file is damaged, or packed in a way that this Python cannot read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: _as_type(file[name], WIDE) for name in file.files}
    except MemoryError:
        raise
    # A wrong byte makes zipfile, its decompressors and numpy's header raise nearly anything.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is damaged: {reason}") from None


def check_size(path: Path, most: int) -> None:
    """Refuse an npz file, before anything of it is unpacked, that would unpack to more than ``most`` bytes.

    An array's header may ask for any amount of memory; here it must ask for what its entry holds, and all entries
    together for no more than is allowed. (Python unpacks no more of an entry than the archive says it holds.)

    Raises:
        InputError: it would, it holds something other than plain arrays, or it is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(entry.file_size for entry in archive.infolist())
            if held > most:
                raise InputError(f"{path}: unpacks to {held:,} bytes; allowed: at most {most:,}")
            for entry in archive.infolist():
                with archive.open(entry) as file:
                    read = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }
                    shape, _, dtype = read[np.lib.format.read_magic(file)](file)
                    if dtype.hasobject or math.prod(shape) * dtype.itemsize != entry.file_size - file.tell():
                        raise InputError(f"{path}: array {entry.filename} is not of the size that it says")
    except (
        OSError,
        zipfile.BadZipFile,
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _narrowed(array: np.ndarray) -> np.ndarray:
    """The array in the narrowest type that changes no value."""
    for dtype in NARROW.get(array.dtype.kind, ()):
        with np.errstate(over="ignore"):
            narrow = array.astype(dtype, copy=False)
        if np.array_equal(narrow, array, equal_nan=array.dtype.kind == "f"):
            return narrow
    return array


def _as_type(array: np.ndarray, types: Mapping[str, type]) -> np.ndarray:
    return array.astype(types.get(array.dtype.kind, array.dtype), copy=False)
