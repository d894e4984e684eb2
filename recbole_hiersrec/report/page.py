"""The report: records -> accuracy.csv, timing.csv, report.md, figures/*.png, and lines for the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.store import writable_folder, write_bytes, write_text
from recbole_hiersrec.benchmark.suite import Job, headline
from recbole_hiersrec.report import tables
from recbole_hiersrec.report.figures import draw_all, model_colours
from recbole_hiersrec.report.frame import Record, accuracy_frame, table_groups, timing_frame, to_csv

CAPTIONS = {
    "accuracy": "Accuracy, all items ranked.",
    "candidates": "Accuracy kept when only a fraction of the items is scored.",
    "latency": "Accuracy against the latency of one query: all items beside candidates at each item fraction.",
    "learning": "Validation accuracy against training time.",
}
NOT_TESTED = "No significance test was made"


def write_report(folder: Path, records: Sequence[Record], missing: Sequence[Job] = ()) -> None:
    """Write the tables, the page and the figures of ``records`` into ``folder``, each file in one step.

    Args:
        folder: takes accuracy.csv, timing.csv, report.md and figures/.
        records: of all finished jobs.
        missing: jobs without a record; the page names them.

    Raises:
        InputError: records of one table differ in item universe or test cases, and nothing is written; or
            the folder cannot be written.
    """
    groups = [(title, tables.entries(members)) for title, members in table_groups(records)]
    colours = model_colours([record["job"]["name"] for record in records])
    figures = {
        f"{stem}-{_slug(dataset)}.png": png
        for (dataset, protocol), lines in groups
        for stem, png in draw_all(lines, colours, f"{dataset}: {protocol}").items()
    }
    page = render_page(records, missing, tuple(figures))
    texts = {
        "accuracy.csv": to_csv(accuracy_frame(records)),
        "timing.csv": to_csv(timing_frame(records)),
        "report.md": page,
    }
    plots = writable_folder(folder / "figures")
    for name, png in figures.items():
        write_bytes(plots / name, png)
    for name, text in texts.items():
        write_text(folder / name, text)
    for stale in plots.glob("*.png"):
        if stale.name not in figures:
            stale.unlink()


def terminal_lines(records: Sequence[Record]) -> str:
    """Leaderboard and candidates of every (data set, protocol), for the terminal."""
    parts = []
    for (dataset, protocol), members in table_groups(records):
        lines = tables.entries(members)
        parts.append(f"\n{dataset}: {protocol}; {_cases(members)}")
        for table in (tables.leaderboard(lines), tables.candidates(lines)):
            if table.rows:
                parts.append(f"\n{table.text('simple')}")
        parts.append(f"\n{_caution(members)}")
    return "\n".join(parts)


def render_page(records: Sequence[Record], missing: Sequence[Job], figures: Sequence[str]) -> str:
    """The whole of report.md."""
    groups = table_groups(records)
    suite = records[0]["suite"] if records else missing[0].suite if missing else ""
    parts = [f"# Benchmark {suite}"]
    if not records:
        parts.append("No job has finished.")
    parts += [_claim(dataset, members) for (dataset, _), members in groups]
    if missing:
        names = ", ".join(job.label() for job in missing)
        parts.append(f"**Not in the tables**, because they failed or have not run: {names}.")
    for (dataset, protocol), members in groups:
        parts += _sections(dataset, protocol, members, figures)
    if records:
        parts += _provenance(records, suite)
    return "\n\n".join(parts) + "\n"


def _claim(dataset: str, records: Sequence[Record]) -> str:
    """What the tables show, in two or three sentences, and what they do not."""
    job = records[0]["job"]
    metric, k = headline(job["metrics"], job["ks"])
    ranked = [line for line in tables.entries(records) if not line.stopped]
    if not ranked:
        return f"**{dataset}**: the clock stopped every job, so nothing is ranked."
    best = ranked[0]
    text = f"**{dataset}**: {best.label} has the highest {metric}@{k} here, {_headline(best)}"
    if len(ranked) > 1:
        tie = ranked[1].mean(tables.headline_value) == best.mean(tables.headline_value)
        text += f", {'level with' if tie else 'before'} {ranked[1].label} with {_headline(ranked[1])}"
    for line in ranked:
        shares: dict[str, list[str]] = {}
        for rule, f in tables.candidate_keys(line.records[0]):
            share = tables.percent(line.values(partial(tables.kept, rule=rule, fraction=f)))
            shares.setdefault(rule, []).append(f"{share} at {100 * f:g} %")
        if shares:
            text += f". Scoring a fraction of the items, {line.label} keeps of its {metric}@{k}: "
            text += "; ".join(f"{', '.join(found)} (rule {rule})" for rule, found in shares.items())
    return f"{text}. {_caution(records)}"


def _caution(records: Sequence[Record]) -> str:
    seeds = sorted({record["job"]["seed"] for record in records})
    cases = _cases(records)
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}) and {cases}: small differences may be chance. {NOT_TESTED}."
    finished = sorted({len(line.records) for line in tables.entries(records) if not line.stopped})
    counts = " or ".join(str(count) for count in finished) or "no"
    return f"Means ± standard deviations over {counts} finished seeds a model, {cases}. {NOT_TESTED}."


def _cases(records: Sequence[Record]) -> str:
    return f"{records[0]['data']['n_test']} test cases"


def _headline(line: tables.Entry) -> str:
    return tables.number(line.values(tables.headline_value), 4)


def _sections(dataset: str, protocol: str, records: Sequence[Record], figures: Sequence[str]) -> list[str]:
    lines = tables.entries(records)
    parts = [f"## {dataset}", f"Protocol: {protocol}. Every figure below is of {_cases(records)}."]
    makers = (
        (tables.leaderboard, "accuracy"),
        (tables.all_metrics, "learning"),
        (tables.candidates, "candidates"),
        (tables.categories, ""),
        (tables.training, ""),
        (tables.speed, "latency"),
    )
    for make, stem in makers:
        table = make(lines)
        if table.rows:
            parts += [f"### {table.title}", table.text("github")]
        figure = f"{stem}-{_slug(dataset)}.png"
        if figure in figures:
            parts.append(f"![{CAPTIONS[stem]}](figures/{figure})\n\n*{CAPTIONS[stem]}*")
    return [*parts, "### Data", _data_facts(max(records, key=lambda record: len(record["data"]["levels"])))]


def _data_facts(record: Record) -> str:
    data = record["data"]
    levels = "; ".join(f"{level['name']}: {level['categories']} categories" for level in data["levels"])
    facts = {  # not the training rows: they depend on how a model is trained
        "items": data["n_items"],
        "sessions": data["n_sessions"],
        "history of a test case, items": _span(data),
        "training targets": data["n_train_targets"],
        "validation cases": data["n_valid"],
        "test cases": data["n_test"],
        "category levels": levels or "none",
        "SHA-256 of the files": record["job"]["data_hash"],
        "SHA-256 of the item universe": data["universe"],
        "SHA-256 of the test cases": data["cases"],
    }
    return _bullets(facts)


def _span(data: dict[str, Any]) -> str:
    return f"{data['shortest_history']} to {data['longest_history']}"


def _provenance(records: Sequence[Record], suite: str) -> list[str]:
    ordered = sorted(records, key=lambda record: record["key"])
    job = ordered[0]["job"]
    commits = sorted({str(record.get("commit") or "unknown") for record in ordered})
    parts = [
        "## Protocol and limits",
        _bullets({**job["protocol"], **{f"limit: {k}": v for k, v in job["limits"].items()}}),
    ]
    for title, section in (("Machine", "machine"), ("Versions", "versions")):
        different = _distinct(record[section] for record in ordered)
        parts += [f"## {title}", *(_bullets(found) for found in different)]
    codes = sorted({str(record.get("code") or "unknown") for record in ordered})
    shipped = resources.suite(suite).is_file()
    command = (
        f"hiersrec bench {suite}"
        if shipped
        else f"hiersrec bench FILE    # FILE: the YAML file of suite {suite}"
    )
    parts += [
        "## Make it again",
        f"Commit: {', '.join(commits)}. SHA-256 of the code: {', '.join(codes)}.",
        f"```\n{command}\n```",
    ]
    warnings = sorted(
        {f"{record['job']['name']}: {text}" for record in ordered for text in record.get("warnings", ())}
    )
    if warnings:
        parts += ["## Warnings", "\n".join(f"- {text}" for text in warnings)]
    return parts


def _distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


def _bullets(facts: dict[str, Any]) -> str:
    return "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items())


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)
