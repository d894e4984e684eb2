"""Records of one (data set, protocol) -> tables of text. Rounding happens here and nowhere earlier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean, stdev
from typing import Any

from recbole_hiersrec.benchmark.needs import READ_PADDING
from recbole_hiersrec.benchmark.rankfiles import candidate_keys
from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.report.frame import Record
from recbole_hiersrec.report.table import FEWER, MARK, Table
from recbole_hiersrec.retrieval.budget import candidate_label, item_budget

FEWER_NOTE = f"{FEWER} fewer finished seeds than the suite has: not ranked."
FOOTNOTE = f"{MARK} stopped by the clock (the safety limit in seconds) before training had ended: not ranked."


@dataclass(frozen=True)
class Entry:
    """One line of a table: a model's finished seeds together, or one job that the clock stopped."""

    model: str
    label: str
    records: tuple[Record, ...]
    stopped: bool
    complete: bool = True

    @property
    def ranked(self) -> bool:
        """Whether the line takes part in ranks and claims: all its seeds came to an end of their own."""
        return self.complete and not self.stopped

    @property
    def short(self) -> str:
        """The model's name without the way of training, and the mark of a line that is not ranked."""
        return (
            f"{self.model} {MARK}"
            if self.stopped
            else self.model
            if self.complete
            else f"{self.model} {FEWER}"
        )

    @property
    def plain(self) -> str:
        """The label without the way of training, as figures have room for."""
        return self.model + self.label.removeprefix(label(self.records[0]))

    @property
    def names(self) -> set[str]:
        """All that tables call it."""
        return {self.model, self.label, self.short}

    def values(self, get: Callable[[Record], float | None]) -> list[float]:
        """``get`` of every record that has such a value."""
        return [value for record in self.records if (value := get(record)) is not None]

    def mean(self, get: Callable[[Record], float | None]) -> float | None:
        """Mean over the seeds, None where no record has a value."""
        values = self.values(get)
        return mean(values) if values else None


def label(record: Record) -> str:
    """The model's name in tables; it says how the model was trained, and whether it reads the padding."""
    marks = [record["training"]["way"]]
    marks += ["reads padding"] if record["job"]["model"] in READ_PADDING else []
    return f"{record['job']['name']} ({', '.join(marks)})"


def entries(records: Sequence[Record]) -> list[Entry]:
    """Lines of the tables: ranked ones by falling headline metric, then those that the clock stopped."""
    by_label: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: (label(record), record["job"]["seed"])):
        if record["status"] == "ok":
            by_label.setdefault(label(record), []).append(record)
    seeds = {record["job"]["seed"] for record in records}
    several = len(seeds) > 1
    wanted: dict[str, set[int]] = {}  # seeds of each suite, of which several may be merged
    for record in records:
        wanted.setdefault(record["suite"], set()).add(record["job"]["seed"])
    finished = []
    for name, found in by_label.items():
        complete = all(
            {one["job"]["seed"] for one in found if one["suite"] == suite} >= wanted[suite]
            for suite in {one["suite"] for one in found}
        )
        shown = name if complete else f"{name} {FEWER}"
        finished.append(Entry(found[0]["job"]["name"], shown, tuple(found), False, complete))
    stopped = [
        Entry(
            r["job"]["name"],
            f"{label(r)} {MARK}" + (f" seed {r['job']['seed']}" if several else ""),
            (r,),
            True,
        )
        for r in records
        if r["status"] != "ok"
    ]
    return [
        *sorted(finished, key=lambda e: (not e.complete, -(e.mean(headline_value) or 0.0), e.label)),
        *sorted(stopped, key=lambda entry: entry.label),
    ]


def accuracy_value(
    record: Record,
    metric: str,
    k: int | None,
    fraction: float | None = None,
    rule: str = "",
    part: str = "all",
) -> float | None:
    """One mean over the test cases of slice ``part``: all items, or the candidates of ``rule`` at ``fraction``."""
    for row in record["accuracy"]:
        found = (row["metric"], row["k"], row["item_fraction"], row["candidate_rule"], row["slice"])
        if found == (metric, k, fraction, rule, part):
            return float(row["value"])
    return None


