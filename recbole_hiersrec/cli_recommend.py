"""The commands `hiersrec train | recommend`: parsing and printing only."""

from __future__ import annotations

import csv
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from recbole_hiersrec.cli_errors import Debug, one_line_errors

BATCH = 1024  # sessions at a time


def train(
    model: Annotated[str, typer.Argument(help="HierSRec.")],
    dataset: Annotated[str, typer.Argument(help="A data set.")],
    out: Annotated[Path, typer.Option(help="Folder of the model; an older model there is replaced.")],
    settings: Annotated[Path | None, typer.Option(help="YAML of the model's settings.")] = None,
    tuned: Annotated[str | None, typer.Option(help="Settings that hiersrec tune export wrote.")] = None,
    data_path: Annotated[Path | None, typer.Option(help="Folder that holds the data set's folder.")] = None,
    split: Annotated[str | None, typer.Option(help="leave-one-out or temporal.")] = None,
    history: Annotated[str | None, typer.Option(help="unmasked or masked.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Session items the model sees.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs.")] = None,
    patience: Annotated[int | None, typer.Option(help="Validations without improvement.")] = None,
    steps: Annotated[int | None, typer.Option(help="Most optimiser steps.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Most seconds.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the training.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch.")] = None,
    debug: Debug = False,
) -> None:
    """Train a model to recommend with. The validation part chooses the epoch; the test part stays closed.

    A training that was stopped or killed goes on from its last epoch with the same command.
    """
    own: dict[str, Any] = {
        "settings": settings,
        "tuned": tuned,
        "data_path": data_path,
        "split": split,
        "history": history,
        "max_length": max_length,
        "epochs": epochs,
        "patience": patience,
        "steps": steps,
        "seconds": seconds,
        "seed": seed,
        "threads": threads,
    }
    with one_line_errors(debug, "the same command goes on from the last epoch that was kept"):
        from recbole_hiersrec.benchmark.runner import spinning
        from recbole_hiersrec.serving.requests import job_of

        job = job_of(model, dataset, {key: value for key, value in own.items() if value is not None})
        os.environ |= spinning()  # before torch is loaded, which reads it once
        from recbole_hiersrec import register

        register()
        from recbole_hiersrec.serving.train import train as run

        typer.echo(run(job, out).text(job))
        typer.echo(f"next: hiersrec recommend {out} --session ITEM,ITEM --explain")


