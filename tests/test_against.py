"""`hiersrec report NEW --against OLD`: what fell is found, what cannot be compared is said and never compared."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from true_suite import finish
from typer.testing import CliRunner

from recbole_hiersrec.arrays import read_arrays, write_arrays
from recbole_hiersrec.cli import app
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.metrics import METRICS
from recbole_hiersrec.evaluation.significance import holm, paired_difference
from recbole_hiersrec.publish import publish
from recbole_hiersrec.report import page as page_module
from recbole_hiersrec.report.against import Changes, compare_suites
from recbole_hiersrec.report.folder import read_suite

GROUP = ("toy", "leave-one-out, history unmasked, length 50")
WHERE = ": ".join(GROUP)
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old") / "trial"
    finish(folder, tmp_path_factory.mktemp("data"), seeds=[1, 2])
    return folder


@pytest.fixture
def new(old: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(old, tmp_path / "new"))


def jobs(folder: Path, model: str) -> list[Path]:
    found = [json.loads(path.read_text()) for path in sorted((folder / "jobs").glob("*/record.json"))]
    return [folder / "jobs" / one["key"] for one in found if one["job"]["name"] == model]


def edit(folder: Path, model: str, change: Edit) -> None:
    for path in jobs(folder, model):
        record = json.loads((path / "record.json").read_text())
        change(record)
        (path / "record.json").write_text(json.dumps(record))


def set_ranks(folder: Path, model: str, name: str, ranks: np.ndarray) -> None:
    for path in jobs(folder, model):
        write_arrays(path / "ranks.npz", {**read_arrays(path / "ranks.npz"), name: ranks})


def between(new: Path, old: Path, metric: str | None = None) -> Changes:
    return compare_suites(read_suite(new), read_suite(old), metric)


def verdicts(changes: Changes) -> dict[tuple[str, str], str]:
    return {(one.model, one.items): one.verdict for one in changes.changes}


def test_a_copy_moved_nowhere(old: Path, new: Path) -> None:
    found = between(new, old)
    assert found.status == 0
    assert verdicts(found) == {
        ("HierSRec", "all"): "the same",
        ("HierSRec", "cells@0.04"): "the same",
        ("HierSRec", "cells@0.1"): "the same",
        ("SASRecAllPositions", "all"): "the same",
        ("SequentialPop", "all"): "the same",
    }
    assert found.remarks == []
    assert found.summary() == "fell: 0, rose: 0, not significant: 0, the same: 5."


def test_what_fell_and_rose_is_told_from_chance(old: Path, new: Path) -> None:
    for folder in (old, new):
        one_case = np.where(np.arange(40) == 7, 1.0 if folder == new else 2.0, 5.0)
        set_ranks(folder, "HierSRec", "all", np.full(40, 1.0 if folder == old else 3.0))
        set_ranks(folder, "HierSRec", "cells@0.1", one_case)
        set_ranks(folder, "SASRecAllPositions", "all", np.full(40, np.inf if folder == old else 1.0))
    found = between(new, old)
    assert verdicts(found) == {
        ("HierSRec", "all"): "fell",
        ("HierSRec", "cells@0.04"): "the same",
        ("HierSRec", "cells@0.1"): "not significant",
        ("SASRecAllPositions", "all"): "rose",
        ("SequentialPop", "all"): "the same",
    }
    assert found.status == 1
    by_name = {(one.model, one.items): one for one in found.changes}
    fell = by_name["HierSRec", "all"]
    assert (fell.old, fell.new, fell.difference.mean) == (1.0, 0.5, -0.5)  # 1 / log2(1 + 3)
    assert (fell.difference.low, fell.difference.high) == (-0.5, -0.5)  # every session alike
    # Two sided, all 20 sessions alike: at most 2 of 2^20 patterns are as extreme, so 1 / 10,001; three tests
    assert fell.p_value == pytest.approx(1 / 10_001)
    assert fell.p_holm == pytest.approx(3 / 10_001)
    assert by_name["HierSRec", "cells@0.1"].p_value == 1  # one session's sign, either way as extreme
    rose = by_name["SASRecAllPositions", "all"]
    assert rose.p_holm == pytest.approx(3 / 10_001)
    assert np.isnan(by_name["SequentialPop", "all"].p_holm)


def test_cases_are_paired_and_sessions_kept_whole(old: Path, new: Path) -> None:
    for place, path in enumerate(jobs(new, "SequentialPop")):
        ranks = read_arrays(path / "ranks.npz")["all"]
        set_to = np.random.default_rng(place).permutation(ranks)
        write_arrays(path / "ranks.npz", {**read_arrays(path / "ranks.npz"), "all": set_to})
    found = {(one.model, one.items): one for one in between(new, old, "Recall@20").changes}
    one = found["SequentialPop", "all"]
    assert one.metric == "Recall@20"
    values = [
        np.mean(
            [
                METRICS["Recall"](read_arrays(p / "ranks.npz")["all"], 20)
                for p in jobs(folder, "SequentialPop")
            ],
            0,
        )
        for folder in (new, old)
    ]
    wanted = paired_difference(values[0], values[1], np.arange(40) // 2, seed=0)
    assert (one.difference.mean, one.p_value) == (pytest.approx(wanted.mean), wanted.p_value)
    assert one.difference.low == pytest.approx(wanted.low)
    assert one.p_holm == holm([wanted.p_value])[0]


def test_a_publication_is_compared_with_a_folder_of_runs(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "draw_all", lambda *_: {})  # most of the time
    published = publish("trial", old.parent, tmp_path / "results")
    assert set(verdicts(between(old, published)).values()) == {"the same"}
    assert set(verdicts(between(published, old)).values()) == {"the same"}


def other(section: str, key: str, value: Any) -> Edit:
    return lambda record: record[section].update({key: value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other("data", "cases", "x" * 64), "other test cases"),
        (other("data", "universe", "x" * 64), "other item universe"),
        (other("job", "data_hash", "x" * 64), "other files of the data set"),
        (lambda record: record["data"].update(cases="x", universe="y"), "other test cases, item universe"),
    ],
)
def test_other_data_is_said_and_not_compared(old: Path, new: Path, change: Edit, reason: str) -> None:
    for model in ("HierSRec", "SASRecAllPositions", "SequentialPop"):
        edit(new, model, change)
    set_ranks(new, "HierSRec", "all", np.full(40, np.inf))  # not even where it fell
    found = between(new, old)
    assert found.status == 2
    assert found.changes == []
    assert found.remarks == [f"not compared: {WHERE}: {reason}"]
    assert found.summary() == "Nothing could be compared."


def test_another_protocol_is_new_and_the_older_is_gone(old: Path, new: Path) -> None:
    for model in ("HierSRec", "SASRecAllPositions", "SequentialPop"):
        edit(new, model, lambda record: record["job"]["protocol"].update(history="masked"))
    found = between(new, old)
    assert found.status == 2
    assert found.remarks == [f"new: {WHERE.replace('unmasked', 'masked')}", f"gone: {WHERE}"]


def drop(folder: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    noted = json.loads((folder / "jobs.json").read_text())
    (folder / "jobs.json").write_text(json.dumps([job for job in noted if keep(job)]))


def test_what_is_new_gone_or_otherwise_set_is_listed(old: Path, new: Path, tmp_path: Path) -> None:
    before = Path(shutil.copytree(old, tmp_path / "before"))
    drop(before, lambda job: job["name"] != "SequentialPop")
    drop(
        new,
        lambda job: (
            job["name"] != "SASRecAllPositions" and not (job["name"] == "HierSRec" and job["seed"] == 2)
        ),
    )
    drop(new, lambda job: job["seed"] == 1)

    def settled(record: dict[str, Any]) -> None:
        record["job"]["settings"]["learning_rate"] = 0.5
        record["job"]["limits"]["epochs"] = 7
        record["accuracy"] = [row for row in record["accuracy"] if row["item_fraction"] != 0.1]

    epochs = json.loads((jobs(new, "HierSRec")[0] / "record.json").read_text())["job"]["limits"]["epochs"]
    edit(new, "HierSRec", settled)
    found = between(new, before)
    assert found.status == 1
    assert found.summary().endswith("the same: 1, gone: 2.")
    assert found.remarks == [
        f"new: {WHERE}: SequentialPop",
        f"gone: {WHERE}: SASRecAllPositions",
        f"other seeds: {WHERE}: HierSRec: 1 2, now 1",
        f"other settings: {WHERE}: HierSRec: learning_rate 0.001, now 0.5; epochs {epochs}, now 7",
        f"gone: {WHERE}: HierSRec: candidates cells@0.1",
    ]


def test_what_is_not_ranked_is_not_compared(old: Path, new: Path) -> None:
    edit(new, "HierSRec", lambda record: record.update(status="time limit"))
    found = between(new, old)
    assert {one.model for one in found.changes} == {"SASRecAllPositions", "SequentialPop"}
    assert {one.verdict for one in found.changes} == {"the same"}
    assert found.status == 1  # a job that fails now is no green gate
    assert found.remarks == [
        f"gone: {WHERE}: HierSRec",
        f"not ranked in the new one (seeds are missing, or the clock stopped it): {WHERE}: HierSRec",
    ]


def test_a_metric_that_one_lacks_is_not_compared_and_one_that_nobody_has_is_refused(
    old: Path, new: Path
) -> None:
    for model in ("HierSRec", "SASRecAllPositions", "SequentialPop"):
        edit(new, model, lambda record: record["job"].update(ks=[5, 10, 20, 50]))
    found = between(new, old, "MRR@50")
    assert (found.status, found.remarks) == (
        2,
        [f"not compared: {WHERE}: MRR@50 was not measured in the old one"],
    )
    with pytest.raises(
        InputError, match="--metric: received 'NDGC@10', allowed: MRR@10, .*did you mean 'NDCG@10'"
    ):
        between(new, old, "NDGC@10")


def hiersrec(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_the_command_is_a_gate(old: Path, new: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}
    same = hiersrec(new, "--against", old)
    assert (same.exit_code, same.stderr) == (0, "")
    assert "fell: 0, rose: 0, not significant: 0, the same: 5." in same.stdout
    assert {path: path.read_bytes() for path in new.rglob("*") if path.is_file()} == before
    set_ranks(new, "SequentialPop", "all", np.full(40, np.inf))
    fell = hiersrec(new, "--against", old, "--out", tmp_path / "out", "--format", "csv,md,html,latex")
    assert fell.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "changes.csv", "changes.html", "changes.md", "changes.tex",
    ]  # fmt: skip
    for name in ("html", "md", "tex"):
        assert "fell: 1, rose: 0" in (tmp_path / "out" / f"changes.{name}").read_text() or name == "tex"
        assert "SequentialPop" in (tmp_path / "out" / f"changes.{name}").read_text()
    rows = list(csv.DictReader((tmp_path / "out" / "changes.csv").open(newline="")))
    (row,) = [row for row in rows if row["verdict"] == "fell"]
    assert (row["model"], row["items"], row["new"], row["protocol"]) == (
        "SequentialPop",
        "all",
        "0",
        GROUP[1],
    )
    assert float(row["difference"]) == -float(row["old"])
    nothing = hiersrec(new, "--against", old, "--metric", "Recall")
    assert nothing.exit_code == 2
    assert "hiersrec: error: --metric: received 'Recall', allowed: " in nothing.stderr


def test_nothing_to_compare_is_status_2(old: Path, new: Path) -> None:
    for model in ("HierSRec", "SASRecAllPositions", "SequentialPop"):
        edit(new, model, other("data", "cases", "x" * 64))
    found = hiersrec(new, "--against", old)
    assert found.exit_code == 2
    assert "Nothing could be compared." in found.stdout
    assert f"not compared: {WHERE}: other test cases" in found.stdout
