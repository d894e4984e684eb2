"""Twenty sequential models of RecBole in suites: defaults, training within limits, the same items and cases for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from atomic_files import write_manifest, write_shop, write_split

from recbole_hiersrec import register, resources
from recbole_hiersrec.benchmark.checks import OWNED
from recbole_hiersrec.benchmark.needs import FEATURES, READ_PADDING, USER_VECTORS
from recbole_hiersrec.benchmark.suite import Job, expand
from recbole_hiersrec.errors import InputError, SkippedError
from recbole_hiersrec.keys import check_keys
from recbole_hiersrec.reading import parse
from recbole_hiersrec.settings import SuiteSettings

register()

from recbole.config import Config  # noqa: E402
from recbole.model.sequential_recommender import S3Rec  # noqa: E402
from recbole.trainer import S3RecTrainer  # noqa: E402

from recbole_hiersrec import pretraining, resuming  # noqa: E402
from recbole_hiersrec.benchmark.job import run  # noqa: E402
from recbole_hiersrec.benchmark.prepare import prepare  # noqa: E402
from recbole_hiersrec.evaluation.ranks import rank_cases  # noqa: E402
from recbole_hiersrec.names import load_model_class, recbole_folder  # noqa: E402
from recbole_hiersrec.scoring import cases_of, scorer_of  # noqa: E402
from recbole_hiersrec.training import HierSRecTrainer, load_data_and_model  # noqa: E402

NAMES = """
    GRU4Rec NARM STAMP SASRec BERT4Rec SRGNN GCSAN LightSANs CORE FEARec NextItNet Caser SINE HGN FPMC TransRec
    GRU4RecF SASRecF FDSA S3Rec
"""
MODELS = NAMES.split()
SMALL = {
    "hidden_size": 8, "inner_size": 8, "n_heads": 1, "embedding_size": 8, "block_num": 1, "prototype_size": 4,
    "pretrain_epochs": 1, "learning_rate": 0.01, "train_batch_size": 16, "gpu_id": "",
    "category_fields": ["department", "class"],
}  # fmt: skip
PRETRAINED = ("aap_norm", "mip_norm", "map_norm", "sp_norm", "feature_embedding")
"""Parts of S3Rec that only its first stage learns."""


def job(data_path: Path, model: str, **changes: Any) -> Job:
    """The only job of a suite of two epochs; what ``changes`` says of settings is added."""
    suite = {
        "name": "tiny",
        "datasets": [{"name": "shop", "data_path": str(data_path)}],
        "models": [model],
        "protocol": {"max_length": 6},
        "limits": {"epochs": 2},
        "ks": [1, 3],
        "speed": {"k": 3, "batch_size": 4, "repeats": 1, "warmup": 0},
        "threads": 1,
        **changes,
        "settings": {**SMALL, **changes.get("settings", {})},
    }
    return expand(parse(SuiteSettings, suite, "test"))[0]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with an item that nobody clicked, one without a row, and one without a class."""
    data_path = write_shop(tmp_path_factory.mktemp("data"))
    path = data_path / "shop" / "shop.item"
    text = (
        path.read_text(encoding="utf-8")
        .replace("i7\td1\tc3\tthing number 7\n", "")
        .replace("\tc1\t", "\t\t", 1)
    )
    path.write_text(text + "i99\td9\tc9\tnever sold\n", encoding="utf-8")
    return data_path


