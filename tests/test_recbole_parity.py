"""Our means are RecBole's own, to 6 decimals, wherever no scores tie."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import recbole_hiersrec
from recbole_hiersrec.evaluation.metrics import METRICS, mean_metrics
from recbole_hiersrec.evaluation.ranks import rank_cases, target_ranks
from recbole_hiersrec.scoring import cases_of, scorer_of

KS = [5, 10, 20]
N_ITEMS = 40


@pytest.fixture(scope="module", autouse=True)
def _mended_recbole() -> None:
    recbole_hiersrec.register()


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, Any]:
    """RecBole's settings for 60 random sessions of 3 to 9 items, in atomic files."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(60):
        items = rng.integers(1, N_ITEMS + 1, rng.integers(3, 10))
        rows += [f"u{user}\ti{item}\t{step}" for step, item in enumerate(items)]
    (folder / "small").mkdir()
    (folder / "small" / "small.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "gpu_id": "",
        "seed": 5,
        "train_neg_sample_args": None,
        "MAX_ITEM_LIST_LENGTH": 8,
        "hidden_size": 16,
        "embedding_size": 16,
        "inner_size": 16,
        "n_layers": 1,
        "metrics": list(METRICS),
        "topk": KS,
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 12,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "eval_batch_size": 16,
        "epochs": 1,
        "show_progress": False,
    }


def assert_same_means(ranks: np.ndarray, theirs: dict[str, float]) -> None:
    ours = {f"{metric.lower()}@{k}": mean for metric, k, mean, _ in mean_metrics(ranks, METRICS, KS)}
    assert set(ours) == set(theirs)
    for key, mean in ours.items():
        assert mean == pytest.approx(theirs[key], abs=5e-7), key
    assert 0 < ours["ndcg@20"] < 1  # the comparison would see a difference


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_evaluator_on_random_scores(settings, seed):
    from recbole.config import Config
    from recbole.evaluator import Collector, Evaluator

    config = Config(model="SASRec", dataset="small", config_dict=settings)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(200, 101, generator=generator).argsort(dim=1)  # a permutation a row: no ties
    scores = order.float() / 7 - 5
    scores[:, 0] = -math.inf
    target = torch.randint(1, 101, (200,), generator=generator)
    target[:60] = scores[:60].topk(12).indices[torch.arange(60), torch.arange(60) % 12]  # enough hits

    collector = Collector(config)
    for rows in torch.arange(200).split(64):
        collector.eval_batch_collect(scores[rows], None, torch.arange(len(rows)), target[rows])
    theirs = Evaluator(config).evaluate(collector.get_data_struct())
    assert_same_means(target_ranks(scores, target).numpy(), theirs)


@pytest.mark.parametrize("model_name", ["SASRec", "GRU4Rec", "NARM", "STAMP"])
@pytest.mark.parametrize("epochs", [0, 1])
def test_trainer_on_real_models(settings, model_name, epochs):
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    config = Config(model=model_name, dataset="small", config_dict=settings)
    init_seed(config["seed"], True)
    dataset = create_dataset(config)
    train_data, _, test_data = data_preparation(config, dataset)
    model = get_model(model_name)(config, train_data.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], model_name)(config, model)
    if epochs:
        trainer.fit(train_data, verbose=False, saved=False, show_progress=False)
    theirs = trainer.evaluate(test_data, load_best_model=False)

    scorer, cases = scorer_of(model, test_data.dataset), cases_of(test_data.dataset)
    assert len(cases) == 60
    table = rank_cases(scorer, cases, history="unmasked", batch_size=16)
    assert (table.all == np.round(table.all)).all()  # untied, so that RecBole's order is no accident
    assert_same_means(table.all, theirs)
