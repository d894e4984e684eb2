"""Search spaces: what a file may say, what is asked for under which conditions, and the files that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.checks import check_values
from recbole_hiersrec.benchmark.suite import Job, load_suite, resolve
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.tuning.space import (
    Choice,
    FloatRange,
    IntRange,
    Space,
    read_space,
    shipped_space,
)
from recbole_hiersrec.tuning.task import Task

SUITES = sorted(path.stem for path in resources.suite("x").parent.glob("*.yaml") if path.stem != "scale")
UNSEARCHED = {"MarkovChain", "SequentialPop", "SessionPop"}


def read(folder: Path, text: str, model: str = "HierSRec") -> Space:
    (folder / "space.yaml").write_text(text)
    return read_space(folder / "space.yaml", model)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "learning_rat: {float: [0.1, 1]}",
            "unknown setting 'learning_rat'; did you mean 'learning_rate'?",
        ),
        ("neighbours: {int: [1, 2]}", "unknown setting 'neighbours'"),
        ("valid_metric: {choice: [a]}", "unknown setting 'valid_metric'"),
        ("epochs: {int: [1, 2]}", "key 'epochs' is not set here; a suite says it under: limits: epochs"),
        ("n_layers: {int: [1.5, 2]}", "n_layers: int.0: .*received 1.5"),
        ("n_layers: {int: [3, 1]}", "the first end must not be above the second; received \\[3, 1\\]"),
        (
            "n_layers: {int: [1, 4], step: 2}",
            "the ends must be whole steps apart; received \\[1, 4\\] and step 2",
        ),
        ("learning_rate: {float: [0, 1], log: true}", "log needs ends above 0"),
        ("learning_rate: {float: [1, 2], log: true, step: 1}", "log and step do not go together"),
        ("learning_rate: {float: [0.1, 1], logs: true}", "unknown key 'logs'; did you mean 'log'?"),
        (
            "learning_rate: {uniform: [0.1, 1]}",
            "expected one of float, int, choice; received {'uniform'",
        ),
        ("learning_rate: {float: [0.1, 1], int: [1, 2]}", "expected one of float, int, choice"),
        ("learning_rate: 0.1", "expected one of float, int, choice; received 0.1"),
        ("loss: {choice: []}", "loss: choice: "),
        ("loss: {choice: [full, full]}", "choice: each value once"),
        (
            "n_layers: {int: [1, 2], when: {los: full}}",
            "n_layers: when: unknown setting 'los'; did you mean 'loss'?",
        ),
        (
            "n_negatives: {int: [1, 2], when: {loss: full}}\nloss: {choice: [full, sampled]}",
            "n_negatives: when: 'loss' must stand above 'n_negatives'",
        ),
        ("learning_rate: {float: [-1, 1]}", "learning_rate: input should be greater than 0; received -1"),
        (
            "hidden_dropout_prob: {float: [0, 1]}",
            "hidden_dropout_prob: input should be less than 1; received 1",
        ),
        (
            "category_score: {choice: [joint, joined]}",
            "category_score: input should be .*; received 'joined'",
        ),
        ("- a", "expected settings as 'key: value'"),
        ("{}", "expected settings to search, received none"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "space.yaml") in str(caught.value)


def test_conditions_look_at_what_was_picked_and_at_what_is_fixed(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        "loss: {choice: [sampled, full]}\n"
        "n_negatives: {int: [1, 9], when: {loss: sampled}}\n"
        "follower_items: {int: [1, 9], when: {followers: {not: 0}}}\n"
        "follower_window: {int: [1, 9], when: {followers: [10, 20], loss: full}}\n"
        "category_loss_weight: {float: [1, 2], when: {category_fields: {not: []}}}\n",
    )

    def asked(loss: str, **fixed: Any) -> list[str]:
        found = space.values(lambda name, _: loss if name == "loss" else 1, fixed)
        return [name for name in found if name != "loss"]

    assert asked("sampled", followers=0) == ["n_negatives"]
    assert asked("full", followers=20) == ["follower_items", "follower_window"]
    assert asked("full", followers=30, category_fields=[]) == ["follower_items"]
    assert asked("sampled", followers=0, category_fields=["a"]) == ["n_negatives", "category_loss_weight"]


def test_of_several_blocks_one_is_enough(tmp_path: Path) -> None:
    """A setting that nothing reads is not searched: HierSRec without categories, title and metadata has only ids."""
    space = read_space(resources.model_space("HierSRec"), "HierSRec")

    def searched(**given: Any) -> bool:
        return "metadata_dropout_prob" in space.values(lambda *_: 0, given)

    assert not searched(category_fields=[], metadata_fields=[], title_field=None)
    for fields in ({"category_fields": ["a"]}, {"metadata_fields": ["a"]}, {"title_field": "a"}):
        assert searched(**fields)
    assert not searched(category_fields=["a"], category_vectors=False)
    assert searched(category_fields=["a"], category_vectors=False, title_field="a")
    assert not searched(category_fields=["a"], use_item_id=False)
    text = "n_negatives: {int: [1, 9], when: [{loss: sampled}, {n_layer: 1}]}"
    with pytest.raises(InputError, match="when: unknown setting 'n_layer'; did you mean 'n_layers'"):
        read(tmp_path, text)


@given(
    low=st.integers(-50, 50), steps=st.integers(0, 30), step=st.sampled_from([1, 2, 7]), tenths=st.booleans()
)
def test_a_grid_holds_each_value_that_the_range_contains(
    low: int, steps: int, step: int, tenths: bool
) -> None:
    unit = 10 if tenths else 1
    ends = (low / unit, (low + steps * step) / unit)
    wanted = [(low + place * step) / unit for place in range(steps + 1)]
    found = FloatRange(float=ends, step=step / unit)
    assert found.points() == pytest.approx(wanted)
    assert all(found.contains(value) for value in wanted)
    assert not found.contains((low + step / 2) / unit) or steps == 0
    assert not found.contains((low - step) / unit)
    if not tenths:
        whole = IntRange(int=(low, low + steps * step), step=step)
        assert whole.points() == wanted
        assert [value for value in range(low - 9, low + steps * step + 9) if whole.contains(value)] == wanted


def test_ranges_contain_numbers_alone() -> None:
    assert FloatRange(float=(0.0, 1.0)).contains(1)
    for wrong in (True, "0.5", None, [0.5]):
        assert not FloatRange(float=(0.0, 1.0)).contains(wrong)
        assert not IntRange(int=(0, 1)).contains(wrong)
    choice = Choice(choice=(1, None, [1, 2], "a"))
    assert all(choice.contains(value) for value in (1, 1.0, None, [], [1, 2], "a"))
    assert not any(choice.contains(value) for value in (True, [2, 1], "1", 2))


def test_a_grid_that_is_too_large_is_refused() -> None:
    parameters = {name: IntRange(int=(1, 100)) for name in "abc"}
    with pytest.raises(InputError, match="here: the grid has 1,000,000 points; allowed: 100,000"):
        Space(parameters, "here").grid()


@pytest.mark.parametrize("suite", SUITES)
def test_every_line_of_the_shipped_suites_starts_inside_its_space(suite: str) -> None:
    loaded = load_suite(suite)
    for dataset in loaded.datasets:
        for entry in loaded.models:
            path = shipped_space(entry.model)
            assert (path is None) == (entry.model in UNSEARCHED), entry.model
            if path is None:
                continue
            space = read_space(path, entry.model)
            job = Job(**dict.fromkeys(Job.__dataclass_fields__, ""))
            given = {"model": entry.model, "name": entry.name, "settings": resolve(loaded, dataset, entry)}
            start = Task("s", Job(**(job.to_dict() | given)), space, ("NDCG@10",)).start()
            assert start
            assert all(space.parameters[name].contains(value) for name, value in start.items())


def test_every_shipped_space_is_of_a_model_and_its_ends_are_allowed() -> None:
    for path in resources.model_space("x").parent.glob("*.yaml"):
        space = read_space(path, path.stem)
        for name, parameter in space.parameters.items():
            for value in parameter.ends():
                check_values(path.stem, {name: value}, f"{path}: {name}")
