"""RecBole's encoders without most of the padding: the rows of a batch go through them in groups of like length.

A batch of random prefixes is as wide as the longest of them, so most of what is computed is padding: of Wikispeedia's
rows of 20 items at most, 72 %. Here the rows, their losses and the steps stay RecBole's own; only the forward pass is
made in parts, each as wide as its own longest row, which also fit the processor's cache.

Axes: B rows of a batch, L maximum length, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_hiersrec.model.dropout import Dropout

GROUP = 96
"""Rows of a group, at least, but for the last one: fewer would cost more in calls than they save in padding."""

IGNORE_PADDING = frozenset(
    {
        "BERT4Rec", "CORE", "FDSA", "GCSAN", "GRU4Rec", "GRU4RecF", "NARM", "NextItNet", "SASRec", "SASRecF", "SRGNN",
        "STAMP",
    }
)  # fmt: skip
"""RecBole's models that pass rows through ``forward(item_seq, ...)`` and do not read what is behind a session."""


def ignores_padding(model: Any) -> bool:
    """Whether a model is RecBole's own, on a processor, and the padding changes nothing that it says."""
    kind = type(model)
    ours = kind.__name__ in IGNORE_PADDING and kind.__module__.startswith("recbole.")
    return ours and torch.device(model.device).type == "cpu"


def cheap_dropout(model: Any) -> None:
    """Let a model that :func:`ignores_padding` draw its dropout as HierSRec does (``model/dropout``)."""
    if not ignores_padding(model):
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is torch.nn.Dropout:
                setattr(module, name, Dropout(child.p))


def adam_at_once(model: Any, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """RecBole's Adam in one pass over all weights, for a model that :func:`ignores_padding`; any other as it is."""
    if not ignores_padding(model) or type(optimizer) is not torch.optim.Adam:
        return optimizer
    same = {key: optimizer.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")}
    return torch.optim.Adam(model.parameters(), fused=True, **same)


@contextmanager
def little_padding(model: Any) -> Iterator[None]:
    """In this block ``model.forward`` works on groups of rows; nothing changes unless :func:`ignores_padding`."""
    if not ignores_padding(model):
        yield
        return
    original = model.forward

    @wraps(original)
    def forward(item_seq: Tensor, *others: Tensor) -> Tensor:
        return _in_groups(original, item_seq, others)

    model.forward = forward
    try:
        yield
    finally:
        del model.forward  # the class's is there again


def _in_groups(forward: Any, item_seq: Tensor, others: tuple[Tensor, ...]) -> Tensor:
    """``forward`` of sessions [B, L] and other tensors [B]: states [B, D], or [B, L, D] with zeros in the padding."""
    lengths = (item_seq > 0).sum(1)
    parts = groups(lengths)
    states = []
    for rows in parts:
        longest = int(lengths[rows[-1]])
        state = forward(item_seq[rows, :longest], *(other[rows] for other in others))
        if state.dim() == 3:
            state = F.pad(state, (0, 0, 0, item_seq.shape[1] - longest))
        states.append(state)
    return torch.cat(states)[torch.argsort(torch.cat(parts))]


def groups(lengths: Tensor) -> list[Tensor]:
    """Positions of the rows of each group, shorter rows first; every row in exactly one, rows of one length together.

    Args:
        lengths: of the rows, [B]; B is 1 or more.
    """
    order = torch.argsort(lengths, stable=True)
    _, counts = torch.unique_consecutive(lengths[order], return_counts=True)
    sizes = [0]
    for count in counts.tolist():
        if sizes[-1] >= GROUP:
            sizes.append(0)
        sizes[-1] += count
    return list(order.split(sizes))
