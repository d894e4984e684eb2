"""The command `hiersrec`: parsing and printing only.

Exit status: 0 done, 1 jobs failed, figures differ or fell, 2 wrong input, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from recbole_hiersrec import __version__
from recbole_hiersrec.cli_data import data
from recbole_hiersrec.cli_errors import Debug, one_line_errors
from recbole_hiersrec.cli_recommend import recommend, train
from recbole_hiersrec.cli_tune import tune
from recbole_hiersrec.errors import InputError

app = typer.Typer(
    help="HierSRec for RecBole: data sets and benchmarks of session-based recommenders.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
results = typer.Typer(help="Keep, check and join what benchmarks produced.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(tune, name="tune")
app.add_typer(results, name="results")
leaderboard = typer.Typer(help="All suites on one page.", no_args_is_help=True)
app.add_typer(leaderboard, name="leaderboard")
app.command()(train)
app.command()(recommend)

Runs = Annotated[Path, typer.Option(help="Folder that bench writes to and resumes from.")]


def _suites(incomplete: str) -> list[str]:
    """Suites that ship, for completion; the shell itself completes files."""
    from recbole_hiersrec import resources

    found = sorted(resources.suite("x").parent.glob(f"{incomplete}*.yaml"))
    return [path.stem for path in found if "\nmodels:" in path.read_text(encoding="utf-8")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hiersrec {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def bench(
    suite: Annotated[
        str,
        typer.Argument(help="A suite's YAML file, or the name of one that ships.", autocompletion=_suites),
    ] = "quickstart",
    runs: Runs = Path("runs"),
    workers: Annotated[
        int, typer.Option(min=1, help="Jobs at a time; the suite's threads are divided among them.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and measure a few steps of each model.")
    ] = False,
    elsewhere: Annotated[
        list[Path] | None,
        typer.Option(
            help="A suite's folder, runs/NAME or results/NAME: what is done there is not run. Repeatable."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Run a benchmark suite: models x data sets x seeds. What is done is skipped; tables are written anew.

    Several of these on one folder share the work.
    """
    with one_line_errors(debug, "finished jobs are kept, the same command goes on from here"):
        from recbole_hiersrec.benchmark.plan import plan
        from recbole_hiersrec.benchmark.runner import run_suite
        from recbole_hiersrec.benchmark.suite import load_suite
        from recbole_hiersrec.report.page import terminal_lines, write_report

        others = elsewhere or ()
        if dry_run:
            if not plan(load_suite(suite), runs, workers=workers, elsewhere=others, echo=typer.echo):
                raise typer.Exit(1)
            return
        outcome = run_suite(load_suite(suite), runs, workers=workers, elsewhere=others, echo=typer.echo)
        absent = [job for job, _ in (*outcome.failed, *outcome.elsewhere)]
        folder = outcome.store.folder
        with outcome.store.open():
            comparisons = write_report(folder, outcome.records, absent, outcome.skipped)
        typer.echo(terminal_lines(outcome.records, comparisons))
        typer.echo(f"\nreport: {folder / 'report.md'} and report.html")
        if outcome.elsewhere:
            folders = " ".join(dict.fromkeys(str(other) for _, other in outcome.elsewhere))
            typer.echo(
                f"not in it: {len(outcome.elsewhere)} jobs that are done elsewhere; they are joined by"
            )
            typer.echo(f"  hiersrec results merge {folders} {folder} --out FOLDER")
        for job, error in outcome.failed:
            typer.echo(f"hiersrec: failed: {job.label()}: {error}", err=True)
        if outcome.failed:
            raise typer.Exit(1)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A suite's folder: runs/NAME or results/NAME.")],
    formats: Annotated[
        str | None,
        typer.Option("--format", help="md, html, csv, latex, with commas; md,html,csv when absent."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that takes the files; FOLDER when absent.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="An older folder: say what moved, and write only with --out.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="With --against: tested instead of the headline, such as Recall@20.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Make a suite's report anew from its records and ranks.

    With --against: exit status 1 if a metric fell significantly or a line is gone, 2 if nothing could be compared.
    """
    with one_line_errors(debug, "every file is whole, as it was before or new"):
        from recbole_hiersrec.report.against import compare_suites, write_changes
        from recbole_hiersrec.report.folder import make_report, read_suite
        from recbole_hiersrec.report.page import DEFAULT, FILES, parse_formats

        chosen = parse_formats(formats) if formats is not None else DEFAULT
        if against is None:
            if metric is not None:
                raise InputError("--metric: received without --against; reports have all metrics")
            make_report(folder, out, chosen)
            for name in (name for one in chosen for name in FILES[one]):
                typer.echo(f"report: {(out or folder) / name}")
            return
        if formats is not None and out is None:
            raise InputError(
                "--format: received with --against but without --out; name a folder for the files"
            )
        changes = compare_suites(read_suite(folder), read_suite(against), metric)
        typer.echo(changes.text())
        for path in write_changes(changes, out, chosen) if out else ():
            typer.echo(f"report: {path}")
        if changes.status:
            raise typer.Exit(changes.status)


@app.command()
def doctor(
    data_path: Annotated[Path, typer.Option(help="Folder of the data sets.")] = Path("dataset"),
    runs: Runs = Path("runs"),
    debug: Debug = False,
) -> None:
    """Say what is installed, what is missing or of a wrong version (status 1), and the command that gets it."""
    with one_line_errors(debug, "nothing was changed"):
        try:
            from recbole_hiersrec.doctor import examine
        except ModuleNotFoundError as error:  # it needs little, but not nothing
            package = (error.name or "").partition(".")[0]
            typer.echo(
                f"hiersrec: error: {error.name} is not installed; run: pip install {package}", err=True
            )
            raise typer.Exit(1) from None

        found = examine([data_path, runs])
        typer.echo(found.text())
        if found.faults:
            raise typer.Exit(1)


@results.command("publish")
def publish_results(
    name: Annotated[str, typer.Argument(help="Name of the suite, as in its YAML file.")],
    runs: Runs = Path("runs"),
    results: Annotated[Path, typer.Option(help="Folder of all publications.")] = Path("results"),
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also with jobs that are not done; the report names them.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Copy records, ranks, tables and report of a suite to RESULTS/NAME, without the models."""
    with one_line_errors(debug):
        from recbole_hiersrec.publish import publish

        typer.echo(f"published: {publish(name, runs, results, unfinished=unfinished)}")


@results.command("verify")
def verify_results(
    folder: Annotated[Path, typer.Argument(help="A suite's folder: runs/NAME or results/NAME.")],
    debug: Debug = False,
) -> None:
    """Recompute accuracy.csv and comparisons.csv from the ranks, and name every figure that differs (status 1)."""
    with one_line_errors(debug, "nothing was changed"):
        from recbole_hiersrec.verify import verify

        found = verify(folder)
        for line in found.differences:
            typer.echo(line)
        typer.echo(f"{folder}: {found.summary()}")
        if found.differences:
            raise typer.Exit(1)


@results.command("merge")
def merge_results(
    folders: Annotated[list[Path], typer.Argument(help="Suites' folders: runs/NAME or results/NAME.")],
    out: Annotated[
        Path, typer.Option(help="New folder, or a suite's; that one comes first and keeps its jobs.")
    ],
    debug: Debug = False,
) -> None:
    """Put the finished jobs of several folders into OUT, and write its tables and report anew.

    Of a job in several folders the first copy stays; copies with other ranks or figures are all named, and nothing
    is written (status 2).
    """
    with one_line_errors(debug, f"{out} is whole, as it was before or new"):
        from recbole_hiersrec.merge import merge

        merged = merge(folders, out)
        typer.echo(f"merged: {out}: {merged.summary()}")
        typer.echo(f"report: {out / 'report.md'}")


@leaderboard.command("build")
def build_leaderboard(
    folders: Annotated[list[Path], typer.Argument(help="Suites' folders: results/*, runs/NAME.")],
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("site"),
    debug: Debug = False,
) -> None:
    """Write a static page over all suites: filter, sort, and open a row for its settings, command, records, curve."""
    with one_line_errors(debug, "every file is whole, as it was before or new"):
        from recbole_hiersrec.report.leaderboard import PAGE, build

        for folder in build(folders, out):
            typer.echo(f"left out, no suite's folder: {folder}")
        typer.echo(f"leaderboard: {out / PAGE}")


def main() -> None:
    """Entry point of the command; a wrong option is one line, like every other error."""
    try:
        status = app(standalone_mode=False)
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        typer.echo(f"hiersrec: error: {' '.join(message.split())}", err=True)
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)
