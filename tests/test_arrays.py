"""Files of named arrays: nothing lost, nothing that depends on the time, damage named."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from recbole_hiersrec import arrays
from recbole_hiersrec.arrays import read_arrays, write_arrays
from recbole_hiersrec.errors import InputError

ANY = st.one_of(
    npst.arrays(st.sampled_from([np.int64, np.float64, np.float32, np.int32]), st.integers(0, 30)),
    npst.arrays(np.bool_, st.integers(0, 30)),
)


@given(array=ANY)
def test_any_array_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "arrays.npz"
    write_arrays(path, {"some ranks@0.04": array})
    (back,) = read_arrays(path).values()
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")
    assert back.dtype == {"i": np.int64, "f": np.float64, "b": np.bool_}[array.dtype.kind]


@pytest.mark.parametrize("value", [2.0**24 + 1, 0.1, 1e300])
def test_a_number_that_half_the_width_would_change_keeps_its_width(tmp_path: Path, value: float) -> None:
    write_arrays(tmp_path / "a.npz", {"exact": np.array([1.5, np.inf]), "wide": np.array([value])})
    with np.load(tmp_path / "a.npz") as file:
        assert (file["exact"].dtype, file["wide"].dtype) == (np.float16, np.float64)
    assert read_arrays(tmp_path / "a.npz")["wide"] == value


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    named = {"all": np.arange(1000.0), "session": np.arange(1000)}
    for name in ("a", "b"):
        write_arrays(tmp_path / name, named)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len((tmp_path / "a").read_bytes()) < 4000


@pytest.mark.parametrize("flipped", [0xFF, 0x01])
def test_damage_is_one_line_or_harmless(tmp_path: Path, flipped: int) -> None:
    """Every byte in turn: the arrays come back (some bytes say nothing of them), or one line says what is wrong."""
    path = tmp_path / "ranks.npz"
    array = np.random.default_rng(1).integers(0, 99, 40)
    write_arrays(path, {"all": array})
    whole, named = path.read_bytes(), 0
    for position in range(len(whole)):
        content = bytearray(whole)
        content[position] ^= flipped
        path.write_bytes(content)
        try:
            found, message = read_arrays(path), ""
        except InputError as error:
            found, message = {}, str(error)
        named += bool(message)
        assert not message or (message.startswith(f"{path} is damaged: ") and "\n" not in message)
        assert all(np.array_equal(values, array) for values in found.values()), position
    assert named > len(whole) / 2


def test_a_truncated_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ranks.npz"
    write_arrays(path, {"all": np.arange(200)})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"ranks\.npz is damaged: "):
        read_arrays(path)


def test_without_lzma_files_are_larger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "PACKED", zipfile.ZIP_DEFLATED)
    write_arrays(tmp_path / "ranks.npz", {"all": np.arange(200)})
    assert read_arrays(tmp_path / "ranks.npz")["all"].tolist() == list(range(200))
