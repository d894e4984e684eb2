"""Defects of RecBole's models that read the padding behind a session as if it were clicks.

RecBole pads sessions on the right; most of a row of 50 is padding where sessions are short. LightSANs, FEARec, SINE
and Caser read it too, which is not mended here, as what their authors meant is not certain. Their records, and so the
reports, say it (``benchmark/needs``). No suite that ships ranks them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.model.sequential_recommender.hgn import HGN
from recbole.model.sequential_recommender.nextitnet import NextItNet
from recbole.model.sequential_recommender.stamp import STAMP
from torch import Tensor

from recbole_hiersrec.compat.patch import wrap


def zero_padding() -> None:
    """The vector of the padding is 0 and stays so in HGN and STAMP, which sum over whole rows.

    Upstream: ``nn.Embedding(..., padding_idx=0)`` makes it 0, then ``model/sequential_recommender/hgn.py:96`` and
    ``stamp.py:72`` fill it with random numbers, and the softmax over all items trains it as an item that never comes
    next. STAMP divides the sum by the number of items (``stamp.py:82``): a session of 2 items in a row of 50 has 24
    parts of that vector to each part of an item.
    """
    for model in (HGN, STAMP):
        wrap(model, "__init__", _with_zero_padding)


def gates_of_items_alone() -> None:
    """HGN's gates weight the items of the session, and no padding.

    Upstream: ``model/sequential_recommender/hgn.py:145`` divides by the gates of all places of the row, so that the
    items of a short session count next to nothing, and ``:152`` may take a place of padding for the most important. The
    authors' rows are full.
    """
    wrap(HGN, "instance_gating", lambda original: _gated_items)


def _gated_items(self: Any, gated: Tensor, user: Tensor) -> Tensor:
    """[B, D] from features [B, L, D], which are 0 in the padding, and users [B, D]."""
    scores = self.sigmoid(self.w3(gated) + self.w4(user).unsqueeze(2)).squeeze(2)  # [B, L]
    scores = scores * gated.ne(0).any(2)
    weighted = scores.unsqueeze(2) * gated
    if self.pool_type == "average":
        return weighted.sum(1) / scores.sum(1, keepdim=True)
    return self.gather_indexes(weighted, scores.argmax(1))


def _with_zero_padding(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, config: Any, dataset: Any) -> None:
        original(self, config, dataset)
        with torch.no_grad():
            self.item_embedding.weight[0] = 0
        self.item_embedding.weight.register_hook(_without_padding)

    return init


def _without_padding(gradient: Tensor) -> Tensor:
    """The gradient of an item table with 0 for the padding, which a softmax over all items gives one."""
    kept = gradient.clone()
    kept[0] = 0
    return kept


def state_of_the_last_item() -> None:
    """NextItNet predicts from its state at the session's last item.

    Upstream: ``model/sequential_recommender/nextitnet.py:99`` takes the state at the end of the row, up to 49 steps of
    padding later; the authors' code pads on the left, where the row ends with the last item.
    """
    wrap(NextItNet, "forward", lambda original: _forward)


def _forward(self: Any, item_seq: Tensor) -> Tensor:
    states = self.residual_blocks(self.item_embedding(item_seq))
    return self.final_layer(self.gather_indexes(states, (item_seq > 0).sum(1) - 1))
