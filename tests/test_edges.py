"""Borders of data and training: each is defined, works or is one clear error."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from atomic_files import SMALL, write_shop

from recbole_hiersrec import register

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec.evaluation.ranks import NonFiniteScoreError, rank_cases  # noqa: E402
from recbole_hiersrec.scoring import cases_of, scorer_of  # noqa: E402
from recbole_hiersrec.training import HierSRecTrainer  # noqa: E402

EVERY_POSITION = ("HierSRec", "SASRecAllPositions", "GRU4RecAllPositions")


def build(data_path: Path, folder: Path, model: str = "HierSRec", **settings: Any) -> tuple[Any, list[Any]]:
    """(trainer, loaders of training, validation and test) on the shop below ``data_path``."""
    values = {
        **SMALL,
        "data_path": str(data_path),
        "checkpoint_dir": str(folder),
        "train_neg_sample_args": None,
        "category_fields": ["department", "class"],
        "embedding_size": 8,
        "num_layers": 1,
        "epochs": 2,
        **settings,
    }
    config = Config(model=model, dataset="shop", config_dict=values)
    init_seed(3, True)
    parts = data_preparation(config, create_dataset(config))
    return HierSRecTrainer(config, get_model(model)(config, parts[0]._dataset)), parts


def write_sessions(data_path: Path, sessions: list[list[int]]) -> Path:
    """The shop's catalogue with other sessions, items i0 to i9; returns ``data_path``."""
    write_shop(data_path)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    rows += [
        f"u{u}\ti{item}\t{step}" for u, session in enumerate(sessions) for step, item in enumerate(session)
    ]
    (data_path / "shop" / "shop.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return data_path


def test_a_loss_that_is_no_number_ends_training(tmp_path: Path) -> None:
    trainer, (train, valid, _) = build(write_shop(tmp_path / "data"), tmp_path)
    with torch.no_grad():
        trainer.model.network.level_weight.fill_(float("nan"))
    with pytest.raises(
        ValueError, match=r"^training loss is nan in epoch 1, step 1; allowed: finite"
    ) as caught:
        trainer.fit(train, valid, saved=False)
    assert "\n" not in str(caught.value)
    assert trainer.report.epochs == 0


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_the_epoch_and_the_step_of_a_lost_training_are_named(tmp_path: Path, loss: float) -> None:
    """Batches of 5 of the 12 sessions: two steps an epoch. The fourth goes wrong, and is not learned from."""
    trainer, (train, valid, _) = build(write_shop(tmp_path / "data"), tmp_path, epochs=9, train_batch_size=5)
    own, calls, weights = (
        trainer.model.calculate_loss,
        itertools.count(1),
        trainer.model.network.item_bias.weight,
    )
    before = weights.detach().clone()

    def calculate_loss(interaction: Any) -> torch.Tensor:
        before.copy_(weights.detach())
        return own(interaction) * (loss if next(calls) == 4 else 1)

    trainer.model.calculate_loss = calculate_loss
    with pytest.raises(
        ValueError, match=rf"^training loss is {loss} in epoch 2, step 4; allowed: finite numbers"
    ):
        trainer.fit(train, valid, saved=False)
    assert trainer.report.steps == 3
    assert torch.equal(weights, before)


def test_scores_that_are_no_numbers_are_not_ranked(tmp_path: Path) -> None:
    trainer, (_, _, test) = build(write_shop(tmp_path / "data"), tmp_path)
    with torch.no_grad():
        trainer.model.network.level_weight.fill_(float("nan"))
    part = test._dataset
    with pytest.raises(NonFiniteScoreError, match="scores: received nan for item 1"):
        rank_cases(scorer_of(trainer.model, part), cases_of(part), history="unmasked")


@pytest.mark.parametrize("feedback", ["soft", "hard", "none"])
def test_a_level_with_one_category_works(tmp_path: Path, feedback: str) -> None:
    """Its cross-entropy is 0, and what it adds to the score is the same for all items."""
    data_path = write_shop(tmp_path / "data")
    path = data_path / "shop" / "shop.item"
    path.write_text(path.read_text(encoding="utf-8").replace("\td1\t", "\td0\t"), encoding="utf-8")
    trainer, (train, valid, test) = build(data_path, tmp_path, category_feedback=feedback)
    assert trainer.model.network.items.category[0].num_embeddings == 1
    trainer.fit(train, valid, saved=False)
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())
    rows = test._dataset.inter_feat
    with torch.no_grad():
        logits = trainer.model.eval().category_logits(rows)[0]
    assert logits.shape == (12, 1)
    assert torch.isfinite(trainer.model.full_sort_predict(rows)).all()


@pytest.mark.parametrize("model", EVERY_POSITION)
def test_of_a_long_session_the_last_items_are_used(tmp_path: Path, model: str) -> None:
    """Two sessions of 9 and 4 items with the same end: at a length of 3, nobody can tell them apart."""
    long = [9, 8, 7, 6, 5, 0, 1, 2, 3]
    data_path = write_sessions(tmp_path / "data", [long, [5, *long[-4:]], [1, 2, 3, 4, 5, 6], [7, 8, 9, 0]])
    trainer, (train, valid, test) = build(data_path, tmp_path, model, MAX_ITEM_LIST_LENGTH=3)
    part = test._dataset
    rows = part.inter_feat
    tokens = part.field2id_token["item_id"]
    seen = [[tokens[item] for item in row] for row in rows["item_id_list"][:2].tolist()]
    assert seen == [["i0", "i1", "i2"]] * 2
    trainer.fit(train, valid, saved=False)
    with torch.no_grad():
        scores = trainer.model.eval().full_sort_predict(rows[:2])
    torch.testing.assert_close(scores[0], scores[1])


@pytest.mark.parametrize("model", [*EVERY_POSITION, "SequentialPop", "MarkovChain", "SessionPop", "STAN"])
def test_histories_of_one_item_are_trained_on_and_scored(tmp_path: Path, model: str) -> None:
    """Sessions of four items: training learns the second from the first, and that is all."""
    data_path = write_sessions(tmp_path / "data", [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1]])
    trainer, (train, valid, test) = build(data_path, tmp_path, model)
    assert train._dataset.inter_feat["item_length"].tolist() == [1, 1, 1]
    trainer.fit(train, valid, saved=False)
    rows = test._dataset.inter_feat[:1]
    rows["item_id_list"][:, 1:] = 0
    rows["item_length"][:] = 1
    with torch.no_grad():
        scores = trainer.model.eval().full_sort_predict(rows)
    assert scores.shape == (1, 11)
    assert torch.isfinite(scores[:, 1:]).all()


def test_sessions_too_short_for_all_three_parts(tmp_path: Path) -> None:
    """RecBole's rule: three items give a training target and a test case; one item gives nothing, and is no error."""
    data_path = write_sessions(tmp_path / "data", [[0, 1, 2], [3], [4, 5, 6, 7], [8, 9, 0, 1]])
    trainer, (train, valid, test) = build(data_path, tmp_path)
    assert [len(part._dataset) for part in (train, valid, test)] == [3, 2, 3]
    trainer.fit(train, valid, saved=False)
    assert trainer.report.epochs == 2
