"""Comparisons of a report: from ranks.npz to intervals and tests, against the statistics computed by hand."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_job import write_ranks
from fake_suite import make_records, make_suite

from recbole_hiersrec.benchmark.rankfiles import read_ranks
from recbole_hiersrec.benchmark.runner import load_jobs, load_record
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import expand
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.metrics import ndcg
from recbole_hiersrec.evaluation.significance import (
    RESAMPLES,
    bootstrap_means,
    mean_interval,
    paired_difference,
    ratio_interval,
)
from recbole_hiersrec.report.comparison import (
    COLUMNS,
    SEED,
    Comparison,
    compare,
    comparison_frame,
)
from recbole_hiersrec.report.page import terminal_lines, write_report

Records = list[dict[str, Any]]
QUICKSTART = Path(__file__).resolve().parents[1] / "results" / "quickstart"


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Three models and two seeds; SASRecAllPositions is the reference."""
    found = make_records(tmp_path, seeds=[1, 2], reference="SASRecAllPositions")[1]
    for record in found:
        record["job"]["reference"] = "SASRecAllPositions"
        put(tmp_path, record)
    return found


def put(folder: Path, record: dict[str, Any], **arrays: np.ndarray) -> None:
    """The ranks of a record where the report looks for them; ``arrays`` replace those of the fake job."""
    target = folder / "jobs" / record["key"]
    target.mkdir(parents=True, exist_ok=True)
    write_ranks(target, record)
    if arrays:
        with np.load(target / "ranks.npz") as file:
            known = {name: file[name] for name in file.files}
        np.savez(target / "ranks.npz", **(known | arrays))  # type: ignore[arg-type]


def only(folder: Path, records: Records) -> Comparison:
    return next(iter(compare(folder, records).values()))


def of(comparison: Comparison, quantity: str, model: str) -> dict[str, Any]:
    return dict(next(r for r in comparison.rows if (r["quantity"], r["model"]) == (quantity, model)))


def pick(records: Records, model: str) -> Records:
    return [record for record in records if record["job"]["model"] == model]


def test_rows_are_the_statistics_of_the_ranks(tmp_path: Path, records: Records) -> None:
    """Two seeds are averaged case by case, then compared by session."""
    values, candidates = {}, {}
    rng = np.random.default_rng(3)
    for model in ("HierSRec", "SASRecAllPositions", "SequentialPop"):
        of_seeds, of_candidates = [], []
        for record in pick(records, model):
            ranks, cells = rng.integers(1, 15, 40).astype(float), rng.integers(1, 15, 40).astype(float)
            put(tmp_path, record, all=ranks, **({"cells@0.04": cells} if model == "HierSRec" else {}))
            of_seeds.append(ndcg(ranks, 10))
            of_candidates.append(ndcg(cells, 10))
        values[model], candidates[model] = np.mean(of_seeds, axis=0), np.mean(of_candidates, axis=0)
    sessions = np.arange(40) // 2
    found = only(tmp_path, records)
    difference = of(found, "difference", "HierSRec")
    wanted = paired_difference(values["HierSRec"], values["SASRecAllPositions"], sessions, seed=SEED)
    shown = [difference[key] for key in ("mean", "low", "high", "p_value", "n_cases", "n_sessions")]
    assert shown == pytest.approx(
        [wanted.mean, wanted.low, wanted.high, wanted.p_value, wanted.n_cases, wanted.n_clusters]
    )
    own = mean_interval(values["HierSRec"], sessions, seed=SEED)
    shown = [of(found, "over sessions", "HierSRec")[key] for key in ("mean", "low", "high")]
    assert shown == pytest.approx([own.mean, own.low, own.high])
    pair = np.stack([candidates["HierSRec"], values["HierSRec"]])
    means = bootstrap_means(pair, sessions, resamples=RESAMPLES, seed=SEED)
    share = ratio_interval(pair.mean(axis=1), means)
    row = of(found, "kept", "HierSRec")
    assert (row["candidate_rule"], row["item_fraction"]) == ("cells", 0.04)
    assert [row[key] for key in ("mean", "low", "high")] == pytest.approx([share.mean, share.low, share.high])
    p = sorted(of(found, "difference", model)["p_value"] for model in ("HierSRec", "SequentialPop"))
    holm = sorted(of(found, "difference", model)["p_holm"] for model in ("HierSRec", "SequentialPop"))
    assert holm == pytest.approx([min(1, 2 * p[0]), min(1, max(2 * p[0], p[1]))])
    less = values["HierSRec"] - values["SASRecAllPositions"]
    assert difference["n_tests"] == 2
    shares = [sum(less > 1e-9) / 40, sum(abs(less) <= 1e-9) / 40, sum(less < -1e-9) / 40]
    assert [difference[key] for key in ("win", "tie", "loss")] == pytest.approx(shares)
    sums = less.reshape(20, 2).sum(axis=1)
    assert difference["d_z"] == pytest.approx(sums.mean() / sums.std(ddof=1))
    pair = np.stack([values["HierSRec"], values["SASRecAllPositions"]])
    means = bootstrap_means(pair, sessions, resamples=RESAMPLES, seed=SEED)
    over = ratio_interval(pair.mean(axis=1), means)
    relative = [difference[key] for key in ("relative", "relative_low", "relative_high")]
    assert relative == pytest.approx([over.mean - 1, over.low - 1, over.high - 1])


