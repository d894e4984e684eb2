"""One test or more for each defect of RecBole that the compatibility layer mends."""

from __future__ import annotations

import importlib
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop

from recbole_hiersrec import compat, resources
from recbole_hiersrec.errors import CheckpointError, HierSRecError, InputError
from recbole_hiersrec.settings import HierSRecSettings

compat.apply_fixes()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.quick_start import load_data_and_model, objective_function  # noqa: E402
from recbole.trainer import Trainer  # noqa: E402
from recbole.trainer.trainer import PretrainTrainer  # noqa: E402
from recbole.utils import get_model, init_logger, init_seed  # noqa: E402

from recbole_hiersrec.compat import checkpoints, logs, process  # noqa: E402

CE = {"train_neg_sample_args": None}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


@pytest.fixture
def settings(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return {**SMALL, **CE, "data_path": str(shop), "checkpoint_dir": str(tmp_path / "saved")}


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    yield
    root = logging.getLogger()
    for handler in logs._ours:
        root.removeHandler(handler)
        handler.close()
    logs._ours.clear()


def train(model: str, settings: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Train a model of RecBole for one epoch; returns (trainer, model, test loader)."""
    config = Config(model=model, dataset="shop", config_dict=dict(settings))
    init_seed(1, True)
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    network = get_model(model)(config, train_data._dataset)
    trainer = Trainer(config, network)
    trainer.fit(train_data, valid_data, verbose=False)
    return trainer, network, test_data


def scores(model: Any, loader: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model.full_sort_predict(batch[0]).view(len(batch[0]), -1) for batch in loader])


# --- importing RecBole ------------------------------------------------------------------------------------


def test_numpy_aliases_let_a_config_be_built(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("float_", "complex_", "unicode_"):
        monkeypatch.delattr(np, name)
    with pytest.raises(AttributeError, match="float_"):
        Config("SASRec", "shop", config_dict=dict(settings))
    process.numpy_aliases()
    assert Config("SASRec", "shop", config_dict=dict(settings))["model"] == "SASRec"
    assert (np.float_, np.complex_, np.unicode_) == (np.float64, np.complex128, np.str_)  # type: ignore[attr-defined]  # noqa: NPY201


@pytest.fixture
def fresh_quick_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if recbole.quick_start had not been imported yet."""
    import recbole

    monkeypatch.setattr(recbole, "quick_start", recbole.quick_start)  # put back afterwards
    for name in [name for name in sys.modules if name.startswith("recbole.quick_start")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("fresh_quick_start")
def test_ray_is_neither_imported_nor_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoRay:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
            assert name.partition(".")[0] != "ray", "ray was imported"

    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setattr(sys, "meta_path", [NoRay(), *sys.meta_path])
    process.import_without_ray()
    assert sys.modules["recbole.quick_start.quick_start"].tune.report(recall=0.5) is None
    assert not {"ray", "ray.tune"} & set(sys.modules)


@pytest.mark.usefixtures("fresh_quick_start")
def test_a_real_ray_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType("ray")
    monkeypatch.setitem(sys.modules, "ray", real)
    process.import_without_ray()
    assert sys.modules["ray"] is real
    assert "ray.tune" not in sys.modules


def test_objective_function_runs_without_ray_tune(settings: dict[str, Any]) -> None:
    result = objective_function({**settings, "model": "SASRec", "dataset": "shop"}, saved=False)
    assert set(result["test_result"]) == {"recall@3", "mrr@3", "ndcg@3"}
    assert os.listdir(settings["checkpoint_dir"]) == []  # no folder for a run that saves nothing


def future_warning_of(module: str) -> None:
    warnings.warn_explicit("soon", FutureWarning, "file.py", 1, module=module)


def test_only_recboles_future_warnings_are_hidden() -> None:
    others = ["recbole", "recbole_hiersrec.training", "my.recbole.part", "pandas.core.frame"]
    with warnings.catch_warnings(record=True) as shown:
        warnings.resetwarnings()
        for _ in range(2):
            process.quiet_future_warnings()
        assert len(warnings.filters) == 1
        for module in ["recbole.data.dataset.dataset", "recbole.trainer.trainer", *others]:
            future_warning_of(module)
        warnings.warn_explicit("old", UserWarning, "file.py", 1, module="recbole.trainer.trainer")
    assert [warning.category for warning in shown] == [FutureWarning] * len(others) + [UserWarning]


def test_who_asks_for_future_warnings_gets_recboles_too() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # as -W error::FutureWarning
        process.quiet_future_warnings()
        with pytest.raises(FutureWarning, match="soon"):
            future_warning_of("recbole.trainer.trainer")


@pytest.mark.parametrize(
    ("imported_before", "on", "after"), [(False, False, False), (False, True, True), (True, True, False)]
)
def test_anomaly_detection_is_what_the_user_chose(
    imported_before: bool, on: bool, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "recbole.model.sequential_recommender.sine"
    package = sys.modules["recbole.model.sequential_recommender"]
    if not imported_before:
        monkeypatch.setattr(package, "sine", package.sine)  # type: ignore[attr-defined]  # put back afterwards
        monkeypatch.delitem(sys.modules, name)
    torch.autograd.set_detect_anomaly(on)
    try:
        process.anomaly_detection_off()
        assert torch.is_anomaly_enabled() is after
    finally:
        torch.autograd.set_detect_anomaly(False)


def test_applying_twice_changes_nothing() -> None:
    def state() -> list[Any]:
        quick_start = importlib.import_module("recbole.quick_start.quick_start")
        return [
            *(
                vars(Config)[name]
                for name in ("_load_cmd_line", "_update_internal_config_dict", "_get_final_config_dict")
            ),
            *(vars(Trainer)[name] for name in ("__init__", "_save_checkpoint")),
            *(vars(quick_start)[name] for name in ("init_logger", "load_data_and_model")),
        ]

    before = state()
    compat.apply_fixes()
    assert all(new is old for new, old in zip(state(), before, strict=True))


# --- Config -----------------------------------------------------------------------------------------------


def test_the_command_line_is_not_read(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest", "--epochs=3"])
    assert Config("SASRec", "shop", config_dict=dict(settings))["epochs"] == 1


def test_metrics_are_not_rounded_unless_the_user_says_so(settings: dict[str, Any]) -> None:
    plain = Config("SASRec", "shop", config_dict=dict(settings))
    assert (plain["metric_decimal_place"], plain["eval_batch_size"]) == (12, 256)
    chosen = Config(
        "SASRec", "shop", config_dict={**settings, "metric_decimal_place": 3, "eval_batch_size": 9}
    )
    assert (chosen["metric_decimal_place"], chosen["eval_batch_size"]) == (3, 9)


def test_early_stopping_sees_unrounded_metrics(settings: dict[str, Any]) -> None:
    trainer, _, test_data = train("SASRec", settings)
    ndcg = trainer.evaluate(test_data, load_best_model=False)["ndcg@3"]
    assert 0 < ndcg < 1
    assert ndcg != round(ndcg, 4)  # a mean over 12 cases of 1 / log2(rank + 1)


@pytest.fixture
def known_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Config(model="HierSRec") needs no module of ours here: RecBole's SASRec stands for it."""
    monkeypatch.setattr("recbole.config.configurator.get_model", lambda name: get_model("SASRec"))


@pytest.fixture
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of default files in place of the package's own."""
    for folder in ("model", "dataset"):
        (tmp_path / "properties" / folder).mkdir(parents=True)
    monkeypatch.setattr(resources, "root", lambda: tmp_path)
    return tmp_path / "properties"


@pytest.mark.usefixtures("known_models")
def test_our_default_files_come_right_after_the_ones_they_refine(
    own_files: Path, settings: dict[str, Any]
) -> None:
    (own_files / "model" / "HierSRec.yaml").write_text(
        "loss_type: CE\nlearning_rate: 0.5\nseq_separator: '|'\nmetric_decimal_place: 7\nn_layers: 9\n",
        encoding="utf-8",
    )
    (own_files / "dataset" / "shop.yaml").write_text(
        "category_fields: [department]\nMAX_ITEM_LIST_LENGTH: 7\nrepeatable: false\n", encoding="utf-8"
    )
    given = {key: value for key, value in settings.items() if key != "MAX_ITEM_LIST_LENGTH"}
    config = Config("HierSRec", "shop", config_dict=given)
    assert config["learning_rate"] == 0.5  # after overall.yaml
    assert config["metric_decimal_place"] == 7
    assert config["seq_separator"] == " "  # before sample.yaml
    assert config["category_fields"] == ["department"]
    assert config["MAX_ITEM_LIST_LENGTH"] == 7  # after sample.yaml
    assert config["repeatable"] is True  # before sequential.yaml
    assert config["n_layers"] == 1  # the user's word is the last
    other = Config("SASRec", "shop", config_dict=given)
    assert other["category_fields"] is None
    assert other["learning_rate"] == 0.001


@pytest.mark.usefixtures("known_models")
def test_our_data_set_file_comes_after_recboles(own_files: Path) -> None:
    (own_files / "dataset" / "ml-100k.yaml").write_text(
        "user_inter_num_interval: '[7,inf)'\n", encoding="utf-8"
    )
    config = Config("HierSRec", "ml-100k", config_dict={**CE, "loss_type": "CE"})
    assert config["user_inter_num_interval"] == "[7,inf)"


@pytest.mark.usefixtures("own_files", "known_models")
def test_missing_default_files_are_skipped(settings: dict[str, Any]) -> None:
    config = Config("HierSRec", "shop", config_dict={**settings, "loss_type": "CE"})
    assert config["learning_rate"] == 0.001


@pytest.mark.usefixtures("known_models")
@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("category_field", "category_fields"),
        ("learning_rte", "learning_rate"),
        ("max_item_list_lenght", "MAX_ITEM_LIST_LENGTH"),
        ("exact_time_ordr", "exact_time_order"),
    ],
)
def test_a_misspelt_key_of_our_models_is_refused(
    key: str, meant: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    expected = f"configuration of HierSRec: unknown key '{key}'; did you mean '{meant}'\\?"
    with pytest.raises(InputError, match=expected):
        Config("HierSRec", "shop", config_dict={**settings, key: 1})
    file = tmp_path / "mine.yaml"
    file.write_text(f"{key}: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=expected):
        Config("HierSRec", "shop", config_file_list=[str(file)], config_dict=dict(settings))
    assert Config("SASRec", "shop", config_dict={**settings, key: 1})[key] == 1  # RecBole's models as before


@pytest.mark.usefixtures("known_models")
def test_keys_of_ours_and_of_recbole_are_accepted(settings: dict[str, Any]) -> None:
    ours = dict.fromkeys(
        [*HierSRecSettings.model_fields, *("max_steps", "max_seconds", "log_dir", "history")]
    )
    theirs = {
        "alias_of_item_id": None,
        "nproc": 1,
        "loss_type": "CE",
        "log_wandb": False,
        "selected_features": [],
    }
    config = Config("HierSRec", "shop", config_dict={**ours, **theirs, **settings})
    assert "title_field" in config


@pytest.mark.parametrize(
    ("given", "columns"),
    [
        ({}, ["user_id", "item_id", "timestamp"]),
        ({"USER_ID_FIELD": "session", "TIME_FIELD": "time"}, ["user_id", "item_id", "session", "time"]),
        ({"load_col": {"inter": ["item_id"]}}, ["item_id"]),
    ],
)
def test_the_time_column_is_loaded(
    given: dict[str, Any], columns: list[str], settings: dict[str, Any]
) -> None:
    assert Config("SASRec", "shop", config_dict={**settings, **given})["load_col"] == {"inter": columns}


def test_other_kinds_of_models_load_what_they_did(settings: dict[str, Any]) -> None:
    assert Config("BPR", "shop", config_dict={"data_path": "x"})["load_col"] == {
        "inter": ["user_id", "item_id"]
    }


# --- checkpoints ------------------------------------------------------------------------------------------


def test_a_checkpoint_holds_no_pickled_object(settings: dict[str, Any]) -> None:
    trainer, model, test_data = train("SASRec", settings)
    state = torch.load(trainer.saved_model_file, weights_only=True)
    assert state["config"]["learning_rate"] == 0.001
    assert type(state["best_valid_score"]) is float
    assert os.listdir(Path(trainer.saved_model_file).parent) == ["SASRec.pth"]
    json.dumps(state["config"])
    expected = scores(model, test_data)
    torch.nn.init.zeros_(model.item_embedding.weight)
    trainer.evaluate(test_data, load_best_model=True)  # trainer.py:583
    assert torch.equal(scores(model, test_data), expected)
    trainer.resume_checkpoint(trainer.saved_model_file)  # trainer.py:323
    assert trainer.start_epoch == 1


def test_load_data_and_model_gives_the_same_model_and_settings(settings: dict[str, Any]) -> None:
    trainer, model, test_data = train("SASRec", settings)
    config, loaded, dataset, train_data, _valid, test = load_data_and_model(trainer.saved_model_file)
    assert torch.equal(scores(loaded, test), scores(model, test_data))
    assert config.final_config_dict == trainer.config.final_config_dict | {"log_dir": None}
    assert dataset.item_num == 11
    assert len(train_data._dataset) == 12 * 3
    Trainer(config, loaded).fit(train_data, verbose=False)  # train_neg_sample_args is whole again


def test_modules_are_not_stored_twice(settings: dict[str, Any]) -> None:
    """SASRecF keeps a module, and with it the training data, in other_parameter."""
    extra = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}}
    trainer, model, test_data = train("SASRecF", {**settings, **extra, "selected_features": ["class"]})
    assert torch.load(trainer.saved_model_file, weights_only=True)["other_parameter"] == {}
    loaded = load_data_and_model(trainer.saved_model_file)
    assert torch.equal(scores(loaded[1], loaded[5]), scores(model, test_data))


def test_other_parameters_are_stored_and_loaded(settings: dict[str, Any]) -> None:
    trainer, model, test_data = train("Pop", settings)
    loaded = load_data_and_model(trainer.saved_model_file)
    assert model.item_cnt.sum() > 0
    assert torch.equal(loaded[1].item_cnt, model.item_cnt)
    assert torch.equal(scores(loaded[1], loaded[5]), scores(model, test_data))


def test_pre_training_is_stored_safely(settings: dict[str, Any], tmp_path: Path) -> None:
    trainer, model, _ = train("SASRec", settings)
    path = str(tmp_path / "pre.pth")
    PretrainTrainer(trainer.config, model).save_pretrained_model(3, path)
    assert torch.load(path, weights_only=True)["epoch"] == 3


@pytest.mark.parametrize(
    ("model", "dataset", "given"),
    [
        ("SASRec", "shop", CE),
        ("SASRec", "shop", {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "popularity"}}),
        (
            "GRU4Rec",
            "shop",
            {**CE, "eval_args": {"mode": "uni5"}, "topk": 4, "metrics": "Recall", "valid_metric": "Recall@4"},
        ),
        ("SASRec", "ml-100k", {**CE, "clip_grad_norm": {"max_norm": 5}, "gpu_id": ""}),
    ],
)
def test_settings_survive_json(
    model: str, dataset: str, given: dict[str, Any], settings: dict[str, Any]
) -> None:
    config = Config(model, dataset, config_dict={**settings, **given})
    values = json.loads(json.dumps(compat.plain_config(config)))
    again = compat.rebuild_config(values)
    assert again.final_config_dict == config.final_config_dict | {"log_dir": None}
    assert (again.model, again.dataset, again.model_class) == (model, dataset, config.model_class)


def test_strings_of_a_checkpoint_are_not_evaluated(settings: dict[str, Any]) -> None:
    values = compat.plain_config(Config("SASRec", "shop", config_dict=dict(settings)))
    again = compat.rebuild_config({**values, "title_field": "__import__('os').mkdir('harm')"})
    assert again["title_field"] == "__import__('os').mkdir('harm')"
    assert not Path("harm").exists()


@pytest.mark.parametrize("values", [{}, {"model": "SASRec"}, {"model": "NoSuchModel", "dataset": "shop"}])
def test_settings_that_cannot_be_used(values: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"^here: its settings cannot be used: "):
        compat.rebuild_config(values, "here")


def test_pickled_caches_are_refused_unless_trusted(settings: dict[str, Any]) -> None:
    values = compat.plain_config(Config("SASRec", "shop", config_dict=dict(settings)))
    with pytest.raises(CheckpointError, match=r"'dataset_save_path' names a pickled file \(x\.pth\)"):
        compat.rebuild_config({**values, "dataset_save_path": "x.pth"})
    cache = Path(settings["checkpoint_dir"], "shop-SequentialDataset.pth")
    cache.parent.mkdir()
    cache.touch()
    with pytest.raises(
        CheckpointError, match=r"would unpickle .*shop-SequentialDataset\.pth; if you trust it"
    ):
        compat.rebuild_config(values)
    assert compat.rebuild_config(values, trusted=True)["dataset"] == "shop"


class Harm:
    """Unpickling it makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_a_pth_of_plain_recbole_needs_trust(settings: dict[str, Any], tmp_path: Path) -> None:
    trainer, model, test_data = train("SASRec", settings)
    path = tmp_path / "plain.pth"
    state = {"config": trainer.config, "state_dict": model.state_dict(), "other_parameter": {}, "epoch": 0}
    torch.save({**state, "harm": Harm()}, path, pickle_protocol=4)  # as trainer.py:308
    with pytest.raises(CheckpointError, match="pass trusted=True") as caught:
        load_data_and_model(path)
    assert "\n" not in str(caught.value)
    assert not Path("harm").exists()
    loaded = load_data_and_model(str(path), trusted=True)
    assert Path("harm").exists()
    assert torch.equal(scores(loaded[1], loaded[5]), scores(model, test_data))


@pytest.mark.parametrize("trusted", [False, True])
def test_damaged_and_foreign_files_are_named(settings: dict[str, Any], tmp_path: Path, trusted: bool) -> None:
    trainer, _, _ = train("SASRec", settings)
    whole = Path(trainer.saved_model_file).read_bytes()
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    for content, message in (
        (whole[: len(whole) // 2], "damaged, or not a checkpoint"),
        (whole[:500] + bytes(200) + whole[700:], "damaged"),
        (b"", "damaged, or not a checkpoint"),
        (b"learning_rate: 0.1\n", "damaged, or not a checkpoint"),
        (buffer.getvalue(), "not a checkpoint of a RecBole trainer"),
    ):
        path = tmp_path / "broken.pth"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            load_data_and_model(path, trusted=trusted)
    with pytest.raises(CheckpointError, match=r"none\.pth: no such checkpoint"):
        load_data_and_model(tmp_path / "none.pth", trusted=trusted)


def test_weights_of_other_data_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    own = write_shop(tmp_path / "own")
    trainer, _, _ = train("SASRec", {**settings, "data_path": str(own)})
    with (own / "shop" / "shop.inter").open("a", encoding="utf-8") as file:
        file.write("u0\tnew\t2000000\n")
    with pytest.raises(CheckpointError, match=r"the weights do not fit the data in .*shop"):
        load_data_and_model(trainer.saved_model_file)


def test_what_is_not_plain_cannot_be_stored() -> None:
    value = {"a": (1, np.float32(0.5), {"b": np.array([1, 2])}), 3: Path("x"), "s": {7}}
    assert checkpoints.plain(value, "x") == {"a": (1, 0.5, {"b": [1, 2]}), 3: "x", "s": [7]}
    with pytest.raises(
        HierSRecError, match="setting 'f' is a builtin_function_or_method, which a safe checkpoint"
    ):
        checkpoints.plain({"f": [len]}, "setting 'f'")


def test_every_run_has_its_own_checkpoint_folder(settings: dict[str, Any]) -> None:
    first, model, _ = train("SASRec", settings)
    second = Trainer(first.config, model)
    folders = {Path(trainer.saved_model_file).parent for trainer in (first, second)}
    assert len(folders) == 2
    assert all(folder.parent == Path(settings["checkpoint_dir"]) for folder in folders)
    assert os.listdir(settings["checkpoint_dir"]) == [Path(first.saved_model_file).parent.name]


# --- logs -------------------------------------------------------------------------------------------------


@contextmanager
def bare_root() -> Iterator[logging.Logger]:
    """The root logger as a plain script finds it, without pytest's handlers."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers, root.level = [], logging.WARNING
    try:
        yield root
    finally:
        root.handlers, root.level = handlers, level


def test_nothing_is_written_to_the_working_folder(settings: dict[str, Any]) -> None:
    with bare_root() as root:
        init_logger(Config("SASRec", "shop", config_dict=dict(settings)))
        writer = logs.get_tensorboard(root)
        writer.add_scalar("loss", 1.0, 0)
        writer.add_text("note", "x")
        with pytest.raises(AttributeError, match="add_nothing"):
            writer.add_nothing()
        assert [type(handler) for handler in root.handlers] == [logging.StreamHandler]
        train("SASRec", settings)
    assert os.listdir() == ["saved"]


def test_a_second_run_has_its_own_log_file(settings: dict[str, Any], tmp_path: Path) -> None:
    config = Config("SASRec", "shop", config_dict={**settings, "log_dir": str(tmp_path / "logs")})
    with bare_root() as root:
        for message in ("\033[1;34mfirst\033[0m", "second"):
            init_logger(config)
            assert len(root.handlers) == 2
            logs.get_tensorboard(root).close()
            root.info(message)
    files = (tmp_path / "logs" / "SASRec").glob("*.log")
    written = sorted(path.read_text(encoding="utf-8").split("INFO  ")[1:] for path in files)
    assert written == [["first\n"], ["second\n"]]
    assert len(list((tmp_path / "logs" / "SASRec" / "tensorboard").glob("*/events*"))) == 2
    assert os.listdir() == ["logs"]


def test_handlers_of_the_program_are_left_alone(settings: dict[str, Any]) -> None:
    own = logging.NullHandler()
    with bare_root() as root:
        root.addHandler(own)
        init_logger(Config("SASRec", "shop", config_dict=dict(settings)))
        assert root.handlers == [own]
        assert root.level == logging.WARNING


@pytest.mark.parametrize(
    ("state", "level"),
    [("error", logging.ERROR), ("INFO", logging.INFO), (None, logging.INFO), ("?", logging.INFO)],
)
def test_the_level_follows_state(state: str | None, level: int, settings: dict[str, Any]) -> None:
    with bare_root() as root:
        init_logger(Config("SASRec", "shop", config_dict={**settings, "state": state}))
        assert root.level == level


def test_all_of_recbole_uses_the_new_functions() -> None:
    for name, attribute, new in (
        ("recbole.utils", "init_logger", logs.init_logger),
        ("recbole.utils.logger", "init_logger", logs.init_logger),
        ("recbole.quick_start.quick_start", "init_logger", logs.init_logger),
        ("recbole.utils", "get_tensorboard", logs.get_tensorboard),
        ("recbole.trainer.trainer", "get_tensorboard", logs.get_tensorboard),
        ("recbole.quick_start", "load_data_and_model", load_data_and_model),
        ("recbole.quick_start.quick_start", "load_data_and_model", load_data_and_model),
    ):
        assert getattr(importlib.import_module(name), attribute) is new


# --- time order -------------------------------------------------------------------------------------------

CLOSE = [("a", 30), ("b", 10), ("c", 20), ("d", 10), ("e", 0)]  # seconds, all one number in float32


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "hasty"
    folder.mkdir(parents=True)
    rows = [f"{user}\t{item}\t{1_600_000_000 + second}" for item, second in CLOSE for user in ("u", "v")]
    text = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n"
    (folder / "hasty.inter").write_text(text, encoding="utf-8")
    (folder / "hasty.part.inter").write_text(text, encoding="utf-8")
    return tmp_path / "data"


def longest_sessions(dataset: Any) -> list[str]:
    """Items of each user in the order of the longest row, target last."""
    dataset._change_feat_format()
    rows = dataset.inter_feat
    full = rows["item_length"] == 4
    items = torch.cat([rows["item_id_list"][full][:, :4], rows["item_id"][full][:, None]], dim=1)
    return ["".join(dataset.id2token("item_id", row)) for row in items]


@pytest.mark.parametrize(("exact", "order"), [(True, "ebdca"), (False, "abcde"), (None, "abcde")])
def test_sessions_are_in_exact_time_order(
    hasty: Path, settings: dict[str, Any], exact: bool | None, order: str
) -> None:
    given = {**settings, "data_path": str(hasty), "exact_time_order": exact}
    dataset = create_dataset(Config("SASRec", "hasty", config_dict=given))
    assert longest_sessions(dataset) == [order, order]


def test_exact_time_order_needs_the_time_column(hasty: Path, settings: dict[str, Any]) -> None:
    columns = {"inter": ["user_id", "item_id"]}
    given = {**settings, "data_path": str(hasty), "exact_time_order": True, "load_col": columns}
    dataset = create_dataset(Config("SASRec", "hasty", config_dict=given))
    with pytest.raises(InputError, match=r"needs the time column 'timestamp' .*\(loaded: user_id, item_id\)"):
        dataset.build()


def test_prepared_splits_keep_their_order(hasty: Path, settings: dict[str, Any]) -> None:
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    given = {**settings, "data_path": str(hasty), "exact_time_order": True, "load_col": columns}
    for prepared, order in (({}, "ebdcaebdca"), ({"benchmark_filename": ["part"]}, "aabbccddee")):
        dataset = create_dataset(Config("BPR", "hasty", config_dict={**given, **prepared}))
        dataset._change_feat_format()
        assert "".join(dataset.id2token("item_id", dataset.inter_feat["item_id"])) == order
