"""Item ids -> item vectors: id + category embeddings + pooled title tokens + other metadata."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ItemVectors(nn.Module):
    """v_i = id_i + sum_m category_m[c_m(i)] + mean of title tokens + sum_f metadata_f (M2TRec, arXiv 2209.11824).

    Args:
        n_items: number of items N; ids are 1..N, 0 is the PAD, whose vector is 0.
        hidden_size: width D.
        category_sizes: number of categories on each of M levels.
        item_category: [N + 1, M], row 0 ignored.
        title_tokens: [N + 1, T] token ids from 1, 0-padded; T may be 0.
        metadata: [N + 1, F] value ids from 1, 0 missing; F may be 0.
        use_item_id: False leaves the id embedding out.
        sparse: gradients of the id table hold the rows that were looked up, so a step costs the same in a
            catalogue of any size; needs an optimiser that takes such gradients.
        names: of the levels, and of the metadata, as :meth:`parts` calls them.
        category_vectors: False leaves the categories out.
        metadata_dropout: probability with which an item is its id alone in a training step, wherever it occurs there.
    """

    item_category: Tensor
    title_tokens: Tensor
    metadata: Tensor

    def __init__(
        self,
        *,
        n_items: int,
        hidden_size: int,
        category_sizes: Sequence[int],
        item_category: Tensor,
        title_tokens: Tensor,
        metadata: Tensor,
        use_item_id: bool,
        sparse: bool = False,
        names: Sequence[str] = (),
        category_vectors: bool = True,
        metadata_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_items = n_items
        self.register_buffer("item_category", item_category.clamp(min=0))
        # Copies: what is loaded into the buffers must not reach the catalogue of the data set.
        self.register_buffer("title_tokens", title_tokens.clone())
        self.register_buffer("metadata", metadata.clone())
        self.id = (
            nn.Embedding(n_items + 1, hidden_size, padding_idx=0, sparse=sparse) if use_item_id else None
        )
        self.names = tuple(names)
        self.metadata_dropout = metadata_dropout
        self.sparse = sparse
        self.category_sizes = tuple(category_sizes)
        embedded = category_sizes if category_vectors else ()
        self.category = nn.ModuleList(nn.Embedding(size, hidden_size) for size in embedded)
        n_tokens = int(title_tokens.max()) + 1 if title_tokens.numel() else 0
        self.title = nn.Embedding(n_tokens, hidden_size, padding_idx=0) if n_tokens else None
        self.fields = nn.ModuleList(
            nn.Embedding(int(metadata[:, field].max()) + 1, hidden_size, padding_idx=0)
            for field in range(metadata.size(1))
        )

    def forward(self, items: Tensor | None = None) -> Tensor:
        """Vectors of ``items`` (any shape [...]) as [..., D]; of the whole table [N + 1, D] when None."""
        if items is None:
            items = torch.arange(self.n_items + 1, device=self.item_category.device)
        flat = items.reshape(-1)
        parts = self.parts(flat)
        if self.training and self.metadata_dropout:
            kept = torch.rand(len(flat), 1, device=flat.device) >= self.metadata_dropout
            parts = {name: part if name == "id" else part * kept for name, part in parts.items()}
        vectors = torch.stack(list(parts.values())).sum(0) * (flat > 0).unsqueeze(-1)
        return vectors.view(*items.shape, -1)

    def parts(self, items: Tensor) -> dict[str, Tensor]:
        """The summands of the vectors of ``items`` [n], each [n, D]: "id", the levels, "title", the metadata."""
        own = {"id": self.id(items)} if self.id is not None else {}
        return own | self.described(self.item_category[items], self.title_tokens[items], self.metadata[items])

    def described(self, categories: Tensor, tokens: Tensor, metadata: Tensor) -> dict[str, Tensor]:
        """What is known of items apart from their ids, as :meth:`parts` returns it.

        Args:
            categories: [n, M].
            tokens: of their titles, 0-padded, [n, T].
            metadata: [n, F].
        """
        parts = {}
        if self.title is not None:
            parts["title"] = F.embedding_bag(tokens, self.title.weight, mode="mean", padding_idx=0)
        of_levels, of_fields = self.names[: len(self.category_sizes)], self.names[len(self.category_sizes) :]
        for level, table in enumerate(self.category):
            parts[of_levels[level]] = table(categories[:, level])
        for field, table in enumerate(self.fields):
            parts[of_fields[field]] = table(metadata[:, field])
        return parts
