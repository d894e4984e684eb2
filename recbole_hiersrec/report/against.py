"""`hiersrec report NEW --against OLD`: what moved between two folders of a suite, tested case by case.

Two lines are compared where data set, protocol, item universe and test cases are the same: each case with its
metric's mean over the seeds, sessions resampled and flipped whole, Holm over all comparisons of one call. What is the
same in every case is none of them. Like all tests here they are of the models as trained: another seed alone
may move a model significantly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recbole_hiersrec.atomic import writable_folder, write_text
from recbole_hiersrec.benchmark.rankfiles import Ranks, candidate_keys, read_ranks
from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.evaluation.metrics import METRICS
from recbole_hiersrec.evaluation.significance import (
    LEVEL_WITH,
    RESAMPLES,
    Interval,
    bootstrap_means,
    holm,
    interval,
    sign_flip_p_values,
)
from recbole_hiersrec.report.comparison import LEVEL, SEED, Group, sessions_of
from recbole_hiersrec.report.document import Block, Bullets, Heading, Text
from recbole_hiersrec.report.folder import Suite
from recbole_hiersrec.report.frame import Record, table_groups
from recbole_hiersrec.report.html import to_html
from recbole_hiersrec.report.latex import to_latex
from recbole_hiersrec.report.markdown import to_markdown
from recbole_hiersrec.report.table import Table
from recbole_hiersrec.report.tables import Entry, entries
from recbole_hiersrec.retrieval.budget import candidate_label

FELL, ROSE, NOT_SURE, SAME = "fell", "rose", "not significant", "the same"
NEW, GONE = "new", "gone"
NOTE = (
    f"Each test case with its mean over the seeds. 95 %: {RESAMPLES:,} bootstrap resamples of whole sessions; p: "
    "two-sided randomisation test, signs of whole sessions flipped; Holm: corrected over the comparisons of all tables "
    f"here ({{n_tests}}). fell, rose: Holm below {LEVEL:g}. The tests are of the models as trained: another seed alone "
    "may move one."
)
MUST_BE_SAME: Sequence[tuple[str, Callable[[Record], Any]]] = (
    ("test cases", lambda record: record["data"]["cases"]),
    ("item universe", lambda record: record["data"]["universe"]),
    ("files of the data set", lambda record: record["job"]["data_hash"]),
)


@dataclass(frozen=True)
class Change:
    """One line then and now.

    Attributes:
        group: data set and protocol.
        model: its name.
        items: "all", or rule and item fraction of the candidates.
        metric: such as "NDCG@10".
        old: its mean over the cases then.
        new: and now.
        difference: new less old, with its interval.
        p_value: of the test; NaN where every case is the same.
        p_holm: corrected.
        n_cases: test cases.
    """

    group: Group
    model: str
    items: str
    metric: str
    old: float
    new: float
    difference: Interval
    p_value: float
    n_cases: int
    p_holm: float = float("nan")

    @property
    def verdict(self) -> str:
        """What the test says."""
        if np.isnan(self.p_value):
            return SAME
        if self.p_holm >= LEVEL:
            return NOT_SURE
        return FELL if self.difference.mean < 0 else ROSE

    def cells(self) -> list[str]:
        """As tables show it."""
        values = [
            self.model,
            self.items,
            f"{self.old:.4f}",
            f"{self.new:.4f}",
            f"{self.difference.mean:+.4f}",
        ]
        if self.verdict == SAME:
            return [*values, "-", "-", "-", SAME]
        low, high = self.difference.low, self.difference.high
        bounds = "-" if np.isnan(low) else f"{low:+.4f} to {high:+.4f}"
        return [*values, bounds, f"{self.p_value:.4f}", f"{self.p_holm:.4f}", self.verdict]


@dataclass(frozen=True)
class Changes:
    """What :func:`compare_suites` found.

    Attributes:
        title: which folders.
        changes: all lines that were compared.
        remarks: what is new, gone, not compared and why, or otherwise to be known.
    """

    title: str
    changes: Sequence[Change]
    remarks: Sequence[str]

    @property
    def gone(self) -> int:
        """How many of the remarks say that something is gone: a model that fails now fell, too."""
        return sum(remark.startswith(f"{GONE}: ") for remark in self.remarks)

    @property
    def status(self) -> int:
        """Exit status: 1 if something fell or is gone, 2 if nothing was compared."""
        if not self.changes:
            return 2
        return int(self.gone > 0 or any(change.verdict == FELL for change in self.changes))

    def summary(self) -> str:
        """One line."""
        if not self.changes:
            return "Nothing could be compared."
        counts = {
            word: sum(change.verdict == word for change in self.changes)
            for word in (FELL, ROSE, NOT_SURE, SAME)
        }
        counts |= {GONE: self.gone} if self.gone else {}
        return ", ".join(f"{word}: {number}" for word, number in counts.items()) + "."

    def document(self) -> list[Block]:
        """The whole of changes.md."""
        parts: list[Block] = [Heading(1, self.title), Text(f"**{self.summary()}**", lead=True)]
        n_tests = sum(change.verdict != SAME for change in self.changes)
        groups = list(dict.fromkeys(change.group for change in self.changes))
        for group in groups:
            members = [change for change in self.changes if change.group == group]
            metric, n_cases = members[0].metric, members[0].n_cases
            headers = ["model", "items", f"old {metric}", "new", "change", "95 %", "p", "Holm", "verdict"]
            notes = [NOTE.format(n_tests=n_tests)] if group == groups[-1] else []
            heading = f"{': '.join(group)}; {n_cases} test cases"
            parts += [Heading(2, heading), Table(heading, headers, [one.cells() for one in members], notes)]
        return [*parts, Heading(2, "Remarks"), Bullets(self.remarks)] if self.remarks else parts

    def text(self) -> str:
        """The same for a terminal."""
        parts = []
        for block in self.document():
            match block:
                case Heading() | Text():
                    parts.append(block.text.replace("**", ""))
                case Table():
                    parts.append(block.text("plain"))
                case Bullets():
                    parts.append("\n".join(block.lines))
        return "\n\n".join(parts)

    def table(self) -> Table:
        """All lines with all digits, for CSV."""
        headers = (
            "dataset", "protocol", "model", "items", "metric", "old", "new", "difference", "low", "high", "p_value",
            "p_holm", "n_cases", "verdict",
        )  # fmt: skip
        rows = []
        for one in self.changes:
            numbers = (one.old, one.new, one.difference.mean, one.difference.low, one.difference.high)
            cells = ["" if np.isnan(x) else f"{x:.8g}" for x in (*numbers, one.p_value, one.p_holm)]
            rows.append([*one.group, one.model, one.items, one.metric, *cells, str(one.n_cases), one.verdict])
        return Table("", headers, rows)


def compare_suites(new: Suite, old: Suite, metric: str | None = None) -> Changes:
    """Compare every line that both have.

    Args:
        new: the folder that is asked about.
        old: the folder that it is measured by.
        metric: such as "Recall@20"; the headline metric where there is none.

    Raises:
        InputError: nobody measured the metric, or ranks are damaged.
    """
    from threadpoolctl import threadpool_limits

    groups, before = dict(table_groups(new.records)), dict(table_groups(old.records))
    if metric is not None:
        known = sorted(
            {name for suite in (new, old) for record in suite.records for name in _measured(record)}
        )
        if metric not in known:
            raise InputError(
                f"--metric: received '{metric}', allowed: {', '.join(known)}{nearest(metric, known)}"
            )
    changes: list[Change] = []
    remarks = [f"{NEW}: {': '.join(group)}" for group in groups if group not in before]
    remarks += [f"{GONE}: {': '.join(group)}" for group in before if group not in groups]
    for group in (group for group in groups if group in before):
        name = metric or "{}@{}".format(
            *headline(groups[group][0]["job"]["metrics"], groups[group][0]["job"]["ks"])
        )
        if reason := _different(groups[group][0], before[group][0], name):
            remarks.append(f"not compared: {': '.join(group)}: {reason}")
            continue
        pairs, found = _lines(": ".join(group), groups[group], before[group])
        remarks += found
        with threadpool_limits(1):
            for now, then in pairs:
                changes += _changes(group, name, (new.folder, now), (old.folder, then), remarks)
    return Changes(f"{new.folder} against {old.folder}", _corrected(changes), remarks)


def write_changes(changes: Changes, out: Path, formats: Collection[str]) -> list[Path]:
    """Write changes.<format> into ``out``; returns their paths."""
    blocks = changes.document()
    makers: Mapping[str, tuple[str, Callable[[], str]]] = {
        "md": ("md", lambda: to_markdown(blocks)),
        "html": ("html", lambda: to_html(blocks, {}, {})),
        "csv": ("csv", lambda: changes.table().csv()),
        "latex": ("tex", lambda: to_latex(blocks)),
    }
    texts = {f"changes.{makers[name][0]}": makers[name][1]() for name in formats}
    folder = writable_folder(out)
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _measured(record: Record) -> list[str]:
    return [f"{metric}@{k}" for metric in record["job"]["metrics"] for k in record["job"]["ks"]]


def _different(new: Record, old: Record, metric: str) -> str:
    """Why the tables of two records cannot be compared, "" where they can."""
    differing = [what for what, get in MUST_BE_SAME if get(new) != get(old)]
    if differing:
        return f"other {', '.join(differing)}"
    lacking = [which for which, record in (("new", new), ("old", old)) if metric not in _measured(record)]
    return f"{metric} was not measured in the {' and the '.join(lacking)} one" if lacking else ""


def _lines(
    group: str, new: Sequence[Record], old: Sequence[Record]
) -> tuple[list[tuple[Entry, Entry]], list[str]]:
    """(lines that both have; what is new, gone or not ranked)."""
    now, then = ({line.model: line for line in entries(records) if line.ranked} for records in (new, old))
    remarks = [f"{NEW}: {group}: {model}" for model in now if model not in then]
    remarks += [f"{GONE}: {group}: {model}" for model in then if model not in now]
    for which, records, ranked in (("new", new, now), ("old", old, then)):
        names = sorted({record["job"]["name"] for record in records} - ranked.keys())
        remarks += [
            f"not ranked in the {which} one (seeds are missing, or the clock stopped it): {group}: {name}"
            for name in names
        ]
    return [(now[model], then[model]) for model in now if model in then], remarks


def _changes(
    group: Group, metric: str, new: tuple[Path, Entry], old: tuple[Path, Entry], remarks: list[str]
) -> Iterator[Change]:
    """Changes of one line: all items, and each candidate set that both have; others are remarked on."""
    line, before = new[1], old[1]
    where = f"{': '.join(group)}: {line.model}"
    seeds, earlier = ([record["job"]["seed"] for record in one.records] for one in (line, before))
    if seeds != earlier:
        remarks.append(f"other seeds: {where}: {_listed(earlier)}, now {_listed(seeds)}")
    if settings := _settings(line.records[0]["job"], before.records[0]["job"]):
        remarks.append(f"other settings: {where}: {settings}")
    now, then = ([read_ranks(folder, record) for record in one.records] for folder, one in (new, old))
    keys, old_keys = candidate_keys(line.records[0]), candidate_keys(before.records[0])
    for word, found, others in ((NEW, keys, old_keys), (GONE, old_keys, keys)):
        if only := [candidate_label(*key) for key in found if key not in others]:
            remarks.append(f"{word}: {where}: candidates {', '.join(only)}")
    name, _, k = metric.partition("@")
    for items in ("all", *(candidate_label(*key) for key in keys if key in old_keys)):
        values, of_old = (_values(ranks, items, name, int(k)) for ranks in (now, then))
        moved, means = values - of_old, (float(of_old.mean()), float(values.mean()))
        if np.abs(moved).max() <= LEVEL_WITH:
            same = Interval(0.0, 0.0, 0.0)
            yield Change(group, line.model, items, metric, *means, same, float("nan"), len(moved))
            continue
        sessions = sessions_of([*now, *then])
        samples = bootstrap_means(moved[None], sessions, resamples=RESAMPLES, seed=SEED)[:, 0]
        p_value = sign_flip_p_values(moved[None], sessions, resamples=RESAMPLES, seed=SEED)[0]
        difference = interval(float(moved.mean()), samples)
        yield Change(group, line.model, items, metric, *means, difference, float(p_value), len(moved))


def _values(ranks: Sequence[Ranks], items: str, metric: str, k: int) -> np.ndarray:
    """The metric of each case, mean over the seeds."""
    return np.mean([METRICS[metric](one[items], k) for one in ranks], axis=0)


def _corrected(changes: Sequence[Change]) -> list[Change]:
    """With Holm's p values over all that were tested."""
    tested = [change for change in changes if change.verdict != SAME]
    corrected = dict(zip(map(id, tested), holm([change.p_value for change in tested]), strict=True))
    return [
        replace(change, p_holm=corrected[id(change)]) if id(change) in corrected else change
        for change in changes
    ]


def _settings(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Settings and limits that differ, "" where none does."""
    texts = []
    for section in ("settings", "limits"):
        for key in dict.fromkeys([*old[section], *new[section]]):
            then, now = (job[section].get(key, "not set") for job in (old, new))
            if then != now:
                texts.append(f"{key} {then}, now {now}")
    return "; ".join(texts)


def _listed(values: Sequence[int]) -> str:
    return " ".join(map(str, values))
