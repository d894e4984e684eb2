"""What came after each item in training, how far it is trusted, and whom to ask about a rare item: its category.

A network generalises well and memorises poorly; counting does the opposite (Cheng et al., 2016, Wide & Deep, arXiv
1606.07792). The memory of a session that ends in x_1 (the last item), x_2, ... gives item j the odds

    p(j) = sum_g sum_d w_gd [ n_d(x_g, j) + k sum_f e_f n_d(f(x_g), j) / (n(f(x_g)) + k_f) ] / (n(x_g) + k),

with fields asked for the last two items alone, and of every item and value no more than the K followers that came
most often. Here n_d(x, j) counts how often j came d steps after x in training and n(x) how often anything came after
x. An item that was rarely followed says what its category (or brand, or any field f of its) says: smoothing with a
Dirichlet prior of that mean, as n-gram models are smoothed (MacKay & Peto, 1995, A hierarchical Dirichlet language
model). With w_11 alone, and k = 0, the ranking by p is that of a first-order Markov chain. The score of j gets
log(1 + exp(a(h)) p(j)^b(h)) on top, a and b linear in the state h: where the state trusts the memory, the ranking
is that of the memory, smoothed by everything else; where p is 0 the score is the network's.

Axes: T targets, B sessions, L length, D width, N items (ids 1..N, 0 is PAD), V values of a field (0: none),
K followers kept of a value, W distances, G last items that are asked, E items scored apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.data.taxonomy import UNKNOWN
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.queries import Apart
from recbole_hiersrec.settings import HierSRecSettings

IntArray = NDArray[np.integer]

PACE = 10.0
"""The memory's few numbers move this many times as fast as a weight would: an epoch or two has to do."""

DECAY = 0.7
"""Followers are kept by how often they came, those at distance d counting DECAY^(d - 1)."""

_AT_ONCE = 1 << 22
"""Comparisons held at once: 16 MiB."""


class Followers(NamedTuple):
    """What followed each value of a field; of the field "item", the ids themselves.

    Attributes:
        ids: of the items that came most often, 0-padded, int32 [V, K].
        counts: how often each came at each distance, int16 [V, K, W]; int32 if one is above 32,767.
        occurrences: how often anything came next, [V].
        border: frequency and id of the item that came most often of those that are not kept; 0 where all are;
            float64 [V, 2].
        value: of each item, [N + 1]; 0 where it has none.
    """

    ids: Tensor
    counts: Tensor
    occurrences: Tensor
    border: Tensor
    value: Tensor


class Asked(NamedTuple):
    """What a table says about items of sessions, one row of candidates a place [B, L].

    Attributes:
        ids: [B, L, K]; 0 where there is none.
        shares: n_d / (n + k), [B, L, K, W].
        left: k / (n + k), the share of what other tables say, [B, L].
    """

    ids: Tensor
    shares: Tensor
    left: Tensor


