"""`hiersrec train`: one model from data to a folder that is ready to recommend. The test part stays closed."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_hiersrec import checkpoint
from recbole_hiersrec.atomic import locked, recover_folder, replace_folder, writable_folder
from recbole_hiersrec.benchmark.job import kept_trainer
from recbole_hiersrec.benchmark.prepare import Closed, prepare
from recbole_hiersrec.benchmark.store import MODEL, STATE
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.errors import HierSRecError, InputError
from recbole_hiersrec.names import load_model_class
from recbole_hiersrec.retrieval.rules import item_lists
from recbole_hiersrec.scoring import QueryScorer, training_counts
from recbole_hiersrec.serving.calibration import fit_temperature
from recbole_hiersrec.serving.content import Serving
from recbole_hiersrec.serving.search import rule_context
from recbole_hiersrec.training import TrainingReport, save_model

LOGITS = 1 << 24
"""Most logits a level that a temperature is fitted to: of so many evenly spaced validation cases."""


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        folder: of the model.
        report: how the training went.
        n_items: N.
        n_valid: validation cases, which chose the epoch.
    """

    folder: Path
    report: TrainingReport
    n_items: int
    n_valid: int

    def text(self, job: Job) -> str:
        """What is told at the end, in 80 columns."""
        report = self.report
        return (
            f"{job.model} of {job.dataset}: {self.n_items:,} items, {report.epochs} epochs, "
            f"ended by {report.stopped_by}\n"
            f"validation {report.valid_metric} {report.best_valid:.4f} ({self.n_valid:,} cases) chose epoch "
            f"{report.best_epoch};\nthe test part was not looked at\n"
            f"model: {self.folder}"
        )


def check_out(out: Path) -> None:
    """Refuse a place that holds something else than a model; an older model is replaced once the new one is whole.

    Raises:
        InputError: it does, or the folder above it is missing or cannot be written.
    """
    if not out.name:
        raise InputError(f"--out: received '{out}', allowed: the name of a folder")
    if not out.parent.is_dir():
        raise InputError(f"--out: there is no folder {out.parent}")
    recover_folder(out)
    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not checkpoint.is_checkpoint(out):
        raise InputError(f"--out: {out} exists and is no model; nothing was written")
    writable_folder(out.parent)


def train(job: Job, out: Path) -> Trained:
    """Train a model and write it to ``out``; a training that was stopped or killed goes on from its last epoch.

    What it goes on from lies beside ``out`` until the model is whole.

    Raises:
        InputError: ``out`` is in use, or the model or the data cannot be used as the job says.
        HierSRecError: the training loss became NaN or infinite.
    """
    check_out(out)
    work = out.with_name(f".{out.name}.training")
    work.mkdir(exist_ok=True)
    with locked(work / "lock", 0.0, f"--out: {out} is being trained by another process"):
        recover_folder(work / MODEL)
        try:
            trained = _train(job, out, work)
            replace_folder(work / MODEL, out)
        except BaseException:
            if not (work / STATE).exists():
                shutil.rmtree(work)
            raise
        shutil.rmtree(work)
    return trained


def _train(job: Job, out: Path, work: Path) -> Trained:
    """Train in the folder ``work``, and write the model there: what a kill leaves lies in one place."""
    torch.set_num_threads(job.threads)
    model_class = load_model_class(job.model)
    data = replace(prepare(job, model_class, work / "training"), test=Closed())
    trainer = kept_trainer(job, model_class, data, work)
    try:
        trainer.fit(data.train, data.valid, verbose=False, saved=False, show_progress=sys.stderr.isatty())
    except ValueError as error:
        raise HierSRecError(f"training of {job.label()} failed: {error}") from error
    model, part = trainer.model.eval(), data.train._dataset
    serving = serving_of(model, part, data.valid._dataset)
    save_model(work / MODEL, data.config, model, part, trainer.report, serving)
    return Trained(out, trainer.report, model.n_items - 1, len(data.valid._dataset))


@torch.no_grad()
def serving_of(model: Any, train: Any, valid: Any) -> Serving:
    """What recommending needs beside the model.

    Args:
        model: HierSRec, trained.
        train: the training part, as RecBole built it.
        valid: the validation part.
    """
    counts = training_counts(train)
    lists = item_lists("k-means", rule_context(model.item_vectors().cpu(), counts))
    return Serving(counts, lists, temperatures(model, valid), model.catalogue.titles)


@torch.no_grad()
def temperatures(model: Any, valid: Any) -> tuple[float, ...]:
    """A temperature a predicted level, fitted to the validation part."""
    sizes = [len(bias) for bias in model.network.heads.bias]
    if not sizes:
        return ()
    scorer = QueryScorer(model, valid)
    rows = min(len(valid), max(1, LOGITS // max(sizes)))
    index = torch.from_numpy(np.linspace(0, len(valid) - 1, rows).astype(np.int64))
    target = model.network.items.item_category[
        valid.inter_feat[valid.iid_field][index].to(model.device)
    ].cpu()
    by_batch = [scorer.queries(scorer.batch(some)).category_logits for some in index.split(256)]
    logits = (torch.cat([level.cpu() for level in levels]) for levels in zip(*by_batch, strict=True))
    return tuple(fit_temperature(level, target[:, number]) for number, level in enumerate(logits))
