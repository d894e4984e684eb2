"""Leaderboard and candidates in 80 columns: model names without the way of training, ± for one metric alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from textwrap import fill

from recbole_hiersrec.benchmark.rankfiles import candidate_keys
from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.report import tables
from recbole_hiersrec.report.claim import case_count, caution, headline_name
from recbole_hiersrec.report.facts import AFTER, leakage_text, learned_note
from recbole_hiersrec.report.frame import Record
from recbole_hiersrec.report.table import is_text
from recbole_hiersrec.retrieval.budget import candidate_label

WIDTH = 80


def section(title: str, records: Sequence[Record], tested: bool = False) -> str:
    """The tables of one (data set, protocol), then the remarks on them; ``tested``: report.md has comparisons."""
    lines = tables.entries(records)
    found = [_leaderboard(lines)]
    leakage = f"{AFTER[0].upper()}{AFTER[1:]}: {leakage_text(records)}."
    learned = learned_note(records)
    facts = [leakage, *([learned] if learned else [])]
    remarks = [*tables.marks(lines), *_ways(lines), *facts, caution(records, tested, " in report.md")]
    if any(candidate_keys(line.records[0]) for line in lines):
        found.append(_candidates(lines))
        name = headline_name(records[0])
        remarks.insert(0, f"kept: of the {name} over all items; speed: latency of all items / candidates.")
    heading = fill(f"{title}; {case_count(records)}", WIDTH)
    return "\n" + "\n\n".join([heading, *found, "\n".join(fill(remark, WIDTH) for remark in remarks)])


def _leaderboard(lines: Sequence[tables.Entry]) -> str:
    job = lines[0].records[0]["job"]
    first, k = headline(job["metrics"], job["ks"])
    others = [metric for metric in job["metrics"] if metric != first]
    several = len({record["job"]["seed"] for line in lines for record in line.records}) > 1
    rows = [["#", "model", *(f"{metric}@{k}" for metric in (first, *others)), "train s"]]
    for line in lines:
        row = [tables.rank(line, lines), line.short, tables.number(line.values(tables.headline_value), 4)]
        row += [_mean(line, partial(tables.accuracy_value, metric=metric, k=k), 4) for metric in others]
        rows.append([*row, _mean(line, lambda record: record["training"]["seconds"], 1)])
    if several:
        rows = [[*row, seeds] for row, seeds in zip(rows, ["seeds", *map(_seeds, lines)], strict=True)]
    return _text(rows)


def _candidates(lines: Sequence[tables.Entry]) -> str:
    name = headline_name(lines[0].records[0])
    metric, k = headline(lines[0].records[0]["job"]["metrics"], lines[0].records[0]["job"]["ks"])
    rows = [["model", "rule", "items", name, "kept", "scanned", "speed"]]
    for line in lines:
        if candidate_keys(line.records[0]):
            value = tables.number(line.values(tables.headline_value), 4)
            speed = tables.gain(line, "all items", "latency median")
            rows.append([line.short, "all items", "100 %", value, "100.0 %", "100.0 %", speed])
        for rule, f in candidate_keys(line.records[0]):
            at = partial(tables.accuracy_value, fraction=f, rule=rule)
            kept, scanned = (
                line.mean(get)
                for get in (
                    partial(tables.kept, rule=rule, fraction=f),
                    partial(at, metric="ScannedFraction", k=None),
                )
            )
            shares = [tables.percent([] if share is None else [share]) for share in (kept, scanned)]
            value = tables.number(line.values(partial(at, metric=metric, k=k)), 4)
            speed = tables.gain(line, candidate_label(rule, f), "latency median")
            rows.append([line.short, rule, f"{100 * f:g} %", value, *shares, speed])
    return _text(rows)


def _text(rows: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate

    # The headers are a row like the others: tabulate pads real ones, and 80 columns have no room for that.
    align = ["left" if is_text(header) else "right" for header in rows[0]]
    return tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=align)


def _mean(line: tables.Entry, get: Callable[[Record], float | None], digits: int) -> str:
    value = line.mean(get)
    return tables.number([] if value is None else [value], digits)


def _seeds(line: tables.Entry) -> str:
    return f"seed {line.records[0]['job']['seed']}" if line.stopped else str(len(line.records))


def _ways(lines: Sequence[tables.Entry]) -> list[str]:
    """Which models learned in which way, if not all in the same."""
    ways: dict[str, list[str]] = {}
    for line in lines:
        models = ways.setdefault(line.records[0]["training"]["way"], [])
        models += [line.model] if line.model not in models else []
    texts = [
        f"{way if way == 'counted' else f'trained on {way}'}: {', '.join(models)}"
        for way, models in ways.items()
    ]
    return [f"{'; '.join(texts)}."] if len(texts) > 1 else []
