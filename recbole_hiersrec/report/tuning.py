"""The report's section on how the settings were chosen: a line a model, and the figures of its study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recbole_hiersrec.benchmark.tuned import read_study
from recbole_hiersrec.report.frame import Record
from recbole_hiersrec.report.study_figures import draw_study
from recbole_hiersrec.report.table import Table

NOTES = (
    "Trials are those that ended: complete ones, and pruned ones, which were worse than others at the same epoch. "
    "Failed ones gave no value and do not count. Cut short: complete, but by the seconds that a trial had.",
    "Differs in: settings of the model here that are not those of the best trial.",
)


def tuning_table(records: Sequence[Record]) -> Table:
    """One line a model; no lines where none of them was tuned."""
    headers = (
        "model",
        "settings",
        "chosen on",
        "trials",
        "complete",
        "pruned",
        "failed",
        "cut short",
        "validation",
        "sampler",
        "differs in",
    )
    facts = {record["job"]["name"]: record["job"].get("tuned") or {} for record in records}
    if not any(facts.values()):
        return Table("Tuning", headers, [])
    return Table("Tuning", headers, [_line(name, tuned) for name, tuned in facts.items()], NOTES)


def _line(name: str, tuned: Mapping[str, Any]) -> list[str]:
    if not tuned:
        return [name, "not tuned", *[""] * 9]
    counts = tuned.get("counts", {})
    trials = str(counts["complete"] + counts["pruned"]) if counts else "unknown"
    value = f"{tuned['objectives'][0]} {tuned['value']:.4f}" if "value" in tuned else ""
    shown = [str(counts.get(state, "")) for state in ("complete", "pruned", "failed")]
    return [
        name,
        tuned["name"],
        tuned.get("dataset", ""),
        trials,
        *shown,
        str(tuned.get("cut_short", "")),
        value,
        ", ".join(tuned.get("samplers", ())),
        ", ".join(tuned.get("differs", ())),
    ]


def tuning_figures(records: Sequence[Record]) -> dict[str, dict[str, bytes]]:
    """Name of the settings -> figures of their study; none of studies that do not lie here any more."""
    names = {record["job"]["tuned"]["name"] for record in records if record["job"].get("tuned")}
    studies = {name: read_study(name) for name in sorted(names)}
    return {name: draw_study(study) for name, study in studies.items() if study}
