"""Groups of rows of like length: the same states, losses and gradients as RecBole's wide batch, without its padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from atomic_files import SMALL, write_shop

from recbole_hiersrec import encoding, register

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.encoding import (  # noqa: E402
    IGNORE_PADDING,
    adam_at_once,
    cheap_dropout,
    groups,
    ignores_padding,
    little_padding,
)
from recbole_hiersrec.model.dropout import Dropout  # noqa: E402
from recbole_hiersrec.training import HierSRecTrainer  # noqa: E402

READ_PADDING = ["LightSANs", "FEARec", "SINE", "Caser"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def made(shop: Path, name: str, **settings: Any) -> tuple[Any, Any, Any, Any]:
    """A configuration, a model that drops nothing out, and the loaders of the shop's training and validation rows."""
    fields = ["department", "class"]
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", *fields]}
    values = {
        **SMALL, "MAX_ITEM_LIST_LENGTH": 9, "n_layers": 2, "embedding_size": 8, "train_neg_sample_args": None,
        "prototype_size": 4, "data_path": str(shop), "checkpoint_dir": str(shop), "selected_features": fields,
        "load_col": columns, "train_batch_size": 20, "stopping_step": 5, **settings,
    }  # fmt: skip
    config = Config(model=name, dataset="shop", config_dict=values)
    init_seed(1, True)
    train, valid, _ = data_preparation(config, create_dataset(config))
    model = get_model(name)(config, train._dataset).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return config, model, train, valid


def learned(model: Any, rows: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss and every parameter's gradient."""
    model.zero_grad()
    loss = model.calculate_loss(rows)
    loss.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    return loss.detach(), found


def test_rows_of_a_length_are_in_one_group_of_enough_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "GROUP", 3)
    lengths = torch.tensor([5, 1, 2, 2, 9, 1, 5, 2, 5])
    assert [rows.tolist() for rows in groups(lengths)] == [[1, 5, 2, 3, 7], [0, 6, 8], [4]]
    assert [rows.tolist() for rows in groups(torch.tensor([4]))] == [[0]]


@pytest.mark.parametrize("name", sorted(IGNORE_PADDING))
def test_what_is_learned_is_the_same(shop: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(encoding, "GROUP", 10)  # rows of two lengths in a group
    _, model, train, _ = made(shop, name)
    rows = next(iter(train))
    wide: list[torch.Size] = []
    forward = type(model).forward

    def watched(self: Any, item_seq: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        wide.append(item_seq.shape)
        return forward(self, item_seq, *others)

    expected, gradients = learned(model, rows)
    monkeypatch.setattr(type(model), "forward", watched)
    with little_padding(model):
        loss, found = learned(model, rows)
    assert len({shape[1] for shape in wide}) > 1
    assert len(wide) < len(set(rows["item_length"].tolist()))
    assert sum(shape[0] for shape in wide) == len(rows)
    torch.testing.assert_close(loss, expected)
    assert found.keys() == gradients.keys()
    for parameter, gradient in gradients.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-4, atol=1e-6, msg=parameter)
    assert "forward" not in vars(model)


@pytest.mark.parametrize("name", [*READ_PADDING, "HGN", "SASRecAllPositions"])
def test_models_that_read_padding_get_all_of_it(shop: Path, name: str) -> None:
    _, model, _, _ = made(shop, name)
    assert not ignores_padding(model)
    with little_padding(model):
        assert "forward" not in vars(model)
    cheap_dropout(model)
    assert not any(isinstance(module, Dropout) for module in model.modules())


def test_a_class_of_the_users_own_is_left_alone(shop: Path) -> None:
    _, model, _, _ = made(shop, "SASRec")
    own = type("SASRec", (type(model),), {"__module__": "own"})
    model.__class__ = own
    assert not ignores_padding(model)


def test_the_class_has_its_forward_back_after_an_error(shop: Path) -> None:
    _, model, _, _ = made(shop, "GRU4Rec")
    with pytest.raises(KeyError), little_padding(model):
        raise KeyError
    assert "forward" not in vars(model)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_in_one_pass_takes_recboles_steps(shop: Path, weight_decay: float) -> None:
    _, model, train, _ = made(shop, "GRU4Rec")
    _, theirs, _, _ = made(shop, "GRU4Rec")
    plain = torch.optim.Adam(theirs.parameters(), lr=0.03, weight_decay=weight_decay)
    ours = adam_at_once(model, torch.optim.Adam(model.parameters(), lr=0.03, weight_decay=weight_decay))
    assert ours.defaults["fused"]
    for rows in train:
        for one, optimizer in ((model, ours), (theirs, plain)):
            learned(one, rows)
            optimizer.step()
    for value, other in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-5)


def test_other_optimisers_and_models_are_left_alone(shop: Path) -> None:
    _, model, _, _ = made(shop, "GRU4Rec")
    other = torch.optim.SGD(model.parameters(), lr=0.1)
    assert adam_at_once(model, other) is other
    _, deep, _, _ = made(shop, "LightSANs")
    plain = torch.optim.Adam(deep.parameters())
    assert adam_at_once(deep, plain) is plain


def test_the_trainer_works_on_groups_and_draws_cheap_dropout(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps and in validation, which gives what RecBole's wide batches give."""
    monkeypatch.setattr(encoding, "GROUP", 3)
    config, model, train, valid = made(shop, "SASRec", checkpoint_dir=str(tmp_path), epochs=2)
    trainer = HierSRecTrainer(config, model)
    assert trainer.optimizer.defaults["fused"]
    drops = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert drops
    assert all(type(module) is Dropout for module in drops)
    called: list[int] = []
    in_groups = encoding._in_groups

    def counted(*given: Any) -> torch.Tensor:
        called.append(len(given[1]))
        return in_groups(*given)

    monkeypatch.setattr(encoding, "_in_groups", counted)
    trainer.fit(train, valid, saved=False)
    assert sum(called) >= 2 * (len(train._dataset) + len(valid._dataset))
    grouped = trainer.validate(valid)
    monkeypatch.setattr(encoding, "IGNORE_PADDING", frozenset())
    assert trainer.validate(valid) == pytest.approx(grouped)
