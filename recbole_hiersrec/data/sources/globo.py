"""Globo.com: click sessions of a Brazilian news portal, 16 days of October 2017, about three million clicks.

Raw format, one of

- ``clicks.parquet`` with the columns user_id, session_id, session_start, session_size, click_article_id,
  click_timestamp (milliseconds), and possibly more;
- the published hourly files ``clicks_hour_000.csv``, ``clicks_hour_001.csv``, ... with the same columns and the click's
  surroundings (click_environment, click_deviceGroup, ...), in the folder or in ``clicks/`` below it;

and optionally the published ``articles_metadata.csv`` (article_id, category_id, created_at_ts, publisher_id,
words_count): then ``category_id`` is the one level. Without it there are no levels, and they can be learned.

In each of the 1,048,594 sessions the last time stamp is imputed by the publisher, 30 seconds after the one before: the
last pause of a session means nothing. All sessions began before 4 a.m. (UTC) of 17 October 2017, but some lasted long:
134 ended on 18 October or later, the last on 13 November. Splits by days count back from there; fractions are better.
News is new: of the latest tenth of the sessions most clicks are on articles that training never saw. So validation and
test are the latest 2 % each unless set otherwise, about eight hours.

Licence: academic use only (education, research), no commercial use; please cite G. de Souza P. Moreira, F. Ferreira and
A. M. da Cunha, News session-based recommendations using deep neural networks, DLRS 2018, and G. de Souza P. Moreira,
D. Jannach and A. M. da Cunha, Contextual hybrid session-based news recommendation with recurrent neural networks, IEEE
Access 2019. Source: https://www.kaggle.com/datasets/gspmoreira/news-portal-user-interactions-by-globocom
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from recbole_hiersrec.data.log import BadRows, RawLog, Table
from recbole_hiersrec.data.sources.base import Source
from recbole_hiersrec.data.sources.raw import check_whole_ids
from recbole_hiersrec.data.tables import read_table
from recbole_hiersrec.data.validate import check_times, one_row_an_item

SESSION, ITEM, TIME = "session_id", "click_article_id", "click_timestamp"
ARTICLES = "articles_metadata.csv"


def read(folder: Path, bad_rows: BadRows) -> RawLog:
    """Read the clicks, and the articles' categories where they are there.

    Raises:
        InputError: a file is missing or damaged, or a row is bad and ``bad_rows`` is "stop".
    """
    files = SOURCE.inputs(folder)
    clicks = [_clicks(path, bad_rows) for path in files if path.name != ARTICLES]
    articles = [_articles(path, bad_rows) for path in files if path.name == ARTICLES]
    return RawLog(
        clicks=pl.concat([table.frame for table in clicks]),
        items=articles[0].frame if articles else None,
        levels=("category",) if articles else (),
        rejected=pl.concat([table.rejected for table in (*clicks, *articles)]),
        notes=("A session's last time stamp is imputed by the publisher: 30 seconds after the one before.",),
    )


def _clicks(path: Path, bad_rows: BadRows) -> Table:
    """Columns ``session``, ``item`` and ``time``."""
    table = check_whole_ids(read_table(path, [SESSION, ITEM, TIME], bad_rows), SESSION, ITEM)
    table = check_times(table, TIME)
    return replace(table, frame=table.frame.select(session=SESSION, item=ITEM, time=TIME))


def _articles(path: Path, bad_rows: BadRows) -> Table:
    """One row an article: ``item`` and ``category``."""
    table = check_whole_ids(read_table(path, ["article_id", "category_id"], bad_rows), "article_id")
    table = one_row_an_item(table, "article_id", ["category_id"])
    return replace(
        table, frame=table.frame.select(item="article_id", category=pl.col("category_id").cast(pl.String))
    )


SOURCE = Source(
    name="globo",
    domain="news: articles read",
    licence="academic use only, no commercial use",
    obtain="https://www.kaggle.com/datasets/gspmoreira/news-portal-user-interactions-by-globocom, unpacked",
    files=("clicks.parquet|clicks/clicks_hour_*.csv|clicks_hour_*.csv", f"{ARTICLES}|"),
    published=(1_048_594, 46_033, 2_988_181),
    levels=(),
    read=read,
    defaults={"valid": "0.02", "test": "0.02"},
)
