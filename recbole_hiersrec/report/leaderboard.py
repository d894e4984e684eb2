"""`hiersrec leaderboard build`: all suites on one static page, which is filtered, sorted and opened row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from recbole_hiersrec.atomic import free_for_files, writable_folder, write_bytes, write_text
from recbole_hiersrec.benchmark.needs import ATTRIBUTE, FEATURES
from recbole_hiersrec.benchmark.rankfiles import candidate_keys
from recbole_hiersrec.benchmark.store import JobStore
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.report.facts import bench_command
from recbole_hiersrec.report.folder import Suite, read_suite
from recbole_hiersrec.report.frame import SAME, table_groups
from recbole_hiersrec.report.html import rendered
from recbole_hiersrec.report.looks import model_looks
from recbole_hiersrec.report.table import Table
from recbole_hiersrec.report.tables import Entry, accuracy_value, entries, marks, number

PAGE = "index.html"
TITLE = "Leaderboard"
CHOICES = ("data set", "protocol", "items", "side information", "suite")
WIDTH, HEIGHT = 320.0, 100.0  # of a curve


@dataclass(frozen=True)
class Line:
    """A model of one suite on one data set: one dialog, and a row for all items and each candidate set.

    Attributes:
        suite: name of its folder.
        dataset: its data set.
        protocol: how it was split and ranked.
        entry: its seeds.
    """

    suite: str
    dataset: str
    protocol: str
    entry: Entry

    def rows(self, metrics: Sequence[tuple[str, int]]) -> list[tuple[float | None, list[str]]]:
        """(mean of the first metric, cells) for all items and each candidate set; "-" for what the suite lacks."""
        sets: list[tuple[str, str, float | None, str]] = [("all items", "", None, "")]
        sets += [
            ("candidates", f"{rule}, {100 * share:g} %", share, rule)
            for rule, share in candidate_keys(self.entry.records[0])
        ]
        job, n_seeds = self.entry.records[0]["job"], str(len(self.entry.records))
        rows = []
        for items, shown, fraction, rule in sets:
            gets = [partial(accuracy_value, metric=m, k=k, fraction=fraction, rule=rule) for m, k in metrics]
            values = [number(self.entry.values(get), 4) for get in gets]
            where = (self.dataset, self.protocol, side_information(job), n_seeds, self.suite)
            rows.append((self.entry.mean(gets[0]), [self.entry.label, *values, items, shown, *where]))
        return rows

    def details(self) -> dict[str, Any]:
        """What its dialog shows."""
        first = self.entry.records[0]
        job, training = first["job"], first["training"]
        machine = first["machine"]
        return {
            "title": self.entry.label,
            "where": f"{self.dataset}: {self.protocol}; suite {self.suite}",
            "command": bench_command(first["suite"]),
            "curves": list(self._curves()),
            "valid_metric": training.get("valid_metric", ""),
            "records": [
                (f"seed {record['job']['seed']}", f"records/{self.suite}/{record['key']}.json")
                for record in self.entry.records
            ],
            "facts": {
                "model": job["model"],
                "training": f"{training['way']}, {number(self.entry.values(_seconds), 1)} s, ended by "
                + ", ".join(sorted({record["training"]["stopped_by"] for record in self.entry.records})),
                "machine": f"{machine['processor']}, {machine['cores']} cores, {machine.get('device', 'cpu')}",
                "commit": ", ".join(
                    sorted({record.get("commit") or "unknown" for record in self.entry.records})
                ),
            },
            "settings": job["settings"],
            "limits": job["limits"],
        }

    def _curves(self) -> Iterator[dict[str, Any]]:
        """A seed's validation values over seconds, as points of a polyline."""
        curves = {
            record["job"]["seed"]: [
                (point["seconds"], point["valid"])
                for point in record["training"]["curve"]
                if point.get("valid") is not None
            ]
            for record in self.entry.records
        }
        everything = [point for curve in curves.values() for point in curve]
        longest = max((seconds for seconds, _ in everything), default=0.0) or 1.0
        highest = max((valid for _, valid in everything), default=0.0) or 1.0
        for seed, curve in curves.items():
            if curve:
                points = [(WIDTH * s / longest, HEIGHT * (1 - valid / highest)) for s, valid in curve]
                best = max(curve, key=lambda point: point[1])
                yield {
                    "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
                    "says": f"seed {seed}: best {best[1]:.4f} after {best[0]:.1f} s of {curve[-1][0]:.1f} s",
                }


