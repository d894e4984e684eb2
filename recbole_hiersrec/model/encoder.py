"""Item vectors of a session [B, L, D] -> one state a position [B, L, D], each seeing only what came before."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_hiersrec.model.dropout import Dropout


class Block(nn.TransformerEncoderLayer):
    """A Transformer block that can be asked for its output at one position of each session."""

    def __init__(
        self, hidden_size: int, n_heads: int, inner_size: int, hidden_dropout: float, attn_dropout: float
    ) -> None:
        super().__init__(hidden_size, n_heads, inner_size, activation="gelu", batch_first=True)
        self.self_attn.dropout = attn_dropout
        self.dropout, self.dropout1, self.dropout2 = (Dropout(hidden_dropout) for _ in range(3))

    def at(self, states: Tensor, place: Tensor) -> Tensor:
        """Output [B, D] at the position ``place`` [B] of sessions [B, L, D], equal to what a causal mask gives.

        Of the other positions only keys and values are computed.
        """
        if len(states) == 0:
            return states[:, 0]  # attention takes no mask of no rows
        own = states[torch.arange(len(states), device=states.device), place].unsqueeze(1)  # [B, 1, D]
        later = torch.arange(states.size(1), device=states.device) > place.unsqueeze(1)  # [B, L]
        seen, _ = self.self_attn(own, states, states, key_padding_mask=later, need_weights=False)
        own = self.norm1(own + self.dropout1(seen))
        return self.norm2(own + self._ff_block(own)).squeeze(1)


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
        self.dropout = Dropout(hidden_dropout)
        block = Block(hidden_size, n_heads, inner_size, hidden_dropout, attn_dropout)
        self.blocks = nn.TransformerEncoder(block, n_layers, enable_nested_tensor=False)

    def forward(self, items: Tensor, place: Tensor | None = None) -> Tensor:
        """Encode sessions.

        Args:
            items: vectors of the session items, padded on the right, [B, L, D].
            place: the only position of each session whose state is wanted, [B]; None: all.

        Returns:
            States [B, L, D], or [B, D]; the state at position t depends on positions 0..t only.
        """
        length = items.size(1)
        positions = torch.arange(length, device=items.device)
        states = self.dropout(self.norm(items + self.position(positions)))  # [B, L, D]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=items.device, dtype=items.dtype)
        if place is None:
            return self.blocks(states, mask=mask, is_causal=True)
        *first, last = self.blocks.layers
        for block in first:
            states = block(states, src_mask=mask, is_causal=True)
        return last.at(states, place)
