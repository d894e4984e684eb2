"""One job from its description to its record, on a small data set."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import write_manifest, write_shop, write_split

from recbole_hiersrec import register
from recbole_hiersrec.arrays import read_arrays
from recbole_hiersrec.benchmark.recompute import figures, recomputed
from recbole_hiersrec.benchmark.suite import Job, expand
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.metrics import METRICS
from recbole_hiersrec.reading import parse
from recbole_hiersrec.records import read_text
from recbole_hiersrec.settings import CandidateSettings, SuiteSettings

register()

import recbole.trainer  # noqa: E402

from recbole_hiersrec.benchmark import candidates as candidates_module  # noqa: E402
from recbole_hiersrec.benchmark.candidates import build_retrieval, part_widths  # noqa: E402
from recbole_hiersrec.benchmark.job import in_a_process, run  # noqa: E402
from recbole_hiersrec.benchmark.prepare import check_universe, prepare  # noqa: E402
from recbole_hiersrec.evaluation import ranks as ranks_module  # noqa: E402
from recbole_hiersrec.evaluation.speed import using_threads  # noqa: E402
from recbole_hiersrec.names import load_model_class  # noqa: E402
from recbole_hiersrec.retrieval.needs import RULES  # noqa: E402
from recbole_hiersrec.retrieval.rules import RuleContext  # noqa: E402
from recbole_hiersrec.scoring import (  # noqa: E402
    item_category_of,
    scorer_of,
    training_counts,
    training_rows,
)
from recbole_hiersrec.training import HierSRecTrainer, load_data_and_model  # noqa: E402

TINY = {
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "n_heads": 1,
    "num_layers": 1,
    "embedding_size": 8,
    "gpu_id": "",
    "learning_rate": 0.01,
}


def job(data_path: Path, model: str = "HierSRec", **changes: Any) -> Job:
    """The only job of a tiny suite on the shop."""
    suite = {
        "name": "tiny",
        "datasets": [{"name": "shop", "data_path": str(data_path)}],
        "models": [{"model": model, "candidates": model == "HierSRec"}],
        "protocol": {"max_length": 5},
        "limits": {"epochs": 2},
        "settings": {**TINY, "category_fields": ["department", "class"], "title_field": "title"},
        "ks": [1, 3],
        "candidates": {"rules": ["cells", "k-means"], "item_fractions": [0.5, 1.0]},
        "speed": {"k": 3, "batch_size": 4, "repeats": 2, "warmup": 1},
        "threads": 1,
    }
    return expand(parse(SuiteSettings, suite | changes, "test"))[0]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def finished(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("job")
    return folder, run(job(shop), folder)


def test_files_of_a_job(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, record = finished
    assert sorted(path.name for path in folder.iterdir()) == ["model", "ranks.npz", "record.json"]
    assert read_text((folder / "record.json").read_text(encoding="utf-8")) == record
    assert load_data_and_model(folder / "model")[0]["model"] == "HierSRec"


def test_accuracy_follows_from_the_ranks(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, record = finished
    with np.load(folder / "ranks.npz") as file:
        ranks = {name: file[name] for name in file.files}
    assert len(ranks["target"]) == 12
    for row in record["accuracy"]:
        label = f"{row['candidate_rule']}@{row['item_fraction']:g}" if row["candidate_rule"] else row["slice"]
        if row["metric"] in METRICS and label in ranks:  # slices: tests/test_breakdown.py
            assert row["value"] == METRICS[row["metric"]](ranks[label].astype(np.float64), row["k"]).mean()
            assert row["n_cases"] == 12
    hits = {row["slice"]: row["value"] for row in record["accuracy"] if row["metric"] == "CategoryAccuracy"}
    assert hits == {
        f"level {level}: {name}": ranks[f"category hit, level {level}: {name}"].mean()
        for level, name in ((1, "department"), (2, "class"))
    }


def test_every_figure_is_recomputed_from_the_ranks(shop: Path, tmp_path: Path) -> None:
    """Also the exact search's work and the most frequent category, as ``hiersrec results verify`` does it."""
    candidates = {"rules": ["cells", "popularity"], "item_fractions": [0.5], "exact": True}
    record = run(job(shop, candidates=candidates), tmp_path)
    found = recomputed(record, read_arrays(tmp_path / "ranks.npz"))
    wanted = dict(figures(record["accuracy"], "record"))
    assert found.keys() == wanted.keys()
    assert {place.slice.partition(":")[0] for place in found} >= {"length", "target", "repeated", "category"}
    assert {place.metric for place in found} >= {"MajorityCategory", "CategoryAccuracy", "ScannedFraction"}
    assert {place.variant for place in found} == {"all items", "candidates", "exact"}
    for place, figure in found.items():
        assert figure.same(wanted[place]), place


