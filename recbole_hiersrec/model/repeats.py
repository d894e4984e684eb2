"""The repeat term: what the items that a session already holds get on top of their score.

Axes: B sessions, L length, T targets, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recbole_hiersrec.queries import distinct

PACE = 10.0
"""How many times faster the counted term's shifts learn than other parameters do."""


@dataclass(frozen=True)
class OwnItems:
    """The distinct items that a session holds up to a position, each where it first stands.

    Attributes:
        ids: item ids (or positions in a list of items where 0 is the PAD), 0 elsewhere, [T, L].
        times: how often each came, 0 elsewhere, [T, L].
        since: how many steps before the position it came last, 0 for the item at the position, [T, L].
    """

    ids: Tensor
    times: Tensor | None = None
    since: Tensor | None = None


def own_items(history: Tensor, rows: Tensor, positions: Tensor, counted: bool = True) -> OwnItems:
    """The items that a session holds up to and with each of T positions.

    Args:
        history: item ids, or positions in a list of items where 0 is the PAD; padded on the right, [B, L].
        rows: sessions of the positions, [T].
        positions: [T].
        counted: whether ``times`` and ``since`` are wanted.
    """
    places = torch.arange(history.size(1), device=history.device)
    ids = distinct(history)[rows].masked_fill(places > positions.unsqueeze(1), 0)  # [T, L]
    if not counted:
        return OwnItems(ids)
    same = history.unsqueeze(2) == history.unsqueeze(1)  # [B, L, L]: item, later place
    times = same.cumsum(2)[rows, :, positions]
    last = (same * places).cummax(2).values[rows, :, positions]
    return OwnItems(ids, times * (ids > 0), (positions.unsqueeze(1) - last) * (ids > 0))


class RepeatTerm(nn.Linear):
    """r(h), or counted r(h) + a(h) log(times) - c(h) log(1 + steps since), all linear in the state h.

    How often and how long ago an item came says much about whether it comes again where people buy supplies
    (Anderson et al., "The dynamics of repeat consumption", WWW 2014). The shifts of the three are the same for all
    states and begin at 0; they are learned :data:`PACE` times faster, as few steps have to carry them far.

    Args:
        hidden_size: D.
        counted: whether the items' counts and steps are looked at.
    """

    def __init__(self, hidden_size: int, counted: bool) -> None:
        super().__init__(hidden_size, 3 if counted else 1)
        self.counted = counted
        if counted:
            nn.init.zeros_(self.bias)

    def forward(self, states: Tensor, own: OwnItems) -> Tensor:  # type: ignore[override]
        """Bonus of each of the session's items, [T, L]; 0 where ``own`` has none.

        Args:
            states: [T, D].
            own: of each state's session, counted if the term is.
        """
        real = own.ids > 0
        if not self.counted:
            return super().forward(states).float() * real
        assert own.times is not None
        assert own.since is not None
        found = (states @ self.weight.T).float() + PACE * self.bias
        base, often, ago = found.unsqueeze(2).unbind(1)  # [T, 1] each
        return (base + often * own.times.clamp(min=1).log() - ago * own.since.log1p()) * real
