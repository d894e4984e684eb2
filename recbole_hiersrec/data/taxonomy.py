"""A tree over the items: every item on every level, coarse to fine, and back from a category to its items.

N items with ids 1..N (0 is the PAD), M levels, C_m categories on level m with ids 0..C_m - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from recbole_hiersrec.arrays import check_size
from recbole_hiersrec.errors import CheckpointError, InputError

UNKNOWN = "(unknown)"
LEARNED = "learned_"
"""Prefix of the names of learned levels, by which every report knows them."""
MOST_LEVELS = 100
"""Of a taxonomy that is read: the names of a category's ancestors are kept with each category."""
IntArray = NDArray[np.int64]
Path_ = tuple[str, ...]


@dataclass(frozen=True)
class Taxonomy:
    """Item -> category on each of M levels.

    Attributes:
        levels: name of each level, coarse to fine.
        labels: per level, the path of each category from the root, ``labels[m][c]`` has m + 1 parts.
        parents: per level, ``parents[m][c]`` is the category's parent on level m - 1; all 0 on level 0.
        item_category: [N + 1, M]; row 0 (PAD) is -1.
    """

    levels: tuple[str, ...]
    labels: tuple[tuple[Path_, ...], ...]
    parents: tuple[IntArray, ...]
    item_category: IntArray

    def check(self, n_items: int) -> None:
        """Raise :class:`ValueError` unless every number is one of a taxonomy of ``n_items`` items."""
        if not self.levels or self.item_category.shape != (n_items + 1, self.n_levels):
            raise ValueError(f"categories of shape {self.item_category.shape} for {n_items} items")
        above = 1
        for level, (labels, parents) in enumerate(zip(self.labels, self.parents, strict=True)):
            for values, size in ((self.item_category[1:, level], len(labels)), (parents, above)):
                if values.dtype.kind != "i" or values.min(initial=0) < 0 or values.max(initial=0) >= size:
                    raise ValueError(f"level {self.levels[level]!r} has numbers outside 0 to {size - 1}")
            above = len(labels)

    @property
    def n_items(self) -> int:
        """Number of real items N."""
        return len(self.item_category) - 1

    @property
    def n_levels(self) -> int:
        """Number of levels M."""
        return len(self.levels)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of categories on each level."""
        return tuple(len(labels) for labels in self.labels)

    def items_of(self, level: int, category: int) -> IntArray:
        """Ids of the items of one category, ascending."""
        return np.flatnonzero(self.item_category[:, level] == category)

    @classmethod
    def from_paths(cls, paths: Sequence[Sequence[str]], levels: Sequence[str]) -> Taxonomy:
        """Build a taxonomy from one path an item (item 1 first).

        A category is its whole path, so "Other" below two parents is two categories. Where a path ends early or
        has a blank part, the item goes to that parent's own "(unknown)" category, and so on down to the last level.

        Raises:
            InputError: no level, no item, or a path that is longer than there are levels.
        """
        if not levels:
            raise InputError("taxonomy: no level was given; allowed: one or more")
        if not paths:
            raise InputError("taxonomy: there are no items")
        number: dict[Path_, int] = {}  # of each different path: there are far fewer than items
        path_of = np.array([number.setdefault(tuple(path), len(number)) for path in paths])
        first = np.unique(path_of, return_index=True)[1] + 1
        full = [_complete(path, len(levels), item) for path, item in zip(number, first, strict=True)]
        item_category = np.full((len(paths) + 1, len(levels)), -1, dtype=np.int64)
        labels: list[tuple[Path_, ...]] = []
        parents: list[IntArray] = []
        upper: dict[Path_, int] = {(): 0}
        for level in range(len(levels)):
            names = sorted({path[: level + 1] for path in full})
            ids = {name: category for category, name in enumerate(names)}
            item_category[1:, level] = np.array([ids[path[: level + 1]] for path in full])[path_of]
            labels.append(tuple(names))
            parents.append(np.array([upper[name[:-1]] for name in names], dtype=np.int64))
            upper = ids
        return cls(tuple(levels), tuple(labels), tuple(parents), item_category)

    def save(self, path: Path, item_tokens: Sequence[str] | None = None) -> None:
        """Write an .npz file without pickled objects; ``item_tokens`` [N] names the items 1..N in the files."""
        arrays: dict[str, NDArray[np.generic]] = {
            "levels": np.array(self.levels, dtype=np.str_),
            "item_category": self.item_category,
        }
        if item_tokens is not None:
            # Not an array of text: that would take the longest token's width for every item.
            arrays["item_tokens"] = np.frombuffer("\n".join(item_tokens).encode(), dtype=np.uint8)
        for level, (labels, parents) in enumerate(zip(self.labels, self.parents, strict=True)):
            arrays[f"label_{level}"] = np.array([label[-1] for label in labels], dtype=np.str_)
            arrays[f"parent_{level}"] = parents
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load_tokens(path: Path) -> list[str]:
        """Names of the items 1..N, from a file that :meth:`save` was given them for."""
        with np.load(path, allow_pickle=False) as file:
            return file["item_tokens"].tobytes().decode().split("\n")

    @classmethod
    def load(cls, path: Path, most_bytes: int | None = None) -> Taxonomy:
        """Read what :meth:`save` wrote; a damaged or foreign file raises :class:`CheckpointError`.

        Args:
            path: the file.
            most_bytes: refuse a file that unpacks to more; None: it is trusted.
        """
        try:
            if most_bytes is not None:
                check_size(path, most_bytes)
            with np.load(path, allow_pickle=False) as file:
                levels = tuple(str(level) for level in file["levels"])
                if len(levels) > MOST_LEVELS:
                    raise ValueError(f"{len(levels)} levels; allowed: at most {MOST_LEVELS}")
                parents = tuple(file[f"parent_{level}"] for level in range(len(levels)))
                names = [[str(name) for name in file[f"label_{level}"]] for level in range(len(levels))]
                item_category = file["item_category"]
            labels: list[tuple[Path_, ...]] = []
            for above, names_here in zip(parents, names, strict=True):
                upper = labels[-1] if labels else ((),)
                labels.append(tuple((*upper[p], name) for p, name in zip(above, names_here, strict=True)))
        except (OSError, KeyError, ValueError, IndexError, TypeError, EOFError, BadZipFile) as error:
            raise CheckpointError(f"{path}: not a taxonomy, or damaged: {error}") from None
        return cls(levels, tuple(labels), parents, item_category)


def _complete(path: Sequence[str], depth: int, item: int) -> Path_:
    if len(path) > depth:
        raise InputError(
            f"taxonomy: item {item} has a path of {len(path)} parts, there are {depth} levels: {path!r}"
        )
    parts = [part.strip() or UNKNOWN for part in path]
    return (*parts, *[UNKNOWN] * (depth - len(parts)))
