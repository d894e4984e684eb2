"""S3Rec's two stages, with the limits of every other training; one that was killed goes on in the stage it was in.

Upstream: ``trainer/trainer.py:773`` pretrains without limits and saves every 50 epochs, and a second run with
``train_stage: finetune`` reads such a file while it makes its model (``model/sequential_recommender/s3rec.py:120``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recbole.model.sequential_recommender.s3rec import S3Rec
from recbole.utils import init_seed

from recbole_hiersrec.resuming import TrainingState
from recbole_hiersrec.training import HierSRecTrainer, TrainingReport


def is_pretrained(model_class: type[Any]) -> bool:
    """Whether a model learns in two stages, as S3Rec and what derives from it."""
    return issubclass(model_class, S3Rec)


def pretrained(
    model_class: type[Any],
    config: Any,
    train: Any,
    show_progress: bool = False,
    kept: Callable[[HierSRecTrainer], TrainingState] | None = None,
) -> HierSRecTrainer:
    """Pretrain for ``pretrain_epochs``, as S3RecTrainer does, and return the trainer of the second stage.

    Optimiser steps and seconds count towards the limits of both stages together. The second stage begins with the
    weights of the first, the seed, and a new optimiser, as a second run of RecBole does.

    Args:
        model_class: S3Rec.
        config: RecBole's configuration; left with ``train_stage: finetune``.
        train: RecBole's training loader.
        show_progress: show a progress bar.
        kept: makes what the first stage goes on from; the second's is the caller's.

    Returns:
        a trainer of the pretrained model, with what is left of the limits; ``pretraining`` is its first stage's report.
    """
    report, weights, before = TrainingReport(stopped_by="epochs"), None, 0.0
    if config["pretrain_epochs"]:
        config["train_stage"] = "pretrain"
        first = _trainer(model_class, config, train)
        first.epochs = config["pretrain_epochs"]
        first.kept = kept(first) if kept is not None else None
        first.fit(train, verbose=True, saved=False, show_progress=show_progress)
        report, weights, before = first.report, first.model.state_dict(), first.seconds_before
        init_seed(config["seed"], config["reproducibility"])
    config["train_stage"] = "finetune"
    second = _trainer(model_class, config, train)
    if weights is not None:
        second.model.load_state_dict(weights)
    second.max_steps -= report.steps
    second.max_seconds -= report.seconds
    second.pretraining, second.seconds_before = report, before
    return second


def _trainer(model_class: type[Any], config: Any, train: Any) -> HierSRecTrainer:
    return HierSRecTrainer(config, model_class(config, train._dataset).to(config["device"]))
