"""What every inner-product scorer makes of sessions; models, candidate rules, evaluation and explanations share it.

Axes: B sessions, L history length, A augmented width, C_m categories of level m, E items scored apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recbole_hiersrec.errors import InputError


@dataclass(frozen=True)
class Apart:
    """The few items of each session whose score is more than an inner product; an index does not know of it.

    Attributes:
        ids: long [B, E], item ids, 0 where a row has fewer than E; no id twice in a row (but in a loss over all
            items, where bonuses simply add up).
        bonus: float32 [B, E], added to the item's score; of either sign.
    """

    ids: Tensor
    bonus: Tensor


@dataclass(frozen=True)
class Queries:
    """What a scorer makes of a batch of sessions. Score of item i: ``vectors . a_i``, + its bonus if it is apart.

    Attributes:
        vectors: float32 [B, A], the augmented queries.
        history: long [B, L], item ids of the sessions, 0-padded on the right.
        apart: items that get a bonus; None: none do.
        category_logits: one [B, C_m] a level, coarse to fine; empty for scorers without category heads.
    """

    vectors: Tensor
    history: Tensor
    apart: Apart | None = None
    category_logits: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)


def check_sessions(history: Tensor, length: Tensor, n_items: int, max_length: int) -> int:
    """Longest of the sessions that a scorer was given; an error where one of them cannot be.

    Args:
        history: item ids, [B, L].
        length: number of items of each session, [B].
        n_items: N.
        max_length: most items that the scorer reads.

    Raises:
        InputError: an item id is not of 0..N, or 0 before or another id after the session's end, or a length not of
            1..min(L, ``max_length``).
    """
    most = min(history.size(1), max_length)
    if len(history) == 0:
        return most
    inside = torch.arange(history.size(1), device=history.device) < length.unsqueeze(1)
    wrong = inside != history.bool()
    # Read together, as reading each alone would wait for the device.
    found = torch.stack([*history.aminmax(), *length.aminmax(), wrong.any().to(history.dtype)])
    low, high, shortest, longest, gaps = found.tolist()
    if low < 0 or high > n_items:
        row, item = _first(history, (history < 0) | (history > n_items))
        raise InputError(f"session in row {row} of the batch: received item id {item}, allowed 0..{n_items}")
    if shortest < 1 or longest > most:
        row, received = _first(length, (length < 1) | (length > most))
        raise InputError(
            f"length of the session in row {row} of the batch: received {received}, allowed 1..{most}"
        )
    if gaps:
        row, item = _first(history, wrong)
        where, allowed = ("after", "0") if item else ("before", f"1..{n_items}")
        raise InputError(
            f"session in row {row} of the batch: received item id {item} {where} the end of its {int(length[row])} "
            f"items, allowed {allowed}"
        )
    return longest


def checked_sessions(model: Any, interaction: Any) -> tuple[Tensor, Tensor, int]:
    """History [B, L], length [B] and the longest of the sessions that a sequential model of RecBole was given.

    Raises:
        InputError: see :func:`check_sessions`.
    """
    history, length = interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN]
    return history, length, check_sessions(history, length, model.n_items - 1, model.max_seq_length)


def checked_items(model: Any, interaction: Any) -> Tensor:
    """Each row's own item [B], which a sequential model of RecBole is asked to score.

    Raises:
        InputError: an item id is not of 1..N.
    """
    items = interaction[model.ITEM_ID]
    wrong = (items < 1) | (items >= model.n_items)
    if wrong.any():
        row, item = _first(items, wrong)
        raise InputError(
            f"item in row {row} of the batch: received item id {item}, allowed 1..{model.n_items - 1}"
        )
    return items


def _first(values: Tensor, wrong: Tensor) -> tuple[int, int]:
    """Row and value of the first of ``values`` that is ``wrong``."""
    place = wrong.nonzero()[0]
    return int(place[0]), int(values[tuple(place)])


def add_apart(scores: Tensor, queries: Queries) -> Tensor:
    """Scores [B, N + 1] with the bonus of the items scored apart, in place; column 0 (PAD) means nothing."""
    if queries.apart is None:
        return scores
    return scores.scatter_add_(1, queries.apart.ids, queries.apart.bonus)


def distinct(history: Tensor) -> Tensor:
    """Histories [B, L] with 0 in place of every item that stands further left already."""
    earlier = torch.ones(history.size(1), history.size(1), dtype=torch.bool, device=history.device).tril(-1)
    return history.masked_fill(((history.unsqueeze(2) == history.unsqueeze(1)) & earlier).any(2), 0)


def join_apart(first: Apart, second: Apart) -> Apart:
    """Both together; an item of both stands in ``first``, with the sum of its bonuses."""
    same = (second.ids.unsqueeze(2) == first.ids.unsqueeze(1)) & (first.ids > 0).unsqueeze(1)  # [B, E2, E1]
    added = (same * second.bonus.unsqueeze(2)).sum(1)
    twice = same.any(2)
    return Apart(
        torch.cat([first.ids, second.ids.masked_fill(twice, 0)], dim=1),
        torch.cat([first.bonus + added, second.bonus.masked_fill(twice, 0)], dim=1),
    )
