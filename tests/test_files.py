"""Atomic files on disk: found, read, hashed, and every fault named in one line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from atomic_files import write_shop, write_split

from recbole_hiersrec.data.files import (
    LINE,
    MISSING,
    atomic_files,
    check_interactions,
    column,
    data_hash,
    header,
    read_columns,
)
from recbole_hiersrec.data.parts import TEST, TRAIN, VALID, check_parts, parts_of
from recbole_hiersrec.errors import InputError


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path)


def test_ml_100k_is_found_in_the_recbole_package() -> None:
    files = atomic_files("ml-100k", "nowhere")
    assert set(files) == {"inter", "item", "user"}
    assert len(check_interactions(files["inter"], "user_id", "item_id", "timestamp")) == 1682


def test_header_and_column(shop: Path) -> None:
    path = atomic_files("shop", shop)["item"]
    assert header(path) == [
        ("item_id", "token"),
        ("department", "token"),
        ("class", "token"),
        ("title", "token_seq"),
    ]
    assert column(path, "department") == ["d0"] * 5 + ["d1"] * 5


def test_missing_values_are_those_of_pandas() -> None:
    from pandas._libs.parsers import STR_NA_VALUES

    assert MISSING == STR_NA_VALUES


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("u1\tNA\t5", "line 74: item_id is 'NA', which RecBole reads as missing; rename it"),
        ("null\ti1\t5", "line 74: user_id is 'null'"),
        ('"u1"\ti1\t5', "line 74: user_id is '\"u1\"', which RecBole reads otherwise; allowed: no quote at"),
        ("u1\ti\r1\t5", r"line 74: item_id is 'i\\r1', which RecBole reads otherwise"),
        ("u1\ti1\0x\t5", r"line 74: item_id is 'i1\\x00x', which RecBole reads otherwise"),
        ("u1\t\t5", "line 74: item_id is ''"),
        ("u1\ti1", "line 74: 2 cells, the header has 3"),
        ("u1\ti1\t", "line 74: timestamp is ''; allowed: a number"),
        ("u1\ti1\tnan", "line 74: timestamp is 'nan'"),
        ("u1\ti1\tyesterday", "line 74: timestamp is 'yesterday'; allowed: a number"),
    ],
)
def test_interactions_that_recbole_would_misread(shop: Path, row: str, message: str) -> None:
    path = shop / "shop" / "shop.inter"
    with path.open("a", encoding="utf-8") as file:
        file.write(row + "\n")
    with pytest.raises(InputError, match=message):
        check_interactions(path, "user_id", "item_id", "timestamp")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id:token\titem_id:token\nu\tcaf\xe9\n".encode("latin-1"), "is not UTF-8: byte 0xe9"),
        ("\ufeffuser_id:token\titem_id:token\nu\ti\n".encode(), "begins with a byte order mark"),
    ],
)
def test_other_encodings_are_named(shop: Path, content: bytes, message: str) -> None:
    path = shop / "shop" / "shop.inter"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        column(path, "item_id")


def test_hash_depends_on_content_alone(shop: Path, tmp_path: Path) -> None:
    copy = write_shop(tmp_path / "copy")
    assert data_hash(atomic_files("shop", shop)) == data_hash(atomic_files("shop", copy))
    with (copy / "shop" / "shop.inter").open("a", encoding="utf-8") as file:
        file.write("u0\ti3\t2000000\n")
    assert data_hash(atomic_files("shop", shop)) != data_hash(atomic_files("shop", copy))


def test_unknown_data_set_names_the_nearest(shop: Path) -> None:
    with pytest.raises(InputError, match="unknown data set 'shpo'.*did you mean 'shop'"):
        atomic_files("shpo", shop)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id:token\titem_id:token\ttimestamp:float\n", "is empty"),
        ("", "is empty"),
        ("user_id\titem_id\n", "header cell 'user_id' is not 'field:type'"),
        ("user_id:number\titem_id:token\n", "header cell 'user_id:number'"),
    ],
)
def test_faulty_inter_file(shop: Path, content: str, message: str) -> None:
    (shop / "shop" / "shop.inter").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        atomic_files("shop", shop)


def test_missing_inter_file(shop: Path) -> None:
    (shop / "shop" / "shop.inter").unlink()
    with pytest.raises(InputError, match=r"shop\.inter is missing"):
        atomic_files("shop", shop)


def test_broken_row_is_named_by_its_line(shop: Path) -> None:
    path = shop / "shop" / "shop.item"
    with path.open("a", encoding="utf-8") as file:
        file.write("i99\n")
    with pytest.raises(InputError, match="line 12: 1 cells, the header has 4"):
        column(path, "class")


def test_missing_column_names_the_nearest(shop: Path) -> None:
    with pytest.raises(InputError, match="no column 'clas'; did you mean 'class'"):
        column(shop / "shop" / "shop.item", "clas")


def test_sessions_that_are_all_too_short(shop: Path) -> None:
    path = shop / "shop" / "shop.inter"
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([rows[0], *rows[1:4]]) + "\n", encoding="utf-8")
    with pytest.raises(
        InputError, match="every session is too short; leave-one-out needs sessions of 4 or more"
    ):
        check_interactions(path, "user_id", "item_id", "timestamp")
    path.write_text("\n".join([rows[0], *rows[1:5]]) + "\n", encoding="utf-8")
    assert len(check_interactions(path, "user_id", "item_id", "timestamp")) == 4


def test_columns_with_their_lines(tmp_path: Path) -> None:
    """Cells are taken as written; only blank lines are left out, and the lines after them keep their numbers."""
    path = tmp_path / "x.inter"
    path.write_text(
        'user_id:token\titem_id:token\n"a\t \u2028b"\n\n# c\t007\r\n\td', encoding="utf-8", newline=""
    )
    frame = read_columns(path, ["item_id", "user_id"])
    assert frame.columns == [LINE, "item_id", "user_id"]
    assert frame.rows() == [(2, ' \u2028b"', '"a'), (4, "007", "# c"), (5, "d", "")]
    without_blank = path.read_bytes().replace(b"\n\n", b"\n")
    path.write_bytes(without_blank)
    assert read_columns(path, ["item_id"]).rows() == [(2, ' \u2028b"'), (3, "007"), (4, "d")]


def test_a_single_column_with_a_blank_line(tmp_path: Path) -> None:
    path = tmp_path / "x.item"
    path.write_text("item_id:token\na\n\nb\n", encoding="utf-8")
    assert read_columns(path, ["item_id"]).rows() == [(2, "a"), (4, "b")]


def test_separators_of_several_characters(tmp_path: Path) -> None:
    path = tmp_path / "x.item"
    path.write_text("item_id:token::class:token\na::b\n", encoding="utf-8")
    assert column(path, "class", "::") == ["b"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a\tb\tc\na\tb\n", "line 3: 2 cells, the header has 3"),
        (
            "a\tb\tc\tc\na\tb\n",
            "line 2: 4 cells, the header has 3",
        ),  # as many separators as in two whole rows
        ("a\tb\tc\na\n", "line 3: 1 cells"),
    ],
)
def test_uneven_rows_are_named_by_their_line(tmp_path: Path, rows: str, message: str) -> None:
    path = tmp_path / "x.item"
    path.write_text("item_id:token\tb:token\tc:token\n" + rows, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        column(path, "item_id")


def test_times_with_blanks_are_numbers_as_for_pandas(shop: Path) -> None:
    path = shop / "shop" / "shop.inter"
    with path.open("a", encoding="utf-8") as file:
        file.write("u1\ti1\t 1e3 \n")
    assert len(check_interactions(path, "user_id", "item_id", "timestamp")) == 10


def test_the_first_wrong_row_is_named(shop: Path) -> None:
    path = shop / "shop" / "shop.inter"
    with path.open("a", encoding="utf-8") as file:
        file.write("u1\ti1\tinf\nNA\ti1\t5\n")
    with pytest.raises(InputError, match="line 74: timestamp is 'inf'"):
        check_interactions(path, "user_id", "item_id", "timestamp")


def test_a_temporal_split_needs_two_interactions(shop: Path) -> None:
    path = shop / "shop" / "shop.inter"
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(rows[:3]) + "\n", encoding="utf-8")
    assert len(check_interactions(path, "user_id", "item_id", "timestamp", split="temporal")) == 2
    path.write_text("\n".join(rows[:2]) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="too short; temporal needs sessions of 2 or more"):
        check_interactions(path, "user_id", "item_id", "timestamp", split="temporal")


def test_parts_are_joined_by_session(shop: Path) -> None:
    path = write_split(shop)
    assert parts_of(path, pl.Series(["u11", "u0", "u8"])).tolist() == [TEST, TRAIN, VALID]


def test_every_part_needs_a_target(shop: Path) -> None:
    path = write_split(shop)
    inter = path.with_suffix(".inter")
    check_parts(inter)
    rows = inter.read_text(encoding="utf-8").splitlines()
    short = [row for row in rows if not row.startswith(("u10\t", "u11\t"))] + ["u10\ti1\t5", "u11\ti1\t5"]
    inter.write_text("\n".join(short) + "\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"shop\.user: no session of part 'test' has 2 or more interactions in"
    ):
        check_parts(inter)
