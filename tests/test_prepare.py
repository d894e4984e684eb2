"""Preparation as a whole: what lies in the folder, that it comes out the same again, and that nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from logs import raw_log, request, words

from recbole_hiersrec.data.manifest import read_manifest
from recbole_hiersrec.data.parts import TRAIN
from recbole_hiersrec.data.prepare import Outcome, prepare
from recbole_hiersrec.data.sessions import read_sessions
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import InputError

SMALL = {"item_core": 1, "valid": "0.2", "test": "0.2"}
LEAVE_ONE_OUT = {"item_core": 1, "split": "leave-one-out"}
ITEMS = pl.DataFrame(
    {
        "item": ["a", "b", "c", "z"],
        "department": ["Food", "Food", None, "Toys"],
        "class": ["Fruit", "Bread\tand\nmore", "", "Dolls"],
        "name": ['"Best" apples', " White loaf ", "c", "never clicked"],
        "brand": ["x", "y", None, "x"],
    }
)
SIDE: dict[str, Any] = {
    "items": ITEMS,
    "levels": ("department", "class"),
    "title": "name",
    "metadata": ("brand",),
}
LOG = words("abca", "bcab", "cab", "abd", "bca")


def made(tmp_path: Path, rows: Any = LOG, raw: dict[str, Any] | None = None, **settings: Any) -> Outcome:
    log = raw_log(rows, **(SIDE if raw is None else raw))
    base = LEAVE_ONE_OUT if settings.get("split") == "leave-one-out" else SMALL
    return prepare(request(log, tmp_path, **{**base, **settings}), tmp_path / "dataset")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_files_hold_sessions_parts_and_side_information(tmp_path: Path) -> None:
    folder = made(tmp_path).folder
    lines = {name: text.decode().splitlines() for name, text in contents(folder).items() if name[0] == "s"}
    assert lines["shop.inter"][:3] == [
        "user_id:token\titem_id:token\ttimestamp:float",
        "s0\ta\t0",
        "s0\tb\t1",
    ]
    assert len(lines["shop.inter"]) == 1 + 4 + 4 + 3 + 2 + 3  # d is unseen in training
    assert lines["shop.user"] == [
        "user_id:token\tpart:token", "s0\ttrain", "s1\ttrain", "s2\ttrain", "s3\tvalid", "s4\ttest",
    ]  # fmt: skip
    assert lines["shop.item"] == [
        "item_id:token\tdepartment:token\tclass:token\ttitle:token_seq\tbrand:token",
        "a\tFood\tFruit\t'Best\" apples\tx",
        "b\tFood\tBread and more\tWhite loaf\ty",
        "c\t\t\tc\t",
    ]
    assert lines["shop.yaml"][1:] == [
        "category_fields:", "- department", "- class", "title_field: title", "metadata_fields:", "- brand",
    ]  # fmt: skip
    taxonomy = Taxonomy.load(folder / "taxonomy.npz")
    assert taxonomy.labels[1] == (("(unknown)", "(unknown)"), ("Food", "Bread and more"), ("Food", "Fruit"))
    assert Taxonomy.load_tokens(folder / "taxonomy.npz") == ["a", "b", "c"]


def test_the_manifest_accounts_for_every_click(tmp_path: Path) -> None:
    outcome = made(tmp_path, [*LOG, ("s5", "a", 99.0)], item_core=2)
    manifest = outcome.manifest
    assert manifest == json.loads((outcome.folder / "manifest.json").read_text())
    counts = manifest["counts"]
    assert manifest["read"] == {"sessions": 6, "items": 4, "interactions": 18} == counts[0]["before"]
    assert [count["before"] for count in counts[1:]] == [count["after"] for count in counts[:-1]]
    steps = {"collapse_repeats", "item_core", "min_length", "straddling", "unseen"}
    assert {count["step"] for count in counts} == steps
    assert counts[-1]["after"] == manifest["result"] == {"sessions": 5, "items": 3, "interactions": 16}
    assert manifest["parts"]["test"] == {"sessions": 1, "interactions": 3}
    assert manifest["leakage"] == {"training": 11, "after": 0}
    assert manifest["ties_in_time"] == 0
    assert manifest["items_without_a_row"] == 0
    assert [(level["name"], level["categories"], level["learned"]) for level in manifest["levels"]] == [
        ("department", 2, False),
        ("class", 3, False),
    ]


def test_the_same_again_does_nothing_and_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    first = made(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = made(tmp_path)
    assert (first.changed, again.changed) == (True, False)
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before
    other = tmp_path / "other"
    other.mkdir()
    assert contents(made(other).folder) == contents(first.folder)


@pytest.mark.parametrize("what", ["settings", "input", "an output is gone"])
def test_whatever_changed_prepares_anew(tmp_path: Path, what: str) -> None:
    folder = made(tmp_path).folder
    if what == "input":
        (tmp_path / "shop.source").write_text("changed")
    elif what == "an output is gone":
        (folder / "shop.item").unlink()
    change = {"item_core": 2} if what == "settings" else {}
    assert made(tmp_path, **change).changed
    assert not made(tmp_path, **change).changed


@pytest.mark.parametrize("part", ["source", "reader", "code"])
def test_another_reader_or_changed_code_prepares_anew(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import recbole_hiersrec.data.prepare as module

    made(tmp_path)
    wanted = request(raw_log(LOG, **SIDE), tmp_path, **SMALL)
    if part == "code":
        monkeypatch.setattr(module, "code_version", lambda: "another")
    else:
        wanted = replace(wanted, **{part: {"source": "globo", "reader": {"map": {}}}[part]})
    assert prepare(wanted, tmp_path / "dataset").changed


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"split": "leave-one-out"}, "shop.user"),
        ({"valid": "0.4"}, "shop.user"),
        ({"test": "0.4"}, "shop.user"),
        ({"train_fraction": "1/3"}, "shop.inter"),
        ({"unseen": "keep"}, "shop.inter"),
        ({"gap_minutes": 1}, "shop.inter"),
        ({"collapse_repeats": False}, "shop.inter"),
        ({"item_core": 3}, "shop.inter"),
        ({"min_length": 3}, "shop.inter"),
        ({"last": 2}, "shop.inter"),
        ({"catalogue": "all"}, "shop.item"),
        ({"learn_taxonomy": True}, "shop.item"),
    ],
)
def test_every_setting_changes_the_files(tmp_path: Path, change: dict[str, Any], differs: str) -> None:
    rows = words(*["aabca", "bcaxb", "cxaby", "ab", "abd", "bcxa"] * 2, "bcxaq")
    rows = [
        (session, item, time + 100 * (time > 41)) for session, item, time in rows
    ]  # a pause within a session
    first = contents(made(tmp_path, rows).folder)
    second = contents(made(tmp_path, rows, **change).folder)
    assert first.get(differs) != second.get(differs)


def test_the_whole_catalogue_if_wanted(tmp_path: Path) -> None:
    made(tmp_path, [*LOG, ("s4", "q", 99.0)], catalogue="all", unseen="keep")
    manifest = read_manifest(tmp_path / "dataset" / "shop") or {}
    tokens = Taxonomy.load_tokens(tmp_path / "dataset" / "shop" / "taxonomy.npz")
    assert tokens == ["a", "b", "c", "d", "q", "z"]
    assert manifest["items_without_a_row"] == 2  # d and q


def test_properties_are_asked_for_as_of_the_split(tmp_path: Path) -> None:
    asked: list[float | None] = []

    def items(cut: float | None) -> pl.DataFrame:
        asked.append(cut)
        return ITEMS

    made(tmp_path, raw={**SIDE, "items": items})
    made(tmp_path, raw={**SIDE, "items": items}, split="leave-one-out")
    assert asked == [13.0, None]  # the end of s3, the first validation session


@pytest.mark.parametrize("split", ["temporal", "leave-one-out"])
def test_learned_levels_come_from_training_alone(
    tmp_path: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recbole_hiersrec.data import learned

    original, given = learned.learn_levels, []

    def spy(session: Any, item: Any, *more: Any) -> Any:
        given.extend(zip(session.tolist(), item.tolist(), strict=True))
        return original(session, item, *more)

    monkeypatch.setattr(learned, "learn_levels", spy)
    rows = words(*["abab", "baba", "cdcd", "dcdc"] * 5, "acac", "caca", "bdbd", "dbdb")
    outcome = made(tmp_path, rows, raw={}, learn_taxonomy=True, split=split)
    assert [level["learned"] for level in outcome.manifest["levels"]] == [True, True]
    header = (outcome.folder / "shop.item").read_text().splitlines()[0]
    assert header == "item_id:token\tlearned_1:token\tlearned_2:token"
    files = {suffix: outcome.folder / f"shop.{suffix}" for suffix in ("inter", "user")}
    log = read_sessions({suffix: path for suffix, path in files.items() if path.exists()})
    training = log.part_of_rows() == TRAIN
    assert 0 < training.sum() < len(training)
    assert given == list(zip(log.session[training].tolist(), log.item[training].tolist(), strict=True))


def test_a_folder_moved_aside_by_a_killed_preparation_comes_back(tmp_path: Path) -> None:
    folder = made(tmp_path).folder
    folder.rename(folder.with_name(".old-shop"))
    assert not made(tmp_path).changed
    assert (folder / "shop.inter").is_file()


def test_a_log_without_stamps_needs_leave_one_out(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="split: temporal needs time stamps, and log has none; allowed: leave-one-out"
    ):
        made(tmp_path, raw={"time": "order"})
    with pytest.raises(InputError, match="gap_minutes: log has no time of each click"):
        made(tmp_path, raw={"time": "session"}, gap_minutes=30)
    outcome = made(tmp_path, raw={"time": "order"}, split="leave-one-out")
    assert (outcome.folder / "shop.inter").read_text().splitlines()[1:4] == [
        "s0\ta\t0",
        "s0\tb\t1",
        "s0\tc\t2",
    ]
    assert outcome.manifest["leakage"]["after"] is None
    log = read_sessions({"inter": outcome.folder / "shop.inter"}, when=None)
    assert np.bincount(log.session).tolist() == [4, 4]


def test_rejected_rows_are_written_and_counted(tmp_path: Path) -> None:
    row = {"file": ["x.csv"], "row": [7], "column": ["item"], "received": ["NA"], "reason": ["is missing"]}
    outcome = made(tmp_path, raw={**SIDE, "rejected": pl.DataFrame(row)})
    assert (
        outcome.folder / "rejected.csv"
    ).read_text() == "file,row,column,received,reason\nx.csv,7,item,NA,is missing\n"
    assert outcome.manifest["rejected_rows"] == 1


def test_what_others_put_there_is_not_replaced(tmp_path: Path) -> None:
    folder = made(tmp_path).folder
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        InputError, match="holds what hiersrec did not write: notes.txt; move it, or use --as NAME"
    ):
        made(tmp_path, min_length=3)
    (folder / "notes.txt").unlink()
    (folder / "figures").mkdir()
    (folder / "figures" / "lengths.png").touch()  # describe draws this one
    (folder / "figures" / "mine.png").touch()
    with pytest.raises(InputError, match=r"did not write: figures/mine\.png"):
        made(tmp_path, min_length=3)
    (folder / "figures" / "mine.png").unlink()
    (folder / "shop.yaml").write_text("category_fields: [class]\n")
    with pytest.raises(InputError, match=r"were changed since hiersrec wrote them: shop\.yaml; delete them"):
        made(tmp_path)
    (folder / "shop.yaml").unlink()
    assert made(tmp_path).changed
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"exists and has no manifest\.json, so it was not made by hiersrec"):
        made(tmp_path)
    assert (folder / "shop.inter").is_file()


@pytest.mark.parametrize("kind", ["link", "file", "read-only"])
def test_a_place_that_cannot_be_replaced_is_left_alone(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path).folder
    if kind == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        message = "is a symbolic link; name the folder it points to"
    elif kind == "file":
        folder.rename(tmp_path / "elsewhere")
        folder.write_text("mine")
        message = "is a file; move it, or choose another name with --as"
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: path != folder)  # root may write everywhere
        message = "may not be written; change its permissions"
    with pytest.raises(InputError, match=message):
        made(tmp_path, min_length=3)
    assert folder.is_symlink() == (kind == "link")
    assert kind != "file" or folder.read_text() == "mine"
    assert not list((tmp_path / "dataset").glob(".old-*"))


def test_the_temporary_folder_of_another_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset" / ".tmp-shop-2~abc").mkdir(parents=True)
    (tmp_path / "dataset" / ".tmp-shop~abc").mkdir()
    made(tmp_path)
    assert [path.name for path in (tmp_path / "dataset").glob(".tmp-*")] == [".tmp-shop-2~abc"]


def test_leave_one_out_needs_something_to_validate(tmp_path: Path) -> None:
    message = "leave-one-out needs sessions of 4 or more interactions; the longest has 3"
    with pytest.raises(InputError, match=message):
        made(tmp_path, words("abc", "bca", "cab"), split="leave-one-out", min_length=3)


def test_the_name_recbole_keeps_for_itself(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name 'ml-100k': RecBole reads its own copy under this name"):
        prepare(request(raw_log(LOG), tmp_path, "ml-100k", **SMALL), tmp_path)


SCRIPT = """
import os, resource, signal, sys
sys.path[:0] = [{tests!r}]
from pathlib import Path
from logs import raw_log, request, words
from recbole_hiersrec.data import prepare as module
from recbole_hiersrec.errors import InputError
{before}
folder = Path({folder!r})
log = raw_log(words(*["abca", "bcab", "cab", "abd", "bca"] * 400))
try:
    module.prepare(request(log, folder, item_core=1, min_length=3, valid="0.2", test="0.2"), folder / "dataset")