def test_all_items_as_candidates_give_the_same_ranks(finished: tuple[Path, dict[str, Any]]) -> None:
    with np.load(finished[0] / "ranks.npz") as file:
        assert np.array_equal(file["cells@1"], file["all"])
        assert np.array_equal(file["k-means@1"], file["all"])
        assert file["scored cells@1"].tolist() == [[10, 12]]
        assert (file["scored cells@0.5"][:, 0] <= 5).all()
        assert (file["cells@0.5"] <= file["all"]).all() or np.isinf(file["cells@0.5"]).any()


def test_a_record_says_how_many_jobs_ran_beside_it(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: tuple[Path, dict[str, Any]]
) -> None:
    assert finished[1]["machine"]["jobs_at_a_time"] == 1
    monkeypatch.setenv("HIERSREC_WORKERS", "3")
    assert run(job(shop, "SequentialPop"), tmp_path)["machine"]["jobs_at_a_time"] == 3


def test_ranks_know_the_session_of_each_case(finished: tuple[Path, dict[str, Any]]) -> None:
    with np.load(finished[0] / "ranks.npz") as file:
        assert sorted(file["session"]) == list(range(1, 13))


def test_every_prefix_of_a_session_has_its_number(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    write_split(data_path)
    write_manifest(data_path / "shop", time="click", settings={"split": "temporal"})
    temporal = {"split": "temporal", "max_length": 5}
    run(job(data_path, "SequentialPop", protocol=temporal), tmp_path / "job")
    with np.load(tmp_path / "job" / "ranks.npz") as file:
        assert sorted(np.bincount(file["session"])[-2:]) == [5, 5]  # two sessions of six items
        assert len(file["session"]) == len(file["all"]) == 10


def test_scanned_is_scored_plus_compared(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, record = finished
    rows = {(row["metric"], row["item_fraction"]): row["value"] for row in record["accuracy"]}
    with np.load(folder / "ranks.npz") as file:
        counts = [file[f"{what} cells@0.5"] for what in ("scored", "compared")]
    assert [numbers[:, 1].sum() for numbers in counts] == [12, 12]
    scored, compared = (numbers.prod(axis=1).sum() / 12 / 10 for numbers in counts)
    assert rows["ScoredFraction", 0.5] == pytest.approx(scored)
    assert rows["ScannedFraction", 0.5] == pytest.approx(scored + compared)
    assert rows["ScoredFraction", 0.5] <= 0.5


def test_majority_category_is_that_of_the_training_interactions(tmp_path: Path) -> None:
    """The last two items of a session are not counted: d1 is the most frequent before them."""
    folder = tmp_path / "data" / "shop"
    folder.mkdir(parents=True)
    sessions = ["i5 i6 i5 i0 i1", "i6 i5 i6 i1 i0", "i5 i6 i7 i0 i2", "i0 i6 i5 i1 i5"]
    rows = [
        f"u{u}\t{item}\t{t}" for u, session in enumerate(sessions) for t, item in enumerate(session.split())
    ]
    (folder / "shop.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(rows) + "\n"
    )
    items = [f"i{item}\td{item // 5}\tc{item}\tthing" for item in range(10)]
    head = "item_id:token\tdepartment:token\tclass:token\ttitle:token_seq\n"
    (folder / "shop.item").write_text(head + "\n".join(items) + "\n")
    record = run(job(tmp_path / "data"), tmp_path / "job")
    shown = {row["slice"]: row["value"] for row in record["accuracy"] if row["metric"] == "MajorityCategory"}
    assert shown["level 1: department"] == 1 / 4  # 11 of 12 training items are in d1, one of four targets is


def test_lists_of_the_rule_cells_hold_one_category(shop: Path) -> None:
    rules = {"rules": ["cells", "k-means"], "item_fractions": [0.5], "list_size": 3}
    described = job(shop, candidates=rules)  # ten items would get lists of one
    data = prepare(described, load_model_class("HierSRec"), Path("unused"))
    model = load_model_class("HierSRec")(data.config, data.train._dataset)
    rules = build_retrieval(described, scorer_of(model, data.test._dataset), data.train._dataset).rules
    finest = data.train._dataset.catalogue.taxonomy.item_category[:, -1]
    for name, one_category in (("cells", True), ("k-means", False)):
        lists = rules[f"{name}@0.5"][0].lists
        assert lists.sizes.max() > 1
        parts = np.split(lists.members, lists.offsets[1:-1])
        assert all(len(set(finest[part])) == 1 for part in parts) == one_category


def test_the_settings_of_candidates_reach_the_rules(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is unlike its default, and each of the table is one of the rules' or of what is done with them."""
    wanted = {"mixed_share": 0.25, "super_lists": 2, "compared_fraction": 0.5, "list_size": 3}
    others = {"rules", "item_fractions", "exact"}
    assert wanted.keys() | others == CandidateSettings.model_fields.keys()
    described = job(
        shop, candidates={"rules": ["mixed"], "item_fractions": [0.5], "exact": True, **wanted}, seeds=[3]
    )
    received: list[RuleContext] = []
    for name in ("build_rule", "exact_lists"):
        own = getattr(candidates_module, name)
        monkeypatch.setattr(
            candidates_module, name, lambda *given, own=own: (received.append(given[-1]), own(*given))[1]
        )
    data = prepare(described, load_model_class("HierSRec"), Path("unused"))
    model = load_model_class("HierSRec")(data.config, data.train._dataset)
    build_retrieval(described, scorer_of(model, data.test._dataset), data.train._dataset)
    assert len(received) == 2
    for context in received:
        assert {name: getattr(context, name) for name in wanted} == wanted
        assert (context.seed, context.n_items) == (3, 10)


def test_stages_are_timed_for_all_items_and_candidates(finished: tuple[Path, dict[str, Any]]) -> None:
    stages: dict[str, set[str]] = {}
    for row in finished[1]["timing"]:
        stages.setdefault(row["variant"], set()).add(row["stage"])
        assert row["value"] > 0
        assert row["threads"] == 1
    assert stages["all items"] == {"encoder", "top-k", "total"}
    assert stages["cells@0.5"] == {"encoder", "retrieval", "top-k", "total"}


def test_facts_of_the_record(finished: tuple[Path, dict[str, Any]]) -> None:
    record = finished[1]
    assert record["status"] == "ok"
    assert record["training"]["stopped_by"] == "epochs"
    assert record["warnings"][0] == "reached the limit of epochs before patience ran out"
    assert [text.split(":")[0] for text in record["warnings"][1:]] == [
        "rule cells",
        "rule k-means",
    ]  # few items
    assert record["training"]["way"] == "every position"
    assert record["data"]["n_train_targets"] == 12 * 3
    assert record["data"]["levels"] == [
        {"name": "department", "categories": 2},
        {"name": "class", "categories": 6},  # c2 lies in both departments
    ]
    assert record["versions"]["recbole"] == "1.2.1"
    assert record["data"]["n_sessions"] == record["data"]["n_test_sessions"] == 12
    # The four training items of a session come at the same times in all 12; the last is before the test item.
    assert record["data"]["leakage"] == {"training": 12 * 4, "after": 0}


def test_same_job_same_accuracy(shop: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    again = run(job(shop), tmp_path)
    assert again["accuracy"] == finished[1]["accuracy"]
    other = run(job(shop, seeds=[7]), tmp_path / "other")["training"]["curve"]
    assert [row["loss"] for row in other] != [row["loss"] for row in again["training"]["curve"]]


@pytest.mark.parametrize(
    ("model", "way"),
    [
        ("SASRec", "prefix rows"),
        ("FPMC", "prefix rows"),
        ("DIN", "prefix rows"),
        ("SASRecF", "prefix rows"),
        ("SASRecAllPositions", "every position"),
        ("GRU4RecAllPositions", "every position"),
        ("SequentialPop", "counted"),
        ("MarkovChain", "counted"),
        ("SessionPop", "counted"),
        ("SKNN", "counted"),
        ("VSKNN", "counted"),
        ("STAN", "counted"),
        ("recbole.model.sequential_recommender.gru4rec:GRU4Rec", "prefix rows"),
    ],
)
def test_other_models_share_universe_and_cases(
    shop: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any]], model: str, way: str
) -> None:
    record = run(job(shop, model), tmp_path)
    assert record["training"]["way"] == way
    for name in ("universe", "cases"):
        assert record["data"][name] == finished[1]["data"][name]
    assert {row["variant"] for row in record["accuracy"]} == {"all items"}


def test_the_protocol_reaches_the_data(
    shop: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any]]
) -> None:
    masked = run(job(shop, protocol={"max_length": 5, "history": "masked"}), tmp_path / "masked")
    assert masked["accuracy"] != finished[1]["accuracy"]
    shorter = run(job(shop, protocol={"max_length": 2}), tmp_path / "shorter")
    assert shorter["data"]["longest_history"] == 2


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"limits": {"epochs": 3}}, "epochs", 3),
        ({"limits": {"patience": 4}}, "stopping_step", 4),
        ({"limits": {"steps": 7}}, "max_steps", 7),
        ({"limits": {"seconds": 9}}, "max_seconds", 9),
        ({"protocol": {"exact_time_order": False}}, "exact_time_order", False),
        ({"protocol": {"exact_time_order": True}}, "exact_time_order", True),
        ({"protocol": {"max_length": 3}}, "MAX_ITEM_LIST_LENGTH", 3),
        ({"protocol": {"history": "masked"}}, "history", "masked"),
    ],
)
def test_what_a_suite_says_reaches_the_configuration(
    shop: Path, changes: dict[str, Any], key: str, value: object
) -> None:
    described = job(shop, **changes)
    assert prepare(described, load_model_class(described.model), Path("unused")).config[key] == value


