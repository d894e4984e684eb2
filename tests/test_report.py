"""Report: the same records give the same bytes; what is not sound is not ranked, or not written."""

from __future__ import annotations

import csv
import json
import random
import re
import subprocess
import sys
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import seaborn
from fake_job import make_record
from fake_suite import make_records

from recbole_hiersrec.benchmark.environment import code_hash
from recbole_hiersrec.benchmark.rankfiles import candidate_keys
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.report import tables
from recbole_hiersrec.report.figures import draw_all
from recbole_hiersrec.report.frame import (
    ACCURACY_COLUMNS,
    TIMING_COLUMNS,
    accuracy_frame,
    table_groups,
    timing_frame,
    to_csv,
)
from recbole_hiersrec.report.looks import model_looks
from recbole_hiersrec.report.page import FORMATS, render_page, terminal_lines, write_report

Records = list[dict[str, Any]]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return make_records(tmp_path)[1]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


def every_table(records: Records) -> list[tables.Table]:
    lines = tables.entries(records)
    makers = (
        tables.leaderboard,
        tables.all_metrics,
        tables.candidates,
        tables.categories,
        tables.training,
        tables.speed,
    )
    return [make(lines) for make in makers]


def stop(record: dict[str, Any]) -> dict[str, Any]:
    return make_record(
        record["job"] | {"key": record["key"], "suite": record["suite"]}, "time limit", quality=0.5
    )


def test_csv_columns_and_values(records: Records) -> None:
    accuracy = to_csv(accuracy_frame(records))
    assert accuracy.split("\n")[0] == ",".join(ACCURACY_COLUMNS)
    assert accuracy.split("\n")[0] == (
        "dataset,protocol,model,variant,seed,candidate_rule,item_fraction,slice,metric,k,value,n_cases,status"
    )
    found = [
        r for r in rows(accuracy) if r["model"] == "SequentialPop" and (r["metric"], r["k"]) == ("NDCG", "10")
    ]
    assert found == [
        {
            "dataset": "toy",
            "protocol": "leave-one-out, history unmasked, length 50",
            "model": "SequentialPop",
            "variant": "all items",
            "seed": "2026",
            "candidate_rule": "",
            "item_fraction": "",
            "slice": "all",
            "metric": "NDCG",
            "k": "10",
            "value": "0.0106",
            "n_cases": "40",
            "status": "ok",
        }
    ]
    timing = to_csv(timing_frame(records))
    assert timing.split("\n")[0] == ",".join(TIMING_COLUMNS)
    assert timing.split("\n")[0] == "dataset,protocol,model,variant,seed,stage,threads,quantity,unit,value"
    training = [r for r in rows(timing) if r["model"] == "HierSRec" and r["stage"] == "training"]
    assert [(r["quantity"], r["unit"], float(r["value"])) for r in training] == [
        ("epochs", "", 3.0),
        ("parameters", "", 1234.0),
        ("seconds", "s", 71.25),
        ("steps", "", 30.0),
        ("stopped by the clock", "", 0.0),
    ]


def test_values_in_csv_are_not_rounded(records: Records) -> None:
    value = 0.1 + 0.2
    records[0]["accuracy"][0]["value"] = value
    assert value in [float(row["value"]) for row in rows(to_csv(accuracy_frame(records)))]


def test_order_of_records_changes_no_byte(tmp_path: Path, records: Records) -> None:
    shuffled = records.copy()
    random.Random(1).shuffle(shuffled)
    assert shuffled != records
    for name, given in (("a", records), ("b", shuffled)):
        write_report(tmp_path / name, given)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert [str(file) for file in files] == [
        "accuracy.csv",
        "comparisons.csv",
        "figures/accuracy-toy.svg",
        "figures/candidates-toy.svg",
        "figures/latency-toy.svg",
        "figures/learning-toy.svg",
        "figures/scanned-toy.svg",
        "report.html",
        "report.md",
        "timing.csv",
    ]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert (tmp_path / "a" / "figures" / "latency-toy.svg").read_bytes().startswith(b"<svg ")


