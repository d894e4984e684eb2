"""Defects of RecBole's models whose memory or time grows out of proportion: the same numbers at less cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from recbole.model.layers import FeedForward
from recbole.model.sequential_recommender.bert4rec import BERT4Rec
from recbole.model.sequential_recommender.fearec import FEARec
from recbole.model.sequential_recommender.gcsan import GCSAN
from recbole.model.sequential_recommender.srgnn import SRGNN
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


def gelu_at_once() -> None:
    """The GELU of RecBole's Transformers as torch's one call, which keeps one tensor for the way back instead of four.

    Upstream: ``model/layers.py:512`` spells it out.
    """
    wrap(FeedForward, "gelu", lambda original: _gelu)


def graphs_without_loops() -> None:
    """The graphs of SRGNN and GCSAN for all sessions of a batch at once.

    Upstream: ``model/sequential_recommender/srgnn.py:163`` and ``gcsan.py:169`` loop over sessions and their clicks.
    """
    wrap(SRGNN, "_get_slice", lambda original: _graphs_and_mask)
    wrap(GCSAN, "_get_slice", lambda original: _graphs)


def masked_items_alone() -> None:
    """BERT4Rec's softmax over all items, for the masked places alone.

    Upstream: ``model/sequential_recommender/bert4rec.py:204`` computes it for as many places in every row as the
    longest row may have masked, and multiplies those that are not by 0.
    """
    wrap(BERT4Rec, "calculate_loss", _of_masked_items)


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


def _gelu(self: Any, x: Tensor) -> Tensor:
    return F.gelu(x)


def _graphs(self: Any, item_seq: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of sessions [B, L], right-padded: each click's node [B, L]; edges into and out of nodes [B, L, 2 L], each divided
    by how many there are; the nodes' items, ascending, the padding one of them, and 0 behind them [B, L]."""
    ascending, order = item_seq.sort(dim=1, stable=True)
    new = F.pad(ascending[:, 1:] != ascending[:, :-1], (1, 0)).long()
    node = new.cumsum(1)
    nodes = torch.empty_like(node).scatter_(1, order, node)
    items = torch.zeros_like(item_seq).scatter_(1, node, ascending)
    row, place = (item_seq[:, 1:] != 0).nonzero(as_tuple=True)
    length = item_seq.shape[1]
    edges = torch.zeros(len(item_seq), length, length, dtype=torch.float64, device=item_seq.device)
    edges[row, nodes[row, place], nodes[row, place + 1]] = 1  # [B, from, to]
    into, out = (edges / edges.sum(side, keepdim=True).clamp(min=1) for side in (1, 2))
    return nodes, torch.cat([into.transpose(1, 2), out], 2).float(), items


def _graphs_and_mask(self: Any, item_seq: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`_graphs`, and which places are clicks [B, L]."""
    return *_graphs(self, item_seq), item_seq.gt(0)


def _of_masked_items(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def loss(self: Any, interaction: Any) -> Tensor:
        if self.loss_type != "CE":
            return original(self, interaction)
        masked = interaction[self.MASK_INDEX]
        row, slot = (masked > 0).nonzero(as_tuple=True)
        states = self.forward(interaction[self.MASK_ITEM_SEQ])[row, masked[row, slot]]
        logits = states @ self.item_embedding.weight[: self.n_items].T + self.output_bias
        return F.cross_entropy(logits, interaction[self.POS_ITEMS][row, slot])

    return loss
