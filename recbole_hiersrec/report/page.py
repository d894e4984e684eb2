"""The report: records and ranks -> tables, figures and pages in a folder, and lines for the terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from recbole_hiersrec.atomic import free_for_files, writable_folder, write_bytes, write_text
from recbole_hiersrec.benchmark.suite import Job, labels
from recbole_hiersrec.benchmark.tuned import read_study
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.evaluation.slices import KINDS, TARGET
from recbole_hiersrec.report import breakdown, tables, terminal
from recbole_hiersrec.report.alternatives import says, study_says
from recbole_hiersrec.report.claim import case_count, claim
from recbole_hiersrec.report.comparison import Comparison, Group, compare, comparison_frame
from recbole_hiersrec.report.document import Block, Bullets, Figure, Heading, Text, titled
from recbole_hiersrec.report.facts import code_note, data_facts, learned_note, machine_note, provenance
from recbole_hiersrec.report.figures import draw_all
from recbole_hiersrec.report.frame import Record, accuracy_frame, table_groups, timing_frame, to_csv
from recbole_hiersrec.report.html import to_html
from recbole_hiersrec.report.latex import to_latex
from recbole_hiersrec.report.looks import Look, model_looks
from recbole_hiersrec.report.markdown import to_markdown
from recbole_hiersrec.report.pictures import labelled
from recbole_hiersrec.report.study_figures import STUDY_CAPTIONS
from recbole_hiersrec.report.table import Table
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
FILES = {
    "md": ("report.md",),
    "html": ("report.html",),
    "csv": ("accuracy.csv", "timing.csv", "comparisons.csv"),
    "latex": ("report.tex",),
}
FORMATS = tuple(FILES)
DEFAULT = ("md", "html", "csv")


def parse_formats(text: str) -> tuple[str, ...]:
    """Formats of a list such as "md,html".

    Raises:
        InputError: one of them is not known, or there is none.
    """
    found = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in found:
        if name not in FORMATS:
            raise InputError(
                f"--format: received '{name}', allowed: {', '.join(FORMATS)}{nearest(name, FORMATS)}"
            )
    return found


def write_report(
    folder: Path,
    records: Sequence[Record],
    missing: Sequence[Job] = (),
    skipped: Sequence[tuple[Job, str]] = (),
    *,
    out: Path | None = None,
    formats: Collection[str] = DEFAULT,
) -> dict[Group, Comparison]:
    """Write the tables, pages and figures of ``records``, each file in one step, when all are made.

    Args:
        folder: has the ranks that are compared, as jobs/<key>/ranks.npz.
        records: of all finished jobs.
        missing: jobs without a record; the page names them.
        skipped: jobs whose model cannot use the data, and why.
        out: takes the files; ``folder`` where there is none.
        formats: of :data:`FORMATS`: csv is accuracy.csv, timing.csv and comparisons.csv; md is report.md and figures/;
            html is report.html; latex is report.tex.

    Returns:
        the comparisons, by data set and protocol.

    Raises:
        InputError: records of one table differ in item universe or test cases, or ranks are damaged, and
            nothing is written; or the folder cannot be written.
    """
    groups = [(title, tables.entries(members)) for title, members in table_groups(records)]
    comparisons = compare(folder, records)
    seen = {"md", "html"} & set(formats)
    looks = model_looks(record["job"]["name"] for record in records) if seen else {}
    drawn = _drawn(records, groups, looks) if seen else {}
    blocks = document(records, missing, drawn, comparisons, skipped)
    titles = {block.file: (block.full_caption, block.says) for block in blocks if isinstance(block, Figure)}
    figures = {name: labelled(picture, *titles[name]) for name, picture in drawn.items()}
    texts: dict[str, str] = {}
    if "csv" in formats:
        texts["accuracy.csv"] = to_csv(accuracy_frame(records))
        texts["timing.csv"] = to_csv(timing_frame(records))
        texts["comparisons.csv"] = to_csv(comparison_frame(comparisons.values()))
    if "latex" in formats:
        texts["report.tex"] = to_latex(blocks)
    if "html" in formats:
        colours = {
            name: looks[line.model].colour for _, lines in groups for line in lines for name in line.names
        }
        texts["report.html"] = to_html(blocks, figures, colours)
    if "md" in formats:
        texts["report.md"] = to_markdown(blocks)
    target = writable_folder(out or folder)
    drawn_to = [target / "figures" / name for name in figures] if "md" in formats else []
    free_for_files([*drawn_to, *(target / name for name in texts)])
    if "md" in formats:
        _write_figures(target / "figures", figures, tidy=out is None)
    for name, text in texts.items():
        write_text(target / name, text)
    return comparisons


def _drawn(
    records: Sequence[Record],
    groups: Sequence[tuple[Group, Sequence[tables.Entry]]],
    looks: Mapping[str, Look],
) -> dict[str, bytes]:
    """File name -> SVG of every figure."""
    titles = _titles([group for group, _ in groups])
    figures = {
        f"{stem}-{_slug(titles[group])}.svg": picture
        for group, lines in groups
        for stem, picture in draw_all(lines, looks, ": ".join(group)).items()
    }
    return figures | {
        f"tuning-{stem}-{_slug(name)}.svg": picture
        for name, drawn in tuning_figures(records).items()
        for stem, picture in drawn.items()
    }


def _write_figures(folder: Path, figures: Mapping[str, bytes], tidy: bool) -> None:
    """Write all of them; ``tidy``: the folder is a report's own, and what an earlier one drew there goes."""
    for name, picture in figures.items():
        write_bytes(writable_folder(folder) / name, picture)
    for stale in [*folder.glob("*.png"), *folder.glob("*.svg")] if tidy else ():
        if stale.name not in figures:
            stale.unlink()


