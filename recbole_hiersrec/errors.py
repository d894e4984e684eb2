"""Errors a user can act on. Each carries one line: what is wrong, where, what was received, what is allowed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches


class HierSRecError(Exception):
    """Base of all errors of this package; the command line prints its message as one line."""


class InputError(HierSRecError, ValueError):
    """Something the user wrote or pointed at is wrong (exit status 2)."""


class SkippedError(HierSRecError):
    """A model cannot use the data set or its split; the message says why, and a suite goes on without it."""


class CheckpointError(InputError):
    """A checkpoint is missing, damaged, of another program, or not trusted."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest allowed name, ignoring case, or an empty string."""
    wanted = str(name).lower()
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    matches = get_close_matches(wanted, by_lower, n=3, cutoff=0.6)
    if not matches:
        return ""
    # Of equally close names the one that begins alike: 'seed' means 'seeds' rather than 'speed'.
    best = max(matches, key=lambda m: (SequenceMatcher(None, m, wanted).ratio(), m.startswith(wanted[:2])))
    return f"; did you mean '{by_lower[best]}'?"


def harmless(text: str) -> str:
    r"""Text for a terminal: control characters, such as its escapes, line breaks and marks that turn the direction of
    writing, are shown as ``\x1b``; spaces of other widths become plain ones."""
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    return " " if unicodedata.category(letter) == "Zs" else ascii(letter)[1:-1]
