"""The generator: exact counts, the planted walk within binomial tolerance, every setting, the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recbole_hiersrec.data.generator import START, Generated, GeneratorSettings, generate, write_generated
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import parse

SMALL: dict[str, Any] = {"clicks": 5000, "items": 300, "level_sizes": (3, 6, 20)}


def settings(**changes: Any) -> GeneratorSettings:
    return parse(GeneratorSettings, {**SMALL, **changes}, "test")


@pytest.fixture(scope="module")
def walk() -> Generated:
    """A quarter of a million clicks over 8 leaves."""
    changes = {"repeat": 0.1, "stay": 0.4, "follow": 0.3}
    return generate(settings(clicks=250_000, items=80, level_sizes=(2, 8), mean_length=10.0, **changes))


def steps(generated: Generated) -> tuple[np.ndarray, np.ndarray]:
    """Items (from 1) of all pairs of neighbouring clicks of a session."""
    events = generated.events.sort("session", "time")
    session, item = events["session"].to_numpy(), events["item"].to_numpy()
    same = session[1:] == session[:-1]
    return item[:-1][same], item[1:][same]


def assert_binomial(observed: np.ndarray, n: np.ndarray | int, probability: np.ndarray) -> None:
    """Every count within 5 standard deviations of n p: one wrong alarm in a million cells."""
    deviation = np.sqrt(n * probability * (1 - probability))
    assert (np.abs(observed - n * probability) <= 5 * deviation + 1e-9).all()


def test_clicks_items_and_levels_are_as_many_as_asked_for() -> None:
    for clicks in (2, 3, 4, 5, 4999, 5000):
        generated = generate(settings(clicks=clicks))
        assert len(generated.events) == clicks
        assert generated.events["session"].value_counts()["count"].min() >= 2
        sessions = generated.events["session"].unique().sort().to_list()
        assert sessions == list(range(len(sessions)))
    assert generated.items["item"].to_list() == list(range(1, 301))
    assert [generated.items[f"level_{level}"].n_unique() for level in (1, 2, 3)] == [3, 6, 20]
    assert generated.events["item"].is_between(1, 300).all()


def test_categories_form_a_tree_and_carry_their_path() -> None:
    items = generate(settings()).items
    for upper, lower in (("level_1", "level_2"), ("level_2", "level_3")):
        pairs = items.select(upper, lower).unique()
        assert len(pairs) == items[lower].n_unique()
        assert all(child.startswith(parent + ".") for parent, child in pairs.iter_rows())
    assert all(title.endswith(leaf) for leaf, title in items.select("level_3", "title").iter_rows())


def test_every_leaf_is_followed_by_one_other_of_its_parent_on_one_cycle(walk: Generated) -> None:
    for generated in (walk, generate(settings())):
        assert np.array_equal(generated.parent[generated.successor], generated.parent)
        for parent in np.unique(generated.parent):
            leaves = np.flatnonzero(generated.parent == parent)
            reached, leaf = set(), leaves[0]
            while leaf not in reached:
                reached.add(leaf)
                leaf = generated.successor[leaf]
            assert reached == set(leaves)


def test_the_walk_follows_the_planted_probabilities(walk: Generated) -> None:
    first, second = (walk.leaf[items - 1] for items in steps(walk))
    counts = np.zeros((8, 8))
    np.add.at(counts, (first, second), 1)
    expected = np.zeros((8, 8))
    for a in range(8):
        for b in range(8):  # repeat 0.1 + stay 0.4, follow 0.3, and the rest jumps
            expected[a, b] = 0.5 * (a == b) + 0.3 * (b == walk.successor[a]) + 0.2 * walk.start[b]
    np.testing.assert_allclose(walk.transitions(), expected)
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    assert_binomial(counts, counts.sum(axis=1, keepdims=True), expected)


def test_sessions_begin_where_planted(walk: Generated) -> None:
    begins = walk.events.sort("session", "time").group_by("session", maintain_order=True).first()
    leaves = np.bincount(walk.leaf[begins["item"].to_numpy() - 1], minlength=8)
    assert_binomial(leaves, len(begins), walk.start)


def test_repeats_are_as_frequent_as_planted() -> None:
    # every click that is not a repeat moves to another leaf
    generated = generate(settings(clicks=50_000, level_sizes=(1, 5), repeat=0.1, stay=0, follow=0.9))
    first, second = steps(generated)
    assert_binomial((first == second).sum(), len(first), np.float64(0.1))


def test_items_of_a_leaf_have_zipf_popularity() -> None:
    generated = generate(
        settings(clicks=100_000, items=30, level_sizes=(2,), popularity_exponent=1.2, repeat=0)
    )
    for leaf in (0, 1):
        members = np.flatnonzero(generated.leaf == leaf) + 1
        counts = np.bincount(generated.events["item"].to_numpy(), minlength=31)[members]
        weights = np.arange(1, len(members) + 1) ** -1.2
        assert_binomial(np.sort(counts)[::-1], int(counts.sum()), weights / weights.sum())
        assert not np.array_equal(
            np.argsort(-counts), np.arange(len(members))
        )  # popularity is not the number


def test_times_rise_within_sessions_and_sessions_begin_in_order_over_the_days() -> None:
    generated = generate(settings(clicks=50_000, days=3.0, pause_seconds=40.0, mean_length=5.0))
    assert generated.events["time"].is_sorted()
    events = generated.events.sort("session", "time")
    pauses = events.select(pl.col("time").diff().over("session")).to_series().drop_nulls().to_numpy()
    assert pauses.min() == 1
    assert pauses.mean() == pytest.approx(40, abs=5 * 40 / len(pauses) ** 0.5)  # geometric: SD about the mean
    begins = events.group_by("session", maintain_order=True).first()["time"]
    assert begins.is_sorted()
    assert int(begins[0]) >= START
    assert int(begins[-1]) < START + 3 * 86_400
    assert int(begins[-1]) > START + 2.9 * 86_400
    lengths = events["session"].value_counts()["count"].to_numpy()
    # 1 + geometric of mean 4: standard deviation sqrt(12)
    assert lengths.mean() == pytest.approx(5, abs=5 * (12 / len(lengths)) ** 0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"clicks": 5001},
        {"items": 301},
        {"level_sizes": (3, 7, 20)},
        {"size_exponent": 1.0},
        {"popularity_exponent": 0.0},
        {"mean_length": 6.0},
        {"repeat": 0.2},
        {"stay": 0.1},
        {"follow": 0.0},
        {"days": 2.0},
        {"pause_seconds": 5.0},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_changes_the_log(change: dict[str, Any]) -> None:
    before, after = generate(settings()), generate(settings(**change))
    assert not (before.events.equals(after.events) and before.items.equals(after.items))


def test_every_setting_is_tested_above() -> None:
    changed = test_every_setting_changes_the_log.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {next(iter(change)) for change in changed} == set(GeneratorSettings.model_fields)


def test_what_happens_does_not_depend_on_when() -> None:
    slow = generate(settings(pause_seconds=500.0, days=1.0)).events.sort("session", "time")
    fast = generate(settings()).events.sort("session", "time")
    assert slow.drop("time").equals(fast.drop("time"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clicks": 1}, "clicks: input should be greater than or equal to 2; received 1"),
        ({"items": 10}, r"the last must be at most items; received \[3, 6, 20\] and 10 items"),
        ({"level_sizes": [5, 4]}, "level_sizes must not decrease"),
        ({"level_sizes": []}, "level_sizes"),
        ({"mean_length": 1.5}, "mean_length: input should be greater than or equal to 2; received 1.5"),
        ({"stay": 0.9}, "together must be at most 1; received 0.02, 0.9 and 0.3"),
        ({"days": 0}, "days: input should be greater than 0; received 0"),
        ({"pause_seconds": 0.5}, "pause_seconds"),
        ({"popularity": 1.0}, "unknown key 'popularity'; did you mean 'popularity_exponent'"),
    ],
)
def test_settings_that_make_no_log_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings(**values)


def test_shares_may_add_up_to_one() -> None:
    generated = generate(settings(repeat=0.1, stay=0.6, follow=0.3))
    first, second = (generated.leaf[items - 1] for items in steps(generated))
    assert ((first == second) | (generated.successor[first] == second)).all()


def test_files_hold_the_log_and_are_the_same_bytes_again(tmp_path: Path) -> None:
    events, items = write_generated(tmp_path / "a", settings())
    again = write_generated(tmp_path / "b", settings())
    assert [path.name for path in again] == ["events.parquet", "items.csv"]
    assert [path.read_bytes() for path in again] == [events.read_bytes(), items.read_bytes()]
    generated = generate(settings())
    assert pl.read_parquet(events).equals(generated.events)
    assert pl.read_csv(items).equals(generated.items)
    other = write_generated(tmp_path / "c", settings(seed=1))
    assert other[0].read_bytes() != events.read_bytes()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_generated(tmp_path / "file", settings())
