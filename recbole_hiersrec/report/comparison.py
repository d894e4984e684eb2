"""Ranks of the test cases -> how sure the tables are: every model beside the reference, candidates beside all items.

A case counts once, with its metric's mean over the seeds; intervals and tests take whole sessions (see
:mod:`recbole_hiersrec.evaluation.significance`). They are of the models as trained: how far trainings differ is what
the interval over seeds shows, and no test rests on it. Holm's family is one table: all models but the reference on
one (data set, protocol), in its headline metric. Needs records and ranks.npz, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recbole_hiersrec.benchmark.rankfiles import Ranks, candidate_keys, ranks_path, read_ranks
from recbole_hiersrec.benchmark.suite import headline
from recbole_hiersrec.evaluation.metrics import METRICS
from recbole_hiersrec.evaluation.significance import (
    RESAMPLES,
    Interval,
    bootstrap_means,
    effect_size,
    holm,
    interval,
    ratio_interval,
    seed_interval,
    sign_flip_p_values,
    win_tie_loss,
)
from recbole_hiersrec.report.frame import Record, table_groups
from recbole_hiersrec.report.table import ABOVE, BELOW, Table
from recbole_hiersrec.report.tables import Entry, entries
from recbole_hiersrec.retrieval.budget import candidate_label

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = (
    "dataset", "protocol", "model", "quantity", "reference", "candidate_rule", "item_fraction", "metric", "k",
)  # fmt: skip
EFFECTS = ("n_tests", "relative", "relative_low", "relative_high", "d_z", "win", "tie", "loss")
"""Of differences; tables of versions before them end at n_seeds."""
COLUMNS = (
    *IDENTITY, "mean", "low", "high", "p_value", "p_holm", "n_cases", "n_sessions", "n_seeds", *EFFECTS,
)  # fmt: skip
OVER_SESSIONS, OVER_SEEDS, DIFFERENCE, KEPT = "over sessions", "over seeds", "difference", "kept"
SEED = 0  # of the resamples: the same records give the same bytes
DIGITS = 8  # in the CSV: beyond them resampled sums differ between builds of the linear algebra library
NOTE = (
    f"Means over seeds; 95 % intervals: {RESAMPLES:,} bootstrap resamples of whole sessions, and Student's t over "
    "seeds, which shows how far trainings differ and makes no difference significant. p: two-sided randomisation test "
    f"of the models as trained, signs of whole sessions flipped, at least 1 / {RESAMPLES + 1:,}; Holm: corrected over "
    "the comparisons of this table ({n_tests}). relative: share of the reference's value. d_z: mean of the sessions' "
    "summed differences, in their standard deviations. better / equal / worse: of the test cases, each with its mean "
    "over seeds."
)

LEVEL = 0.05
"""A difference is called significant where its p value after Holm is below this."""

Group = tuple[str, str]
"""(data set, protocol): the borders of a table."""


@dataclass(frozen=True)
class Comparison:
    """What was compared within one (data set, protocol).

    Attributes:
        reference: name of the model that the others are compared with.
        metric: such as "NDCG@10".
        rows: lines of comparisons.csv, see :data:`COLUMNS`; "label" is the model's name in tables.
    """

    reference: str
    metric: str
    rows: Sequence[Mapping[str, Any]]

    def difference_table(self) -> Table:
        """Every model's value, and its difference to the reference."""
        rows = []
        for own in self._of(OVER_SESSIONS):
            seeds = self._of(OVER_SEEDS, own["model"])[0]
            line = [own["label"], f"{own['mean']:.4f}", _bounds(own, ".4f"), _bounds(seeds, ".4f")]
            found = self._of(DIFFERENCE, own["model"])
            rows.append([*line, *(_tested(found[0]) if found else ["-"] * 7)])
        headers = [
            "model",
            self.metric,
            "over sessions",
            "over seeds",
            f"less {self.reference}",
            "95 %",
            "p",
            "Holm",
            "relative",
            "d_z",
            "better / equal / worse",
        ]
        finished = any(row["model"] == self.reference for row in self.rows)
        lacking = f"No differences: the reference {self.reference} has no ranked line here."
        note = NOTE.format(n_tests=len(self.difference_rows()))
        return Table("Comparisons", headers, rows, [note, *([] if finished else [lacking])])

    @property
    def has_tests(self) -> bool:
        """Whether a model was compared with another."""
        return bool(self.difference_rows())

    def difference_rows(self) -> list[Mapping[str, Any]]:
        """Rows of the models that were compared with the reference."""
        return self._of(DIFFERENCE)

    def signs(self) -> dict[str, str]:
        """Model -> ABOVE or BELOW, of those that differ significantly from the reference."""
        return {
            row["model"]: ABOVE if row["mean"] > 0 else BELOW
            for row in self.difference_rows()
            if is_significant(row)
        }

    def signs_note(self) -> str:
        """What the marks of :meth:`signs` mean."""
        return (
            f"{ABOVE}, {BELOW}: {self.metric} significantly above, below that of {self.reference} (randomisation test "
            f"by session, Holm, p < {LEVEL:g})."
        )

    def sentence(self, best: str) -> str:
        """How sure the first place is: the best model beside the reference, or the reference beside the runner-up.

        Args:
            best: name of the model with the highest value; "" where the test says nothing of it.
        """
        rows = [row for row in self.difference_rows() if best in (row["model"], self.reference)]
        if not rows:
            return ""
        row = max(rows, key=lambda row: (row["model"] == best, row["mean"]))
        sure = "significant" if is_significant(row) else "not significant"
        size = f"{row['mean']:+.4f} (95 %: {_bounds(row, '+.4f')})"
        if not isnan(row["relative"]):
            shares = (100 * row[key] for key in ("relative", "relative_low", "relative_high"))
            size = "{:+.1f} % (95 %: {:+.1f} to {:+.1f} %)".format(*shares)
        return f"{row['model']} against {self.reference}: {size}, {sure} (p after Holm {row['p_holm']:.4f})"

    def kept_table(self) -> Table:
        """The share of its accuracy among all items that each model keeps on candidates."""
        rows = [
            [
                row["label"],
                row["candidate_rule"],
                f"{row['item_fraction']:g}",
                *("-" if isnan(row[key]) else f"{100 * row[key]:.1f} %" for key in ("mean", "low", "high")),
            ]
            for row in self._of(KEPT)
        ]
        headers = [
            "model",
            "rule",
            "item fraction",
            f"{self.metric} kept",
            "lower 95 % bound",
            "upper 95 % bound",
        ]
        return Table(f"{self.metric} kept, with intervals", headers, rows)

    def _of(self, quantity: str, model: str = "") -> list[Mapping[str, Any]]:
        return [row for row in self.rows if row["quantity"] == quantity and model in ("", row["model"])]


