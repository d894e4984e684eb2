"""Wikispeedia: back clicks, primary categories, files with comments or headers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.wikispeedia import SOURCE, pages_seen, primary_category
from recbole_hiersrec.errors import InputError

ARTICLES = "# The list of all articles.\n# FORMAT:   article\n\n%C3%89ire\nA_b\nC\nD\n"
CATEGORIES = (
    "# FORMAT:   article   category\n\n"
    "%C3%89ire\tsubject.Countries\n%C3%89ire\tsubject.Geography.Europe.European_Countries\n"
    "A_b\tsubject.People.Artists\nC\tsubject.People\nC\tsubject.History\n"
)
UNFINISHED = (
    "# FORMAT:   hashedIpAddress   timestamp   durationInSec   path   target   type\n\n"
    "aa\t1297054935\t1804\t%C3%89ire;A_b;<;C\tD\ttimeout\n"
    "aa\t1297054935\t1805\tC\tD\trestart\n"
)
FINISHED = "bb\t1297054000\t66\tC;D\t3\nbb\t1297054001\t66\tD;C\tNULL\n"


def write(folder: Path, **texts: str) -> Path:
    files = {"articles": ARTICLES, "categories": CATEGORIES, "paths_unfinished": UNFINISHED} | texts
    for name, text in files.items():
        (folder / f"{name}.tsv").write_bytes(text.encode("latin-1"))
    return folder


def read(folder: Path, bad_rows: str = "stop") -> RawLog:
    return SOURCE.read(folder, bad_rows)


@pytest.mark.parametrize(
    ("path", "pages"),
    [
        ("A", ["A"]),
        ("A;B;<;C", ["A", "B", "A", "C"]),  # the page returned to is seen again
        ("A;B;C;<;<;D", ["A", "B", "C", "B", "A", "D"]),  # two returns go two pages up, not to and fro
        ("A;B;<;B;<;<", None),  # the stack is A alone: nowhere to return to
        ("<;A", None),
        ("A;;B", None),
        ("", None),
        ("A_%28b%29;%C3%89ire", ["A_(b)", "Éire"]),
        ("A%3BB", ["A;B"]),  # an encoded semicolon is part of a name
        ("%3C;A", ["<", "A"]),
        ("A;%C3", None),
    ],
)
def test_pages_seen(path: str, pages: list[str] | None) -> None:
    assert pages_seen(path) == pages


def test_sessions_have_unique_names_and_one_time(tmp_path: Path) -> None:
    log = read(write(tmp_path, paths_finished=FINISHED))
    assert log.time == "session"
    assert log.clicks.rows() == [
        ("u1", "Éire", 1297054935.0),
        ("u1", "A_b", 1297054935.0),
        ("u1", "Éire", 1297054935.0),
        ("u1", "C", 1297054935.0),
        ("u2", "C", 1297054935.0),  # the same address and time as u1
        ("f1", "C", 1297054000.0),
        ("f1", "D", 1297054000.0),
        ("f2", "D", 1297054001.0),
        ("f2", "C", 1297054001.0),
    ]
    assert not any("left out" in note for note in log.notes)


def test_either_file_of_paths_is_enough(tmp_path: Path) -> None:
    folder = write(tmp_path, paths_finished=FINISHED)
    assert [path.name for path in SOURCE.inputs(folder)][2:] == ["paths_finished.tsv", "paths_unfinished.tsv"]
    (folder / "paths_unfinished.tsv").unlink()
    log = read(folder)
    assert [path.name for path in SOURCE.inputs(folder)][2:] == ["paths_finished.tsv"]
    assert log.clicks["session"].unique().sort().to_list() == ["f1", "f2"]
    assert "paths_unfinished.tsv was not there and is left out." in log.notes
    (folder / "paths_finished.tsv").unlink()
    with pytest.raises(InputError, match=r"paths_\*finished.tsv is missing; put articles.tsv"):
        SOURCE.inputs(folder)


def test_items_have_title_and_primary_category(tmp_path: Path) -> None:
    log = read(write(tmp_path))
    assert log.levels == ("subject", "topic", "subtopic")
    assert log.items is not None
    assert log.items.select("item", "title", *log.levels).rows() == [
        ("Éire", "Éire", "Geography", "Europe", "European Countries"),  # deeper than Countries
        ("A_b", "A b", "People", "Artists", None),
        ("C", "C", "History", None, None),  # before People in the alphabet
        ("D", "D", None, None, None),
    ]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ([("a", "subject.B"), ("a", "subject.A.C")], ("A", "C")),  # the deepest
        (
            [("a", "subject.A"), ("a", "subject.B"), ("b", "subject.B")],
            ("B", None),
        ),  # the one of more articles
        ([("a", "subject.B"), ("a", "subject.A")], ("A", None)),  # the first in the alphabet
        ([("a", "subject.A"), ("a", "subject.A"), ("a", "subject.B"), ("b", "subject.B")], ("B", None)),
    ],
)
def test_primary_category(categories: list[tuple[str, str]], expected: tuple[str, str | None]) -> None:
    for rows in (categories, categories[::-1]):  # whatever the order of the file
        frame = pl.DataFrame(rows, schema=["item", "category"], orient="row")
        found = primary_category(frame).filter(pl.col("item") == "a")
        assert found.select("subject", "topic").rows() == [expected]


def test_header_lines_and_comments_read_alike(tmp_path: Path) -> None:
    published = read(write(tmp_path))
    log = read(
        write(
            tmp_path,
            articles="Article_Name\n" + ARTICLES.split("\n\n")[1],
            categories="Article_Name\tCategory\n" + CATEGORIES.split("\n\n")[1],
            paths_unfinished=UNFINISHED.split("\n\n")[1],
        )
    )
    assert log.clicks.equals(published.clicks)
    assert log.items is not None
    assert log.items.equals(published.items)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "paths_unfinished",
            "a\t1\t2\tA;<;<\tB\trestart\n",
            r"unfinished.tsv, row 1, column 'path': received 'A;<;<'",
        ),
        (
            "paths_unfinished",
            "#c\n\na\t1\t2\tA;%C3\tB\trestart\n",
            "row 3, column 'path': received 'A;%C3'; allowed: URL",
        ),
        ("paths_unfinished", "a\tx\t2\tA\tB\trestart\n", "row 1, column 'time': received 'x'; is not a time"),
        (
            "paths_unfinished",
            "a\t1\t2\tA\tB\n",
            "row 1, column 'line': .*allowed: 6 cells with tabs between them",
        ),
        (
            "paths_unfinished",
            "a\t1\t2\tNA\tB\trestart\n",
            "row 1, column 'item': received 'NA'; RecBole reads this",
        ),
        ("paths_unfinished", "#only\n", "paths_unfinished.tsv: holds no rows"),
        ("paths_unfinished", "", "paths_unfinished.tsv: is empty"),
        ("articles", "A_b\nC\n\xff\n", "articles.tsv, row 3, column 'line': .*is not UTF-8: byte 0xff"),
        ("articles", "A_b\tx\n", "row 1, column 'line': .*allowed: 1 cells"),
        ("articles", "A_b\n%FF\n", "row 2, column 'article': received '%FF'; allowed: a URL-encoded name"),
        (
            "categories",
            "Z\tsubject.A\n",
            "row 1, column 'article': received 'Z'; articles.tsv has no such article",
        ),
        ("categories", "C\tA.B\n", "row 1, column 'category': received 'A.B'; allowed: subject.A"),
        ("categories", "C\tsubject.A.B.C.D\n", "row 1, column 'category': .*allowed: subject.A"),
        ("categories", "C\tsubject..B\n", "row 1, column 'category'"),
    ],
)
def test_bad_rows_stop(tmp_path: Path, file: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, **{file: text}))


def test_skip_keeps_the_names_of_the_other_sessions(tmp_path: Path) -> None:
    bad = "aa\t1\n" + "aa\t1297054935\t1\tC;<;<\tD\trestart\n"
    head, rows = UNFINISHED.split("\n\n")
    log = read(write(tmp_path, paths_unfinished=f"{head}\n\n{bad}{rows}"), "skip")
    assert log.clicks["session"].unique(maintain_order=True).to_list() == ["u3", "u4"]
    assert log.rejected.select("row", "column").rows() == [(3, "line"), (4, "path")]
