"""Explanations: contributions sum to the centred score, whatever the model is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_model import N_ITEMS, catalogue, fill, random_memory

from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.scorer import score
from recbole_hiersrec.explain import Explainer, explain, part_vectors
from recbole_hiersrec.model.network import HierSRecNetwork, build_network
from recbole_hiersrec.queries import Apart, Queries, distinct
from recbole_hiersrec.settings import HierSRecSettings


class Model:
    """A network with random parameters, as the explanations see HierSRec."""

    def __init__(
        self,
        *,
        n_levels: int = 3,
        titles: bool = True,
        metadata: bool = True,
        apart: bool = False,
        remember: bool = False,
        **settings: Any,
    ) -> None:
        fields = ("brand",) if metadata else ()
        small = {"hidden_size": 8, "inner_size": 16, "initializer_range": 0.3}
        self.settings = HierSRecSettings(metadata_fields=fields, **(small | settings))
        self.catalogue = part_of(catalogue(), n_levels, titles, metadata)
        self.apart = apart
        torch.manual_seed(3)
        memory = random_memory(self.catalogue, self.settings) if remember else None
        self.network: HierSRecNetwork = build_network(
            self.catalogue, self.settings, max_length=8, memory=memory
        ).eval()
        fill(self.network)

    def encode(self, history: torch.Tensor, item_vectors: torch.Tensor | None = None) -> Queries:
        length = (history > 0).sum(1)
        last = torch.arange(len(history)), length - 1
        states, heads = self.network.read(history, length - 1)
        apart = None
        if self.network.memory is not None:
            known = self.network.memory.recall(history, length, *last)
            apart = self.network.apart(states, self.network.own(history, *last), *known)
        elif self.apart:
            ids = distinct(history)
            apart = Apart(ids, torch.tensor([[2.5], [-1.5], [0.5], [3.0]]).expand(ids.shape))
        return Queries(self.network.queries(heads), history, apart, tuple(heads.category_logits))


def part_of(whole: Catalogue, n_levels: int, titles: bool, metadata: bool) -> Catalogue:
    taxonomy = None
    if n_levels and whole.taxonomy:
        paths = [whole.taxonomy.labels[-1][c][:n_levels] for c in whole.taxonomy.item_category[1:, -1]]
        taxonomy = Taxonomy.from_paths(paths, whole.taxonomy.levels[:n_levels])
    return replace(
        whole,
        taxonomy=taxonomy,
        title_tokens=whole.title_tokens if titles else whole.title_tokens[:, :0],
        metadata=whole.metadata if metadata else whole.metadata[:, :0],
    )


HISTORY = torch.tensor([[3, 7, 3, 0], [30, 0, 0, 0], [1, 2, 3, 4], [5, 5, 5, 0]])
EVERY = torch.arange(1, N_ITEMS + 1).repeat(4, 1)
MADE_OF = [
    *({"n_levels": n} for n in range(4)),
    {"titles": False},
    {"metadata": False},
    {"n_levels": 0, "titles": False, "metadata": False},
    {"use_item_id": False},
    {"use_item_id": False, "n_levels": 0, "metadata": False},
    {"category_feedback": "none"},
    {"category_feedback": "hard"},
    {"category_score": "none"},
    {"category_score": "detached"},
    {"category_task": False},
    {"category_vectors": False},
    {"category_vectors": False, "titles": False, "metadata": False, "category_score": "none"},
    {"category_encoder": "separate"},
    {"apart": True},
    {"apart": True, "n_levels": 0, "titles": False, "metadata": False},
    {"remember": True, "followers": 3, "follower_items": 1, "follower_window": 1},
    {"remember": True, "followers": 3, "follower_items": 2, "follower_fields": ("b", "brand")},
    {"remember": True, "followers": 3, "follower_limit": 5, "repeat_term": False},
    {"remember": True, "followers": 3, "repeat_term": "counted"},
]


@pytest.mark.parametrize("made_of", MADE_OF, ids=str)
def test_contributions_sum_to_the_centred_score(made_of: dict[str, Any]) -> None:
    model = Model(**made_of)
    with torch.no_grad():
        scores = score(model.encode(HISTORY), model.network.item_vectors())[:, 1:]
    centred = scores - scores.mean(1, keepdim=True)
    for row, told in enumerate(explain(model, HISTORY, EVERY)):
        sums = torch.tensor([sum(one.contributions.values()) for one in told.items])
        torch.testing.assert_close(sums, centred[row], rtol=1e-4, atol=1e-4)
        given = torch.tensor([one.score for one in told.items])
        torch.testing.assert_close(given, scores[row], rtol=1e-4, atol=1e-4)
        assert [one.item for one in told.items] == list(range(1, N_ITEMS + 1))


@pytest.mark.parametrize("made_of", MADE_OF, ids=str)
def test_parts_sum_to_the_item_vectors(made_of: dict[str, Any]) -> None:
    model = Model(**made_of)
    ids = torch.tensor([[0, 1, 2], [30, 7, 7]])
    with torch.no_grad():
        parts = part_vectors(model.network, ids)
        torch.testing.assert_close(sum(parts.values()), model.network.item_vectors(ids))


def test_every_contribution_is_centred() -> None:
    """Over the whole catalogue each part contributes 0 on average."""
    model = Model(apart=True)
    explainer = Explainer(model)
    with torch.no_grad():
        found = explainer.contributions(model.encode(HISTORY), EVERY)
    assert list(found) == ["id", "title", "a", "b", "c", "brand", "item bias", "remembered"]
    for part, values in found.items():
        assert values.mean(1).abs().max() < 1e-5, part
        assert values.std() > 0.01, part


def test_the_bonus_by_hand() -> None:
    """Row 0 saw items 3 and 7, twice and once: 2 of 30 items get 2.5 each."""
    model = Model(apart=True)
    with torch.no_grad():
        found = Explainer(model).contributions(model.encode(HISTORY), EVERY)["remembered"]
    assert found[0, 2] == pytest.approx(2.5 * (1 - 2 / 30))
    assert found[0, 0] == pytest.approx(-2.5 * 2 / 30)
    assert found[3, 4] == pytest.approx(3.0 * (1 - 1 / 30))


def test_a_level_has_the_term_of_the_score_and_the_embedding() -> None:
    """w_m (q_m . u_m[c] + b_m[c]) + z . e_m[c], less its mean, level by level."""
    model = Model()
    net = model.network
    with torch.no_grad():
        _, heads = net.read(HISTORY, (HISTORY > 0).sum(1) - 1)
        found = Explainer(model).contributions(model.encode(HISTORY), EVERY)
        for level, name in enumerate("abc"):
            c = net.items.item_category[1:, level]
            term = heads.category_logits[level][:, c] * torch.nn.functional.softplus(net.level_weight[level])
            term = term + heads.item_query @ net.items.category[level].weight[c].T  # type: ignore[index]
            torch.testing.assert_close(found[name], term - term.mean(1, keepdim=True), rtol=1e-4, atol=1e-4)


def test_categories_are_named_with_probabilities() -> None:
    model = Model()
    told = Explainer(model).explain(HISTORY, EVERY[:, :2], n_categories=2)[1]
    assert told.items[0].categories == {"a": ("a0",), "b": ("a0", "b0"), "c": ("a0", "b0", "c0")}
    assert [len(found) for found in told.predicted.values()] == [2, 2, 2]
    with torch.no_grad():
        chances = model.encode(HISTORY).category_logits[2][1].softmax(-1)
    path, chance = told.predicted["c"][0]
    assert model.catalogue.taxonomy is not None
    assert path == model.catalogue.taxonomy.labels[2][int(chances.argmax())]
    assert chance == pytest.approx(float(chances.max()), abs=1e-6)
    assert sum(chance for _, chance in told.predicted["a"]) == pytest.approx(1, abs=1e-5)


def test_the_named_part_is_the_largest() -> None:
    told = explain(Model(), HISTORY, EVERY)[2].items[0]
    assert told.contributions[told.named] == max(told.contributions.values())


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (torch.tensor([[0], [1], [1], [1]]), "items: received id 0, allowed: 1 to 30"),
        (torch.tensor([[1], [31], [1], [1]]), "items: received id 31, allowed: 1 to 30"),
        (torch.tensor([[1]]), r"items: received shape \(1, 1\), allowed: \(4, K\)"),
        (torch.tensor([1, 2, 3, 4]), r"received shape \(4,\)"),
    ],
)
def test_items_out_of_range_are_refused(items: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explain(Model(), HISTORY, items)
