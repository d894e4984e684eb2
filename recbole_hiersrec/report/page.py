"""The report: records and ranks -> accuracy, timing and comparisons.csv, report.md, figures/*.png, terminal lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from recbole_hiersrec.atomic import writable_folder, write_bytes, write_text
from recbole_hiersrec.benchmark.suite import Job
from recbole_hiersrec.evaluation.slices import KINDS, TARGET
from recbole_hiersrec.report import breakdown, tables, terminal
from recbole_hiersrec.report.claim import case_count, claim
from recbole_hiersrec.report.comparison import Comparison, Group, compare, comparison_frame
from recbole_hiersrec.report.facts import code_note, data_facts, learned_note, machine_note, provenance
from recbole_hiersrec.report.figures import draw_all, model_colours
from recbole_hiersrec.report.frame import Record, accuracy_frame, table_groups, timing_frame, to_csv
from recbole_hiersrec.report.study_figures import STUDY_CAPTIONS
from recbole_hiersrec.report.tuning import tuning_figures, tuning_table

CAPTIONS = {
    "accuracy": "Accuracy, all items ranked.",
    "candidates": "Accuracy kept when only a fraction of the items is scored.",
    "scanned": "The same against all the work: vectors compared to find the candidates, and items scored.",
    "latency": "Accuracy against the latency of one query: all items beside candidates at each item fraction.",
    "learning": "Validation accuracy against training time.",
    "popularity": "Accuracy by the target's popularity in training.",
    "reliability": "How often the likeliest category is right against its predicted probability; areas: test cases.",
}


def write_report(
    folder: Path,
    records: Sequence[Record],
    missing: Sequence[Job] = (),
    skipped: Sequence[tuple[Job, str]] = (),
) -> dict[Group, Comparison]:
    """Write the tables, the page and the figures of ``records`` into ``folder``, each file in one step.

    Args:
        folder: takes accuracy.csv, timing.csv, comparisons.csv, report.md and figures/; has the ranks that are
            compared, as jobs/<key>/ranks.npz.
        records: of all finished jobs.
        missing: jobs without a record; the page names them.
        skipped: jobs whose model cannot use the data, and why.

    Returns:
        the comparisons, by data set and protocol.

    Raises:
        InputError: records of one table differ in item universe or test cases, or ranks are damaged, and
            nothing is written; or the folder cannot be written.
    """
    groups = [(title, tables.entries(members)) for title, members in table_groups(records)]
    titles = _titles([group for group, _ in groups])
    colours = model_colours([record["job"]["name"] for record in records])
    figures = {
        f"{stem}-{_slug(titles[group])}.png": png
        for group, lines in groups
        for stem, png in draw_all(lines, colours, ": ".join(group)).items()
    }
    figures |= {
        f"tuning-{stem}-{_slug(name)}.png": png
        for name, drawn in tuning_figures(records).items()
        for stem, png in drawn.items()
    }
    comparisons = compare(folder, records)
    page = render_page(records, missing, tuple(figures), comparisons, skipped)
    texts = {
        "accuracy.csv": to_csv(accuracy_frame(records)),
        "timing.csv": to_csv(timing_frame(records)),
        "comparisons.csv": to_csv(comparison_frame(comparisons.values())),
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
    return comparisons


def terminal_lines(records: Sequence[Record], comparisons: Mapping[Group, Comparison] | None = None) -> str:
    """Leaderboard and candidates of every (data set, protocol), for a terminal of 80 columns.

    ``comparisons``, of :func:`write_report`, are not shown; what is in the report is named.
    """
    return "\n".join(
        terminal.section(": ".join(group), members, _tested((comparisons or {}).get(group)))
        for group, members in table_groups(records)
    )


def render_page(
    records: Sequence[Record],
    missing: Sequence[Job],
    figures: Sequence[str],
    comparisons: Mapping[Group, Comparison] | None = None,
    skipped: Sequence[tuple[Job, str]] = (),
) -> str:
    """The whole of report.md."""
    groups, comparisons = table_groups(records), comparisons or {}
    others = [*missing, *(job for job, _ in skipped)]
    suites = sorted({record["suite"] for record in records} or {job.suite for job in others})
    parts = [f"# Benchmark {', '.join(suites)}".rstrip()]
    if not records:
        parts.append("No job has finished.")
    titles = _titles([group for group, _ in groups])
    parts += [claim(titles[group], members, _tested(comparisons.get(group))) for group, members in groups]
    if missing:
        names = ", ".join(job.label() for job in missing)
        parts.append(f"**Not in the tables**, because they failed or have not run here: {names}.")
    for group, members in groups:
        parts += _sections(group, titles[group], members, figures, comparisons.get(group))
    if skipped:
        parts += ["## Skipped", "Models that cannot use a data set or its split.", _skipped(skipped)]
    if records:
        parts += provenance(records, suites)
    return "\n\n".join(parts) + "\n"


def _titles(groups: Sequence[Group]) -> dict[Group, str]:
    """What a table is called: its data set, with the protocol where there are several of one data set."""
    datasets = [dataset for dataset, _ in groups]
    return {group: ": ".join(group) if datasets.count(group[0]) > 1 else group[0] for group in groups}


def _tested(comparison: Comparison | None) -> bool:
    """Whether a model was compared with another."""
    return comparison is not None and bool(comparison.difference_rows())


def _sections(
    group: Group, title: str, records: Sequence[Record], figures: Sequence[str], comparison: Comparison | None
) -> list[str]:
    lines = tables.entries(records)
    parts = [f"## {title}", f"Protocol: {group[1]}. Every figure below is of {case_count(records)}."]
    parts += [note for note in (code_note(records), machine_note(records)) if note]
    makers: tuple[tuple[Callable[[Sequence[tables.Entry]], tables.Table], str], ...] = (
        (tables.leaderboard, "accuracy"),
        (tables.all_metrics, "learning"),
        (tables.other_history, ""),
        *((partial(breakdown.slices, kind=kind), "popularity" if kind == TARGET else "") for kind in KINDS),
        (breakdown.lists, ""),
        (tables.candidates, "candidates"),
        (tables.categories, ""),
        (breakdown.calibrations, "reliability"),
        (tables.training, ""),
        (tables.speed, "latency"),
    )
    for make, stem in makers:
        table = make(lines)
        parts += _shown(table)
        if table.rows:
            parts += [learned_note(records)] if make is tables.categories and learned_note(records) else []
        figure = f"{stem}-{_slug(title)}.png"
        if figure in figures:
            parts.append(f"![{CAPTIONS[stem]}](figures/{figure})\n\n*{CAPTIONS[stem]}*")
        if comparison and make is tables.leaderboard:
            parts += _shown(comparison.difference_table())
        if comparison and make is tables.candidates:
            parts += _shown(comparison.kept_table())
    parts += _tuning(records, figures)
    return [*parts, "### Data", data_facts(records)]


def _tuning(records: Sequence[Record], figures: Sequence[str]) -> list[str]:
    """How the settings were chosen; nothing where none of the models was tuned."""
    table = tuning_table(records)
    names = {record["job"]["tuned"]["name"] for record in records if record["job"].get("tuned")}
    shown = [
        f"![{caption}](figures/{figure})\n\n*{name}: {caption}*"
        for name in sorted(names)
        for stem, caption in STUDY_CAPTIONS.items()
        if (figure := f"tuning-{stem}-{_slug(name)}.png") in figures
    ]
    return [*_shown(table), *shown] if table.rows else []


def _skipped(skipped: Sequence[tuple[Job, str]]) -> str:
    """One line a data set and model, whatever the seed."""
    lines = (f"- {job.dataset}, {job.name}: {reason}" for job, reason in skipped)
    return "\n".join(dict.fromkeys(lines))


def _shown(table: tables.Table) -> list[str]:
    return [f"### {table.title}", table.text("github")] if table.rows else []


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)