@pytest.fixture(scope="module")
def hiersrec(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What HierSRec's record says of the data."""
    return run(job(shop, "HierSRec"), tmp_path_factory.mktemp("job"))["data"]


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Names of the parameters that each training changed."""
    trainings: list[set[str]] = []
    fit = HierSRecTrainer.fit

    def watched(self: HierSRecTrainer, *given: Any, **named: Any) -> Any:
        before = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        result = fit(self, *given, **named)
        after = self.model.named_parameters()
        trainings.append({name for name, value in after if not torch.equal(value, before[name])})
        return result

    monkeypatch.setattr(HierSRecTrainer, "fit", watched)
    return trainings


@pytest.mark.parametrize("model", MODELS)
def test_a_line_of_a_suite_is_enough(
    shop: Path, tmp_path: Path, hiersrec: dict[str, Any], moved: list[set[str]], model: str
) -> None:
    record = run(job(shop, model), tmp_path)
    assert {name: record["data"][name] for name in ("universe", "cases", "n_test")} == {
        name: hiersrec[name] for name in ("universe", "cases", "n_test")
    }
    training = record["training"]
    assert (training["way"], training["stopped_by"], training["epochs"]) == ("prefix rows", "epochs", 2)
    assert np.isfinite([row["loss"] for row in training["curve"]]).all()
    assert any("padding" in text for text in record["warnings"]) == (model in READ_PADDING)
    with np.load(tmp_path / "ranks.npz") as file:
        ranks = file["all"]
    assert np.isfinite(ranks).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "ranks.npz", "record.json"]
    assert not list(tmp_path.rglob("*.pth"))

    _, again, _, _, _, test = load_data_and_model(tmp_path / "model")
    names = {name for name, value in again.named_parameters() if value.requires_grad}
    last = {name for name in names if not (model == "S3Rec" and name.startswith(PRETRAINED))}
    assert moved[-1] == last
    found = rank_cases(scorer_of(again, test._dataset), cases_of(test._dataset), history="unmasked")
    assert np.array_equal(found.all, ranks)


@pytest.mark.parametrize("model", sorted(set(MODELS) - USER_VECTORS))
def test_a_temporal_split(tmp_path: Path, model: str) -> None:
    data_path = temporal_shop(tmp_path)
    protocol = {"split": "temporal", "max_length": 6}
    record = run(job(data_path, model, protocol=protocol), tmp_path / model)
    reference = run(job(data_path, "SequentialPop", protocol=protocol), tmp_path / "pop")
    for name in ("universe", "cases"):
        assert record["data"][name] == reference["data"][name]
    with np.load(tmp_path / model / "ranks.npz") as file:
        assert len(file["all"]) == 10
        assert np.isfinite(file["all"]).all()


@pytest.mark.parametrize("model", sorted(set(MODELS) & USER_VECTORS))
def test_vectors_of_users_are_no_use_for_new_ones(tmp_path: Path, model: str) -> None:
    path = f"recbole.model.sequential_recommender.{model.lower()}:{model}"  # seen only when it is imported
    described = job(temporal_shop(tmp_path), path, protocol={"split": "temporal"})
    with pytest.raises(SkippedError, match="^needs users seen in training"):
        run(described, tmp_path / "job")


def temporal_shop(folder: Path) -> Path:
    data_path = write_shop(folder / "data")
    write_split(data_path)
    write_manifest(data_path / "shop", time="click", settings={"split": "temporal"})
    return data_path


@pytest.mark.parametrize("model", MODELS)
def test_defaults(model: str) -> None:
    text = resources.model_defaults(model).read_text(encoding="utf-8")
    assert "https://" in text  # where the values are from
    values = yaml.safe_load(text)
    check_keys(values, model)
    assert not values.keys() & OWNED.keys()
    assert not values.keys() & {
        "train_neg_sample_args",
        "selected_features",
        "item_attribute",
    }  # follow from others
    assert values.get("loss_type", "BPR") == ("BPR" if model in ("FPMC", "TransRec") else "CE")


@pytest.mark.parametrize("model", MODELS)
def test_plain_recbole_keeps_its_own_defaults(model: str) -> None:
    given = {"train_neg_sample_args": None} if model not in ("FPMC", "TransRec") else {}
    config = Config(model=model, dataset="ml-100k", config_dict=given)
    own = yaml.safe_load(
        (recbole_folder() / "properties" / "model" / f"{model}.yaml").read_text(encoding="utf-8")
    )
    numbers = {key: value for key, value in own.items() if isinstance(value, int | list)}
    assert {key: config[key] for key in numbers} == numbers
    assert (config["train_batch_size"], config["learning_rate"]) == (2048, 0.001)


@pytest.mark.parametrize(
    ("model", "settings", "negatives"),
    [
        ("SINE", {}, "none"),
        ("SINE", {"loss_type": "NLL"}, "none"),
        ("GRU4Rec", {"loss_type": "BPR"}, "uniform"),
        ("FPMC", {}, "uniform"),
        ("TransRec", {}, "uniform"),
    ],
)
def test_negatives_are_drawn_for_the_losses_that_need_them(
    shop: Path, tmp_path: Path, model: str, settings: dict[str, Any], negatives: str
) -> None:
    described = job(shop, model, settings=settings)
    assert prepare(described, load_model_class(model), tmp_path).config["train_neg_sample_args"][
        "distribution"
    ] == (negatives)
    assert run(described, tmp_path)["training"]["epochs"] == 2


@pytest.mark.parametrize(
    ("model", "settings"), [("GRU4Rec", {"loss_type": "BPR"}), ("FPMC", {}), ("TransRec", {})]
)
def test_a_loss_that_needs_negatives_and_is_to_have_none(
    shop: Path, tmp_path: Path, model: str, settings: dict[str, Any]
) -> None:
    described = job(shop, model, settings={**settings, "train_neg_sample_args": None})
    with pytest.raises(InputError, match=f"settings of {model}: train_neg_sample_args: received null"):
        prepare(described, load_model_class(model), tmp_path)


@pytest.mark.parametrize("model", sorted(FEATURES))
def test_features_are_those_of_hiersrec(shop: Path, tmp_path: Path, model: str) -> None:
    described = job(shop, model, settings={"metadata_fields": ["title"]})
    assert described.settings["selected_features"] == ["department", "class", "title"]
    data = prepare(described, load_model_class(model), tmp_path).train._dataset
    rows = data.item_feat
    tokens = data.field2id_token
    shown = {
        token: tokens["department"][value]
        for token, value in zip(tokens["item_id"], rows["department"], strict=True)
    }
    assert shown["i7"] == "[PAD]"  # it has no row
    assert (shown["i4"], shown["i5"]) == ("d0", "d1")
    assert "d9" not in tokens["department"]  # nobody clicked its only item


def test_pretraining_is_recboles_own(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first stage ends with the weights of S3RecTrainer, and the second begins with them."""
    described = job(shop, "S3Rec", settings={"pretrain_epochs": 3})
    model_class = load_model_class("S3Rec")
    monkeypatch.chdir(tmp_path)
    data = prepare(described, model_class, tmp_path)
    theirs = model_class(data.config, data.train._dataset)
    S3RecTrainer(data.config, theirs).fit(data.train)
    data = prepare(described, model_class, tmp_path)
    ours = pretraining.pretrained(model_class, data.config, data.train)
    assert ours.model.train_stage == data.config["train_stage"] == "finetune"
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], value), name
    assert ours.pretraining is not None
    assert (ours.pretraining.epochs, ours.pretraining.steps) == (3, 3 * len(data.train))
    assert ours.max_seconds == described.limits["seconds"] - ours.pretraining.seconds
    assert ours.epochs == described.limits["epochs"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"epochs": 2, "steps": 8}, {"epochs": 2, "steps": 6, "stopped_by": "epochs"}),  # 3 steps an epoch
        ({"epochs": 2, "steps": 5}, {"epochs": 2, "steps": 5, "stopped_by": "steps"}),
        ({"epochs": 2, "seconds": 1e-9}, {"epochs": 1, "steps": 0, "stopped_by": "seconds"}),
    ],
)
def test_limits_hold_for_both_stages_together(
    shop: Path, tmp_path: Path, limits: dict[str, Any], expected: dict[str, Any]
) -> None:
    record = run(job(shop, "S3Rec", limits=limits, settings={"pretrain_epochs": 2}), tmp_path)
    first = record["training"]["pretraining"]
    assert {name: first[name] for name in expected} == expected
    assert first["steps"] + record["training"]["steps"] == limits.get("steps", 0)
    assert record["training"]["seconds"] >= first["seconds"]
    assert record["status"] == ("time limit" if "seconds" in limits else "ok")


