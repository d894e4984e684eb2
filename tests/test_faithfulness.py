"""What explanations name is dropped: places lost, against ranks computed item by item."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import write_shop
from test_edges import build
from test_explain import Model

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.faithfulness import Faithfulness, _parts_dropped, faithfulness
from recbole_hiersrec.evaluation.scorer import score
from recbole_hiersrec.explain import Explainer
from recbole_hiersrec.queries import Queries

N_CASES = 40
SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "faithfulness.py"


class Cases:
    """A model as a scorer of random sessions."""

    def __init__(self, model: Model) -> None:
        self.model, self.n_items = model, 30
        generator = torch.Generator().manual_seed(5)
        self.history = torch.randint(1, 31, (N_CASES, 5), generator=generator)
        self.table = model.network.item_vectors().detach()

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        return self.history[index]

    def queries(self, batch: torch.Tensor) -> Queries:
        return self.model.encode(batch)

    def item_vectors(self) -> torch.Tensor:
        return self.table

    def scores(self, batch: torch.Tensor) -> torch.Tensor:
        return score(self.queries(batch), self.table)


def measure(model: Model, **changes: Any) -> dict[str, Faithfulness]:
    found = faithfulness(model, Cases(model), np.arange(N_CASES) // 2, seed=1, **changes)
    return {one.measure: one for one in found}


def test_parts_dropped_by_hand() -> None:
    """Scores 5, 4, 3, 2 of items 1 to 4. Item 1 without 2.5 has 2.5, place 3; without 1.5 it has 3.5, place 2."""
    scores = torch.tensor([[0.0, 5.0, 4.0, 3.0, 2.0]])
    parts = {"a": torch.tensor([1.5]), "b": torch.tensor([2.5]), "c": torch.tensor([-1.0])}
    named, others = _parts_dropped(scores, torch.tensor([1]), torch.ones(1, dtype=torch.float64), parts)
    assert named.tolist() == [2.0]
    assert others.tolist() == [[1.0, 0.0]]


def test_the_named_part_costs_most() -> None:
    found = measure(Model())["part"]
    assert found.at_least.mean == 1.0
    assert found.named.mean > found.other.mean >= 0
    assert (found.difference.n_cases, found.difference.n_clusters) == (N_CASES, N_CASES // 2)
    assert found.difference.mean == pytest.approx(found.named.mean - found.other.mean)


def test_a_masked_category_against_the_model_run_by_hand() -> None:
    """One level: its category's probability is 0, and the level contributes what it does on average."""
    model = Model(n_levels=1)
    net, cases = model.network, Cases(model)
    lost = []
    with torch.no_grad():
        explainer = Explainer(model)
        for row in range(N_CASES):
            queries = model.encode(cases.history[row : row + 1])
            first = int(score(queries, cases.table)[0, 1:].argmax()) + 1
            own = int(net.items.item_category[first, 0])
            history = cases.history[row : row + 1]
            state, heads = net.read(history, torch.tensor([history.size(1) - 1]))
            chances = heads.category_logits[0].softmax(-1)
            chances[0, own] = 0
            chances /= chances.sum()
            item_query = state + net.heads.to_item[0](chances @ net.heads.category[0].weight)
            vectors = net.queries(heads._replace(item_query=item_query))
            scores = (vectors @ cases.table.T)[0, 1:]
            members = net.items.item_category[1:, 0] == own
            again = Queries(vectors, cases.history[row : row + 1])
            every = torch.arange(1, 31).unsqueeze(0)
            scores = scores - members * explainer.contributions(again, every)["a"][0]
            lost.append(float((scores > scores[first - 1]).sum()))
    found = measure(model)["category"]
    assert found.named.mean == pytest.approx(np.mean(lost))


@pytest.mark.parametrize("fields", [(), ("c", "brand")])
def test_the_bonus_of_followers_is_a_part_that_can_be_dropped(fields: tuple[str, ...]) -> None:
    """Places lost without the largest part, from each item's own explanation; followers are it in some cases."""
    model = Model(remember=True, followers=4, follower_items=2, follower_fields=fields)
    cases = Cases(model)
    named, lost = set(), []
    with torch.no_grad():
        scores = cases.scores(cases.history)[:, 1:]
        first = scores.argmax(1, keepdim=True)
        for row, told in enumerate(Explainer(model).explain(cases.history, first + 1)):
            item = told.items[0]
            named.add(item.named)
            others = scores[row][torch.arange(30) != first[row]]
            lost.append(float((others > item.score - item.contributions[item.named]).sum()))
    assert "remembered" in named
    assert measure(model)["part"].named.mean == pytest.approx(np.mean(lost))


def test_masking_leaves_the_model_as_it_was() -> None:
    model = Model()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    measure(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())


def test_dropping_the_named_category_costs_more_than_another() -> None:
    found = measure(Model())
    assert found["category"].difference.mean > 0
    assert found["category"].difference.low > 0
    assert found["category"].at_least.mean > 0.9


def test_without_feedback_masking_the_logit_costs_nothing() -> None:
    found = measure(Model(category_feedback="none"))
    assert found["feedback"].named.mean == 0
    assert found["category"].named.mean > 0
    assert measure(Model(category_encoder="shared"))["feedback"].named.mean != 0


def test_portions_change_nothing_but_the_random_categories() -> None:
    model = Model()
    whole, portions = measure(model), measure(model, batch_size=7)
    for name in ("part", "category", "feedback"):
        assert whole[name].named.mean == pytest.approx(portions[name].named.mean)


def test_without_levels_only_parts_are_dropped() -> None:
    assert list(measure(Model(n_levels=0))) == ["part"]
    assert list(measure(Model(category_vectors=False, category_score="none"))) == ["part"]


def test_borders() -> None:
    model = Model()
    with pytest.raises(InputError, match="sessions: received none"):
        faithfulness(model, Cases(model), np.arange(0), seed=1)
    one = {"a": torch.ones(1)}
    with pytest.raises(InputError, match="received one with the part a alone"):
        _parts_dropped(torch.ones(1, 3), torch.tensor([1]), torch.ones(1), one)


@pytest.mark.slow
def test_the_script(tmp_path: Path) -> None:
    """From a checkpoint folder to JSON; 5 of 12 sessions with one case each."""
    trainer, (train, valid, _) = build(write_shop(tmp_path / "data"), tmp_path / "saved")
    trainer.fit(train, valid)
    out = tmp_path / "out.json"
    command = [sys.executable, str(SCRIPT), trainer.saved_model_file, "--cases", "5", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["cases"], found["sessions"]) == (5, 5)
    assert (found["model"]["seed"], found["model"]["settings"]["hidden_size"]) == (
        trainer.config["seed"],
        trainer.config["hidden_size"],
    )
    assert [one["measure"] for one in found["measures"]] == ["part", "category", "feedback"]
