"""Filters of preparation: what each removes, until nothing changes, and that the counts add up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import compact, raw_log, rows_of, sessions_of, words

from recbole_hiersrec.data.log import RawLog
from recbole_hiersrec.data.options import PrepareSettings
from recbole_hiersrec.data.steps import (
    Count,
    Rest,
    Size,
    apply_filters,
    count_ties,
    cut_at_gaps,
    encode,
    keep_last,
)
from recbole_hiersrec.errors import InputError

ROWS = st.lists(
    st.tuples(st.sampled_from("pqrst"), st.sampled_from("abcdef"), st.integers(0, 9).map(float)), min_size=1
)


def test_sessions_are_sorted_by_time_and_ties_keep_the_order_of_the_file() -> None:
    rows = [("y", "c", 5.0), ("x", "b", 2.0), ("y", "a", 1.0), ("x", "a", 2.0), ("x", "c", 1.0)]
    log = sessions_of(rows)
    assert compact(log) == {"x": "cba", "y": "ac"}
    assert count_ties(log) == 1


def test_the_order_of_the_sessions_in_the_file_changes_nothing() -> None:
    rows = words("abc", "bd", "ace")
    shuffled = [rows[i] for i in (3, 0, 5, 4, 1, 6, 2, 7)]
    assert rows_of(sessions_of(rows)) == rows_of(sessions_of(shuffled))


@pytest.mark.parametrize("ids", [[7, 3, 7, 9], [10**15, 3, 10**15, 5], [-4, 3, -4, 0]])
def test_whole_numbers_are_ids_too(ids: list[int]) -> None:
    clicks = pl.DataFrame({"session": ids, "item": [1, 2, 3, 2], "time": [0.0, 1.0, 2.0, 3.0]})
    log = encode(RawLog(clicks))
    wanted = sorted(
        zip(ids, [1, 2, 3, 2], [0.0, 1.0, 2.0, 3.0], strict=True), key=lambda row: (row[0], row[2])
    )
    assert rows_of(log) == [(str(session), str(item), time) for session, item, time in wanted]


def test_without_time_stamps_the_file_order_counts() -> None:
    log = encode(raw_log([("x", "b", 0.0), ("y", "a", 1.0), ("x", "a", 2.0)], time="order"))
    assert log.time is None
    assert compact(log) == {"x": "ba", "y": "a"}
    assert count_ties(log) is None


def test_a_pause_begins_a_new_session() -> None:
    rows = [("x", "a", 0.0), ("x", "b", 1800.0), ("x", "c", 3601.0), ("x.1", "d", 0.0)]
    assert compact(cut_at_gaps(sessions_of(rows), 30)) == {"x.1": "ab", "x.2": "c", "x.1.1": "d"}


def test_repeats_are_collapsed_to_their_first_click() -> None:
    rest = Rest(sessions_of(words("aabba", "a", "ab")))
    rest.collapse_repeats()
    log = rest.sessions()
    assert compact(log) == {"s0": "aba", "s1": "a", "s2": "ab"}
    assert [time for _, _, time in rows_of(log)] == [0.0, 2.0, 4.0, 5.0, 6.0, 7.0]


def test_rare_items_and_short_sessions_go() -> None:
    rest = Rest(sessions_of(words("abc", "ab", "c", "d")))
    rest.remove_rare_items(2)
    assert compact(rest.sessions()) == {"s0": "abc", "s1": "ab", "s2": "c"}
    rest.remove_short_sessions(2)
    left = rest.sessions()
    assert compact(left) == {"s0": "abc", "s1": "ab"}
    assert left.item_tokens.to_list() == ["a", "b", "c"]
    assert rest.size() == Size(left.n_sessions, left.n_items, 5) == Size(2, 3, 5)


def test_truncation_keeps_the_last_clicks() -> None:
    assert compact(keep_last(sessions_of(words("abcde", "ab")), 3)) == {"s0": "cde", "s1": "ab"}


def test_filters_are_repeated_until_nothing_changes() -> None:
    # Without the rare x, the a before and after it are a repeat; without that, a is rare, and so on.
    counts: list[Count] = []
    log = sessions_of(words("axa", "bcd", "bcd", "da"))
    result = apply_filters(log, PrepareSettings(item_core=2, min_length=2), counts)
    assert compact(result) == {"s1": "bcd", "s2": "bcd"}
    assert counts[0].step == "collapse_repeats"
    assert [count.before for count in counts[1:]] == [count.after for count in counts[:-1]]
    removed = sum(count.before.interactions - count.after.interactions for count in counts)
    assert removed == 11 - 6


@given(rows=ROWS, core=st.integers(1, 3), shortest=st.integers(2, 3), collapse=st.booleans())
def test_what_is_left_is_what_plain_pandas_leaves(
    rows: list[tuple[str, str, float]], core: int, shortest: int, collapse: bool
) -> None:
    import pandas as pd
    from plain_pandas import filtered

    clicks = pd.DataFrame(rows, columns=["session", "item", "time"])
    clicks = clicks.sort_values(["session", "time"], kind="stable")
    wanted = filtered(clicks, core, shortest, collapse)
    settings = PrepareSettings(item_core=core, min_length=shortest, collapse_repeats=collapse)
    if wanted.empty:
        with pytest.raises(InputError, match="nothing is left after filtering; of .* interactions"):
            apply_filters(sessions_of(rows), settings, [])
    else:
        log = apply_filters(sessions_of(rows), settings, [])
        assert rows_of(log) == list(wanted.itertuples(index=False, name=None))
        assert np.bincount(log.item).min() >= core
        assert log.lengths().min() >= shortest


def test_nothing_left_says_which_filter_removed_how_many() -> None:
    message = "nothing is left.*of 5 interactions the filters removed: collapse_repeats 1, item_core 4"
    with pytest.raises(InputError, match=message):
        apply_filters(sessions_of(words("aab", "cd")), PrepareSettings(item_core=3), [])


def test_plain_pandas_lies_where_the_benchmark_expects_it() -> None:
    assert (Path(__file__).resolve().parents[1] / "benchmarks" / "plain_pandas.py").is_file()
