"""`hiersrec data describe` in the terminal, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from textwrap import fill

import numpy as np

from recbole_hiersrec.data.describe import Description, gini, top_share
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.report.outcome import leakage_line

WIDTH = 100
TREE = {1: (20,), 2: (6, 3)}
"""Levels shown of the tree -> the largest branches shown on each."""

_LABEL = 60  # characters of a category's name in the tree
_LEVEL = 24  # of a level's name


def text(description: Description) -> str:
    """Tables of sizes, facts and levels, then the top of the taxonomy."""
    sections = [
        fill(f"{description.name}: {_split(description)}", WIDTH),
        _sizes(description),
        _facts(description),
        leakage_line(asdict(description.leakage)),
    ]
    if description.levels:
        sections += [_levels(description), "\n".join(tree_lines(description.taxonomy))]
    else:
        sections.append("no category levels (hiersrec data prepare --learn-taxonomy makes some)")
    return "\n\n".join([*sections, *(fill(f"note: {note}", WIDTH) for note in description.notes)])


def tree_lines(taxonomy: Taxonomy | None) -> list[str]:
    """The largest branches of the first levels with their numbers of items, and how many more there are."""
    if taxonomy is None:
        return []
    depth = min(taxonomy.n_levels, max(TREE))
    counts = [
        np.bincount(taxonomy.item_category[1:, level], minlength=size)
        for level, size in enumerate(taxonomy.sizes)
    ]
    title = f"taxonomy, {depth} of {taxonomy.n_levels} levels, largest branches first (items)"
    return [title, *_branches(taxonomy, counts, np.arange(taxonomy.sizes[0]), TREE[depth], 0)]


def _branches(
    taxonomy: Taxonomy,
    counts: Sequence[np.ndarray],
    categories: np.ndarray,
    widths: tuple[int, ...],
    level: int,
) -> list[str]:
    """Lines of ``categories``, siblings on ``level``, and of what lies below those that are shown."""
    order = categories[np.argsort(-counts[level][categories], kind="stable")]
    shown, hidden = order[: widths[level]], order[widths[level] :]
    indent = "  " * (level + 1)
    lines = []
    for category in shown:
        name = _short(taxonomy.labels[level][category][-1], _LABEL)
        lines.append(f"{indent}{name} ({counts[level][category]:,})")
        if level + 1 < len(widths):
            below = np.flatnonzero(taxonomy.parents[level + 1] == category)
            lines += _branches(taxonomy, counts, below, widths, level + 1)
    if len(hidden):
        lines.append(f"{indent}... {len(hidden):,} more ({counts[level][hidden].sum():,})")
    return lines


def _split(description: Description) -> str:
    if description.split == "temporal":
        return "temporal split, whole sessions"
    return "leave-one-out, the last interaction of a session is tested and the one before validated"


def _sizes(description: Description) -> str:
    rows = [["part", "sessions", "items", "interactions"]]
    rows += [
        [part.name, f"{part.sessions:,}", f"{part.items:,}", f"{part.interactions:,}"]
        for part in description.parts
    ]
    whole = (description.n_sessions, description.n_items, description.n_interactions)
    return _table([*rows, ["all", *(f"{number:,}" for number in whole)]], "lrrr")


def _facts(description: Description) -> str:
    lengths, clicks, unseen = description.lengths, description.clicks, description.unseen
    late = np.percentile(lengths, 95, method="inverted_cdf")  # a length that occurs
    first, tenth = (_percent(top_share(clicks, percent)) for percent in (1, 10))
    following = description.n_following
    facts = {
        "clicks a session": f"mean {lengths.mean():,.2f}, median {np.median(lengths):,.10g}, 95 % ≤ {late:,}, "
        f"longest {lengths.max():,}",
        "popularity": f"top 1 % of items: {first} of clicks, top 10 %: {tenth}; Gini {gini(clicks):.2f}",
        "immediate repeats": _of(description.repeats, following, "clicks after the first"),
        "returns to earlier items": _of(description.returns, following, "clicks after the first"),
        "ties in time": _ties(description),
        "test cases": ", ".join(f"{kind} {number:,}" for kind, number in description.cases.items()),
        "test items unseen in training": _of(unseen.items, unseen.of_items, "items"),
        "test clicks on them": _of(unseen.interactions, unseen.of_interactions, "clicks"),
    }
    return _table(list(facts.items()), "ll")


def _ties(description: Description) -> str:
    if description.ties is None:
        stamps = {"session": "one time stamp a session", "order": "no time stamps"}
        return f"not counted ({stamps[description.time]})"
    return _of(description.ties, description.n_following, "clicks after the first")


def _levels(description: Description) -> str:
    rows = [["level", "categories", "largest", "median", "items without", "from"]]
    for level in description.levels:
        numbers = (len(level.sizes), level.sizes.max(), np.median(level.sizes), level.without)
        origin = "learned (training part)" if level.learned else "source"
        rows.append([_short(level.name, _LEVEL), *(f"{number:,.10g}" for number in numbers), origin])
    return _table(rows, "lrrrrl")


def _table(rows: Sequence[Sequence[str]], align: str) -> str:
    from tabulate import tabulate

    names = {"l": "left", "r": "right"}
    # The header is a row like the others, as in report/terminal.py.
    return tabulate(
        rows, tablefmt="plain", disable_numparse=True, colalign=[names[letter] for letter in align]
    )


def _of(number: int, total: int, what: str) -> str:
    share = _percent(number / total) if total else "-"
    return f"{number:,} of {total:,} {what} ({share})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 3] + "..."
