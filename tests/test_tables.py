"""Raw tables: what is read, and that no fault of a file passes unseen or reaches the user as somebody else's error."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
from pathlib import Path

import polars as pl
import pytest

from recbole_hiersrec.data import delimited, quoting
from recbole_hiersrec.data.log import ROW
from recbole_hiersrec.data.tables import column_names, read_table
from recbole_hiersrec.errors import InputError


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows(path: Path, *columns: str, **options: object) -> list[tuple[object, ...]]:
    return read_table(path, columns, **options).frame.rows()  # type: ignore[arg-type]


def refused(path: Path, *columns: str, **options: object) -> str:
    """The message, which is one line and names the file."""
    with pytest.raises(InputError) as caught:
        read_table(path, columns, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_columns_come_in_the_order_asked_for_with_row_numbers(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", "a,b,c\n1,,x\n4,5,NA\n"), ["c", "b"])
    assert table.frame.rows() == [(2, "x", ""), (3, "NA", "5")]
    assert table.frame.schema == {ROW: pl.UInt32, "c": pl.String, "b": pl.String}
    assert table.rejected.is_empty()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "a\tb\n1\tx,y\n2\tz\n"),
        ("a.csv", 'a,b\n1,"x,y"\n2,z\n'),
        ("crlf.csv", 'a,b\r\n1,"x,y"\r\n2,z\r\n'),
        ("bom.csv", '\ufeffa,b\n1,"x,y"\n2,z\n'),
        ("no_end.csv", 'a,b\n1,"x,y"\n2,z'),
        ("spaced.csv", 'a , b\n1,"x,y"\n2,z'),
        ("a.jsonl", '{"a": 1, "b": "x,y"}\n\n{"b": "z", "a": 2}\n'),
        ("bom.jsonl", '\ufeff{"a": 1, "b": "x,y"}\n{"b": "z", "a": 2}\n'),
        ("with[*]?.csv", 'a,b\n1,"x,y"\n2,z\n'),
        ("with[*]?.json", '{"a": 1, "b": "x,y"}\n{"b": "z", "a": 2}\n'),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_same_table_in_every_form(tmp_path: Path, name: str, text: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" if packed else name)
    write(path, gzip.compress(text.encode()) if packed else text)
    assert [row[1:] for row in rows(path, "a", "b")] == [("1", "x,y"), ("2", "z")]
    assert column_names(path) == ["a", "b"]


@pytest.mark.parametrize("name", ["a.parquet", "with[*].parquet", "renamed.dat"])
def test_parquet_keeps_its_types(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"a": [7, None], "b": [0.5, 1.0], "c": ["x", "y"]})
    frame.write_parquet(tmp_path / name)
    assert rows(tmp_path / name, "c", "a") == [(1, "x", 7), (2, "y", None)]
    assert column_names(tmp_path / name) == ["a", "b", "c"]


def test_parquet_in_gzip(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    path = write(tmp_path / "a.parquet.gz", gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert rows(path, "a") == [(1, 1)]


def test_a_file_without_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dat", "1;x\n2;y\n")
    assert rows(path, "b", header=["a", "b"], separator=";") == [(1, "x"), (2, "y")]


@pytest.mark.parametrize(
    "text",
    [
        'a,b\n1,"two\nlines"\n2,"with ""quotes"""\n\n3,\n',  # doubled quotes and an empty last cell: read exactly
        'a,b\n1,"two\nlines"\n2,"with ""quotes"""\n\n3,""\n',
    ],
)
def test_quoted_cells_and_blank_lines(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.csv", text)
    assert rows(path, "a", "b") == [(2, "1", "two\nlines"), (3, "2", 'with "quotes"'), (5, "3", "")]


def test_quotes_in_the_header_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,"b\nc,d"\n1,2\n')  # without quotes its second line would be a row
    assert rows(path, "a", "b\nc,d") == [(2, "1", "2")]


def test_quotes_out_of_place_are_letters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'a,b\n1,5" pipe\n2,6" pipe\n"3",x\n')
    assert rows(path, "a", "b") == [(2, "1", '5" pipe'), (3, "2", '6" pipe'), (4, "3", "x")]


def test_without_quoting_a_quote_is_a_letter(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'a\tb\n"1\t"x"\n2"\ty\n')
    assert rows(path, "a", "b", quote=None) == [(2, '"1', '"x"'), (3, '2"', "y")]


def test_empty_last_cells_and_blank_lines_without_quotes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\r\n1,\r\n\r\n,\r\n4,x\r\n\r\n")
    assert rows(path, "a", "b") == [(2, "1", ""), (4, "", ""), (5, "4", "x")]