def terminal_lines(records: Sequence[Record], comparisons: Mapping[Group, Comparison] | None = None) -> str:
    """Leaderboard and candidates of every (data set, protocol), for a terminal of 80 columns.

    ``comparisons``, of :func:`write_report`, are not shown; what is in the report is named.
    """
    found = comparisons or {}
    return "\n".join(
        terminal.section(": ".join(group), members, group in found and found[group].has_tests)
        for group, members in table_groups(records)
    )


def render_page(
    records: Sequence[Record],
    missing: Sequence[Job],
    figures: Collection[str],
    comparisons: Mapping[Group, Comparison] | None = None,
    skipped: Sequence[tuple[Job, str]] = (),
) -> str:
    """The whole of report.md."""
    return to_markdown(document(records, missing, figures, comparisons, skipped))


def document(
    records: Sequence[Record],
    missing: Sequence[Job],
    figures: Collection[str],
    comparisons: Mapping[Group, Comparison] | None = None,
    skipped: Sequence[tuple[Job, str]] = (),
) -> list[Block]:
    """The whole report, with those of the ``figures`` (file names) that belong to it."""
    groups, comparisons = table_groups(records), comparisons or {}
    others = [*missing, *(job for job, _ in skipped)]
    suites = sorted({record["suite"] for record in records} or {job.suite for job in others})
    parts: list[Block] = [Heading(1, f"Benchmark {', '.join(suites)}".rstrip())]
    if not records:
        parts.append(Text("No job has finished."))
    titles = _titles([group for group, _ in groups])
    for group, members in groups:
        parts += claim(titles[group], members, comparisons.get(group))
    if missing:
        parts.append(
            Text(
                f"**Not in the tables**, because they failed or have not run here: {labels(missing)}.",
                lead=True,
            )
        )
    over = tables.overview([(titles[group], tables.entries(members)) for group, members in groups])
    parts += [Heading(2, over.title), over] if over.rows else []
    for group, members in groups:
        parts += _sections(group, titles[group], members, figures, comparisons.get(group))
    if skipped:
        lines = (f"{job.dataset}, {job.name}: {reason}" for job, reason in skipped)  # whatever the seed
        parts += [Heading(2, "Skipped"), Text("Models that cannot use a data set or its split.")]
        parts.append(Bullets(list(dict.fromkeys(lines))))
    return parts + provenance(records, suites) if records else parts


def _titles(groups: Sequence[Group]) -> dict[Group, str]:
    """What a table is called: its data set, with the protocol where there are several of one data set."""
    datasets = [dataset for dataset, _ in groups]
    return {group: ": ".join(group) if datasets.count(group[0]) > 1 else group[0] for group in groups}


def _sections(
    group: Group,
    title: str,
    records: Sequence[Record],
    figures: Collection[str],
    comparison: Comparison | None,
) -> list[Block]:
    lines = tables.entries(records)
    parts: list[Block] = [
        Heading(2, title),
        Text(f"Protocol: {group[1]}. Every figure below is of {case_count(records)}."),
    ]
    parts += [Text(note) for note in (code_note(records), machine_note(records)) if note]
    signs = (comparison.signs(), comparison.signs_note()) if comparison else ({}, "")
    makers: tuple[tuple[Callable[[Sequence[tables.Entry]], Table], str], ...] = (
        (partial(tables.leaderboard, signs=signs[0], note=signs[1]), "accuracy"),
        (lambda _: comparison.difference_table() if comparison else Table("", (), ()), ""),
        (tables.all_metrics, "learning"),
        (tables.other_history, ""),
        *((partial(breakdown.slices, kind=kind), "popularity" if kind == TARGET else "") for kind in KINDS),
        (breakdown.lists, ""),
        (tables.candidates, "candidates"),
        (lambda _: comparison.kept_table() if comparison else Table("", (), ()), "scanned"),
        (tables.categories, ""),
        (breakdown.calibrations, "reliability"),
        (tables.training, ""),
        (tables.speed, "latency"),
    )
    for make, stem in makers:
        table = make(lines)
        parts += titled(table)
        if table.rows and make is tables.categories and learned_note(records):
            parts.append(Text(learned_note(records)))
        file = f"{stem}-{_slug(title)}.svg"
        if file in figures:
            parts.append(Figure(file, CAPTIONS[stem], says(stem, lines)))
    parts += _tuning(records, figures)
    return [*parts, Heading(3, "Data"), data_facts(records)]


def _tuning(records: Sequence[Record], figures: Collection[str]) -> list[Block]:
    """How the settings were chosen; nothing where none of the models was tuned."""
    table = tuning_table(records)
    names = {record["job"]["tuned"]["name"] for record in records if record["job"].get("tuned")}
    shown = [
        Figure(file, caption, study_says(stem, read_study(name)), name)
        for name in sorted(names)
        for stem, caption in STUDY_CAPTIONS.items()
        if (file := f"tuning-{stem}-{_slug(name)}.svg") in figures
    ]
    return [*titled(table), *shown] if table.rows else []


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)