def test_eval_batch_size_is_how_many_cases_are_ranked_at_once(
    shop: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked, rows = ranks_module.target_ranks, []

    def watched(scores: Any, *given: Any, **named: Any) -> Any:
        rows.append(len(scores))
        return ranked(scores, *given, **named)

    monkeypatch.setattr(ranks_module, "target_ranks", watched)
    plain = job(shop)
    record = run(replace(plain, settings={**plain.settings, "eval_batch_size": 5}), tmp_path)
    assert rows == [5, 5, 2] * 4  # two validations, and the test cases with both kinds of history
    assert record["accuracy"] == finished[1]["accuracy"]
    assert [row["valid"] for row in record["training"]["curve"]] == [
        row["valid"] for row in finished[1]["training"]["curve"]
    ]


def test_a_job_runs_on_the_suites_threads(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []
    fit = HierSRecTrainer.fit

    def watched(self: HierSRecTrainer, *given: Any, **named: Any) -> Any:
        fitted.append(torch.get_num_threads())
        return fit(self, *given, **named)

    monkeypatch.setattr(HierSRecTrainer, "fit", watched)
    with using_threads(1):  # restores what was set
        record = run(job(shop, threads=2), tmp_path)
    assert fitted == [2]
    assert {row["threads"] for row in record["timing"]} == {2}


@pytest.mark.parametrize(("cases", "n_cases"), [("every-prefix", 10), ("last-item", 2)])
def test_a_temporal_split(tmp_path: Path, cases: str, n_cases: int) -> None:
    data_path = write_shop(tmp_path / "data")
    write_split(data_path)
    protocol = {"split": "temporal", "test_cases": cases, "max_length": 3}
    records = [
        run(job(data_path, model, protocol=protocol), tmp_path / model)
        for model in ("HierSRec", "SASRec", "MarkovChain")
    ]
    facts = [record["data"] for record in records]
    for name in ("universe", "cases", "n_train_targets", "n_valid", "leakage"):
        assert all(fact[name] == facts[0][name] for fact in facts), name
    wanted = {"n_test": n_cases, "n_valid": n_cases, "n_test_sessions": 2, "n_sessions": 12}
    wanted |= {"n_train_targets": 8 * 5, "longest_history": 3, "shortest_history": 1 if n_cases > 2 else 3}
    assert {name: facts[0][name] for name in wanted} == wanted
    # Every session goes from second 0 to 2,500: only its first item is not later than the first test interaction.
    assert facts[0]["leakage"] == {"training": 8 * 6, "after": 8 * 5}


def test_leakage_without_stamps_is_unknown(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    write_manifest(data_path / "shop", time="order", settings={"split": "leave-one-out"})
    record = run(job(data_path, "SequentialPop"), tmp_path / "job")
    assert record["data"]["leakage"] == {"training": 12 * 4, "after": None}


def test_settings_of_the_folder_reach_the_model(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    (data_path / "shop" / "shop.yaml").write_text(
        "category_fields: [class]\ntitle_field:\n", encoding="utf-8"
    )
    record = run(job(data_path, settings=TINY), tmp_path / "job")
    assert [level["name"] for level in record["data"]["levels"]] == ["class"]


def test_catalogue_items_enlarge_every_models_universe(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    with (data_path / "shop" / "shop.item").open("a", encoding="utf-8") as file:
        file.write("i99\td9\tc9\tnever sold\n")
    records = [
        run(
            job(data_path, model, protocol={"max_length": 5, "catalogue_items": True}),
            tmp_path / model,
        )
        for model in ("HierSRec", "SASRec")
    ]
    assert [record["data"]["n_items"] for record in records] == [11, 11]
    assert records[0]["data"]["universe"] == records[1]["data"]["universe"]


def test_another_universe_than_that_of_the_protocol_is_refused(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    with (data_path / "shop" / "shop.item").open("a", encoding="utf-8") as file:
        file.write("i99\td9\tc9\tnever sold\n")
    described = job(data_path, "SASRecF")
    loaded = replace(described, protocol={**described.protocol, "catalogue_items": True})
    data = prepare(loaded, load_model_class("SASRecF"), tmp_path)
    with pytest.raises(
        InputError, match="load 11 items, 10 of them with interactions; set protocol: catalogue_items"
    ):
        check_universe(described, data.config, data.train._dataset)


def test_fields_of_other_names(tmp_path: Path) -> None:
    """RecBole names the field of histories after the item field."""
    folder = write_shop(tmp_path / "data") / "shop"
    for name in ("shop.inter", "shop.item"):
        text = (folder / name).read_text(encoding="utf-8")
        for old, new in (("user_id", "session"), ("item_id", "product"), ("timestamp", "ts")):
            text = text.replace(f"{old}:", f"{new}:")
        (folder / name).write_text(text, encoding="utf-8")
    fields = {"USER_ID_FIELD": "session", "ITEM_ID_FIELD": "product", "TIME_FIELD": "ts"}
    shop = {"name": "shop", "data_path": str(tmp_path / "data"), "settings": fields}
    records = [
        run(job(tmp_path / "data", model, datasets=[shop]), tmp_path / model)
        for model in ("HierSRec", "SASRec")
    ]
    assert records[0]["data"]["cases"] == records[1]["data"]["cases"]
    assert load_data_and_model(tmp_path / "HierSRec" / "model")[2].iid_field == "product"


def test_a_class_that_is_no_recommender_is_refused(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'pathlib:Path' is no SequentialRecommender"):
        run(job(shop, "pathlib:Path"), tmp_path)


def test_stopped_by_the_clock_is_marked(shop: Path, tmp_path: Path) -> None:
    record = run(job(shop, limits={"epochs": 2, "seconds": 1e-9}), tmp_path)
    assert record["status"] == "time limit"
    assert record["training"]["steps"] == 0


def test_candidates_need_an_inner_product(shop: Path, tmp_path: Path) -> None:
    """Of an importable class this is known only once it has been imported."""
    path = "recbole_hiersrec.baselines.pop:SequentialPop"
    with pytest.raises(
        InputError, match="models: pop: the rule cells needs scores by inner products, which it"
    ):
        run(job(shop, models=[{"model": path, "name": "pop", "candidates": True}]), tmp_path)


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        ("HierSRec", list(RULES)),
        ("SASRec", [name for name, needs in RULES.items() if not needs.heads]),
        ("CORE", ["last-category", "co-visitation", "popularity"]),
        ("MarkovChain", ["last-category", "co-visitation", "popularity"]),
    ],
)
def test_any_scorer_on_any_rule_that_it_can_serve(
    shop: Path, tmp_path: Path, model: str, rules: list[str]
) -> None:
    candidates = {"rules": list(RULES), "item_fractions": [0.5, 1.0], "exact": "cells" in rules}
    record = run(job(shop, models=[{"model": model, "candidates": rules}], candidates=candidates), tmp_path)
    with np.load(tmp_path / "ranks.npz") as file:
        for rule in rules:
            assert np.array_equal(file[f"{rule}@1"], file["all"]), rule
            assert (file[f"scored {rule}@0.5"][:, 0] <= 5).all()
    exact = [row for row in record["accuracy"] if row["variant"] == "exact"]
    assert len(exact) == ("cells" in rules)
    assert all(row["metric"] == "ScannedFraction" and row["value"] > 0 for row in exact)


@pytest.mark.parametrize(
    ("width", "hidden_size", "expected"),
    [(25, 8, (8, 8, 8, 1)), (64, 64, (64,)), (64, None, (64,)), (16, 50, (16,))],
)
def test_parts_of_the_augmented_vectors(
    width: int, hidden_size: int | None, expected: tuple[int, ...]
) -> None:
    assert part_widths(width, hidden_size) == expected


@pytest.mark.parametrize("model", ["HierSRec", "SASRec"])
def test_rules_are_built_from_the_same_training_data(shop: Path, tmp_path: Path, model: str) -> None:
    described = job(shop, model)
    data = prepare(described, load_model_class(model), tmp_path)
    train = data.train._dataset
    counts = np.zeros(11, dtype=int)
    with (shop / "shop" / "shop.inter").open(encoding="utf-8") as file:
        lines = [line.split("\t") for line in file.read().splitlines()[1:]]
    sessions: dict[str, list[tuple[float, str]]] = {}
    for user, item, when in lines:
        sessions.setdefault(user, []).append((float(when), item))
    ids = {token: number for number, token in enumerate(train.field2id_token["item_id"])}
    for events in sessions.values():
        for _, item in sorted(events)[:-2]:
            counts[ids[item]] += 1
    np.testing.assert_array_equal(training_counts(train), counts)
    history, length, target = training_rows(train)
    assert len(history) == 12  # one row a session covers them all
    np.testing.assert_array_equal(np.bincount(np.r_[history.ravel(), target], minlength=11)[1:], counts[1:])
    assert (length == 3).all()
    category = item_category_of(train)
    assert category is not None
    assert category.shape == (11, 2)


def test_cells_need_categories(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the rule cells needs category_fields, .*k-means needs none"):
        run(job(shop, settings=TINY), tmp_path)


def test_a_model_with_a_trainer_of_its_own_is_refused(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SASRecTrainer:
        pass

    monkeypatch.setattr(recbole.trainer, "SASRecTrainer", SASRecTrainer, raising=False)
    with pytest.raises(InputError, match="needs RecBole's SASRecTrainer; the suite cannot limit that one"):
        run(job(shop, "SASRec"), tmp_path)


def process(described: Job, folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(described.to_dict()), encoding="utf-8")
    command = [sys.executable, "-m", "recbole_hiersrec.benchmark.job", str(folder / "job.json"), str(folder)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, stdin=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_a_job_in_its_own_process(shop: Path, tmp_path: Path) -> None:
    done = process(job(shop, "MarkovChain"), tmp_path / "job")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "job").iterdir()) == [
        "job.json",
        "model",
        "ranks.npz",
        "record.json",
    ]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 8 TiB"), "out of memory: Unable to allocate 8 TiB"),
        (MemoryError(), "out of memory: MemoryError"),
        (
            RuntimeError("DefaultCPUAllocator: can't\nallocate"),
            "out of memory: DefaultCPUAllocator: can't allocate",
        ),
        (torch.OutOfMemoryError("CUDA out of memory."), "out of memory: CUDA out of memory."),
        (RuntimeError("boom"), "RuntimeError: boom"),
        (SystemExit(0), "SystemExit: 0"),
    ],
)
def test_why_a_job_failed(shop: Path, tmp_path: Path, error: BaseException, line: str) -> None:
    def work(described: Job, folder: Path) -> None:
        raise error

    description = tmp_path / "job.json"
    description.write_text(json.dumps(job(shop).to_dict()), encoding="utf-8")
    assert in_a_process(work, [str(description), str(tmp_path)]) == 1
    assert (tmp_path / "error.txt").read_text(encoding="utf-8") == line + "\n"


@pytest.mark.slow
def test_a_failing_job_leaves_one_line(shop: Path, tmp_path: Path) -> None:
    described = replace(job(shop), settings={**job(shop).settings, "hidden_sise": 4})
    done = process(described, tmp_path / "job")
    assert done.returncode == 1
    error = (tmp_path / "job" / "error.txt").read_text(encoding="utf-8")
    assert error.count("\n") == 1
    assert "hidden_sise" in error
    assert "hidden_size" in error
    assert not (tmp_path / "job" / "record.json").exists()
