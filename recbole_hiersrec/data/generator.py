"""Seeded logs of any size: sessions that walk over a random taxonomy, with transitions that are known.

Axes: R rows (clicks), S sessions, N items, C leaf categories, M levels. Every random choice is made for all sessions
at once, position by position.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from recbole_hiersrec.atomic import writable_folder, write_bytes
from recbole_hiersrec.data.taxonomy import IntArray
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import Settings
from recbole_hiersrec.settings import NonNegative, PositiveInt, Seed

START = 1_704_067_200
"""Unix time at which generated logs begin: 1 January 2024, 00:00 UTC."""

_SECONDS_A_DAY = 86_400
_ADJECTIVES = ("small", "large", "red", "blue", "soft", "light", "heavy", "classic", "warm", "plain")
_NOUNS = ("lamp", "chair", "table", "cup", "shoe", "coat", "book", "clock", "rope", "drum", "glove")

Share = Annotated[float, Field(ge=0, le=1)]


class GeneratorSettings(Settings):
    """What a generated log looks like. Shares of clicks are those after a session's first click."""

    clicks: Annotated[int, Field(ge=2, strict=True)] = Field(1_000_000, description="Clicks R, exactly.")
    items: PositiveInt = Field(20_000, description="Items N in the catalogue.")
    level_sizes: tuple[PositiveInt, ...] = Field(
        (20, 100, 500), min_length=1, description="Categories on each level, coarse to fine."
    )
    size_exponent: NonNegative = Field(
        0.5, description="Leaf categories hold items in proportion to rank^-x: 0 is even."
    )
    popularity_exponent: NonNegative = Field(
        0.8,
        description="Zipf exponent of items within their category, and of the categories in which a session "
        "begins and to which it jumps: 0 is even.",
    )
    mean_length: Annotated[float, Field(ge=2)] = Field(
        5.0, description="Mean clicks of a session; every one has 2, the rest are geometric."
    )
    repeat: Share = Field(0.02, description="Share of clicks that repeat the item before them.")
    stay: Share = Field(0.5, description="Share of clicks on an item of the same leaf category.")
    follow: Share = Field(
        0.3, description="Share of clicks on an item of the leaf's planted successor, of the same parent."
    )
    days: Annotated[float, Field(gt=0)] = Field(16.0, description="Days over which sessions begin.")
    pause_seconds: Annotated[float, Field(ge=1)] = Field(
        60.0, description="Mean pause between two clicks of a session, geometric, whole seconds."
    )
    seed: Seed = Field(2026, description="Of every random choice.")

    @model_validator(mode="after")
    def _shares_leave_no_less_than_nothing(self) -> GeneratorSettings:
        if self.repeat + self.stay + self.follow > 1 + 1e-9:
            raise ValueError(
                f"repeat, stay and follow together must be at most 1; received {self.repeat}, {self.stay} "
                f"and {self.follow}"
            )
        return self

    @model_validator(mode="after")
    def _levels_branch(self) -> GeneratorSettings:
        sizes = (*self.level_sizes, self.items)
        if list(sizes) != sorted(sizes):
            raise ValueError(
                f"level_sizes must not decrease, and the last must be at most items; received "
                f"{list(self.level_sizes)} and {self.items} items"
            )
        return self


