"""The moving average of the weights: rows that a step does not touch are averaged as if they had been visited."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recbole_hiersrec.averaging import WeightAverage
from recbole_hiersrec.optim import TablesAdam


class Model(nn.Module):
    """A table and a dense layer."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.table = nn.Embedding(7, 3, sparse=sparse)
        self.layer = nn.Linear(3, 2)

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layer(self.table(rows)).square().sum()


def train(model: Model, optimiser: torch.optim.Optimizer, average: WeightAverage, steps: int) -> list[dict]:
    """Weights after each step; step t looks up two rows only."""
    history = []
    for step in range(steps):
        optimiser.zero_grad()
        model.loss(torch.tensor([step % 5, (3 * step) % 5])).backward()
        optimiser.step()
        average.update()
        history.append({name: weight.detach().clone() for name, weight in model.state_dict().items()})
    return history


def naive(start: dict, history: list[dict], decay: float) -> dict:
    average = start
    for number, weights in enumerate(history, start=1):
        now = min(decay, (1 + number) / (10 + number))
        average = {name: now * average[name] + (1 - now) * weights[name] for name in weights}
    return average


@pytest.mark.parametrize("sparse", [True, False])
def test_average_by_the_formula(sparse: bool) -> None:
    model = Model(sparse)
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    average = WeightAverage(model, 0.6)
    adam = TablesAdam(model, 0.1) if sparse else torch.optim.Adam(model.parameters(), 0.1)
    history = train(model, adam, average, 13)
    with average.applied():
        expected = naive(start, history, 0.6)
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(weight, expected[name], rtol=1e-5, atol=1e-6)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, history[-1][name])


def test_reading_in_between_changes_nothing() -> None:
    kept = []
    for read in (True, False):
        model = Model(True)
        average = WeightAverage(model, 0.9)
        adam = TablesAdam(model, 0.1)
        train(model, adam, average, 4)
        if read:
            with average.applied():
                pass
        train(model, adam, average, 5)
        average.keep()
        kept.append(model.state_dict())
    for name in kept[0]:
        torch.testing.assert_close(kept[0][name], kept[1][name], rtol=1e-5, atol=1e-6)


def test_the_first_steps_forget_the_start() -> None:
    model = Model(False)
    average = WeightAverage(model, 0.999)
    with torch.no_grad():
        model.layer.weight.fill_(1.0)
    average.update()
    average.keep()
    assert model.layer.weight.mean().item() > 0.8  # 1 - 2 / 11 of the new weights
