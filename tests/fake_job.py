"""A job without torch: the command line of the real one, plausible records, and faults on demand.

Environment: FAKE_PLAN, a JSON file {model name: what happens}, one of ok, fail, skip, crash, kill, clock, no record,
sleep, deaf (sleeps and does not watch its runner), wait and "wait and fail" (for a file "go" beside the log), meet
(until two jobs have started); FAKE_LOG, a file that gets "<name> <process id>" a start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from recbole_hiersrec.arrays import write_arrays
from recbole_hiersrec.benchmark.environment import code_hash
from recbole_hiersrec.benchmark.parent import exit_with_parent

WAYS = {"SequentialPop": "counted", "MarkovChain": "counted", "SASRec": "prefix rows"}
QUALITY = {
    "HierSRec": 0.08,
    "SASRecAllPositions": 0.06,
    "SASRec": 0.05,
    "SequentialPop": 0.01,
    "MarkovChain": 0.04,
}


def make_record(job: dict[str, Any], status: str = "ok", quality: float | None = None) -> dict[str, Any]:
    """A record of schema 1; values follow from the model's name and the seed alone."""
    level = QUALITY.get(job["model"], 0.02) if quality is None else quality
    level += job["seed"] % 10 / 10_000
    accuracy = [_row(m, k, level * k / 10) for m in job["metrics"] for k in job["ks"]]
    variants = ["all items"]
    if job["candidates"]:
        for f in job["candidates"]["item_fractions"]:
            variants.append(f"cells@{f:g}")
            at = {"variant": "candidates", "candidate_rule": "cells", "item_fraction": f}
            kept = min(1.0, 0.8 + 2 * f)
            accuracy += [_row(m, k, kept * level * k / 10) | at for m in job["metrics"] for k in job["ks"]]
            accuracy.append(_row("ScoredFraction", None, f) | at)
            accuracy.append(_row("ScannedFraction", None, f + 0.02) | at)
        accuracy.append(_row("CategoryAccuracy", 1, 0.25) | {"slice": "level 1: class.first"})
    timing = [
        {
            "variant": v,
            "stage": stage,
            "threads": job["threads"],
            "quantity": q,
            "unit": unit,
            "value": value * speed,
        }
        for v, speed in zip(variants, (1.0, *[0.5] * len(variants)), strict=False)
        for stage, q, unit, value in (
            ("encoder", "latency median", "ms", 0.2),
            ("retrieval", "latency median", "ms", 0.1),
            ("top-k", "latency median", "ms", 0.4),
            ("total", "latency median", "ms", 0.8),
            ("total", "latency p95", "ms", 1.2),
            ("total", "throughput", "queries/s", 4000.0),
        )
    ]
    if job["candidates"]:
        index = {"variant": "cells", "stage": "index", "threads": job["threads"]}
        timing.append(index | {"quantity": "build", "unit": "s", "value": 0.75})
    shown = ("dataset", "model", "name", "seed", "protocol", "limits", "settings", "candidates", "speed")
    return {
        "schema": 1,
        "key": job["key"],
        "status": status,
        "suite": job["suite"],
        "job": {field: job[field] for field in (*shown, "metrics", "ks", "threads", "data_hash")},
        "data": {
            "n_items": 30, "n_sessions": 40, "n_train_rows": 40, "n_train_targets": 200, "n_valid": 40,
            "n_test": 40, "n_test_sessions": 40, "universe": "u" * 64, "cases": "c" * 64,
            "shortest_history": 5, "longest_history": 9, "leakage": {"training": 200, "after": 50},
            "levels": [{"name": "class.first", "categories": 3}],
        },
        "training": {
            "seconds": 71.25, "epochs": 3, "best_epoch": 2, "steps": 30,
            "stopped_by": "patience" if status == "ok" else "seconds",
            "valid_metric": "NDCG@10", "best_valid": level + 0.01, "parameters": 1234,
            "way": WAYS.get(job["model"], "every position"),
            "curve": [
                {"epoch": e, "seconds": 20.0 * e, "loss": 3.0 / e, "valid": level * e / 3} for e in (1, 2, 3)
            ],
        },
        "accuracy": accuracy,
        "timing": timing,
        "machine": {"processor": "abacus", "cores": 2, "memory_gib": 4.0, "system": "Linux"},
        "versions": {"python": "3.11", "torch": "2.13.0", "recbole": "1.2.1"},
        "commit": "0123abc",
        "code": code_hash(),
        "started": "2026-01-01T00:00:00+00:00",
        "peak_memory_mib": 100.0,
        "warnings": [],
    }  # fmt: skip


def write_result(folder: Path, record: dict[str, Any]) -> None:
    """What a job leaves in its folder."""
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("weights")
    write_ranks(folder, record)
    (folder / "record.json").write_text(json.dumps(record))


def write_ranks(folder: Path, record: dict[str, Any]) -> None:
    """Ranks of 40 cases, two a session: the better the model, the more of them are 1; candidates lose every tenth."""
    quality = next(row["value"] for row in record["accuracy"] if row["metric"] == "NDCG")
    ranks = np.where(np.arange(40) < 400 * quality, 1.0, 99.0)
    arrays = {"session": np.arange(40) // 2, "all": ranks}
    for row in record["accuracy"]:
        if row["candidate_rule"]:
            lost = np.where(np.arange(40) % 10 == 0, np.inf, ranks)
            arrays[f"{row['candidate_rule']}@{row['item_fraction']:g}"] = lost
    write_arrays(folder / "ranks.npz", arrays)


def _row(metric: str, k: int | None, value: float) -> dict[str, Any]:
    where = {"variant": "all items", "candidate_rule": "", "item_fraction": None, "slice": "all"}
    return where | {"metric": metric, "k": k, "value": value, "n_cases": 40}


def _main(job_path: Path, folder: Path) -> int:
    job = json.loads(job_path.read_text())
    plan = json.loads(Path(os.environ["FAKE_PLAN"]).read_text()) if "FAKE_PLAN" in os.environ else {}
    print("threads", os.environ["OMP_NUM_THREADS"], "hash seed", os.environ["PYTHONHASHSEED"])
    print("spins", os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_WAIT_POLICY"))
    print("beside", os.environ["HIERSREC_WORKERS"], flush=True)
    if "FAKE_LOG" in os.environ:
        with Path(os.environ["FAKE_LOG"]).open("a") as log:
            log.write(f"{job['name']} {os.getpid()}\n")
    todo = plan.get(job["name"], "ok")
    if todo.startswith("wait"):
        while not Path(os.environ["FAKE_LOG"]).with_name("go").exists():
            time.sleep(0.02)
    if todo == "meet":
        give_up = time.monotonic() + 20
        while len(Path(os.environ["FAKE_LOG"]).read_text().splitlines()) < 2:
            assert time.monotonic() < give_up
            time.sleep(0.02)
    if todo.endswith("fail"):
        print("Traceback: the long story", flush=True)
        print("a progress bar", file=sys.stderr)
        (folder / "record.json").write_text('{"schema": 1, "half')
        (folder / "error.txt").write_text("ValueError: too few sessions\n")
        return 1
    if todo == "skip":
        print("the long story")
        (folder / "skipped.txt").write_text("needs users seen in training\n")
        return 1
    if todo == "crash":
        return 3
    if todo == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if todo != "deaf":
        exit_with_parent()
    if todo in ("sleep", "deaf"):
        time.sleep(60)
    if todo != "no record":
        write_result(folder, make_record(job, "time limit" if todo == "clock" else "ok"))
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2])))
