"""Jobs of several folders in one: the tables of one whole run, nothing lost, and no conflict that passes unseen."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_suite import write_data
from true_suite import finish, put, true_ranks
from typer.testing import CliRunner

from recbole_hiersrec import merge as merge_module
from recbole_hiersrec.arrays import read_arrays, write_arrays
from recbole_hiersrec.benchmark.rankfiles import read_ranks
from recbole_hiersrec.benchmark.runner import load_jobs, load_record
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.cli import app
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.merge import merge
from recbole_hiersrec.publish import publish
from recbole_hiersrec.report import page as page_module
from recbole_hiersrec.report.page import write_report
from recbole_hiersrec.verify import verify

FIRST = [{"model": "HierSRec", "candidates": True, "settings": {"category_fields": ["class"]}}]
OTHERS = ["SASRecAllPositions", "SequentialPop"]
HALVES = {
    "seeds": ({"seeds": [1]}, {"seeds": [2]}),
    "models": ({"seeds": [1, 2], "models": FIRST}, {"seeds": [1, 2], "models": OTHERS}),
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, data: Path, **changes: Any) -> list[dict[str, Any]]:
    """A finished suite in ``folder`` with all that bench leaves there but the lock."""
    records = finish(folder, data, **changes)
    jobs = load_jobs(folder)
    (folder / "jobs.json").write_text(json.dumps([job.to_dict() for job in jobs], indent=1) + "\n")
    write_report(folder, [load_record(JobStore(folder), job) for job in jobs])
    return records


@pytest.fixture(scope="module", autouse=True)
def no_figures() -> Iterator[None]:
    """Drawing is most of a merge's time; tests/test_cli.py has one with figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_module, "draw_all", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """whole/trial of three models and two seeds, and its halves: seeds-a/trial and so on."""
    folder = tmp_path_factory.mktemp("made")
    write_data(folder)
    run(folder / "whole" / "trial", folder, seeds=[1, 2])
    for name, halves in HALVES.items():
        for half, changes in zip("ab", halves, strict=True):
            finish(folder / f"{name}-{half}" / "trial", folder, **changes)
    return folder