def headline_value(record: Record) -> float | None:
    """The metric that tables are sorted by, among all items."""
    return accuracy_value(record, *headline(record["job"]["metrics"], record["job"]["ks"]))


def timing_value(record: Record, variant: str, stage: str, quantity: str) -> float | None:
    """One measured quantity."""
    for row in record["timing"]:
        if (row["variant"], row["stage"], row["quantity"]) == (variant, stage, quantity):
            return float(row["value"])
    return None


def kept(record: Record, rule: str, fraction: float) -> float | None:
    """Share of the all-item headline value that the candidates keep."""
    metric, k = headline(record["job"]["metrics"], record["job"]["ks"])
    value, of = accuracy_value(record, metric, k, fraction, rule), headline_value(record)
    return value / of if value is not None and of else None


def leaderboard(lines: Sequence[Entry], signs: Mapping[str, str] | None = None, note: str = "") -> Table:
    """Rank, headline metric and its companions, training.

    Args:
        lines: of one (data set, protocol).
        signs: model -> mark of its headline value, see :attr:`Table.marked`.
        note: what these marks mean.
    """
    job = lines[0].records[0]["job"]
    first, k = headline(job["metrics"], job["ks"])
    metrics = [first, *(metric for metric in job["metrics"] if metric != first)]
    rows, marked = [], {}
    for place, line in enumerate(lines):
        numbers = [number(line.values(partial(accuracy_value, metric=metric, k=k)), 4) for metric in metrics]
        seconds = number(line.values(lambda r: r["training"]["seconds"]), 1)
        rows.append([rank(line, lines), line.label, *numbers, seconds, str(len(line.records))])
        if line.ranked and line.model in (signs or {}):
            marked[place, 2] = (signs or {})[line.model]
    names = [f"{metric}@{k}" for metric in metrics]
    headers = ["#", "model", *names, "training s", "seeds"]
    return Table("Leaderboard", headers, rows, marks(lines), higher=names, marked=marked, mark_note=note)


def overview(groups: Sequence[tuple[str, Sequence[Entry]]]) -> Table:
    """The headline metric of every model on every data set; no rows of fewer than two.

    Args:
        groups: (what the table is called, its lines).
    """
    headers, values = ["model"], []
    for title, lines in groups:
        job = lines[0].records[0]["job"]
        headers.append("{}, {}@{}".format(title, *headline(job["metrics"], job["ks"])))
        values.append(
            {
                line.model: number(line.values(headline_value), 4) if line.ranked else "not ranked"
                for line in lines
            }
        )
    models = dict.fromkeys(line.model for _, lines in groups for line in lines)
    rows = [[model, *(found.get(model, "not run") for found in values)] for model in models]
    return Table("All data sets", headers, rows if len(groups) > 1 else [], higher=headers[1:])


def all_metrics(lines: Sequence[Entry]) -> Table:
    """Every metric at every k, among all items."""
    job = lines[0].records[0]["job"]
    columns = [(metric, k) for metric in job["metrics"] for k in job["ks"]]
    rows = [
        [line.label, *(number(line.values(partial(accuracy_value, metric=m, k=k)), 4) for m, k in columns)]
        for line in lines
    ]
    return _metrics("All metrics, all items ranked", columns, rows, lines)


def other_history(lines: Sequence[Entry]) -> Table:
    """The same with the other rule for items that the session holds already; no row for records without it."""
    job = lines[0].records[0]["job"]
    other = "masked" if job["protocol"]["history"] == "unmasked" else "unmasked"
    columns = [(metric, k) for metric in job["metrics"] for k in job["ks"]]
    part = f"history {other}"
    rows = []
    for line in lines:
        found = [line.values(partial(accuracy_value, metric=m, k=k, part=part)) for m, k in columns]
        if all(found):
            rows.append([line.label, *(number(values, 4) for values in found)])
    title = f"The same models, history {other}"
    return _metrics(title, columns, rows, lines)


