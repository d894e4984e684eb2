"""Seconds of training until HierSRec is as good as RecBole's SASRec at its best (validation NDCG@10).

    python benchmarks/training_speed.py ml-100k
    python benchmarks/training_speed.py wikispeedia --suite benchmarks/candidates-sessions.yaml --ceiling 7200

Both are trained by the same trainer, with the same threads, on the same split, one after the other, each in a process
of its own. RecBole's SASRec learns from prefix rows, as RecBole trains it (with autograd's anomaly detection off,
which RecBole leaves on), with this package's settings of it (properties/model/SASRec.yaml). The time is that of
training and validation, with what a model counts when it is made; data loading is left out. Jobs are kept below
--runs: a job that is done is not run again. A SASRec that the ceiling stopped might have become better: then the
ratio is a lower bound, and the JSON file says so. Results go to results/training/.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.benchmark.runner import run_suite
from recbole_hiersrec.benchmark.suite import load_suite
from recbole_hiersrec.reading import parse
from recbole_hiersrec.settings import SuiteSettings

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "training"
RECBOLE, OURS = "RecBole SASRec", "HierSRec"


def suite_of(given: argparse.Namespace, model: str, name: str, settings: dict[str, Any]) -> SuiteSettings:
    """A suite of one model: one that fails leaves the other's record."""
    values = {
        "name": f"training-speed-{given.dataset}",
        "datasets": [{"name": given.dataset, "data_path": str(given.data_path)}],
        "models": [{"model": model, "name": name, "settings": {"valid_metric": "NDCG@10", **settings}}],
        "seeds": [given.seed],
        "protocol": given.protocol,
        "limits": {
            "epochs": 1000,
            "patience": given.patience,
            "steps": 10**9,
            "seconds": given.ceiling,
        },
        "speed": {"repeats": 3, "warmup": 1},
        "threads": given.threads,
    }
    return parse(SuiteSettings, values, "training_speed.py")


def settings_in(suite: SuiteSettings, dataset: str) -> dict[str, Any]:
    """HierSRec's settings in a suite on a data set: the suite's own, the data set's, those of its first HierSRec."""
    entries = [entry for entry in suite.datasets if entry.name == dataset]
    models = [entry for entry in suite.models if entry.model == "HierSRec"]
    if not entries or not models:
        raise SystemExit(
            f"{suite.name}: no {f'data set {dataset!r}' if not entries else 'HierSRec'} in this suite"
        )
    return suite.settings | entries[0].settings | models[0].settings


def train(given: argparse.Namespace, model: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The record of the job: found below ``--runs``, or run now."""
    outcome = run_suite(suite_of(given, model, name, settings), given.runs)
    if outcome.failed:
        raise SystemExit(outcome.failed[0][1])
    return outcome.records[0]


def reached(training: dict[str, Any], value: float) -> float | None:
    """Seconds of training until the first validation that is at ``value`` or above.

    The curve begins with the first epoch. What came before it (a model may count) and after it is in the whole time
    alone, and counts as before.
    """
    curve = training["curve"]
    uncounted = training["seconds"] - curve[-1]["seconds"]
    return next((point["seconds"] + uncounted for point in curve if point["valid"] >= value), None)


def compare(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Seconds of both until SASRec's best, and their ratio; None where HierSRec never got there."""
    best = theirs["training"]["best_valid"]
    first, second = (reached(record["training"], best) for record in (theirs, ours))
    assert first is not None
    return {
        "valid_metric": theirs["training"]["valid_metric"],
        "best_of_sasrec": best,
        "best_of_hiersrec": ours["training"]["best_valid"],
        "sasrec_seconds": first,
        "hiersrec_seconds": second,
        "times_faster": second and round(first / second, 2),
        "sasrec_stopped_by": theirs["training"]["stopped_by"],
        "lower_bound": theirs["training"]["stopped_by"] == "seconds",
    }


def summary(record: dict[str, Any]) -> dict[str, Any]:
    """What the figures rest on, of one record."""
    kept = ("name", "model", "seed", "settings", "protocol", "limits", "threads")
    return {
        "job": {key: record["job"][key] for key in kept},
        "data": record["data"],
        "training": record["training"],
        "machine": record["machine"],
        "versions": record["versions"],
        "code": record["code"],
    }


def main() -> None:
    """Train both, compare their curves, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--data-path", type=Path, default=Path("dataset"))
    parser.add_argument(
        "--batch-size", type=int, default=2048, help="prefix rows of a step of RecBole's SASRec"
    )
    parser.add_argument(
        "--suite",
        default="quickstart",
        help="a suite that has the data set: its protocol, and HierSRec's settings there",
    )
    parser.add_argument("--patience", type=int, default=10, help="epochs without a better validation")
    parser.add_argument("--ceiling", type=float, default=7200.0, help="most seconds of training, of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    suite = load_suite(given.suite)
    settings, given.protocol = (
        settings_in(suite, given.dataset),
        suite.protocol.model_dump(exclude_unset=True),
    )
    theirs = train(given, "SASRec", RECBOLE, {"train_batch_size": given.batch_size})
    ours = train(given, "HierSRec", OURS, settings)
    found = compare(theirs, ours)
    print(json.dumps(found, indent=1))
    given.results.mkdir(parents=True, exist_ok=True)
    content = found | {"commit": environment.commit(), "runs": [summary(theirs), summary(ours)]}
    path = given.results / f"speed-{given.dataset}-{given.batch_size}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
