"""What HierSRec's training costs against the size of the catalogue, with the sampled softmax, on generated logs.

    python benchmarks/training_scale.py steps                    # milliseconds a step: 10k, 100k, 1M items; a figure
    python benchmarks/training_scale.py epoch                    # one epoch of 1M sessions over 1M items

Every figure comes from a process of its own, with its peak memory; a step is measured from one call of the model's
loss to the next: batch, loss, gradients, optimiser. All items of the catalogue are in the item universe. Results go
to results/training/ as JSON, with the machine, the versions and the threads beside every figure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_hiersrec import register
from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.benchmark.prepare import prepare
from recbole_hiersrec.benchmark.suite import expand
from recbole_hiersrec.evaluation.speed import now
from recbole_hiersrec.names import load_model_class
from recbole_hiersrec.reading import parse
from recbole_hiersrec.settings import SuiteSettings
from recbole_hiersrec.training import HierSRecTrainer

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "training"
ITEMS = (10_000, 100_000, 1_000_000)
WARM_UP = 10


def write_log(folder: Path, items: int, clicks: int) -> None:
    """Generate a log and prepare it below ``folder``, with all items of its catalogue."""
    command = [sys.executable, "-m", "recbole_hiersrec", "data"]
    raw = folder / "raw"
    subprocess.run(
        [*command, "generate", str(raw), "--clicks", str(clicks), "--items", str(items)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    columns = [part for name in ("session", "item", "time") for part in ("--map", f"{name}={name}")]
    files = ["--events", str(raw / "events.parquet"), "--items", str(raw / "items.csv")]
    options = ["--levels", "level_1,level_2", "--catalogue", "all", "--item-core", "1"]
    subprocess.run(
        [*command, "prepare", "generated", *files, *columns, *options, "--data-path", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def train(folder: Path, steps: int, threads: int, rows: int) -> dict[str, Any]:
    """Train on the log below ``folder``, one epoch at most, without validation; in this process."""
    register()
    torch.set_num_threads(threads)
    job = expand(_suite(folder, steps, threads, rows))[0]
    model_class = load_model_class(job.model)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as checkpoints:
        data = prepare(job, model_class, Path(checkpoints))
        model = model_class(data.config, data.train._dataset).to(data.config["device"])
        trainer = HierSRecTrainer(data.config, model)
        loaded = time.perf_counter() - began
        starts: list[float] = []
        loss = model.calculate_loss

        def watched(interaction: Any) -> Any:
            starts.append(now())
            return loss(interaction)

        model.calculate_loss = watched
        trainer.fit(data.train, None, verbose=False, saved=False)
    milliseconds = 1e3 * np.diff(starts)[WARM_UP:]
    if not len(milliseconds):
        raise SystemExit(
            f"{len(starts)} steps were made, and the first {WARM_UP + 1} warm up: too few to time one"
        )
    return {
        "items": model.n_items - 1,
        "rows": len(data.train._dataset),
        "rows_a_step": rows,
        "steps": trainer.report.steps,
        "stopped_by": trainer.report.stopped_by,
        "load_seconds": round(loaded, 1),
        "train_seconds": round(trainer.report.seconds, 1),
        "step_ms": {f"p{q}": round(float(np.percentile(milliseconds, q)), 2) for q in (10, 50, 90)},
        "precision": str(trainer.precision),
        "device": str(data.config["device"]),
        "peak_gib": round(environment.peak_memory_mib() / 1024, 2),
    }


def _suite(folder: Path, steps: int, threads: int, rows: int) -> SuiteSettings:
    settings = {"loss": "sampled", "train_batch_size": rows}
    values = {
        "name": "training-scale",
        "datasets": [{"name": "generated", "data_path": str(folder)}],
        "models": [{"model": "HierSRec", "settings": settings}],
        "protocol": {"split": "temporal", "catalogue_items": True},
        "limits": {"epochs": 1, "steps": steps, "seconds": 1e6},
        "threads": threads,
    }
    return parse(SuiteSettings, values, "training_scale.py")


def measured(items: int, clicks: int, steps: int, threads: int, rows: int) -> dict[str, Any]:
    """What :func:`train` says, in a process of its own, of a log made for it."""
    with tempfile.TemporaryDirectory() as temporary:
        write_log(Path(temporary), items, clicks)
        out = Path(temporary) / "found.json"
        given = (temporary, out, "--steps", steps, "--threads", threads, "--rows", rows)
        command = [sys.executable, str(Path(__file__).resolve()), "one", *map(str, given)]
        limits = {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, env={**os.environ, **limits}, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    found["clicks"] = clicks
    print(found, flush=True)
    return found


def draw(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Milliseconds a step against the items of the catalogue; the bar spans the 10th to the 90th percentile."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(5, 3.6), constrained_layout=True)
    middle = np.array([run["step_ms"]["p50"] for run in runs])
    low, high = (np.array([run["step_ms"][q] for run in runs]) for q in ("p10", "p90"))
    axis.errorbar([run["items"] for run in runs], middle, [middle - low, high - middle], fmt="o-", capsize=3)
    axis.set(xscale="log", xlabel="items", ylabel="milliseconds a step (median)", ylim=(0, None))
    figure.savefig(path, dpi=150)


def save(name: str, found: dict[str, Any], device: str, results: Path) -> None:
    """Write RESULTS/NAME.json with what the figures rest on."""
    results.mkdir(parents=True, exist_ok=True)
    facts = {
        "machine": environment.machine(device),
        "versions": environment.versions(),
        "commit": environment.commit(),
    }
    (results / f"{name}.json").write_text(json.dumps({**found, **facts}, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and run one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="what", required=True)
    for what, clicks, items, steps in (
        ("steps", 500_000, list(ITEMS), 150),
        ("epoch", 5_000_000, [1_000_000], 10**9),
    ):
        command = commands.add_parser(what)
        command.add_argument("--clicks", type=int, default=clicks)
        command.add_argument("--items", type=int, nargs="+", default=items)
        command.add_argument("--steps", type=int, default=steps)
        command.add_argument("--threads", type=int, default=2)
        command.add_argument("--rows", type=int, default=256)
        command.add_argument("--results", type=Path, default=RESULTS)
    one = commands.add_parser("one", help="train in this process")
    one.add_argument("folder", type=Path)
    one.add_argument("out", type=Path)
    for name in ("--steps", "--threads", "--rows"):
        one.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    if given.what == "one":
        found = train(given.folder, given.steps, given.threads, given.rows)
        given.out.write_text(json.dumps(found), encoding="utf-8")
        return
    runs = [measured(items, given.clicks, given.steps, given.threads, given.rows) for items in given.items]
    found = {"threads": given.threads, "runs": runs}
    save(f"scale-{given.what}", found, runs[0]["device"], given.results)
    if given.what == "steps":
        draw(runs, given.results / "scale-steps.png")


if __name__ == "__main__":
    main()