def recommend(
    model: Annotated[Path, typer.Argument(help="A folder that hiersrec train wrote.")],
    session: Annotated[
        str | None,
        typer.Option(help="Items of one session, oldest first: a,b; ids with commas as '\"a,b\",c'."),
    ] = None,
    item: Annotated[
        list[str] | None, typer.Option(help="An item of one session; repeated, oldest first.")
    ] = None,
    sessions: Annotated[
        Path | None, typer.Option(help="Many sessions: CSV, TSV, JSON lines, Parquet; one row a click.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="With --sessions: session=COLUMN, item=COLUMN, time=COLUMN; otherwise session_id, item_id, timestamp.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --sessions: .parquet, .csv or .jsonl.")] = None,
    k: Annotated[int, typer.Option(help="Items a session.")] = 10,
    item_fraction: Annotated[
        float | None, typer.Option(help="Share of the items that are scored for a session; 0.04 when absent.")
    ] = None,
    all_items: Annotated[bool, typer.Option("--all-items", help="Score all items.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say why.")] = False,
    allow_category: Annotated[
        list[str] | None,
        typer.Option(help="Only items of this category: its name, or 'a > b'; may be repeated."),
    ] = None,
    deny_category: Annotated[
        list[str] | None, typer.Option(help="No items of this category; may be repeated.")
    ] = None,
    only: Annotated[Path | None, typer.Option(help="Only the items in this file, one id a line.")] = None,
    seen: Annotated[
        bool | None,
        typer.Option(
            "--seen/--not-seen", help="Items of the session too or not; as the model was validated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object (one session).")] = False,
    debug: Debug = False,
) -> None:
    """Recommend items for one session, or for all sessions of a file, and say why."""
    with one_line_errors(debug, "nothing was written"):
        from recbole_hiersrec.errors import InputError

        one = _one_session(session, item)
        if (one is None) == (sessions is None):
            raise InputError("expected one session (--session A,B or --item A --item B), or --sessions FILE")
        if (sessions is None) != (out is None):
            raise InputError("--sessions and --out belong together: received one of them")
        if sessions is None and mapping:
            raise InputError("--map: received without --sessions FILE, whose columns it names")
        if sessions is not None and as_json:
            raise InputError("--json: received with --sessions; write --out FILE.jsonl")
        if all_items and item_fraction is not None:
            raise InputError("--all-items and --item-fraction: received both; give one of them")
        if sessions is not None and out is not None:
            from recbole_hiersrec.serving.session_files import check_out

            check_out(out, sessions, explain)
        from recbole_hiersrec.recommend import ITEM_FRACTION, Recommender

        wishes: dict[str, Any] = {
            "k": k,
            "item_fraction": None if all_items else ITEM_FRACTION if item_fraction is None else item_fraction,
            "explain": explain,
            "allow_categories": allow_category or None,
            "deny_categories": deny_category or None,
            "seen": seen,
            "items": None if only is None else _lines(only),
        }
        recommender = Recommender.load(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what is unknown is told below, of all together
            if one is not None:
                _answer_one(recommender, one, wishes, as_json)
            elif sessions is not None and out is not None:
                _answer_all(recommender, sessions, mapping or (), out, wishes)


def _answer_one(recommender: Any, session: list[str], wishes: dict[str, Any], as_json: bool) -> None:
    from recbole_hiersrec.report.recommendation import cut, text

    answer = recommender.recommend([session], **wishes)[0]
    if answer.unknown:
        named = ", ".join(cut(name, 40) for name in answer.unknown[:3])
        typer.echo(f"hiersrec: warning: skipped unknown items ({len(answer.unknown)}): {named}", err=True)
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), indent=1))
    else:
        typer.echo(text(answer, recommender.n_items))


def _answer_all(recommender: Any, sessions: Path, mapping: Any, out: Path, wishes: dict[str, Any]) -> None:
    from tqdm import tqdm

    from recbole_hiersrec.serving.session_files import read_sessions, recommendation_file

    log = read_sessions(sessions, mapping)
    unknown = popular = scored = 0
    seconds = 0.0
    with recommendation_file(out, wishes["explain"]) as file:
        bar = tqdm(total=len(log), unit="session", disable=not sys.stderr.isatty(), dynamic_ncols=True)
        with bar:
            for part in log.iter_slices(BATCH):
                answers = recommender.recommend(part["item"].to_list(), **wishes)
                file.add(part["session"], answers)
                unknown += sum(len(answer.unknown) for answer in answers)
                popular += sum(answer.by == "popularity" for answer in answers)
                scored += sum(answer.n_scored for answer in answers)
                seconds += sum(answer.seconds for answer in answers)
                bar.update(len(part))
    if unknown:
        typer.echo(f"hiersrec: warning: skipped {unknown:,} clicks on unknown items", err=True)
    if popular:
        typer.echo(
            f"hiersrec: warning: {popular:,} sessions without a known item got the most popular items",
            err=True,
        )
    share = scored / max(1, len(log) - popular) / recommender.n_items
    typer.echo(f"{out}: {len(log):,} sessions, {file.rows:,} items")
    typer.echo(f"scored {100 * share:.1f} % of the items, {1e3 * seconds / len(log):.2f} ms a session")


def _one_session(session: str | None, items: list[str] | None) -> list[str] | None:
    """Items of --session or --item; None where neither was given."""
    from recbole_hiersrec.errors import InputError

    if session is None:
        return items or None
    if items:
        raise InputError("--session and --item: received both; give one of them")
    try:
        rows = list(csv.reader([session], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise InputError(
            f"--session: received {session!r}: {error}; allowed: ids with commas in quotes"
        ) from None
    return [name.strip() for row in rows for name in row if name.strip()]


def _lines(path: Path) -> list[str]:
    from recbole_hiersrec.errors import InputError

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--only: {path} cannot be read: {error}") from None
    return [line for line in lines if line]
