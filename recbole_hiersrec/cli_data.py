"""The commands `hiersrec data list | prepare | describe | generate`: parsing and printing only."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from recbole_hiersrec.cli_errors import Debug, one_line_errors
from recbole_hiersrec.resources import FIGURES

data = typer.Typer(help="Public data sets and your own logs.", no_args_is_help=True)

DataPath = Annotated[Path, typer.Option(help="Folder that holds one folder a data set.")]


def _sources(incomplete: str) -> list[str]:
    """Public data sets, for completion."""
    from recbole_hiersrec.data.sources.registry import SOURCES

    return [name for name in SOURCES if name.startswith(incomplete)]


@data.command("list")
def list_sources(data_path: DataPath = Path("dataset"), debug: Debug = False) -> None:
    """Show the public data sets: domain, size, levels, licence, how to get them, and whether they are prepared."""
    with one_line_errors(debug):
        from recbole_hiersrec.report.listing import listing

        typer.echo(listing(data_path))


@data.command()
def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="A public data set (see list), or a name for your own log.", autocompletion=_sources
        ),
    ],
    raw: Annotated[Path | None, typer.Option(help="Folder with the public data set's files.")] = None,
    events: Annotated[Path | None, typer.Option(help="Your clicks: CSV, TSV, JSON lines, Parquet.")] = None,
    items: Annotated[Path | None, typer.Option(help="Your catalogue, in one of the same formats.")] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="session=COLUMN, item=COLUMN, time=COLUMN; if not given session_id, item_id, timestamp. time=: none.",
        ),
    ] = None,
    levels: Annotated[str, typer.Option(help="Category columns of --items, coarse to fine: a,b,c.")] = "",
    title: Annotated[str | None, typer.Option(help="Title column of --items.")] = None,
    metadata: Annotated[str, typer.Option(help="Further columns of --items: a,b.")] = "",
    item_column: Annotated[
        str | None, typer.Option(help="Item column of --items, if named otherwise than in --events.")
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(help="Of the text files: a character, or tab; found in each header if not given."),
    ] = None,
    time_unit: Annotated[str, typer.Option(help="auto, s, ms, us or ns.")] = "auto",
    rename: Annotated[
        str | None, typer.Option("--as", help="Name of the prepared data set, if not NAME.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="temporal or leave-one-out.")] = None,
    valid: Annotated[str | None, typer.Option(help="Validation: fraction of the sessions, or 7d.")] = None,
    test: Annotated[
        str | None, typer.Option(help="Test: the latest fraction of the sessions, or 7d.")
    ] = None,
    straddling: Annotated[
        str | None, typer.Option(help="Sessions that begin before an earlier part ended: drop or keep.")
    ] = None,
    unseen: Annotated[str | None, typer.Option(help="Test items not in training: drop or keep.")] = None,
    train_fraction: Annotated[
        str | None, typer.Option(help="Most recent share of training, as 1/64.")
    ] = None,
    gap_minutes: Annotated[
        float | None, typer.Option(help="A longer pause begins a new session; 0: none.")
    ] = None,
    collapse_repeats: Annotated[
        bool | None,
        typer.Option("--collapse-repeats/--keep-repeats", help="Clicks on the same item in a row."),
    ] = None,
    item_core: Annotated[int | None, typer.Option(help="Fewest clicks of an item.")] = None,
    min_length: Annotated[int | None, typer.Option(help="Fewest clicks of a session.")] = None,
    last: Annotated[int | None, typer.Option(help="Keep the last so many clicks of a session.")] = None,
    catalogue: Annotated[str | None, typer.Option(help="interacted or all.")] = None,
    learn_taxonomy: Annotated[
        bool | None, typer.Option("--learn-taxonomy", help="Add levels learned from the training part.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the learned taxonomy.")] = None,
    bad_rows: Annotated[
        str | None, typer.Option(help="stop at the first, or skip and write rejected.csv.")
    ] = None,
    data_path: DataPath = Path("dataset"),
    debug: Debug = False,
) -> None:
    """Bring a public data set, or your own log, to RecBole's atomic files and an item taxonomy."""
    given: dict[str, Any] = {
        "split": split,
        "valid": valid,
        "test": test,
        "straddling": straddling,
        "unseen": unseen,
        "train_fraction": train_fraction,
        "gap_minutes": gap_minutes,
        "collapse_repeats": collapse_repeats,
        "item_core": item_core,
        "min_length": min_length,
        "last": last,
        "catalogue": catalogue,
        "learn_taxonomy": learn_taxonomy,
        "seed": seed,
        "bad_rows": bad_rows,
    }
    with one_line_errors(debug):
        from recbole_hiersrec.data.prepare import prepare as run
        from recbole_hiersrec.data.requests import LogOptions, request_for
        from recbole_hiersrec.reading import parse
        from recbole_hiersrec.report.outcome import outcome_text

        files = {"events": events, "items": items, "separator": separator, "time_unit": time_unit}
        columns = {"levels": _names(levels), "title": title, "metadata": _names(metadata)}
        columns |= {"item_column": item_column}
        log = parse(LogOptions, {**files, **columns, "map": tuple(mapping or ())}, "your log")
        changed = {key: value for key, value in given.items() if value is not None}
        typer.echo(outcome_text(run(request_for(name, raw, log, rename, changed), data_path), data_path))


def _names(text: str) -> tuple[str, ...]:
    """The names in "a, b,c"."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@data.command()
def describe(
    name: Annotated[str, typer.Argument(help="A prepared data set, or any folder of atomic files.")],
    data_path: DataPath = Path("dataset"),
    figures: Annotated[
        Path | None, typer.Option(help="Folder of the figures; DATA_PATH/NAME/figures when absent.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show statistics, taxonomy and leakage of a data set, and draw lengths, popularity and category sizes."""
    with one_line_errors(debug):
        from recbole_hiersrec.data.describe import describe as measure
        from recbole_hiersrec.report.data_figures import draw
        from recbole_hiersrec.report.description import text

        found = measure(name, data_path)
        typer.echo(text(found))
        drawn = draw(found, figures or data_path / name / FIGURES)
        typer.echo("\n" + "\n".join(f"figure: {path}" for path in drawn))


@data.command()
def generate(
    folder: Annotated[Path, typer.Argument(help="Takes events.parquet and items.csv.")],
    clicks: Annotated[int, typer.Option(help="How many, exactly.")] = 1_000_000,
    items: Annotated[int, typer.Option(help="Size of the catalogue.")] = 20_000,
    level_sizes: Annotated[
        str, typer.Option(help="Categories on each level, coarse to fine.")
    ] = "20,100,500",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 2026,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting of GeneratorSettings, as repeat=0.1."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Make a log of any size: sessions that walk over a random taxonomy, with planted transitions."""
    with one_line_errors(debug):
        from recbole_hiersrec.data.generator import GeneratorSettings, write_generated
        from recbole_hiersrec.reading import assignments, parse

        given = assignments(settings or (), "--set")
        sizes = assignments([f"level_sizes=[{level_sizes}]"], "--level-sizes")
        own = {"clicks": clicks, "items": items, "seed": seed, **sizes}
        wanted = parse(GeneratorSettings, {**own, **given}, "generator")
        events, catalogue = write_generated(folder, wanted)
        levels = ",".join(f"level_{number}" for number in range(1, len(wanted.level_sizes) + 1))
        typer.echo(
            f"{events}\n{catalogue}\nnext: hiersrec data prepare NAME "
            f"--events {quote(str(events))} --items {quote(str(catalogue))} "
            f"--map session=session --map item=item --map time=time --levels {levels} --title title"
        )
