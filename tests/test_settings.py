"""Settings: every wrong input is one line that says where, what was received, and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recbole_hiersrec import resources
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import parse, read_yaml
from recbole_hiersrec.settings import HierSRecSettings, ProtocolSettings, SuiteSettings, hiersrec_settings

SUITE = {"name": "s", "datasets": ["ml-100k"], "models": ["SASRec"]}


def suite(**changes: Any) -> SuiteSettings:
    return parse(SuiteSettings, SUITE | changes, "s.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": []}, r"s\.yaml: unknown key 'model'; did you mean 'models'\?"),
        ({"limits": {"epoch": 3}}, r"unknown key 'limits\.epoch'; did you mean 'epochs'\?.*patience"),
        ({"datasets": [{"nam": "x", "name": "x"}]}, r"unknown key 'datasets\.0\.nam'; did you mean 'name'\?"),
        ({"metrics": ["NDGC"]}, r"metrics\.0: .*'NDCG'; received 'NDGC'"),
        ({"candidates": {"item_fractions": [0.0]}}, r"item_fractions\.0: .*greater than 0; received 0\.0"),
        (
            {"candidates": {"item_fractions": [1.5]}},
            r"item_fractions\.0: .*less than or equal to 1; received 1\.5",
        ),
        ({"candidates": {"item_fractions": [0.1, 0.1]}}, r"item_fractions: each entry once; received"),
        ({"ks": [0]}, r"ks\.0: .*greater than or equal to 1; received 0"),
        ({"models": []}, r"models: .*at least 1 item"),
        ({"models": ["SASRec", "SASRec"]}, r"models: SASRec stands more than once; give each its own name"),
        ({"seeds": [1, 1]}, r"seeds: 1 stands more than once$"),
        ({"limits": {"seconds": float("inf")}}, r"limits\.seconds: .*finite number; received inf"),
        ({"name": "../up"}, r"name: .*received '\.\./up'"),
    ],
)
def test_wrong_suite_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        suite(**changes)
    assert "\n" not in str(caught.value)


def test_missing_key_and_not_a_mapping() -> None:
    with pytest.raises(InputError, match=r"s\.yaml: key 'models' is missing"):
        parse(SuiteSettings, {"name": "s", "datasets": ["x"]}, "s.yaml")
    with pytest.raises(InputError, match=r"expected settings as 'key: value', received \['a'\]"):
        parse(SuiteSettings, ["a"], "s.yaml")


def test_short_form_of_models_and_data_sets() -> None:
    made = suite(models=["SASRec", {"model": "SASRec", "name": "wide"}])
    assert [(entry.model, entry.name) for entry in made.models] == [("SASRec", None), ("SASRec", "wide")]
    assert made.datasets[0].data_path == "dataset"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        suite().threads = 3  # type: ignore[misc]


def test_hiersrec_settings_pick_their_own_keys() -> None:
    made = hiersrec_settings({"category_fields": "class", "learning_rate": 1, "title_field": None}, "x")
    assert made.category_fields == ("class",)
    assert hiersrec_settings({"follower_fields": "class"}, "x").follower_fields == ("class",)
    assert made.title_field is None
    with pytest.raises(InputError, match="n_heads must divide hidden_size; received 3 and 64"):
        hiersrec_settings({"n_heads": 3}, "x")
    with pytest.raises(
        InputError, match="received false twice, which leaves categories unused; allowed: one"
    ):
        hiersrec_settings({"category_vectors": False, "category_task": False}, "x")
    with pytest.raises(InputError, match="metadata_dropout_prob must be 0 without item ids; received 0.2"):
        hiersrec_settings({"metadata_dropout_prob": 0.2, "use_item_id": False}, "x")


def test_the_repeat_term_is_on_off_or_counted() -> None:
    for value in (True, False, "counted"):
        assert parse(HierSRecSettings, {"repeat_term": value}, "here").repeat_term == value
    with pytest.raises(InputError, match=r"here: repeat_term: .*'counted'.*received 'count'") as caught:
        parse(HierSRecSettings, {"repeat_term": "count"}, "here")
    assert "\n" not in str(caught.value)


def test_loss_weights_a_level() -> None:
    assert HierSRecSettings(category_loss_weight=0.5).loss_weights(2) == (0.5, 0.5)
    assert HierSRecSettings(category_loss_weight=(0.1, 0.2)).loss_weights(2) == (0.1, 0.2)
    with pytest.raises(InputError, match="received 2 numbers, the model predicts 3 levels"):
        HierSRecSettings(category_loss_weight=(0.1, 0.2)).loss_weights(3)


def test_protocol_label_names_what_differs() -> None:
    assert ProtocolSettings().label() == "leave-one-out, history unmasked, length 50"
    other = ProtocolSettings(history="masked", catalogue_items=True, exact_time_order=False, max_length=20)
    assert other.label() == "leave-one-out, history masked, length 20, catalogue items in, float32 time order"


def test_protocol_label_of_temporal_splits() -> None:
    """One label a protocol, whether test_cases is written out or not, so that no table mixes two."""
    labels = [
        ProtocolSettings.model_validate({"split": "temporal", **given}).label()
        for given in ({}, {"test_cases": "every-prefix"}, {"test_cases": "last-item"})
    ]
    assert labels[0] == labels[1] == "temporal split, every prefix, history unmasked, length 50"
    assert labels[2] == "temporal split, last item, history unmasked, length 50"


def test_settings_can_be_named_and_merged(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("a: &shared {x: 1, y: 2}\nb: {<<: *shared, y: 3}\nc: {<<: *shared, y: 3, y: 4}\n")
    with pytest.raises(InputError, match=r"s\.yaml, line 3: not YAML: key 'y' stands more than once"):
        read_yaml(path)
    path.write_text("a: &shared {x: 1, y: 2}\nb: {<<: *shared, y: 3}\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}


def test_yaml_faults_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is a folder; expected a YAML file"):
        read_yaml(tmp_path)
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\nmodels: [a\n")
    with pytest.raises(InputError, match=r"bad\.yaml, line \d: not YAML"):
        read_yaml(bad)
    bad.write_text("- 1\n")
    with pytest.raises(InputError, match=r"expected settings as 'key: value', received \[1\]"):
        read_yaml(bad)


def test_every_suite_that_ships_parses() -> None:
    shipped = sorted(resources.suite("x").parent.glob("*.yaml"))
    assert "quickstart" in [path.stem for path in shipped]
    for path in shipped:
        if path.stem == "scale":
            continue  # the settings of benchmarks/scale.py
        assert parse(SuiteSettings, read_yaml(path), str(path)).name == path.stem


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+1e-3", "0.001", "1.0e-3"])
def test_numbers_with_an_exponent_are_numbers(tmp_path: Path, text: str) -> None:
    """PyYAML alone reads 1e-3 as a string."""
    path = tmp_path / "s.yaml"
    path.write_text(f"learning_rate: {text}\nname: 1e\n", encoding="utf-8")
    assert read_yaml(path) == {"learning_rate": 0.001, "name": "1e"}


def test_the_nearest_name_begins_alike() -> None:
    with pytest.raises(InputError, match="unknown key 'seed'; did you mean 'seeds'"):
        suite(seed=3)


@pytest.mark.parametrize("text", ["name: a\nname: b\n", "limits:\n  epochs: 1\n  epochs: 2\n"])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="stands more than once"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ks": [5, 5]}, "ks: each entry once"),
        ({"metrics": ["NDCG", "NDCG"]}, "metrics: each entry once"),
        ({"ks": [True]}, r"ks\.0: .*received True"),
        ({"seeds": [-1]}, r"seeds\.0: .*received -1"),
        ({"seeds": [2**32]}, r"seeds\.0"),
        ({"threads": 100_000}, "threads: .*received 100000"),
        ({"limits": {"patience": 0}}, r"limits\.patience: .*received 0"),
    ],
)
def test_more_wrong_values(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        suite(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": "text"}, "datasets: input should be a list; received 'text'"),
        ({"protocol": 3}, "protocol: input should be a block of 'key: value'; received 3"),
        ({"metrics": ["NDGC"]}, r"metrics\.0: .*received 'NDGC'; did you mean 'NDCG'"),
        ({"candidates": {"rules": ["cell"]}}, r"rules\.0: .*received 'cell'; did you mean 'cells'"),
        ({"protocol": {"history": "mask"}}, r"protocol\.history: .*did you mean 'masked'"),
        ({"protocol": {"split": "temporall"}}, r"protocol\.split: .*did you mean 'temporal'"),
        (
            {"protocol": {"split": "temporal", "test_cases": "last"}},
            r"test_cases: .*did you mean 'last-item'",
        ),
        (
            {"protocol": {"test_cases": "last-item"}},
            "test_cases needs split temporal, leave-one-out tests the last item; received last-item",
        ),
    ],
)
def test_faults_are_told_in_the_words_of_yaml(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        suite(**changes)
