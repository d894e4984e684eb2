"""First-order Markov chain: what followed the last item in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from recbole_hiersrec.baselines.counting import CountingModel
from recbole_hiersrec.baselines.places import popularity_places
from recbole_hiersrec.data.dataset import item_counts_of
from recbole_hiersrec.model.loss import next_items


class MarkovChain(CountingModel):
    """Score of item j after last item i: count(i -> j) + r(j) / (1 + R).

    The maximum-likelihood chain (Rendle et al., 2010, Factorizing personalized Markov chains, section 3) ranks by
    count(i -> j). r(j) is the place of j's number of training interactions among the R different such numbers,
    lowest 0; so the second term is below 1, orders only items with the same count, and stands in where the last
    item was never followed by anything. (Places rather than the numbers themselves, which next to a large count
    would be lost in float32.)
    """

    offsets: Tensor
    followers: Tensor
    follower_counts: Tensor
    popularity: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        rows = dataset.inter_feat
        history = rows[self.ITEM_SEQ]
        labels = next_items(history, rows[self.ITEM_SEQ_LEN], rows[self.ITEM_ID])
        real = (labels > 0).numpy()
        pairs = (np.ones(real.sum(), dtype=np.float32), (history.numpy()[real], labels.numpy()[real]))
        chain = csr_matrix(pairs, shape=(self.n_items, self.n_items))
        chain.sum_duplicates()
        places = popularity_places(item_counts_of(dataset))
        self.register_buffer("offsets", torch.from_numpy(chain.indptr.astype(np.int64)))
        self.register_buffer("followers", torch.from_numpy(chain.indices.astype(np.int64)))
        self.register_buffer("follower_counts", torch.from_numpy(chain.data))
        self.register_buffer("popularity", places.float() / (2 + places.max()))

    def count_scores(self, history: Tensor, length: Tensor, interaction: Any) -> Tensor:
        """What followed the last items, [B, N + 1]."""
        last = history.gather(1, length.unsqueeze(1) - 1).squeeze(1)  # [B]
        scores = self.popularity.expand(len(last), -1).clone()
        starts, ends = self.offsets[last], self.offsets[last + 1]
        row = torch.repeat_interleave(torch.arange(len(last), device=last.device), ends - starts)
        within = torch.arange(len(row), device=last.device) - torch.repeat_interleave(
            torch.cumsum(ends - starts, 0) - (ends - starts), ends - starts
        )
        entry = torch.repeat_interleave(starts, ends - starts) + within
        scores[row, self.followers[entry]] += self.follower_counts[entry]
        return scores