def compare(folder: Path, records: Sequence[Record]) -> dict[Group, Comparison]:
    """Compare the models of every (data set, protocol) whose ranks lie in ``folder/jobs/<key>/ranks.npz``.

    Models without ranks there, or that are not ranked (fewer seeds, stopped by the clock), are left out; so are
    groups in which nothing is left.

    Raises:
        InputError: a ranks.npz is damaged or does not fit its record.
    """
    from threadpoolctl import threadpool_limits

    found: dict[Group, Comparison] = {}
    # The products are small: more threads than one wait for each other, beside a busy process for minutes.
    with threadpool_limits(1):
        for group, members in table_groups(records):
            lines = [
                (line, [read_ranks(folder, record) for record in line.records])
                for line in entries(members)
                if line.ranked and all(ranks_path(folder, record["key"]).exists() for record in line.records)
            ]
            if lines:
                found[group] = compare_table(group, lines, members[0]["job"].get("reference", ""))
    return found


def is_significant(row: Mapping[str, Any]) -> bool:
    """Whether a difference is, after Holm's correction."""
    return bool(row["p_holm"] < LEVEL)


def comparison_frame(comparisons: Iterable[Comparison]) -> pd.DataFrame:
    """All rows, columns :data:`COLUMNS`."""
    import pandas as pd

    rows = [row for comparison in comparisons for row in comparison.rows]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n_tests": "Int64"}).round(DIGITS)


