"""A user's own log: columns, formats, ids of two files, categories, and what is refused."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.user_log import (
    DEFAULT_COLUMNS,
    LogColumns,
    parse_map,
    read_user_log,
    resolve_columns,
)
from recbole_hiersrec.errors import InputError

COLUMNS = LogColumns(session="visit", item="sku", time="ts")
EVENTS = "visit,sku,ts,page\nv1,a,1396867869,1\nv2,b,1396867870,2\nv1,b,1396867999,3\n"
ITEMS = "sku,dept,kind,name,brand\na,home,lamps,A lamp,Lux\nb,home, ,B,\nc,toys,cars,C,Zoom\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "items.csv").write_text(ITEMS)
    return tmp_path


def read(
    folder: Path, columns: LogColumns = COLUMNS, levels: Any = ("dept", "kind"), **options: Any
) -> RawLog:
    events = folder / options.pop("events", "events.csv")
    items = options.pop("items", "items.csv")
    return read_user_log(events, folder / items if items else None, columns, levels, **options)


def refused(folder: Path, *arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(folder, *arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_map_names_the_columns() -> None:
    entries = ["session=visit_id", " item = sku", "time=ts=x"]
    assert parse_map(entries) == {"session": "visit_id", "item": "sku", "time": "ts=x"}
    assert parse_map(["time=", "item=sku"]) == {"time": "", "item": "sku"}
    assert parse_map([]) == {}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            ["session=v", "itm=s"],
            "--map: unknown key 'itm'; did you mean 'item'? (allowed: session, item, time)",
        ),
        (["session"], "--map: received 'session'; expected KEY=COLUMN"),
        (["session="], "--map: received 'session='; expected KEY=COLUMN"),
        (["=v"], "--map: received '=v'; expected KEY=COLUMN"),
        (["item=a", "item=b"], "--map: item is given twice: 'a' and 'b'"),
        (["time=", "time=a"], "--map: time is given twice: '' and 'a'"),
    ],
)
def test_a_wrong_map_is_one_line(entries: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_map(entries)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("header", "entries", "expected"),
    [
        ("session_id,item_id,timestamp", [], ("session_id", "item_id", "timestamp")),
        ("session_id,item_id,when", [], ("session_id", "item_id", None)),
        ("visit,sku,timestamp", ["session=visit", "item=sku"], ("visit", "sku", "timestamp")),
        ("visit;sku;timestamp", ["session=visit", "item=sku"], ("visit", "sku", "timestamp")),
        ("visit,item_id,timestamp", ["session=visit"], ("visit", "item_id", "timestamp")),
        ("visit,item_id,ts", ["session=visit"], ("visit", "item_id", None)),
        ("visit,item_id,timestamp", ["session=visit", "time="], ("visit", "item_id", None)),
        ("visit,item_id,timestamp", ["session=visit", "time=ts"], ("visit", "item_id", "ts")),
        ("timestamp,item_id", ["session=timestamp", "time="], ("timestamp", "item_id", None)),
    ],
)
def test_what_is_not_mapped_has_its_default(
    tmp_path: Path, header: str, entries: list[str], expected: tuple[str, str, str | None]
) -> None:
    (tmp_path / "events.csv").write_text(f"{header}\n1,2,3\n")
    session, item, time = expected
    columns = resolve_columns(tmp_path / "events.csv", entries)
    assert columns == LogColumns(session=session, item=item, time=time)
    assert LogColumns(session="session_id", item="item_id", time="timestamp") == DEFAULT_COLUMNS


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            ["session=a", "item=a"],
            "--map: column 'a' is both session and item; each key needs its own column",
        ),
        (["session=item_id"], "--map: column 'item_id' is both session and item"),
        (["item=timestamp"], "--map: column 'timestamp' is both item and time"),
    ],
)
def test_keys_do_not_share_a_column(tmp_path: Path, entries: list[str], message: str) -> None:
    (tmp_path / "events.csv").write_text("session_id,item_id,timestamp\n1,2,3\n")
    with pytest.raises(InputError, match=message):
        resolve_columns(tmp_path / "events.csv", entries)


def test_columns_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"events.csv: no such file"):
        resolve_columns(tmp_path / "events.csv", [])
    (tmp_path / "events.csv").write_text("session_id;item_id;timestamp\n1;2;3\n")
    with pytest.raises(InputError, match="separated by a semicolon, not by a tab"):
        resolve_columns(tmp_path / "events.csv", [], "tab")
    assert resolve_columns(tmp_path / "events.csv", [], ";").time == "timestamp"


def test_a_mapped_time_column_must_be_there(folder: Path) -> None:
    columns = resolve_columns(folder / "events.csv", ["session=visit", "item=sku", "time=tss"])
    assert "events.csv: no column 'tss'; did you mean 'ts'?" in refused(folder, columns)


def test_events_and_items(folder: Path) -> None:
    log = read(folder, title="name", metadata=["brand"])
    assert log.clicks.columns == ["session", "item", "time"]
    assert log.clicks.rows() == [("v1", "a", 1396867869), ("v2", "b", 1396867870), ("v1", "b", 1396867999)]
    assert isinstance(log.items, pl.DataFrame)
    assert log.items.columns == ["item", "dept", "kind", "brand", "title"]
    assert log.items.rows() == [
        ("a", "home", "lamps", "Lux", "A lamp"),
        ("b", "home", "", "", "B"),
        ("c", "toys", "cars", "Zoom", "C"),
    ]
    assert (log.levels, log.title, log.metadata) == (("dept", "kind"), "title", ("brand",))
    assert (log.time, log.notes, len(log.rejected)) == ("click", (), 0)


def test_events_alone(folder: Path) -> None:
    log = read(folder, levels=(), items=None)
    assert (log.items, log.levels, log.title, log.metadata) == (None, (), None, ())
    assert len(log.clicks) == 3


def test_without_times_the_order_of_the_file_counts(folder: Path) -> None:
    log = read(folder, LogColumns(session="visit", item="sku"))
    assert log.time == "order"
    assert log.clicks["time"].to_list() == [0.0, 1.0, 2.0]
    assert log.notes == ("The log has no time stamps: clicks are in the order of the file.",)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "tsv", "csv.gz", "jsonl.gz"])
def test_every_format_yields_the_same_log(folder: Path, form: str) -> None:
    for name in ("events", "items"):
        frame = pl.read_csv(folder / f"{name}.csv", infer_schema=False)
        text = {"csv": frame.write_csv, "tsv": lambda frame=frame: frame.write_csv(separator="\t")}
        text["jsonl"] = frame.write_ndjson
        path = folder / f"{name}.{form}"
        if form == "parquet":
            frame.write_parquet(path)
        else:
            data = text[form.split(".")[0]]().encode()
            path.write_bytes(gzip.compress(data) if form.endswith("gz") else data)
    options: dict[str, Any] = {"title": "name", "metadata": ["brand"]}
    expected, log = (
        read(folder, **options),
        read(folder, events=f"events.{form}", items=f"items.{form}", **options),
    )
    assert isinstance(log.items, pl.DataFrame)
    assert isinstance(expected.items, pl.DataFrame)
    assert log.clicks.equals(expected.clicks)
    assert log.items.equals(expected.items)


@pytest.mark.parametrize("separator", [";", "|", "\t", "\\t", "tab"])
def test_another_separator(folder: Path, separator: str) -> None:
    there = "\t" if "t" in separator else separator
    for name in ("events", "items"):
        text = (folder / f"{name}.csv").read_text().replace(",", there)
        (folder / f"{name}.txt").write_text(text)
    log = read(folder, events="events.txt", items="items.txt", separator=separator)
    assert log.clicks.equals(read(folder).clicks)
    assert "events.csv: cells are separated by a comma, not by" in refused(folder, separator=separator)
    message = refused(folder, events="events.txt", separator=separator)
    assert "items.csv: cells are separated by a comma, not by" in message
    for events, items in (("events.txt", "items.csv"), ("events.csv", "items.txt")):
        detected = read(folder, events=events, items=items)
        assert detected.clicks.equals(log.clicks)
        assert isinstance(detected.items, pl.DataFrame)
        assert isinstance(log.items, pl.DataFrame)
        assert detected.items.equals(log.items)


def test_ids_of_both_files_get_one_type(folder: Path) -> None:
    pl.DataFrame({"visit": [1, 2], "sku": [7, 8], "ts": [5, 6]}).write_parquet(folder / "events.parquet")
    (folder / "items.csv").write_text("sku,dept\n8,home\n")
    log = read(folder, levels=["dept"], events="events.parquet")
    assert isinstance(log.items, pl.DataFrame)
    assert log.clicks.rows() == [(1, "7", 5.0), (2, "8", 6.0)]
    assert log.items.rows() == [("8", "home")]
    pl.DataFrame({"sku": [8.0, 9.0], "dept": [3.0, None]}).write_parquet(folder / "items.parquet")
    log = read(folder, levels=["dept"], events="events.parquet", items="items.parquet")
    assert isinstance(log.items, pl.DataFrame)
    assert log.clicks["item"].to_list() == [7, 8]
    assert log.items.rows() == [(8, "3"), (9, "")]


def test_items_that_nobody_clicked_on_point_to_a_wrong_column(folder: Path) -> None:
    (folder / "items.csv").write_text("sku,dept\nSKU-a,home\n")
    message = refused(folder, levels=["dept"])
    assert "no item is in " in message
    assert "received 'a' and 'SKU-a' as first items; expected the same ids in both" in message


def test_the_item_column_of_the_catalogue(folder: Path) -> None:
    (folder / "items.csv").write_text("id,sku_nr,dept\na,9,home\n")
    message = refused(folder, levels=["dept"])
    assert (
        "items.csv: no column 'sku'; did you mean 'sku_nr'? (columns: id, sku_nr, dept); pass the" in message
    )
    assert message.endswith("as --item-column COLUMN")
    log = read(folder, levels=["dept"], item_column="id")
    assert isinstance(log.items, pl.DataFrame)
    assert log.items.rows() == [("a", "home")]
    assert "no column 'ident'" in refused(folder, levels=["dept"], item_column="ident")
    assert "cannot be a level" in refused(folder, levels=["id"], item_column="id")


def test_a_title_may_have_any_name(folder: Path) -> None:
    (folder / "items.csv").write_text("sku,dept,item\na,home, A lamp \n")
    log = read(folder, levels=["dept"], title="item")
    assert isinstance(log.items, pl.DataFrame)
    assert log.items.to_dicts() == [{"item": "a", "dept": "home", "title": "A lamp"}]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["dept", "kid"], "no column 'kid'; did you mean 'kind'?"),
        (
            ["de:pt"],
            "column 'de:pt' cannot be a level or metadata: its name must not be empty, begin with a quote",
        ),
        (["de\tpt"], "column 'de\\tpt' cannot be"),
        (["de\npt"], "column 'de\\npt' cannot be"),
        ([""], "column '' cannot be"),
        (['"dept'], "begin with a quote"),
        (["item_id_list"], "or end in _list have their own meaning"),
        (["learned_1"], "column 'learned_1' cannot be a level or metadata: item, item_id, title,"),
        (["item"], "column 'item' cannot be"),
        (["item_id"], "column 'item_id' cannot be"),
        (["title"], "column 'title' cannot be"),
        (["user_id"], "column 'user_id' cannot be"),
        (["timestamp"], "column 'timestamp' cannot be"),
        (["dept", "dept"], "column 'dept' is given twice"),
    ],
)
@pytest.mark.parametrize("role", ["levels", "metadata"])
def test_columns_that_cannot_be_written(folder: Path, names: list[str], message: str, role: str) -> None:
    options: dict[str, Any] = {"levels": (), "metadata": (), role: names}
    assert message in refused(folder, **options)


def test_roles_do_not_share_a_column_and_need_a_table(folder: Path) -> None:
    assert "column 'kind' is given twice" in refused(folder, title="kind")
    assert "column 'dept' is given twice" in refused(folder, metadata=["dept"])
    assert "levels, title and metadata (dept, kind) need a table of items" in refused(folder, items=None)


def test_nested_values_are_no_categories(folder: Path) -> None:
    pl.DataFrame({"sku": ["a"], "dept": [["x", "y"]]}).write_parquet(folder / "items.parquet")
    message = refused(folder, levels=["dept"], items="items.parquet")
    assert "column 'dept' has type List(String); allowed: text or numbers" in message


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pl.Series([b"\xff\xfe"]), "Binary"),
        (pl.Series([b"plain"]), "Binary"),
        (pl.Series([5]).cast(pl.Duration("us")), "Duration(time_unit='us')"),
    ],
)
def test_types_that_are_no_text_are_refused(folder: Path, values: pl.Series, shown: str) -> None:
    pl.DataFrame({"sku": ["a"], "dept": ["x"], "name": values}).write_parquet(folder / "items.parquet")
    for options in ({"title": "name"}, {"metadata": ["name"]}):
        message = refused(folder, levels=["dept"], items="items.parquet", **options)
        assert f"items.parquet: column 'name' has type {shown}; allowed: text or numbers, dates" in message


def test_true_and_dates_are_categories(folder: Path) -> None:
    frame = pl.DataFrame({"sku": ["a", "b"], "new": [True, None], "day": [date(2020, 9, 13), None]})
    frame.write_parquet(folder / "items.parquet")
    log = read(folder, levels=["new"], metadata=["day"], items="items.parquet")
    assert isinstance(log.items, pl.DataFrame)
    assert log.items.rows() == [("a", "true", "2020-09-13"), ("b", "", "")]


@pytest.mark.parametrize("value", ["true", '{"id": 1}', "[1]"])
def test_json_ids_that_are_neither_text_nor_numbers(folder: Path, value: str) -> None:
    (folder / "events.jsonl").write_text(f'{{"visit": 1, "sku": {value}, "ts": 5}}\n')
    message = refused(folder, events="events.jsonl")
    assert f"row 1, column 'sku': received {value!r}; is " in message
    (folder / "items.jsonl").write_text(f'{{"sku": {value}, "dept": "x"}}\n')
    message = refused(folder, levels=["dept"], items="items.jsonl")
    assert f"row 1, column 'sku': received {value!r}; is " in message


def test_rows_of_an_item_that_agree_are_merged_and_others_refused(folder: Path) -> None:
    again = ITEMS + "a,home,lamps,Another name,Lux\na,home,lamps,A lamp,Lux\n"
    (folder / "items.csv").write_text(again)
    log = read(folder, title="name")
    assert isinstance(log.items, pl.DataFrame)
    assert log.items["title"].to_list() == ["A lamp", "B", "C"]
    assert log.notes == (
        "1 rows of items.csv name another title or metadata for an item; its first row is taken.",
    )
    (folder / "items.csv").write_text(again + "a,home,desks,A lamp,Lux\n")
    message = refused(folder)
    assert message.endswith(
        "items.csv, row 7, column 'kind': received 'desks'; row 2 has 'lamps' for the same item 'a'; allowed: one value"
    )
    skipped = read(folder, bad_rows="skip")
    assert isinstance(skipped.items, pl.DataFrame)
    assert skipped.items.row(0) == ("a", "home", "lamps")
    assert skipped.rejected.rows() == [
        ("items.csv", 7, "kind", "desks", "row 2 has 'lamps' for the same item 'a'; allowed: one value")
    ]


def test_only_merged_rows_are_said_to_have_another_title(folder: Path) -> None:
    (folder / "items.csv").write_text(ITEMS + "a,home,desks,A desk,Lux\n")
    skipped = read(folder, bad_rows="skip", title="name")
    assert skipped.rejected["row"].to_list() == [5]
    assert skipped.notes == ()
    (folder / "items.csv").write_text(
        ITEMS + "a,home,desks,A desk,Lux\n" + "a,home,lamps,X,Lux\n" * 2 + "b,home,,B,Y\n"
    )
    skipped = read(folder, bad_rows="skip", title="name", metadata=["brand"])
    assert skipped.notes == (
        "3 rows of items.csv name another title or metadata for an item; its first row is taken.",
    )


@pytest.mark.parametrize(
    ("line", "column", "received", "reason"),
    [
        (b"NA,a,1396867869,1", "visit", "NA", "RecBole reads this as missing"),
        (b"v1,null,1396867869,1", "sku", "null", "RecBole reads this as missing"),
        (b"v1,,1396867869,1", "sku", "", "is empty"),
        (b'v1,"a\tb",1396867869,1', "sku", "a\tb", "holds a tab"),
        (b'"v\n1",a,1396867869,1', "visit", "v\n1", "holds a tab, a line break"),
        (b"v1,a,noon,1", "ts", "noon", "is not a time"),
        (b"v1,a,-1,1", "ts", "-1", "is negative"),
        (
            b"v1,a,1396867869000,1",
            "ts",
            "1396867869000",
            "is in milliseconds, while row 2 ('1396867869') is in",
        ),
        (b"v1,caf\xe9,1396867869,1", "sku", "caf\\xe9", "is not UTF-8: byte 0xe9"),
        (b"v1,a,1396867869", "", "v1,a,1396867869", "has 3 cells; expected 4"),
    ],
)
def test_bad_events_stop_or_are_moved_aside(
    folder: Path, line: bytes, column: str, received: str, reason: str
) -> None:
    (folder / "events.csv").write_bytes(EVENTS.encode() + line + b"\n")
    place = "row 5" + (f", column '{column}'" if column else "")
    assert f"events.csv, {place}: received {received!r}; {reason}" in refused(folder)
    log = read(folder, bad_rows="skip")
    assert len(log.clicks) == 3
    ((file, row, where, value, why),) = log.rejected.rows()
    assert (file, row, where, value) == ("events.csv", 5, column, received)
    assert why.startswith(reason)


def test_bad_rows_of_both_files_are_collected(folder: Path) -> None:
    (folder / "events.csv").write_text(EVENTS + "NA,a,1396867869,1\n")
    (folder / "items.csv").write_text(ITEMS + "null,home,lamps,X,Y\n" + "a,toys,lamps,X,Y\n")
    log = read(folder, bad_rows="skip")
    assert log.rejected.select("file", "row", "column").rows() == [
        ("events.csv", 5, "visit"),
        ("items.csv", 5, "sku"),
        ("items.csv", 6, "dept"),
    ]


def test_the_unit_of_times_can_be_given(folder: Path) -> None:
    (folder / "events.csv").write_text("visit,sku,ts\nv1,a,5000\n")
    assert read(folder).clicks["time"].to_list() == [5000.0]
    assert read(folder, time_unit="ms").clicks["time"].to_list() == [5.0]
