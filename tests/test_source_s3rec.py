"""S3-Rec's files: the rule that turns unnamed attributes into brand and levels, and every way a file can be bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.s3rec import SOURCES, brands_and_paths, ranked
from recbole_hiersrec.errors import InputError

SOURCE = {source.name: source for source in SOURCES}
USERS = "1 1 2 3\n2 3 1\n7 4 5 6 7\n"
LISTS = {
    "1": [9, 1, 3, 5],
    "2": [1, 3, 5],
    "3": [1, 4],
    "4": [2, 6],
    "5": [9, 2, 3],
    "6": [2],
    "7": [1, 3, 3],
}
# Frequencies: 1 -> 4 (items 1, 2, 3, 7), 2 -> 3 (4, 5, 6), 3 -> 4 (1, 2, 5, 7), 9 -> 2, 5 -> 2, 4 -> 1, 6 -> 1.


def write(folder: Path, users: str = USERS, lists: object = None, text: str | None = None) -> Path:
    (folder / "Beauty.txt").write_text(users)
    text = json.dumps(LISTS if lists is None else lists) if text is None else text
    (folder / "Beauty_item2attributes.json").write_text(text)
    return folder


def read(folder: Path, bad_rows: str = "stop", name: str = "amazon-beauty") -> RawLog:
    return SOURCE[name].read(folder, bad_rows)


def test_users_are_sessions_in_order_without_stamps(tmp_path: Path) -> None:
    log = read(write(tmp_path))
    assert log.time == "order"
    assert log.clicks.rows() == [
        (1, 1, 0.0),
        (1, 2, 1.0),
        (1, 3, 2.0),
        (2, 3, 0.0),
        (2, 1, 1.0),
        (7, 4, 0.0),
        (7, 5, 1.0),
        (7, 6, 2.0),
        (7, 7, 3.0),
    ]


def test_brand_and_levels(tmp_path: Path) -> None:
    log = read(write(tmp_path))
    assert log.levels == ("level_1", "level_2", "level_3", "attributes")
    assert log.metadata == ("brand",)
    assert log.items is not None
    assert log.items.columns == ["item", *log.levels, "brand"]
    assert log.items.rows() == [
        (1, "1", "3", "5", "1 3 5 9", "9"),  # 9 is rarer than what follows it, in both lists that it begins
        (2, "1", "3", "5", "1 3 5", None),
        (3, "1", "4", None, "1 4", None),
        (4, "2", "6", None, "2 6", None),
        (5, "2", "3", None, "2 3 9", "9"),  # 3 is more frequent than 2: a name that 1 and 2 share
        (6, "2", None, None, "2", None),
        (7, "1", "3", None, "1 3", None),
    ]


BASE = [*LISTS.values(), [1, 3], [1, 3], [2]]  # 1 begins six lists, 2 begins four


@pytest.mark.parametrize(
    ("attributes", "brand", "path"),
    [
        ([1, 4, 2, 6], None, [1, 4]),  # two paths: 1 begins more lists than 2
        ([2, 6, 1, 4], None, [1, 4]),
        ([9, 2, 6, 1, 4], 9, [1, 4]),
        ([1, 4, 1, 3], None, [1, 4]),  # both begin with 1: the first
        ([1, 4, 7, 3], None, [1, 4, 7, 3]),  # nothing twice: one path, 3 is a shared name
        ([1, 4, 7, 3, 7], None, [1, 4, 7]),  # 7 twice: several paths, cut where the frequency rises
        ([1, 1, 4], None, [1, 4]),
        ([1, 4, 7, 8, 5], None, [1, 4, 7, 8, 5]),
        ([9], 9, []),
        ([], None, []),
    ],
)
def test_rule(attributes: list[int], brand: int | None, path: list[int]) -> None:
    assert brands_and_paths([*BASE, attributes])[-1] == (brand, path)


def test_majority_of_lists_makes_a_brand() -> None:
    lists = [
        [5, 1],
        [5, 1],
        [1, 5],
        [1],
        [1, 6, 2],
    ]  # 5 has 3 items and 1 has 5: a brand that is a category elsewhere
    assert brands_and_paths(lists)[0] == (5, [])  # 1 is what every item has
    assert brands_and_paths([*lists, [7]])[0] == (5, [1])


def test_as_many_lists_for_as_against_make_no_brand() -> None:
    assert brands_and_paths([[5, 1], [5, 2], [1], [1]])[0] == (
        None,
        [5],
    )  # 5: 2 items, 1: 3, 2: 1; a path ends before 1


def test_attribute_of_every_item_is_no_level() -> None:
    assert brands_and_paths([[8, 3], [8, 4], [8], []]) == [(None, [3]), (None, [4]), (None, []), (None, [])]


def test_ranks_of_attributes() -> None:
    lists = [[3, 9, 7], [9], [7, 7, 9]]
    assert ranked(lists) == [[9, 7, 3], [9], [7, 9]]  # 9 is most frequent, but the last list names 7 twice


def test_lists_without_order_are_ranked_by_frequency(tmp_path: Path) -> None:
    (tmp_path / "LastFM.txt").write_text("1 1 2 3 4\n")
    lists = {"1": [4, 5, 4, 6], "2": [5, 6], "3": [6, 7, 5], "4": []}
    (tmp_path / "LastFM_item2attributes.json").write_text(json.dumps(lists))
    log = read(tmp_path, name="lastfm")
    assert ranked(list(lists.values())) == [[4, 5, 6], [5, 6], [5, 6, 7], []]
    assert log.metadata == ()
    assert log.items is not None
    assert log.items.rows()[0] == (1, "4", "5", "6")
    assert log.items.rows()[3] == (4, None, None, None)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        (
            "1 1 2\n2 3 x\n",
            r"Beauty\.txt, row 2, column 'line': received '2 3 x'; allowed: a user and one item",
        ),
        ("1 1 2\n2\n", "row 2.*received '2'; allowed"),
        ("1 1 2\n2 1 0\n", "row 2.*received '2 1 0'; allowed"),
        ("1 1  2\n", "row 1.*received '1 1  2'; allowed"),
        (
            "1 1 2\n3 1\n1 3\n",
            "row 3.*received '1 3'; the user has an earlier line; allowed: one line a user",
        ),
        ("", "Beauty.txt: is empty"),
    ],
)
def test_bad_lines_stop(tmp_path: Path, users: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, users))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"1": [1, "2"]}',
            r"json, row 1, column 'attributes': received '\[1, \"2\"\]'; allowed: a list of whole",
        ),
        ('{"1": [1], "2": 3}', "row 2, column 'attributes': received '3'; allowed: a list of whole numbers"),
        ('{"1": [true]}', "row 1, column 'attributes'"),
        ('{"1": [1.5]}', "row 1, column 'attributes'"),
        ('{"1": {"a": 1}}', "row 1, column 'attributes'"),
        ('{"1": [99999999999999999999]}', "row 1, column 'attributes'"),
        ('{"1": [1], "x": [1]}', "row 2, column 'item': received 'x'; allowed: a whole number from 1"),
        ('{"1": [1], "8": [1]}', "row 2, column 'item': received '8'; Beauty.txt has no such item"),
        ('{"1": [1], "1": [2]}', r"row 2, column 'attributes': received '\[2\]'; row 1 has"),
        ('{"1": [1, 2', "json, row 1, character 12: is not JSON, or is cut short"),
        ('{"1": [1],\n"2": [1}', "json, row 2, character 8: is not JSON"),
        ("[1, 2]", "allowed: one JSON object"),
        ("{}", "allowed: one JSON object"),
        ('{"1": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_bad_json_stops(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, text=text))


def test_json_that_is_not_utf8(tmp_path: Path) -> None:
    (write(tmp_path) / "Beauty_item2attributes.json").write_bytes(b'{"1": [1], "\xff": [2]}')
    with pytest.raises(InputError, match="is not UTF-8: byte 0xff at position 12"):
        read(tmp_path)


def test_skip_goes_on_and_says_what_was_left_out(tmp_path: Path) -> None:
    users = "1 1 2 3\nx 1\n2 3 1\n1 4\n7 4 5 6 7\n"
    text = json.dumps(LISTS)[:-1] + ', "8": [1], "7": [1, 4], "6": [2], "y": "z"}'
    log = read(write(tmp_path, users, text=text), "skip")
    clean = read(write(tmp_path))
    assert log.clicks.equals(clean.clicks)
    assert log.items is not None
    assert log.items.equals(clean.items)  # "6": [2] is said twice and alike
    assert log.rejected.select("file", "row", "column", "received").rows() == [
        ("Beauty.txt", 2, "line", "x 1"),
        ("Beauty.txt", 4, "line", "1 4"),
        ("Beauty_item2attributes.json", 11, "item", "y"),
        ("Beauty_item2attributes.json", 8, "item", "8"),
        ("Beauty_item2attributes.json", 9, "attributes", "[1, 4]"),
    ]


def test_sources_need_no_stamps() -> None:
    assert sorted(SOURCE) == ["amazon-beauty", "amazon-sports", "amazon-toys", "lastfm", "yelp"]
    for source in SOURCES:
        assert source.defaults["split"] == "leave-one-out"
        assert "attributes" in source.levels or source.name in ("yelp", "lastfm")


def test_missing_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "Beauty_item2attributes.json").unlink()
    with pytest.raises(
        InputError, match=r"'amazon-beauty': .*json is missing; put Beauty.txt, Beauty_item2attributes"
    ):
        SOURCE["amazon-beauty"].inputs(tmp_path)