def test_random_files_read_as_the_csv_module_reads_them(tmp_path: Path) -> None:
    rng = random.Random(5)
    cells = ["", "a", "b c", "x,y", 'say "hi"', "two\nlines", "é", "1", "'", '"']
    for trial in range(60):
        plain = trial % 2 == 0
        records = [
            [rng.choice(cells[:3] if plain else cells) for _ in range(3)] for _ in range(rng.randint(1, 6))
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator=rng.choice(["\n", "\r\n"])).writerows([["a", "b", "c"], *records])
        path = write(tmp_path / f"{trial}.csv", text.getvalue())
        expected = [(row, *record) for row, record in enumerate(records, start=2)]
        assert rows(path, "a", "b", "c") == expected, text.getvalue()


@pytest.mark.parametrize(
    ("text", "row", "received", "column", "reason"),
    [
        ("a,b,c\n1,2,3\n4,5\n7,8,9\n", 3, "4,5", "", "has 2 cells; expected 3"),
        ("a,b,c\n1,2,3\n4,5,6,7\n7,8,9\n", 3, "4,5,6,7", "", "has 4 cells; expected 3"),
        ("a,b,c\n1,2,3\n4,5,6,\n7,8,9\n", 3, "4,5,6,", "", "has 4 cells; expected 3"),
        ('a,b,c\n1,2,3\n4,5,"" ""\n7,8,9\n', 3, '4,5,"" ""', "", "is malformed: ',' expected after '\"'"),
        ("a,b,c\n1,2,\n4,5\n7,8,\n", 3, "4,5", "", "has 2 cells; expected 3"),
        ('a,b,c\n"1",2,3\n4,5\n7,8,9\n', 3, "4,5", "", "has 2 cells; expected 3"),
        ('a,b,c\n1,2,3\n4,"5"x,6\n7,8,9\n', 3, '4,"5"x,6', "", "is malformed: ',' expected after '\"'"),
        (b"a,b,c\n1,2,3\n4,\xff5,6\n7,8,9\n", 3, "\\xff5", "b", "is not UTF-8: byte 0xff; allowed: UTF-8"),
        (b'a,b,c\n1,"2\n",3\n4,caf\xe9,6\n7,8,9\n', 3, "caf\\xe9", "b", "is not UTF-8: byte 0xe9"),
    ],
)
def test_bad_rows_stop_or_are_moved_aside(
    tmp_path: Path, text: str, row: int, received: str, column: str, reason: str
) -> None:
    path = write(tmp_path / "log.csv", text)
    message = refused(path, "a", "c")
    place = f"row {row}" + (f", column '{column}'" if column else "")
    assert message.startswith(f"{path}, {place}: received {received!r}; {reason}")
    table = read_table(path, ["a", "c"], "skip")
    assert [found[0] for found in table.frame.rows()] == [2, 4]
    ((file, number, where, value, why),) = table.rejected.rows()
    assert (file, number, where, value) == ("log.csv", row, column, received)
    assert why.startswith(reason)


@pytest.mark.parametrize("last", ["7,8,9,", '7,8"9,0",', '7,"8"9"', "7,8"])
def test_a_last_line_without_a_line_feed_is_checked_like_any_other(tmp_path: Path, last: str) -> None:
    path = write(tmp_path / "log.csv", f"a,b,c\n1,2,3\n{last}")
    assert f"row 3: received {last!r}; " in refused(path, "a", "c")


def test_rows_of_a_file_without_header_are_counted_from_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "1\n2,3\n")
    assert "row 1: received '1'; has 1 cells; expected 2" in refused(path, "a", header=["a", "b"])
    assert rows(path, "a", header=["a", "b"], bad_rows="skip") == [(2, "2")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": \n{"a": 3}\n', "row 2: received '{\"a\":'; is not JSON"),
        ('{"a": 1}\n[2]\n{"a": 3}\n', "row 2: received '[2]'; is not an object"),
        ('{"a": 1}\n{"a": "\\ud800", "b": [}\n{"a": 3}\n', "row 2: received"),
        (b'{"a": 1}\n{"a": "\xff"}\n{"a": 3}\n', 'row 2: received \'{"a": "\\\\xff"}\'; is not UTF-8'),
    ],
)
def test_bad_json_lines(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "log.jsonl", text)
    assert message in refused(path, "a")
    table = read_table(path, ["a"], "skip")
    assert table.frame.rows() == [(1, "1"), (3, "3")]
    assert table.rejected["row"].to_list() == [2]


