"""What a job will cost, from a few training steps and a few ranked cases: ``job.json FOLDER`` writes probe.json."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.benchmark.job import in_a_process, new_trainer
from recbole_hiersrec.benchmark.prepare import Prepared, prepare, protocol_of
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.evaluation.ranks import rank_cases
from recbole_hiersrec.evaluation.scorer import Cases
from recbole_hiersrec.names import load_model_class
from recbole_hiersrec.scoring import cases_of, scorer_of
from recbole_hiersrec.training import HierSRecTrainer, batches_of, way_of

WARM_UP, STEPS, CASES = 2, 6, 512


def measure(job: Job, folder: Path) -> dict[str, Any]:
    """Build the job's model, make a few steps, rank a few cases.

    Args:
        job: which job.
        folder: takes what RecBole writes.

    Returns:
        seconds of loading and building ("start"), of a first stage ("pretraining"), of an epoch with its validation
        ("epoch"; 0 where nothing is learned), of ranking the test cases among all items ("test"), "steps" of an epoch,
        and "peak_mib" of memory.
    """
    torch.set_num_threads(job.threads)
    began = time.perf_counter()
    model_class = load_model_class(job.model)
    few = replace(job, limits=job.limits | {"steps": WARM_UP + STEPS})
    data = prepare(few, model_class, folder / "training")
    trainer = new_trainer(model_class, data)
    model, start = trainer.model, time.perf_counter() - began
    learns = way_of(model) != "counted"
    steps = len(batches_of(model, data.train, data.config)) if learns else 0
    pretraining = 0.0
    if first := trainer.pretraining:  # a few steps of it were made
        start -= first.seconds
        pretraining = first.seconds * steps * data.config["pretrain_epochs"] / max(1, first.steps)
    trainer.max_steps = WARM_UP + STEPS  # the first stage has used them up
    step = _seconds_a_step(trainer, data) if learns else 0.0
    part = data.valid._dataset
    scorer, cases = scorer_of(model, part), cases_of(part)
    n = min(CASES, len(cases))
    some = Cases(cases.history[:n], cases.length[:n], cases.target[:n])
    began = time.perf_counter()
    rank_cases(scorer, some, history=protocol_of(job).history)
    case = (time.perf_counter() - began) / n
    return {
        "start": start,
        "pretraining": pretraining,
        "steps": steps,
        "epoch": steps * step + len(cases) * case if steps else 0.0,
        "test": 2 * len(data.test._dataset) * case,  # with the history unmasked and masked
        "peak_mib": environment.peak_memory_mib(),
    }


def _seconds_a_step(trainer: HierSRecTrainer, data: Prepared) -> float:
    """Median time between the beginnings of two steps, after the first ones; of fewer steps what there is."""
    times: list[float] = []
    loss = trainer._loss

    def timed(interaction: Any) -> Any:
        times.append(time.perf_counter())
        return loss(interaction)

    trainer._loss = timed  # type: ignore[method-assign]
    trainer.fit(data.train, None, verbose=False, saved=False)
    times.append(time.perf_counter())
    return float(np.median(np.diff(times)[-STEPS:]))


def main(arguments: list[str]) -> int:
    """Entry point of the probe's process; writes error.txt and returns 1 when the job cannot run."""

    def run(job: Job, folder: Path) -> None:
        (folder / "probe.json").write_text(json.dumps(measure(job, folder)), encoding="utf-8")

    return in_a_process(run, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