def side_information(job: Mapping[str, Any]) -> str:
    """Whether a job's model reads more of an item than its id; of importable classes nobody knows."""
    if ":" in job["model"]:
        return "unknown"
    if job["model"] == "HierSRec":
        read = any(
            job["settings"].get(name) for name in ("category_fields", "title_field", "metadata_fields")
        )
        return "used" if read else "not used"
    return "used" if job["model"] in FEATURES | ATTRIBUTE else "not used"


def build(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write ``out``/index.html, and beside it the records that it leads to.

    Args:
        folders: of suites, runs/<suite> or results/<suite>; others are left out.
        out: made where it is missing.

    Returns:
        the folders that were left out, which hold no suite.

    Raises:
        InputError: none of them holds a suite, two are called alike, one is damaged, or ``out`` cannot be written.
    """
    left_out = [folder for folder in folders if folder.is_dir() and not (folder / "jobs.json").exists()]
    suites = [read_suite(folder) for folder in folders if folder not in left_out]
    if not suites:
        raise InputError(f"{', '.join(map(str, folders))}: received no suite's folder (one with jobs.json)")
    names = [_name(suite) for suite in suites]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"suite {twice[0]}: received twice, allowed: folders of different names")
    page = render(suites)
    copies = [
        (
            JobStore(suite.folder).path(record["key"]) / "record.json",
            out / "records" / name / f"{record['key']}.json",
        )
        for suite, name in zip(suites, names, strict=True)
        for record in suite.records
    ]
    free_for_files([writable_folder(out) / PAGE, *(copy for _, copy in copies)])
    for own, copy in copies:
        writable_folder(copy.parent)
        write_bytes(copy, own.read_bytes())
    write_text(out / PAGE, page)
    return left_out


def render(suites: Sequence[Suite]) -> str:
    """The page."""
    lines = [
        Line(_name(suite), dataset, protocol, entry)
        for suite in suites
        for (dataset, protocol), members in table_groups(suite.records)
        for entry in entries(members)
    ]
    metrics = _metrics(lines)
    names = [f"{metric}@{k}" for metric, k in metrics]
    headers = ["model", *names, "items", "rule", "data set", "protocol", "side information", "seeds", "suite"]
    numbered = [
        (value, cells, place) for place, line in enumerate(lines) for value, cells in line.rows(metrics)
    ]

    def order(one: tuple[float | None, list[str], int]) -> tuple[Any, ...]:
        """By data set and protocol, all items before candidates, the best first."""
        value, cells, place = one
        line, candidates = lines[place], "all items" not in cells[1:]
        ranked = (not line.entry.ranked, value is None, -(value or 0.0))
        return (line.dataset, line.protocol, candidates, *ranked, line.entry.label, line.suite)

    numbered.sort(key=order)
    rows = [cells for _, cells, _ in numbered]
    table = Table(TITLE, headers, rows, marks([line.entry for line in lines]))
    looks = model_looks(line.entry.model for line in lines)
    return rendered(
        "leaderboard.html.j2",
        title=TITLE,
        table=table,
        links={number: f"entry-{place}" for number, (_, _, place) in enumerate(numbered)},
        choices=CHOICES,
        metrics=names,
        warnings=_warnings(suites),
        lines=[line.details() | {"colour": looks[line.entry.model].colour} for line in lines],
        colours={name: looks[line.entry.model].colour for line in lines for name in line.entry.names},
        width=WIDTH,
        height=HEIGHT,
    )


def _metrics(lines: Sequence[Line]) -> list[tuple[str, int]]:
    """All that any suite has, the most usual headline first."""
    jobs = [line.entry.records[0]["job"] for line in lines]
    found = dict.fromkeys((metric, k) for job in jobs for metric in job["metrics"] for k in job["ks"])
    return sorted(found, key=lambda one: (one != ("NDCG", 10), one[0], one[1]))


def _warnings(suites: Sequence[Suite]) -> list[str]:
    """Tables of the same name whose values do not compare."""
    seen: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
    texts = []
    for suite in suites:
        for group, members in table_groups(suite.records):
            name, first = seen.setdefault(group, (_name(suite), members[0]))
            differing = [
                what
                for section, field, what in SAME
                if section == "data" or field == "data_hash"
                if members[0][section][field] != first[section][field]
            ]
            if differing:
                texts.append(
                    f"{': '.join(group)}: suites {name} and {_name(suite)} have other {', '.join(differing)}, so "
                    "their values do not compare."
                )
    return texts


def _name(suite: Suite) -> str:
    """The folder's, safe as a part of a path and of an address."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", suite.folder.resolve().name)


def _seconds(record: Mapping[str, Any]) -> float:
    return float(record["training"]["seconds"])
