"""That nothing assumes a CPU: whole jobs on a device that is none. Run by test_device.py, in a process of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from another_device import DEVICE, Computing
from atomic_files import write_shop
from recbole.config import configurator
from test_job import job

from recbole_hiersrec.benchmark.job import run
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.evaluation.cold import forget_unseen, index_with_added
from recbole_hiersrec.evaluation.faithfulness import faithfulness
from recbole_hiersrec.explain import Explainer
from recbole_hiersrec.retrieval.needs import RULES
from recbole_hiersrec.scoring import scorer_of
from recbole_hiersrec.training import load_data_and_model

EVERYTHING: dict[str, dict[str, Any]] = {
    "full softmax": {"loss": "full", "category_encoder": "separate", "category_score": "detached"},
    "sampled softmax": {"loss": "sampled", "follower_fields": ["department"], "repeat_term": True},
    "averaged": {"loss": "sampled", "weight_average": 0.9, "category_feedback": "hard"},
    "not remembered": {"followers": 0, "category_feedback": "none", "category_score": "none"},
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def on_both(folder: Path, asked: Job) -> list[tuple[dict[str, Any], Any]]:
    """Record and ranks of the job on the CPU, and on the device that is none."""
    # It has no autocast, and draws masks otherwise.
    same = {"precision": "float32", "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    described = replace(asked, settings={**asked.settings, **same})
    choose = configurator.Config._init_device

    def elsewhere(config: Any) -> None:
        choose(config)
        config.final_config_dict["device"] = DEVICE

    found = []
    for name in ("cpu", "elsewhere"):
        into = folder / name
        into.mkdir()
        with pytest.MonkeyPatch.context() as patch, Computing():
            if name == "elsewhere":
                patch.setattr(configurator.Config, "_init_device", elsewhere)
                patch.setattr(torch, "inference_mode", torch.no_grad)  # refuses views of such tensors
            record = run(described, into)
        with np.load(into / "ranks.npz") as file:
            found.append((record, {key: file[key] for key in file.files}))
    return found


def check_equal(found: list[tuple[dict[str, Any], Any]]) -> None:
    (here, ranks_here), (there, ranks_there) = found
    assert (here["machine"]["device"], there["machine"]["device"]) == ("cpu", str(DEVICE))
    assert here["accuracy"] == there["accuracy"]
    for ours, theirs in zip(here["calibration"], there["calibration"], strict=True):
        assert ours["error"] == pytest.approx(theirs["error"], rel=1e-5)
        assert [one["count"] for one in ours["bins"]] == [one["count"] for one in theirs["bins"]]
    assert ranks_here.keys() == ranks_there.keys()
    for name, values in ranks_here.items():
        assert np.array_equal(values, ranks_there[name]), name
    # Two gradients of one table may be added in either order, which moves the last bit.
    losses = [[point["loss"] for point in record["training"]["curve"]] for record in (here, there)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("name", EVERYTHING)
def test_hiersrec_with_every_candidate_rule(shop: Path, tmp_path: Path, name: str) -> None:
    rules = [rule for rule in RULES if not (rule == "leaf-categories" and name == "not remembered")]
    described = job(
        shop,
        candidates={"rules": rules, "item_fractions": [0.5, 1.0], "exact": True},
        settings=job(shop).settings | EVERYTHING[name],
    )
    check_equal(on_both(tmp_path, described))


def test_explanations_and_cold_items(shop: Path, tmp_path: Path) -> None:
    """Of one model on both devices."""
    on_both(tmp_path, job(shop))
    found = []
    for device in (torch.device("cpu"), DEVICE):
        with Computing():
            model, *_, test = load_data_and_model(tmp_path / "elsewhere" / "model")[1:]
            model = model.to(device)
            model.device = device
            scorer = scorer_of(model, test._dataset)
            batch = scorer.batch(torch.arange(3))
            explained = Explainer(model).explain(batch, torch.tensor([[1, 2], [3, 4], [5, 6]]))
            faithful = faithfulness(model, scorer, np.arange(12), seed=1)
            cells = index_with_added(scorer, np.array([2, 5]), seed=1)
            best = cells.search(scorer.queries(batch), 3, 10)[0].tolist()
            forgotten = forget_unseen(model.network, torch.tensor([0, *[1] * 9, 0]))
            scores = [[one.score, *one.contributions.values()] for own in explained for one in own.items]
            found.append((scores, faithful, best, forgotten.cpu().tolist()))
    assert np.allclose(found[0][0], found[1][0], atol=1e-6)
    assert found[0][1:] == found[1][1:]


@pytest.mark.parametrize(
    "model",
    [
        *("SASRec", "SASRecAllPositions", "STAMP", "SRGNN"),
        *("SequentialPop", "MarkovChain", "SessionPop", "SKNN", "VSKNN", "STAN"),
    ],
)
def test_other_models(shop: Path, tmp_path: Path, model: str) -> None:
    check_equal(on_both(tmp_path, job(shop, model)))


def test_what_a_gpu_refuses_is_refused() -> None:
    with Computing():
        there = torch.arange(3, device=DEVICE)
        with pytest.raises(RuntimeError, match="received tensors on elsewhere:0 and on cpu"):
            there + torch.arange(3)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
        with pytest.raises(RuntimeError, match="received tensors"):
            there[torch.tensor([0, 1])] = torch.arange(2)
        assert (there + there).cpu().tolist() == [0, 2, 4]
        assert there[torch.tensor([2])].cpu().tolist() == [2]