def compare_table(group: Group, lines: Sequence[tuple[Entry, Sequence[Ranks]]], reference: str) -> Comparison:
    """All intervals and tests of one group, from one set of resampled sessions.

    Args:
        group: its data set and protocol.
        lines: every ranked line of the table, with the ranks of each of its seeds.
        reference: name of the model that the others are compared with.
    """
    job = lines[0][0].records[0]["job"]
    metric, k = headline(job["metrics"], job["ks"])
    sessions = sessions_of([one for _, ranks in lines for one in ranks])
    names: list[tuple[str, str]] = []  # (model, variant) of each series
    series: list[np.ndarray] = []  # per case, mean over seeds
    for line, ranks in lines:
        for variant in ("all", *(candidate_label(*key) for key in candidate_keys(line.records[0]))):
            names.append((line.model, variant))
            series.append(np.mean([METRICS[metric](one[variant], k) for one in ranks], axis=0))
    values = np.stack(series)
    means = bootstrap_means(values, sessions, resamples=RESAMPLES, seed=SEED)
    at = {name: number for number, name in enumerate(names)}
    base = {"dataset": group[0], "protocol": group[1], "metric": metric, "k": k, "n_cases": len(sessions)}
    base |= {"n_sessions": len(np.unique(sessions))}
    rows: list[dict[str, Any]] = []
    for line, ranks in lines:
        own = base | {"model": line.model, "label": line.label, "n_seeds": len(ranks)}
        one = at[line.model, "all"]
        rows.append(
            own | {"quantity": OVER_SESSIONS} | _fields(interval(float(values[one].mean()), means[:, one]))
        )
        per_seed = [float(METRICS[metric](found["all"], k).mean()) for found in ranks]
        rows.append(own | {"quantity": OVER_SEEDS} | _fields(seed_interval(per_seed)))
        for rule, share in candidate_keys(line.records[0]):
            pair = [at[line.model, candidate_label(rule, share)], one]
            found = ratio_interval(values[pair].mean(axis=1), means[:, pair])
            candidates = {"quantity": KEPT, "candidate_rule": rule, "item_fraction": share}
            rows.append(own | candidates | _fields(found))
    rows += _differences(base, lines, values, means, at, sessions, reference)
    return Comparison(reference, f"{metric}@{k}", rows)


def sessions_of(ranks: Sequence[Ranks]) -> np.ndarray:
    """The session of each case, the same for all ``ranks``; versions that did not note it: each case its own."""
    noted = (one["session"] for one in ranks if "session" in one)
    return next(noted, np.arange(len(ranks[0]["all"])))


def _differences(
    base: Mapping[str, Any],
    lines: Sequence[tuple[Entry, Sequence[Ranks]]],
    values: np.ndarray,
    means: np.ndarray,
    at: Mapping[tuple[str, str], int],
    sessions: np.ndarray,
    reference: str,
) -> list[dict[str, Any]]:
    """Rows of every model less the reference; none where the reference has no ranks or is alone."""
    others = [(line, ranks) for line, ranks in lines if line.model != reference]
    if (reference, "all") not in at or not others:
        return []
    ref = at[reference, "all"]
    own = [at[line.model, "all"] for line, _ in others]
    differences = values[own] - values[ref]
    p_values = sign_flip_p_values(differences, sessions, resamples=RESAMPLES, seed=SEED).tolist()
    rows = []
    for number, (line, ranks) in enumerate(others):
        found = interval(float(differences[number].mean()), means[:, own[number]] - means[:, ref])
        row = {"model": line.model, "label": line.label, "n_seeds": len(ranks), "quantity": DIFFERENCE}
        row |= {"reference": reference, "p_value": p_values[number], "n_tests": len(others)}
        pair = [own[number], ref]
        share = ratio_interval(values[pair].mean(axis=1), means[:, pair])
        rows.append({**base, **row, **_fields(found), **_effects(differences[number], sessions, share)})
    for row, corrected in zip(rows, holm(p_values), strict=True):
        row["p_holm"] = corrected
    return rows


def _fields(found: Interval) -> dict[str, float]:
    return {"mean": found.mean, "low": found.low, "high": found.high}


def _effects(differences: np.ndarray, sessions: np.ndarray, share: Interval) -> dict[str, float]:
    """How large a difference is: ``share`` is the model's value over the reference's."""
    win, tie, loss = win_tie_loss(differences)
    relative = {"relative": share.mean - 1, "relative_low": share.low - 1, "relative_high": share.high - 1}
    return relative | {"d_z": effect_size(differences, sessions), "win": win, "tie": tie, "loss": loss}


def _tested(row: Mapping[str, Any]) -> list[str]:
    """Cells of the difference to the reference: size and bounds, test, sizes that compare between metrics."""
    relative, d_z = (
        "-" if isnan(row[key]) else f"{factor * row[key]:{style}}"
        for key, factor, style in (("relative", 100, "+.1f"), ("d_z", 1, "+.2f"))
    )
    shares = " / ".join(f"{100 * row[key]:.1f}" for key in ("win", "tie", "loss"))
    return [
        f"{row['mean']:+.4f}",
        _bounds(row, "+.4f"),
        *(f"{row[key]:.4f}" for key in ("p_value", "p_holm")),
        relative if relative == "-" else f"{relative} %",
        d_z,
        f"{shares} %",
    ]


def _bounds(row: Mapping[str, Any], style: str) -> str:
    """ "low to high", or "-" where the data cannot tell."""
    return "-" if isnan(row["low"]) else f"{row['low']:{style}} to {row['high']:{style}}"