def test_a_difference_in_the_table_by_hand(tmp_path: Path, records: Records) -> None:
    """At rank 1 are 20 cases of the reference, in both seeds, and 10 and 20 of HierSRec; the rest is out of sight."""
    for record in records:
        first = {"HierSRec": 10 * record["job"]["seed"], "SASRecAllPositions": 20}.get(
            record["job"]["model"], 0
        )
        put(tmp_path, record, all=np.where(np.arange(40) < first, 1.0, 99.0))
    found = only(tmp_path, records)
    row = of(found, "difference", "HierSRec")
    assert [row[key] for key in ("mean", "relative", "win", "tie", "loss")] == [-0.125, -0.25, 0, 0.75, 0.25]
    sums = np.array([0.0] * 5 + [-1.0] * 5 + [0.0] * 10)  # of 20 sessions with two cases each
    assert row["d_z"] == pytest.approx(sums.mean() / sums.std(ddof=1))
    (line,) = [line for line in found.difference_table().rows if line[0].startswith("HierSRec")]
    assert list(line[4:5]) + list(line[8:]) == ["-0.1250", "-25.0 %", "-0.56", "0.0 / 75.0 / 25.0 %"]
    nothing = of(found, "difference", "SequentialPop")
    assert (nothing["relative"], nothing["relative_low"], nothing["relative_high"]) == (-1, -1, -1)
    assert "corrected over the comparisons of this table (2)" in found.difference_table().notes[0]


def test_a_reference_that_finds_nothing_has_no_relative_difference(tmp_path: Path, records: Records) -> None:
    for record in pick(records, "SASRecAllPositions"):
        put(tmp_path, record, all=np.full(40, 99.0))
    row = of(only(tmp_path, records), "difference", "HierSRec")
    assert row["mean"] > 0
    assert all(isnan(row[key]) for key in ("relative", "relative_low", "relative_high"))
    assert next(iter(only(tmp_path, records).difference_table().rows))[8] == "-"


def test_seeds_alone_make_nothing_significant(tmp_path: Path) -> None:
    """Eight seeds that all agree, in cases of one session: intervals over seeds are narrow, and nothing is tested."""
    records = make_records(tmp_path, seeds=list(range(1, 9)), reference="SASRecAllPositions")[1]
    for record in records:
        record["job"]["reference"] = "SASRecAllPositions"
        put(tmp_path, record, session=np.zeros(40, dtype=int))
    found = only(tmp_path, records)
    seeds = [of(found, "over seeds", model) for model in ("HierSRec", "SASRecAllPositions")]
    assert seeds[0]["low"] > seeds[1]["high"]
    row = of(found, "difference", "HierSRec")
    assert (row["p_value"], row["p_holm"]) == (1.0, 1.0)
    assert isnan(row["low"])
    assert isnan(row["d_z"])
    frame = comparison_frame([found])
    assert set(frame[frame["p_value"].notna()]["quantity"]) == {"difference"}
    assert "makes no difference significant" in found.difference_table().notes[0]


def test_the_reference_is_compared_with_nobody(tmp_path: Path, records: Records) -> None:
    found = only(tmp_path, records)
    assert found.reference == "SASRecAllPositions"
    models = [row["model"] for row in found.rows if row["quantity"] == "difference"]
    assert sorted(models) == ["HierSRec", "SequentialPop"]
    table = found.difference_table()
    assert [row[0].split()[0] for row in table.rows] == ["HierSRec", "SASRecAllPositions", "SequentialPop"]
    assert list(table.rows[1][4:]) == ["-"] * 7
    assert table.headers[4] == "less SASRecAllPositions"


def test_candidates_of_the_fake_job_keep_what_they_keep(tmp_path: Path, records: Records) -> None:
    """Of the 17 cases at rank 1 (.04 x 400 and a bit, with either seed), numbers 0 and 10 are lost."""
    row = of(only(tmp_path, records), "kept", "HierSRec")
    assert row["mean"] == pytest.approx(15 / 17)
    assert row["low"] < row["mean"] < row["high"]


