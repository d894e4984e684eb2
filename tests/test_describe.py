"""Numbers of a data set by hand, as text of at most 100 columns, and as figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from atomic_files import write_manifest

from recbole_hiersrec.data.describe import Description, Part, Unseen, describe, gini, top_share
from recbole_hiersrec.data.manifest import SCHEMA
from recbole_hiersrec.data.sessions import Leakage
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.report.data_figures import POINTS, draw, ranked
from recbole_hiersrec.report.description import WIDTH, text, tree_lines

CLICKS = [
    *[("a", "x1", 10), ("a", "x2", 20), ("a", "x1", 30), ("a", "x1", 30)],
    *[("b", "x3", 40), ("b", "x2", 70)],
    *[("c", "x2", 50), ("c", "x4", 55)],
    *[("d", "x1", 60), ("d", "x4", 65), ("d", "x5", 80)],
]
ITEMS = [("x1", "food", "fruit"), ("x2", "food", "fruit"), ("x3", "food", ""), ("x4", "tools", "saw")]
PARTS = {"a": "train", "b": "train", "c": "valid", "d": "test"}
YAML = "category_fields: [department, learned_1]\ntitle_field:\nmetadata_fields: []\n"
MANIFEST = {
    "schema": SCHEMA,
    "time": "click",
    "levels": [
        {"name": "department", "categories": 3, "learned": False},
        {"name": "learned_1", "categories": 4, "learned": True},
    ],
    "notes": ["The order within a basket is not known."],
}


def write_folder(data_path: Path, manifest: dict[str, Any] | None = None, **files: str | None) -> Path:
    """A folder ``shop`` as preparation writes it; ``files`` replaces contents by suffix, None leaves a file out."""
    contents: dict[str, str | None] = {
        "inter": "user_id:token\titem_id:token\ttimestamp:float\n"
        + "".join(f"{session}\t{item}\t{time}\n" for session, item, time in CLICKS),
        "item": "item_id:token\tdepartment:token\tlearned_1:token\n"
        + "".join("\t".join(row) + "\n" for row in ITEMS),
        "user": "user_id:token\tpart:token\n" + "".join(f"{s}\t{part}\n" for s, part in PARTS.items()),
        "yaml": YAML,
        **files,
    }
    folder = data_path / "shop"
    folder.mkdir()
    for suffix, content in contents.items():
        if content is not None:
            (folder / f"shop.{suffix}").write_text(content, encoding="utf-8")
    if manifest is not None:
        write_manifest(folder, **manifest)
    return data_path


def shop(tmp_path: Path, manifest: dict[str, Any] | None = MANIFEST, **files: str | None) -> Description:
    return describe("shop", write_folder(tmp_path, manifest, **files))


def test_numbers_of_a_temporal_split(tmp_path: Path) -> None:
    found = shop(tmp_path)
    assert (found.n_sessions, found.n_items, found.n_interactions, found.n_following) == (4, 5, 11, 7)
    assert found.split == "temporal"
    assert found.parts == (Part("train", 2, 3, 6), Part("valid", 1, 2, 2), Part("test", 1, 3, 3))
    assert found.lengths.tolist() == [4, 2, 2, 3]
    assert found.clicks.tolist() == [4, 3, 2, 1, 1]
    assert (found.repeats, found.returns, found.ties) == (1, 1, 1)  # a: x1 x2 x1 x1, the last two at 30
    assert found.cases == {"every-prefix": 2, "last-item": 1}
    assert found.unseen == Unseen(
        items=2, of_items=3, interactions=2, of_interactions=3
    )  # x4 (validation has it), x5
    assert found.leakage == Leakage(training=6, after=1)  # b at 70; d begins at 60
    assert found.notes == ("The order within a basket is not known.",)


def test_levels_name_what_is_learned_and_count_items_without(tmp_path: Path) -> None:
    department, learned = shop(tmp_path).levels
    assert (department.name, department.learned, department.without) == ("department", False, 1)  # x5: no row
    assert sorted(department.sizes.tolist()) == [1, 1, 3]
    assert (learned.name, learned.learned, learned.without) == ("learned_1", True, 2)  # x3 and x5
    assert sorted(learned.sizes.tolist()) == [1, 1, 1, 2]


def test_leave_one_out_counts_the_last_two_of_each_session(tmp_path: Path) -> None:
    found = shop(tmp_path, user=None)
    assert found.split == "leave-one-out"
    # a has all three parts, d a training row, a target for it and a test row, b and c are too short
    assert found.parts == (Part("train", 4, 4, 8), Part("valid", 1, 1, 1), Part("test", 2, 2, 2))
    assert found.cases == {"last-item": 2}
    assert found.unseen == Unseen(items=1, of_items=2, interactions=1, of_interactions=2)  # x5
    assert found.leakage == Leakage(training=8, after=6)  # a is tested at 30; 10 and 20 are before


def test_without_stamps_the_order_of_the_file_counts_and_leakage_is_unknown(tmp_path: Path) -> None:
    falling = "user_id:token\titem_id:token\ttimestamp:float\na\tx1\t3\na\tx1\t2\na\tx2\t1\n"
    found = shop(tmp_path, {**MANIFEST, "time": "order"}, inter=falling, user=None)
    assert (found.time, found.ties, found.leakage.after) == ("order", None, None)
    assert (found.repeats, found.returns) == (1, 0)
    assert found.unseen.items == 1  # x2 is last in the file, so it is tested; by the stamps it would be x1
    assert "not counted (no time stamps)" in text(found)
    assert "unknown (no time stamps)" in text(found)


def test_a_foreign_folder_may_lack_manifest_stamps_and_catalogue(tmp_path: Path) -> None:
    plain = "user_id:token\titem_id:token\na\tx1\na\tx2\na\tx1\n"
    found = shop(tmp_path, None, inter=plain, user=None, item=None, yaml=None)
    assert (found.time, found.levels, found.taxonomy, found.notes) == ("order", (), None, ())
    assert (found.repeats, found.returns) == (0, 1)
    assert "no category levels" in text(found)


def test_one_stamp_a_session_makes_no_ties(tmp_path: Path) -> None:
    found = shop(tmp_path, {**MANIFEST, "time": "session"})
    assert found.ties is None
    assert found.leakage == Leakage(6, 1)
    assert "not counted (one time stamp a session)" in text(found)


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    rename = {"user_id": "visit", "item_id": "sku", "timestamp": "ts"}
    (tmp_path / "plain").mkdir()
    plain = write_folder(tmp_path / "plain") / "shop"
    files = {}
    for suffix in ("inter", "item", "user"):
        head, _, rows = (plain / f"shop.{suffix}").read_text().partition("\n")
        for old, new in rename.items():
            head = head.replace(f"{old}:", f"{new}:")
        files[suffix] = f"{head}\n{rows}"
    keys = "USER_ID_FIELD: visit\nITEM_ID_FIELD: sku\nTIME_FIELD: ts\n"
    found = shop(tmp_path, None, yaml=YAML + keys, **files)
    assert text(found) == text(describe("shop", tmp_path / "plain"))
    assert found.leakage == Leakage(6, 1)


def test_the_packaged_data_set(tmp_path: Path) -> None:
    found = describe("ml-100k", tmp_path)
    assert (found.n_sessions, found.n_items, found.n_interactions) == (943, 1682, 100_000)
    assert [(level.name, len(level.sizes), level.learned) for level in found.levels] == [
        ("class.first", 19, False),
        ("class", 216, False),
    ]
    shown = text(found)
    assert (
        "training interactions after the earliest test interaction: 97,244 of 98,114 (99.1 %)"
        in shown.splitlines()
    )
    assert max(map(len, shown.splitlines())) <= WIDTH


def test_gini_is_half_the_relative_mean_difference() -> None:
    clicks = np.array([9, 4, 4, 2, 1])
    naive = np.abs(clicks[:, None] - clicks[None, :]).mean() / (2 * clicks.mean())
    assert gini(clicks) == pytest.approx(naive)
    assert gini(np.array([3, 3, 3])) == pytest.approx(0)


def test_top_share_takes_at_least_one_item() -> None:
    clicks = np.array([5, 3, 1, 1])
    assert top_share(clicks, 1) == 5 / 10
    assert top_share(clicks, 50) == 8 / 10
    assert top_share(clicks, 74) == 8 / 10
    assert top_share(clicks, 100) == 1


def test_text_of_a_small_shop(tmp_path: Path) -> None:
    assert text(shop(tmp_path)).splitlines() == [
        "shop: temporal split, whole sessions",
        "",
        "part   sessions  items  interactions",
        "train         2      3             6",
        "valid         1      2             2",
        "test          1      3             3",
        "all           4      5            11",
        "",
        "clicks a session               mean 2.75, median 2.5, 95 % ≤ 4, longest 4",
        "popularity                     top 1 % of items: 36.4 % of clicks, top 10 %: 36.4 %; Gini 0.29",
        "immediate repeats              1 of 7 clicks after the first (14.3 %)",
        "returns to earlier items       1 of 7 clicks after the first (14.3 %)",
        "ties in time                   1 of 7 clicks after the first (14.3 %)",
        "test cases                     every-prefix 2, last-item 1",
        "test items unseen in training  2 of 3 items (66.7 %)",
        "test clicks on them            2 of 3 clicks (66.7 %)",
        "",
        "training interactions after the earliest test interaction: 1 of 6 (16.7 %)",
        "",
        "level       categories  largest  median  items without  from",
        "department           3        3       1              1  source",
        "learned_1            4        2       1              2  learned (training part)",
        "",
        "taxonomy, 2 of 2 levels, largest branches first (items)",
        "  food (3)",
        "    fruit (2)",
        "    (unknown) (1)",
        "  (unknown) (1)",
        "    (unknown) (1)",
        "  tools (1)",
        "    saw (1)",
        "",
        "note: The order within a basket is not known.",
    ]


def test_no_line_is_longer_than_100_columns(tmp_path: Path) -> None:
    found = shop(tmp_path)
    long = tuple(replace(level, name="a level " * 20, sizes=level.sizes + 10**6) for level in found.levels)
    paths = [("department " * 20, f"class {number} " * 20) for number in range(5)]
    big = replace(
        found,
        name="n" * 60,
        lengths=found.lengths * 100_000,
        clicks=found.clicks * 10_000_000,
        repeats=1_234_567,
        parts=tuple(replace(part, interactions=10**9) for part in found.parts),
        leakage=Leakage(10**9, 10**9),
        unseen=Unseen(10**9, 10**9, 10**9, 10**9),
        levels=long,
        taxonomy=Taxonomy.from_paths(paths, ("upper", "lower")),
        notes=("A rule that takes many words to say. " * 10,),
    )
    assert [line for line in text(big).splitlines() if len(line) > WIDTH] == []


def test_the_tree_shows_the_largest_and_counts_the_rest() -> None:
    paths = [("big", f"b{min(number, 5)}") for number in range(10)]
    paths += [(f"small {number}", "s") for number in range(7) for _ in range(2)]
    assert tree_lines(Taxonomy.from_paths(paths, ("upper", "lower"))) == [
        "taxonomy, 2 of 2 levels, largest branches first (items)",
        "  big (10)",
        "    b5 (5)",
        "    b0 (1)",
        "    b1 (1)",
        "    ... 3 more (3)",
        *[line for number in range(5) for line in (f"  small {number} (2)", "    s (2)")],
        "  ... 2 more (4)",
    ]


def test_the_tree_of_deep_and_flat_taxonomies() -> None:
    deep = Taxonomy.from_paths([("a", "b", "c", "d")], ("1", "2", "3", "4"))
    assert tree_lines(deep) == [
        "taxonomy, 2 of 4 levels, largest branches first (items)",
        "  a (1)",
        "    b (1)",
    ]
    flat = Taxonomy.from_paths([(f"c{number:02}",) for number in range(25)], ("only",))
    assert len(tree_lines(flat)) == 1 + 20 + 1
    assert tree_lines(flat)[-1] == "  ... 5 more (5)"


def test_figures_are_png_files_and_the_same_bytes_again(tmp_path: Path) -> None:
    found = shop(tmp_path)
    paths = draw(found, tmp_path / "figures")
    assert [path.name for path in paths] == ["lengths.png", "popularity.png", "categories.png"]
    contents = [path.read_bytes() for path in paths]
    assert all(content.startswith(b"\x89PNG") for content in contents)
    assert len(set(contents)) == 3
    without_levels = draw(replace(found, levels=(), taxonomy=None), tmp_path / "again")
    assert [path.name for path in without_levels] == ["lengths.png", "popularity.png"]
    assert [path.read_bytes() for path in without_levels] == contents[:2]


def test_ranked_values_keep_both_ends_and_few_points() -> None:
    values = np.arange(1_000_000)
    ranks, found = ranked(values)
    assert (ranks[0], ranks[-1], found[0], found[-1]) == (1, 1_000_000, 999_999, 0)
    assert len(ranks) <= POINTS
    ranks, found = ranked(np.array([2, 7, 5]))
    assert (ranks.tolist(), found.tolist()) == ([1, 2, 3], [7, 5, 2])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"inter": "user_id:token\titem_id:token\ttimestamp:float\na\tx1\tnoon\na\tx2\t3\n"},
            r"shop\.inter, line 2: timestamp is 'noon'; allowed: a number",
        ),
        (
            {"inter": "user:token\titem_id:token\ttimestamp:float\na\tx1\t1\na\tx2\t3\n"},
            "no column 'user_id'",
        ),
        ({"yaml": "category_fields: [aisle]\n"}, "has no column 'aisle'"),
        ({"item": None}, "category_fields: need an .item file"),
        (
            {"user": "user_id:token\tpart:token\na\ttrain\nb\ttrain\nc\tvalid\nd\tholdout\n"},
            "part is 'holdout'",
        ),
    ],
    ids=["time", "session column", "level", "no catalogue", "part"],
)
def test_files_at_fault_are_one_line(tmp_path: Path, files: dict[str, str | None], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        shop(tmp_path, None, **files)
    assert "\n" not in str(error.value)


def test_an_unknown_data_set_names_the_nearest(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(InputError, match="unknown data set 'shops'.*did you mean 'shop'"):
        describe("shops", tmp_path)
