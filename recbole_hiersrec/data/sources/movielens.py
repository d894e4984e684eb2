"""MovieLens 100K as RecBole ships it: 100,000 ratings of 1,682 films by 943 people, 1997 to 1998.

Raw format: RecBole's own atomic files ``ml-100k.inter`` (user_id, item_id, rating, timestamp in seconds) and
``ml-100k.item`` (item_id, movie_title, release_year, class), tab-separated without quoting, in the recbole package.

Rules: a session is everything a person rated, whatever the rating, in the order of time; people often rated many films
in one second, and such ties keep the order of the file. The levels are the first genre of ``class`` and the whole of
it. The prepared data set is called ``ml-100k-sessions``, because RecBole reads its own copy whenever a data set is
called ``ml-100k``.

Licence: that of GroupLens: research use with acknowledgement, no commercial use without permission. F. M. Harper and
J. A. Konstan, The MovieLens datasets: History and context, ACM TiiS 5(4), 2015.
Source: https://grouplens.org/datasets/movielens/100k/
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from recbole_hiersrec.data.files import PACKAGED, SEPARATOR, atomic_files
from recbole_hiersrec.data.log import BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_ids, check_times, one_row_an_item

INTERACTIONS, FILMS = f"{PACKAGED}.inter", f"{PACKAGED}.item"
_SESSION, _ITEM, _TIME = "user_id:token", "item_id:token", "timestamp:float"
_TITLE, _YEAR, _GENRES = "movie_title:token_seq", "release_year:token", "class:token_seq"


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the ratings and the films.

    Raises:
        InputError: a file is missing or damaged, or a row is bad and ``bad_rows`` is "stop".
    """
    ratings = _ratings(folder / INTERACTIONS, bad_rows)
    films = _films(folder / FILMS, bad_rows)
    return RawLog(
        clicks=ratings.frame,
        items=films.frame,
        levels=("genre", "genre_set"),
        title="title",
        metadata=("release_year",),
        rejected=pl.concat([ratings.rejected, films.rejected]),
        notes=("A session is everything a person rated; ratings of one second keep the order of the file.",),
    )


def _ratings(path: Path, bad_rows: BadRows) -> Table:
    table = read_table(path, [_SESSION, _ITEM, _TIME], bad_rows, separator=SEPARATOR, quote=None)
    table = check_times(check_ids(table, _SESSION, _ITEM), _TIME)
    return replace(table, frame=table.frame.select(session=_SESSION, item=_ITEM, time=_TIME))


def _films(path: Path, bad_rows: BadRows) -> Table:
    table = read_table(path, [_ITEM, _TITLE, _YEAR, _GENRES], bad_rows, separator=SEPARATOR, quote=None)
    table = one_row_an_item(check_ids(table, _ITEM), _ITEM, [_GENRES])
    columns = {
        "item": pl.col(_ITEM),
        "genre": pl.col(_GENRES).str.split(" ").list.first(),
        "genre_set": pl.col(_GENRES),
        "title": pl.col(_TITLE),
        "release_year": pl.col(_YEAR),
    }
    return replace(table, frame=table.frame.select(**columns))


def locate() -> Path:
    """Folder of the files in the recbole package, which is found without importing it.

    Raises:
        InputError: recbole is not installed.
    """
    return atomic_files(PACKAGED)["inter"].parent


SOURCE = Source(
    name=PACKAGED,
    domain="films rated",
    licence="GroupLens: research use with acknowledgement, no commercial use without permission",
    obtain="part of the recbole package",
    files=(INTERACTIONS, FILMS),
    published=(943, 1_682, 100_000),
    levels=("genre", "genre_set"),
    read=read,
    defaults={"split": "leave-one-out", "item_core": 1, "collapse_repeats": False},
    output=f"{PACKAGED}-sessions",
    locate=locate,
)