def test_leaderboard_is_sorted_and_names_the_way_of_training(records: Records) -> None:
    board = tables.leaderboard(tables.entries(records))
    assert list(board.headers) == ["#", "model", "NDCG@10", "Recall@10", "MRR@10", "training s", "seeds"]
    assert [row[:3] for row in board.rows] == [
        ["1", "HierSRec (every position)", "0.0806"],
        ["2", "SASRecAllPositions (every position)", "0.0606"],
        ["3", "SequentialPop (counted)", "0.0106"],
    ]


def test_a_line_says_that_its_model_reads_padding(records: Records) -> None:
    record = records[0]
    plain = tables.label(record)
    assert (
        tables.label(record | {"job": record["job"] | {"model": "Caser"}}) == f"{plain[:-1]}, reads padding)"
    )


def test_equal_values_share_a_rank(records: Records) -> None:
    for record in records[1:]:
        record["accuracy"] = records[0]["accuracy"]
    assert [row[0] for row in tables.leaderboard(tables.entries(records)).rows] == ["1", "1", "1"]
    assert "0.0806, level with SASRecAllPositions" in render_page(records, [], [])


def test_several_seeds_give_mean_and_standard_deviation(tmp_path: Path) -> None:
    records = make_records(tmp_path, seeds=[1, 3], models=["SASRecAllPositions"])[1]
    row = tables.leaderboard(tables.entries(records)).rows[0]
    assert row[2] == "0.0602 ± 0.0001"  # .0601 and .0603: mean .0602, standard deviation .0002 / sqrt(2)
    assert row[-1] == "2"
    page = render_page(records, [], [])
    assert "Means ± standard deviations over 2 finished seeds a model, 40 test cases." in page
    assert "One seed" not in page


def test_clock_is_marked_in_every_table_and_never_ranked(records: Records) -> None:
    records[0] = stop(records[0])  # by far the best value
    for table in every_table(records):
        last = [row for row in table.rows if any("HierSRec" in cell for cell in row)]
        assert last, table.title
        assert last == list(table.rows)[-len(last) :], table.title
        assert all("†" in row[0] + row[1] for row in last), table.title
        assert "† stopped by the clock" in table.text("github"), table.title
    board = tables.leaderboard(tables.entries(records))
    assert [row[0] for row in board.rows] == ["1", "2", ""]
    assert "SASRecAllPositions has the highest" in render_page(records, [], [])
    assert "† stopped by the clock" in terminal_lines(records)
    statuses = {row["model"]: row["status"] for row in rows(to_csv(accuracy_frame(records)))}
    assert statuses == {"HierSRec": "time limit", "SASRecAllPositions": "ok", "SequentialPop": "ok"}
    clock = [row for row in rows(to_csv(timing_frame(records))) if row["quantity"] == "stopped by the clock"]
    assert [(row["model"], row["value"]) for row in clock] == [
        ("HierSRec", "1.0"),
        ("SASRecAllPositions", "0.0"),
        ("SequentialPop", "0.0"),
    ]


def test_clock_of_one_seed_leaves_the_mean_of_the_others(tmp_path: Path) -> None:
    records = make_records(tmp_path, seeds=[1, 3], models=["SASRecAllPositions"])[1]
    records[1] = stop(records[1])
    board = tables.leaderboard(tables.entries(records))
    assert [row[:3] for row in board.rows] == [
        ["", "SASRecAllPositions (every position) ‡", "0.0601"],
        ["", "SASRecAllPositions (every position) † seed 3", "0.5003"],
    ]
    assert "‡ fewer finished seeds" in board.text("github")


def test_fewer_seeds_are_never_ranked_before_more(tmp_path: Path) -> None:
    records = make_records(tmp_path, seeds=[1, 3], models=["HierSRec", "SequentialPop"])[1]
    left = [
        record for record in records if (record["job"]["model"], record["job"]["seed"]) != ("HierSRec", 3)
    ]
    assert [row[:2] for row in tables.leaderboard(tables.entries(left)).rows] == [
        ["1", "SequentialPop (counted)"],
        ["", "HierSRec (every position) ‡"],
    ]
    assert "SequentialPop has the highest" in render_page(left, [], [])


def test_all_stopped_ranks_nothing(records: Records) -> None:
    page = render_page([stop(record) for record in records], [], [])
    assert "no model has finished all its seeds within the limits, so nothing is ranked" in page


