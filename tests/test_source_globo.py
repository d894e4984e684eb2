"""Globo.com: the Parquet file and the published hourly files give the same log."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.globo import SOURCE
from recbole_hiersrec.errors import InputError

COLUMNS = ["user_id", "session_id", "session_start", "session_size", "click_article_id", "click_timestamp"]
ROWS = [
    (0, 1506825423271737, 1506825423000, 2, 157541, 1506826828020),
    (0, 1506825423271737, 1506825423000, 2, 68866, 1506826858020),
    (1, 1506825426267738, 1506825426000, 2, 235840, 1506827017951),
    (1, 1506825426267738, 1506825426000, 2, 96663, 1506827047951),
]
ARTICLES = (
    "article_id,category_id,created_at_ts,publisher_id,words_count\n"
    "68866,136,1506826800000,0,200\n157541,281,1506826700000,0,158\n7,0,1389622831000,0,180\n"
)
CONTEXT = [
    f"click_{name}" for name in ("environment", "deviceGroup", "os", "country", "region", "referrer_type")
]


def write_parquet(folder: Path, rows: list[tuple[int, ...]] = ROWS) -> Path:
    pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(folder / "clicks.parquet")
    return folder


def write_hours(folder: Path, *hours: list[tuple[object, ...]]) -> Path:
    folder.mkdir(exist_ok=True)
    for hour, rows in enumerate(hours):
        lines = [",".join(map(str, (*row, 4, 3, 2, 1, 21, 2))) for row in rows]
        (folder / f"clicks_hour_{hour:03d}.csv").write_text(
            "\n".join([",".join(COLUMNS + CONTEXT), *lines]) + "\n"
        )
    return folder


def read(folder: Path, bad_rows: str = "stop") -> RawLog:
    return SOURCE.read(folder, bad_rows)


def test_parquet(tmp_path: Path) -> None:
    log = read(write_parquet(tmp_path))
    assert log.clicks.columns == ["session", "item", "time"]
    assert log.clicks.rows() == [(row[1], row[4], row[5] / 1000) for row in ROWS]
    assert (log.time, log.items, log.levels) == ("click", None, ())
    assert "imputed" in log.notes[0]


def test_seconds_among_milliseconds_are_refused(tmp_path: Path) -> None:
    rows = [*ROWS, (1, 1506825426267738, 1506825426000, 2, 5, 1506827047)]
    with pytest.raises(
        InputError, match="row 5, column 'click_timestamp': received '1506827047'.* is in seconds"
    ):
        read(write_parquet(tmp_path, rows))


@pytest.mark.parametrize("below", ["", "clicks"])
def test_hourly_files_give_the_same_log(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "csv"
    folder.mkdir()
    write_hours(folder / below, ROWS[:2], ROWS[2:])
    (tmp_path / "parquet").mkdir()
    assert read(folder).clicks.equals(read(write_parquet(tmp_path / "parquet")).clicks)
    assert [path.name for path in SOURCE.inputs(folder)] == ["clicks_hour_000.csv", "clicks_hour_001.csv"]


def test_files_of_many_hours_are_read_in_order(tmp_path: Path) -> None:
    hours = [[(0, number, 0, 1, 10 + number, 1506826828020 + number)] for number in range(1, 13)]
    log = read(write_hours(tmp_path, *hours))
    assert log.clicks["item"].to_list() == list(range(11, 23))


def test_articles_add_a_level(tmp_path: Path) -> None:
    (write_parquet(tmp_path) / "articles_metadata.csv").write_text(ARTICLES)
    log = read(tmp_path)
    assert log.levels == ("category",)
    assert log.items is not None
    assert log.items.rows() == [(68866, "136"), (157541, "281"), (7, "0")]
    assert [path.name for path in SOURCE.inputs(tmp_path)] == ["clicks.parquet", "articles_metadata.csv"]


def test_an_article_has_one_category(tmp_path: Path) -> None:
    (write_parquet(tmp_path) / "articles_metadata.csv").write_text(ARTICLES + "7,0,1,0,1\n7,5,1,0,1\n")
    with pytest.raises(
        InputError, match="articles_metadata.csv, row 6, column 'category_id': received '5'; row 4 has '0'"
    ):
        read(tmp_path)
    log = read(tmp_path, "skip")
    assert log.items is not None
    assert log.items.rows()[-1] == (7, "0")
    assert log.rejected.select("file", "row").rows() == [("articles_metadata.csv", 6)]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            1,
            "abc",
            "clicks_hour_001.csv, row 3, column 'session_id': received 'abc'; allowed: a whole number",
        ),
        (1, "", "row 3, column 'session_id': received ''; is empty"),
        (4, "1.5", "row 3, column 'click_article_id': received '1.5'; allowed: a whole number"),
        (5, "soon", "row 3, column 'click_timestamp': received 'soon'; is not a time"),
        (5, -5, "row 3, column 'click_timestamp': received '-5'; is negative"),
    ],
)
def test_bad_rows_are_named_by_their_file(tmp_path: Path, column: int, value: object, message: str) -> None:
    bad = [*ROWS[3][:column], value, *ROWS[3][column + 1 :]]
    write_hours(tmp_path, ROWS[:2], [ROWS[2], tuple(bad)])
    with pytest.raises(InputError, match=message):
        read(tmp_path)
    log = read(tmp_path, "skip")
    assert len(log.clicks) == 3
    assert log.rejected.select("file", "row", "column").rows() == [
        ("clicks_hour_001.csv", 3, COLUMNS[column])
    ]


def test_missing_column_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"clicks.parquet is missing; put clicks.parquet or clicks/clicks_hour_\*.csv"
    ):
        SOURCE.inputs(tmp_path)
    with pytest.raises(InputError, match=r"articles_metadata.csv \(optional\) into one folder"):
        SOURCE.inputs(tmp_path)
    pl.DataFrame({"session_id": [1], "article_id": [2]}).write_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(InputError, match="no column 'click_article_id'; did you mean 'article_id'"):
        read(tmp_path)