class FollowerTable(nn.Module):
    """The followers of each value of one field.

    Args:
        followers: what was counted.
        asked: about how many of a session's last items, G.
        prior: k at the start; it is learned.
    """

    ids: Tensor
    counts: Tensor
    occurrences: Tensor
    border: Tensor
    value: Tensor

    def __init__(self, followers: Followers, asked: int, prior: float) -> None:
        super().__init__()
        for name, values in followers._asdict().items():
            self.register_buffer(name, values)
        self.asked = asked
        self._start = math.log(prior)
        self.log_prior = nn.Parameter(torch.zeros(()))

    def forward(self, items: Tensor, target: Tensor | None = None, length: Tensor | None = None) -> Asked:
        """Ask about every item of sessions.

        Args:
            items: [B, L], 0-padded on the right.
            target: in training, the item that came after each row [B]: what the row itself added to the counts is
                taken out, and with it the items that are kept only because of it, which are the target more often
                than what is left of their counts says. (A session longer than L is several rows. With leave-one-out
                a validation or test session's own training part is in the counts.)
            length: with ``target``, the number of items of each session, [B].
        """
        of = self.value[items]
        ids, counts, times = self.ids[of].long(), self.counts[of].float(), self.occurrences[of].float()
        if target is not None and length is not None:
            own_counts, own_times = self._of_session(items, of, ids, target, length)
            counts, times = (counts - own_counts).clamp(min=0), (times - own_times).clamp(min=0)
            counts = counts * self._kept(ids, counts, self.border[of]).unsqueeze(-1)
        prior = (self._start + PACE * self.log_prior).exp()
        return Asked(ids, counts / (times + prior)[..., None, None], prior / (times + prior))

    @staticmethod
    def _kept(ids: Tensor, counts: Tensor, border: Tensor) -> Tensor:
        """Whether each item [B, L, K] comes before the first that is not kept, with the ``counts`` [B, L, K, W]."""
        power = DECAY ** torch.arange(counts.size(-1), device=counts.device, dtype=torch.float64)
        more = (counts.double() * power).sum(-1) - border[..., :1]
        return (more > 1e-6) | ((more > -1e-6) & (ids < border[..., 1:]))

    def _of_session(
        self, items: Tensor, of: Tensor, ids: Tensor, target: Tensor, length: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What the rows themselves added: to the counts [B, L, K, W] and to the occurrences [B, L]."""
        distances = self.counts.size(-1)
        whole = F.pad(items, (0, distances)).scatter(
            1, length.unsqueeze(1), target.unsqueeze(1)
        )  # [B, L + W]
        same = ((of.unsqueeze(2) == of.unsqueeze(1)) & (items > 0).unsqueeze(1)).float()  # [B, L, L]
        shifted = [F.pad(same, (distance, distances - distance)) for distance in range(1, distances + 1)]
        after = torch.stack(shifted, dim=-1)  # [B, L, L + W, W]
        later = whole.masked_fill(whole == 0, -1).unsqueeze(1).unsqueeze(1)
        at_once = max(1, _AT_ONCE // max(1, ids[0].numel() * whole.size(1))) if len(ids) else 1
        found = [
            (ids[start : start + at_once].unsqueeze(3) == later[start : start + at_once]).float()
            @ after[start : start + at_once]
            for start in range(0, len(ids), at_once)
        ]  # [b, L, K, L + W] @ [b, L, L + W, W]
        return torch.cat(found) if found else ids.new_zeros(*ids.shape, distances).float(), same.sum(2)


class Memory(nn.Module):
    """Odds that the counts of training give items, and what a session's state makes of them.

    Args:
        items: table of the items.
        fields: tables of fields, which stand in where an item was rarely followed.
        most: items that are scored apart, at most: those with the best odds.
        hidden_size: width D of states.
    """

    start: Tensor
    begin: Tensor

    def __init__(
        self, items: FollowerTable, fields: Sequence[FollowerTable], most: int, hidden_size: int
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList([items, *fields])
        self.most = most
        ago = torch.arange(items.asked).unsqueeze(1)
        distance = torch.arange(items.counts.size(-1)).unsqueeze(0)
        start = 0.2 * 0.5**ago * 0.7**distance + torch.where(ago == distance, 0.3**ago, 0.0)
        self.register_buffer("start", start.log(), persistent=False)
        self.log_weight = nn.Parameter(torch.zeros_like(start))
        self.log_field_weight = nn.Parameter(torch.zeros(len(fields)))
        # Odds begin to count where they are above those of guessing, about 1 / N.
        begin = torch.tensor([math.log(max(2, len(items.value) - 1)) - 1, 1.0])
        self.register_buffer("begin", begin, persistent=False)
        self.shift = nn.Parameter(torch.zeros(2))
        self.trust = nn.Linear(hidden_size, 2, bias=False)
        nn.init.zeros_(self.trust.weight)

    @property
    def weights(self) -> Tensor:
        """w_gd, [G, W]."""
        return (self.start + PACE * self.log_weight).exp()

    @property
    def field_weights(self) -> Tensor:
        """e_f, [fields]."""
        return (math.log(0.3) + PACE * self.log_field_weight).exp()

    def recall(
        self,
        history: Tensor,
        length: Tensor,
        rows: Tensor,
        positions: Tensor,
        target: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Items that the memory knows at each position, with their odds.

        Args:
            history: item ids, padded with 0 on the right, [B, L].
            length: number of items, [B].
            rows: of the T positions, [T].
            positions: in their rows, [T]; what comes later in ``history`` is not looked at.
            target: in training, the item after each session, [B]; see :class:`FollowerTable`.

        Returns:
            Ids [T, E], no id twice in a row, 0-padded, best odds first (of equal ones the lower id); odds [T, E].
        """
        # Odds span many orders of magnitude: too many for bfloat16.
        with torch.autocast(history.device.type, enabled=False):
            ids, odds = self._asked(history, length, rows, positions, target)
            ids, order = torch.sort(ids, dim=1, stable=True)
            odds = odds.gather(1, order)
            first = torch.ones_like(ids, dtype=torch.bool)
            first[:, 1:] = ids[:, 1:] != ids[:, :-1]
            place = first.cumsum(1) - 1
            total = torch.zeros_like(odds).scatter_add(1, place, odds)
            distinct = torch.zeros_like(ids).scatter(1, place, ids)
            best = torch.sort(total.detach(), dim=1, descending=True, stable=True).indices[:, : self.most]
            return distinct.gather(1, best), total.gather(1, best)

    def _asked(
        self, history: Tensor, length: Tensor, rows: Tensor, positions: Tensor, target: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What every table says about the last items before they are put together: ids and odds, [T, *]."""
        weights, field_weights = self.weights, self.field_weights
        found, left = [], None
        for number, table in enumerate(self.tables):
            assert isinstance(table, FollowerTable)
            ago = torch.arange(table.asked, device=history.device)
            place = positions.unsqueeze(1) - ago  # [T, G]
            at = rows.unsqueeze(1), place.clamp(min=0)
            if target is None:
                asked = table(history[at])
                odds = (asked.shares @ weights[ago].T)[:, ago, :, ago].transpose(0, 1)  # [T, G, K]
            else:
                asked = table(history, target, length)
                odds = (asked.shares @ weights[ago].T)[at[0], at[1], :, ago]
                asked = Asked(asked.ids[at], asked.shares, asked.left[at])
            if left is None:
                left = asked.left
            else:
                odds = odds * (left[:, ago] * field_weights[number - 1]).unsqueeze(-1)
            known = (place >= 0).unsqueeze(-1) & (asked.ids > 0) & (odds.detach() > 0)
            found.append(((asked.ids * known).flatten(1), (odds * known).flatten(1)))
        ids, values = zip(*found, strict=True)
        return torch.cat(ids, dim=1), torch.cat(values, dim=1)

    def bonus(self, states: Tensor, ids: Tensor, odds: Tensor) -> Apart:
        """What each known item's score gets on top.

        Args:
            states: [T, D].
            ids: [T, E]; 0 where there is none.
            odds: [T, E].
        """
        trust = self.trust(states).float() + self.begin + PACE * self.shift
        level, slope = trust.unsqueeze(-1).unbind(1)  # [T, 1] each
        return Apart(ids, F.softplus(level + slope * odds.clamp(min=1e-9).log()) * (ids > 0))


def count_followers(pairs: Sequence[tuple[IntArray, IntArray]], value: IntArray, kept: int) -> Followers:
    """Count what followed each value of a field, and keep the most frequent; of equal ones the lower id.

    Args:
        pairs: for each distance 1..W, item ids before and after, [P] each.
        value: of each item, [N + 1]; 0 where it has none.
        kept: K.
    """
    before = np.concatenate([value[item] for item, _ in pairs]).astype(np.int64)
    after = np.concatenate([item for _, item in pairs]).astype(np.int64)
    distance = np.repeat(np.arange(len(pairs)), [len(item) for _, item in pairs])
    real = before > 0
    different, of = np.unique(before[real] * len(value) + after[real], return_inverse=True)
    counts = np.zeros((len(different), len(pairs)), np.int32)
    frequency = np.zeros(len(different))
    for step in range(len(pairs)):
        counts[:, step] = np.bincount(of[distance[real] == step], minlength=len(different))
        frequency += counts[:, step] * DECAY**step
    source, target = np.divmod(different, len(value))
    order = np.lexsort((target, -frequency, source))
    source, target, counts, frequency = source[order], target[order], counts[order], frequency[order]
    place = np.arange(len(source)) - np.searchsorted(source, source)
    size = int(value.max(initial=0)) + 1
    border = np.zeros((size, 2))
    first_out, chosen = place == kept, place < kept
    border[source[first_out]] = np.stack([frequency[first_out], target[first_out]], axis=1)
    source, place = source[chosen], place[chosen]
    ids = np.zeros((size, kept), np.int32)
    ids[source, place] = target[chosen]
    table = np.zeros((size, kept, len(pairs)), _narrowest(counts[chosen]))
    table[source, place] = counts[chosen]
    occurrences = np.bincount(value[pairs[0][0]], minlength=size) * (np.arange(size) > 0)
    return Followers(*map(torch.from_numpy, (ids, table, occurrences, border, value.astype(np.int64))))


def _narrowest(counts: IntArray) -> type[np.integer]:
    return np.int16 if counts.max(initial=0) <= np.iinfo(np.int16).max else np.int32


def build_memory(
    pairs: Sequence[tuple[IntArray, IntArray]], catalogue: Catalogue, settings: HierSRecSettings
) -> Memory:
    """Count what followed the items of ``catalogue``, and the values of the fields that ``settings`` names.

    Args:
        pairs: for each distance 1..W, item ids before and after.
        catalogue: of N items.
        settings: those that begin with ``follower`` are read.

    Raises:
        InputError: a field is neither a category level nor a metadata field.
    """
    kept = settings.followers
    found = [count_followers(pairs, np.arange(catalogue.n_items + 1), kept)]
    columns = _columns(catalogue, settings)
    for name in settings.follower_fields:
        if name not in columns:
            allowed = ", ".join(columns) or "none, as no category or metadata field is named"
            raise InputError(
                f"follower_fields: received '{name}'{nearest(name, columns)}, allowed: {allowed}"
            )
        found.append(count_followers(pairs, columns[name], 2 * kept))
    return memory_of(found, settings)


def memory_of(counted: Sequence[Followers], settings: HierSRecSettings) -> Memory:
    """The memory of what was counted: of the items, then of each of ``follower_fields``."""
    asked = settings.follower_items
    items, *fields = counted
    tables = [FollowerTable(field, min(2, asked), 20.0) for field in fields]
    return Memory(FollowerTable(items, asked, 5.0), tables, settings.follower_limit, settings.hidden_size)


def _columns(catalogue: Catalogue, settings: HierSRecSettings) -> dict[str, IntArray]:
    """Level or metadata field -> its value of each item, from 1, [N + 1]; 0 where there is none."""
    columns = {}
    if catalogue.taxonomy is not None:
        for level, name in enumerate(catalogue.taxonomy.levels):
            known = np.array([label[-1] != UNKNOWN for label in catalogue.taxonomy.labels[level]])
            of = catalogue.taxonomy.item_category[:, level]
            columns[name] = np.where(known[of], of + 1, 0)
    for field, name in enumerate(settings.metadata_fields):
        columns.setdefault(name, catalogue.metadata[:, field])
    return {name: np.where(np.arange(len(values)) > 0, values, 0) for name, values in columns.items()}
