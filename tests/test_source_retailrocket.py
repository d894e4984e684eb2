"""The reader of Retailrocket, on files in the true raw format; what an item is depends on the time of the split."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.sources.history import as_of, changes
from recbole_hiersrec.data.sources.retailrocket import SOURCE, find_cycle
from recbole_hiersrec.errors import InputError

EVENTS = """timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433224214164,992329,view,248676,
1433221999827,111016,view,318965,
1433222276276,257597,addtocart,355908,
1433222276280,257597,transaction,355908,4000
1433221332000,257597,view,10,
"""
PART_1 = """timestamp,itemid,property,value
1441508400000,355908,categoryid,1016
1435460400000,460429,888,1116713 960601 n277.200
1433041200000,355908,categoryid,213
1433041200000,10,available,1
"""
PART_2 = """timestamp,itemid,property,value
1433646000000,355908,categoryid,213
1433646000000,248676,categoryid,9
1436065200000,248676,categoryid,570
"""
TREE = """categoryid,parentid
1016,213
213,140
140,
570,9
9,
77,1016
"""
UNTIL_JULY, UNTIL_LAST = 1_434_000_000.0, 1_441_508_400.0


def write(
    folder: Path, events: str = EVENTS, part_1: str = PART_1, part_2: str = PART_2, tree: str = TREE
) -> Path:
    """The four files."""
    (folder / "events.csv").write_text(events)
    (folder / "item_properties_part1.csv").write_text(part_1)
    (folder / "item_properties_part2.csv").write_text(part_2)
    (folder / "category_tree.csv").write_text(tree)
    return folder


def items(log: RawLog, cut: float | None) -> dict[str, tuple[str, ...]]:
    """Item -> its path as known at ``cut``."""
    assert callable(log.items)
    return {row[0]: row[1:] for row in log.items(cut).select("item", *log.levels).iter_rows()}


def test_views_only(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert log.clicks.select("session", "item").rows() == [
        ("257597", "355908"),
        ("992329", "248676"),
        ("111016", "318965"),
        ("257597", "10"),
    ]
    seconds = [1433221332.117, 1433224214.164, 1433221999.827, 1433221332.0]
    assert log.clicks["time"].to_list() == pytest.approx(seconds, rel=0, abs=1e-6)
    assert SOURCE.defaults["gap_minutes"] == 30


def test_no_look_ahead(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert log.levels == ("level_1", "level_2", "level_3")  # 140 > 213 > 1016; no item is in 77
    assert items(log, 1_433_041_200.0) == {}  # strictly before: not what is known from that moment on
    assert items(log, 1_433_041_200.5) == {"355908": ("140", "213", "")}
    assert items(log, UNTIL_JULY) == {"355908": ("140", "213", ""), "248676": ("9", "", "")}
    assert items(log, UNTIL_LAST) == {"355908": ("140", "213", ""), "248676": ("9", "570", "")}
    assert items(log, UNTIL_LAST + 1) == {"355908": ("140", "213", "1016"), "248676": ("9", "570", "")}


def test_without_a_split_time_the_first_value_counts(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path), "stop")
    assert items(log, None) == {"355908": ("140", "213", ""), "248676": ("9", "", "")}


def test_later_rows_do_not_change_earlier_knowledge(tmp_path: Path) -> None:
    before = items(SOURCE.read(write(tmp_path), "stop"), UNTIL_JULY)
    later = PART_2 + "1434000000000,248676,categoryid,1016\n1434000000000,10,categoryid,1016\n"
    assert items(SOURCE.read(write(tmp_path, part_2=later), "stop"), UNTIL_JULY) == before


def test_changes_keep_what_every_cut_sees() -> None:
    observed = pl.DataFrame(
        [
            ("a", 3.0, "x"),
            ("a", 1.0, "x"),
            ("b", 2.0, "z"),
            ("a", 2.0, "y"),
            ("a", 2.0, "x"),
            ("a", 4.0, "y"),
        ],
        schema=["item", "time", "value"],
        orient="row",
    )
    history = changes(observed)
    assert history.rows() == [
        ("a", 1.0, "x"),
        ("a", 2.0, "y"),
        ("a", 2.0, "x"),  # of equal times the later row
        ("a", 4.0, "y"),
        ("b", 2.0, "z"),
    ]
    rows = sorted(observed.rows(), key=lambda row: row[1])
    for cut in (0.5, 1.0, 1.5, 2.0, 2.5, 3.5, 4.0, 9.0):
        naive = {item: value for item, time, value in rows if time < cut}
        assert dict(as_of(history, cut).iter_rows()) == naive
    assert dict(as_of(history, None).iter_rows()) == {"a": "x", "b": "z"}


def test_find_cycle() -> None:
    assert find_cycle({"1": "2", "2": "3", "3": ""}) == []
    assert find_cycle({"0": "1", "1": "2", "2": "3", "3": "1"}) == ["1", "2", "3"]
    assert find_cycle({"5": "5"}) == ["5"]
    assert find_cycle({"1": "gone"}) == []


def test_a_cycle_is_shown(tmp_path: Path) -> None:
    write(tmp_path, tree=TREE + "1,2\n2,3\n3,1\n4,1\n5,4\n6,6\n")
    message = "row 8, column 'parentid': received '2'; is in the cycle 1 > 2 > 3 > 1; allowed: a tree"
    with pytest.raises(InputError, match=message):
        SOURCE.read(tmp_path, "stop")
    rejected = SOURCE.read(tmp_path, "skip").rejected
    assert rejected["row"].to_list() == [
        8,
        9,
        10,
        13,
        11,
        12,
    ]  # two cycles, then 4 and 5, which hang on the first
    assert set(rejected["column"]) == {"parentid"}


def test_a_parent_that_is_not_in_the_tree(tmp_path: Path) -> None:
    write(tmp_path, tree=TREE.replace("140,\n", ""))
    with pytest.raises(InputError, match=r"row 3, column 'parentid': received '140'; is no category"):
        SOURCE.read(tmp_path, "stop")
    log = SOURCE.read(tmp_path, "skip")
    tree = log.rejected.filter(pl.col("file") == "category_tree.csv")
    assert tree["row"].to_list() == [3, 2, 6]  # 213, then its child 1016, then 77
    # with them go the property rows that name them
    assert log.rejected.filter(pl.col("column") == "value")["received"].to_list() == ["1016", "213", "213"]
    assert items(log, UNTIL_LAST + 1) == {"248676": ("9", "570")}


@pytest.mark.parametrize(
    ("part", "row", "message"),
    [
        (
            "events",
            "1433221332117,1,click,5,",
            r"events.csv, row 8, column 'event': received 'click'; allowed: view, ",
        ),
        ("events", "soon,1,view,5,", r"events.csv, row 8, column 'timestamp': received 'soon'"),
        ("events", "1433221332117,null,view,5,", r"row 8, column 'visitorid': received 'null'"),
        (
            "part_1",
            "1441508400000,5,categoryid,4711",
            r"part1.csv, row 6, column 'value': .*'4711'; allowed: a categ",
        ),
        ("part_2", "-5,5,categoryid,9", r"part2.csv, row 5, column 'timestamp': received '-5'"),
        ("tree", "9,140", r"category_tree.csv, row 8, column 'parentid': received '140'"),
        ("tree", ",140", r"category_tree.csv, row 8, column 'categoryid': received ''; is empty"),
    ],
)
def test_bad_rows(tmp_path: Path, part: str, row: str, message: str) -> None:
    files = {"events": EVENTS, "part_1": PART_1, "part_2": PART_2, "tree": TREE}
    write(tmp_path, **{**files, part: files[part] + row + "\n"})
    with pytest.raises(InputError, match=message):
        SOURCE.read(tmp_path, "stop")
    skipped = SOURCE.read(tmp_path, "skip")
    assert len(skipped.rejected) == 1
    whole = SOURCE.read(write(tmp_path), "stop")
    assert skipped.clicks.equals(whole.clicks)
    assert items(skipped, UNTIL_LAST) == items(whole, UNTIL_LAST)


def test_other_properties_may_be_anything(tmp_path: Path) -> None:
    log = SOURCE.read(write(tmp_path, part_1=PART_1 + "x,NA,888,whatever\n"), "stop")
    assert not len(log.rejected)


def test_nothing_of_what_is_needed(tmp_path: Path) -> None:
    write(tmp_path, part_2="timestamp,itemid,property,value\n1,2,available,1\n")
    with pytest.raises(InputError, match="part2.csv: no row has property 'categoryid'"):
        SOURCE.read(tmp_path, "stop")
