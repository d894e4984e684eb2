"""Defects of RecBole's models whose memory or time grows out of proportion: the same numbers at less cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recbole.model.sequential_recommender.fearec import FEARec
from recbole.model.sequential_recommender.transrec import TransRec
from torch import Tensor

from recbole_hiersrec.compat.patch import wrap


def distances_without_copies() -> None:
    """TransRec's scores of all items, computed without a copy of the item table for every session.

    Upstream: ``model/sequential_recommender/transrec.py:127`` repeats the table: 256 sessions, 100,000 items and width
    64 are 6.5 GB, several times over.
    """
    wrap(TransRec, "full_sort_predict", lambda original: _transrec_scores)


def targets_grouped_at_once() -> None:
    """FEARec's lists of the rows with the same target, made by sorting them once.

    Upstream: ``model/sequential_recommender/fearec.py:106`` compares every row with every other.
    """
    wrap(FEARec, "get_same_item_index", lambda original: _rows_of_targets)


def _transrec_scores(self: Any, interaction: Any) -> Tensor:
    """Scores [B, N + 1]."""
    sessions = self.forward(
        interaction[self.USER_ID], interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
    )
    distances = torch.cdist(sessions, self.item_embedding.weight, compute_mode="donot_use_mm_for_euclid_dist")
    return self.bias.weight.T - distances


def _rows_of_targets(self: Any, dataset: Any) -> dict[Any, NDArray[np.int64]]:
    """Target -> its rows, ascending."""
    targets = dataset.inter_feat[self.ITEM_ID].numpy()
    rows = np.argsort(targets, kind="stable")
    different, first = np.unique(targets[rows], return_index=True)
    return dict(zip(different, np.split(rows, first[1:]), strict=True))
