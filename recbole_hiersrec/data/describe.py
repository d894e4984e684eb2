"""A data set in numbers, from its atomic files: sizes, lengths, popularity, split, what the split lets through.

Works for prepared folders and for those that others made. Axes: R rows (clicks), S sessions, N items with clicks,
C_m categories on level m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recbole_hiersrec.data.catalogue import read_catalogue
from recbole_hiersrec.data.files import (
    atomic_files,
    check_interactions,
    dataset_folder,
    folder_settings,
    header,
)
from recbole_hiersrec.data.log import TimeKind
from recbole_hiersrec.data.manifest import read_manifest
from recbole_hiersrec.data.parts import PARTS, TEST, TRAIN
from recbole_hiersrec.data.sessions import Leakage, Sessions, read_sessions
from recbole_hiersrec.data.steps import count_ties
from recbole_hiersrec.data.taxonomy import UNKNOWN, IntArray, Taxonomy
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.reading import read_yaml
from recbole_hiersrec.resources import dataset_defaults
from recbole_hiersrec.settings import TestCases, hiersrec_settings

COLUMNS = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp"}
"""RecBole's keys of the columns that are read, and the names they have by default."""


@dataclass(frozen=True)
class Part:
    """Sessions, different items and interactions of one part; leave-one-out puts a session into several."""

    name: str
    sessions: int
    items: int
    interactions: int


@dataclass(frozen=True)
class Unseen:
    """Test items that training does not have.

    Attributes:
        items, of_items: how many of the different items in the test part.
        interactions, of_interactions: how many of its interactions are with them.
    """

    items: int
    of_items: int
    interactions: int
    of_interactions: int


@dataclass(frozen=True)
class Level:
    """One level of the taxonomy.

    Attributes:
        name: of the level.
        learned: whether it was learned from the clicks; otherwise it is the source's own.
        sizes: [C_m] items of each category, an "(unknown)" one included.
        without: items whose category on this level is unknown.
    """

    name: str
    learned: bool
    sizes: IntArray
    without: int


@dataclass(frozen=True)
class Description:
    """What there is to know about a data set; text and figures of it are in ``report``.

    Attributes:
        name: of the data set.
        split: by whole sessions as NAME.user says, or the last two interactions of each session.
        time: what the time stamps mean; "order": nothing, there are none.
        parts: train, valid and test.
        lengths: [S] clicks of each session.
        clicks: [N] clicks of each item, most clicked first.
        repeats: clicks on the item of the click before.
        returns: clicks on an item that the session had earlier, but not just before.
        ties: clicks at the same time as the one before in the session; None without a stamp for each click.
        cases: kind of test case -> how many; leave-one-out has the last item alone.
        unseen: test items that training does not have.
        leakage: training interactions after the earliest test interaction.
        levels: of the taxonomy, coarse to fine; empty without one.
        taxonomy: of the N items.
        notes: caveats that preparation wrote down.
    """

    name: str
    split: Literal["temporal", "leave-one-out"]
    time: TimeKind
    parts: tuple[Part, ...]
    lengths: IntArray
    clicks: IntArray
    repeats: int
    returns: int
    ties: int | None
    cases: Mapping[TestCases, int]
    unseen: Unseen
    leakage: Leakage
    levels: tuple[Level, ...]
    taxonomy: Taxonomy | None
    notes: tuple[str, ...]

    @property
    def n_sessions(self) -> int:
        """Number of sessions S."""
        return len(self.lengths)

    @property
    def n_items(self) -> int:
        """Number of items N that were clicked."""
        return len(self.clicks)

    @property
    def n_interactions(self) -> int:
        """Number of clicks R."""
        return int(self.lengths.sum())

    @property
    def n_following(self) -> int:
        """Number of clicks that are not the first of their session."""
        return self.n_interactions - self.n_sessions