@dataclass(frozen=True)
class Generated:
    """A log, its catalogue, and what was planted.

    Attributes:
        events: Int64 columns session (0..S - 1, by begin), item (1..N) and time (unix seconds), in the order of time;
            within a session every click is later than the one before.
        items: item (1..N), level_1..level_M, title.
        leaf: [N] leaf category of item 1..N.
        parent: [C] category of each leaf on the level above; 0 with one level.
        successor: [C] planted successor of each leaf: the next on a cycle through all leaves of its parent.
        start: [C] probability that a session begins in a leaf, and that a jump goes there.
        settings: it was generated with.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    leaf: IntArray
    parent: IntArray
    successor: IntArray
    start: NDArray[np.float64]
    settings: GeneratorSettings

    def transitions(self) -> NDArray[np.float64]:
        """[C, C] probability that a click in leaf a is followed by one in leaf b."""
        settings = self.settings
        matrix = (1 - settings.repeat - settings.stay - settings.follow) * np.tile(
            self.start, (len(self.start), 1)
        )
        matrix[np.diag_indices_from(matrix)] += settings.repeat + settings.stay
        matrix[np.arange(len(matrix)), self.successor] += settings.follow
        return matrix


def generate(settings: GeneratorSettings) -> Generated:
    """Generate a log; equal settings give equal logs."""
    parents = _parents(settings)
    n_leaves = settings.level_sizes[-1]
    leaf = _leaf_of_item(settings)
    start = _zipf(n_leaves, settings.popularity_exponent, _random(settings, "categories"))
    successor = _successors(parents[-1], _random(settings, "successors"))
    lengths = _lengths(settings)
    item = _walk(settings, lengths, leaf, start, successor)
    return Generated(
        events=_events(settings, lengths, item),
        items=_items(settings, parents, leaf),
        leaf=leaf,
        parent=parents[-1],
        successor=successor,
        start=start,
        settings=settings,
    )


def write_generated(folder: Path, settings: GeneratorSettings) -> tuple[Path, Path]:
    """Generate a log and write it as ``events.parquet`` and ``items.csv``: input of ``hiersrec data prepare``.

    Equal settings give equal bytes.

    Raises:
        InputError: the folder cannot be written, or holds one of the files already.
    """
    writable_folder(folder)
    events, items = folder / "events.parquet", folder / "items.csv"
    for path in (events, items):
        if path.exists():
            raise InputError(f"{path} exists; choose a folder without it, or delete it")
    generated = generate(settings)
    for path, frame in ((events, generated.events), (items, generated.items)):
        content = BytesIO()
        if path is events:
            frame.write_parquet(content, compression="zstd", compression_level=3, row_group_size=1 << 20)
        else:
            frame.write_csv(content)
        write_bytes(path, content.getvalue())
    return events, items


def _random(settings: GeneratorSettings, purpose: str) -> np.random.Generator:
    """One stream a purpose: a setting of one part leaves the others' choices as they are."""
    return np.random.default_rng([settings.seed, zlib.crc32(purpose.encode())])


