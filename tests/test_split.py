"""The temporal split, and what it lets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import Row, compact, rows_of, sessions_of, words

from recbole_hiersrec.data.options import PrepareSettings
from recbole_hiersrec.data.parts import PARTS
from recbole_hiersrec.data.sessions import Sessions
from recbole_hiersrec.data.split import temporal_split
from recbole_hiersrec.data.steps import Count
from recbole_hiersrec.errors import InputError

DAY = 86_400.0


def split(rows: list[Row], **settings: Any) -> tuple[Sessions, float]:
    return temporal_split(sessions_of(rows), PrepareSettings(item_core=1, **settings), [])


def parts(log: Sessions) -> dict[str, str]:
    return dict(zip(log.session_tokens.to_list(), [PARTS[p] for p in log.part], strict=True))


def test_the_latest_sessions_by_their_end_are_tested() -> None:
    rows = words(*["ab"] * 10)
    rows.append(("s0", "a", 100.0))  # begins first, ends last
    log, cut = split(rows, valid="0.2", test="0.2", straddling="keep")
    assert [name for name, part in parts(log).items() if part == "test"] == ["s0", "s9"]
    assert [name for name, part in parts(log).items() if part == "valid"] == ["s7", "s8"]
    assert cut == 15.0  # the end of s7


def test_sessions_that_begin_before_an_earlier_part_ended_are_dropped_and_counted() -> None:
    rows = [(f"s{day}", item, day + when) for day in range(8) for item, when in (("a", 0.0), ("b", 0.5))]
    rows += [
        ("x", "a", 2.0),
        ("x", "b", 7.75),
        ("y", "b", 5.5),
        ("y", "a", 6.75),
        ("z", "b", 5.25),
        ("z", "a", 6.7),
    ]
    counts: list[Count] = []
    settings = PrepareSettings(item_core=1, valid="0.3", test="0.2")
    log, _ = temporal_split(sessions_of(rows), settings, counts)
    # Tested: x and s7. Validated: y, z, s6; training ends with s5, at 5.5. So x began too early, and z.
    found = parts(log)
    assert [name for name, part in found.items() if part != "train"] == ["s6", "s7", "y"]
    assert [(count.step, count.before.sessions - count.after.sessions) for count in counts] == [
        ("straddling", 2),
        ("unseen", 0),
    ]
    assert log.leakage().after == 0


def test_days_count_back_from_the_last_click() -> None:
    rows = [(f"s{day}", item, day * DAY) for day in range(10) for item in "ab"]
    log, cut = split(rows, valid="2d", test="3d")
    found = parts(log)
    assert [found[f"s{day}"] for day in range(10)] == ["train"] * 4 + ["valid"] * 2 + ["test"] * 4
    assert cut == 4 * DAY


def test_sessions_that_end_together_stay_together() -> None:
    rows = [(f"s{number}", item, float(number // 5)) for number in range(20) for item in "ab"]
    log, _ = split(rows, valid="0.1", test="0.1")
    found = list(parts(log).values())
    assert (found.count("train"), found.count("valid"), found.count("test")) == (10, 5, 5)


def test_items_unseen_in_training_are_dropped_and_counted() -> None:
    counts: list[Count] = []
    log = sessions_of(words("abc", "abc", "abxb", "xca", "axx"))
    settings = PrepareSettings(item_core=1, valid="0.2", test="0.4")
    result, _ = temporal_split(log, settings, counts)
    assert compact(result) == {"s0": "abc", "s1": "abc", "s2": "ab", "s3": "ca"}  # s4 has one click left
    assert [count.step for count in counts] == ["straddling", "unseen"]
    assert counts[1].before.interactions - counts[1].after.interactions == 6
    kept, _ = split(words("abc", "abc", "abxb", "xca", "axx"), valid="0.2", test="0.4", unseen="keep")
    assert compact(kept)["s4"] == "axx"


def test_a_share_of_training_is_the_most_recent() -> None:
    rows = [*words(*["ab"] * 12), ("q", "a", 3.5), ("q", "b", 22.5)]  # q straddles the cut of the test part
    log, _ = split(rows, valid="0.1", test="0.2", train_fraction="1/3")
    assert parts(log) == {"s7": "train", "s8": "train", "s9": "train", "s10": "valid", "s11": "test"}


@pytest.mark.parametrize(
    ("settings", "part"),
    [({"test": "9d"}, "train"), ({"valid": "9d", "test": "0.5"}, "train"), ({"valid": "0.25"}, "valid")],
)
def test_an_empty_part_is_refused(settings: dict[str, str], part: str) -> None:
    rows = words("ab", "ab", "cd", "ab") if part == "valid" else words("ab", "ab")
    with pytest.raises(
        InputError,
        match=f"no session is left for {part} with valid .*allowed: other fractions or days, or keep",
    ):
        split(rows, **{"valid": "0.1", "test": "0.25", **settings})


def test_no_stamps_no_temporal_split() -> None:
    from dataclasses import replace

    log = replace(sessions_of(words("ab", "ab")), time=None)
    with pytest.raises(InputError, match="temporal needs time stamps.*allowed: leave-one-out"):
        temporal_split(log, PrepareSettings(), [])


def test_training_stays_as_it_was_when_later_parts_lose_clicks() -> None:
    rows = words("abc", "abc", "ab", "abc", "axbc", "xc", "cba", "abx")
    log, _ = split(rows, valid="0.25", test="0.25", min_length=2)
    assert compact(log) == {
        "s0": "abc", "s1": "abc", "s2": "ab", "s3": "abc", "s4": "abc", "s6": "cba", "s7": "ab",
    }  # fmt: skip


def test_nothing_left_to_train_on_is_said_before_a_share_of_it_is_taken() -> None:
    with pytest.raises(InputError, match="no session is left for train with valid 40d"):
        split(words(*["ab"] * 6), valid="40d", train_fraction="1/2")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"last": 3, "min_length": 4}, r"last must be at least min_length \(4\); received 3"),
        ({"last": 3, "split": "leave-one-out"}, r"last must be at least min_length \(4\); received 3"),
        (
            {"split": "leave-one-out", "test": "0.2"},
            "test needs split temporal; received 0.2 for leave-one-out",
        ),
        (
            {"train_fraction": "2"},
            "received '2'; allowed: a fraction as 0.25 or 1/64, more than 0 and at most 1",
        ),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrepareSettings(**settings)


@given(
    st.lists(
        st.tuples(st.sampled_from("pqrstuvw"), st.sampled_from("abcd"), st.integers(0, 50).map(float)),
        min_size=8,
        max_size=40,
    )
)
def test_parts_and_clicks_are_those_of_plain_pandas(rows: list[Row]) -> None:
    from fractions import Fraction

    import pandas as pd
    import plain_pandas

    clicks = pd.DataFrame(rows, columns=["session", "item", "time"])
    clicks = plain_pandas.filtered(clicks.sort_values(["session", "time"], kind="stable"), 1, 2)
    if clicks["session"].nunique() < 4:
        return
    left = list(clicks.itertuples(index=False, name=None))
    try:
        log, _ = split(left, valid="0.2", test="0.3", min_length=2)
    except InputError:
        return  # an empty part; the tests above say when
    wanted, wanted_part = plain_pandas.split(clicks, Fraction("0.2"), Fraction("0.3"), 2)
    assert rows_of(log) == list(wanted.itertuples(index=False, name=None))
    assert parts(log) == wanted_part.to_dict()


def test_leakage_counts_training_clicks_after_the_first_test_click() -> None:
    rows = words(*["ab"] * 10)
    log, _ = split(rows)
    assert log.leakage().text() == "0 of 16 (0.0 %)"
    rows.append(("s9", "a", 4.5))  # the test session began early: s2's b at 5 and ten others come after it
    log, _ = split(rows, straddling="keep")
    leak = log.leakage()
    assert (leak.after, leak.training) == (11, 16)


def test_leave_one_out_leaks() -> None:
    log = sessions_of(words("abcd", "abcd"))
    assert log.part_of_rows().tolist() == [0, 0, 1, 2] * 2
    assert log.leakage().text() == "2 of 4 (50.0 %)"