def test_candidates_table_begins_with_all_items(records: Records) -> None:
    table = tables.candidates(tables.entries(records))
    assert table.headers[-2:] == ["latency ms", "speed"]
    assert [row[0] for row in table.rows] == ["HierSRec (every position)"] * 3
    assert [row[1:] for row in table.rows] == [
        ["all items", "1", "0.0806", "100.0 %", "30 of 30", "100.0 %", "100.0 %", "0.800", "1.00x"],
        # .0802 x (.8 + 2f); 30 x .04 = 1.2, at most one item
        ["cells", "0.04", "0.0709", "88.0 %", "1 of 30", "4.0 %", "6.0 %", "0.400", "2.00x"],
        ["cells", "0.1", "0.0806", "100.0 %", "3 of 30", "10.0 %", "12.0 %", "0.400", "2.00x"],
    ]


def test_each_model_with_candidates_has_its_row_of_all_items_in_every_format(tmp_path: Path) -> None:
    one = {"model": "HierSRec", "candidates": True, "settings": {"category_fields": ["class"]}}
    models = [one | {"name": "one"}, one | {"name": "two", "settings": one["settings"] | {"n_layers": 1}}]
    records = make_records(tmp_path, seeds=[1, 3], models=[*models, "SequentialPop"])[1]
    table = tables.candidates(tables.entries(records))
    assert [row[1] for row in table.rows] == ["all items", "cells", "cells"] * 2
    assert {row[0] for row in table.rows[:3]} != {row[0] for row in table.rows[3:]}
    assert all("±" in row[3] for row in table.rows)
    write_report(tmp_path / "out", records, formats=FORMATS)
    for name, count in (("report.md", r"\| all items +\| +1 \|"), ("report.html", r">all items</td>\s*<td[^>]*>1</td>"),
                        ("report.tex", r"& all items & 1 &")):  # fmt: skip
        assert len(re.findall(count, (tmp_path / "out" / name).read_text())) == 2, name
    text = terminal_lines(records, {})
    assert (
        len(re.findall(r"^(?:one|two) +all items +100 % .* 100.0 % +100.0 % +1.00x$", text, re.MULTILINE))
        == 2
    )


def test_the_exact_search_has_a_row_where_it_ran(records: Records) -> None:
    row = next(row for row in records[0]["accuracy"] if row["candidate_rule"])
    records[0]["accuracy"].append(
        row
        | {"variant": "exact", "candidate_rule": "", "item_fraction": None, "metric": "ScannedFraction"}
        | {"k": None, "value": 0.125}
    )
    total = next(
        row for row in records[0]["timing"] if (row["stage"], row["quantity"]) == ("total", "latency median")
    )
    records[0]["timing"].append(total | {"variant": "exact", "value": 3.2})
    rows = tables.candidates(tables.entries(records)).rows
    assert len(rows) == 4
    assert rows[-1][1:] == ["exact search", "", "0.0806", "100.0 %", "", "", "12.5 %", "3.200", "0.25x"]


def test_speed_table_compares_with_all_items(records: Records) -> None:
    table = tables.speed(tables.entries(records))
    assert [row[1:] for row in table.rows[:2]] == [
        ["all items", "0.200", "0.100", "0.400", "0.800", "1.200", "4000", "1.00x", "1.00x", "-"],
        ["cells@0.04", "0.100", "0.050", "0.200", "0.400", "0.600", "2000", "2.00x", "0.50x", "0.75"],
    ]


def test_category_table_shows_the_majority_share_where_recorded(records: Records) -> None:
    assert list(tables.categories(tables.entries(records)).rows[0]) == [
        "HierSRec (every position)",
        "level 1: class.first",
        "25.0 %",
        "-",
    ]
    share = records[0]["accuracy"][-1] | {"metric": "MajorityCategory", "value": 0.125}
    records[0]["accuracy"].append(share)
    assert tables.categories(tables.entries(records)).rows[0][-1] == "12.5 %"


def test_page_says_what_it_rests_on(records: Records) -> None:
    page = render_page(records, [], ["accuracy-toy.svg"])
    lead, below = page.split("\n\n")[1:3]
    assert lead == "**toy**: HierSRec has the highest NDCG@10, 0.0806, before SASRecAllPositions with 0.0606."
    assert below.splitlines()[-1] == (
        "- One seed (2026) and 40 test cases: small differences may be chance. No significance test was made."
    )
    assert "Shares above" not in below
    for text in (
        "figures/accuracy-toy.svg",
        "0123abc",
        code_hash(),
        "abacus",
        "torch: 2.13.0",
        "hiersrec bench FILE",
        "c" * 64,
    ):
        assert text in page, text
    assert "significant" not in page


