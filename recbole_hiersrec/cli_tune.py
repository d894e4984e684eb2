"""The commands `hiersrec tune run | show | export`: parsing and printing only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recbole_hiersrec.cli_errors import Debug, one_line_errors

tune = typer.Typer(
    help="Choose a model's settings by its validation part, with Optuna.", no_args_is_help=True
)

Runs = Annotated[Path, typer.Option(help="Folder whose studies/ has the study, if no --storage is given.")]
Storage = Annotated[
    str | None,
    typer.Option(help="SQLAlchemy URL, or journal:PATH; RUNS/studies/STUDY.db when absent."),
]
Name = Annotated[str | None, typer.Argument(help="Name of the study.")]
Suite = Annotated[str | None, typer.Option(help="Every study of this suite instead.")]


@tune.command("run")
def run_study(
    model: Annotated[str | None, typer.Argument(help="A model, as in suites.")] = None,
    dataset: Annotated[str | None, typer.Argument(help="A data set.")] = None,
    suite: Annotated[str | None, typer.Option(help="Tune every model line of this suite instead.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="With --suite: this line; may be repeated.")] = None,
    trials: Annotated[int, typer.Option(help="Trials that the study is to have in all.")] = 60,
    study: Annotated[str | None, typer.Option(help="Its name; MODEL.DATASET when absent.")] = None,
    storage: Storage = None,
    sampler: Annotated[str, typer.Option(help="tpe, random or grid.")] = "tpe",
    pruner: Annotated[
        str | None,
        typer.Option(help="median, halving, hyperband or none; median when absent, none for two objectives."),
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="NDCG@10 and the like, of the validation part.")
    ] = None,
    second_objective: Annotated[
        str | None, typer.Option(help="latency or scanned; smaller is better.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Trials at a time; the threads are divided among them.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Of torch; those of a suite when absent.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so long; the next call goes on.")] = None,
    trial_seconds: Annotated[
        float | None, typer.Option(help="Most that a trial trains; the seconds of a suite when absent.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the trainings and of the sampler.")] = None,
    space: Annotated[
        Path | None, typer.Option(help="Search space; that of properties/space/ if not given.")
    ] = None,
    warm_start: Annotated[
        str | None, typer.Option(help="Another study of the model, whose best settings are tried early.")
    ] = None,
    elsewhere: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of exported studies, such as properties/model: a study that has no trial here yet goes on "
            "from its export. Repeatable."
        ),
    ] = None,
    data_path: Annotated[Path | None, typer.Option(help="Folder that holds the data set's folder.")] = None,
    split: Annotated[str | None, typer.Option(help="leave-one-out or temporal.")] = None,
    history: Annotated[str | None, typer.Option(help="unmasked or masked.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Session items a model sees.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs of a trial.")] = None,
    patience: Annotated[int | None, typer.Option(help="Validations without improvement.")] = None,
    settings: Annotated[Path | None, typer.Option(help="YAML of settings that are not searched.")] = None,
    runs: Runs = Path("runs"),
    debug: Debug = False,
) -> None:
    """Search the settings of a model; the test part stays closed. What is done is kept, and the next call goes on.

    Several of these on one storage share the work.
    """
    own: dict[str, Any] = {
        "data_path": data_path,
        "split": split,
        "history": history,
        "max_length": max_length,
        "epochs": epochs,
        "patience": patience,
        "settings": settings,
    }
    asked = {key: value for key, value in own.items() if value is not None}
    with one_line_errors(debug, "trials are kept, the same command goes on from here"):
        from recbole_hiersrec.errors import InputError
        from recbole_hiersrec.tuning.requests import Wishes, task_of, tasks_of_suite
        from recbole_hiersrec.tuning.search import check_options, search
        from recbole_hiersrec.tuning.storage import place_of
        from recbole_hiersrec.tuning.worker import Options

        options = Options(trials, sampler, pruner, workers, seconds)
        check_options(options)
        wishes = Wishes(objective, second_objective, seed, threads, trial_seconds, space, study)
        if suite is None:
            if only:
                raise InputError("--only: received without --suite; leave it out")
            tasks = [task_of(model, dataset, asked, wishes)]
        else:
            named = {"MODEL": model, "DATASET": dataset} | {
                f"--{key.replace('_', '-')}": key for key in asked
            }
            given = [option for option, value in named.items() if value is not None]
            tasks = tasks_of_suite(suite, given, only or (), wishes, typer.echo)
        warm = (warm_start, place_of(warm_start, storage, runs)) if warm_start else None
        studies = [(task, place_of(task.study, storage, runs)) for task in tasks]
        failures = []
        outcomes = search(studies, options, warm=warm, elsewhere=elsewhere or (), echo=typer.echo)
        for task, outcome in zip(tasks, outcomes, strict=True):
            typer.echo(outcome.text(task.study, trials))
            failures += [f"{task.study}: {outcome.failure}"] if outcome.failure else []
        for failure in failures:
            typer.echo(f"hiersrec: failed: {failure}", err=True)
        if failures:
            raise typer.Exit(1)


@tune.command()
def show(
    study: Name = None,
    suite: Suite = None,
    storage: Storage = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder of the figures; RUNS/studies/STUDY.figures when absent.")
    ] = None,
    runs: Runs = Path("runs"),
    debug: Debug = False,
) -> None:
    """Show a study: best trial, importance of the settings, Pareto front; and draw it. Of a suite, a line a study."""
    with one_line_errors(debug):
        from recbole_hiersrec.atomic import writable_folder, write_bytes
        from recbole_hiersrec.report.study_figures import draw_study
        from recbole_hiersrec.tuning.summary import overview, text
        from recbole_hiersrec.tuning.task import slug

        found = _summaries(study, suite, storage, runs)
        if suite is not None:
            typer.echo(overview(found))
            return
        typer.echo(text(found[0]))
        folder = figures or runs / "studies" / f"{slug(found[0]['study'])}.figures"
        for stem, svg in draw_study(found[0]).items():
            write_bytes(writable_folder(folder) / f"{stem}.svg", svg)
            typer.echo(f"figure: {folder / f'{stem}.svg'}")


@tune.command()
def export(
    study: Name = None,
    suite: Suite = None,
    storage: Storage = None,
    out: Annotated[
        Path | None, typer.Option(help="A YAML file; properties/model/MODEL.DATASET.yaml when absent.")
    ] = None,
    trial: Annotated[int | None, typer.Option(help="Number of the trial; the best one when absent.")] = None,
    runs: Runs = Path("runs"),
    debug: Debug = False,
) -> None:
    """Write the best settings as YAML, which suites name as `tuned: MODEL.DATASET`, and the study beside it."""
    with one_line_errors(debug):
        from recbole_hiersrec import resources
        from recbole_hiersrec.errors import InputError
        from recbole_hiersrec.tuning.summary import export as write
        from recbole_hiersrec.tuning.task import slug

        for option, value in (("--out", out), ("--trial", trial)):
            if suite is not None and value is not None:
                raise InputError(f"{option}: received with --suite; name one STUDY")
        for found in _finished(_summaries(study, suite, storage, runs), suite):
            name = slug(f"{found['line']}.{found['dataset']}")
            for path in write(found, out or resources.tuned_settings(name), trial):
                typer.echo(f"written: {path}")
            if out is None:
                typer.echo(f"next: in a suite, beside model: {found['model']}, say tuned: {name}")


def _finished(found: list[dict[str, Any]], suite: str | None) -> list[dict[str, Any]]:
    """Of a suite, those that have something to export; the others are named."""
    if suite is None or all(study["best"] is None for study in found):
        return found
    for study in found:
        if study["best"] is None:
            typer.echo(f"{study['study']}: no trial has finished; nothing to export yet")
    return [study for study in found if study["best"] is not None]


def _summaries(study: str | None, suite: str | None, storage: str | None, runs: Path) -> list[dict[str, Any]]:
    """Of the study, or of each of the suite's that is there; the others are named."""
    from recbole_hiersrec.errors import InputError
    from recbole_hiersrec.tuning.requests import Wishes, tasks_of_suite
    from recbole_hiersrec.tuning.storage import place_of
    from recbole_hiersrec.tuning.study import is_there, load_study
    from recbole_hiersrec.tuning.summary import summary

    if (study is None) == (suite is None):
        raise InputError("expected STUDY or --suite, one of them")
    names = [study] if study is not None else []
    if suite is not None:
        asked = [task.study for task in tasks_of_suite(suite, (), (), Wishes(), lambda _: None)]
        names = [name for name in asked if is_there(name, place_of(name, storage, runs))]
        for name in asked:
            if name not in names:
                typer.echo(f"{name}: no study yet")
        if not names:
            raise InputError(
                f"--suite: received '{suite}', none of whose models was tuned; run hiersrec tune run first"
            )
    return [summary(load_study(name, place_of(name, storage, runs))) for name in names]
