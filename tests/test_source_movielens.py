"""ml-100k: RecBole's own files, found in its package."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.movielens import SOURCE, locate
from recbole_hiersrec.errors import InputError

RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n196\t1\t1\t881250949\n"
FILMS = (
    "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    '1\tToy Story\t1995\tAnimation Children\'s Comedy\n242\t"Kolya" & Co\t1996\tComedy\n'
)


def write(folder: Path, ratings: str = RATINGS, films: str = FILMS) -> Path:
    (folder / "ml-100k.inter").write_text(ratings)
    (folder / "ml-100k.item").write_text(films)
    return folder


def read(folder: Path, bad_rows: str = "stop") -> RawLog:
    return SOURCE.read(folder, bad_rows)


def test_ratings_and_films(tmp_path: Path) -> None:
    log = read(write(tmp_path))
    assert log.clicks.rows() == [("196", "242", 881250949.0), ("196", "1", 881250949.0)]
    assert log.items is not None
    assert log.items.columns == ["item", "genre", "genre_set", "title", "release_year"]
    assert log.items.rows() == [
        ("1", "Animation", "Animation Children's Comedy", "Toy Story", "1995"),
        ("242", "Comedy", "Comedy", '"Kolya" & Co', "1996"),  # a quote is a letter like any other
    ]
    assert (log.levels, log.title, log.metadata) == (("genre", "genre_set"), "title", ("release_year",))


def test_the_copy_in_recbole_holds_what_is_published() -> None:
    log = read(locate())
    assert (
        log.clicks["session"].n_unique(),
        log.clicks["item"].n_unique(),
        len(log.clicks),
    ) == SOURCE.published
    assert log.items is not None
    assert [log.items[level].n_unique() for level in log.levels] == [19, 216]
    assert log.clicks["time"].is_between(874e6, 894e6).all()  # September 1997 to April 1998
    assert log.clicks.join(log.items, on="item", how="anti").is_empty()


def test_its_prepared_form_has_another_name() -> None:
    assert SOURCE.output == "ml-100k-sessions"  # RecBole would read its own copy under ml-100k
    assert SOURCE.inputs(locate()) == tuple(locate() / name for name in ("ml-100k.inter", "ml-100k.item"))


@pytest.mark.parametrize(
    ("ratings", "films", "message"),
    [
        (
            RATINGS + "1\t1\t3\tx\n",
            FILMS,
            "ml-100k.inter, row 4, column 'timestamp:float': received 'x'; is not a time",
        ),
        (RATINGS + "1\t\t3\t881250949\n", FILMS, "row 4, column 'item_id:token': received ''; is empty"),
        (RATINGS + "1\t1\t3\n", FILMS, "row 4: .*has 3 cells; expected 4"),
        (
            RATINGS,
            FILMS + "1\tToy Story\t1995\tComedy\n",
            "ml-100k.item, row 4, column 'class:token_seq'.*row 2 has",
        ),
        (RATINGS, FILMS.replace("class", "genre"), "no column 'class:token_seq'"),
    ],
)
def test_bad_rows_stop(tmp_path: Path, ratings: str, films: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, ratings, films))


def test_skip_collects_bad_rows_of_both_files(tmp_path: Path) -> None:
    log = read(write(tmp_path, RATINGS + "1\t1\t3\t-4\n", FILMS + "1\tToy Story\t1995\tComedy\n"), "skip")
    assert len(log.clicks) == 2
    assert isinstance(log.items, pl.DataFrame)
    assert len(log.items) == 2
    assert log.rejected.select("file", "row").rows() == [("ml-100k.inter", 4), ("ml-100k.item", 4)]
