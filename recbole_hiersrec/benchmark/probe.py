"""What a job will cost, from a few training steps and a few ranked cases: ``job.json FOLDER`` writes probe.json."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.benchmark.candidates import build_retrieval
from recbole_hiersrec.benchmark.job import in_a_process, new_trainer
from recbole_hiersrec.benchmark.prepare import Prepared, prepare, protocol_of
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.evaluation.ranks import rank_cases
from recbole_hiersrec.evaluation.scorer import Cases
from recbole_hiersrec.evaluation.speed import time_scorer
from recbole_hiersrec.names import load_model_class
from recbole_hiersrec.reading import parse
from recbole_hiersrec.retrieval.budget import item_budget
from recbole_hiersrec.scoring import cases_of, scorer_of
from recbole_hiersrec.settings import SpeedSettings
from recbole_hiersrec.training import HierSRecTrainer, batches_of, ranked_at_once, way_of

WARM_UP, STEPS, CASES = 2, 6, 512


def measure(job: Job, folder: Path) -> dict[str, Any]:
    """Build the job's model, make a few steps, rank a few cases, time a few queries.

    Args:
        job: which job.
        folder: takes what RecBole writes.

    Returns:
        seconds of a first stage ("pretraining"), of an epoch with its validation ("epoch"; 0 where nothing is learned),
        of ranking and timing the test cases ("test"), and of the parts that were "measured" for these; "steps" of an
        epoch; and "peak_mib" of memory, which is without copies of the weights that a training keeps.
    """
    torch.set_num_threads(job.threads)
    model_class = load_model_class(job.model)
    few = replace(job, limits=job.limits | {"steps": WARM_UP + STEPS})
    data = prepare(few, model_class, folder / "training")
    trainer = new_trainer(model_class, data)
    model, learns = trainer.model, way_of(trainer.model) != "counted"
    steps = len(batches_of(model, data.train, data.config)) if learns else 0
    first = trainer.pretraining  # a few steps of it were made
    pretraining = (
        first.seconds * steps * data.config["pretrain_epochs"] / max(1, first.steps) if first else 0.0
    )
    trainer.max_steps = WARM_UP + STEPS  # which the first stage has used up
    began = time.perf_counter()
    step = _seconds_a_step(trainer, data) if learns else 0.0
    trained = time.perf_counter() - began
    part = data.valid._dataset
    scorer, cases = scorer_of(model, part), cases_of(part)
    rules = build_retrieval(job, scorer, data.train._dataset).rules
    n = min(CASES, len(cases))
    some = Cases(cases.history[:n], cases.length[:n], cases.target[:n])
    history, rows = protocol_of(job).history, ranked_at_once(data.config)
    speed = parse(SpeedSettings, job.speed, "speed")
    timed = {label: (rule, item_budget(share, scorer.n_items)) for label, (rule, share) in rules.items()}
    plain = _seconds(lambda: rank_cases(scorer, some, history=history, batch_size=rows))
    ruled = _seconds(lambda: rank_cases(scorer, some, history=history, rules=rules, batch_size=rows))
    once = speed.model_copy(update={"repeats": 1, "warmup": 0})
    timing = _seconds(lambda: list(time_scorer(scorer, n, once, timed, job.threads)))
    n_test = len(data.test._dataset)
    return {
        "pretraining": pretraining,
        "steps": steps,
        "epoch": steps * step + len(cases) * plain / n if steps else 0.0,
        "test": n_test * (plain + ruled) / n + timing * (speed.repeats + speed.warmup),
        "measured": trained + plain + ruled + timing + (first.seconds if first else 0.0),
        "peak_mib": environment.peak_memory_mib(),
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


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