def add_rule(record: dict[str, Any], rule: str, share: float) -> None:
    """Give the record a second rule, which keeps ``share`` times what cells keeps, at the same costs."""
    for row in [row for row in record["accuracy"] if row["candidate_rule"]]:
        factor = share if row["k"] else 1
        record["accuracy"].append(row | {"candidate_rule": rule, "value": row["value"] * factor})
    for row in [row for row in record["timing"] if row["variant"].startswith("cells")]:
        record["timing"].append(row | {"variant": row["variant"].replace("cells", rule)})


def below_the_claim(records: Records) -> list[str]:
    return [line.removeprefix("- ") for line in render_page(records, [], []).split("\n\n")[2].splitlines()]


def test_what_candidates_keep_is_a_line_a_rule(records: Records) -> None:
    add_rule(records[0], "k-means", 1.25)
    costs = "6.0 % of the items scanned, 2.00x the speed of all items for one query, 0.50x in batches"  # .04 + .02
    chance = "Shares above 100 % may be chance"
    assert below_the_claim(records)[:3] == [
        f"Scoring 4 % of the items HierSRec keeps 88.0 % of its NDCG@10 (rule cells, {costs}).",
        f"Scoring 4 % of the items HierSRec keeps 110.0 % of its NDCG@10 (rule k-means, {costs}).",
        f"{chance} or items of the session itself that the candidates leave out.",
    ]
    for record in records:
        record["job"]["protocol"]["history"] = "masked"
    assert below_the_claim(records)[2] == f"{chance}."
    records[1]["accuracy"] = make_record(records[1]["job"] | {"key": "", "suite": ""}, quality=0.9)[
        "accuracy"
    ]
    assert below_the_claim(records)[0].startswith("Scoring 4 % of the items HierSRec, 2nd of 3, keeps")


def test_of_many_rules_the_two_ends_are_named(records: Records) -> None:
    for rule, share in (("k-means", 1.25), ("mixed", 1.0), ("popularity", 0.5)):
        add_rule(records[0], rule, share)
    assert below_the_claim(records)[0] == (
        "Scoring 4 % of the items HierSRec keeps 44.0 % (rule popularity) to 110.0 % (rule k-means) of its "
        "NDCG@10, by 4 rules."
    )


def test_what_was_not_measured_is_left_out(records: Records) -> None:
    records[0]["timing"] = []
    assert below_the_claim(records)[0].endswith("(rule cells, 6.0 % of the items scanned).")


def quickstart_like(folder: Path, **changes: Any) -> Records:
    models = [
        {"model": "HierSRec", "candidates": True, "settings": {"category_fields": ["class"]}},
        *("SASRecAllPositions", "GRU4RecAllPositions", "MarkovChain", "SequentialPop"),
    ]
    records = make_records(folder, models=models, **changes)[1]
    for record in records:
        if record["job"]["candidates"]:
            add_rule(record, "k-means", 1.25)
    return records


def test_terminal_fits_in_80_columns(tmp_path: Path) -> None:
    records = quickstart_like(tmp_path)
    text = terminal_lines(records)
    assert max(map(len, text.splitlines())) <= 80
    assert "2  SASRecAllPositions    0.0606     0.0606  0.0606     71.2\n" in text
    assert "HierSRec  all items  100 %   0.0806  100.0 %  100.0 %  1.00x\n" in text
    assert "HierSRec  k-means    4 %     0.0887  110.0 %    6.0 %  2.00x\n" in text
    assert "seeds" not in text
    assert (
        "trained on every position: HierSRec, SASRecAllPositions, GRU4RecAllPositions;\n"
        "counted: MarkovChain, SequentialPop.\n"
        "Training interactions after the earliest test interaction: 50 of 200 (25.0 %).\n"
        "One seed (2026)" in text
    )
    assert "trained on" not in terminal_lines(records[:2])
    stopped = terminal_lines([*records[:2], stop(records[2]), *records[3:]])
    assert max(map(len, stopped.splitlines())) <= 80
    assert "\n   GRU4RecAllPositions †   0.5006 " in stopped


