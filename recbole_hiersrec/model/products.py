"""Inner products of each query with a few rows of a table, without a copy of those rows.

Written out, ``(queries.unsqueeze(1) * table[rows]).sum(-1)`` holds T x E x A numbers three times over, two fifths
of a training step's time; here a block of queries at a time is held, and both gradients are sums of rows.

Axes: T queries, A width, E rows a query, U rows of the table.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_AT_ONCE = 1 << 20
"""Numbers gathered at once: 4 MiB, about what a cache of the second level holds."""


class _ListedProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(queries, table, rows)
        found = queries.new_empty(rows.shape)
        at_once = max(1, _AT_ONCE // max(1, rows.size(1) * queries.size(1)))
        for start in range(0, len(rows), at_once):
            block = slice(start, start + at_once)
            listed = F.embedding(rows[block], table)  # [t, E, A]
            found[block] = torch.bmm(listed, queries[block].unsqueeze(2)).squeeze(2)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        queries, table, rows = ctx.saved_tensors
        (gradient,) = gradients
        of_queries = of_table = None
        if ctx.needs_input_grad[0]:
            of_queries = F.embedding_bag(rows, table, per_sample_weights=gradient, mode="sum")
        if ctx.needs_input_grad[1]:
            flat, order = torch.sort(rows.reshape(-1), stable=True)
            starts = torch.searchsorted(flat, torch.arange(len(table), device=rows.device))
            of_table = F.embedding_bag(
                order // rows.size(1),
                queries,
                starts,
                per_sample_weights=gradient.reshape(-1)[order],
                mode="sum",
            )
        return of_queries, of_table, None


def listed_products(queries: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """``queries[t] . table[rows[t, e]]``, float32 [T, E], with gradients for queries and table.

    Args:
        queries: [T, A].
        table: [U, A].
        rows: long [T, E], of 0..U - 1.
    """
    if rows.numel() == 0:
        return queries.new_zeros(rows.shape, dtype=torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        return _ListedProducts.apply(queries.float(), table.float(), rows)