@pytest.mark.parametrize("die_at", [5, 8, 12])  # in the first stage, in the second, in its third epoch
def test_two_stages_go_on_where_they_were_killed(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, die_at: int
) -> None:
    """3 steps an epoch; 2 epochs of pretraining, 3 of training."""
    monkeypatch.setattr(resuming.TrainingState, "every", 0.0)
    monkeypatch.setattr(resuming, "SHARE", 0)
    described = job(shop, "S3Rec", limits={"epochs": 3}, settings={"pretrain_epochs": 2})
    calls, loss = [], S3Rec.calculate_loss

    def counted(model: Any, interaction: Any) -> Any:
        calls.append(1)
        if len(calls) == die_at:
            raise KeyboardInterrupt
        return loss(model, interaction)

    monkeypatch.setattr(S3Rec, "calculate_loss", counted)
    with pytest.raises(KeyboardInterrupt):
        run(described, tmp_path / "killed")
    resumed = run(described, tmp_path / "killed")["training"]
    assert len(calls) == 15 + (die_at - 1) % 3 + 1  # only what the epoch under way had done is done again
    whole = run(described, tmp_path / "whole")["training"]
    assert [point["valid"] for point in resumed["curve"]] == [point["valid"] for point in whole["curve"]]
    assert [point["loss"] for point in resumed["curve"]] == [point["loss"] for point in whole["curve"]]
    assert resumed["pretraining"]["steps"] == whole["pretraining"]["steps"] == 6
    assert resumed["steps"] == whole["steps"] == 9


def test_pretraining_can_be_left_out(shop: Path, tmp_path: Path, moved: list[set[str]]) -> None:
    record = run(job(shop, "S3Rec", settings={"pretrain_epochs": 0}), tmp_path)
    assert record["training"]["pretraining"]["epochs"] == 0
    assert len(moved) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"train_stage": "finetune"},
            "key 'train_stage' is not set here; a suite says it under: pretrain_epochs",
        ),
        ({"pre_model_path": "x.pth"}, "key 'pre_model_path' is not set here"),
        ({"pretrain_epochs": -1}, "pretrain_epochs"),
        ({"item_attribute": "clas"}, "item_attribute: .*no column 'clas'; did you mean 'class'"),
    ],
)
def test_settings_of_s3rec_are_checked(shop: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        job(shop, "S3Rec", settings=settings)
