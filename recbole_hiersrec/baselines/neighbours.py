"""What the session-kNN models share: they ask the most similar training sessions which items these hold.

Axes: B current sessions, S training sessions, N items, P pairs of a current session and a training session, E items
that these hold, L history length.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from recbole_hiersrec.baselines.counting import CountingModel
from recbole_hiersrec.baselines.neighbourhood import (
    Floats,
    Held,
    Pairs,
    SessionIndex,
    last_places,
    nearest,
    summed,
)
from recbole_hiersrec.baselines.past_sessions import PastSessions, past_sessions_of
from recbole_hiersrec.baselines.places import in_order, popularity_places
from recbole_hiersrec.data.dataset import item_counts_of
from recbole_hiersrec.data.taxonomy import IntArray
from recbole_hiersrec.settings import neighbour_settings


@dataclass(frozen=True)
class Current:
    """The sessions to be continued.

    Attributes:
        places: which click an item is, from 1, the last one if it comes again, [B, N + 1].
        length: clicks of each, [B].
        time: of the last click of each, [B], in seconds; that of the latest training session where it is not known.
    """

    places: csr_array
    length: IntArray
    time: Floats


class NeighbourModel(CountingModel):
    """Base of session-kNN. Score of item i in session s (Jannach & Ludewig, 2017, RecSys, section 3.1):

        score(i, s) = sum over n in N_s of sim(s, n) w(i, n, s) 1_n(i)

    N_s are the k = ``neighbours`` most similar of the m = ``sample_size`` latest training sessions that share an item
    with s; 1_n(i) is whether n holds i. A model says what sim and w are.

    - Sessions of the same user id are no neighbours: in leave-one-out the session itself is in the training part. A
      batch without user ids holds new sessions.
    - Latest: by the time of the last click, whether before or after s; of equal times, and where a data set has none,
      those further behind in the data set. Of equally similar sessions the latest are taken.
    - s are the last ``MAX_ITEM_LIST_LENGTH`` clicks; training sessions are whole. Of an item that comes again in a
      session, the last click counts.
    - The result is the order of these scores, as whole numbers: see :func:`~.places.in_order`. Items with equal
      scores, and those that no neighbour holds, which stand below all others, are ordered by training popularity.
    """

    items: Tensor
    sizes: Tensor
    users: Tensor
    ends: Tensor
    popularity: Tensor

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        name = type(self).__name__
        self.settings = neighbour_settings(config.final_config_dict, name, name)
        past = past_sessions_of(dataset)
        self.timed = past.ends is not None
        self.time_list = f"{dataset.time_field}{config['LIST_SUFFIX']}"
        ends = np.zeros(len(past.sizes), np.float32) if past.ends is None else past.ends
        for key, values in (
            ("items", past.items),
            ("sizes", past.sizes),
            ("users", past.users),
            ("ends", ends),
        ):
            self.register_buffer(key, torch.from_numpy(values))
        self.register_buffer("popularity", popularity_places(item_counts_of(dataset)))
        self._index: SessionIndex | None = self._build_index()
        self.register_load_state_dict_post_hook(_forget_index)

    @property
    def index(self) -> SessionIndex:
        """The training sessions in the buffers, by item; made again after other ones were loaded."""
        if self._index is None:
            self._index = self._build_index()
        return self._index

    def _build_index(self) -> SessionIndex:
        buffers = (self.items, self.sizes, self.users, self.ends)
        items, sizes, users, ends = (values.cpu().numpy() for values in buffers)
        past = PastSessions(items, sizes, users, ends if self.timed else None)
        return SessionIndex(past, self.n_items, self.settings.sample_size)

    def count_scores(self, history: Tensor, length: Tensor, interaction: Any) -> Tensor:
        """Places of all items in the order of :meth:`neighbour_scores`, float32 [B, N + 1]."""
        scores = self.neighbour_scores(history, length, interaction)
        ordered = in_order(scores, self.popularity.cpu().numpy())
        return torch.from_numpy(ordered).to(history.device)

    def neighbour_scores(self, history: Tensor, length: Tensor, interaction: Any) -> csr_array:
        """score(i, s) of the items that a neighbour holds, float64 [B, N + 1].

        Args:
            history: [B, L].
            length: [B].
            interaction: the batch, for user ids and times.
        """
        current = self._current(history.cpu().numpy(), length.cpu().numpy(), interaction)
        users = interaction[self.USER_ID].cpu().numpy() if self.USER_ID in interaction else None
        weights = current.places.astype(np.float64)
        weights.data = self.position_weights(current.places.data, _of_entries(current))
        pairs = self.index.candidates(weights, users)
        similar = Pairs(pairs.row, pairs.session, self.similarity(pairs, current))
        neighbours = nearest(similar, self.settings.neighbours)
        held = self.index.held(neighbours, current.places)
        return summed(neighbours, held, self.item_weights(neighbours, held, current), current.places.shape)

    def _current(self, history: IntArray, length: IntArray, interaction: Any) -> Current:
        inside = np.arange(history.shape[1]) < length[:, None]
        places = last_places(history[inside], length, self.n_items)
        if self.timed and self.time_list in interaction:
            times = interaction[self.time_list].cpu().numpy().astype(np.float64)
            return Current(places, length, times[np.arange(len(length)), length - 1])
        return Current(places, length, np.full(len(length), self.index.ends[0]))

    @abstractmethod
    def position_weights(self, place: IntArray, length: IntArray) -> Floats:
        """Weight in the similarity, above 0, of the click number ``place`` of ``length`` clicks."""

    @abstractmethod
    def similarity(self, pairs: Pairs, current: Current) -> Floats:
        """sim(s, n) of each pair, [P]; a pair's value is the inner product of the two sessions."""

    @abstractmethod
    def item_weights(self, neighbours: Pairs, held: Held, current: Current) -> Floats:
        """w(i, n, s) of each item held, [E]."""


def _of_entries(current: Current) -> IntArray:
    """Length of the session of each entry of ``current.places``."""
    return np.repeat(current.length, np.diff(current.places.indptr))


def _forget_index(model: NeighbourModel, _: Any) -> None:
    model._index = None
