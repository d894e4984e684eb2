"""First-order Markov chain: what followed the last item in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from recbole_hiersrec.baselines.counting import CountingModel
from recbole_hiersrec.data.dataset import item_counts_of
from recbole_hiersrec.model.loss import next_items


class MarkovChain(CountingModel):
    """Score of item j after last item i: count(i -> j) + popularity(j) / (1 + all interactions).

    The maximum-likelihood chain (Rendle et al., 2010, section 3) ranks by count(i -> j); the second term is below 1,
    so it only orders items with the same count, and stands in where the last item was never followed by anything.
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
        popularity = item_counts_of(dataset).double()
        self.register_buffer("offsets", torch.from_numpy(chain.indptr.astype(np.int64)))
        self.register_buffer("followers", torch.from_numpy(chain.indices.astype(np.int64)))
        self.register_buffer("follower_counts", torch.from_numpy(chain.data))
        self.register_buffer("popularity", (popularity / (1 + popularity.sum())).float())

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, [B, N + 1]."""
        last = self.gather_indexes(
            interaction[self.ITEM_SEQ].unsqueeze(-1), interaction[self.ITEM_SEQ_LEN] - 1
        ).squeeze(-1)  # [B]
        scores = self.popularity.expand(len(last), -1).clone()
        starts, ends = self.offsets[last], self.offsets[last + 1]
        row = torch.repeat_interleave(torch.arange(len(last), device=last.device), ends - starts)
        within = torch.arange(len(row), device=last.device) - torch.repeat_interleave(
            torch.cumsum(ends - starts, 0) - (ends - starts), ends - starts
        )
        entry = torch.repeat_interleave(starts, ends - starts) + within
        scores[row, self.followers[entry]] += self.follower_counts[entry]
        return scores