def test_terminal_of_several_seeds_fits_too(tmp_path: Path) -> None:
    records = quickstart_like(tmp_path, seeds=[2024, 2026])
    late = next(r for r in records if (r["job"]["model"], r["job"]["seed"]) == ("GRU4RecAllPositions", 2026))
    text = terminal_lines([stop(late) if record is late else record for record in records])
    assert max(map(len, text.splitlines())) <= 80
    assert "SASRecAllPositions     0.0605 ± 0.0001     0.0605  0.0605     71.2          2\n" in text
    assert "   GRU4RecAllPositions †           0.5006     0.5006  0.5006     71.2  seed 2026\n" in text


def test_protocol_names_threads_device_losses_and_definitions(records: Records) -> None:
    for record in records:
        record["machine"]["device"] = "abacus:0"
    records[0]["job"]["settings"] |= {"loss": "full", "n_negatives": 1024, "negative_power": 0.0}
    records[1]["job"]["settings"] |= {"loss": "sampled", "n_negatives": 64, "negative_power": 0.5}
    records[2]["job"]["settings"] = {"loss": "sampled"}  # of the suite; it counts, and learns by no loss
    protocol = render_page(records, [], []).split("## Protocol and limits")[1].split("## Machine")[0]
    for line in (
        "- threads: 1",
        "- device: abacus:0",
        "- loss: HierSRec: full softmax; SASRecAllPositions: sampled softmax "
        "(64 shared negatives a batch, drawn by count^0.5)",
    ):
        assert line in protocol.splitlines(), line
    for definition in (
        "1 + greater + (equal - 1) / 2",
        "scanned = (vectors compared to find them + items scored) / items",
    ):
        assert definition in protocol


@pytest.mark.parametrize(("seeds", "bands"), [([1], 0), ([1, 3], 1)])
def test_candidate_curves_have_a_band_only_over_seeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seeds: list[int], bands: int
) -> None:
    spy = Mock(wraps=seaborn.lineplot)
    monkeypatch.setattr(seaborn, "lineplot", spy)
    records = make_records(tmp_path, seeds=seeds)[1]
    draw_all(tables.entries(records), model_looks(r["job"]["name"] for r in records), "title")
    curves = next(call.kwargs for call in spy.call_args_list if call.kwargs["y"] == "kept")
    assert curves["errorbar"] == ("sd" if bands else None)
    assert len(curves["ax"].collections) == bands


def test_a_rule_has_one_line_against_what_it_scans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spy = Mock(wraps=seaborn.lineplot)
    monkeypatch.setattr(seaborn, "lineplot", spy)
    records = make_records(tmp_path, seeds=[1, 3])[1]
    for record in records:
        if record["job"]["candidates"]:
            add_rule(record, "k-means", 1.25)
    draw_all(tables.entries(records), model_looks(r["job"]["name"] for r in records), "title")
    drawn = [call for call in spy.call_args_list if call.kwargs.get("x") == "scanned"]
    assert [call.kwargs["label"] for call in drawn] == ["cells", "k-means"]
    (model,) = {row["job"]["name"] for row in records if row["job"]["candidates"]}
    entry = next(line for line in tables.entries(records) if line.model == model)
    for call, rule in zip(drawn, ("cells", "k-means"), strict=True):
        frame = call.args[0]
        keys = [key for key in candidate_keys(records[0]) if key[0] == rule]
        for (_, fraction), scanned, share in zip(keys, frame["scanned"], frame["kept"], strict=True):
            at = partial(
                tables.accuracy_value, metric="ScannedFraction", k=None, fraction=fraction, rule=rule
            )
            assert scanned == pytest.approx(100 * entry.mean(at))
            assert share == pytest.approx(
                100 * entry.mean(partial(tables.kept, rule=rule, fraction=fraction))
            )


def test_missing_jobs_are_named(tmp_path: Path) -> None:
    jobs, records = make_records(tmp_path)
    assert (
        "**Not in the tables**, because they failed or have not run here: toy SequentialPop seed 2026."
        in render_page(records[:2], jobs[2:], [])
    )
    write_report(tmp_path / "out", [], jobs)
    assert "No job has finished." in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "accuracy.csv").read_text() == ",".join(ACCURACY_COLUMNS) + "\n"


