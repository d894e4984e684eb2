"""`hiersrec report FOLDER`: the same files again, from either kind of folder; each wrong input is one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from true_suite import finish
from typer.testing import CliRunner

from recbole_hiersrec.atomic import locked
from recbole_hiersrec.cli import app
from recbole_hiersrec.cli_errors import one_line_errors
from recbole_hiersrec.publish import publish
from recbole_hiersrec.report.page import FILES
from recbole_hiersrec.verify import verify


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trial"
    finish(folder, tmp_path_factory.mktemp("data"))
    return folder


@pytest.fixture
def suite(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "trial"))


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish("trial", finished.parent, tmp_path_factory.mktemp("results"))


def hiersrec(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(*arguments: Any) -> str:
    """The one line of an error."""
    found = hiersrec(*arguments)
    assert found.exit_code == 2, found.output
    assert found.stdout == ""
    (line,) = found.stderr.splitlines()
    return str(line)


def test_a_publication_is_made_again_to_the_byte(published: Path) -> None:
    before = content(published)
    assert {"report.md", "report.html", "accuracy.csv", "figures/accuracy-toy.svg"} <= before.keys()
    for name in ("report.md", "report.html", "accuracy.csv", "timing.csv", "comparisons.csv"):
        (published / name).unlink()
    shutil.rmtree(published / "figures")
    found = hiersrec(published)
    assert (found.exit_code, found.stderr) == (0, "")
    assert f"report: {published / 'report.html'}" in found.stdout.splitlines()
    assert content(published) == before
    assert verify(published).differences == []


def test_a_folder_of_runs_and_its_publication_have_the_same_report(
    finished: Path, published: Path, tmp_path: Path
) -> None:
    assert hiersrec(finished, "--out", tmp_path / "a").exit_code == 0
    written = content(tmp_path / "a")
    assert len(written) == 10
    assert written.items() <= content(published).items()


@pytest.mark.parametrize("name", list(FILES))
def test_a_format_is_its_own_files(suite: Path, tmp_path: Path, name: str) -> None:
    before = content(suite)
    found = hiersrec(suite, "--format", name, "--out", tmp_path / "new" / "out")
    assert found.exit_code == 0, found.output
    written = content(tmp_path / "new" / "out")
    assert {path for path in written if "/" not in path} == set(FILES[name])
    assert any(path.startswith("figures/") for path in written) == (name == "md")
    assert found.stdout.splitlines() == [f"report: {tmp_path / 'new' / 'out' / file}" for file in FILES[name]]
    assert content(suite) == before


def test_what_lies_in_another_folder_stays(suite: Path, tmp_path: Path) -> None:
    mine = tmp_path / "paper" / "figures" / "mine.svg"
    mine.parent.mkdir(parents=True)
    mine.touch()
    (suite / "figures").mkdir()
    (suite / "figures" / "accuracy-toy.png").touch()  # of a version that drew PNG
    assert hiersrec(suite, "--format", "md", "--out", tmp_path / "paper").exit_code == 0
    assert mine.exists()
    assert hiersrec(suite, "--format", " md , csv ").exit_code == 0
    assert {path.suffix for path in (suite / "figures").iterdir()} == {".svg"}


def test_a_model_that_has_not_run_is_named(suite: Path) -> None:
    keys = {job["name"]: job["key"] for job in json.loads((suite / "jobs.json").read_text())}
    shutil.rmtree(suite / "jobs" / keys["SequentialPop"])
    shutil.rmtree(suite / "jobs" / keys["SASRecAllPositions"])
    (suite / "skipped.json").write_text(json.dumps({keys["SASRecAllPositions"]: "needs <users>"}))
    assert hiersrec(suite).exit_code == 0
    page = (suite / "report.html").read_text()
    assert "because they failed or have not run here: toy SequentialPop seed 2026." in page
    assert "<li>toy, SASRecAllPositions: needs &lt;users&gt;</li>" in page


def test_records_of_before_slices_and_comparisons_are_read(suite: Path) -> None:
    for path in (suite / "jobs").glob("*/record.json"):
        record = json.loads(path.read_text())
        for section, name in (("data", "leakage"), ("data", "n_test_sessions"), ("job", "reference")):
            record[section].pop(name, None)
        path.write_text(json.dumps(record))
    assert hiersrec(suite, "--format", "html").exit_code == 0
    assert "earliest test interaction: not recorded" in (suite / "report.html").read_text()


def first_job(folder: Path) -> Path:
    return folder / "jobs" / str(json.loads((folder / "jobs.json").read_text())[0]["key"])


def schema(folder: Path) -> None:
    path = first_job(folder) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))


def value(folder: Path, section: str, number: Any) -> None:
    path = first_job(folder) / "record.json"
    record = json.loads(path.read_text())
    record[section][1]["value"] = number
    path.write_text(json.dumps(record))


def instead(folder: Path, section: str, content: Any) -> None:
    path = first_job(folder) / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {section: content}))


BROKEN: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: shutil.rmtree(folder), "no folder"),
    (lambda folder: [shutil.rmtree(folder), folder.mkdir()], "jobs.json is missing"),
    (lambda folder: shutil.rmtree(folder / "jobs"), "none of its 3 jobs is finished; run hiersrec bench first"),
    (lambda folder: (folder / "jobs.json").write_text("{"), "jobs.json is damaged"),
    (lambda folder: (first_job(folder) / "record.json").write_text('{"sch'), "is truncated or not a record"),
    (schema, "record schema 2, this version reads 1"),
    (lambda folder: value(folder, "accuracy", "high"), "section 'accuracy', row 2, value: received 'high', input"),
    (lambda folder: value(folder, "timing", float("nan")), "section 'timing', row 2, value: received nan, input"),
    (lambda folder: (first_job(folder) / "ranks.npz").write_bytes(b"PK"), "ranks.npz"),
    (lambda folder: (first_job(folder) / "ranks.npz").unlink(), "ranks.npz is missing, so HierSRec seed 2026 cannot"),
    (lambda folder: (first_job(folder) / "record.json").write_text("[" * 100_000), "(nested too deep)"),
    (lambda folder: instead(folder, "machine", {}), "section 'machine', processor: received nothing, field required"),
    (lambda folder: instead(folder, "calibration", {"x": 1}), "section 'calibration': received {'x': 1}, input should"),
    (lambda folder: instead(folder, "training", {}), "section 'training', seconds: received nothing"),
    (lambda folder: instead(folder, "job", []), "section 'job': received [], input should"),
    (lambda folder: (folder / "skipped.json").write_text("[]"), "skipped.json is damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_damaged_folder_is_one_line_and_stays_as_it_is(
    suite: Path, tmp_path: Path, harm: Callable[[Path], Any], message: str
) -> None:
    harm(suite)
    before = content(suite)
    for out in ((), ("--out", tmp_path / "out")):
        line = refused(suite, *out)
        assert line.startswith("hiersrec: error: ")
        assert message in line
        assert content(suite) == before
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--format", "htm"),
            "--format: received 'htm', allowed: md, html, csv, latex; did you mean 'html'?",
        ),
        (("--format", "md,,csv"), "--format: received '', allowed: md, html, csv, latex"),
        (("--metric", "NDCG@10"), "--metric: received without --against; reports have all metrics"),
        (("--against", "x", "--format", "md"), "--format: received with --against but without --out"),
        (("--against", "nowhere"), "no folder nowhere"),
    ],
)
def test_wrong_options_are_one_line(suite: Path, options: tuple[str, ...], message: str) -> None:
    before = content(suite)
    assert message in refused(suite, *options)
    assert content(suite) == before


def test_a_file_in_the_way_is_one_line(suite: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in refused(suite, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["report.html", "accuracy.csv", "figures/accuracy-toy.svg"])
def test_a_folder_in_the_way_of_one_file_keeps_all_others_from_being_written(
    suite: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    assert f"{name}: is no file; a file of this name would be written" in refused(
        suite, "--out", tmp_path / "out"
    )
    assert content(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("scipy.stats", 2, "hiersrec: error: scipy.stats is not installed; `hiersrec doctor` says"),
        ("recbole_hiersrec.nowhere", 70, "hiersrec: ModuleNotFoundError, a defect of hiersrec"),
    ],
)
def test_a_package_that_is_missing_is_one_line(
    capsys: pytest.CaptureFixture[str], name: str, status: int, line: str
) -> None:
    with pytest.raises(typer.Exit) as left, one_line_errors(debug=False):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    assert left.value.exit_code == status
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith(line)
    assert len(told) == 1 or status == 70


def test_a_defect_has_an_exit_status_of_its_own(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not 1, which says of a comparison that accuracy fell."""

    def broken(*_: Any) -> None:
        raise KeyError("unforeseen")

    monkeypatch.setattr("recbole_hiersrec.report.page.compare", broken)
    for arguments in ((suite,), (suite, "--against", suite)):
        monkeypatch.setattr("recbole_hiersrec.report.against.compare_suites", broken)
        found = hiersrec(*arguments)
        assert found.exit_code == 70
        assert "Traceback" in found.stderr
        assert found.stderr.splitlines()[-1].startswith("hiersrec: KeyError, a defect of hiersrec")


