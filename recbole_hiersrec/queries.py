"""What every inner-product scorer makes of sessions; models, candidate rules, evaluation and explanations share it.

Axes: B sessions, L history length, A augmented width, C_m categories of level m.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Queries:
    """What a scorer makes of a batch of sessions. Score of item i: ``vectors . a_i``, and + ``repeat`` if i was seen.

    Attributes:
        vectors: float32 [B, A], the augmented queries.
        history: long [B, L], item ids of the sessions, 0-padded on the right.
        repeat: float32 [B], added to the score of each item of the session's history, once; None: nothing is.
        category_logits: one [B, C_m] a level, coarse to fine; empty for scorers without category heads.
    """

    vectors: Tensor
    history: Tensor
    repeat: Tensor | None = None
    category_logits: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.vectors)


def add_repeat(scores: Tensor, queries: Queries) -> Tensor:
    """Scores [B, N + 1] with the repeat term on each session's own items, in place; without a term as they are."""
    if queries.repeat is None:
        return scores
    own = scores.gather(1, queries.history) + queries.repeat.unsqueeze(1)  # an item seen twice: the same value
    return scores.scatter_(1, queries.history, own)
