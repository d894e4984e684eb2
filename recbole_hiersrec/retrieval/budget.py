"""How many items may be scored, and what a candidate evaluation is called; needs neither torch nor FAISS."""

from __future__ import annotations

import math

from recbole_hiersrec.errors import InputError


def item_budget(item_fraction: float, n_items: int) -> int:
    """Return floor(item_fraction * N): how many items may be scored for a query.

    Args:
        item_fraction: in (0, 1].
        n_items: N, PAD not counted.

    Raises:
        InputError: if the fraction is outside (0, 1], or so small that no item is left.
    """
    if not 0 < item_fraction <= 1:
        raise InputError(f"item_fraction: received {item_fraction}, allowed: a number in (0, 1]")
    # 0.07 * 100 is 7.000000000000001 and 0.29 * 100 is 28.999999999999996: both mean a whole number.
    budget = math.floor(item_fraction * n_items + 1e-9)
    if budget < 1:
        raise InputError(
            f"item_fraction: received {item_fraction}, which is less than one of {n_items} items; "
            f"allowed: at least 1/{n_items}"
        )
    return budget


def most_compared(compared_fraction: float, n_items: int) -> int:
    """Return floor(compared_fraction * N): how many centroids should be compared where there are super-lists."""
    return math.floor(compared_fraction * n_items + 1e-9)


def check_super_lists(super_lists: int | None, compared_fraction: float, n_items: int) -> None:
    """Raise :class:`InputError` where the super-centroids alone would use up the comparisons.

    Args:
        super_lists, compared_fraction: see :class:`~recbole_hiersrec.settings.CandidateSettings`.
        n_items: N, PAD not counted.
    """
    most = most_compared(compared_fraction, n_items)
    if super_lists and super_lists >= most:
        raise InputError(
            f"super_lists: received {super_lists}, where compared_fraction {compared_fraction} of {n_items} items "
            f"allows {most} comparisons; allowed: fewer than those, or 0 for none"
        )


def candidate_label(rule: str, item_fraction: float) -> str:
    """Name of a candidate evaluation in ranks, timings and tables, such as "cells@0.04"."""
    return f"{rule}@{item_fraction:g}"