@pytest.fixture
def halves(made: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies to change: the first seed and the second."""
    for half in "ab":
        shutil.copytree(made / f"seeds-{half}" / "trial", tmp_path / half)
    return tmp_path / "a", tmp_path / "b"


def record_of(folder: Path, name: str = "HierSRec") -> dict[str, Any]:
    (job,) = [job for job in load_jobs(folder) if job.name == name]
    return JobStore(folder).load(job.key)


def change_record(folder: Path, record: dict[str, Any], **changes: Any) -> None:
    path = folder / "jobs" / record["key"] / "record.json"
    path.write_text(json.dumps(record | changes))


def change_ranks(folder: Path, record: dict[str, Any], name: str, case: int, value: float) -> None:
    path = folder / "jobs" / record["key"] / "ranks.npz"
    arrays = read_arrays(path)
    arrays[name][case] = value
    write_arrays(path, arrays)


@pytest.mark.parametrize("by", ["seeds", "models"])
def test_two_halves_are_one_whole_run(made: Path, tmp_path: Path, by: str) -> None:
    """Split by models the second half names another reference: that of the first stands for the whole table."""
    found = merge([made / f"{by}-a" / "trial", made / f"{by}-b" / "trial"], tmp_path / "new" / "both")
    assert list(found.taken.values()) == ([3, 3] if by == "seeds" else [2, 4])
    assert (found.several, found.missing) == (0, [])
    whole, both = content(made / "whole" / "trial"), content(tmp_path / "new" / "both")
    if by == "seeds":  # the jobs stand in the order of the folders
        orders = [json.loads(files.pop("jobs.json")) for files in (whole, both)]
        assert [job["seed"] for job in orders[1]] == [1, 1, 1, 2, 2, 2]
        assert sorted(job["key"] for job in orders[0]) == sorted(job["key"] for job in orders[1])
    assert both == whole
    assert verify(tmp_path / "new" / "both").differences == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["both"]


def test_halves_that_are_published_are_one_publication(made: Path, tmp_path: Path) -> None:
    """Cases are shared again, and ranks cut once are not cut further."""
    for half in "ab":
        publish("trial", made / f"models-{half}", tmp_path / half)
    whole = publish("trial", made / "whole", tmp_path / "whole")
    merge([tmp_path / half / "trial" for half in "ab"], tmp_path / "both")
    assert content(tmp_path / "both") == content(whole)


def test_the_first_folder_says_whether_models_are_kept(made: Path, tmp_path: Path) -> None:
    """Whole runs into a publication are published; what was published stands in a folder of runs as it is known."""
    for half in "ab":
        publish("trial", made / f"models-{half}", tmp_path / half)
    whole = publish("trial", made / "whole", tmp_path / "whole")
    merge([tmp_path / "a" / "trial", made / "models-b" / "trial"], tmp_path / "published")
    assert content(tmp_path / "published") == content(whole)
    merge([made / "models-a" / "trial", tmp_path / "b" / "trial"], tmp_path / "runs")
    assert len(list((tmp_path / "runs" / "jobs").glob("*/model/weights"))) == 2
    assert not (tmp_path / "runs" / "cases").exists()
    assert verify(tmp_path / "runs").differences == []
    tables = ("accuracy.csv", "timing.csv", "comparisons.csv", "report.md")
    assert {name: content(tmp_path / "runs")[name] for name in tables} == {
        name: content(whole)[name] for name in tables
    }
    record = record_of_seed(tmp_path / "b" / "trial", "SequentialPop", 2)
    known, found = (read_ranks(one, record) for one in (tmp_path / "b" / "trial", tmp_path / "runs"))
    assert known.keys() == found.keys()
    assert all(np.array_equal(known[name], found[name]) for name in known)


def record_of_seed(folder: Path, name: str, seed: int) -> dict[str, Any]:
    (job,) = [job for job in load_jobs(folder) if (job.name, job.seed) == (name, seed)]
    return JobStore(folder).load(job.key)


def test_a_job_that_two_machines_ran_alike_is_there_once(halves: tuple[Path, Path], tmp_path: Path) -> None:
    """Times, machine, versions and code may differ: the first copy stays."""
    first, _ = halves
    other = shutil.copytree(first, tmp_path / "other")
    record = record_of(other)
    machine = {"processor": "another abacus", "cores": 4, "memory_gib": 8.0, "system": "Linux"}
    slower = [row | {"value": 2 * row["value"]} for row in record["timing"]]
    change_record(other, record, machine=machine, timing=slower, code="f" * 64, versions={"python": "3.12"})
    found = merge([first, other], tmp_path / "both")
    assert (list(found.taken.values()), found.several) == ([3, 0], 3)
    assert record_of(tmp_path / "both") == record_of(first)
    merge([other, first], tmp_path / "turned")
    assert record_of(tmp_path / "turned")["machine"] == machine
    tables = [content(tmp_path / name)["accuracy.csv"] for name in ("both", "turned")]
    assert tables[0] == tables[1]


def test_a_publication_is_no_conflict_with_its_source(made: Path, tmp_path: Path) -> None:
    published = publish("trial", made / "whole", tmp_path)
    assert merge([published, made / "whole" / "trial"], tmp_path / "both").several == 6


def test_versions_that_note_more_are_no_conflict(halves: tuple[Path, Path], tmp_path: Path) -> None:
    """The older copy lacks two arrays, and a row."""
    first, _ = halves
    older = shutil.copytree(first, tmp_path / "older")
    record = record_of(older)
    path = older / "jobs" / record["key"] / "ranks.npz"
    write_arrays(path, {name: one for name, one in read_arrays(path).items() if name != "scanned exact"})
    change_record(older, record, accuracy=[row for row in record["accuracy"] if row["variant"] != "exact"])
    assert merge([older, first], tmp_path / "both").several == 3


def other_rank(folder: Path, record: dict[str, Any]) -> str:
    change_ranks(folder, record, "history masked", 3, 1.25)
    return "ranks history masked"


def other_ranks_and_figures(folder: Path, record: dict[str, Any]) -> str:
    ranks = true_ranks(record)
    ranks["all"][ranks["all"].index(max(ranks["all"]))] = 1.0
    put(folder, record, ranks)
    return " and 8 other figures, ranks all"


def other_figure(folder: Path, record: dict[str, Any]) -> str:
    record["accuracy"][7]["value"] += 1e-6
    change_record(folder, record)
    return "all items, NDCG@10 0."


def other_status(folder: Path, record: dict[str, Any]) -> str:
    change_record(folder, record, status="time limit")
    return "status ok and time limit"


def other_cases(folder: Path, record: dict[str, Any]) -> str:
    change_record(folder, record, data=record["data"] | {"cases": "d" * 64})
    return "data.cases"


@pytest.mark.parametrize(
    "tamper", [other_rank, other_ranks_and_figures, other_figure, other_status, other_cases]
)
def test_all_conflicts_are_named_and_nothing_is_written(
    halves: tuple[Path, Path], tmp_path: Path, tamper: Callable[[Path, dict[str, Any]], str]
) -> None:
    first, _ = halves
    other = shutil.copytree(first, tmp_path / "other")
    records = [record_of(other, name) for name in ("HierSRec", "SequentialPop")]
    texts = [tamper(other, record) for record in records]
    before = content(tmp_path)
    result = CliRunner().invoke(
        app, ["results", "merge", str(first), str(other), "--out", str(tmp_path / "both")]
    )
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        "hiersrec: error: nothing was merged: 2 copies of jobs have other results: "
    )
    parts = result.stderr.split("; toy SequentialPop")
    assert len(parts) == 2
    for record, text, part in zip(records, texts, parts, strict=True):
        assert f" seed 1 (job {record['key']}; {first} and {other}): " in part
        assert text in part
    assert "SASRecAllPositions" not in result.stderr
    assert content(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "other"]


def test_ranks_that_a_publication_does_not_tell_apart(made: Path, tmp_path: Path) -> None:
    """Beyond 100 it has one rank for all: it agrees with two whole runs that do not agree with each other."""
    first, other = made / "seeds-a" / "trial", tmp_path / "runs" / "trial"
    shutil.copytree(first, other)
    record = record_of(other)
    change_ranks(other, record, "all", int(np.argmax(true_ranks(record)["all"])), 1234)
    published = publish("trial", tmp_path / "runs", tmp_path)
    assert merge([published, first], tmp_path / "both").several == 3
    with pytest.raises(InputError, match=r"1 job has other results: toy HierSRec seed 1 .*: ranks all$"):
        merge([other, first], tmp_path / "new")


def test_into_an_existing_folder(halves: tuple[Path, Path]) -> None:
    """It is the first of all, and keeps its models, its logs and jobs of other times."""
    first, second = halves
    (first / "jobs" / "0123456789abcdef").mkdir()
    (first / "jobs" / "0123456789abcdef" / "record.json").write_text("of another time")
    (first / "jobs" / "fedcba9876543210.log").write_text("what a failed job printed")
    before = content(first)
    found = merge([second], first)
    assert found.taken == {first: 3, second: 3}
    after = content(first)
    rewritten = {"accuracy.csv", "comparisons.csv", "jobs.json"}
    assert {name: after[name] for name in before if name not in rewritten} == {
        name: text for name, text in before.items() if name not in rewritten
    }
    assert [job.seed for job in load_jobs(first)] == [1, 1, 1, 2, 2, 2]
    assert verify(first).jobs == 6
    again = content(first)
    assert merge([first, second], first).taken == {first: 6, second: 0}
    assert content(first) == again


def test_what_is_left_of_a_job_without_a_record_gives_way(halves: tuple[Path, Path], tmp_path: Path) -> None:
    first, _ = halves
    whole = shutil.copytree(first, tmp_path / "whole")
    job = first / "jobs" / record_of(first)["key"]
    (job / "record.json").unlink()
    (job / "model" / "half").write_text("a part of some model")
    assert merge([whole], first).taken == {first: 2, whole: 1}
    assert content(job) == content(whole / "jobs" / job.name)


def test_into_a_folder_with_the_same_name_spelt_otherwise(halves: tuple[Path, Path]) -> None:
    first, _ = halves
    before = record_of(first)
    assert merge([first.parent / "b" / ".." / "a"], first).taken == {first: 3}
    assert record_of(first) == before


def test_a_job_that_only_one_folder_has_finished(halves: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = halves
    lacking = shutil.copytree(first, tmp_path / "lacking")
    for name in ("HierSRec", "SequentialPop"):
        shutil.rmtree(lacking / "jobs" / record_of(lacking, name)["key"])
    shutil.rmtree(second / "jobs" / record_of(second, "SequentialPop")["key"])
    found = merge([lacking, first, second], tmp_path / "both")
    assert found.taken == {lacking: 1, first: 2, second: 2}
    assert [job.label() for job in found.missing] == ["toy SequentialPop seed 2"]
    assert "; without a record: toy SequentialPop seed 2" in found.summary()
    page = (tmp_path / "both" / "report.md").read_text()
    assert (
        "**Not in the tables**, because they failed or have not run here: toy SequentialPop seed 2." in page
    )


def test_jobs_that_were_skipped_stay_skipped(halves: tuple[Path, Path], tmp_path: Path) -> None:
    """With the reason of the first folder that has one; where another folder has the result, that counts."""
    first, second = halves
    lacking = shutil.copytree(first, tmp_path / "lacking")
    skipped = record_of(lacking, "HierSRec")["key"], record_of(second, "SequentialPop")["key"]
    for folder, key in zip((lacking, second), skipped, strict=True):
        shutil.rmtree(folder / "jobs" / key)
        JobStore(folder).write_skipped({key: "the data have no order"})
    found = merge([lacking, first, second], tmp_path / "both")
    assert (found.taken, found.missing) == ({lacking: 2, first: 1, second: 2}, [])
    assert JobStore(tmp_path / "both").skipped() == {skipped[1]: "the data have no order"}
    assert "- toy, SequentialPop: the data have no order" in (tmp_path / "both" / "report.md").read_text()
    assert verify(tmp_path / "both").missing == []


def test_suites_of_their_own_stand_beside_each_other(
    made: Path, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    """Another data set, protocol and reference: two tables, and two commands that make them again."""
    first, _ = halves
    finish(
        tmp_path / "masked",
        made,
        name="second",
        seeds=[1],
        protocol={"history": "masked"},
        reference="SequentialPop",
    )
    merge([first, tmp_path / "masked"], tmp_path / "both")
    assert [job.suite for job in load_jobs(tmp_path / "both")] == ["trial"] * 3 + ["second"] * 3
    page = (tmp_path / "both" / "report.md").read_text()
    assert page.startswith("# Benchmark second, trial\n")
    assert (
        "YAML file of suite second\nhiersrec bench FILE    # FILE: the YAML file of suite trial\n```" in page
    )
    assert "less HierSRec" in page
    assert "less SequentialPop" in page
    assert verify(tmp_path / "both").jobs == 6


def test_other_settings_under_the_same_name_are_refused(
    made: Path, halves: tuple[Path, Path], tmp_path: Path
) -> None:
    first, _ = halves
    finish(tmp_path / "longer", made, seeds=[1], limits={"epochs": 3})
    keys = [record_of(folder)["key"] for folder in (first, tmp_path / "longer")]
    message = rf"toy HierSRec seed 1 is job {keys[0]} in .*a and job {keys[1]} in .*longer: other settings"
    with pytest.raises(InputError, match=message):
        merge([first, tmp_path / "longer"], tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_other_code_in_one_table_is_named(halves: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = halves
    for name in ("HierSRec", "SequentialPop"):
        record = record_of(second, name)
        change_record(second, record, code="f" * 64)
    merge([first, second], tmp_path / "both")
    own = record_of(first)["code"][:8]
    page = (tmp_path / "both" / "report.md").read_text()
    codes = [
        f"{own}: HierSRec (seed 1), SASRecAllPositions (seed 1 2), SequentialPop (seed 1)",
        "ffffffff: HierSRec (seed 2), SequentialPop (seed 2)",
    ]
    assert f"**Not all of these jobs ran with the same code** (SHA-256): {'; '.join(sorted(codes))}." in page
    merge([first], tmp_path / "alone")
    assert "same code" not in (tmp_path / "alone" / "report.md").read_text()


def test_a_merge_that_dies_leaves_all_as_it_was(
    halves: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = halves

    def full(*_: Any) -> None:
        raise InputError("disk full")

    monkeypatch.setattr(merge_module, "write_report", full)
    before = content(tmp_path)
    for out in (first, tmp_path / "both"):
        with pytest.raises(InputError, match="disk full"):
            merge([first, second], out)
    assert content(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_that_a_bench_works_in(halves: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = halves
    monkeypatch.setattr(JobStore.open.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]
    with JobStore(first).open(), pytest.raises(InputError, match="another hiersrec bench"):
        merge([second], first)
    assert merge([second], first).taken == {first: 3, second: 3}


def test_a_folder_with_a_job_under_way_is_left_alone(halves: tuple[Path, Path]) -> None:
    first, second = halves
    (first / "jobs" / ".tmp-0123456789abcdef").mkdir()
    (first / "jobs" / ".tmp-0123456789abcdef" / "state").write_text("hours of training")
    before = content(first)
    with pytest.raises(
        InputError, match="a: a job is under way here; let hiersrec bench come to its end first"
    ):
        merge([second], first)
    assert content(first) == before
    assert merge([first, second], first.parent / "new").taken == {first: 3, second: 3}
    assert not list((first.parent / "new").rglob(".tmp-*"))


def test_what_a_killed_merge_left_is_put_right(halves: tuple[Path, Path]) -> None:
    """Killed between two renames: the older folder lies beside under another name."""
    first, second = halves
    first.rename(first.with_name(".old-a"))
    (first.parent / ".tmp-a~x1" / "a").mkdir(parents=True)
    assert merge([second], first).taken == {first: 3, second: 3}
    assert sorted(path.name for path in first.parent.iterdir()) == ["a", "b"]


def bad_file(folder: Path) -> list[str]:
    (folder / "file").write_text("")
    return ["a", "b", "--out", "file"]


def below_a_file(folder: Path) -> list[str]:
    (folder / "file").write_text("")
    return ["a", "b", "--out", "file/below"]


def full_folder(folder: Path) -> list[str]:
    (folder / "full").mkdir()
    (folder / "full" / "letter.txt").write_text("mine")
    return ["a", "b", "--out", "full"]


def damaged_ranks(folder: Path) -> list[str]:
    (folder / "b" / "jobs" / record_of(folder / "b")["key"] / "ranks.npz").write_bytes(b"PK no zip")
    return ["a", "b", "--out", "both"]


def other_schema(folder: Path) -> list[str]:
    change_record(folder / "b", record_of(folder / "b"), schema=7)
    return ["a", "b", "--out", "both"]


def other_universe(folder: Path) -> list[str]:
    record = record_of(folder / "b")
    change_record(folder / "b", record, data=record["data"] | {"universe": "v" * 64})
    return ["a", "b", "--out", "new/both"]


def no_records(folder: Path) -> list[str]:
    shutil.rmtree(folder / "a" / "jobs")
    return ["a", "--out", "both"]


def no_note(folder: Path) -> list[str]:
    (folder / "b" / "jobs.json").unlink()
    return ["a", "b", "--out", "both"]


BAD_INPUT: list[tuple[Callable[[Path], list[str]], str]] = [
    (lambda _: ["a", "nothing", "--out", "both"], "no folder nothing"),
    (no_note, "b/jobs.json is missing"),
    (bad_file, "file: received something else, allowed: a new or empty folder, or a suite's"),
    (below_a_file, "file cannot be written: "),
    (full_folder, "full: received something else, allowed: a new or empty folder, or a suite's"),
    (damaged_ranks, "ranks.npz is damaged"),
    (other_schema, "record schema 7, this version reads 1"),
    (other_universe, "cannot stand in one table: their item universe differ"),
    (no_records, "a: no job has a record"),
]


@pytest.mark.parametrize(("make", "message"), BAD_INPUT)
def test_bad_input_is_one_line_and_writes_nothing(
    halves: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], list[str]],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = make(tmp_path)
    before = content(tmp_path)
    result = CliRunner().invoke(app, ["results", "merge", *arguments])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    assert message in result.stderr
    assert result.stdout == ""
    assert content(tmp_path) == before
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_an_empty_folder_will_do_and_the_command_says_what_it_did(
    halves: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both").mkdir()
    result = CliRunner().invoke(app, ["results", "merge", "a", "b", "--out", "both"])
    assert result.exit_code == 0, result.output
    assert result.stdout == "merged: both: 6 jobs: 3 of a, 3 of b\nreport: both/report.md\n"


def test_seeds_of_other_settings_are_not_averaged(made: Path, tmp_path: Path) -> None:
    """Seed 1 with the suite's settings, seed 2 with others, under one name."""
    finish(tmp_path / "other", made, seeds=[2], limits={"epochs": 3}, settings={"learning_rate": 0.5})
    fault = "toy: 'HierSRec seed 1' and 'HierSRec seed 2' cannot be seeds of one line: their limits, settings differ"
    with pytest.raises(InputError, match=fault):
        merge([made / "seeds-a" / "trial", tmp_path / "other"], tmp_path / "both")
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"metrics": ["Recall"]}, r"their metrics differ \(job.metrics Recall, MRR, NDCG and Recall"),
        ({"ks": [5, 20]}, r"their ks differ \(job.ks 5, 10, 20 and 5, 20"),
    ],
)
def test_tables_of_other_figures_are_not_united(
    made: Path, tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    """Their lines would be sorted by different columns."""
    finish(tmp_path / "other", made, seeds=[1], models=["MarkovChain"], **changes)
    with pytest.raises(InputError, match=what):
        merge([made / "seeds-a" / "trial", tmp_path / "other"], tmp_path / "both")


def test_other_files_under_one_name_are_not_united(halves: tuple[Path, Path], tmp_path: Path) -> None:
    for record in [JobStore(halves[1]).load(job.key) for job in load_jobs(halves[1])]:
        change_record(halves[1], record, job=record["job"] | {"data_hash": "f" * 64})
    with pytest.raises(InputError, match="their files of the data set differ"):
        merge(halves, tmp_path / "both")


def test_two_protocols_of_one_data_set_have_their_own_figures(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [b"first", b"second"]
    monkeypatch.setattr(page_module, "draw_all", lambda *_: {"accuracy": drawn.pop(0)})
    run(tmp_path / "masked", made, seeds=[1], models=["MarkovChain"], protocol={"history": "masked"})
    drawn[:] = [b"first", b"second"]
    merge([made / "seeds-a" / "trial", tmp_path / "masked"], tmp_path / "both")
    figures = {path.name: path.read_bytes() for path in (tmp_path / "both" / "figures").iterdir()}
    assert sorted(figures.values()) == [b"first", b"second"]
    page = (tmp_path / "both" / "report.md").read_text()
    for name in figures:
        assert f"](figures/{name})" in page
    assert "## toy: leave-one-out, history masked, length 50" in page
    assert "**toy: leave-one-out, history unmasked, length 50**: " in page
    assert "- history: masked, unmasked" in page
    header, *rows = (tmp_path / "both" / "timing.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["dataset", "protocol", "model"]
    assert len(set(rows)) == len(rows)


def test_times_of_other_machines_are_named(halves: tuple[Path, Path], tmp_path: Path) -> None:
    for record in [JobStore(halves[1]).load(job.key) for job in load_jobs(halves[1])]:
        machine = record["machine"] | {"processor": "slide rule", "cores": 64, "jobs_at_a_time": 3}
        change_record(halves[1], record, machine=machine)
    merge(halves, tmp_path / "both")
    page = (tmp_path / "both" / "report.md").read_text()
    assert "**Not all of these jobs ran alike, so their times do not compare**: abacus with 2 cores" in page
    assert "slide rule with 64 cores, cpu, 1 thread, 3 jobs at a time: HierSRec (seed 2)" in page


def test_suites_of_other_numbers_of_seeds_are_all_ranked(made: Path, tmp_path: Path) -> None:
    finish(tmp_path / "other", made, name="other", seeds=[1, 2, 3], models=["MarkovChain"])
    merge([made / "seeds-a" / "trial", tmp_path / "other"], tmp_path / "both")
    page = (tmp_path / "both" / "report.md").read_text()
    assert "fewer finished seeds" not in page
    assert "no ranked line" not in page
    assert verify(tmp_path / "both").comparisons > 4


def test_a_folder_without_a_finished_job_does_not_say_what_is_kept(made: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copy(made / "seeds-a" / "trial" / "jobs.json", fresh / "jobs.json")
    merge([made / "seeds-a" / "trial"], fresh)
    assert len(list(fresh.glob("jobs/*/model"))) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh"]
