"""One job: data -> train -> rank -> time -> record. Runs in a process of its own: ``job.json FOLDER``."""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import recbole.trainer
import torch
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_hiersrec import register
from recbole_hiersrec.arrays import write_arrays
from recbole_hiersrec.benchmark import environment
from recbole_hiersrec.benchmark.breakdown import case_facts, list_lengths, list_rows, slice_rows
from recbole_hiersrec.benchmark.candidates import (
    build_retrieval,
    candidate_rows,
    exact_rows,
    exact_scanned,
    scan_warnings,
)
from recbole_hiersrec.benchmark.categories import (
    calibration_section,
    category_predictions,
    category_rows,
    majority_hits,
)
from recbole_hiersrec.benchmark.needs import remark
from recbole_hiersrec.benchmark.parent import exit_with_parent
from recbole_hiersrec.benchmark.prepare import Prepared, describe, prepare, protocol_of
from recbole_hiersrec.benchmark.rankfiles import (
    FILE,
    HITS,
    MAJORITY,
    SCANNED_EXACT,
    counted,
    recommended_arrays,
)
from recbole_hiersrec.benchmark.store import SCHEMA, STATE
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.errors import InputError, SkippedError
from recbole_hiersrec.evaluation.metrics import mean_metrics
from recbole_hiersrec.evaluation.ranks import RankTable, rank_cases
from recbole_hiersrec.evaluation.speed import TimingRow, time_scorer
from recbole_hiersrec.names import load_model_class
from recbole_hiersrec.pretraining import is_pretrained, pretrained
from recbole_hiersrec.reading import parse
from recbole_hiersrec.records import as_text
from recbole_hiersrec.resuming import TrainingState
from recbole_hiersrec.retrieval.budget import item_budget
from recbole_hiersrec.scoring import cases_of, scorer_of, training_counts
from recbole_hiersrec.settings import SpeedSettings
from recbole_hiersrec.training import HierSRecTrainer, ranked_at_once, save_model, way_of


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Run one job and write record.json, ranks.npz and model/ into ``folder``.

    Returns:
        The record.

    Raises:
        InputError: the model or the data cannot be used as the job says.
        SkippedError: the model cannot use the data or their split.
        NonFiniteScoreError: the trained model gives a score that is not finite.
    """
    started, first = time.strftime("%Y-%m-%dT%H:%M:%S%z"), time.perf_counter()
    torch.set_num_threads(job.threads)
    model_class = load_model_class(job.model)
    if not issubclass(model_class, SequentialRecommender):
        raise InputError(f"model '{job.model}' is no SequentialRecommender of RecBole")
    data = prepare(job, model_class, folder / "training")
    facts = case_facts(job, data)  # before the training: a fault in the files is told at once
    trainer = kept_trainer(job, model_class, data, folder)
    model = trainer.model
    trainer.fit(data.train, data.valid, verbose=True, saved=False, show_progress=sys.stderr.isatty())
    report = trainer.report
    shutil.rmtree(folder / "training", ignore_errors=True)
    save_model(folder / "model", data.config, model, data.train._dataset, report)

    _say("ranking the test cases")
    part = data.test._dataset
    scorer, cases = scorer_of(model, part), cases_of(part)
    retrieval = build_retrieval(job, scorer, data.train._dataset)
    history = protocol_of(job).history
    rows = ranked_at_once(data.config)
    ranks = rank_cases(
        scorer,
        cases,
        history=history,
        rules=retrieval.rules,
        batch_size=rows,
        list_ks=list_lengths(job),
    )
    other: Literal["masked", "unmasked"] = "masked" if history == "unmasked" else "unmasked"
    ranks_other = rank_cases(scorer, cases, history=other, batch_size=rows)
    predictions = category_predictions(model, scorer, data)
    arrays = {**facts.arrays, f"history {other}": ranks_other.all}
    majority = majority_hits(predictions, data)
    speed = parse(SpeedSettings, job.speed, "speed")
    scanned = exact_scanned(retrieval.exact, scorer, len(cases), speed.k)
    arrays |= {f"{MAJORITY}, {name}": counted(hit) for name, hit in majority.items()}
    arrays |= {SCANNED_EXACT: counted(scanned)} if len(scanned) else {}
    training = training_counts(data.train._dataset)
    for k, lists in ranks.recommended.items():
        arrays |= recommended_arrays(k, lists[1:], training[1:])
    category_hits = {name: predicted.hit for name, predicted in predictions.items()}
    _write_ranks(folder / FILE, arrays, ranks, category_hits)
    _say("timing")
    timed = {
        label: (rule, item_budget(share, scorer.n_items)) for label, (rule, share) in retrieval.rules.items()
    }
    timing = list(time_scorer(scorer, len(cases), speed, timed, job.threads))
    timing += _index_timing(job, retrieval.seconds)
    _say("")
    record = {
        "schema": SCHEMA,
        "key": job.key,
        "status": "time limit" if report.stopped_by == "seconds" else "ok",
        "suite": job.suite,
        "job": job.to_dict(),
        "data": describe(data) | {"slices": facts.section()},
        "training": {
            "seconds": report.seconds + trainer.built,  # making a model may take counting or pretraining
            "epochs": report.epochs,
            "best_epoch": report.best_epoch,
            "steps": report.steps,
            "stopped_by": report.stopped_by,
            "valid_metric": report.valid_metric,
            "best_valid": report.best_valid,
            "way": way_of(model),
            "precision": report.precision,
            "parameters": 0 if report.stopped_by == "counted" else _parameters(model),
            "curve": report.curve,
            **_pretraining(trainer),
        },
        "accuracy": [
            *_all_item_rows(job, ranks, "all"),
            *_all_item_rows(job, ranks_other, f"history {other}"),
            *candidate_rows(job, ranks, retrieval, scorer.n_items),
            *exact_rows(scanned, scorer.n_items),
            *category_rows(predictions, majority),
            *slice_rows(job, ranks.all, facts),
            *list_rows(ranks, training),
        ],
        "calibration": calibration_section(predictions),
        "timing": timing,
        "machine": environment.machine(data.config["device"]),
        "versions": environment.versions(),
        "commit": environment.commit(),
        "code": environment.code_hash(),
        "started": started,
        "seconds": time.perf_counter() - first + trainer.seconds_before,
        "peak_memory_mib": environment.peak_memory_mib(),
        "warnings": [*_warnings(report, model_class), *scan_warnings(job, ranks, retrieval, scorer.n_items)],
    }
    (folder / "record.json").write_text(as_text(record), encoding="utf-8")
    return record


def kept_trainer(job: Job, model_class: type[Any], data: Prepared, folder: Path) -> HierSRecTrainer:
    """The trainer of a job, which keeps in ``folder`` what it goes on from after a kill, and does so."""
    trainer = new_trainer(
        model_class, data, lambda first: TrainingState(folder / STATE / "pretraining", _identity(job, first))
    )
    trainer.recboles = False
    trainer.kept = TrainingState(folder / STATE, _identity(job, trainer))
    return trainer


def _identity(job: Job, trainer: HierSRecTrainer) -> dict[str, Any]:
    """What must be the same for a training to go on to the bit."""
    return {
        "key": job.key,
        "threads": job.threads,
        "versions": environment.versions(),
        "code": environment.code_hash(),
        "device": str(trainer.device),
        "gpus": torch.cuda.device_count(),
        "precision": trainer.report.precision,
    }


def new_trainer(
    model_class: type[Any], data: Prepared, kept: Callable[[HierSRecTrainer], TrainingState] | None = None
) -> HierSRecTrainer:
    """Our trainer of a new model, whose optimiser step is RecBole's; one of two stages has its first behind it.

    Args:
        model_class: a sequential model of RecBole.
        data: what it learns from.
        kept: makes what the first of two stages goes on from; without it that stage begins anew.

    Raises:
        InputError: the model has another trainer of its own.
    """
    config = data.config
    if is_pretrained(model_class):
        trainer = pretrained(model_class, config, data.train, sys.stderr.isatty(), kept)
        trainer.built = trainer.pretraining.seconds if trainer.pretraining else 0.0
        return trainer
    own = getattr(recbole.trainer, f"{config['model']}Trainer", HierSRecTrainer)
    if own is not HierSRecTrainer:
        raise InputError(
            f"model '{config['model']}' needs RecBole's {own.__name__}; the suite cannot limit that one"
        )
    began = time.perf_counter()
    model = model_class(config, data.train._dataset).to(config["device"])
    built = time.perf_counter() - began
    trainer = HierSRecTrainer(config, model)
    trainer.built = built
    return trainer


def _pretraining(trainer: HierSRecTrainer) -> dict[str, Any]:
    """What the record says of a stage before the one that is reported; nothing where there was none."""
    if trainer.pretraining is None:
        return {}
    told = ("seconds", "epochs", "steps", "stopped_by")
    return {"pretraining": {name: getattr(trainer.pretraining, name) for name in told}}


def _all_item_rows(job: Job, ranks: RankTable, name: str) -> list[dict[str, Any]]:
    """Rows of accuracy.csv: all items, as the slice ``name``."""
    everything = {"variant": "all items", "candidate_rule": "", "item_fraction": None, "slice": name}
    return [
        everything | {"metric": metric, "k": k, "value": value, "n_cases": n}
        for metric, k, value, n in mean_metrics(ranks.all, job.metrics, job.ks)
    ]


def _write_ranks(
    path: Path, cases: dict[str, np.ndarray], ranks: RankTable, category_hits: dict[str, np.ndarray]
) -> None:
    """Raw ranks of every case, with its target and its session, which comparisons resample as a whole."""
    arrays = {**cases, "all": ranks.all, **ranks.by_rule}
    for label in ranks.by_rule:
        arrays[f"scored {label}"] = counted(ranks.scored[label])
        arrays[f"compared {label}"] = counted(ranks.compared[label])
    arrays |= {f"{HITS}, {name}": hit for name, hit in category_hits.items()}
    write_arrays(path, arrays)


def _index_timing(job: Job, seconds: dict[str, float]) -> list[TimingRow]:
    return [
        {
            "variant": rule,
            "stage": "index",
            "threads": job.threads,
            "quantity": "build",
            "unit": "s",
            "value": value,
        }
        for rule, value in seconds.items()
    ]


def _say(text: str) -> None:
    """Show what is being done after training, on a terminal only; the next text takes its place."""
    if sys.stderr.isatty():
        print(f"\r{text:<79}\r{text}", end="", file=sys.stderr, flush=True)


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _warnings(report: Any, model_class: type[Any]) -> list[str]:
    texts = {
        "seconds": "stopped by the clock before patience ran out: not ranked",
        "steps": "reached the limit of optimiser steps before patience ran out",
        "epochs": "reached the limit of epochs before patience ran out",
    }
    said = remark(*(base.__name__ for base in model_class.__mro__))
    return [text for text in (texts.get(report.stopped_by, ""), said) if text]


def in_a_process(work: Callable[[Job, Path], object], arguments: list[str]) -> int:
    """Do ``work`` with the job and the folder that a process was given.

    Returns:
        its exit status: 1 when the work fails, with a line in the folder's error.txt, or in skipped.txt where the model
        cannot use the data.
    """
    exit_with_parent()
    description, folder = Path(arguments[0]), Path(arguments[1])
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        register()
        work(Job.from_dict(json.loads(description.read_text(encoding="utf-8"))), folder)
    except (Exception, SystemExit) as error:  # a model's module may call sys.exit while it is imported
        traceback.print_exc(file=sys.stdout)
        text = " ".join(str(error).split()) or type(error).__name__
        named = isinstance(error, InputError | SkippedError)
        name = "skipped.txt" if isinstance(error, SkippedError) else "error.txt"
        prefix = "" if named else "out of memory: " if _is_memory(error) else f"{type(error).__name__}: "
        try:
            (folder / name).write_text(f"{prefix}{text}\n", encoding="utf-8")
        except OSError as failed:
            return failed.errno or 1  # the runner names a full disk
        return 1
    return 0


def _is_memory(error: BaseException) -> bool:
    """Whether memory ran out; on a processor torch says so in a RuntimeError like any other."""
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error):
        return True
    return isinstance(error, MemoryError | torch.OutOfMemoryError)


def main(arguments: list[str]) -> int:
    """Entry point of the job's process."""
    return in_a_process(run, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