def test_json_values_become_text_on_both_ways_of_reading(tmp_path: Path) -> None:
    lines = ['{"a": 12345678901234567890123, "b": true}', '{"a": 1.5}', '{"a": null, "b": "x\\ty"}']
    good = write(tmp_path / "good.jsonl", "\n".join(lines))
    bad = write(tmp_path / "bad.jsonl", "\n\n".join([*lines, "{"]))
    expected = [(1, "12345678901234567890123", "true"), (2, "1.5", None), (3, None, "x\ty")]
    assert rows(good, "a", "b") == expected
    assert rows(bad, "a", "b", bad_rows="skip") == expected


NUMBERS = [
    "5",
    "5.0",
    "1e3",
    "1E5",
    "1.50",
    "-0",
    "-0.0",
    "0.1",
    "1e16",
    "1e20",
    "1e22",
    "1e-7",
    "5e-324",
    "1.5e21",
]
NUMBERS += ["123456789.123456789123", "12345678901234567890", "9007199254740993.0", "100000000000000000000.0"]
OTHERS = [
    '[1,2.0, "a\\nb"]',
    '{"a":1.0,"b":"é"}',
    '{"a": {"b": [1e-7, -0.0]}}',
    "true",
    "null",
    '"1.0"',
    '"\\u00e9"',
]


@pytest.mark.parametrize("value", NUMBERS + OTHERS)
def test_one_bad_line_does_not_change_json_values(tmp_path: Path, value: str) -> None:
    line = f'{{"a": {value}}}\n'
    good, bad = write(tmp_path / "good.jsonl", line), write(tmp_path / "bad.jsonl", line + "{\n")
    assert rows(good, "a") == rows(bad, "a", bad_rows="skip")


def test_json_numbers_as_text(tmp_path: Path) -> None:
    values = {
        "5.0": "5",
        "1e3": "1000",
        "1e16": "1" + "0" * 16,
        "1e-7": "0.0000001",
        "-0.0": "-0",
        "1.50": "1.5",
    }
    path = write(tmp_path / "a.jsonl", "".join(f'{{"a": {value}}}\n' for value in values) + "{\n")
    assert [text for _, text in rows(path, "a", bad_rows="skip")] == list(values.values())


@pytest.mark.parametrize("value", ["1e400", "-1e400", "NaN", "Infinity"])
def test_json_numbers_are_finite(tmp_path: Path, value: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"a": {value}}}\n{{"a": 1}}\n')
    assert "row 1: received " in refused(path, "a")
    assert "is not JSON" in refused(path, "a")
    assert rows(path, "a", bad_rows="skip") == [(2, "1")]


@pytest.mark.parametrize(
    ("value", "received", "reason"),
    [
        ("true", "true", "is true or false"),
        ("false", "false", "is true or false"),
        ("[1]", "[1]", "is an array"),
        ('{"b": 1}', '{"b": 1}', "is an object"),
    ],
)
def test_json_ids_are_text_or_numbers(tmp_path: Path, value: str, received: str, reason: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"a": "true"}}\n{{"a": {value}}}\n{{"a": "[x]"}}\n')
    message = refused(path, "a", ids=["a"])
    assert f"row 2, column 'a': received {received!r}; {reason}; allowed for ids: text or whole" in message
    assert rows(path, "a", bad_rows="skip", ids=["a"]) == [(1, "true"), (3, "[x]")]
    assert [text for _, text in rows(path, "a")] == ["true", received, "[x]"]


