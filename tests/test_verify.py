"""Figures made anew from the ranks: what was tampered with is found and named, what is sound passes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from true_suite import finish, put, rewrite, true_ranks
from typer.testing import CliRunner

from recbole_hiersrec.arrays import read_arrays, write_arrays
from recbole_hiersrec.atomic import locked
from recbole_hiersrec.benchmark.recompute import figures, recomputed
from recbole_hiersrec.cli import app
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.publish import publish
from recbole_hiersrec.verify import verify

Records = list[dict[str, Any]]
RESULTS = Path(__file__).resolve().parents[1] / "results"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Records]:
    folder = tmp_path_factory.mktemp("runs") / "trial"
    return folder, finish(folder, tmp_path_factory.mktemp("data"), seeds=[1, 2])


@pytest.fixture
def suite(finished: tuple[Path, Records], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A copy to break, and the record of its first job: HierSRec with seed 1."""
    shutil.copytree(finished[0], tmp_path / "runs" / "trial")
    return tmp_path / "runs" / "trial", json.loads(json.dumps(finished[1][0]))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


def csv_line(folder: Path, start: str, table: str = "accuracy.csv") -> str:
    (line,) = [line for line in (folder / table).read_text().splitlines() if line.startswith(start)]
    return line


START = 'toy,"leave-one-out, history unmasked, length 50",HierSRec'
N_METRICS = 9  # Recall, MRR and NDCG at 5, 10 and 20


def test_a_sound_suite_has_no_difference(finished: tuple[Path, Records]) -> None:
    found = verify(finished[0])
    assert found.differences == []
    assert found.jobs == 6
    # Both history rules of six jobs; of HierSRec's two: two fractions with two shares, two levels, the exact search
    assert found.figures == 6 * 2 * N_METRICS + 2 * (2 * (N_METRICS + 2) + 2 * 2 + 1)
    assert found.comparisons == 3 * 2 + 2 + 2  # over sessions and seeds; differences; kept at two fractions
    assert not found.not_in_ranks
    assert found.summary() == (
        "no difference: 162 figures of accuracy.csv and 10 rows of comparisons.csv recomputed from the ranks of 6 jobs"
    )


def test_figures_are_those_of_plain_loops(finished: tuple[Path, Records]) -> None:
    folder, records = finished
    for record in records:
        ranks = read_arrays(folder / "jobs" / record["key"] / "ranks.npz")
        by_place = dict(figures(record["accuracy"], "record"))
        found = recomputed(record, ranks)
        assert found.keys() == by_place.keys()
        for place, figure in found.items():
            assert figure.value == pytest.approx(by_place[place].value, rel=1e-12), place
            assert figure.n_cases == by_place[place].n_cases == 40


def test_a_publication_has_the_same_figures(finished: tuple[Path, Records], tmp_path: Path) -> None:
    """Its ranks are cut at 100 and its cases are shared."""
    published = publish("trial", finished[0].parent, tmp_path)
    found, whole = verify(published), verify(finished[0])
    assert found.differences == []
    assert (found.figures, found.comparisons) == (whole.figures, whole.comparisons)


