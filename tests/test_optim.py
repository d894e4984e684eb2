"""Adam with lazy Adam for tables, and sparse gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from atomic_files import SMALL, write_shop
from torch import Tensor, nn

from recbole_hiersrec import register
from recbole_hiersrec.optim import TablesAdam, tables_of

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.training import HierSRecTrainer  # noqa: E402


class Tiny(nn.Module):
    """A table of 7 rows and a dense layer."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table = nn.Embedding(7, 3, sparse=sparse)
        self.dense = nn.Linear(3, 2)

    def loss(self, rows: list[int]) -> Tensor:
        return self.dense(self.table(torch.tensor(rows))).pow(2).sum()


def train(model: Tiny, optimizer: torch.optim.Optimizer, steps: list[list[int]]) -> Tiny:
    for rows in steps:
        optimizer.zero_grad()
        model.loss(rows).backward()
        optimizer.step()
    return model


def lazy(steps: list[list[int]]) -> tuple[Tiny, TablesAdam]:
    model = Tiny(sparse=True)
    optimizer = TablesAdam(model, lr=0.1)
    return train(model, optimizer, steps), optimizer


def plain(steps: list[list[int]]) -> Tiny:
    model = Tiny(sparse=False)
    return train(model, torch.optim.Adam(model.parameters(), lr=0.1), steps)


def test_rows_looked_up_in_every_step_and_dense_parameters_follow_adam() -> None:
    steps = [[2, 5], [5, 2, 2], [2, 5]]
    model, expected = lazy(steps)[0], plain(steps)
    torch.testing.assert_close(model.table.weight, expected.table.weight, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.dense.weight, expected.dense.weight, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.dense.bias, expected.dense.bias, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(model.table.weight[2], Tiny(sparse=True).table.weight[2])


def test_rows_that_are_not_looked_up_do_not_move() -> None:
    """Adam would still carry row 4 on in the second step, by its momentum."""
    after_one, after_two = lazy([[4, 2]])[0], lazy([[4, 2], [2]])[0]
    others = [0, 1, 3, 4, 5, 6]
    assert torch.equal(after_two.table.weight[others], after_one.table.weight[others])
    assert not torch.equal(after_two.table.weight[2], after_one.table.weight[2])
    assert not torch.equal(plain([[4, 2], [2]]).table.weight[4], plain([[4, 2]]).table.weight[4])
    unused = [0, 1, 3, 5, 6]
    assert torch.equal(after_one.table.weight[unused], Tiny(sparse=True).table.weight[unused])


def test_only_the_rows_that_were_looked_up_have_moments() -> None:
    model, optimizer = lazy([[4, 2], [2]])
    state = optimizer.tables.state[model.table.weight]
    for moment in ("exp_avg", "exp_avg_sq"):
        assert state[moment].any(1).nonzero().flatten().tolist() == [2, 4]
    assert model.table.weight not in optimizer.state


def test_zero_grad_forgets_dense_and_sparse_gradients() -> None:
    model, optimizer = lazy([[1]])
    assert model.table.weight.grad is not None
    assert model.dense.weight.grad is not None
    optimizer.zero_grad()
    assert model.table.weight.grad is None
    assert model.dense.weight.grad is None


# --- in training ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def build(
    shop: Path, folder: Path, model: str = "HierSRec", **settings: Any
) -> tuple[HierSRecTrainer, Any, Any]:
    """(trainer, training and validation loader)."""
    values = {
        **SMALL,
        "data_path": str(shop),
        "checkpoint_dir": str(folder),
        "train_neg_sample_args": None,
        "category_fields": ["department", "class"],
        "train_batch_size": 6,
        "epochs": 2,
        "loss": "sampled",
        "n_negatives": 3,
        **settings,
    }
    config = Config(model=model, dataset="shop", config_dict=values)
    init_seed(3, True)
    parts = data_preparation(config, create_dataset(config))
    init_seed(3, True)
    return HierSRecTrainer(config, get_model(model)(config, parts[0]._dataset)), parts[0], parts[1]


@pytest.mark.parametrize(
    ("settings", "tables"),
    [
        ({}, 2),  # ids and biases
        ({"learner": "Adam"}, 2),
        ({"use_item_id": False}, 1),
        ({"loss": "full"}, 0),
        ({"learner": "adamw"}, 0),
        ({"weight_decay": 0.1}, 0),
        ({"clip_grad_norm": {"max_norm": 0.5}}, 0),
    ],
)
def test_tables_are_sparse_where_the_optimiser_can_follow(
    shop: Path, tmp_path: Path, settings: dict[str, Any], tables: int
) -> None:
    made, train, valid = build(shop, tmp_path, **settings)
    assert len(tables_of(made.model)) == tables
    assert isinstance(made.optimizer, TablesAdam) == (tables > 0)
    made.fit(train, valid, saved=False)
    assert made.report.steps == 4


def test_models_of_recbole_keep_recboles_optimiser(shop: Path, tmp_path: Path) -> None:
    made = build(shop, tmp_path, "SASRecAllPositions", loss_type="CE")[0]
    assert type(made.optimizer) is torch.optim.Adam


def test_the_learning_rate_holds_for_both(shop: Path, tmp_path: Path) -> None:
    optimizer = build(shop, tmp_path, learning_rate=0.07)[0].optimizer
    assert [group["lr"] for group in (*optimizer.param_groups, *optimizer.tables.param_groups)] == [
        0.07,
        0.07,
    ]


def test_every_parameter_is_in_one_of_both(shop: Path, tmp_path: Path) -> None:
    made = build(shop, tmp_path)[0]
    groups = (*made.optimizer.param_groups, *made.optimizer.tables.param_groups)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in made.model.parameters())


def test_sparse_gradients_equal_dense_ones(shop: Path, tmp_path: Path) -> None:
    gradients = []
    for learner in ("adam", "adamw"):  # adamw: dense
        made, train, _ = build(shop, tmp_path, learner=learner, initializer_range=0.3)
        init_seed(9, True)
        made.model.calculate_loss(train._dataset.inter_feat[:4]).backward()
        parameters = made.model.named_parameters()
        # without fields the memory has no weights of fields: an empty parameter
        gradients.append({name: weight.grad for name, weight in parameters if weight.numel()})
    sparse, dense = gradients
    assert {name for name in sparse if sparse[name].is_sparse} == {
        "network.items.id.weight",
        "network.item_bias.weight",
    }
    for name, gradient in dense.items():
        torch.testing.assert_close(sparse[name].to_dense(), gradient, msg=name)
    assert dense["network.items.id.weight"].any(1).sum() > 3


def test_a_gradient_holds_each_row_of_the_step_once(shop: Path, tmp_path: Path) -> None:
    made, train, _ = build(shop, tmp_path, n_negatives=1)
    rows = train._dataset.inter_feat[:1]
    made.model.calculate_loss(rows).backward()
    gradient = made.model.network.items.id.weight.grad
    assert gradient._nnz() == len(set(gradient._indices().flatten().tolist())) <= 11