def test_a_key_that_some_objects_lack_is_missing_only_where_all_lack_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"item": 1}\n{"item": 2, "brand": null}\n')
    assert rows(path, "brand") == [(1, None), (2, None)]
    assert "no column 'brnd'; did you mean 'brand'? (columns: item, brand)" in refused(path, "brnd")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("only_bom.csv", b"\xef\xbb\xbf", "is empty"),
        ("empty.csv.gz", gzip.compress(b""), "is empty"),
        ("header.csv", b"a,b\n", "holds no rows"),
        ("header_only.csv", b"a,b", "holds no rows"),
        ("blank_rows.csv", b"a,b\n\n\n", "holds no rows"),
        ("blank_first.csv", b"\na,b\n1,2\n", "first line is blank"),
        ("other.csv", b"a;c\n1;2\n", "no column 'b' (columns: a, c)"),
        ("commas.tsv", b"x,y\n1,2\n", "no column 'a' (columns: x, y)"),
        ("wrong.csv", b"id,b\n1,2\n", "no column 'a' (columns: id, b)"),
        ("near.csv", b"A,b\n1,2\n", "no column 'a'; did you mean 'A'? (columns: A, b)"),
        ("lines.csv", b'"x\ny",b\n1,2\n', "no column 'a' (columns: x y, b)"),
        ("twice.csv", b"a,b,a\n1,2,3\n", "column 'a' stands more than once in the header"),
        ("header_bytes.csv", b"a,b\xff\n1,2\n", "row 1: received 'b\\\\xff'; is not UTF-8: byte 0xff"),
        ("utf16.csv", "a,b\n1,2\n".encode("utf-16"), "is not UTF-8: byte 0xff"),
        ("mac.csv", b"a,b\r1,2\r", "mac.csv, row 1: lines end in a carriage return (CR) alone; allowed: LF"),
        (
            "mixed.csv",
            b"a,b\r1,2\n",
            "mixed.csv, row 1: a carriage return stands within the line; lines end in a",
        ),
        ("mac.tsv", b"a\tb\r1\t2\r", "lines end in a carriage return (CR) alone; allowed: LF or CRLF"),
        (
            "open.csv",
            b'a,b\n1,2\n"3,4\n5,6\n',
            "row 3: received '\"3,4'; a quote opens in this row and never",
        ),
        ("a.zip", b"PK\x03\x04....", "is a zip archive"),
        ("a.csv.gz", b"a,b\n1,2\n", "is not gzip, though its name ends in .gz"),
        ("a.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99)[:-9], "gzip file is cut short"),
        ("b.csv", gzip.compress(b"a,b\n" + bytes(range(256)) * 9)[:-40], "gzip file is cut short"),
        ("c.gz", gzip.compress(b"a,b\n" + b"1,2\n")[:-8] + b"damaged!", "gzip file is damaged"),
        ("a.parquet", b"PAR1" + b"x" * 40, "is not Parquet, or is cut short or damaged"),
        ("b.parquet", b"a,b\n1,2\n", "is not Parquet, or is cut short or damaged"),
        ("blank.jsonl", b"\n\n", "holds no rows"),
        ("array.json", b'[{"a": 1, "b": 2}]', 'row 1: received \'[{"a": 1, "b": 2}]\'; is not an object'),
    ],
)
def test_a_faulty_file_stops_with_one_line(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    assert message in refused(write(tmp_path / name, data), "a", "b")


@pytest.mark.parametrize("damage", ["open", "gzip"])
def test_where_the_rest_of_a_file_is_lost_skipping_stops_too(tmp_path: Path, damage: str) -> None:
    data = {"open": b'a,b\n1,2\n"3,4\n5,6\n', "gzip": gzip.compress(b"a,b\n" + b"1,2\n" * 99)[:-9]}
    refused(write(tmp_path / "a.csv", data[damage]), "a", "b", bad_rows="skip")


def test_every_row_refused_is_said(tmp_path: Path) -> None:
    text = refused(write(tmp_path / "a.csv", "a,b\n1\n2\n"), "a", bad_rows="skip")
    assert "every row was refused; row 2: received '1'; has 1 cells; expected 2" in text
    text = refused(write(tmp_path / "a.jsonl", "{\n{\n"), "a", bad_rows="skip")
    assert "every row was refused; row 1: received '{'; is not JSON" in text


def test_cut_parquet(tmp_path: Path) -> None:
    pl.DataFrame({"a": range(1000)}).write_parquet(tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    for kept in (4, 11, len(data) // 2, len(data) - 1):
        assert "cut short or damaged" in refused(write(tmp_path / "cut.parquet", data[:kept]), "a")
    assert "no column 'b' (columns: a)" in refused(tmp_path / "a.parquet", "b")
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "none.parquet")
    assert "holds no rows" in refused(tmp_path / "none.parquet", "a")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_without_a_separator_the_header_tells_it(tmp_path: Path, name: str, separator: str) -> None:
    path = write(tmp_path / name, "a,b,c\n1,2,3\n".replace(",", separator))
    assert rows(path, "c", "a") == [(2, "3", "1")]
    assert column_names(path) == ["a", "b", "c"]


def test_the_wanted_columns_tell_the_separator_and_the_suffix_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "x,y;a;b\n1,2;3;4\n")
    assert rows(path, "a", "b") == [(2, "3", "4")]
    assert column_names(path, ["a"]) == ["x,y", "a", "b"]
    assert column_names(path) == ["x", "y;a;b"]
    path = write(tmp_path / "b.tsv", "a,a\ta\n1,2\t3\n")
    assert rows(path, "a") == [(2, "3")]  # by commas there is an "a", too
    path = write(tmp_path / "c.csv", 'a,x;"y,b\n1,2,3\n')
    assert rows(path, "b", "a") == [(2, "3", "1")]  # by semicolons a quote would open and never close


def test_a_given_separator_is_not_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\n")
    for message in (refused(path, "a", separator=";"), refused(path, "x", separator=";")):
        assert "separated by a comma, not by a semicolon; pass the separator ',', or none" in message
    with pytest.raises(InputError, match="separated by a comma, not by a semicolon"):
        column_names(path, separator=";")
    assert "no column 'x' (columns: a, b)" in refused(path, "x", separator=",")


def test_messages_do_not_hold_long_lines(tmp_path: Path) -> None:
    long = "x" * 100_000
    faulty = [
        f"{long},y\n1,2\n",
        ",".join(["column"] * 9999) + "\n1\n",
        "a,b\r" + "1,2\r" * 9999,
        f'"{long}\n',
    ]
    faulty += [f'"a"{long},b\n', f"{long}\udcff,b\n", f'a,b\n1,"{long}\n']
    for number, text in enumerate(faulty):
        path = write(tmp_path / f"{number}.csv", text.encode("utf-8", "surrogateescape"))
        assert len(refused(path, "a")) < 500 + len(str(path)), number


def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = write(Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.csv")), "a\n1\n")
    with pytest.raises(InputError) as caught:
        read_table(path, ["a"])
    assert str(caught.value) == f"{tmp_path}/caf\\xe9.csv: the path is not UTF-8; rename it"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv", "a").endswith("none.csv: no such file")
    assert "is a folder; expected a file" in refused(tmp_path, "a")


def test_the_separator_of_a_file_without_header_shows_in_its_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dat", "1\t2\n3\t4\n")
    assert "separated by a tab, not by a comma" in refused(path, "a", header=["a", "b"])


@pytest.mark.parametrize("separator", ["", "::", "\n", '"', "é"])
def test_a_separator_is_one_character(tmp_path: Path, separator: str) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\n")
    assert f"separator is {separator!r}; allowed: one character" in refused(path, "a", separator=separator)


def test_a_column_may_not_have_the_name_of_the_row_numbers(tmp_path: Path) -> None:
    assert "may not be named" in refused(write(tmp_path / "a.csv", f"{ROW},b\n1,2\n"), ROW)


def test_long_cells_are_shortened_in_messages_only(tmp_path: Path) -> None:
    cell = "x" * 200_000
    before = csv.field_size_limit(1000)  # the csv module's own limit does not matter, and stays as it is
    path = write(tmp_path / "a.csv", f'a,b\n1,"{cell}""y"\n2\n')
    assert rows(path, "b", bad_rows="skip") == [(2, cell + '"y')]
    path = write(tmp_path / "b.csv", f"a,b\n{cell}\n")
    assert len(refused(path, "a")) < 300
    assert csv.field_size_limit(before) == 1000


def test_json_reports_shortened_objects(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", json.dumps({"a": "x" * 1000})[:-1] + "\n")
    assert len(refused(path, "a")) < 300


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ('"a",b\n', True),
        ('a,"b"', True),
        ('"","b\nc,d"\r\n"e"\n', True),
        ("a,b\n", True),
        ('a,"b', False),
        ('a"b",c\n', False),
        ('"a"b,c\n', False),
        ('"a" ,c\n', False),
        ('"a"\rb,c\n', False),
        ('"a""b",c\n', False),
        ('"a" "b",c\n', False),
    ],
)
@pytest.mark.parametrize("block", [1, 2, 3, 1000])
def test_where_quotes_stand(text: str, well: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quoting, "_BLOCK", block)
    assert quoting.well_quoted(text.encode(), ",", '"') is well


def test_the_fast_way_and_the_exact_way_read_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random files, most of them malformed: what Polars is trusted with must be what the file says."""
    rng = random.Random(7)
    pieces = ["a", ",", ",", "\n", "\r\n", '"', '""', '"y"', '"x,\n"', " ", "1,2,3\n", '"4",5,6\n', "7,8\n"]
    path, fast = tmp_path / "a.csv", delimited._fast
    taken = 0
    for _ in range(800):
        body = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 12)))
        write(path, "a,b,c\n" + body)
        results = []
        for way in (fast, lambda *_: None):
            monkeypatch.setattr(delimited, "_fast", way)
            try:
                table = read_table(path, ["a", "c"], "skip")
                results.append((table.frame.rows(), table.rejected.rows()))
            except InputError as error:
                results.append((str(error), []))
        assert results[0] == results[1], body
        taken += not results[0][1]
    assert taken > 25  # not all of them were refused