def candidates(lines: Sequence[Entry]) -> Table:
    """What is left of the accuracy when only some items are scored, how many are, and how fast; all items first."""
    shown = [line for line in lines if candidate_keys(line.records[0])]
    metric, k = headline(*(lines[0].records[0]["job"][key] for key in ("metrics", "ks")))
    rows = []
    for line in shown:
        n_items = line.records[0]["data"]["n_items"]
        values = number(line.values(headline_value), 4)
        every = ["100.0 %", f"{n_items} of {n_items}", "100.0 %", "100.0 %"]
        rows.append([line.label, "all items", "1", values, *every, *_latency(line, "all items")])
        for rule, f in candidate_keys(line.records[0]):
            at = partial(accuracy_value, fraction=f, rule=rule)
            shares = line.values(partial(kept, rule=rule, fraction=f))
            scored = line.values(partial(at, metric="ScoredFraction", k=None))
            scanned = line.values(partial(at, metric="ScannedFraction", k=None))
            found = number(line.values(partial(at, metric=metric, k=k)), 4)
            most = f"{item_budget(f, n_items)} of {n_items}"
            shown_as = [found, percent(shares), most, percent(scored), percent(scanned)]
            rows.append([line.label, rule, f"{f:g}", *shown_as, *_latency(line, candidate_label(rule, f))])
        exact = line.values(partial(accuracy_value, metric="ScannedFraction", k=None))
        if exact:
            cells = [values, "100.0 %", "", "", percent(exact), *_latency(line, "exact")]
            rows.append([line.label, "exact search", "", *cells])
    headers = [
        "model",
        "rule",
        "item fraction",
        f"{metric}@{k}",
        "kept",
        "items scored, at most",
        "scored",
        "scanned",
    ]
    return _table("Candidates", [*headers, "latency ms", "speed"], rows, shown)


def categories(lines: Sequence[Entry]) -> Table:
    """How often the likeliest category is the next item's; beside it the share of the most frequent one."""
    rows = []
    shown = [line for line in lines if _levels(line.records[0])]
    for line in shown:
        for level in _levels(line.records[0]):
            accuracy = line.values(partial(_level_value, level=level, metric="CategoryAccuracy"))
            share = line.values(partial(_level_value, level=level, metric="MajorityCategory"))
            rows.append([line.label, level, percent(accuracy), percent(share)])
    return _table(
        "Category accuracy", ["model", "level", "right", "always the most frequent one"], rows, shown
    )


def training(lines: Sequence[Entry]) -> Table:
    """What training took and why it ended."""
    rows = []
    for line in lines:
        found = [record["training"] for record in line.records]
        numbers = [
            number([one[key] for one in found if one.get(key) is not None], digits)
            for key, digits in (
                ("parameters", 0),
                ("seconds", 1),
                ("epochs", 0),
                ("best_epoch", 0),
                ("steps", 0),
            )
        ]
        valid = number([one["best_valid"] for one in found if one.get("best_valid") is not None], 4)
        memory = number(
            [r["peak_memory_mib"] for r in line.records if r.get("peak_memory_mib") is not None], 0
        )
        stopped_by = ", ".join(sorted({one["stopped_by"] for one in found}))
        rows.append([line.label, found[0]["way"], *numbers, stopped_by, valid, memory])
    valid_metric = str(lines[0].records[0]["training"].get("valid_metric", "metric"))
    headers = [
        "model",
        "training data",
        "parameters",
        "seconds",
        "epochs",
        "best epoch",
        "steps",
        "stopped by",
    ]
    return _table("Training", [*headers, f"best validation {valid_metric}", "peak MiB"], rows, lines)


