"""How the command line says what went wrong: one line and an exit status."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import typer

from recbole_hiersrec.errors import HierSRecError, harmless

DEFECT = 70
"""Exit status of what nobody foresaw (EX_SOFTWARE)."""

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextmanager
def one_line_errors(
    debug: bool, kept: str = "every data set is whole, as it was before or new"
) -> Iterator[None]:
    """Turn what a user can act on into one line and an exit status."""
    try:
        yield
    except HierSRecError as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"hiersrec: error: {harmless(' '.join(str(error).split()))}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        if debug:
            traceback.print_exc()
        typer.echo(f"hiersrec: error: {error.filename or 'output'}: {error.strerror or error}", err=True)
        raise typer.Exit(2) from None
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __package__:
            _defect(error)
        if debug:
            traceback.print_exc()
        typer.echo(
            f"hiersrec: error: {error.name} is not installed; `hiersrec doctor` says how to get what is missing",
            err=True,
        )
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        if debug:
            traceback.print_exc()
        typer.echo(f"\nhiersrec: stopped; {kept}", err=True)
        raise typer.Exit(130) from None
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        _defect(error)


def _defect(error: Exception) -> NoReturn:
    traceback.print_exc()
    typer.echo(
        f"hiersrec: {type(error).__name__}, a defect of hiersrec: please report the lines above", err=True
    )
    # Not 1: that is what a gate says of accuracy that fell.
    raise typer.Exit(DEFECT) from None
