"""What the evaluation knows of a model: something that scores test cases. And the one scoring kernel.

Axes: B batch, n cases, L history length, A augmented width, N items (ids 1..N, 0 is PAD).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor

from recbole_hiersrec.queries import Queries, add_apart

KERNEL_ROWS = 32
"""Queries multiplied at once. A multiple of 16, so that every block starts on a 64-byte border."""

KERNEL_ITEMS = 64
"""Smaller item tables are padded to this many rows: in tiny products libraries treat the rows differently."""

_LISTED_ROWS = 4096


class Scorer(Protocol):
    """Scores test cases, which are addressed by their row in :class:`Cases`."""

    n_items: int

    def batch(self, index: Tensor) -> Any:
        """Return the model's input for the cases ``index`` (long [B]); not part of any timing."""

    def scores(self, batch: Any) -> Tensor:
        """Return float32 [B, N+1], higher is better; column 0 (PAD) is never read."""


class InnerProductScorer(Scorer, Protocol):
    """A scorer whose scores are :func:`score` of queries and item vectors, so that an index can serve it."""

    def queries(self, batch: Any) -> Queries:
        """Return the augmented queries, and what else the score needs."""

    def item_vectors(self) -> Tensor:
        """Return the augmented item vectors, float32 [N+1, A]; row 0 is PAD."""


def is_inner_product(scorer: Scorer) -> TypeGuard[InnerProductScorer]:
    """Tell whether ``scorer`` also has ``queries`` and ``item_vectors``."""
    return all(callable(getattr(scorer, name, None)) for name in ("queries", "item_vectors"))


@torch.no_grad()
def score_kernel(queries: Tensor, item_vectors: Tensor) -> Tensor:
    """Multiply queries with the whole item table, always in blocks of ``KERNEL_ROWS`` rows.

    A matrix product rounds differently for different shapes and alignments, which changes ranks near ties.
    Here each product has the same shape, the last block being padded with zeros, so that
    the scores of a case do not depend on the batch it came in. No gradients.

    Args:
        queries: [B, A].
        item_vectors: [N+1, A].

    Returns:
        [B, N+1].
    """
    n_queries, width = queries.shape
    n_padded = -(-n_queries // KERNEL_ROWS) * KERNEL_ROWS
    padded = queries.new_zeros(n_padded, width)  # a fresh, aligned copy even where nothing is padded
    padded[:n_queries] = queries
    n_columns = len(item_vectors)
    if n_columns < KERNEL_ITEMS:
        item_vectors = torch.cat([item_vectors, item_vectors.new_zeros(KERNEL_ITEMS - n_columns, width)])
    scores = queries.new_empty(n_padded, len(item_vectors))
    for start in range(0, n_padded, KERNEL_ROWS):
        rows = slice(start, start + KERNEL_ROWS)
        torch.mm(padded[rows], item_vectors.T, out=scores[rows])
    return scores[:n_queries, :n_columns]


@torch.no_grad()
def score(queries: Queries, item_vectors: Tensor) -> Tensor:
    """Scores of all items, [B, N+1]: :func:`score_kernel`, and the bonus of the items that are scored apart."""
    return add_apart(score_kernel(queries.vectors, item_vectors), queries)


@dataclass(frozen=True)
class Cases:
    """Test or validation cases: a history, and the one item that followed it.

    Attributes:
        history: long [n, L], oldest item first, padded with 0 on the right.
        length: long [n], items in each history.
        target: long [n].
    """

    history: Tensor
    length: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        n_cases = len(self.target)
        if self.history.dim() != 2 or len(self.history) != n_cases or self.length.shape != (n_cases,):
            raise ValueError(
                "cases: expected history [n, L], length [n], target [n]; received "
                f"{tuple(self.history.shape)}, {tuple(self.length.shape)}, {tuple(self.target.shape)}"
            )

    def __len__(self) -> int:
        return len(self.target)

    def fingerprint(self, item_tokens: Sequence[str]) -> str:
        """Return a SHA-256 (hex) of all histories and targets, written as tokens.

        It depends neither on how ids were dealt out nor on how far histories are padded.

        Args:
            item_tokens: the token of each id, [N+1]; entry 0 is PAD's.
        """
        quoted = [json.dumps(str(token)) for token in item_tokens]
        return _digest(
            ",".join([quoted[item] for item in history[:length]]) + ">" + quoted[target]
            for history, length, target in self._rows()
        )

    def _rows(self) -> Iterator[tuple[list[int], int, int]]:
        """(history with its padding, length, target) of each case; a few thousand at a time are Python numbers."""
        blocks = (column.split(_LISTED_ROWS) for column in (self.history, self.length, self.target))
        for block in zip(*blocks, strict=True):
            yield from zip(*(column.tolist() for column in block), strict=True)


def universe_fingerprint(item_tokens: Sequence[str]) -> str:
    """Return a SHA-256 (hex) of the item tokens in the order of their ids.

    Args:
        item_tokens: the token of each id, [N+1]; entry 0 is PAD's and is left out.
    """
    return _digest(json.dumps(str(token)) for token in item_tokens[1:])


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
