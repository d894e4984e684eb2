"""The command `hiersrec`: parsing and printing only.

Exit status: 0 done, 1 jobs failed or figures differ, 2 wrong input, 130 stopped with Ctrl-C.
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

app = typer.Typer(
    help="HierSRec for RecBole: data sets and benchmarks of session-based recommenders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
results = typer.Typer(help="Keep, check and join what benchmarks produced.", no_args_is_help=True)
app.add_typer(data, name="data")
app.add_typer(tune, name="tune")
app.add_typer(results, name="results")
app.command()(train)
app.command()(recommend)

Runs = Annotated[Path, typer.Option(help="Folder that bench writes to and resumes from.")]


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
        str, typer.Argument(help="A suite's YAML file, or the name of one that ships.")
    ] = "quickstart",
    runs: Runs = Path("runs"),
    workers: Annotated[
        int, typer.Option(min=1, help="Jobs at a time; the suite's threads are divided among them.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and measure a few steps of each model.")
    ] = False,
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

        if dry_run:
            if not plan(load_suite(suite), runs, workers=workers, echo=typer.echo):
                raise typer.Exit(1)
            return
        outcome = run_suite(load_suite(suite), runs, workers=workers, echo=typer.echo)
        failed = [job for job, _ in outcome.failed]
        with outcome.store.open():
            comparisons = write_report(outcome.store.folder, outcome.records, failed, outcome.skipped)
        typer.echo(terminal_lines(outcome.records, comparisons))
        typer.echo(f"\nreport: {outcome.store.folder / 'report.md'}")
        for job, error in outcome.failed:
            typer.echo(f"hiersrec: failed: {job.label()}: {error}", err=True)
        if outcome.failed:
            raise typer.Exit(1)


@results.command("publish")
def publish_results(
    name: Annotated[str, typer.Argument(help="Name of the suite, as in its YAML file.")],
    runs: Runs = Path("runs"),
    results: Annotated[Path, typer.Option(help="Folder of all publications.")] = Path("results"),
    debug: Debug = False,
) -> None:
    """Copy records, ranks, tables and report of a finished suite to RESULTS/NAME, without the models."""
    with one_line_errors(debug):
        from recbole_hiersrec.publish import publish

        typer.echo(f"published: {publish(name, runs, results)}")


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


def main() -> None:
    """Entry point of the command; a wrong option is one line, like every other error."""
    try:
        status = app(standalone_mode=False)
    except TyperException as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        typer.echo(f"hiersrec: error: {' '.join(message.split())}", err=True)
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)
