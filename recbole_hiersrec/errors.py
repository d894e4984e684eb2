"""Errors a user can act on. Each carries one line: what is wrong, where, what was received, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class HierSRecError(Exception):
    """Base of all errors of this package; the command line prints its message as one line."""


class InputError(HierSRecError, ValueError):
    """Something the user wrote or pointed at is wrong (exit status 2)."""


class CheckpointError(InputError):
    """A checkpoint is missing, damaged, of another program, or not trusted."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest allowed name, ignoring case, or an empty string."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    match = get_close_matches(str(name).lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[match[0]]}'?" if match else ""