except InputError as error:
    print(error)
"""
KILLED = """
original = module.write_items
def write_items(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
module.write_items = write_items
"""


def run(before: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = SCRIPT.format(tests=str(Path(__file__).parent), folder=str(folder), before=before)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


FULL = "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"


@pytest.mark.parametrize("before", [KILLED, FULL], ids=["killed", "disk full"])
def test_what_was_there_survives(tmp_path: Path, before: str) -> None:
    folder = made(tmp_path).folder
    old = contents(folder)
    done = run(before, tmp_path)
    assert contents(folder) == old
    if before == FULL:
        assert done.stdout.startswith(f"cannot write {folder}: "), done.stderr
        assert done.stdout.endswith("; what was there is unchanged\n")
    else:
        assert done.returncode == -9
        assert len(list((tmp_path / "dataset").glob(".tmp-*"))) == 1
    again = run("", tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(contents(folder)["shop.inter"]) > len(old["shop.inter"])
    assert not list((tmp_path / "dataset").glob(".tmp-*"))


def test_two_at_once_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import recbole_hiersrec.data.prepare as module

    monkeypatch.setattr(module, "PATIENCE", 0.1)
    folder = made(tmp_path).folder
    with (
        module.locked(folder.parent / ".lock-shop", 0, ""),
        pytest.raises(InputError, match="another preparation is at work here"),
    ):
        made(tmp_path)


def test_the_files_are_those_of_plain_pandas(tmp_path: Path) -> None:
    import pandas as pd
    import plain_pandas

    draw: Callable[..., Any] = np.random.default_rng(5).integers
    rows = []
    for _ in range(3000):
        session = draw(300)
        rows.append((f"s{session}", f"i{draw(40) * draw(40) // 40}", float(session * 30 + draw(100)) + 0.5))
    folder = made(tmp_path, rows, raw={}, item_core=5, valid="0.1", test="0.1").folder
    clicks = pd.DataFrame(rows, columns=["session", "item", "time"])
    (tmp_path / "pandas").mkdir()
    plain_pandas.prepare(clicks, tmp_path / "pandas", "shop")
    for name in ("shop.inter", "shop.user"):
        assert (tmp_path / "pandas" / name).read_bytes() == (folder / name).read_bytes()