def _zipf(n: int, exponent: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """[n] probabilities in proportion to rank^-exponent, ranks in random order."""
    weights = rng.permutation(np.arange(1, n + 1) ** -float(exponent))
    return weights / weights.sum()


def _parents(settings: GeneratorSettings) -> list[IntArray]:
    """Per level, the parent of each category, ascending: every parent has a child, the others fall at random."""
    rng = _random(settings, "taxonomy")
    parents = [np.zeros(settings.level_sizes[0], dtype=np.int64)]
    for above, size in pairwise(settings.level_sizes):
        chosen = np.concatenate([np.arange(above), rng.integers(above, size=size - above)])
        parents.append(np.sort(chosen))
    return parents


def _leaf_of_item(settings: GeneratorSettings) -> IntArray:
    """[N] leaf of each item: every leaf has one, the others fall in proportion to the leaves' sizes."""
    rng = _random(settings, "items")
    n_leaves = settings.level_sizes[-1]
    shares = _zipf(n_leaves, settings.size_exponent, rng)
    drawn = rng.choice(n_leaves, size=settings.items - n_leaves, p=shares)
    return rng.permutation(np.concatenate([np.arange(n_leaves), drawn]))


def _successors(parent: IntArray, rng: np.random.Generator) -> IntArray:
    """[C] the next leaf on one random cycle through the leaves of each parent."""
    order = np.lexsort((rng.random(len(parent)), parent))  # by parent, at random below it
    first = np.append(True, np.diff(parent[order]) > 0)
    begins = np.flatnonzero(first)
    following = np.arange(1, len(order) + 1)
    following[np.append(begins[1:], len(order)) - 1] = begins  # the last leaf of a parent leads to its first
    successor = np.empty_like(parent)
    successor[order] = order[following]
    return successor


def _lengths(settings: GeneratorSettings) -> IntArray:
    """[S] clicks of each session, 2 or more, R together."""
    rng = _random(settings, "lengths")
    most = settings.clicks // 2
    lengths = 1 + (
        rng.geometric(1 / (settings.mean_length - 1), size=most)
        if settings.mean_length > 2
        else np.ones(most, dtype=np.int64)
    )
    ends = np.cumsum(lengths)
    lengths = lengths[: np.searchsorted(ends, settings.clicks) + 1]
    lengths[-1] += settings.clicks - lengths.sum()
    if lengths[-1] == 1:  # too short for a session: a click more for the one before
        lengths[-2] += 1
        lengths = lengths[:-1]
    return lengths


class _Draw:
    """Items at random by popularity within given leaves."""

    def __init__(self, leaf: IntArray, exponent: float, rng: np.random.Generator) -> None:
        self._members = np.lexsort((rng.random(len(leaf)), leaf))  # by leaf; within it the popular first
        sizes = np.bincount(leaf)
        self._last = np.cumsum(sizes) - 1  # [C] position of each leaf's least popular item
        self._begins = self._last + 1 - sizes
        owner = leaf[self._members]
        weights = (np.arange(len(leaf)) - self._begins[owner] + 1.0) ** -float(exponent)
        running = np.cumsum(weights)
        before = (running - weights)[self._begins]
        totals = np.add.reduceat(weights, self._begins)
        self._cumulative = owner + (running - before[owner]) / totals[owner]  # leaf c fills (c, c + 1]

    def __call__(self, leaf: NDArray[np.integer], rng: np.random.Generator) -> IntArray:
        """One item (from 0) of each given leaf."""
        positions = np.searchsorted(self._cumulative, leaf + rng.random(len(leaf)))
        return self._members[np.clip(positions, self._begins[leaf], self._last[leaf])]  # sums are rounded


def _walk(
    settings: GeneratorSettings,
    lengths: IntArray,
    leaf: IntArray,
    start: NDArray[np.float64],
    successor: IntArray,
) -> IntArray:
    """[R] items (from 1) of all sessions, one session after the other."""
    rng = _random(settings, "walk")
    draw = _Draw(leaf, settings.popularity_exponent, _random(settings, "popularity"))
    bounds = np.cumsum(start)[:-1]
    longest_first = np.argsort(-lengths, kind="stable")
    begins = (np.cumsum(lengths) - lengths)[longest_first]
    n_longer = len(lengths) - np.cumsum(np.bincount(lengths))  # [p] sessions with more than p clicks
    items = np.empty(lengths.sum(), dtype=np.int64)
    current = np.searchsorted(bounds, rng.random(len(lengths)), side="right")  # leaf of each session
    items[begins] = draw(current, rng)
    for position in range(1, len(n_longer) - 1):
        n_active = n_longer[position]
        rows = begins[:n_active] + position
        current = current[:n_active]
        kind = rng.random(n_active)
        jumps = kind >= settings.repeat + settings.stay + settings.follow
        follows = (kind >= settings.repeat + settings.stay) & ~jumps
        current[follows] = successor[current[follows]]
        current[jumps] = np.searchsorted(bounds, rng.random(int(jumps.sum())), side="right")
        items[rows] = np.where(kind < settings.repeat, items[rows - 1], draw(current, rng))
    return items + 1


def _events(settings: GeneratorSettings, lengths: IntArray, item: IntArray) -> pl.DataFrame:
    """Rows with times, as a log holds them: by time, equal times by session."""
    rng = _random(settings, "times")
    begin = np.sort((rng.random(len(lengths)) * settings.days * _SECONDS_A_DAY).astype(np.int64))
    pauses = rng.geometric(1 / settings.pause_seconds, size=len(item))
    running = np.cumsum(pauses)
    before = running[np.cumsum(lengths) - lengths]  # seconds of the sessions before
    time = START + np.repeat(begin - before, lengths) + running
    order = np.argsort(time, kind="stable")
    session = np.repeat(np.arange(len(lengths)), lengths)
    return pl.DataFrame({"session": session[order], "item": item[order], "time": time[order]})


def _items(settings: GeneratorSettings, parents: list[IntArray], leaf: IntArray) -> pl.DataFrame:
    """Catalogue: a category is named by its path (c3, c3.1, c3.1.0); a title holds a word of its leaf."""
    names = [f"c{number}" for number in range(len(parents[0]))]
    category = {len(parents): leaf}  # level -> category of each item
    for level in range(len(parents) - 1, 0, -1):
        category[level] = parents[level][category[level + 1]]
    columns: dict[str, pl.Series] = {"item": pl.Series(np.arange(1, len(leaf) + 1))}
    for level, above in enumerate(parents, start=1):
        if level > 1:
            within = np.arange(len(above)) - np.searchsorted(above, above)
            names = [f"{names[parent]}.{number}" for parent, number in zip(above, within, strict=True)]
        columns[f"level_{level}"] = pl.Series(names).gather(category[level])
    adjective = _random(settings, "titles").integers(len(_ADJECTIVES), size=len(leaf))
    frame = pl.DataFrame(columns).with_columns(
        pl.Series("adjective", _ADJECTIVES).gather(adjective),
        pl.Series("noun", _NOUNS).gather(leaf % len(_NOUNS)),
    )
    title = pl.format("{} {} {}", "adjective", "noun", f"level_{len(parents)}").alias("title")
    return frame.with_columns(title).drop("adjective", "noun")
