"""Defects of RecBole's BERT4Rec: items that it never learns from, an item that it forgets, batches without a loss.

Axes: B rows, L the longest session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.data.transform import MaskItemSequence
from recbole.model.sequential_recommender.bert4rec import BERT4Rec
from torch import Tensor

from recbole_hiersrec.compat.patch import wrap


def whole_sessions_masked() -> None:
    """Items are masked in the session with its target, and in every batch one item at least.

    Upstream: ``data/transform.py:129`` masks the history alone, and the loss knows no target, so that nothing is ever
    learned of the last item of a session, half of the items of a session of two. Where the batch has no masked item
    (one row, or short sessions) ``model/sequential_recommender/bert4rec.py:212`` divides by 0. As in RecBole, a
    session's first item is never predicted.
    """
    wrap(MaskItemSequence, "__call__", _masked)


def room_for_one_masked_item() -> None:
    """One masked item a row is learned from where ``mask_ratio`` times the longest session is less than 1.

    Upstream: ``data/transform.py:58`` rounds down to 0, and ``:76`` then keeps lists of unequal lengths.
    """
    wrap(MaskItemSequence, "__init__", _at_least_one)


def whole_sessions_scored() -> None:
    """A session keeps its first item when the mask is put behind its last one, unless it fills the row.

    Upstream: ``model/sequential_recommender/bert4rec.py:119`` drops the first item of every session, and so all that
    is known of a session of one item; ``:117`` loops over the rows.
    """
    wrap(BERT4Rec, "reconstruct_test_data", lambda original: _mask_at_the_end)
    wrap(BERT4Rec, "full_sort_predict", _with_place_for_the_mask)
    wrap(BERT4Rec, "predict", _with_place_for_the_mask)


def _masked(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, dataset: Any, interaction: Any) -> Any:
        sessions, lengths = _appended(
            interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN], interaction[self.ITEM_ID]
        )
        whole = Interaction({self.ITEM_SEQ: sessions, self.ITEM_SEQ_LEN: lengths})
        masked = original(self, dataset, whole)
        if not masked[self.MASK_INDEX].any():
            masked = self._append_mask_last(whole, dataset.num(self.ITEM_ID), sessions.device)
        fields = (self.MASK_ITEM_SEQ, self.POS_ITEMS, self.NEG_ITEMS, self.MASK_INDEX)
        interaction.update(Interaction({field: masked[field] for field in fields}))
        return interaction

    return call


def _at_least_one(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, config: Any) -> None:
        original(self, config)
        self.mask_item_length = max(1, self.mask_item_length)

    return init


def _mask_at_the_end(self: Any, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
    """Sessions [B, L] with the mask behind their last item."""
    return _appended(item_seq, (item_seq > 0).sum(1), torch.full_like(item_seq_len, self.mask_token))[0]


def _with_place_for_the_mask(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def predict(self: Any, interaction: Any) -> Tensor:
        width = interaction[self.ITEM_SEQ].size(1)
        longer = (interaction[self.ITEM_SEQ_LEN] + 1).clamp(max=width)  # the mask is the last
        return original(self, Interaction({**interaction.interaction, self.ITEM_SEQ_LEN: longer}))

    return predict


def _appended(sessions: Tensor, lengths: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Sessions [B, L], each with one more item [B]; a full one loses its first. And their lengths."""
    width = sessions.size(1)
    full = (lengths == width).unsqueeze(1)
    grown = torch.where(full, sessions.roll(-1, 1), sessions)
    longer = (lengths + 1).clamp(max=width)
    return grown.scatter(1, (longer - 1).unsqueeze(1), items.unsqueeze(1)), longer
