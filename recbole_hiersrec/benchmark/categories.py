"""What a job says of category predictions: how often the likeliest category is right, and how sure it is of that.

Axes: n test cases, M levels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recbole_hiersrec.benchmark.prepare import Prepared
from recbole_hiersrec.evaluation.calibration import calibration
from recbole_hiersrec.evaluation.scorer import Scorer


@dataclass(frozen=True)
class LevelPredictions:
    """The likeliest category of one level in every case.

    Attributes:
        hit: bool [n], whether it is the target's.
        confidence: float64 [n], its predicted probability.
    """

    hit: np.ndarray
    confidence: np.ndarray


@torch.no_grad()
def category_predictions(model: Any, scorer: Scorer, data: Prepared) -> dict[str, LevelPredictions]:
    """Predictions by level, such as "level 1: department"; empty without category heads."""
    part = data.test._dataset
    catalogue = getattr(part, "catalogue", None)
    if not hasattr(model, "category_logits") or catalogue is None or catalogue.taxonomy is None:
        return {}
    if not model.category_logits(scorer.batch(torch.arange(1))):
        return {}  # it has the categories, and does not predict them
    levels = catalogue.taxonomy.levels
    hits: list[list[np.ndarray]] = [[] for _ in levels]
    confidences: list[list[np.ndarray]] = [[] for _ in levels]
    for index in torch.arange(len(part)).split(256):
        wanted = catalogue.taxonomy.item_category[part.inter_feat[part.iid_field][index].numpy()]
        for level, logits in enumerate(model.category_logits(scorer.batch(index))):
            likeliest = logits.argmax(-1, keepdim=True)
            confidence = logits.softmax(-1).gather(-1, likeliest)
            hits[level].append(likeliest[:, 0].cpu().numpy() == wanted[:, level])
            confidences[level].append(confidence[:, 0].double().cpu().numpy())
    return {
        f"level {number}: {name}": LevelPredictions(np.concatenate(hit), np.concatenate(confidence))
        for number, (name, hit, confidence) in enumerate(zip(levels, hits, confidences, strict=True), start=1)
    }


def majority_hits(names: Iterable[str], data: Prepared) -> dict[str, np.ndarray]:
    """Per level, by its name, whether the training part's most frequent category is the target's, bool [n]."""
    part = data.test._dataset
    targets = part.inter_feat[part.iid_field].numpy()
    found = {}
    for level, name in enumerate(names):
        categories = part.catalogue.taxonomy.item_category[:, level]
        counts = np.bincount(categories[1:], weights=data.train._dataset.item_counts.numpy()[1:])
        found[name] = categories[targets] == counts.argmax()
    return found


def category_rows(
    predictions: dict[str, LevelPredictions], majority: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Accuracy of each level, beside that of always naming the training part's most frequent category."""
    rows = []
    for name, predicted in predictions.items():
        for metric, values in (("CategoryAccuracy", predicted.hit), ("MajorityCategory", majority[name])):
            rows.append(
                {
                    "variant": "all items",
                    "candidate_rule": "",
                    "item_fraction": None,
                    "slice": name,
                    "metric": metric,
                    "k": 1,
                    "value": float(values.mean()),
                    "n_cases": len(values),
                }
            )
    return rows


def calibration_section(predictions: dict[str, LevelPredictions]) -> list[dict[str, Any]]:
    """For the record, one entry a level: the expected calibration error and the bins that it is made of."""
    return [
        {
            "level": name,
            "error": found.error(),
            "n_cases": int(found.count.sum()),
            "bins": [
                {"bin": number, "confidence": confidence, "accuracy": accuracy, "count": count}
                for number, confidence, accuracy, count in zip(
                    *(of.tolist() for of in (found.number, found.confidence, found.accuracy, found.count)),
                    strict=True,
                )
            ],
        }
        for name, predicted in predictions.items()
        for found in [calibration(predicted.confidence, predicted.hit)]
    ]
