"""The trainer: limits, early stopping, what is kept; and checkpoints that are safe to load."""

from __future__ import annotations

import json
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from atomic_files import SMALL, write_shop

from recbole_hiersrec import register
from recbole_hiersrec.errors import CheckpointError, InputError

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, init_seed  # noqa: E402

from recbole_hiersrec import checkpoint, compat  # noqa: E402
from recbole_hiersrec.training import (  # noqa: E402
    HierSRecTrainer,
    load_data_and_model,
    precision_of,
    ranked_at_once,
)

FIELDS = {"category_fields": ["department", "class"], "title_field": "title"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


def trainer(
    shop: Path, tmp_path: Path, model: str = "HierSRec", **settings: Any
) -> tuple[HierSRecTrainer, Any, Any]:
    values = {
        **SMALL,
        **FIELDS,
        "data_path": str(shop),
        "checkpoint_dir": str(tmp_path / "saved"),
        "train_batch_size": 6,  # 12 sessions: two steps an epoch
        "train_neg_sample_args": None,
        "epochs": 50,
        "stopping_step": 50,
        **settings,
    }
    config = Config(model=model, dataset="shop", config_dict=values)
    init_seed(3, True)
    parts = data_preparation(config, create_dataset(config))
    init_seed(3, True)
    return HierSRecTrainer(config, get_model(model)(config, parts[0]._dataset)), parts[0], parts[1]


def scripted(made: HierSRecTrainer, values: list[float]) -> HierSRecTrainer:
    """Let validation give these values, one an epoch."""
    given = iter(values)
    made.validate = lambda _: next(given)  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize(
    ("limits", "stopped_by", "epochs", "steps"),
    [
        ({"epochs": 3}, "epochs", 3, 6),
        ({"max_steps": 5}, "steps", 3, 5),
        ({"max_steps": 4}, "steps", 2, 4),
        ({"epochs": 2, "max_steps": 100}, "epochs", 2, 4),
    ],
)
def test_limits(
    shop: Path, tmp_path: Path, limits: dict[str, int], stopped_by: str, epochs: int, steps: int
) -> None:
    made, train, valid = trainer(shop, tmp_path, **limits)
    made.fit(train, valid, saved=False)
    assert (made.report.stopped_by, made.report.epochs, made.report.steps) == (stopped_by, epochs, steps)


def test_the_clock_stops_in_the_middle_of_an_epoch(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, train, valid = trainer(shop, tmp_path, max_seconds=10)
    now = iter([0.0, 1.0, *[11.0] * 100])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    made.fit(train, valid, saved=False)
    assert made.report.stopped_by == "seconds"
    assert made.report.steps == 1


def clock(monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> None:
    """Let the clock show these times, one a look, and the last one for ever."""
    shown = iter(seconds)
    last = seconds[-1]
    monkeypatch.setattr(time, "perf_counter", lambda: next(shown, last))


def test_what_the_clock_cut_short_is_marked_even_if_patience_ends_too(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, train, valid = trainer(shop, tmp_path, max_seconds=10, stopping_step=1)
    scripted(made, [0.2, 0.1])
    # looks: start; before 2 batches; curve; end of epoch 1; before 2 batches, the second too late
    clock(monkeypatch, [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 11.0])
    made.fit(train, valid, saved=False)
    assert made.report.steps == 3
    assert made.report.stopped_by == "seconds"


def test_the_clock_does_not_mark_what_came_to_its_end(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, train, valid = trainer(shop, tmp_path, max_seconds=10, epochs=1)
    clock(monkeypatch, [0.0, 1.0, 1.0, 11.0])
    made.fit(train, valid, saved=False)
    assert (made.report.steps, made.report.stopped_by) == (2, "epochs")


def test_validation_masks_the_history_when_the_protocol_does(shop: Path, tmp_path: Path) -> None:
    shown, _, valid = trainer(shop, tmp_path, "SequentialPop", valid_metric="MRR@10")
    hidden = trainer(shop, tmp_path, "SequentialPop", valid_metric="MRR@10", history="masked")[0]
    assert hidden.validate(valid) > shown.validate(valid)  # fewer items are ranked, and no target repeats


def test_patience_counts_validations_without_improvement(shop: Path, tmp_path: Path) -> None:
    made, train, valid = trainer(shop, tmp_path, stopping_step=2)
    scripted(made, [0.1, 0.3, 0.2, 0.3, 0.9]).fit(train, valid, saved=False)
    assert made.report.stopped_by == "patience"
    assert (made.report.epochs, made.report.best_epoch, made.report.best_valid) == (4, 2, 0.3)


def test_validation_is_not_rounded(shop: Path, tmp_path: Path) -> None:
    """RecBole's four digits would call these four values equal."""
    made, train, valid = trainer(shop, tmp_path, stopping_step=2, epochs=4)
    scripted(made, [0.10001, 0.10002, 0.10003, 0.10002]).fit(train, valid, saved=False)
    assert (made.report.best_epoch, made.report.stopped_by) == (3, "epochs")


def test_the_best_epoch_is_kept_and_its_first_of_equals(shop: Path, tmp_path: Path) -> None:
    made, train, valid = trainer(shop, tmp_path, epochs=3)
    states: list[torch.Tensor] = []
    made.fit(
        train,
        scripted(made, [0.2, 0.2, 0.1]) and valid,
        saved=False,
        callback_fn=lambda *_: states.append(made.model.network.item_bias.weight.detach().clone()),
    )
    assert made.report.best_epoch == 1
    assert torch.equal(made.model.network.item_bias.weight, states[0])
    assert not torch.equal(states[0], states[2])


def test_lower_can_be_better(shop: Path, tmp_path: Path) -> None:
    made, train, valid = trainer(shop, tmp_path, epochs=3)
    made.valid_metric_bigger = False
    scripted(made, [0.2, 0.1, 0.3]).fit(train, valid, saved=False)
    assert (made.report.best_epoch, made.report.best_valid) == (2, 0.1)


@pytest.mark.parametrize(
    ("eval_step", "epochs", "validated"),
    [(1, 4, [1, 2, 3, 4]), (2, 4, [2, 4]), (2, 5, [2, 4, 5]), (9, 3, [3])],
)
def test_validations_are_so_many_epochs_apart_and_after_the_last(
    shop: Path, tmp_path: Path, eval_step: int, epochs: int, validated: list[int]
) -> None:
    made, train, valid = trainer(shop, tmp_path, eval_step=eval_step, epochs=epochs)
    scripted(made, [0.1] * epochs).fit(train, valid, saved=False)
    assert [point["epoch"] for point in made.report.curve] == validated


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_average_of_the_weights_is_validated_and_kept(shop: Path, tmp_path: Path, decay: float) -> None:
    made, train, valid = trainer(shop, tmp_path, epochs=2, weight_average=decay)
    seen: dict[str, list[torch.Tensor]] = {"stepped": [], "validated": []}

    def note(when: str) -> float:
        seen[when].append(made.model.network.item_bias.weight.detach().clone())
        return len(seen["validated"])  # each validation is better than the one before

    made.validate = lambda _: note("validated")  # type: ignore[method-assign]
    epoch = made._train_epoch
    made._train_epoch = lambda *given: (epoch(*given), note("stepped"))[0]  # type: ignore[method-assign]
    made.fit(train, valid, saved=False)
    same = [torch.equal(*pair) for pair in zip(seen["stepped"], seen["validated"], strict=True)]
    assert same == [decay == 0] * 2
    assert torch.equal(made.model.network.item_bias.weight, seen["validated"][-1])


def test_cases_ranked_at_once_are_few_unless_the_user_says_so(shop: Path, tmp_path: Path) -> None:
    for given, rows in (({}, 256), ({"eval_batch_size": None}, 256), ({"eval_batch_size": 4096}, 4096)):
        config = trainer(shop, tmp_path, **given)[0].config
        assert ranked_at_once(config) == rows
        kept = json.loads(json.dumps(compat.plain_config(config)))
        assert ranked_at_once(compat.rebuild_config(kept, "a checkpoint")) == rows


def test_validation_equals_recboles_evaluation(shop: Path, tmp_path: Path) -> None:
    for metric in ("NDCG@3", "MRR@3", "Recall@3", "Hit@3", "Precision@3"):
        made, train, valid = trainer(shop, tmp_path, epochs=2, valid_metric=metric, metrics=[metric[:-2]])
        best, result = made.fit(train, valid, saved=False)
        assert best == pytest.approx(result[metric.lower()], abs=1e-6)


def test_training_learns(shop: Path, tmp_path: Path) -> None:
    for model in ("HierSRec", "SASRecAllPositions", "GRU4RecAllPositions"):
        made, train, valid = trainer(
            shop, tmp_path, model, epochs=40, embedding_size=8, num_layers=1, learning_rate=0.02
        )
        made.fit(train, valid, saved=False)
        losses = [point["loss"] for point in made.report.curve]
        assert losses[-1] < 0.7 * losses[0], model


def test_without_validation_the_last_epoch_is_kept(shop: Path, tmp_path: Path) -> None:
    made, train, _ = trainer(shop, tmp_path, epochs=2)
    assert made.fit(train) == (-1, None)
    assert (made.report.epochs, made.report.best_epoch) == (2, 0)
    assert checkpoint.load(Path(made.saved_model_file)).training["epochs"] == 2


def test_counting_models_take_no_step(shop: Path, tmp_path: Path) -> None:
    made, train, valid = trainer(shop, tmp_path, "MarkovChain")
    best, _ = made.fit(train, valid, saved=False)
    assert (made.report.stopped_by, made.report.steps) == ("counted", 0)
    assert best > 0


def test_training_does_not_go_on_from_a_checkpoint(shop: Path, tmp_path: Path) -> None:
    made, _, _ = trainer(shop, tmp_path)
    with pytest.raises(InputError, match="no optimiser state"):
        made.resume_checkpoint("somewhere")


# --- precision -----------------------------------------------------------------------------------------------


CPU = torch.device("cpu")


def test_precision_by_name() -> None:
    assert precision_of("float32", CPU) == torch.float32
    assert precision_of("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize("able", ["_is_avx512_bf16_supported", "_is_amx_tile_supported", ""])
def test_auto_is_bfloat16_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch, able: str) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == able)
    assert precision_of("auto", CPU) == (torch.bfloat16 if able else torch.float32)


@pytest.mark.parametrize("able", [True, False])
def test_auto_asks_the_device_that_trains(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: not able)
    assert precision_of("auto", torch.device("cuda")) == (torch.bfloat16 if able else torch.float32)


@pytest.mark.parametrize("name", ["float16", "bf16", 16])
def test_another_precision_is_refused(shop: Path, tmp_path: Path, name: object) -> None:
    with pytest.raises(InputError, match=f"^training: precision: .*'auto', 'float32' or 'bfloat16'.*{name}"):
        trainer(shop, tmp_path, precision=name)


@pytest.mark.parametrize("decay", [-0.5, 1.0, 1.5])
def test_an_average_that_never_settles_is_refused(shop: Path, tmp_path: Path, decay: float) -> None:
    with pytest.raises(InputError, match=f"^training: weight_average: .*{decay}"):
        trainer(shop, tmp_path, weight_average=decay)


@pytest.mark.parametrize("amp", [True, False])
def test_recboles_enable_amp_is_left_alone(shop: Path, tmp_path: Path, amp: bool) -> None:
    made, train, valid = trainer(shop, tmp_path, "SASRec", epochs=1, enable_amp=amp)
    seen: set[bool] = set()
    own = made.model.calculate_loss

    def watched(rows: Any) -> Any:
        seen.add(torch.is_autocast_enabled("cpu"))
        return own(rows)

    made.model.calculate_loss = watched
    made.fit(train, valid, saved=False)
    assert seen == {amp}


def trained(shop: Path, tmp_path: Path, **settings: Any) -> HierSRecTrainer:
    made, train, valid = trainer(shop, tmp_path, epochs=15, learning_rate=0.02, **settings)
    made.fit(train, valid, saved=False)
    return made


@pytest.mark.parametrize("loss", ["full", "sampled"])
def test_bfloat16_trains_to_about_the_same_loss(shop: Path, tmp_path: Path, loss: str) -> None:
    settings = {"loss": loss, "n_negatives": 20, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
    exact, lower = (
        [point["loss"] for point in trained(shop, tmp_path, precision=name, **settings).report.curve]
        for name in ("float32", "bfloat16")
    )
    assert exact != lower
    assert lower[-1] == pytest.approx(exact[-1], rel=0.05)
    assert lower[-1] < 0.8 * lower[0]


@pytest.mark.parametrize(
    ("model", "precision", "lowered"),
    [
        ("HierSRec", "bfloat16", True),
        ("HierSRec", "float32", False),
        ("SASRecAllPositions", "bfloat16", True),
        ("SASRec", "bfloat16", False),  # RecBole's own models train as RecBole has it
    ],
)
def test_only_the_training_of_every_position_is_lowered(
    shop: Path, tmp_path: Path, model: str, precision: str, lowered: bool
) -> None:
    made, train, valid = trainer(shop, tmp_path, model, epochs=1, precision=precision)
    seen: dict[str, set[bool]] = {"calculate_loss": set(), "validate": set()}

    def watch(holder: Any, name: str) -> None:
        own = getattr(holder, name)

        def watched(*given: Any) -> Any:
            seen[name].add(torch.is_autocast_enabled("cpu"))
            return own(*given)

        setattr(holder, name, watched)

    watch(made.model, "calculate_loss")
    watch(made, "validate")
    made.fit(train, valid, saved=False)
    assert seen == {"calculate_loss": {lowered}, "validate": {False}}


def test_weights_and_evaluation_stay_float32(shop: Path, tmp_path: Path) -> None:
    made = trained(shop, tmp_path, precision="bfloat16")
    assert {weight.dtype for weight in made.model.parameters()} == {torch.float32}
    rows = made.dataset.inter_feat
    with torch.no_grad():
        queries = made.model.eval().encode(rows)
        assert queries.apart is not None
        tensors = (
            made.model.full_sort_predict(rows),
            made.model.predict(rows),
            made.model.item_vectors(),
            queries.vectors,
            queries.apart.bonus,
        )
    assert {tensor.dtype for tensor in tensors} == {torch.float32}


# --- checkpoints ---------------------------------------------------------------------------------------------


@pytest.fixture
def saved(shop: Path, tmp_path: Path) -> tuple[Path, HierSRecTrainer, Any]:
    made, train, valid = trainer(shop, tmp_path, epochs=2)
    made.fit(train, valid)
    return Path(made.saved_model_file), made, valid


def test_a_loaded_model_scores_the_same(saved: tuple[Path, HierSRecTrainer, Any]) -> None:
    folder, made, valid = saved
    config, model, dataset, _, _, test_data = load_data_and_model(folder)
    rows = valid._dataset.inter_feat
    with torch.no_grad():
        assert torch.equal(model.eval().full_sort_predict(rows), made.model.eval().full_sort_predict(rows))
    assert config["model"] == "HierSRec"
    assert len(test_data._dataset) == 12
    assert dataset.catalogue.taxonomy.levels == ("department", "class")


def test_no_pickle_and_all_parts(saved: tuple[Path, HierSRecTrainer, Any]) -> None:
    folder = saved[0]
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.json",
        "items.json",
        "taxonomy.npz",
        "weights.safetensors",
    ]
    assert len(json.loads((folder / "items.json").read_text(encoding="utf-8"))) == 10
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_a_better_epoch_replaces_the_checkpoint(shop: Path, tmp_path: Path) -> None:
    made, train, valid = trainer(shop, tmp_path, epochs=2)
    scripted(made, [0.1, 0.2]).fit(train, valid)
    assert checkpoint.load(Path(made.saved_model_file)).training["best_epoch"] == 2


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = {
    "weights flipped": (lambda f: flip(f / "weights.safetensors"), "weights.safetensors is damaged"),
    "tokens cut": (lambda f: (f / "items.json").write_text('["a', encoding="utf-8"), "items.json is damaged"),
    "taxonomy gone": (lambda f: (f / "taxonomy.npz").unlink(), "taxonomy.npz is missing"),
    "head cut": (lambda f: (f / "checkpoint.json").write_text('{"format":', encoding="utf-8"), "damaged"),
    "head gone": (lambda f: (f / "checkpoint.json").unlink(), "not a checkpoint of recbole_hiersrec"),
    "foreign": (lambda f: (f / "checkpoint.json").write_text('{"a": 1}', encoding="utf-8"), "format is not"),
    "empty": (lambda f: (f / "checkpoint.json").write_bytes(b""), "damaged"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_and_foreign_checkpoints(saved: tuple[Path, HierSRecTrainer, Any], case: str) -> None:
    damage, message = DAMAGE[case]
    damage(saved[0])
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(saved[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99; this release reads 1 and 2"),
        ({"sha256": {"../../etc/passwd": "0"}}, "lists the files"),
        ({"sha256": []}, "sha256 is a list"),
    ],
)
def test_other_version_and_foreign_files(
    saved: tuple[Path, HierSRecTrainer, Any], change: dict[str, Any], message: str
) -> None:
    path = saved[0] / "checkpoint.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(saved[0])


def test_weights_of_another_shape_are_refused(saved: tuple[Path, HierSRecTrainer, Any]) -> None:
    path = saved[0] / "checkpoint.json"
    head = json.loads(path.read_text(encoding="utf-8"))
    head["config"]["hidden_size"] = 16
    path.write_text(json.dumps(head), encoding="utf-8")
    wanted = (
        r"made by another version or with other settings: the weights do not fit "
        r"\(of another shape: network\.category_encoder\.\S+ 8x8 instead of 8x16, "
        r"(network\.\S+ \S+ instead of \S+ ?){2}"
        r"and \d+ more\)$"
    )
    with pytest.raises(CheckpointError, match=wanted):
        load_data_and_model(saved[0])


def test_weights_of_another_version_are_named(saved: tuple[Path, HierSRecTrainer, Any]) -> None:
    content = checkpoint.load(saved[0])
    state = dict(content.state)
    del state["network.repeat.weight"], state["network.item_bias.weight"]
    names = ("d.of_an_older_version_with_a_long_name", "a", "c", "b")
    state |= {name: torch.zeros(2) for name in names}
    checkpoint.save(saved[0], replace(content, state=state))
    with pytest.raises(CheckpointError) as raised:
        load_data_and_model(saved[0])
    assert str(raised.value) == (
        f"checkpoint {saved[0]}: made by another version or with other settings: the weights do not fit "
        "(missing: network.item_bias.weight, network.repeat.weight; unexpected: a, b, c and 1 more)"
    )


def test_misfit_by_hand() -> None:
    wanted = {"a": torch.zeros(2, 3), "b": torch.zeros(()), "c": torch.zeros(1)}
    assert checkpoint.misfit(wanted, wanted) == ""
    state = {"a": torch.zeros(3, 2), "b": torch.zeros(1), "d": torch.zeros(1)}
    assert checkpoint.misfit(wanted, state) == (
        "missing: c; unexpected: d; of another shape: a 3x2 instead of 2x3, b 1 instead of scalar"
    )


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("dataset", ["shop", "sub/shop", "../shop"])
def test_a_strangers_checkpoint_runs_no_code(
    saved: tuple[Path, HierSRecTrainer, Any], tmp_path: Path, dataset: str
) -> None:
    """RecBole would unpickle <checkpoint_dir>/<dataset>-HierSRecDataset.pth, where the settings say."""
    caches = tmp_path / "caches" / "in"
    (caches / "sub").mkdir(parents=True)
    for folder in (caches, caches / "sub", caches.parent):
        (folder / "shop-HierSRecDataset.pth").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    path = saved[0] / "checkpoint.json"
    head = json.loads(path.read_text(encoding="utf-8"))
    head["config"] |= {"dataset": dataset, "checkpoint_dir": str(caches)}
    path.write_text(json.dumps(head), encoding="utf-8")
    with pytest.raises(CheckpointError, match="is not the name of a dataset|would unpickle"):
        load_data_and_model(saved[0])
    assert not (tmp_path / "sprung").exists()


def test_loading_writes_nothing_where_the_checkpoint_says(
    saved: tuple[Path, HierSRecTrainer, Any], tmp_path: Path
) -> None:
    path = saved[0] / "checkpoint.json"
    head = json.loads(path.read_text(encoding="utf-8"))
    head["config"] |= {
        "save_dataset": True,
        "save_dataloaders": True,
        "checkpoint_dir": str(tmp_path / "new"),
    }
    path.write_text(json.dumps(head), encoding="utf-8")
    load_data_and_model(saved[0])
    assert not (tmp_path / "new").exists()


def test_another_catalogue_is_refused(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    made, train, valid = trainer(data_path, tmp_path, epochs=1)
    made.fit(train, valid)
    with (data_path / "shop" / "shop.inter").open("a", encoding="utf-8") as file:
        file.write("u0\tnew\t900000\n")
    with pytest.raises(CheckpointError, match="made for 10 items of shop; the data set now has 11"):
        load_data_and_model(made.saved_model_file)
