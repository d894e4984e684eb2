"""Make the models of this package known to RecBole, at its three extension points."""

from __future__ import annotations

import importlib
import sys

import recbole.data.dataset
import recbole.trainer

from recbole_hiersrec.names import MODELS

DATASET = ("recbole_hiersrec.data.dataset", "HierSRecDataset")
TRAINER = ("recbole_hiersrec.training", "HierSRecTrainer")


def register_models() -> None:
    """Register every model of :data:`~recbole_hiersrec.names.MODELS` with its data set and trainer classes.

    Upstream: ``utils/utils.py:75`` looks for modules by name, ``data/utils.py:41`` and ``utils/utils.py:99``
    for ``<model>Dataset`` and ``<model>Trainer``.
    """
    dataset = getattr(importlib.import_module(DATASET[0]), DATASET[1])
    trainer = getattr(importlib.import_module(TRAINER[0]), TRAINER[1])
    for model, module in MODELS.items():
        sys.modules[f"recbole.model.sequential_recommender.{model.lower()}"] = importlib.import_module(module)
        setattr(recbole.data.dataset, f"{model}Dataset", dataset)
        setattr(recbole.trainer, f"{model}Trainer", trainer)
