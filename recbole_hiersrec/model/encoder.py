"""Item vectors of a session [B, L, D] -> one state a position [B, L, D], each seeing only what came before."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SessionEncoder(nn.Module):
    """Causal Transformer (Kang & McAuley, SASRec, 2018, arXiv 1808.09781).

    Sessions are padded on the right, so the causal mask alone keeps padding from every real position.

    Args:
        hidden_size: width D of items and states.
        max_length: longest session L.
        n_layers: number of blocks.
        n_heads: attention heads; must divide ``hidden_size``.
        inner_size: width of the feed-forward layers.
        hidden_dropout: dropout on the input, on the output of every sub-layer, and inside the feed-forward layers.
        attn_dropout: dropout on attention weights.
    """

    def __init__(
        self,
        *,
        hidden_size: int,
        max_length: int,
        n_layers: int,
        n_heads: int,
        inner_size: int,
        hidden_dropout: float,
        attn_dropout: float,
    ) -> None:
        super().__init__()
        self.position = nn.Embedding(max_length, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(hidden_dropout)
        block = nn.TransformerEncoderLayer(
            hidden_size, n_heads, inner_size, dropout=hidden_dropout, activation="gelu", batch_first=True
        )
        block.self_attn.dropout = attn_dropout
        self.blocks = nn.TransformerEncoder(block, n_layers, enable_nested_tensor=False)

    def forward(self, items: Tensor) -> Tensor:
        """Encode sessions.

        Args:
            items: vectors of the session items, padded on the right, [B, L, D].

        Returns:
            States [B, L, D]; the state at position t depends on positions 0..t only.
        """
        length = items.size(1)
        positions = torch.arange(length, device=items.device)
        states = self.dropout(self.norm(items + self.position(positions)))  # [B, L, D]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=items.device, dtype=items.dtype)
        return self.blocks(states, mask=mask, is_causal=True)
