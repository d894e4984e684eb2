"""The command line: exit statuses, one clear line for each wrong input, and nothing half written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_suite import FAKE_COMMAND, suite_values, write_data
from typer.testing import CliRunner

from recbole_hiersrec import __version__
from recbole_hiersrec import publish as publish_module
from recbole_hiersrec.benchmark import runner as runner_module
from recbole_hiersrec.cli import app
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.records import read_text


@pytest.fixture
def hiersrec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command in an empty folder, with fake jobs; ``plan`` says what happens to them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner_module, "COMMAND", FAKE_COMMAND)
    monkeypatch.setenv("FAKE_PLAN", str(tmp_path / "plan.json"))

    def run(*arguments: str, **plan: str) -> Any:
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        return CliRunner().invoke(app, list(arguments))

    return run


def write_suite(folder: Path, **changes: Any) -> str:
    path = folder / "trial.yaml"
    path.write_text(yaml.safe_dump(suite_values(folder, **changes)))
    return str(path)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_bench_twice(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    suite = write_suite(tmp_path)
    first = hiersrec("bench", suite)
    assert first.exit_code == 0, first.output
    board = first.stdout[first.stdout.index("toy: leave-one-out") :]
    order = [board.index(name) for name in ("HierSRec", "SASRecAllPositions", "SequentialPop")]
    assert order == sorted(order)
    for text in ("NDCG@10", "88.0 %", "One seed (2026) and 40 test cases", "report: runs/trial/report.md"):
        assert text in board, text
    before = content(tmp_path / "runs")
    second = hiersrec("bench", suite)
    assert second.exit_code == 0
    assert second.stdout.count("already done") == 3
    assert content(tmp_path / "runs") == before


def test_failed_job_exits_1_with_its_error_at_the_end(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    suite = write_suite(tmp_path)
    result = hiersrec("bench", suite, HierSRec="fail")
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "hiersrec: failed: toy HierSRec seed 2026: ValueError: too few sessions (log: "
    )
    assert "1  SASRecAllPositions" in result.stdout
    assert "Not in the tables" in (tmp_path / "runs" / "trial" / "report.md").read_text()
    assert hiersrec("bench", suite).exit_code == 0
    assert "Not in the tables" not in (tmp_path / "runs" / "trial" / "report.md").read_text()


def break_file(content: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "bad.yaml").write_text(content)
        return ["bench", str(folder / "bad.yaml")]

    return make


def change(**changes: Any) -> Callable[[Path], list[str]]:
    return lambda folder: ["bench", write_suite(folder, **changes)]


def empty_data(folder: Path) -> list[str]:
    file = write_data(folder) / "toy" / "toy.inter"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    return ["bench", write_suite(folder)]


def below_a_file(folder: Path) -> list[str]:
    (folder / "file").write_text("")
    return ["bench", write_suite(folder), "--runs", str(folder / "file" / "x")]


def test_skipped_models_are_named_and_published(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    suite = write_suite(tmp_path, seeds=[1, 2], models=["HierSRec", "SASRecF", "SequentialPop"])
    result = hiersrec("bench", suite, SequentialPop="skip")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(": skipped: needs side information; ") == 2
    assert not result.stderr
    page = (tmp_path / "runs/trial/report.md").read_text()
    section = page.split("\n## Skipped\n")[1].split("\n## ")[0]
    assert [line.split("; ")[0] for line in section.splitlines() if line.startswith("- ")] == [
        "- toy, SASRecF: needs side information",
        "- toy, SequentialPop: needs users seen in training",
    ]
    assert "Not in the tables" not in page
    published = hiersrec("results", "publish", "trial")
    assert published.exit_code == 0, published.output
    assert (tmp_path / "results/trial/report.md").read_text() == page
    assert len(json.loads((tmp_path / "results/trial/skipped.json").read_text())) == 4
    hiersrec("bench", suite)
    hiersrec("results", "publish", "trial")
    assert len(json.loads((tmp_path / "results/trial/skipped.json").read_text())) == 2


def test_a_job_that_is_done_is_published_whatever_an_older_note_says(
    tmp_path: Path, hiersrec: Callable[..., Any]
) -> None:
    hiersrec("bench", write_suite(tmp_path))
    jobs = json.loads((tmp_path / "runs/trial/jobs.json").read_text())
    (tmp_path / "runs/trial/skipped.json").write_text(json.dumps({jobs[0]["key"]: "of another time"}))
    hiersrec("results", "publish", "trial")
    assert (tmp_path / "results/trial/jobs" / jobs[0]["key"] / "record.json").exists()
    assert "of another time" not in (tmp_path / "results/trial/report.md").read_text()


def test_nothing_skipped_leaves_nothing_in_a_publication(
    tmp_path: Path, hiersrec: Callable[..., Any]
) -> None:
    hiersrec("bench", write_suite(tmp_path))
    hiersrec("results", "publish", "trial")
    assert not (tmp_path / "results/trial/skipped.json").exists()
    assert "## Skipped" not in (tmp_path / "results/trial/report.md").read_text()


def test_a_suite_of_skipped_models_alone(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    result = hiersrec("bench", write_suite(tmp_path, models=["SASRecF"]))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "runs/trial/report.md").read_text()
    assert page.startswith("# Benchmark trial\n\nNo job has finished.\n\n## Skipped\n")
    assert hiersrec("results", "publish", "trial").exit_code == 0
    assert (tmp_path / "results/trial/report.md").read_text() == page


BAD_INPUT: list[tuple[str, Callable[[Path], list[str]], tuple[str, ...]]] = [
    ("unknown model", change(models=["SASRek"]), ("SASRek", "did you mean 'SASRec'?")),
    ("unknown class", change(models=["no_such_package.module:Model"]), ("no_such_package",)),
    ("unknown data set", change(datasets=["absent"]), ("absent", "ml-100k")),
    ("unknown suite key", change(limit={}), ("trial.yaml", "unknown key 'limit'; did you mean 'limits'?")),
    ("unknown metric", change(metrics=["HitRate"]), ("metrics.0", "'HitRate'", "'Recall', 'MRR' or 'NDCG'")),
    ("suite missing", lambda _: ["bench", "absent.yaml"], ("no suite 'absent.yaml'", "quickstart")),
    ("suite misspelt", lambda _: ["bench", "quickstrat"], ("did you mean 'quickstart'?",)),
    ("not YAML", break_file("name: [a\nb: {"), ("bad.yaml, line ", "not YAML")),
    ("not a mapping", break_file("hello"), ("bad.yaml", "received 'hello'")),
    ("empty suite", break_file(""), ("bad.yaml", "received None")),
    ("binary suite", break_file("\x00\x01"), ("bad.yaml", "not YAML")),
    ("empty data set", empty_data, ("toy", "empty")),
    (
        "unknown category field",
        change(models=[{"model": "HierSRec", "settings": {"category_fields": ["department"]}}]),
        ("category_fields", "'department'", "columns: item_id, title, class"),
    ),
    (
        "fraction 0",
        change(candidates={"item_fractions": [0]}),
        ("item_fractions.0", "greater than 0", "received 0"),
    ),
    ("fraction over 1", change(candidates={"item_fractions": [4]}), ("item_fractions.0", "received 4")),
    ("k too large", change(ks=[5, 100]), ("ks: received 100", "30 items")),
    ("folder not writable", below_a_file, ("file/x", "cannot be written: Not a directory")),
    (
        "publish what never ran",
        lambda _: ["results", "publish", "absent"],
        ("no folder runs/absent", "hiersrec bench"),
    ),
]


@pytest.mark.parametrize(
    ("make", "expected"), [case[1:] for case in BAD_INPUT], ids=[case[0] for case in BAD_INPUT]
)
def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path,
    hiersrec: Callable[..., Any],
    make: Callable[[Path], list[str]],
    expected: tuple[str, ...],
) -> None:
    arguments = make(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    before = content(tmp_path)
    result = hiersrec(*arguments)
    check_one_line(result, *expected)
    assert content(tmp_path) == before


def check_one_line(result: Any, *expected: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("hiersrec: error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    for text in expected:
        assert text in result.stderr
    assert result.stdout == ""


def test_truncated_record(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    suite = write_suite(tmp_path)
    hiersrec("bench", suite)
    record = next((tmp_path / "runs").rglob("record.json"))
    record.write_text(record.read_text()[:-50])
    left = record.read_text()
    expected = (str(record.relative_to(tmp_path)), "truncated", "delete the folder", "to run this job again")
    result = hiersrec("bench", suite)  # the other jobs go on
    assert result.exit_code == 1
    assert result.stderr.startswith("hiersrec: failed: toy ")
    assert result.stderr.count("\n") == 1
    assert all(text in result.stderr for text in expected)
    assert result.stdout.count("already done") == 2
    assert record.read_text() == left
    before = content(tmp_path)
    check_one_line(hiersrec("results", "publish", "trial"), *expected)
    assert content(tmp_path) == before


def test_records_that_cannot_be_compared(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    suite = write_suite(tmp_path)
    hiersrec("bench", suite)
    path = next((tmp_path / "runs").rglob("record.json"))
    record = json.loads(path.read_text())
    record["data"]["cases"] = "d" * 64
    path.write_text(json.dumps(record))
    before = content(tmp_path)
    result = hiersrec("bench", suite)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "their test cases differ (data.cases" in result.stderr
    assert content(tmp_path) == before


def test_debug_shows_the_traceback(hiersrec: Callable[..., Any]) -> None:
    result = hiersrec("bench", "absent.yaml", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "InputError: no suite 'absent.yaml'" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("hiersrec: error: no suite 'absent.yaml'")


def test_publish_copies_all_but_the_models(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    hiersrec("bench", write_suite(tmp_path))
    assert hiersrec("results", "publish", "trial").stdout == "published: results/trial\n"
    ran, published = content(tmp_path / "runs" / "trial"), content(tmp_path / "results" / "trial")
    left_out = {name for name in ran if "/model/" in name or name.endswith("job.json")} | {".lock"}
    assert len(left_out) == 3 * 2 + 1
    made = {name for name in published if name.endswith(".npz")}
    assert len(made) == 3 + 1  # the ranks of each job, and the cases of all three
    assert {name for name in made if name in ran} == {name for name in ran if name.endswith(".npz")}
    records = {name for name in published if name.endswith("record.json")}
    assert {name: read_text(published[name].decode()) for name in records} == {
        name: read_text(ran[name].decode()) for name in ran if name.endswith("record.json")
    }
    assert {name: published[name] for name in set(published) - made - records} == {
        name: ran[name] for name in set(ran) - left_out - made - records
    }
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["trial"]


def test_publish_refuses_while_jobs_are_missing(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    hiersrec("bench", write_suite(tmp_path), HierSRec="fail")
    result = hiersrec("results", "publish", "trial")
    check_one_line(result, "1 of 3 jobs are not done (toy HierSRec seed 2026)")
    assert not (tmp_path / "results").exists()


def test_a_suite_in_several_sittings(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    """Publish what is done; go on in an empty folder, where that is not run again; join both: as one whole run."""
    suite = write_suite(tmp_path, seeds=[1, 2])
    hiersrec("bench", suite, "--runs", "whole")
    hiersrec("results", "publish", "trial", "--runs", "whole", "--results", "expected")
    hiersrec("bench", suite, HierSRec="fail")
    check_one_line(hiersrec("results", "publish", "trial"), "2 of 6 jobs are not done")
    published = hiersrec("results", "publish", "trial", "--unfinished")
    assert published.exit_code == 0, published.output
    page = (tmp_path / "results" / "trial" / "report.md").read_text()
    assert (
        "**Not in the tables**, because they failed or have not run here: toy HierSRec seeds 1 and 2." in page
    )

    planned = hiersrec("bench", suite, "--runs", "later", "--elsewhere", "results/trial", "--dry-run")
    assert planned.stdout.count(": done in results/trial\n") == 4
    assert "6 jobs, 4 of them done; 2 to do" in planned.stdout
    later = hiersrec("bench", suite, "--runs", "later", "--elsewhere", "results/trial")
    assert later.exit_code == 0, later.output
    assert re.search(r"\[2/6\] toy HierSRec seed 2: done in \d+ s", later.stdout)
    assert later.stdout.count(": done in results/trial\n") == 4
    assert later.stdout.endswith(
        "not in it: 4 jobs that are done elsewhere; they are joined by\n"
        "  hiersrec results merge results/trial later/trial --out FOLDER\n"
    )
    before = content(tmp_path / "results")
    refused = hiersrec("results", "publish", "trial", "--runs", "later", "--unfinished")
    check_one_line(
        refused, "results/trial: has 4 jobs that later/trial has not", "would lose them", "results merge"
    )
    assert content(tmp_path / "results") == before

    merged = hiersrec("results", "merge", "results/trial", "later/trial", "--out", "results/trial")
    assert merged.exit_code == 0, merged.output
    assert content(tmp_path / "results" / "trial") == content(tmp_path / "expected" / "trial")


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("nothing", "nothing/jobs.json is missing"),
        (".", "jobs.json is missing"),
        ("bad", "jobs.json is damaged"),
    ],
)
def test_elsewhere_is_a_suite(tmp_path: Path, hiersrec: Callable[..., Any], folder: str, reason: str) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "jobs.json").write_text("[")
    suite = write_suite(tmp_path)
    for more in ([], ["--dry-run"]):
        check_one_line(hiersrec("bench", suite, "--elsewhere", folder, *more), reason)
    assert not (tmp_path / "runs").exists()


def test_publish_that_dies_keeps_the_older_publication(
    tmp_path: Path, hiersrec: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    hiersrec("bench", write_suite(tmp_path))
    hiersrec("results", "publish", "trial")
    before = content(tmp_path / "results")
    hiersrec("bench", write_suite(tmp_path, models=["MarkovChain"]))
    with monkeypatch.context() as patch:

        def full(*_: Any) -> None:
            raise InputError("disk full")

        patch.setattr(publish_module, "write_report", full)
        check_one_line(hiersrec("results", "publish", "trial"), "disk full")
    assert content(tmp_path / "results") == before
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["trial"]
    assert hiersrec("results", "publish", "trial").exit_code == 0
    assert len(list((tmp_path / "results" / "trial" / "jobs").iterdir())) == 1


def test_two_machines_are_merged_into_one_run(tmp_path: Path, hiersrec: Callable[..., Any]) -> None:
    """Tables, page and figures are those of one whole run; bench finds everything done, and it can be published."""
    for name, seeds in (("whole", [1, 2]), ("one", [1]), ("two", [2])):
        hiersrec("bench", write_suite(tmp_path, seeds=seeds), "--runs", name)
    merged = hiersrec("results", "merge", "one/trial", "two/trial", "--out", "both/trial")
    assert merged.exit_code == 0, merged.output
    assert merged.stdout.startswith("merged: both/trial: 6 jobs: 3 of one/trial, 3 of two/trial\n")
    whole, both = content(tmp_path / "whole" / "trial"), content(tmp_path / "both" / "trial")
    assert set(whole) - set(both) == {".lock"}
    assert [name for name in both if both[name] != whole[name]] == [
        "jobs.json"
    ]  # in the order of the folders
    assert any(name.startswith("figures/") for name in both)
    again = hiersrec("bench", write_suite(tmp_path, seeds=[1, 2]), "--runs", "both")
    assert again.stdout.count("already done") == 6
    assert hiersrec("results", "publish", "trial", "--runs", "both").exit_code == 0


def test_usage_errors_and_version(hiersrec: Callable[..., Any]) -> None:
    assert hiersrec("bench", "--no-such-option").exit_code == 2
    assert hiersrec("nothing").exit_code == 2
    assert hiersrec("--version").stdout == f"hiersrec {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from recbole_hiersrec.cli import app\n"
        "try: app(['bench', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'recbole', 'numpy', 'pandas', 'matplotlib', 'seaborn', 'yaml')\n"
        "sys.exit(str([name for name in heavy if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "--runs" in done.stdout
    assert done.stderr.strip() == "[]"
