"""A recommendation for one session, in 80 columns. What comes from files is shown harmlessly."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from recbole_hiersrec.errors import harmless
from recbole_hiersrec.serving.answers import Recommendation, RecommendedItem
from recbole_hiersrec.serving.filters import STEP

WIDTH = 80
LONGEST_ID, CATEGORY = 32, 22
_MOST = 5  # parts or session items told of an item: the largest of either sign


def text(answer: Recommendation, n_items: int) -> str:
    """Lines for a terminal.

    Args:
        answer: for one session.
        n_items: N, of the model.
    """
    lines = []
    if answer.note:
        lines += [wrapped(harmless(answer.note)), ""]
    if answer.predicted_path:
        path = STEP.join(f"{cut(name, 24)} {100 * chance:.0f} %" for name, chance in answer.predicted_path)
        lines += [wrapped(f"next category: {path}"), ""]
    titled = any(item.title is not None for item in answer.items)
    categorised = any(item.category for item in answer.items)
    ids = min(LONGEST_ID, max((width(harmless(item.item)) for item in answer.items), default=0))
    rest = WIDTH - len(_start(0, None)) - ids - 2
    title = (rest - CATEGORY - 2 if categorised else rest) if titled else 0
    for rank, item in enumerate(answer.items, start=1):
        cells = [padded(item.item, ids)]
        cells += [padded(item.title or "", title)] if titled else []
        cells += [cut(STEP.join(item.category), CATEGORY if titled else rest)] if categorised else []
        lines.append((_start(rank, item.score) + "  ".join(cells)).rstrip())
        lines += _why(item)
    scored, scanned = 100 * answer.n_scored / n_items, 100 * answer.scanned_fraction
    work = f"scored {answer.n_scored:,} of {n_items:,} items ({scored:.1f} %; scanned {scanned:.1f} %)"
    return "\n".join([*lines, "", f"{work} in {1e3 * answer.seconds:.1f} ms"])


def _start(rank: int, score: float | None) -> str:
    return f"{rank or '':>3}  {'' if score is None else f'{score:.2f}':>7}  "


def _why(item: RecommendedItem) -> list[str]:
    found = []
    for label, values in (("why", item.contributions), ("session", item.session_items)):
        if values:
            found.append(wrapped(f"{label}: {_largest(values)}", " " * 5, " " * 9))
    return found


def _largest(values: Mapping[str, float]) -> str:
    """The largest values of either sign, from the highest to the lowest."""
    told = sorted(values.items(), key=lambda pair: -abs(pair[1]))[:_MOST]
    return ", ".join(
        f"{cut(name, 24)} {value:+.2f}" for name, value in sorted(told, key=lambda pair: -pair[1])
    )


def wrapped(text: str, first: str = "", then: str = "") -> str:
    """Words in lines of at most 80 columns, the first line and the others indented; a longer word is cut."""
    lines, room = [first], WIDTH - len(first)
    for word in text.split():
        shown = cut(word, WIDTH - len(then))
        if width(shown) > room:
            lines.append(then)
            room = WIDTH - len(then)
        lines[-1] += f"{shown} "
        room -= width(shown) + 1
    return "\n".join(line.rstrip() for line in lines)


def cut(text: str, most: int) -> str:
    """Text that is shown in at most ``most`` columns."""
    letters = harmless(text)
    if width(letters) <= most:
        return letters
    found, room = "", most - 3
    for letter in letters:
        room -= _columns(letter)
        if room < 0:
            break
        found += letter
    return f"{found}..."


def padded(text: str, most: int) -> str:
    """Text cut to ``most`` columns and filled up with spaces."""
    found = cut(text, most)
    return found + " " * (most - width(found))


def width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(map(_columns, text))


def _columns(letter: str) -> int:
    """Columns that a letter takes in a terminal: 2 in the wide scripts, 0 where it is put on the one before."""
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
