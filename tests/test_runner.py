"""The runner: no job lost, done twice or half written, whatever happens to the runner or a job."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_suite import FAKE_COMMAND, make_suite, suite_values

from recbole_hiersrec.benchmark import runner as runner_module
from recbole_hiersrec.benchmark.runner import Outcome, describe_exit, load_jobs, load_record, run_suite
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.errors import InputError

NAMES = ["HierSRec", "SASRecAllPositions", "SequentialPop"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Outcome, list[str]]]:
    """Run the suite of fake jobs with a plan {name: what happens}; returns the outcome and the lines said."""
    monkeypatch.setenv("FAKE_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "starts"))

    def run(threads: int = 1, workers: int = 1, **plan: str) -> tuple[Outcome, list[str]]:
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        said: list[str] = []
        suite = make_suite(tmp_path, threads=threads)
        given = {"workers": workers, "command": FAKE_COMMAND, "echo": said.append}
        return run_suite(suite, tmp_path / "runs", **given), said  # type: ignore[arg-type]

    return run


def starts(folder: Path) -> Counter[str]:
    log = folder / "starts"
    return Counter(line.split()[0] for line in log.read_text().splitlines()) if log.exists() else Counter()


def left_over(folder: Path) -> list[str]:
    return [path.name for path in (folder / "runs" / "trial" / "jobs").iterdir() if not path.name.isalnum()]


def test_runs_all_then_nothing(tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]]) -> None:
    outcome, said = bench()
    assert [job.name for job in outcome.ran] == NAMES
    assert said[0] == "[1/3] toy HierSRec seed 2026 ..."
    assert said[1].startswith("[1/3] toy HierSRec seed 2026: done in ")
    assert said[1].endswith(" s, NDCG@10 0.0806")
    again, said = bench()
    assert [job.name for job in again.done] == NAMES
    assert not again.ran
    assert said == [f"[{i}/3] toy {name} seed 2026: already done" for i, name in enumerate(NAMES, start=1)]
    assert again.records == outcome.records
    assert set(starts(tmp_path).values()) == {1}
    assert left_over(tmp_path) == []


def test_failed_job_is_reported_and_tried_again(
    tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]]
) -> None:
    outcome, said = bench(HierSRec="fail")
    assert [job.name for job in outcome.ran] == NAMES[1:]
    (job, error) = outcome.failed[0]
    log = outcome.store.log(job.key)
    assert error == f"ValueError: too few sessions (log: {log})"
    assert "the long story" in log.read_text()
    assert said[1] == "[1/3] toy HierSRec seed 2026: failed: ValueError: too few sessions"
    assert not outcome.store.path(job.key).exists()
    assert sorted(left_over(tmp_path)) == [f"{job.key}.error", log.name]
    outcome, _ = bench()
    assert [job.name for job in outcome.ran] == ["HierSRec"]
    assert [record["job"]["name"] for record in outcome.records] == NAMES
    assert left_over(tmp_path) == []
    assert starts(tmp_path) == {"HierSRec": 2, "SASRecAllPositions": 1, "SequentialPop": 1}


def test_a_model_that_cannot_use_the_data_is_skipped(
    tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]]
) -> None:
    """What only the job finds out is asked again next time, and the rest goes on."""
    outcome, said = bench(HierSRec="skip")
    reason = "needs users seen in training"
    assert [(job.name, why) for job, why in outcome.skipped] == [("HierSRec", reason)]
    assert [job.name for job in outcome.ran] == NAMES[1:]
    assert not outcome.failed
    assert said[1] == f"[1/3] toy HierSRec seed 2026: skipped: {reason}"
    assert left_over(tmp_path) == []
    assert outcome.store.skipped() == {outcome.jobs[0].key: reason}
    outcome, _ = bench()
    assert [job.name for job in outcome.ran] == ["HierSRec"]
    assert outcome.store.skipped() == {}


def test_what_is_known_before_starts_no_job(
    tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]]
) -> None:
    bench()
    suite = make_suite(tmp_path, models=["SASRecF", "SequentialPop"])
    said: list[str] = []
    outcome = run_suite(suite, tmp_path / "runs", command=FAKE_COMMAND, echo=said.append)
    assert said[0].startswith("[1/2] toy SASRecF seed 2026: skipped: needs side information; ")
    assert [job.name for job, _ in outcome.skipped] == ["SASRecF"]
    assert [job.name for job in outcome.done] == ["SequentialPop"]
    assert starts(tmp_path)["SASRecF"] == 0


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("kill", "killed by SIGKILL, perhaps out of memory"),
        ("crash", "ended with exit status 3 and no message"),
        ("no record", r"record\.json is missing"),
    ],
)
def test_job_that_says_nothing(
    tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]], what: str, message: str
) -> None:
    outcome, _ = bench(SequentialPop=what)
    assert len(outcome.failed) == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(outcome.failed[0][1])
    key = outcome.failed[0][0].key
    assert sorted(left_over(tmp_path)) == [f"{key}.error", f"{key}.log"]


def test_exit_descriptions() -> None:
    assert describe_exit(-11) == "killed by SIGSEGV"
    assert describe_exit(-15) == "killed by SIGTERM"


@pytest.mark.parametrize("threads", [1, 3])
def test_environment_of_a_job(bench: Callable[..., tuple[Outcome, list[str]]], threads: int) -> None:
    outcome, _ = bench(threads, HierSRec="fail")
    log = outcome.store.log(outcome.failed[0][0].key).read_text()
    assert log.startswith(f"threads {threads} hash seed 0\n")


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, "2000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "None PASSIVE"),  # a count would overrule it
    ],
)
def test_threads_wait_as_the_user_says_or_not_for_long(
    bench: Callable[..., tuple[Outcome, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    seen: str,
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    outcome, _ = bench(HierSRec="fail")
    log = outcome.store.log(outcome.failed[0][0].key).read_text()
    assert f"\nspins {seen}\n" in log


def test_workers_run_jobs_side_by_side_and_share_the_threads(
    tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]]
) -> None:
    alone, _ = bench(threads=1)
    tables = [record["accuracy"] for record in alone.records]
    shutil.rmtree(tmp_path / "runs")
    # The first two jobs wait for each other: one after the other they would never end.
    outcome, said = bench(
        threads=5, workers=2, HierSRec="meet", SASRecAllPositions="meet", SequentialPop="fail"
    )
    assert [job.name for job in outcome.ran] == NAMES[:2]
    assert [record["job"]["threads"] for record in outcome.records] == [2, 2]
    assert [record["accuracy"] for record in outcome.records] == tables[:2]
    assert [line.split()[-1] for line in said[:2]] == ["...", "..."]
    assert {job.key for job in outcome.jobs} == {
        job.key for job in alone.jobs
    }  # whatever the number of threads
    log = outcome.store.log(outcome.failed[0][0].key).read_text()
    assert log.startswith("threads 2 ")
    assert "a progress bar" in log  # several of them would write over each other
    assert "beside 2\n" in log
    with pytest.raises(InputError, match="workers: received 0, allowed: whole numbers from 1"):
        bench(workers=0)


def test_more_workers_than_threads(bench: Callable[..., tuple[Outcome, list[str]]]) -> None:
    outcome, _ = bench(threads=2, workers=3)
    assert [record["job"]["threads"] for record in outcome.records] == [1, 1, 1]


def test_clock_is_said(bench: Callable[..., tuple[Outcome, list[str]]]) -> None:
    assert bench(HierSRec="clock")[1][1].endswith(", stopped by the clock")


@pytest.mark.parametrize("fault", ["truncated", "version", "ranks"])
def test_a_result_that_cannot_be_read_is_named_and_the_rest_goes_on(
    tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]], fault: str
) -> None:
    """It stays as it is, for whoever wants to look at it, until its folder is deleted."""
    outcome, _ = bench(SequentialPop="fail")
    folder = outcome.store.path(outcome.jobs[1].key)
    path = folder / ("ranks.npz" if fault == "ranks" else "record.json")
    whole = path.read_bytes()
    spoilt = whole.replace(b'"schema": 1', b'"schema": 2') if fault == "version" else whole[: len(whole) // 2]
    path.write_bytes(spoilt)
    again, said = bench()
    assert [job.name for job in again.done] == ["HierSRec"]
    assert [job.name for job in again.ran] == ["SequentialPop"]
    ((job, message),) = again.failed
    expected = {
        "truncated": "truncated",
        "version": "record schema 2, this version reads 1",
        "ranks": "damaged",
    }[fault]
    assert job.name == "SASRecAllPositions"
    assert expected in message
    assert message.endswith(f"delete the folder {folder} to run this job again")
    assert f"[2/3] toy SASRecAllPositions seed 2026: failed: {message}" in said
    assert starts(tmp_path) == {"HierSRec": 1, "SASRecAllPositions": 1, "SequentialPop": 2}
    assert path.read_bytes() == spoilt
    shutil.rmtree(folder)
    assert [job.name for job in bench()[0].ran] == ["SASRecAllPositions"]


def test_names_are_those_the_suite_gives_now(
    tmp_path: Path, bench: Callable[..., tuple[Outcome, list[str]]]
) -> None:
    bench()
    models = ["SequentialPop", {"model": "SASRecAllPositions", "name": "mine"}]
    suite = make_suite(tmp_path, models=models)
    outcome = run_suite(suite, tmp_path / "runs", command=FAKE_COMMAND, echo=lambda _: None)
    assert [record["job"]["name"] for record in outcome.records] == ["SequentialPop", "mine"]
    assert not outcome.ran
    assert [job.name for job in load_jobs(outcome.store.folder)] == ["SequentialPop", "mine"]


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "waited too long"
        time.sleep(0.02)


def alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def runner(tmp_path: Path, bench: object) -> Callable[..., subprocess.Popen[str]]:
    """Start the runner as a process of its own, whose second job sleeps."""
    suite_values(tmp_path)
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); folder = Path(sys.argv[2])\n"
        "from fake_suite import *; from recbole_hiersrec import cli\n"
        "from recbole_hiersrec.benchmark import runner, suite\n"
        "runner.COMMAND = FAKE_COMMAND; suite.load_suite = lambda _: make_suite(folder)\n"
        "sys.argv = ['hiersrec', 'bench', 'x', '--runs', str(folder / 'runs')]; cli.main()"
    )

    def start(what: str = "sleep") -> subprocess.Popen[str]:
        (tmp_path / "plan.json").write_text(json.dumps({"SASRecAllPositions": what}))
        arguments = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)]
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        wait_for(lambda: starts(tmp_path)["SASRecAllPositions"])
        return process

    return start


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_runner_loses_only_the_job_under_way(
    tmp_path: Path,
    bench: Callable[..., tuple[Outcome, list[str]]],
    runner: Callable[..., subprocess.Popen[str]],
    number: int,
) -> None:
    process = runner()
    job_id = int((tmp_path / "starts").read_text().splitlines()[-1].split()[1])
    os.kill(process.pid, number)
    process.wait()  # not communicate(): the job holds the pipe too
    wait_for(lambda: not alive(job_id))  # the job ends with its runner
    store = JobStore(tmp_path / "runs" / "trial")
    done = [store.is_done(job.key) for job in load_jobs(store.folder)]
    assert done == [True, False, False]
    outcome, _ = bench()
    assert [job.name for job in outcome.done] == NAMES[:1]
    assert [job.name for job in outcome.ran] == NAMES[1:]
    assert starts(tmp_path) == {"HierSRec": 1, "SASRecAllPositions": 2, "SequentialPop": 1}
    assert left_over(tmp_path) == []
    assert [load_record(store, job) for job in outcome.jobs] == outcome.records


def test_two_runners_share_the_work(
    tmp_path: Path,
    bench: Callable[..., tuple[Outcome, list[str]]],
    runner: Callable[..., subprocess.Popen[str]],
) -> None:
    process = runner("wait")  # its second job goes on when the file is there
    found: list[tuple[Outcome, list[str]]] = []
    other = threading.Thread(target=lambda: found.append(bench(SASRecAllPositions="wait")))
    other.start()
    wait_for(lambda: starts(tmp_path)["SequentialPop"])  # which the other one takes meanwhile
    (tmp_path / "go").touch()
    other.join(20)
    process.communicate(timeout=60)
    assert process.returncode == 0
    ((outcome, said),) = found
    assert [job.name for job in outcome.ran] == ["SequentialPop"]
    assert [job.name for job in outcome.done] == NAMES[:2]
    assert "[2/3] toy SASRecAllPositions seed 2026: another hiersrec bench works on it" in said
    assert [record["job"]["name"] for record in outcome.records] == NAMES
    assert starts(tmp_path) == dict.fromkeys(NAMES, 1)
    assert left_over(tmp_path) == []


def test_what_fails_for_one_runner_is_not_tried_by_another_beside_it(
    tmp_path: Path,
    bench: Callable[..., tuple[Outcome, list[str]]],
    runner: Callable[..., subprocess.Popen[str]],
) -> None:
    process = runner("wait and fail")
    found: list[tuple[Outcome, list[str]]] = []
    other = threading.Thread(target=lambda: found.append(bench(SASRecAllPositions="wait and fail")))
    other.start()
    wait_for(lambda: starts(tmp_path)["SequentialPop"])
    (tmp_path / "go").touch()
    other.join(20)
    process.communicate(timeout=60)
    assert process.returncode == 1
    ((outcome, _),) = found
    ((job, message),) = outcome.failed
    assert (job.name, message) == (
        "SASRecAllPositions",
        f"ValueError: too few sessions (log: {outcome.store.log(job.key)})",
    )
    assert starts(tmp_path) == dict.fromkeys(NAMES, 1)


def test_a_folder_that_is_full_does_not_end_the_run(
    bench: Callable[..., tuple[Outcome, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = runner_module.write_text

    def full(path: Path, text: str) -> None:
        if path.name == "job.json" and "SASRec" in text:
            raise InputError(f"cannot write {path}: No space left on device")
        written(path, text)

    monkeypatch.setattr(runner_module, "write_text", full)
    outcome, _ = bench()
    assert [job.name for job in outcome.ran] == ["HierSRec", "SequentialPop"]
    assert "No space left on device" in outcome.failed[0][1]


def test_ctrl_c_stops_the_job_and_says_so_in_one_line(
    tmp_path: Path, runner: Callable[..., subprocess.Popen[str]]
) -> None:
    process = runner("deaf")
    job_id = int((tmp_path / "starts").read_text().splitlines()[-1].split()[1])
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == "hiersrec: stopped; finished jobs are kept, the same command goes on from here"
    assert not alive(job_id)
    assert [name for name in left_over(tmp_path) if not name.endswith(".log")] == []


def test_what_other_code_made_is_said(
    bench: Callable[..., tuple[Outcome, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench()
    monkeypatch.setattr(runner_module, "code_hash", lambda: "another")
    _, said = bench()
    assert all(
        line.endswith("already done, by other code (delete its folder to run it again)") for line in said
    )
