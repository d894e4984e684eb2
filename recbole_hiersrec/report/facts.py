"""What the figures of a report rest on: data, protocol, definitions, machine, versions, code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from recbole_hiersrec import resources
from recbole_hiersrec.data.sessions import Leakage
from recbole_hiersrec.data.taxonomy import LEARNED
from recbole_hiersrec.report.document import Block, Bullets, Code, Heading, Text, facts
from recbole_hiersrec.report.frame import Record

DEFINITIONS = (
    "rank: 1 + greater + (equal - 1) / 2, from how many ranked items score above the target, and how "
    "many, itself among them, score the same: ties share their mean rank.",
    "scored and scanned fraction: scored = items scored / items; scanned = (vectors compared to find them "
    "+ items scored) / items. The exact search finds the best of all items; of an item it looks at in "
    "part, that part counts.",
    "rules: cells: lists of the finest categories, cut by k-means; k-means: lists by the item vectors "
    "alone; mixed: half from co-visitation, half from lists; hnsw: a graph of the item vectors; "
    "leaf-categories: whole finest categories by predicted probability; last-category: that of the last item; "
    "co-visitation: what came soon after the last items; popularity: what occurs most often. Items that "
    "are scored apart come first under every rule.",
)

BEYOND = (
    "slices, means over seeds: items before the target count all of the session, also those that a model "
    "is not shown. Popularity of the target in training: head, the most popular items, with 20 % of the "
    "interactions; tail, the least popular ones, with 20 %; middle, the others; cold, without any; items "
    "of one popularity stay together. In the history: among the items that a model is shown. Categories: "
    "the 10 with most test cases, of the first level that has several.",
    "recommended lists: the k best items of each test case, by the protocol's rule for items of the "
    "history; of equal scores the lowest item id. Coverage: share of all items that are in a list. Gini: "
    "of how often each item is in one, 0 if all are equally often, near 1 if few items fill all lists. "
    "Novelty: mean of -log2 of the share of the training interactions that a listed item has, in bits; an "
    "item without any counts as if it had one.",
    "expected calibration error: cases in 15 bins of equal width by the probability of the likeliest "
    "category; the mean of |share that is right - mean probability| over the bins, weighted by their "
    "cases.",
)

LEARNED_FROM = "learned from the training part's co-occurrence"
AFTER = "training interactions after the earliest test interaction"


def data_facts(records: Sequence[Record]) -> Bullets:
    """The data set of the records of one table."""
    record = max(records, key=lambda record: len(record["data"]["levels"]))
    data = record["data"]
    learned = learned_levels(records)
    levels = "; ".join(
        f"{level['name']}: {level['categories']} categories"
        + (f" ({LEARNED_FROM})" if level["name"] in learned else "")
        for level in data["levels"]
    )
    values = {  # not the training rows: they depend on how a model is trained
        "items": data["n_items"],
        "sessions": data["n_sessions"],
        **({"test sessions": data["n_test_sessions"]} if "n_test_sessions" in data else {}),
        "history of a test case, items": f"{data['shortest_history']} to {data['longest_history']}",
        "training targets": data["n_train_targets"],
        "validation cases": data["n_valid"],
        "test cases": data["n_test"],
        AFTER: leakage_text(records),
        "category levels": levels or "none",
        "SHA-256 of the files": record["job"]["data_hash"],
        "SHA-256 of the item universe": data["universe"],
        "SHA-256 of the test cases": data["cases"],
    }
    return facts(values)


def leakage_text(records: Sequence[Record]) -> str:
    """How many training interactions are later than the earliest test interaction, of the records of one table.

    Records of versions that did not count them say nothing of it.
    """
    counted = (record["data"].get("leakage") for record in records)
    texts = _several(Leakage(**found).text() for found in counted if found)
    return texts or "not recorded"


def learned_levels(records: Sequence[Record]) -> list[str]:
    """Names of the category levels that no catalogue gave: preparation learned them from the training part."""
    names = (level["name"] for record in records for level in record["data"]["levels"])
    return list(dict.fromkeys(name for name in names if name.startswith(LEARNED)))


def learned_note(records: Sequence[Record]) -> str:
    """A sentence that names the learned levels, "" where there are none."""
    learned = learned_levels(records)
    if not learned:
        return ""
    return f"Category level{'s' if len(learned) > 1 else ''} {', '.join(learned)}: {LEARNED_FROM}."


def code_note(records: Sequence[Record]) -> str:
    """Which models of one table ran with which code, "" where all ran with the same."""
    texts = _who(records, lambda record: (record.get("code") or "unknown")[:8])
    return f"**Not all of these jobs ran with the same code** (SHA-256): {texts}." if texts else ""


def machine_note(records: Sequence[Record]) -> str:
    """Which models of one table ran on which machine, with how many threads and jobs at a time; "" where all alike."""
    texts = _who(records, _machine)
    return f"**Not all of these jobs ran alike, so their times do not compare**: {texts}." if texts else ""


def _machine(record: Record) -> str:
    machine, threads = record["machine"], record["job"]["threads"]
    texts = [f"{machine['processor']} with {machine['cores']} cores", machine.get("device", "cpu")]
    texts.append(f"{threads} thread{'s' if threads > 1 else ''}")
    beside = machine.get("jobs_at_a_time", 1)
    return ", ".join([*texts, *([f"{beside} jobs at a time"] if beside > 1 else [])])


def _who(records: Sequence[Record], what: Callable[[Record], str]) -> str:
    """Which models, with their seeds, have each value of ``what``; "" where all have the same."""
    jobs: dict[str, dict[str, list[int]]] = {}
    for record in sorted(records, key=lambda record: (record["job"]["name"], record["job"]["seed"])):
        jobs.setdefault(what(record), {}).setdefault(record["job"]["name"], []).append(record["job"]["seed"])
    if len(jobs) == 1:
        return ""
    return "; ".join(
        f"{value}: "
        + ", ".join(f"{name} (seed {' '.join(map(str, seeds))})" for name, seeds in models.items())
        for value, models in sorted(jobs.items())
    )


def provenance(records: Sequence[Record], suites: Sequence[str]) -> list[Block]:
    """Protocol, machine, versions, and the commands that make the report again."""
    ordered = sorted(records, key=lambda record: record["key"])
    parts: list[Block] = [Heading(2, "Protocol and limits"), facts(_protocol(ordered))]
    parts += [Heading(3, "Definitions"), _definitions(ordered)]
    for title, section in (("Machine", "machine"), ("Versions", "versions")):
        different = _distinct(record[section] for record in ordered)
        parts += [Heading(2, title), *(facts(found) for found in different)]
    commits = _several(record.get("commit") or "unknown" for record in ordered)
    codes = _several(record.get("code") or "unknown" for record in ordered)
    parts += [
        Heading(2, "Make it again"),
        Text(f"Commit: {commits}. SHA-256 of the code: {codes}."),
        Code([bench_command(suite) for suite in suites]),
    ]
    warnings = sorted(
        {f"{record['job']['name']}: {text}" for record in ordered for text in record.get("warnings", ())}
    )
    return [*parts, Heading(2, "Warnings"), Bullets(warnings)] if warnings else parts


def bench_command(suite: str) -> str:
    """What runs a suite; of one that does not ship, the user has the file."""
    if resources.suite(suite).is_file():
        return f"hiersrec bench {suite}"
    return f"hiersrec bench FILE    # FILE: the YAML file of suite {suite}"


def _definitions(records: Sequence[Record]) -> Bullets:
    """Of what the records hold: those of older versions have no slices, lists and calibration."""
    beyond = any("slices" in record["data"] for record in records)
    return Bullets([*DEFINITIONS, *BEYOND] if beyond else DEFINITIONS)


def _protocol(records: Sequence[Record]) -> dict[str, Any]:
    losses = sorted({text for record in records for text in _loss(record["job"])})
    jobs = [record["job"] for record in records]
    return {
        **{key: _several(job["protocol"].get(key, "-") for job in jobs) for key in _keys(jobs, "protocol")},
        **{
            f"limit: {key}": _several(job["limits"].get(key, "-") for job in jobs)
            for key in _keys(jobs, "limits")
        },
        "threads": _several(record["job"]["threads"] for record in records),
        "device": _several(record["machine"].get("device", "unknown") for record in records),
        **({"loss": "; ".join(losses)} if losses else {}),
    }


def _keys(jobs: Sequence[Mapping[str, Any]], section: str) -> list[str]:
    """Keys that any job has in ``section``, in the order of the first that has them."""
    return list(dict.fromkeys(key for job in jobs for key in job[section]))


def _loss(job: dict[str, Any]) -> list[str]:
    settings = job["settings"]
    if not {"loss", "n_negatives"} <= settings.keys():  # it only shares the settings of its suite
        return []
    text = f"{job['name']}: {settings['loss']} softmax"
    if settings["loss"] == "sampled":
        text += f" ({settings['n_negatives']} shared negatives a batch, drawn by count^{settings['negative_power']:g})"
    return [text]


def _several(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def _distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())
