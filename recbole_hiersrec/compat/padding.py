"""Defects of RecBole's models that read the padding behind a session as if it were clicks.

RecBole pads sessions on the right; most of a row of 50 is padding where sessions are short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from recbole.model.sequential_recommender.caser import Caser
from recbole.model.sequential_recommender.hgn import HGN
from recbole.model.sequential_recommender.nextitnet import NextItNet
from recbole.model.sequential_recommender.sine import SINE
from recbole.model.sequential_recommender.stamp import STAMP
from torch import Tensor, nn

from recbole_hiersrec.compat.patch import wrap


def zero_padding() -> None:
    """The vector of the padding is 0 in the models that sum over whole rows: Caser, HGN, SINE, STAMP.

    Upstream: ``nn.Embedding(..., padding_idx=0)`` makes it 0 and never trains it, and then the models' own
    initialisation fills it with random numbers: ``model/sequential_recommender/caser.py:108``, ``hgn.py:96``,
    ``sine.py:83``, ``stamp.py:72``. STAMP divides the sum by the number of items (``stamp.py:82``), so that a session
    of 2 in a row of 50 is 24 parts of that vector to one of its items.
    """
    for model in (Caser, HGN, SINE, STAMP):
        wrap(model, "__init__", _with_zero_padding)


def _with_zero_padding(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, config: Any, dataset: Any) -> None:
        original(self, config, dataset)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                    module.weight[module.padding_idx].zero_()

    return init


def state_of_the_last_item() -> None:
    """NextItNet predicts from its state at the session's last item.

    Upstream: ``model/sequential_recommender/nextitnet.py:99`` takes the state at the end of the row, up to 49 steps of
    padding later; the authors' code pads on the left, where the row ends with the last item.
    """
    wrap(NextItNet, "forward", lambda original: _forward)


def _forward(self: Any, item_seq: Tensor) -> Tensor:
    states = self.residual_blocks(self.item_embedding(item_seq))
    return self.final_layer(self.gather_indexes(states, (item_seq > 0).sum(1) - 1))
