"""Counting models against counts by hand, and RecBole's modules trained at every position."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from atomic_files import SMALL, write_shop

from recbole_hiersrec import register
from recbole_hiersrec.data.files import column

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def build(shop: Path, name: str, **settings: Any) -> tuple[Any, Any, Any]:
    """(model, training part, test part)."""
    values = {
        **SMALL,
        "data_path": str(shop),
        "train_neg_sample_args": None,
        "embedding_size": 8,
        "hidden_dropout_prob": 0.0,
        "attn_dropout_prob": 0.0,
        "dropout_prob": 0.0,
        **settings,
    }
    config = Config(model=name, dataset="shop", config_dict=values)
    parts = [loader._dataset for loader in data_preparation(config, create_dataset(config))]
    init_seed(5, True)
    return get_model(name)(config, parts[0]).eval(), parts[0], parts[2]


def sessions(shop: Path) -> list[list[str]]:
    """Training part of each session, tokens in time order: all but the last two."""
    path = shop / "shop" / "shop.inter"
    rows = list(zip(column(path, "user_id"), column(path, "timestamp"), column(path, "item_id"), strict=True))
    users = sorted({user for user, _, _ in rows})
    return [[item for _, _, item in sorted(r for r in rows if r[0] == user)][:-2] for user in users]


@pytest.mark.parametrize("length", [2, 5])
def test_sequential_pop_counts_training_interactions(shop: Path, length: int) -> None:
    model, train, test = build(shop, "SequentialPop", MAX_ITEM_LIST_LENGTH=length)
    counts = Counter(item for session in sessions(shop) for item in session)
    scores = model.full_sort_predict(test.inter_feat)
    assert scores.shape == (12, 11)
    for item in range(1, 11):
        assert scores[:, item].tolist() == [counts[train.field2id_token["item_id"][item]]] * 12


@pytest.mark.parametrize("length", [2, 5])
def test_markov_chain_counts_what_followed(shop: Path, length: int) -> None:
    model, train, test = build(shop, "MarkovChain", MAX_ITEM_LIST_LENGTH=length)
    trained = sessions(shop)
    follows = Counter(pair for session in trained for pair in pairwise(session))
    counts = Counter(item for session in trained for item in session)
    different = sorted({0, *counts.values()})  # 0 is that of the PAD
    tokens = train.field2id_token["item_id"]
    rows = test.inter_feat
    scores = model.full_sort_predict(rows)
    for row in range(len(rows)):
        last = tokens[int(rows["item_id_list"][row, rows["item_length"][row] - 1])]
        for item in range(1, 11):
            expected = follows[last, tokens[item]] + different.index(counts[tokens[item]]) / (
                1 + len(different)
            )
            assert scores[row, item].item() == pytest.approx(expected)
    assert torch.allclose(model.predict(rows), scores.gather(1, rows["item_id"].unsqueeze(1)).squeeze(1))


def test_popularity_never_outweighs_a_transition(shop: Path) -> None:
    model, _, _ = build(shop, "MarkovChain")
    assert model.popularity.max() < 1


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_scores_are_recboles_own(shop: Path, name: str) -> None:
    """Same seed, same parameters, same scores as RecBole's module; only training differs."""
    theirs, _, test = build(shop, name)
    ours, _, _ = build(shop, f"{name}AllPositions")
    ours.load_state_dict(theirs.state_dict())
    rows = test.inter_feat
    with torch.no_grad():
        scores = theirs.full_sort_predict(rows)
        assert torch.equal(ours.full_sort_predict(rows), scores)
        assert torch.allclose(ours.encode(rows).vectors @ ours.item_vectors().T, scores, atol=1e-6)


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_the_loss_is_recboles_summed_over_all_prefixes(shop: Path, name: str) -> None:
    """Where no session is cut, the mean over all positions equals RecBole's mean over all prefix rows."""
    theirs, prefixes, _ = build(shop, name, loss_type="CE")
    ours, rows, _ = build(shop, f"{name}AllPositions", loss_type="CE")
    ours.load_state_dict(theirs.state_dict())
    assert len(rows) == 12
    assert len(prefixes) == 12 * 3
    with torch.no_grad():
        expected = theirs.calculate_loss(prefixes.inter_feat)
        # RecBole's softmax has the PAD's column too; ours does not.
        states = theirs.forward(prefixes.inter_feat["item_id_list"], prefixes.inter_feat["item_length"])
        logits = states @ theirs.item_embedding.weight.T
        without_pad = torch.nn.functional.cross_entropy(logits[:, 1:], prefixes.inter_feat["item_id"] - 1)
        assert ours.calculate_loss(rows.inter_feat).item() == pytest.approx(without_pad.item(), abs=1e-5)
        assert expected > without_pad


def test_sampled_loss_is_used_when_asked_for(shop: Path) -> None:
    full, rows, _ = build(shop, "SASRecAllPositions")
    sampled, _, _ = build(shop, "SASRecAllPositions", loss="sampled", n_negatives=20_000)
    with torch.no_grad():
        exact, estimate = full.calculate_loss(rows.inter_feat), sampled.calculate_loss(rows.inter_feat)
    assert estimate.item() != exact.item()
    assert estimate.item() == pytest.approx(exact.item(), abs=0.02)


def test_popularity_breaks_ties_beside_large_counts(shop: Path) -> None:
    model, _, test = build(shop, "MarkovChain")
    model.popularity[1:] = torch.arange(10) / 1001  # places of a catalogue with a thousand different counts
    model.follower_counts[:] = 1000.0
    scores = model.full_sort_predict(test.inter_feat)
    followed = scores >= 1000
    assert (followed.sum(1) >= 2).any()
    for row, items in zip(scores, followed, strict=True):
        assert (row[items].diff() > 0).all()