def speed(lines: Sequence[Entry]) -> Table:
    """Latency of one query, stage by stage, and throughput; all items beside candidates."""
    rows = []
    shown = [line for line in lines if line.records[0]["timing"]]
    for line in shown:
        for variant in dict.fromkeys(
            r["variant"] for r in line.records[0]["timing"] if r["stage"] == "total"
        ):
            rows.append(
                [
                    line.label,
                    variant,
                    *_stages(line, variant),
                    *(gain(line, variant, quantity) for quantity in ("latency median", "throughput")),
                ]
            )
            rule = variant.partition("@")[0]
            built = partial(timing_value, variant=rule, stage="index", quantity="build")
            rows[-1].append(number(line.values(built), 2))
    job = lines[0].records[0]["job"]
    headers = ["model", "items", "encoder ms", "retrieval ms", "top-k ms", "total ms", "total p95 ms"]
    ratios = ["latency gain", "throughput gain"]
    threads = sorted({str(record["job"]["threads"]) for line in lines for record in line.records})
    title = (
        f"Speed: one query; throughput at batch {job['speed']['batch_size']}; threads: {', '.join(threads)}"
    )
    return _table(title, [*headers, "queries/s", *ratios, "index s"], rows, shown)


def number(values: Sequence[float], digits: int) -> str:
    """Mean, and with several seeds ± standard deviation (n - 1); "-" where there is nothing."""
    if not values:
        return "-"
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def percent(values: Sequence[float]) -> str:
    """:func:`number` of shares, as a percentage."""
    return f"{number([100 * value for value in values], 1)} %" if values else "-"


def _table(
    title: str, headers: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[Entry]
) -> Table:
    return Table(title, headers, rows, marks(lines))


def _metrics(
    title: str, columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[str]], lines: Sequence[Entry]
) -> Table:
    names = [f"{metric}@{k}" for metric, k in columns]
    return Table(title, ["model", *names], rows, marks(lines), higher=names)


def marks(lines: Sequence[Entry]) -> list[str]:
    """What the marks of lines that are not ranked mean."""
    notes = [FOOTNOTE] if any(line.stopped for line in lines) else []
    return notes + ([FEWER_NOTE] if any(not line.complete for line in lines) else [])


def rank(line: Entry, lines: Sequence[Entry]) -> str:
    """1 + the ranked lines with a higher headline value; "" for a line that is not ranked."""
    if not line.ranked:
        return ""
    own = line.mean(headline_value) or 0.0
    return str(1 + sum((other.mean(headline_value) or 0.0) > own for other in lines if other.ranked))


def _levels(record: Record) -> list[str]:
    return list(
        dict.fromkeys(row["slice"] for row in record["accuracy"] if row["metric"] == "CategoryAccuracy")
    )


def _level_value(record: Record, level: str, metric: str) -> float | None:
    rows: list[Any] = [row for row in record["accuracy"] if (row["slice"], row["metric"]) == (level, metric)]
    return float(rows[0]["value"]) if rows else None


def _stages(line: Entry, variant: str) -> list[str]:
    wanted = [(stage, "latency median") for stage in ("encoder", "retrieval", "top-k", "total")]
    latency = [
        number(line.values(partial(timing_value, variant=variant, stage=stage, quantity=quantity)), 3)
        for stage, quantity in (*wanted, ("total", "latency p95"))
    ]
    return [
        *latency,
        number(line.values(partial(timing_value, variant=variant, stage="total", quantity="throughput")), 0),
    ]


def _latency(line: Entry, variant: str) -> list[str]:
    """Median of one query in ms, and how many times as fast as all items that is."""
    found = line.values(partial(timing_value, variant=variant, stage="total", quantity="latency median"))
    return [number(found, 3), gain(line, variant, "latency median")]


def gain(line: Entry, variant: str, quantity: str) -> str:
    """How many times as fast as with all items, "-" where it was not measured.

    Args:
        line: of the model.
        variant: such as "cells@0.04".
        quantity: "latency median" or "throughput".
    """
    total = partial(timing_value, stage="total", quantity=quantity)
    own, base = (line.mean(partial(total, variant=items)) for items in (variant, "all items"))
    power = 1 if quantity == "throughput" else -1
    return f"{(own / base) ** power:.2f}x" if own and base else "-"
