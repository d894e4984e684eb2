"""One trial: a training and its validation, in a process of its own; the test part stays closed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_hiersrec.atomic import write_text
from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.benchmark.candidates import build_retrieval
from recbole_hiersrec.benchmark.job import in_a_process, kept_trainer
from recbole_hiersrec.benchmark.prepare import Closed, Prepared, prepare, protocol_of
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.ranks import rank_cases
from recbole_hiersrec.evaluation.speed import ALL_ITEMS, TOTAL, time_scorer
from recbole_hiersrec.names import load_model_class
from recbole_hiersrec.reading import parse
from recbole_hiersrec.scoring import cases_of, scorer_of
from recbole_hiersrec.settings import SpeedSettings
from recbole_hiersrec.training import ranked_at_once
from recbole_hiersrec.tuning.task import LATENCY, SCANNED
from recbole_hiersrec.tuning.worker import CURVE, RESULT


def run(job: Job, folder: Path, second: str = "") -> dict[str, Any]:
    """Train a configuration and write what it is worth to result.json in ``folder``; curve.json says how it goes.

    Args:
        job: the configuration.
        folder: keeps the state of the training, too.
        second: the second objective, or "".

    Returns:
        ``values``, one an objective, and ``facts`` about the training.

    Raises:
        InputError: the model or the data cannot be used as the job says.
        SkippedError: the model cannot use the data or their split.
        ValueError: the training loss became NaN or infinite.
    """
    torch.set_num_threads(job.threads)
    model_class = load_model_class(job.model)
    if not issubclass(model_class, SequentialRecommender):
        raise InputError(f"model '{job.model}' is no SequentialRecommender of RecBole")
    data = replace(prepare(job, model_class, folder / "training"), test=Closed())
    trainer = kept_trainer(job, model_class, data, folder)

    def note(*_: object) -> None:
        write_text(folder / CURVE, json.dumps(trainer.report.curve) + "\n")

    trainer.fit(data.train, data.valid, verbose=True, saved=False, callback_fn=note)
    report = trainer.report
    note()  # for a training that had ended before it was killed
    measure = {LATENCY: latency, SCANNED: scanned_fraction}
    extra = [measure[second](job, trainer.model, data)] if second else []
    facts = {
        "epochs": report.epochs,
        "best_epoch": report.best_epoch,
        "seconds": report.seconds + trainer.built + trainer.seconds_before,
        "stopped_by": report.stopped_by,
        "peak_memory_mib": environment.peak_memory_mib(),
        "made_on": {
            "machine": environment.machine(trainer.model.device),
            "versions": environment.versions(),
            "commit": environment.commit(),
        },
    }
    result = {"values": [report.best_valid, *extra], "facts": facts}
    write_text(folder / RESULT, json.dumps(result, allow_nan=False) + "\n")
    return result


def latency(job: Job, model: Any, data: Prepared) -> float:
    """Median milliseconds of one request over all items, on validation cases."""
    part = data.valid._dataset
    speed = parse(SpeedSettings, job.speed, "speed")
    rows = time_scorer(scorer_of(model, part), len(cases_of(part)), speed, {}, job.threads)
    wanted = (ALL_ITEMS, TOTAL, "latency median")
    return next(row["value"] for row in rows if (row["variant"], row["stage"], row["quantity"]) == wanted)


def scanned_fraction(job: Job, model: Any, data: Prepared) -> float:
    """Vectors compared and items scored by the job's candidate rule, as a share of all items; mean over the
    validation cases."""
    part = data.valid._dataset
    scorer = scorer_of(model, part)
    rules = build_retrieval(job, scorer, data.train._dataset).rules
    history, rows = protocol_of(job).history, ranked_at_once(data.config)
    ranks = rank_cases(scorer, cases_of(part), history=history, rules=rules, batch_size=rows)
    label = next(iter(rules))
    return float((ranks.scored[label] + ranks.compared[label]).mean()) / scorer.n_items


def main(arguments: list[str]) -> int:
    """Entry point of the trial's process."""
    return in_a_process(partial(run, second=arguments[2]), arguments[:2])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
