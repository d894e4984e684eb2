"""What each figure shows, in words and numbers, for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from recbole_hiersrec.evaluation.slices import TARGET
from recbole_hiersrec.report.breakdown import calibrations, slice_cases, slice_mean
from recbole_hiersrec.report.claim import headline_name
from recbole_hiersrec.report.figures import candidate_rows, front, latency_rows, learning_rows, scanned_rows
from recbole_hiersrec.report.tables import Entry, headline_value, number

Rows = Sequence[Mapping[str, Any]]


def says(stem: str, lines: Sequence[Entry]) -> str:
    """The text of figure ``stem``, as :func:`figures.draw_all` names it."""
    return WORDS[stem](lines)


def _accuracy(lines: Sequence[Entry]) -> str:
    found = (f"{line.label} {number(line.values(headline_value), 4)}" for line in lines)
    return f"{_metric(lines)}: {'; '.join(found)}."


def _candidates(lines: Sequence[Entry]) -> str:
    texts = []
    for (model, rule), rows in _by(candidate_rows(lines), "model", "rule").items():
        shares = [
            f"{mean(row['kept'] for row in at):.1f} % at {percent:g} % of the items"
            for (percent,), at in _by(rows, "percent").items()
        ]
        texts.append(f"{model}, {rule}: {', '.join(shares)}")
    return f"{_metric(lines)} kept. {'; '.join(texts)}."


def _scanned(lines: Sequence[Entry]) -> str:
    texts = [
        f"{model}, {rule}: "
        + ", ".join(f"{row['kept']:.1f} % for {row['scanned']:.1f} % of the items scanned" for row in rows)
        for (model, rule), rows in _by(scanned_rows(lines), "model", "rule").items()
    ]
    return f"{_metric(lines)} kept. {'; '.join(texts)}."


def _latency(lines: Sequence[Entry]) -> str:
    rows = latency_rows(lines)
    best = [
        f"{row['model']}, {row['scored']} ({row['ms']:.3f} ms, {row['value']:.4f})" for row in front(rows)
    ]
    return (
        f"Of {len(rows)} ways to answer, none is both faster and better in {_metric(lines)} than these, fastest first: "
        f"{'; '.join(best)}."
    )


def _learning(lines: Sequence[Entry]) -> str:
    texts = []
    for (model,), rows in _by(learning_rows(lines), "model").items():
        best = [max(of_seed, key=lambda row: row["valid"]) for of_seed in _by(rows, "seed").values()]
        valid, seconds = (mean(row[key] for row in best) for key in ("valid", "seconds"))
        texts.append(f"{model} {valid:.4f} after {seconds:.1f} s")
    return f"Best validation value, mean over seeds: {'; '.join(texts)}."


def _popularity(lines: Sequence[Entry]) -> str:
    ranked = [line for line in lines if line.ranked]
    texts = []
    for name, n_cases in slice_cases(ranked, TARGET).items():
        values = {
            line.label: value for line in ranked if (value := slice_mean(line, TARGET, name)) is not None
        }
        best = max(values, key=lambda label: values[label])
        texts.append(f"{name} ({n_cases} cases): {best} is the best with {values[best]:.4f}")
    return f"{_metric(lines)}. {'; '.join(texts)}."


def _reliability(lines: Sequence[Entry]) -> str:
    rows = calibrations(lines).rows
    return (
        "; ".join(f"{row[0]}, {row[1]}: predicted {row[2]} on average, right {row[3]}" for row in rows) + "."
    )


WORDS: Mapping[str, Callable[[Sequence[Entry]], str]] = {
    "accuracy": _accuracy,
    "candidates": _candidates,
    "scanned": _scanned,
    "latency": _latency,
    "learning": _learning,
    "popularity": _popularity,
    "reliability": _reliability,
}


def study_says(stem: str, study: Mapping[str, Any]) -> str:
    """The text of figure ``stem`` of a study, as :func:`study_figures.draw_study` names it."""
    done = [trial for trial in study["trials"] if trial["values"]]
    if stem == "importance":
        return "; ".join(f"{name} {share:.2f}" for name, share in study["importance"].items()) + "."
    if stem == "front":
        best = [trial["values"] for trial in done if trial["number"] in study["front"]]
        return "; ".join(" and ".join(f"{value:.4g}" for value in values) for values in best) + "."
    best_trial = max(done, key=lambda trial: trial["values"][0])
    settings = ", ".join(f"{name} {value}" for name, value in best_trial["params"].items())
    return f"Best: {best_trial['values'][0]:.4f}, trial {best_trial['number']} of {len(study['trials'])} ({settings})."


def _metric(lines: Sequence[Entry]) -> str:
    return headline_name(lines[0].records[0])


def _by(rows: Rows, *keys: str) -> dict[tuple[Any, ...], list[Mapping[str, Any]]]:
    """Rows with the same values of ``keys``, in the order in which these are first there."""
    found: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found