def test_it_waits_for_a_bench_that_writes(suite: Path) -> None:
    done = threading.Event()

    def run() -> None:
        assert hiersrec(suite, "--format", "csv").exit_code == 0
        done.set()

    with locked(suite / ".lock", 1, "busy"):
        (suite / "timing.csv").unlink(missing_ok=True)
        waiting = threading.Thread(target=run)
        waiting.start()
        assert not done.wait(1.0)
        assert not (suite / "timing.csv").exists()
    waiting.join(60)
    assert done.is_set()
    assert (suite / "timing.csv").exists()


def test_neither_torch_nor_recbole_nor_for_csv_matplotlib_is_loaded(suite: Path, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom recbole_hiersrec.cli import app\n"
        "for formats in ('csv,latex', 'md,html'):\n"
        "    found = CliRunner().invoke(app, ['report', *sys.argv[1:], '--format', formats])\n"
        "    assert found.exit_code == 0, found.output\n"
        "    print([name for name in ('torch', 'recbole', 'faiss', 'optuna', 'matplotlib') if name in sys.modules])"
    )
    arguments = [str(suite), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["[]", "['matplotlib']"]), done.stderr


def test_templates_are_part_of_the_wheel() -> None:
    """hatchling takes every file of the package, unless git ignores it or a setting leaves it out."""
    root = Path(__file__).resolve().parents[1]
    templates = sorted((root / "recbole_hiersrec" / "report" / "templates").iterdir())
    assert [path.name for path in templates] == [
        "base.html.j2", "blocks.html.j2", "leaderboard.html.j2", "page.css", "page.js", "report.html.j2",
    ]  # fmt: skip
    reason = "hatchling is not installed here: what a wheel holds is not looked at"
    builder = pytest.importorskip("hatchling.builders.wheel", reason=reason).WheelBuilder
    inside = {file.distribution_path for file in builder(str(root)).recurse_included_files()}
    assert {f"recbole_hiersrec/report/templates/{path.name}" for path in templates} <= inside