def test_sessions_matter(tmp_path: Path, records: Records) -> None:
    before = of(only(tmp_path, records), "difference", "SequentialPop")
    for record in records:
        put(tmp_path, record, session=np.arange(40) // 10)
    after = of(only(tmp_path, records), "difference", "SequentialPop")
    assert (before["n_sessions"], after["n_sessions"]) == (20, 4)
    assert after["mean"] == before["mean"]
    assert after["high"] - after["low"] > before["high"] - before["low"]
    assert after["p_value"] > before["p_value"]


def test_models_without_ranks_or_all_seeds_are_left_out(tmp_path: Path, records: Records) -> None:
    (tmp_path / "jobs" / pick(records, "SequentialPop")[0]["key"] / "ranks.npz").unlink()
    left = [record for record in records if record is not pick(records, "HierSRec")[0]]
    found = only(tmp_path, left)
    assert {row["model"] for row in found.rows} == {"SASRecAllPositions"}
    assert compare(tmp_path / "elsewhere", records) == {}


def test_a_reference_that_is_not_ranked_is_named(tmp_path: Path, records: Records) -> None:
    left = [record for record in records if record is not pick(records, "SASRecAllPositions")[0]]
    table = only(tmp_path, left).difference_table()
    assert all(list(row[4:]) == ["-"] * 7 for row in table.rows)
    assert "No differences: the reference SASRecAllPositions has no ranked line" in table.notes[1]


def test_report_holds_the_comparisons(tmp_path: Path, records: Records) -> None:
    found = write_report(tmp_path, records)
    page = (tmp_path / "report.md").read_text()
    assert "### Comparisons" in page
    assert "### NDCG@10 kept, with intervals" in page
    assert "No significance test was made" not in page
    assert "Intervals and tests stand under Comparisons" in page
    text = (tmp_path / "comparisons.csv").read_text()
    assert text.split("\n")[0] == ",".join(COLUMNS)
    assert len(text.splitlines()) == 1 + 3 * 2 + 2 + 2  # values, differences, kept at two fractions
    shown = " ".join(terminal_lines(records, found).split())
    assert "Intervals and tests stand under Comparisons in report.md." in shown
    assert max(map(len, terminal_lines(records, found).splitlines())) <= 80
    write_report(tmp_path, records[::-1])
    assert (tmp_path / "comparisons.csv").read_text() == text


def test_one_seed_has_no_interval_over_seeds(tmp_path: Path) -> None:
    records = make_records(tmp_path)[1]
    for record in records:
        record["job"]["reference"] = "SequentialPop"
        put(tmp_path, record)
    found = only(tmp_path, records)
    assert isnan(of(found, "over seeds", "HierSRec")["low"])
    assert [row[3] for row in found.difference_table().rows] == ["-"] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK no zip", "ranks.npz is damaged"),
        (b"", "ranks.npz is damaged"),
        ({"all": np.ones(3)}, "ranks 'all': received 3, expected 40 test cases"),
        ({"all": np.ones(40)}, "ranks 'cells@0.04': received none, expected 40"),
    ],
)
def test_damaged_ranks_are_one_line(tmp_path: Path, records: Records, content: Any, message: str) -> None:
    path = tmp_path / "jobs" / records[0]["key"] / "ranks.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **content)
    with pytest.raises(InputError, match=message) as caught:
        write_report(tmp_path, records)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.md").exists()


def test_the_reference_of_a_suite(tmp_path: Path) -> None:
    assert {job.reference for job in expand(make_suite(tmp_path))} == {"HierSRec"}
    other = expand(make_suite(tmp_path, reference="SequentialPop"))
    assert {job.reference for job in other} == {"SequentialPop"}
    assert [job.key for job in other] == [
        job.key for job in expand(make_suite(tmp_path))
    ]  # changes no result
    with pytest.raises(InputError, match="reference must be one of the models .*; received Absent"):
        make_suite(tmp_path, reference="Absent")


def test_published_records_without_sessions(tmp_path: Path) -> None:
    """results/quickstart: each case is one session, and the reference is the suite's first model."""
    records = [load_record(JobStore(QUICKSTART), job) for job in load_jobs(QUICKSTART)]
    for record in records:
        ranks = {name: values for name, values in read_ranks(QUICKSTART, record).items() if name != "session"}
        folder = tmp_path / "jobs" / record["key"]
        folder.mkdir(parents=True)
        np.savez(folder / "ranks.npz", **ranks)  # type: ignore[arg-type]
    (found,) = compare(tmp_path, records).values()
    assert found.reference == json.loads((QUICKSTART / "jobs.json").read_text())[0]["name"] == "HierSRec"
    frame = comparison_frame([found])
    assert set(frame["n_sessions"]) == set(frame["n_cases"]) == {943}
    differences = frame[frame["quantity"] == "difference"]
    assert len(differences) == 4
    assert ((differences["low"] <= differences["mean"]) & (differences["mean"] <= differences["high"])).all()
    for record in records:
        own = frame[(frame["model"] == record["job"]["name"]) & (frame["quantity"] == "over sessions")]
        recorded = [
            row["value"]
            for row in record["accuracy"]
            if (row["metric"], row["k"], row["variant"], row["slice"]) == ("NDCG", 10, "all items", "all")
        ]
        assert own["mean"].tolist() == pytest.approx(recorded, abs=1e-8)
    assert "session" not in read_ranks(tmp_path, records[0])
