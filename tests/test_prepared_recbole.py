"""A prepared folder read by RecBole: the same sessions, prefix by prefix, in the parts that preparation chose."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from atomic_files import SMALL
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from recbole_hiersrec import register
from recbole_hiersrec.data.files import MISSING
from recbole_hiersrec.data.parts import PARTS, TRAIN
from recbole_hiersrec.data.sessions import Sessions, read_sessions
from recbole_hiersrec.data.writer import SideInformation, clean, write_inter, write_items, write_parts
from recbole_hiersrec.errors import InputError

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset  # noqa: E402

from recbole_hiersrec.data.dataset import HierSRecDataset  # noqa: E402

OURS: dict[str, Any] = {"train_neg_sample_args": None}

Row = tuple[str, tuple[str, ...], str]
"""Session, history, target."""


@dataclass(frozen=True)
class Log:
    """Sessions as a test states them: name, part, clicks (time, item) in the order of the file."""

    names: tuple[str, ...]
    parts: tuple[int, ...]
    clicks: tuple[tuple[tuple[float, str], ...], ...]

    def sessions(self) -> Sessions:
        rows = [(s, *click) for s, clicks in enumerate(self.clicks) for click in clicks]
        items = sorted({item for _, _, item in rows})
        return Sessions(
            session=np.array([s for s, _, _ in rows], dtype=np.uint32),
            item=np.array([items.index(item) for _, _, item in rows], dtype=np.uint32),
            time=np.array([time for _, time, _ in rows], dtype=np.float64),
            session_tokens=pl.Series(self.names),
            item_tokens=pl.Series(items),
            part=np.array(self.parts, dtype=np.uint8),
        )

    def rows(self, max_length: int, split: str) -> list[list[Row]]:
        """What each part must hold, by the definitions alone."""
        parts: list[list[Row]] = [[], [], []]
        for name, part, clicks in zip(self.names, self.parts, self.clicks, strict=True):
            items = tuple(item for _, item in clicks)
            prefixes = [(name, items[:end][-max_length:], items[end]) for end in range(1, len(items))]
            if split == "leave-one-out":  # test first, then validation, but one target stays for training
                for held_out in (2, 1)[: max(0, len(prefixes) - 1)]:
                    parts[held_out].append(prefixes.pop())
                parts[TRAIN] += prefixes
            elif split == "last-item" and part != TRAIN:
                parts[part] += prefixes[-1:]
            else:
                parts[part] += prefixes
        return parts


def write(folder: Path, log: Log, name: str = "log") -> Path:
    """Write a temporally split data set with the writer of preparation; returns the data_path."""
    (folder / name).mkdir(parents=True)
    sessions = log.sessions()
    write_inter(folder / name / f"{name}.inter", sessions)
    write_parts(folder / name / f"{name}.user", sessions.session_tokens, sessions.part)
    return folder


def build(model: str, data_path: Path, name: str = "log", **given: Any) -> list[Any]:
    config = Config(
        model=model, dataset=name, config_dict={**SMALL, **OURS, "data_path": str(data_path), **given}
    )
    return create_dataset(config).build()


def rows_of(part: Any) -> list[Row]:
    """The rows of a part as RecBole holds them, in tokens."""
    frame = part.inter_feat
    sessions, items = (part.field2id_token[field] for field in (part.uid_field, part.iid_field))
    columns = (part.uid_field, part.item_id_list_field, part.item_list_length_field, part.iid_field)
    return [
        (str(sessions[user]), tuple(str(items[item]) for item in history[:length]), str(items[target]))
        for user, history, length, target in zip(*(frame[c].tolist() for c in columns), strict=True)
    ]


TEMPORAL = ("every-prefix", "last-item")
HARD = (
    "007", "7", "7.0", "1e3", "0x1F", "inf", "true", "a b", " a", "b ", "  ", "it's", 'a"b', 'a""', "'", '5" disk',
    "#1", "# no comment", "x,y", "a;b", "a\\tb", "a\\", "[PAD]", "user_id:token", "ключ", "数", "é", "e\u0301",
    "\ufeffid", "a\u2028b", "\x85", "\x0b", "\x1c", "\x1e", "\U0001f6d2", "x" * 3000,
)  # fmt: skip
ids = st.one_of(
    st.sampled_from(HARD),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r"), min_size=1, max_size=6),
).filter(lambda text: text not in MISSING and not text.startswith('"'))
times = st.one_of(
    st.integers(0, 3).map(float),
    st.integers(0, 1000).map(lambda n: 1_600_000_000 + n / 8),  # all of them one float32
    st.floats(0, 2e9),
)


@st.composite
def logs(draw: Any) -> Log:
    items = draw(st.lists(ids, min_size=1, max_size=6, unique=True))
    names = draw(st.lists(ids, min_size=3, max_size=8, unique=True))
    parts = [*draw(st.permutations([0, 1, 2])), *(draw(st.integers(0, 2)) for _ in names[3:])]
    shortest = [draw(st.sampled_from([1, 2, 2, 2]))] * 3 + [1] * (len(names) - 3)  # mostly, no part is empty
    click = st.tuples(times, st.sampled_from(items))
    clicks = [draw(st.lists(click, min_size=least, max_size=8)) for least in shortest]
    sessions = [tuple(sorted(rows, key=lambda row: row[0])) for rows in clicks]  # stable: ties stay
    return Log(tuple(names), tuple(parts), tuple(sessions))


def simple(*lengths: int) -> Log:
    """Sessions of these lengths in parts 0, 1, 2, 0, ..., all clicks on different items at the same time."""
    clicks = tuple(tuple((5.0, f"i{s}-{p}") for p in range(length)) for s, length in enumerate(lengths))
    names = tuple(f"s{s}" for s in range(len(lengths)))
    return Log(names, tuple(s % 3 for s in range(len(lengths))), clicks)


@settings(max_examples=150, deadline=None)
@given(logs(), st.integers(1, 4), st.sampled_from([*TEMPORAL, "leave-one-out"]), st.booleans())
@example(simple(9, 8, 7, 2, 3, 1), 3, "every-prefix", True)
@example(simple(9, 8, 7, 2, 3, 1), 3, "last-item", False)
@example(simple(9, 8, 7, 2, 3, 1), 3, "leave-one-out", False)
@example(simple(4, 1, 4), 3, "every-prefix", True)
def test_recbole_yields_the_sessions_that_were_written(
    log: Log, max_length: int, split: str, exact: bool
) -> None:
    wanted = log.rows(max_length, split)
    assume(any(wanted))
    given: dict[str, Any] = {"MAX_ITEM_LIST_LENGTH": max_length, "exact_time_order": exact}
    if split in TEMPORAL:
        given["prepared_split"] = split
    with tempfile.TemporaryDirectory() as folder:
        data_path = write(Path(folder), log)
        empty = next((name for name, rows in zip(PARTS, wanted, strict=True) if not rows), None)
        if split in TEMPORAL and empty:
            for model in ("SASRec", "HierSRec"):
                with pytest.raises(InputError, match=f"no session of part '{empty}' in .*log.user has 2 or"):
                    build(model, data_path, **given)
            return
        theirs, ours = (build(model, data_path, **given) for model in ("SASRec", "HierSRec"))
    assert [sorted(rows_of(part)) for part in theirs] == [sorted(rows) for rows in wanted]
    assert isinstance(ours[0], HierSRecDataset)
    assert [sorted(rows_of(part)) for part in ours[1:]] == [sorted(rows) for rows in wanted[1:]]
    kept = rows_of(ours[0])
    assert not Counter(kept) - Counter(wanted[0])
    learned = Counter(
        (session, item) for session, history, last in kept for item in (*history[1:], last)
    )  # every position of a kept row is learned from
    assert learned == Counter((session, target) for session, _, target in wanted[0])


@settings(max_examples=60, deadline=None)
@given(logs())
def test_sessions_read_back_are_those_that_were_written(log: Log) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_path = write(Path(folder), log)
        found = read_sessions({suffix: data_path / "log" / f"log.{suffix}" for suffix in ("inter", "user")})
    names, items = found.session_tokens.to_list(), found.item_tokens.to_list()
    clicks: dict[str, list[tuple[float, str]]] = {name: [] for name in names}
    for session, time, item in zip(found.session, found.time, found.item, strict=True):
        clicks[names[session]].append((float(time), items[item]))
    assert {name: tuple(rows) for name, rows in clicks.items()} == dict(
        zip(log.names, log.clicks, strict=True)
    )
    assert dict(zip(names, found.part, strict=True)) == dict(zip(log.names, log.parts, strict=True))


@settings(max_examples=60, deadline=None)
@given(logs())
def test_parts_of_leave_one_out_are_recboles(log: Log) -> None:
    """What leakage is counted by is what RecBole trains on and tests."""
    sessions = replace(log.sessions(), part=None)
    starts = np.cumsum(sessions.lengths()) - sessions.lengths()
    is_target = ~np.isin(np.arange(len(sessions.session)), starts)
    found = [Counter(sessions.session[is_target & (sessions.part_of_rows() == n)].tolist()) for n in range(3)]
    wanted = log.rows(5, "leave-one-out")
    assert found == [Counter(log.names.index(name) for name, _, _ in rows) for rows in wanted]


cells = st.one_of(
    st.sampled_from(['"', '"quoted"', ' "a', '\r"x', 'a\t"b', "two\nlines", "", "NA", "\0"]),
    st.sampled_from(HARD),
    st.text(),
)


@settings(max_examples=60, deadline=None)
@given(logs(), st.data())
def test_whatever_side_information_says_recbole_reads_a_row_an_item(log: Log, data: Any) -> None:
    items = log.sessions().item_tokens
    text = st.lists(
        cells.map(lambda c: c.encode("utf-8", "ignore").decode()), min_size=len(items), max_size=len(items)
    )
    frame = pl.DataFrame({"item": items, "department": data.draw(text), "name": data.draw(text)})
    frame = frame.select("item", clean("department"), clean("name"))
    with tempfile.TemporaryDirectory() as folder:
        data_path = write(Path(folder), log)
        write_items(data_path / "log" / "log.item", SideInformation(frame, ("department",), "name", ()))
        columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "department", "title"]}
        config = {**SMALL, **OURS, "data_path": str(data_path), "load_col": columns}
        dataset = create_dataset(Config(model="SASRec", dataset="log", config_dict=config))
    read = {
        str(dataset.field2id_token["item_id"][item]): str(dataset.field2id_token["department"][int(value)])
        for item, value in enumerate(dataset.item_feat["department"])
    }
    wanted = {
        item: "[PAD]" if department in MISSING else department
        for item, department in frame.select("item", "department").iter_rows()
    }
    assert {item: read[item] for item in wanted} == wanted
    assert dataset.item_num == len(items) + 1


def test_prefixes_by_hand(tmp_path: Path) -> None:
    data_path = write(tmp_path, simple(4, 3, 4))
    given = {"MAX_ITEM_LIST_LENGTH": 2}
    assert [rows_of(part) for part in build("SASRec", data_path, prepared_split="every-prefix", **given)] == [
        [("s0", ("i0-0",), "i0-1"), ("s0", ("i0-0", "i0-1"), "i0-2"), ("s0", ("i0-1", "i0-2"), "i0-3")],
        [("s1", ("i1-0",), "i1-1"), ("s1", ("i1-0", "i1-1"), "i1-2")],
        [("s2", ("i2-0",), "i2-1"), ("s2", ("i2-0", "i2-1"), "i2-2"), ("s2", ("i2-1", "i2-2"), "i2-3")],
    ]
    last = build("SASRec", data_path, prepared_split="last-item", **given)
    assert [rows_of(part) for part in last[1:]] == [
        [("s1", ("i1-0", "i1-1"), "i1-2")],
        [("s2", ("i2-1", "i2-2"), "i2-3")],
    ]
    assert len(last[0]) == 3