def describe(name: str, data_path: Path) -> Description:
    """Read the atomic files of ``name`` and count.

    Category levels come from NAME.yaml in the folder, or else from the settings that this package has for ``name``.

    Raises:
        InputError: there is no such data set, or one of its files is at fault.
    """
    files = atomic_files(name, data_path)
    manifest = read_manifest(dataset_folder(name, data_path))
    if manifest and manifest["settings"]["split"] == "temporal" and "user" not in files:
        raise InputError(f"{files['inter'].with_suffix('.user')} is missing; prepare the data set again")
    settings, where = _settings(name, data_path)
    user, item, when = (settings.get(key) or default for key, default in COLUMNS.items())
    stamps: str | None = when
    time: TimeKind = manifest["time"] if manifest else "click"
    if time == "order" or when not in dict(header(files["inter"])):
        stamps, time = None, "order"
    if manifest is None and stamps:
        check_interactions(files["inter"], user, item, stamps, split="temporal")
    log = read_sessions(files, user=user, item=item, when=stamps)
    taxonomy = _taxonomy(files, log, settings, where, item)
    learned = {level["name"] for level in (manifest or {}).get("levels", ()) if level["learned"]}
    repeats, returns = count_returns(log)
    return Description(
        name=name,
        split="leave-one-out" if log.part is None else "temporal",
        time=time,
        parts=_parts(log),
        lengths=log.lengths(),
        clicks=np.sort(np.bincount(log.item, minlength=log.n_items))[::-1],
        repeats=repeats,
        returns=returns,
        ties=count_ties(log) if time == "click" else None,
        cases=_cases(log),
        unseen=_unseen(log),
        leakage=log.leakage(),
        levels=_levels(taxonomy, learned),
        taxonomy=taxonomy,
        notes=tuple((manifest or {}).get("notes", ())),
    )


def top_share(clicks: IntArray, percent: int) -> float:
    """Share of the clicks on the most clicked ``percent`` of the items, rounded down but at least one item.

    Args:
        clicks: [N], descending.
        percent: of the items, 1 to 100.
    """
    return float(clicks[: max(1, len(clicks) * percent // 100)].sum() / clicks.sum())


def gini(clicks: IntArray) -> float:
    """Gini coefficient of the clicks an item, half the relative mean absolute difference: 0 means all have as many.

    Args:
        clicks: [N], descending.
    """
    n = len(clicks)
    ranks = np.arange(n, 0, -1)
    return float(2 * (ranks * clicks).sum() / (n * clicks.sum()) - (n + 1) / n)


def count_returns(log: Sessions) -> tuple[int, int]:
    """Clicks on the item just before, and clicks on an item that the session had earlier than that."""
    repeats = int(((log.session[1:] == log.session[:-1]) & (log.item[1:] == log.item[:-1])).sum())
    pairs = np.sort(log.session.astype(np.int64) * log.n_items + log.item)
    seen_before = int((pairs[1:] == pairs[:-1]).sum())
    return repeats, seen_before - repeats


def _settings(name: str, data_path: Path) -> tuple[dict[str, Any], str]:
    """RecBole's and HierSRec's keys for this data set, and the file they stand in."""
    own = folder_settings(name, data_path)
    path = dataset_defaults(name)
    if own or not path.is_file():
        return own, str(dataset_folder(name, data_path) / f"{name}.yaml")
    return read_yaml(path), str(path)


def _taxonomy(
    files: Mapping[str, Path], log: Sessions, values: Mapping[str, Any], where: str, item: str
) -> Taxonomy | None:
    """The tree over the clicked items; titles and metadata are not read."""
    settings = hiersrec_settings({"category_fields": values.get("category_fields")}, where)
    if not settings.category_fields:
        return None
    path = files.get("item", files["inter"].with_suffix(".item"))
    return read_catalogue(path, log.item_tokens.to_list(), settings, item_field=item).taxonomy


def _parts(log: Sessions) -> tuple[Part, ...]:
    part = log.part_of_rows()
    return tuple(
        Part(
            name,
            log.sessions_in(number),
            int(np.count_nonzero(np.bincount(log.item[part == number]))),
            int((part == number).sum()),
        )
        for number, name in enumerate(PARTS)
    )


def _cases(log: Sessions) -> dict[TestCases, int]:
    """Targets of the test part: all but a session's first item, or the last one alone."""
    if log.part is None:
        return {"last-item": int((log.part_of_rows() == TEST).sum())}
    lengths = log.lengths()[log.part == TEST]
    return {"every-prefix": int(np.maximum(lengths - 1, 0).sum()), "last-item": int((lengths > 1).sum())}


def _unseen(log: Sessions) -> Unseen:
    part = log.part_of_rows()
    known = np.bincount(log.item[part == TRAIN], minlength=log.n_items) > 0
    tested = np.bincount(log.item[part == TEST], minlength=log.n_items)  # [N] test interactions
    return Unseen(
        int((~known & (tested > 0)).sum()),
        int((tested > 0).sum()),
        int(tested[~known].sum()),
        int(tested.sum()),
    )


def _levels(taxonomy: Taxonomy | None, learned: set[str]) -> tuple[Level, ...]:
    if taxonomy is None:
        return ()
    levels = []
    for number, (name, labels) in enumerate(zip(taxonomy.levels, taxonomy.labels, strict=True)):
        sizes = np.bincount(taxonomy.item_category[1:, number], minlength=len(labels))
        unknown = np.array([label[-1] == UNKNOWN for label in labels])
        levels.append(Level(name, name in learned, sizes, int(sizes[unknown].sum())))
    return tuple(levels)