@pytest.mark.parametrize(("field", "what"), [("universe", "item universe"), ("cases", "test cases")])
def test_tables_refuse_what_cannot_be_compared(
    tmp_path: Path, records: Records, field: str, what: str
) -> None:
    records[2]["data"][field] = "x" * 64
    message = f"'HierSRec seed 2026' and 'SequentialPop seed 2026' .* {what} differ .data.{field} "
    with pytest.raises(InputError, match=message):
        write_report(tmp_path / "out", records)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=message):
        terminal_lines(records)


def test_other_protocols_and_data_sets_are_tables_of_their_own(records: Records) -> None:
    records[1]["job"]["protocol"]["history"] = "masked"
    records[2]["job"]["dataset"] = "other"
    for record, cases in zip(records, "abc", strict=True):
        record["data"]["cases"] = cases * 64
    assert [(key, len(found)) for key, found in table_groups(records)] == [
        (("other", "leave-one-out, history unmasked, length 50"), 1),
        (("toy", "leave-one-out, history masked, length 50"), 1),
        (("toy", "leave-one-out, history unmasked, length 50"), 1),
    ]


@pytest.mark.parametrize(
    ("leakage", "text"),
    [
        ({"training": 98_114, "after": 12_345}, "12,345 of 98,114 (12.6 %)"),
        ({"training": 98_114, "after": None}, "unknown (no time stamps)"),
        (None, "not recorded"),
    ],
)
def test_every_report_says_what_was_trained_on_after_the_first_test_interaction(
    records: Records, leakage: Any, text: str
) -> None:
    for record in records:
        record["data"]["leakage"] = leakage
    line = f"interactions after the earliest test interaction: {text}"
    assert f"- training {line}\n" in render_page(records, [], [])
    assert f"Training {line}." in " ".join(terminal_lines(records).split())
    del records[0]["data"]["leakage"]  # of an older version; the others know
    assert f"- training {line}\n" in render_page(records, [], [])


def test_learned_levels_are_named_as_learned(records: Records) -> None:
    assert "learned" not in render_page(records, [], []) + terminal_lines(records)
    names = ("learned_1", "learned_2")
    learned = [{"name": name, "categories": 4} for name in names]
    records[0]["data"]["levels"] += learned[:1]
    note = "Category level learned_1: learned from the training part's co-occurrence."
    assert note in " ".join(terminal_lines(records).split())
    records[0]["data"]["levels"] += learned[1:]
    page = render_page(records, [], [])
    source = "learned from the training part's co-occurrence"
    assert (
        f"- category levels: class.first: 3 categories; learned_1: 4 categories ({source}); "
        f"learned_2: 4 categories ({source})\n" in page
    )
    table = page.split("### Category accuracy")[1].split("###")[0]
    assert table.rstrip().endswith(f"\n\nCategory levels learned_1, learned_2: {source}.")
    assert max(map(len, terminal_lines(records).splitlines())) <= 80


def test_cases_of_fewer_sessions_are_told(records: Records) -> None:
    assert "40 test cases of" not in render_page(records, [], [])
    for record in records:
        record["data"]["n_test_sessions"] = 11
    page = render_page(records, [], [])
    assert "One seed (2026) and 40 test cases of 11 sessions: small differences may be chance" in page
    assert "- test sessions: 11\n" in page
    assert "toy: leave-one-out, history unmasked, length 50; 40 test cases of 11 sessions" in terminal_lines(
        records
    )


def test_stale_figures_go(tmp_path: Path, records: Records) -> None:
    write_report(tmp_path, records)
    write_report(tmp_path, records[2:])
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "accuracy-toy.svg",
        "latency-toy.svg",
        "learning-toy.svg",
    ]


def test_report_needs_neither_torch_nor_recbole(tmp_path: Path, records: Records) -> None:
    (tmp_path / "records.json").write_text(json.dumps(records))
    script = (
        "import json, sys; from pathlib import Path; from recbole_hiersrec.report.page import write_report\n"
        "import recbole_hiersrec.benchmark.runner, recbole_hiersrec.publish, recbole_hiersrec.cli\n"
        "folder = Path(sys.argv[1])\n"
        "write_report(folder / 'out', json.loads((folder / 'records.json').read_text()))\n"
        "sys.exit(str([name for name in ('torch', 'recbole', 'faiss') if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "[]"
