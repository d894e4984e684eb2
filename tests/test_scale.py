"""The benchmark of large catalogues serves whole requests, as the model does."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from scripts import load_script
from torch import nn

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.model.hiersrec import HierSRec
from recbole_hiersrec.settings import HierSRecSettings

GIVEN = {"level_sizes": [3, 6], "hidden_size": 8, "seed": 1, "cases": 12, "max_length": 6}
N_ITEMS = 60


@pytest.fixture(scope="module")
def script() -> Any:
    return load_script("scale")


@pytest.fixture(scope="module")
def served(script: Any) -> Any:
    return script.served(N_ITEMS, GIVEN)


def model_of(served: Any) -> HierSRec:
    """The model around the served network, without the data set that RecBole would make it of."""
    made = HierSRec.__new__(HierSRec)
    nn.Module.__init__(made)
    made.network = served.network
    made.settings = SimpleNamespace(hidden_size=GIVEN["hidden_size"])
    made.ITEM_SEQ, made.ITEM_SEQ_LEN = "history", "length"
    made.n_items, made.max_seq_length = N_ITEMS + 1, GIVEN["max_length"]
    return made.eval()


def test_requests_are_those_of_the_model(served: Any) -> None:
    """All but the query, which is planted: items scored apart (repeats, those of the memory), categories."""
    history, length, planted = served.batch(torch.arange(12))
    with torch.inference_mode():
        found = served.encode((history, length, planted))
        wanted = model_of(served).encode({"history": history, "length": length}, served.item_vectors)
    assert torch.equal(found.vectors, planted)
    assert found.apart is not None
    assert wanted.apart is not None
    assert torch.equal(found.apart.ids, wanted.apart.ids)
    assert torch.equal(found.apart.bonus, wanted.apart.bonus)
    assert [logits.shape for logits in found.category_logits] == [(12, 3), (12, 6)]
    for ours, theirs in zip(found.category_logits, wanted.category_logits, strict=True):
        assert torch.equal(ours, theirs)


def test_the_memory_is_that_of_the_settings(served: Any) -> None:
    memory, settings = served.network.memory, HierSRecSettings()
    (items,) = memory.tables
    assert items.counts.shape == (N_ITEMS + 1, settings.followers, settings.follower_window)
    assert (items.asked, memory.most) == (settings.follower_items, settings.follower_limit)
    counts = items.counts.unbind(-1)
    assert all(of.any() for of in counts)
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(counts))


def test_pairs_of_every_distance_by_hand(script: Any) -> None:
    clicks = {"session": [1, 0, 0, 0, 1], "item": [8, 5, 6, 7, 9], "time": [9, 1, 2, 3, 10]}
    made = SimpleNamespace(events=pl.DataFrame(clicks))
    pairs = [[part.tolist() for part in script._followed(made, distance)] for distance in (1, 2)]
    assert pairs == [[[5, 6, 8], [6, 7, 9]], [[5], [7]]]


def test_sessions_are_checked(served: Any) -> None:
    wrong = replace(served, history=served.history + N_ITEMS)
    with pytest.raises(
        InputError, match=f"session in row 0 of the batch: received item id .*, allowed 0..{N_ITEMS}"
    ):
        wrong.encode(wrong.batch(torch.arange(4)))
