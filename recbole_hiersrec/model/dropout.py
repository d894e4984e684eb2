"""Dropout with masks that are cheap to draw on a processor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 1 << 16
"""Values of 16 random bits; an element is kept or dropped by one of them."""


class Dropout(nn.Dropout):
    """Inverted dropout (Srivastava et al., JMLR 15, 2014), as ``nn.Dropout``.

    On a processor torch draws each element's fate from a Bernoulli distribution of its own, which takes longer than the
    layer before it. Here 64 random bits decide four elements: the probability is rounded to 1 / 65,536, and what is
    kept is scaled by the rounded one, so that the expectation is exact.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape; in training each is 0 with probability ``p`` and scaled by 1 / (1 - p) otherwise."""
        dropped = round(self.p * STEPS)
        if not self.training or values.device.type != "cpu" or dropped in (0, STEPS):
            return F.dropout(values, self.p, self.training)
        kept = _random_16_bits(values.numel()).view(values.shape) >= dropped - STEPS // 2
        return values * kept.to(values.dtype).mul_(STEPS / (STEPS - dropped))


def _random_16_bits(size: int) -> Tensor:
    """Uniform over all of int16, [size]."""
    return torch.empty(-(-size // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)[:size]