def test_what_a_killed_publication_left_is_removed(
    finished: tuple[Path, Records], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was writing, and the lock; not what another suite's is writing."""
    for name in (".tmp-trial~x1", ".tmp-trial-long~x2"):
        (tmp_path / name / "trial" / "jobs").mkdir(parents=True)
    (tmp_path / ".lock-trial").touch()
    monkeypatch.setattr("recbole_hiersrec.publish.PATIENCE", 0.05)
    held = locked(tmp_path / ".lock-trial", 0.0, "is held")
    with (
        held,
        pytest.raises(InputError, match="trial: another publication is at work here; wait for it to end"),
    ):
        publish("trial", finished[0].parent, tmp_path)
    assert not (tmp_path / "trial").exists()
    publish("trial", finished[0].parent, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-trial-long~x2", "trial"]


def test_results_that_are_published() -> None:
    found = verify(RESULTS / "quickstart")
    assert found.differences == []
    rows = (RESULTS / "quickstart" / "accuracy.csv").read_text().splitlines()[1:]
    assert found.figures == len(rows) > 200
    assert found.comparisons == 26
    assert found.not_in_ranks == {}


def test_records_of_before_lack_two_arrays(suite: tuple[Path, dict[str, Any]]) -> None:
    folder, record = suite
    ranks = folder / "jobs" / record["key"] / "ranks.npz"
    kept = {
        name: array
        for name, array in read_arrays(ranks).items()
        if not name.startswith(("majority", "scanned"))
    }
    write_arrays(ranks, kept)
    found = verify(folder)
    assert found.differences == []
    assert found.not_in_ranks == {"MajorityCategory (all items)": 2, "ScannedFraction (exact)": 1}
    names = "MajorityCategory (all items) 2, ScannedFraction (exact) 1"
    assert f"not in the ranks, so compared with the records alone: {names}" in found.summary()
    line = csv_line(folder, f"{START},exact,1,")
    edit(folder / "accuracy.csv", line, line.replace(",0.2", ",0.3"))
    (difference,) = verify(folder).differences
    assert difference.endswith("exact, ScannedFraction: record 0.2177083333 of 40 cases, accuracy.csv "
                               "0.3177083333 of 40 cases")  # fmt: skip


def test_numbers_a_case_of_before(suite: tuple[Path, dict[str, Any]]) -> None:
    """Versions that noted how many items were scored in each case."""
    folder, record = suite
    path = folder / "jobs" / record["key"] / "ranks.npz"
    known, values = read_arrays(path), true_ranks(record)
    write_arrays(path, known | {"scored cells@0.04": np.array(values["scored cells@0.04"])})
    assert verify(folder).differences == []


def tampered_table(folder: Path, record: dict[str, Any]) -> list[str]:
    line = csv_line(folder, f"{START},all items,1,,,all,NDCG,10,")
    value = line.split(",")[-3]
    edit(folder / "accuracy.csv", line, line.replace(value, "0.5"))
    shown = f"{float(value):.10g} of 40 cases"
    return [f"all items, NDCG@10: record {shown}, accuracy.csv 0.5 of 40 cases, recomputed {shown}"]


def tampered_cases(folder: Path, record: dict[str, Any]) -> list[str]:
    line = csv_line(folder, f"{START},candidates,1,cells,0.04,all,ScoredFraction,")
    edit(folder / "accuracy.csv", line, line.replace(",40,ok", ",41,ok"))
    return ["cells@0.04, ScoredFraction: record 0."]


def tampered_status(folder: Path, record: dict[str, Any]) -> list[str]:
    line = csv_line(folder, f"{START},all items,1,,,all,NDCG,10,")
    edit(folder / "accuracy.csv", line, line.replace(",ok", ",time limit"))
    return ["status: record ok, accuracy.csv time limit"]


def lost_line(folder: Path, record: dict[str, Any]) -> list[str]:
    edit(folder / "accuracy.csv", csv_line(folder, f"{START},all items,1,,,history masked,MRR,5,") + "\n", "")
    return ["all items, history masked, MRR@5: record 0.", "accuracy.csv nothing, recomputed 0."]


def line_twice(folder: Path, record: dict[str, Any]) -> list[str]:
    line = csv_line(folder, f"{START},all items,1,,,history masked,MRR,5,")
    edit(folder / "accuracy.csv", line, f"{line}\n{line}")
    return ["accuracy.csv: all items, history masked, MRR@5: is there 2 times"]


def foreign_line(folder: Path, record: dict[str, Any]) -> list[str]:
    line = csv_line(folder, f"{START},all items,1,,,all,NDCG,10,")
    edit(folder / "accuracy.csv", line, line.replace("HierSRec,all items,1", "BERT4Rec,all items,1"))
    return ["BERT4Rec, 1: there is no record of such a job", "accuracy.csv nothing"]


def tampered_record(folder: Path, record: dict[str, Any]) -> list[str]:
    """The tables are made from the record, and so are wrong with it."""
    row = next(r for r in record["accuracy"] if r["metric"] == "CategoryAccuracy")
    row["value"] += 0.025
    write(folder, record)
    rewrite(folder)
    return ["all items, level 1: class.first, CategoryAccuracy@1: record 0."]


def shortened_record(folder: Path, record: dict[str, Any]) -> list[str]:
    """A rule that nobody should hear of: its ranks are still there."""
    record["accuracy"] = [r for r in record["accuracy"] if r["item_fraction"] != 0.1]
    write(folder, record)
    rewrite(folder)
    return [f"cells@0.1, {name}: record nothing, accuracy.csv nothing, recomputed 0."
            for name in ("Recall@5", "NDCG@20", "ScoredFraction", "ScannedFraction")]  # fmt: skip


def tampered_rank(folder: Path, record: dict[str, Any]) -> list[str]:
    path = folder / "jobs" / record["key"] / "ranks.npz"
    arrays = read_arrays(path)
    case = int(np.argmax(arrays["history masked"] > 20))
    arrays["history masked"][case] = 10
    write_arrays(path, arrays)
    places = ("Recall@10", "Recall@20", "MRR@10", "MRR@20", "NDCG@10", "NDCG@20")
    return [f"all items, history masked, {place}: record" for place in places]


def tampered_count(folder: Path, record: dict[str, Any]) -> list[str]:
    path = folder / "jobs" / record["key"] / "ranks.npz"
    arrays = read_arrays(path)
    arrays["compared cells@0.04"][0, 0] += 1
    write_arrays(path, arrays)
    return ["cells@0.04, ScannedFraction: record"]


def tampered_exact(folder: Path, record: dict[str, Any]) -> list[str]:
    path = folder / "jobs" / record["key"] / "ranks.npz"
    arrays = read_arrays(path)
    arrays["scanned exact"][0, 0] += 1
    write_arrays(path, arrays)
    return ["exact, ScannedFraction: record"]


def write(folder: Path, record: dict[str, Any]) -> None:
    (folder / "jobs" / record["key"] / "record.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "tamper",
    [
        tampered_table, tampered_cases, tampered_status, lost_line, line_twice, foreign_line, tampered_record,
        shortened_record, tampered_rank, tampered_count, tampered_exact,
    ],
)  # fmt: skip
def test_what_was_tampered_with_is_named(
    suite: tuple[Path, dict[str, Any]], tamper: Callable[[Path, dict[str, Any]], list[str]]
) -> None:
    folder, record = suite
    expected = tamper(folder, record)
    result = CliRunner().invoke(app, ["results", "verify", str(folder)])
    assert result.exit_code == 1, result.output
    *lines, summary = result.stdout.splitlines()
    assert f"{len(lines)} difference{'s' if len(lines) > 1 else ''}: " in summary
    for text in expected:
        assert any(text in line for line in lines), (text, lines)
    for line in lines:
        named = f"toy HierSRec seed 1 (job {record['key']}): "
        assert line.startswith((named, "accuracy.csv: toy", "comparisons.csv: toy")), line
    few = (shortened_record, tampered_rank, line_twice, foreign_line)
    assert tamper in few or len(lines) == 1, lines


def test_every_changed_figure_of_all_ranks_shows_in_the_comparisons_too(
    suite: tuple[Path, dict[str, Any]],
) -> None:
    """A job whose record, ranks and accuracy agree with each other, while comparisons.csv is the older one."""
    folder, record = suite
    before = (folder / "comparisons.csv").read_bytes()
    ranks = true_ranks(record)
    ranks["all"][ranks["all"].index(max(ranks["all"]))] = 1.0
    put(folder, record, ranks)
    rewrite(folder)
    assert verify(folder).differences == []
    (folder / "comparisons.csv").write_bytes(before)
    found = verify(folder).differences
    assert found
    assert all(line.startswith("comparisons.csv: toy, leave-one-out") for line in found)
    assert any("HierSRec, over sessions, NDCG, 10: mean: found 0." in line for line in found)
    assert any("SequentialPop, difference, HierSRec, NDCG, 10: mean: found" in line for line in found)


@pytest.mark.parametrize(("column", "digit"), [("mean", 7), ("p_value", 5), ("loss", 6), ("n_cases", 0)])
def test_a_changed_cell_of_the_comparisons(
    suite: tuple[Path, dict[str, Any]], column: str, digit: int
) -> None:
    """One unit in the last digit that is compared."""
    folder, _ = suite
    path = folder / "comparisons.csv"
    header = path.read_text().splitlines()[0].split(",")
    line = csv_line(folder, f"{START.replace('HierSRec', 'SequentialPop')},difference", path.name)
    cells = line.split(",")
    place = header.index(column) - len(header)
    cells[place] = f"{float(cells[place]) + 10**-digit:.8f}"
    edit(path, line, ",".join(cells))
    (found,) = verify(folder).differences
    assert (
        f"SequentialPop, difference, HierSRec, NDCG, 10: {column}: found {cells[place]}, recomputed" in found
    )


def test_lines_of_the_comparisons_that_are_lost_twice_or_foreign(suite: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = suite
    path = folder / "comparisons.csv"
    line = csv_line(folder, f"{START},kept,,cells,0.04", path.name)
    edit(path, line, f"{line}\n{line}")
    assert [found.partition(": ")[2] for found in verify(folder).differences] == [
        "toy, leave-one-out, history unmasked, length 50, HierSRec, kept, cells, 0.04, NDCG, 10: is there 2 times, "
        "expected once"
    ]
    edit(path, f"{line}\n{line}", line.replace("cells,0.04", "cells,0.05"))
    lost, foreign = verify(folder).differences
    assert lost.endswith("cells, 0.04, NDCG, 10: is there 0 times, expected once")
    assert foreign.endswith("cells, 0.05, NDCG, 10: does not follow from the ranks")


def test_comparisons_of_before_effect_sizes(suite: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = suite
    path = folder / "comparisons.csv"
    lines = [line.rsplit(",", 8)[0] for line in path.read_text().splitlines()]
    assert lines[0].endswith(",n_seeds")
    path.write_text("\n".join(lines) + "\n")
    found = verify(folder)
    assert found.differences == []
    assert found.summary().endswith("; comparisons.csv is of a version without effect sizes")


def test_a_job_without_a_record(suite: tuple[Path, dict[str, Any]]) -> None:
    folder, record = suite
    shutil.rmtree(folder / "jobs" / record["key"])
    found = verify(folder)
    assert [job.label() for job in found.missing] == ["toy HierSRec seed 1"]
    assert "; without a record: toy HierSRec seed 1" in found.summary()
    assert any("HierSRec, 1: there is no record of such a job" in line for line in found.differences)


@pytest.mark.parametrize(("times", "differ"), [(1 + 1e-12, False), (1 - 1e-12, False), (1 + 1e-8, True)])
def test_rounding_is_no_difference_and_more_is(
    suite: tuple[Path, dict[str, Any]], times: float, differ: bool
) -> None:
    """Sums in another order differ by less than 1e-12; a place more or less in the list, by more than 1e-8."""
    folder, _ = suite
    line = csv_line(folder, f"{START},all items,1,,,all,NDCG,10,")
    value = line.split(",")[-3]
    edit(folder / "accuracy.csv", line, line.replace(value, repr(float(value) * times)))
    assert len(verify(folder).differences) == differ


def remove(name: str) -> Callable[[Path, Path], None]:
    return lambda folder, _: (folder / name).unlink()


def replace(name: str, old: str, new: str) -> Callable[[Path, Path], None]:
    def change(folder: Path, job: Path) -> None:
        path = (folder if name.endswith((".csv", "jobs.json")) else job) / name
        path.write_text(path.read_text().replace(old, new, 1))

    return change


UNREADABLE: list[tuple[Callable[[Path, Path], Any], str]] = [
    (remove("jobs.json"), r"jobs.json is missing"),
    (replace("jobs.json", "[", "{"), r"jobs.json is damaged"),
    (remove("accuracy.csv"), r"accuracy.csv is missing"),
    (remove("comparisons.csv"), r"comparisons.csv is missing"),
    (replace("accuracy.csv", ",40,ok", ",many,ok"), r"accuracy.csv: line 2 is damaged: .*'many'"),
    (replace("accuracy.csv", ",ok", ""), r"accuracy.csv: line 2 is damaged: received another number of cells than 13"),
    (replace("accuracy.csv", ",ok", ",ok,"), r"accuracy.csv: line 2 is damaged: received another number of cells"),
    (replace("comparisons.csv", "\ntoy,", "\n"), r"comparisons.csv: line 2 is damaged: .* cells than 25"),
    (replace("accuracy.csv", "slice", "part"), r"accuracy.csv: columns: received dataset,.*part.*, allowed: .*slice"),
    (replace("comparisons.csv", "p_holm", "p"), r"comparisons.csv: columns: received .* allowed: dataset, protocol"),
    (lambda folder, _: (folder / "accuracy.csv").write_bytes(b"\xff\xfe"), r"accuracy.csv is damaged"),
    (lambda _, job: (job / "ranks.npz").write_bytes(b"PK no zip"), r"ranks.npz is damaged"),
    (lambda _, job: (job / "ranks.npz").unlink(), r"ranks.npz is damaged: .*No such file"),
    (replace("record.json", '"schema": 1', '"schema": 2'), r"record.json: record schema 2, this version reads 1"),
    (replace("record.json", '"value"', '"worth"'), r"section 'accuracy', row 1, value: received nothing, field"),
    (replace("record.json", '"metric"', '"measure"'), r"section 'accuracy', row 1, metric: received nothing, field"),
    (replace("record.json", '"item_fraction"', '"part"'), r"record.json: row 1 of its accuracy is damaged: KeyError"),
    (replace("record.json", "{", "["), r"record.json is truncated or not a record"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), UNREADABLE)
def test_what_cannot_be_read_is_one_line_and_status_2(
    suite: tuple[Path, dict[str, Any]], damage: Callable[[Path, Path], None], message: str
) -> None:
    folder, record = suite
    damage(folder, folder / "jobs" / record["key"])
    with pytest.raises(InputError, match=message) as caught:
        verify(folder)
    assert "\n" not in str(caught.value)
    result = CliRunner().invoke(app, ["results", "verify", str(folder)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_no_folder(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["results", "verify", str(tmp_path / "nothing")])
    assert result.exit_code == 2
    assert "no folder" in result.stderr
