"""A dry run: what is done, what is not, and what the rest takes. Nothing is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atomic_files import write_shop
from fake_job import write_result
from fake_suite import make_records, make_suite

from recbole_hiersrec.benchmark import plan as plan_module
from recbole_hiersrec.benchmark.plan import Cost, duration, plan
from recbole_hiersrec.benchmark.runner import environment_of
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.benchmark.suite import Job, expand
from recbole_hiersrec.errors import InputError

SCRIPT = """
import json, sys
from pathlib import Path
job, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
with Path(sys.argv[3]).open("a") as log: log.write(f"{job['name']} {job['seed']} {job['threads']}\\n")
found = {"measured": 0.0, "pretraining": 0.0, "steps": 10, "epoch": 20.0, "test": 600.0, "peak_mib": 512.0}
if job["model"] == "SequentialPop": found |= {"steps": 0, "epoch": 0.0, "peak_mib": 2048.0}
if job["model"] == "SKNN": (folder / "skipped.txt").write_text("needs more"); sys.exit(1)
if job["model"] == "MarkovChain": (folder / "error.txt").write_text("ValueError: too few sessions"); sys.exit(1)
(folder / "probe.json").write_text(json.dumps(found))
"""
LIMITS = {"epochs": 100, "patience": 5, "steps": 100_000, "seconds": 3600.0}

Planned = tuple[bool, list[str], list[str]]


@pytest.fixture
def planned(tmp_path: Path) -> Callable[..., Planned]:
    """Plan a suite of two seeds with a fake probe: (sound, lines said, probes that ran)."""

    def run(workers: int = 1, **changes: Any) -> Planned:
        said: list[str] = []
        log = tmp_path / "probes"
        log.write_text("")
        # The probe's own arguments come last, so the log is handed in before them by a shell.
        command = ["sh", "-c", f'exec {sys.executable} -c "$SCRIPT" "$1" "$2" {log}', "probe"]
        suite = make_suite(tmp_path, **({"seeds": [1, 2], "threads": 2, "limits": LIMITS} | changes))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SCRIPT", SCRIPT)
            patch.setattr(plan_module, "_memory_gib", lambda: 24.0)
            sound = plan(suite, tmp_path / "runs", workers=workers, command=command, echo=said.append)
        return sound, said, log.read_text().splitlines()

    return run


def test_every_model_is_measured_once_and_nothing_is_written(
    tmp_path: Path, planned: Callable[..., Planned]
) -> None:
    sound, said, probes = planned()
    assert sound
    assert said == [
        "[1/6] toy HierSRec seed 1: to do, 20 s an epoch, up to 43 min, 0.5 GiB",
        "[2/6] toy HierSRec seed 2: to do, 20 s an epoch, up to 43 min, 0.5 GiB",
        "[3/6] toy SASRecAllPositions seed 1: to do, 20 s an epoch, up to 43 min, 0.5 GiB",
        "[4/6] toy SASRecAllPositions seed 2: to do, 20 s an epoch, up to 43 min, 0.5 GiB",
        "[5/6] toy SequentialPop seed 1: to do, up to 10 min, 2.0 GiB",
        "[6/6] toy SequentialPop seed 2: to do, up to 10 min, 2.0 GiB",
        "6 jobs, 0 of them done; 6 to do: up to 3.2 h with 1 at a time, 2.0 GiB of memory (24.0 are there)",
    ]
    assert probes == ["HierSRec 1 2", "SASRecAllPositions 1 2", "SequentialPop 1 2"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"epochs": 10}, "up to 13 min"),  # 10 * 20 + 600 seconds
        ({"steps": 55}, "up to 12 min"),  # of 10 an epoch
        ({"seconds": 60.0}, "up to 11 min"),
    ],
)
def test_limits_bound_the_time(planned: Callable[..., Planned], limits: dict[str, Any], text: str) -> None:
    assert text in planned(limits=LIMITS | limits)[1][0]


def test_workers_share_threads_and_time(planned: Callable[..., Planned]) -> None:
    _, said, probes = planned(workers=2)
    assert probes[0] == "HierSRec 1 1"
    assert said[-1].endswith("up to 1.6 h with 2 at a time, 4.0 GiB of memory (24.0 are there)")
    with pytest.raises(InputError, match="workers: received 0"):
        planned(workers=0)


def test_a_job_is_no_faster_with_more_workers() -> None:
    costs = [Cost(3600.0, False, 0.0, 1024.0), Cost(60.0, False, 0.0, 2048.0)]
    assert plan_module._total(costs[:1], 4).startswith("; 1 to do: about 60 min with 4 at a time, 1.0 GiB")
    assert plan_module._total(costs, 2).startswith("; 2 to do: about 60 min with 2 at a time, 3.0 GiB")
    three = [costs[0], costs[1], costs[1]]
    assert plan_module._total(three, 2).startswith("; 3 to do: about 60 min with 2 at a time, 4.0 GiB")


def test_done_jobs_tell_what_the_others_take(tmp_path: Path, planned: Callable[..., Planned]) -> None:
    jobs, records = make_records(tmp_path, seeds=[1, 2], threads=2, limits=LIMITS)
    store = JobStore(tmp_path / "runs" / "trial")
    with store.open():
        pass
    lock = store.begin(jobs[0].key)
    assert lock is not None
    write_result(store.work(jobs[0].key), records[0] | {"seconds": 90.0})
    store.commit(jobs[0].key, lock)
    held = store.begin(jobs[1].key)
    assert held is not None
    _, said, probes = planned(
        models=[{"model": "HierSRec", "candidates": True, "settings": {"category_fields": ["class"]}}]
    )
    assert said == [
        "[1/2] toy HierSRec seed 1: already done",
        "[2/2] toy HierSRec seed 2: under way, 24 s an epoch, about 2 min, 0.1 GiB",
        "2 jobs, 1 of them done; 1 to do: about 2 min with 1 at a time, 0.1 GiB of memory (24.0 are there)",
    ]
    assert not probes
    store.abandon(jobs[1].key, held)
    assert [path.name for path in store.jobs.iterdir()] == [jobs[0].key]


def test_a_result_that_cannot_be_read_is_named(tmp_path: Path, planned: Callable[..., Planned]) -> None:
    suite = {"models": ["SequentialPop"], "seeds": [1, 2]}
    job = expand(make_suite(tmp_path, threads=2, limits=LIMITS, **suite))[0]
    folder = JobStore(tmp_path / "runs" / "trial").path(job.key)
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"schema": 2}')
    sound, said, _ = planned(**suite)
    assert not sound
    assert said[0].startswith("[1/2] toy SequentialPop seed 1: cannot run: ")
    assert said[0].endswith(
        f"record schema 2, this version reads 1; delete the folder {folder} to run this job again"
    )
    assert said[1].startswith("[2/2] toy SequentialPop seed 2: to do")
    assert said[2].startswith("2 jobs, 0 of them done; 1 to do")


def test_what_cannot_run_or_is_skipped_is_said(planned: Callable[..., Planned]) -> None:
    sound, said, _ = planned(models=["MarkovChain", "SASRecF", "SequentialPop"], seeds=[1])
    assert not sound
    assert said[0] == "[1/3] toy MarkovChain seed 1: to do, cannot be measured: ValueError: too few sessions"
    assert said[1].startswith("[2/3] toy SASRecF seed 1: skipped: needs side information")
    assert said[2].startswith("[3/3] toy SequentialPop seed 1: to do, up to")


def test_what_only_the_job_finds_out_is_a_skip_too(planned: Callable[..., Planned]) -> None:
    sound, said, _ = planned(models=["SKNN"], seeds=[1])
    assert sound
    assert said == ["[1/1] toy SKNN seed 1: skipped: needs more", "1 jobs, 0 of them done"]


def test_lengths_of_time() -> None:
    assert [duration(s) for s in (0.24, 9.94, 10, 89.4, 90, 5399, 5400, 86400)] == [
        "0.2 s", "9.9 s", "10 s", "89 s", "2 min", "90 min", "1.5 h", "24.0 h",
    ]  # fmt: skip


@pytest.mark.parametrize("model", ["HierSRec", "SASRec", "MarkovChain", "S3Rec"])
def test_a_real_probe(tmp_path: Path, model: str) -> None:
    from recbole_hiersrec import register

    register()
    from recbole_hiersrec.benchmark.probe import measure

    shop = write_shop(tmp_path / "data")
    settings: dict[str, Any] = {
        "hidden_size": 8,
        "inner_size": 8,
        "n_layers": 1,
        "n_heads": 1,
        "train_batch_size": 2,
    }
    if model == "MarkovChain":
        settings = {}
    if model == "S3Rec":
        settings |= {"pretrain_epochs": 3, "item_attribute": "department"}
    suite = make_suite(
        tmp_path,
        datasets=[{"name": "shop", "data_path": str(shop)}],
        models=[{"model": model, "settings": settings}],
        ks=[3],
        speed={"k": 3},
        limits=LIMITS,
    )
    (job,) = expand(suite)
    found = measure(job, tmp_path)
    assert 0 < found["test"] < 60
    assert 0 < found["measured"] < 60
    assert found["peak_mib"] > 50
    if model == "MarkovChain":
        assert (found["steps"], found["epoch"]) == (0, 0)
    else:
        assert found["steps"] > 5
        assert 0 < found["epoch"] < 60
    assert (found["pretraining"] > 0) == (model == "S3Rec")


def test_a_probe_does_not_wait_for_a_runner(tmp_path: Path) -> None:
    """It is nobody's job: the pipe by which jobs watch their runner is not there."""
    (job, *_) = expand(make_suite(tmp_path))
    assert isinstance(job, Job)
    assert "HIERSREC_RUNNER" not in environment_of(job, 1)
    json.dumps(environment_of(job, 1))
