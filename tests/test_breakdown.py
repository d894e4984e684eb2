"""Slices, lists and calibration in a job's record and in its report."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import write_manifest, write_shop, write_split
from fake_suite import make_records

from recbole_hiersrec import register
from recbole_hiersrec.arrays import read_arrays
from recbole_hiersrec.benchmark.rankfiles import CASES, publish_ranks, ranks_path, read_ranks
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.metrics import METRICS
from recbole_hiersrec.report import breakdown, tables
from recbole_hiersrec.report.figures import draw_all
from recbole_hiersrec.report.looks import model_looks
from recbole_hiersrec.report.page import render_page, write_report

register()

from test_job import TINY, job  # noqa: E402

from recbole_hiersrec.benchmark.breakdown import case_facts, list_lengths  # noqa: E402
from recbole_hiersrec.benchmark.job import run  # noqa: E402
from recbole_hiersrec.benchmark.prepare import prepare  # noqa: E402
from recbole_hiersrec.names import load_model_class  # noqa: E402
from recbole_hiersrec.scoring import scorer_of  # noqa: E402
from recbole_hiersrec.training import load_data_and_model  # noqa: E402

N_ITEMS = 10
MODELS = ("HierSRec", "SASRecAllPositions", "SASRec", "MarkovChain", "SequentialPop")
Record = dict[str, Any]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop; one session ends with an item that it had two steps before, another has but three items."""
    data_path = write_shop(tmp_path_factory.mktemp("data"))
    path = data_path / "shop" / "shop.inter"
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[6] = "u0\ti3\t1002500"
    rows += [f"short\ti{item}\t{1_000_000 + 500 * item}" for item in (5, 6, 7)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return data_path


@pytest.fixture(scope="module", params=MODELS)
def finished(
    request: pytest.FixtureRequest, shop: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Record]:
    folder = tmp_path_factory.mktemp(request.param)
    changes = {"protocol": {"max_length": 3}, "candidates": {"rules": ["cells"], "item_fractions": [0.5]}}
    return folder, run(job(shop, request.param, **changes), folder)


def sessions_of(data_path: Path) -> dict[str, list[int]]:
    """Item numbers of each session, in the order of the file, which is that of time."""
    found: dict[str, list[int]] = {}
    for line in (data_path / "shop" / "shop.inter").read_text(encoding="utf-8").splitlines()[1:]:
        user, item, _ = line.split("\t")
        found.setdefault(user, []).append(int(item[1:]))
    return found


def slice_of(record: Record) -> dict[tuple[str, str, int], tuple[float, int]]:
    return {
        (row["slice"], row["metric"], row["k"]): (row["value"], row["n_cases"]) for row in record["accuracy"]
    }


def test_slices_by_hand(shop: Path, finished: tuple[Path, Record]) -> None:
    """From the files: five items before each target, two in the short session, whatever the model is shown."""
    rows = slice_of(finished[1])
    cases = {name: n for (name, metric, k), (_, n) in rows.items() if (metric, k) == ("NDCG", 3)}
    assert (cases["length: 2-3"], cases["length: 4-5"]) == (1, 12)
    departments: Counter[str] = Counter()
    training: Counter[int] = Counter()
    targets, repeats = [], 0
    for items in sessions_of(shop).values():
        training.update(items[: -2 if len(items) > 3 else -1])
        targets.append(items[-1])
        repeats += items[-1] in items[:-1][-3:]  # of what a model is shown
        departments[f"d{items[-1] // 5}"] += 1
    assert {
        name.removeprefix("category: "): n for name, n in cases.items() if "category" in name
    } == departments
    assert (cases["repeated: yes"], repeats) == (1, 1)
    assert sum(items[-1] in items[:-1] for items in sessions_of(shop).values()) > 1
    total = sum(training.values())
    places: Counter[str] = Counter()
    for target in targets:
        above = sum(count for count in training.values() if count > training[target])
        below = sum(count for count in training.values() if count < training[target])
        places["head" if 5 * above < total else "tail" if 5 * below < total else "middle"] += 1
    assert {name.removeprefix("target: "): n for name, n in cases.items() if "target" in name} == places
    assert len(places) > 1


def test_slices_follow_from_the_arrays(finished: tuple[Path, Record]) -> None:
    folder, record = finished
    arrays = read_arrays(folder / "ranks.npz")
    assert set(CASES) <= set(arrays)
    facts = record["data"]["slices"]
    assert facts["category"]["level"] == "department"
    named = [*facts["category"]["names"], "(other)"]
    head, tail = facts["popularity"]["head"], facts["popularity"]["tail"]
    members: dict[str, list[int]] = {}
    for case, rank in enumerate(arrays["all"]):
        count, length = arrays["target popularity"][case], arrays["length"][case]
        of_length = next(
            name
            for border, name in ((21, "21+"), (11, "11-20"), (6, "6-10"), (4, "4-5"), (2, "2-3"), (1, "1"))
            if length >= border
        )
        popularity = (
            "cold" if not count else "head" if count >= head else "tail" if count <= tail else "middle"
        )
        for name in (
            f"length: {of_length}",
            f"target: {popularity}",
            f"repeated: {'yes' if arrays['repeated'][case] else 'no'}",
            f"category: {named[arrays['category'][case]]}",
        ):
            members.setdefault(name, []).append(rank)
    rows = {key: value for key, value in slice_of(record).items() if ": " in key[0] and key[1] in METRICS}
    assert rows.keys() == {(name, "NDCG", k) for name in members for k in (1, 3)}
    for (name, _, k), (value, n_cases) in rows.items():
        assert n_cases == len(members[name])
        assert value == pytest.approx(METRICS["NDCG"](np.array(members[name]), k).mean())


def test_slices_of_a_kind_average_to_the_whole(finished: tuple[Path, Record]) -> None:
    rows = slice_of(finished[1])
    for kind in ("length", "target", "repeated", "category"):
        for k in (1, 3):
            own = [found for (name, _, at), found in rows.items() if name.startswith(f"{kind}: ") and at == k]
            assert sum(n for _, n in own) == 13
            assert sum(value * n for value, n in own) / 13 == pytest.approx(rows["all", "NDCG", k][0])


def test_lists_follow_from_the_scores(shop: Path, finished: tuple[Path, Record]) -> None:
    """By sorting all scores of every case, in plain Python."""
    folder, record = finished
    model, _, train, _, test = load_data_and_model(folder / "model")[1:]
    scorer = scorer_of(model, test._dataset)
    scores = scorer.scores(scorer.batch(torch.arange(13))).tolist()
    ids = {token: number for number, token in enumerate(train._dataset.field2id_token["item_id"])}
    training = [0] * (N_ITEMS + 1)
    for items in sessions_of(shop).values():
        for item in items[: -2 if len(items) > 3 else -1]:
            training[ids[f"i{item}"]] += 1
    rows = slice_of(record)
    for k in (3,):
        lists = [
            sorted(range(1, N_ITEMS + 1), key=lambda item, row=row: (-row[item], item))[:k] for row in scores
        ]
        listed = [item for one in lists for item in one]
        times = Counter(listed)
        differences = sum(
            abs(times[a] - times[b]) for a in range(1, N_ITEMS + 1) for b in range(1, N_ITEMS + 1)
        )
        bits = [-np.log2(max(training[item], 1) / sum(training)) for item in listed]
        assert rows["all", "Coverage", k] == (len(times) / N_ITEMS, 13)
        assert rows["all", "Gini", k][0] == pytest.approx(differences / (2 * N_ITEMS * len(listed)))
        assert rows["all", "Novelty", k][0] == pytest.approx(np.mean(bits))
    assert {k for _, metric, k in rows if metric == "Coverage"} == {3}


@pytest.mark.parametrize(
    ("ks", "expected"), [([5, 10, 20], [10, 20]), ([1, 3], [3]), ([20, 5], [20]), ([1, 10], [10])]
)
def test_lists_have_the_headline_k_and_the_largest(shop: Path, ks: list[int], expected: list[int]) -> None:
    assert list_lengths(replace(job(shop), ks=ks)) == expected


def test_lists_follow_the_protocol(shop: Path, tmp_path: Path) -> None:
    """Of the most popular items everybody gets the same ones, unless their own are left out."""
    found = {}
    for history in ("unmasked", "masked"):
        protocol = {"max_length": 5, "history": history}
        found[history] = slice_of(run(job(shop, "SequentialPop", protocol=protocol), tmp_path / history))
    assert found["unmasked"]["all", "Coverage", 3][0] == 3 / N_ITEMS
    assert found["masked"]["all", "Coverage", 3][0] > 3 / N_ITEMS
    all_items = run(job(shop, "SequentialPop", ks=[10]), tmp_path / "all")
    assert slice_of(all_items)["all", "Coverage", 10] == (1, 13)
    assert slice_of(all_items)["all", "Gini", 10] == (0, 13)


def test_calibration_of_the_category_heads(finished: tuple[Path, Record]) -> None:
    folder, record = finished
    if record["job"]["model"] != "HierSRec":
        assert record["calibration"] == []
        return
    model, _, _, _, test = load_data_and_model(folder / "model")[1:]
    scorer = scorer_of(model, test._dataset)
    logits = model.category_logits(scorer.batch(torch.arange(13)))
    hits = read_arrays(folder / "ranks.npz")
    assert [section["level"] for section in record["calibration"]] == [
        "level 1: department",
        "level 2: class",
    ]
    for section, of_level in zip(record["calibration"], logits, strict=True):
        confidence = of_level.detach().softmax(1).max(1).values.double().numpy()
        hit = hits[f"category hit, {section['level']}"]
        error = 0.0
        for number in range(1, 16):
            inside = ((number - 1) / 15 < confidence) & (confidence <= number / 15)
            found = [one for one in section["bins"] if one["bin"] == number]
            assert len(found) == inside.any()
            if inside.any():
                assert found[0]["count"] == inside.sum()
                assert found[0]["accuracy"] == pytest.approx(hit[inside].mean())
                assert found[0]["confidence"] == pytest.approx(confidence[inside].mean())
                error += inside.sum() * abs(hit[inside].mean() - confidence[inside].mean())
        assert section["n_cases"] == 13
        assert section["error"] == pytest.approx(error / 13)


@pytest.mark.parametrize(("cases", "lengths"), [("every-prefix", [1, 2, 3, 4, 5] * 2), ("last-item", [5, 5])])
@pytest.mark.parametrize("model", ["HierSRec", "SequentialPop"])
def test_lengths_of_a_temporal_split(tmp_path: Path, cases: str, lengths: list[int], model: str) -> None:
    data_path = write_shop(tmp_path / "data")
    write_split(data_path)
    write_manifest(data_path / "shop", time="click", settings={"split": "temporal"})
    protocol = {"split": "temporal", "max_length": 2, "test_cases": cases}
    run(job(data_path, model, protocol=protocol), tmp_path / "job")
    assert read_arrays(tmp_path / "job" / "ranks.npz")["length"].tolist() == lengths


def test_rows_that_were_made_elsewhere_are_as_long_as_they_are(shop: Path) -> None:
    described = job(shop, "SequentialPop", protocol={"max_length": 3})
    data = prepare(described, load_model_class("SequentialPop"), Path("unused"))
    assert sorted(case_facts(described, data).arrays["length"]) == [2, *[5] * 12]
    cut = case_facts(described, replace(data, session_sizes=None)).arrays["length"]
    assert sorted(cut) == [2, *[3] * 12]


def test_a_column_that_holds_no_categories_is_left_out(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    path = data_path / "shop" / "shop.item"
    path.write_text(path.read_text(encoding="utf-8").replace("department:token", "department:float", 1))
    (data_path / "shop" / "shop.yaml").write_text("category_fields: [department, gone, class]\n")
    described = job(data_path, "SequentialPop", settings={**TINY, "category_fields": []})
    facts = case_facts(described, prepare(described, load_model_class("SequentialPop"), Path("unused")))
    assert (facts.level, len(facts.categories)) == ("class", 5)


def test_a_cold_target(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    path = data_path / "shop" / "shop.inter"
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[6] = "u0\tnew\t1002500"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = slice_of(run(job(data_path, "MarkovChain"), tmp_path / "job"))
    assert found["target: cold", "NDCG", 3][1] == 1
    assert found["category: (unknown)", "NDCG", 3][1] == 1


def test_models_without_categories_are_sliced_by_those_of_the_data(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    own = data_path / "shop" / "shop.yaml"
    own.write_text("category_fields: [title, department, class]\n", encoding="utf-8")
    items = (data_path / "shop" / "shop.item").read_text(encoding="utf-8").splitlines()
    same = [items[0], *("\t".join([*line.split("\t")[:3], "thing"]) for line in items[1:])]
    (data_path / "shop" / "shop.item").write_text("\n".join(same) + "\n", encoding="utf-8")
    settings = {**TINY, "category_fields": []}
    record = run(job(data_path, "SASRecAllPositions", settings=settings), tmp_path / "job")
    assert record["data"]["slices"]["category"] == {
        "level": "department",  # there is but one title
        "names": ["d1", "d0"],  # of 7 and 5 cases
    }
    own.unlink()
    record = run(job(data_path, "SASRecAllPositions", settings=settings), tmp_path / "none")
    assert record["data"]["slices"]["category"] == {"level": "", "names": []}
    assert not [row for row in record["accuracy"] if row["slice"].startswith("category: ")]
    assert "category" not in read_arrays(tmp_path / "none" / "ranks.npz")


def test_publications_share_what_is_known_of_the_cases(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path / "data")
    records = []
    for model in ("MarkovChain", "SequentialPop"):
        described = job(data_path, model)
        folder = tmp_path / "runs" / "jobs" / described.key
        records.append(run(described, folder))
        (tmp_path / "new" / "jobs" / described.key).mkdir(parents=True)
        publish_ranks(tmp_path / "runs", tmp_path / "new", records[-1])
    assert len(list((tmp_path / "new" / "cases").iterdir())) == 1
    for record in records:
        assert not set(CASES) & set(read_arrays(ranks_path(tmp_path / "new", record["key"])))
        whole, found = (read_ranks(tmp_path / name, record) for name in ("runs", "new"))
        for name in CASES:
            assert np.array_equal(whole[name], found[name])
    path = ranks_path(tmp_path / "runs", records[0]["key"])
    records[0]["data"]["n_test"] = 11
    with pytest.raises(InputError, match=rf"{path}: ranks 'all': received 12, expected 11"):
        read_ranks(tmp_path / "runs", records[0])


def with_breakdown(record: Record, number: int) -> Record:
    """A fake record as it is now; values rise with ``number``."""
    found = copy.deepcopy(record)
    everything = {"variant": "all items", "candidate_rule": "", "item_fraction": None}
    slices = {
        "length: 2-3": (0.1, 10), "length: 1": (0.2, 25), "length: 21+": (0.3, 5), "target: tail": (0.1, 20),
        "target: head": (0.4, 20), "repeated: no": (0.2, 40), "category: toys": (0.3, 30),
        "category: (other)": (0.1, 10),
    }  # fmt: skip
    for name, (value, n_cases) in slices.items():
        for k in found["job"]["ks"]:
            row = {
                "slice": name,
                "metric": "NDCG",
                "k": k,
                "value": value * k / 10 + number / 100,
                "n_cases": n_cases,
            }
            found["accuracy"].append(everything | row)
    for metric, value in (("Coverage", 0.5), ("Gini", 0.7), ("Novelty", 8.125)):
        row = {"slice": "all", "metric": metric, "k": 20, "value": value + number / 100, "n_cases": 40}
        found["accuracy"].append(everything | row)
    names = {"popularity": {"head": 9, "tail": 2}, "category": {"level": "aisle", "names": ["toys"]}}
    found["data"]["slices"] = names
    if found["job"]["model"] == "HierSRec":
        found["calibration"] = [
            {
                "level": "level 1: class.first",
                "error": 0.1 + number / 100,
                "n_cases": 40,
                "bins": [
                    {"bin": 2, "confidence": 0.1, "accuracy": 0.2, "count": 30},
                    {"bin": 9, "confidence": 0.6, "accuracy": 0.4 + number / 10, "count": 10},
                ],
            }
        ]
    return found


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Two seeds, the second's values .01 higher."""
    made = make_records(tmp_path, seeds=[1, 2])[1]
    return [with_breakdown(record, record["job"]["seed"] - 1) for record in made]


def test_tables_of_the_slices(records: list[Record]) -> None:
    lines = tables.entries(records)
    by_length = breakdown.slices(lines, "length")
    assert by_length.title == "NDCG@10 by items before the target"
    assert list(by_length.headers) == ["slice", "cases", "HierSRec", "SASRecAllPositions", "SequentialPop"]
    assert by_length.rows == [
        ["1", "25", *["0.2050"] * 3],
        ["2-3", "10", *["0.1050"] * 3],
        ["21+", "5", *["0.3050"] * 3],
    ]
    assert [row[:3] for row in breakdown.slices(lines, "target").rows] == [
        ["head", "20", "0.4050"],
        ["tail", "20", "0.1050"],
    ]
    by_category = breakdown.slices(lines, "category")
    assert by_category.title == "NDCG@10 by the target's category (aisle)"
    assert [row[:2] for row in by_category.rows] == [["toys", "30"], ["(other)", "10"]]
    assert breakdown.slices(lines, "repeated").rows == ()  # all cases are of one


def test_a_model_of_an_older_version_has_no_value(records: list[Record]) -> None:
    for record in records:
        if record["job"]["model"] == "SequentialPop":
            record["accuracy"] = [row for row in record["accuracy"] if ": " not in row["slice"]]
    rows = breakdown.slices(tables.entries(records), "length").rows
    assert rows[0][2:] == ["0.2050", "0.2050", "-"]


def test_a_model_that_the_clock_stopped_is_in_no_slice(records: list[Record]) -> None:
    for record in records:
        record["status"] = "time limit" if record["job"]["model"] == "HierSRec" else "ok"
    lines = tables.entries(records)
    assert "HierSRec" not in breakdown.slices(lines, "length").headers
    every = [record | {"status": "time limit"} for record in records]
    assert breakdown.slices(tables.entries(every), "length").rows == ()


def test_table_of_the_lists(records: list[Record]) -> None:
    table = breakdown.lists(tables.entries(records))
    assert list(table.headers) == ["model", "Coverage@20", "Gini@20", "Novelty@20"]
    spread = "0.0071"
    assert table.rows[0] == [
        "HierSRec (every position)", f"0.5050 ± {spread}", f"0.7050 ± {spread}", "8.13 ± 0.01",
    ]  # fmt: skip


def test_table_and_bins_of_the_calibration(records: list[Record]) -> None:
    lines = tables.entries(records)
    table = breakdown.calibrations(lines)
    assert table.rows == [
        [
            "HierSRec (every position)",
            "level 1: class.first",
            "22.5 ± 0.0 %",
            "26.2 ± 1.8 %",
            "0.1050 ± 0.0071",
        ]
    ]
    assert breakdown.pooled_bins(lines[0], "level 1: class.first") == [
        (pytest.approx(0.1), pytest.approx(0.2), 60),
        (pytest.approx(0.6), pytest.approx(0.45), 20),
    ]
    assert breakdown.pooled_bins(lines[0], "level 2: class") == []


def test_figures(records: list[Record]) -> None:
    drawn = draw_all(tables.entries(records), model_looks(r["job"]["name"] for r in records), "toy")
    assert {"popularity", "reliability"} <= drawn.keys()
    for record in records:
        if "calibration" in record:
            record["calibration"][0]["bins"][1]["accuracy"] = 0.9
    other = draw_all(tables.entries(records), model_looks(r["job"]["name"] for r in records), "toy")
    assert [name for name in drawn if drawn[name] != other[name]] == ["reliability"]


def test_the_page(tmp_path: Path, records: list[Record]) -> None:
    write_report(tmp_path / "out", records)
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for text in (
        "### NDCG@10 by items before the target",
        "### NDCG@10 by the target's popularity in training",
        "### Recommended lists",
        "### Calibration of category probabilities",
        "(figures/popularity-toy.svg)",
        "(figures/reliability-toy.svg)",
        "- expected calibration error: ",
        "- slices, means over seeds: ",
    ):
        assert page.count(text) == 1, text
    assert "whether the target is in the history" not in page
    csv = (tmp_path / "out" / "accuracy.csv").read_text(encoding="utf-8")
    assert "length: 21+,NDCG,10" in csv


def test_records_of_older_versions_make_the_page_of_before(tmp_path: Path) -> None:
    page = render_page(make_records(tmp_path)[1], [], [])
    assert "### Leaderboard" in page
    assert not [
        text for text in ("items before the target", "Recommended", "calibration", "slices") if text in page
    ]


def test_a_record_stays_small(finished: tuple[Path, Record]) -> None:
    """What slices, lists and calibration add is less than the rest."""
    record = finished[1]
    rest = {key: value for key, value in record.items() if key != "calibration"}
    rest["accuracy"] = [
        row for row in record["accuracy"] if ": " not in row["slice"] and row["metric"] in METRICS
    ]
    assert len(json.dumps(record)) < 2 * len(json.dumps(rest))
