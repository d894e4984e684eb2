"""States -> category logits a level, coarse to fine, and the item query that has seen all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_hiersrec.model.dropout import Dropout


class HeadsOutput(NamedTuple):
    """What the heads make of a state.

    Attributes:
        item_query: z, [..., D].
        category_queries: q_m a level, each [..., D].
        category_logits: q_m U_m^T + b_m a level, each [..., C_m].
    """

    item_query: Tensor
    category_queries: list[Tensor]
    category_logits: list[Tensor]


class HierarchicalHeads(nn.Module):
    """q_m = f_m(h, prediction of level m - 1), logits_m = q_m U_m^T + b_m, z = h + sum_m g_m(prediction of level m).

    A prediction is passed on as the expected category embedding p_m U_m ("soft", HierSRec, arXiv 2309.06533,
    section 3), as the embedding of the likeliest category ("hard"), or not at all ("none": flat multi-task).

    Args:
        hidden_size: width D.
        category_sizes: number of categories on each of M levels, coarse to fine; may be empty.
        feedback: "soft", "hard" or "none".
        dropout: on the input of every f_m, and on what the item query is told.
        detached: the item query sees the predictions' values and gives them no gradients.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        category_sizes: Sequence[int],
        feedback: str,
        dropout: float,
        detached: bool = False,
    ) -> None:
        super().__init__()
        self.feedback = feedback
        self.detached = detached
        self.dropout = Dropout(dropout)
        self.hidden_size = hidden_size
        levels = range(len(category_sizes))
        fed = [feedback != "none" and level > 0 for level in levels]
        self.query = nn.ModuleList(
            nn.Sequential(
                Dropout(dropout),
                nn.Linear(hidden_size * (2 if fed[level] else 1), hidden_size),
                nn.GELU(),
                nn.Linear(hidden_size, hidden_size),
            )
            for level in levels
        )
        self.category = nn.ModuleList(nn.Embedding(size, hidden_size) for size in category_sizes)
        self.bias = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in category_sizes)
        self.to_item = nn.ModuleList(
            nn.Linear(hidden_size, hidden_size, bias=False) for _ in levels if feedback != "none"
        )
        for passed in self.to_item:  # the item query begins as the state
            nn.init.zeros_(passed.weight)  # type: ignore[arg-type]

    def forward(self, states: Tensor, category_states: Tensor | None = None) -> HeadsOutput:
        """Run all levels.

        Args:
            states: [..., D]; z begins with them.
            category_states: [..., D], what the f_m see; the same states when absent.

        Returns:
            The item query [..., D], and of each level its query [..., D] and logits [..., C_m].
        """
        item_query = states
        states = states if category_states is None else category_states
        queries: list[Tensor] = []
        logits: list[Tensor] = []
        passed: Tensor | None = None
        for level, (query, category, bias) in enumerate(
            zip(self.query, self.category, self.bias, strict=True)
        ):
            seen = states if passed is None else torch.cat([states, passed], dim=-1)
            queries.append(query(seen))  # [..., D]
            table: Tensor = category.weight  # type: ignore[assignment]
            logits.append(queries[-1] @ table.T + bias)  # [..., C_m]
            if self.feedback != "none":
                passed = self._prediction(logits[-1], table)
                told = passed.detach() if self.detached else passed
                item_query = item_query + self.dropout(self.to_item[level](told))
        return HeadsOutput(item_query, queries, logits)

    def _prediction(self, logits: Tensor, table: Tensor) -> Tensor:
        """What level m tells the next one and the item query, [..., D]."""
        if self.feedback == "hard":
            return table[logits.argmax(-1)]
        return logits.softmax(-1) @ table
