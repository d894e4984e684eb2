"""Which items may be recommended: categories and items by their names -> a mask of the items.

Axes: N items (ids 1..N, 0 is PAD), M levels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import short

STEP = " > "
"""Between the parts of a category's path, where one is written as text."""


class Filters:
    """Turns names into masks.

    Args:
        taxonomy: of the items; None: there are no categories.
        item_ids: item -> id.
    """

    def __init__(self, taxonomy: Taxonomy | None, item_ids: Mapping[str, int]) -> None:
        self._taxonomy, self._item_ids = taxonomy, item_ids
        self._categories: dict[str, list[tuple[int, int]]] = {}  # name or path -> (level, category)
        for level, labels in enumerate(taxonomy.labels if taxonomy else ()):
            for category, path in enumerate(labels):
                for name in {path[-1], STEP.join(path)}:
                    self._categories.setdefault(name, []).append((level, category))

    def mask(
        self,
        allow_categories: Collection[str] | None,
        deny_categories: Collection[str] | None,
        items: Collection[str] | None,
    ) -> np.ndarray | None:
        """Items of an allowed category that are in no denied one and in ``items``: bool [N + 1]; None: all are.

        A category is meant by its name on any level (all of that name) or by its path, "Makeup > Lips". An argument
        that is None filters nothing.

        Raises:
            InputError: a category or item is not known, or a list is empty.
        """
        if allow_categories is None and not deny_categories and items is None:
            return None
        found = np.ones(len(self._item_ids) + 1, bool)
        for what, names in (("allow_categories", allow_categories), ("items", items)):
            if names is not None and not names:
                raise InputError(f"{what}: received none, which allows nothing; leave it out to allow all")
        if allow_categories is not None:
            found &= self._of_categories("allow_categories", allow_categories)
        if deny_categories:
            found &= ~self._of_categories("deny_categories", deny_categories)
        if items is not None:
            listed = np.zeros_like(found)
            listed[[self._id(item) for item in items]] = True
            found &= listed
        return found

    def _of_categories(self, what: str, names: Collection[str]) -> np.ndarray:
        if self._taxonomy is None:
            raise InputError(f"{what}: this model was told of no categories")
        found = np.zeros(len(self._item_ids) + 1, bool)
        for name in names:
            if name not in self._categories:
                hint = nearest(name, self._categories)
                levels = ", ".join(map(short, self._taxonomy.levels))
                raise InputError(f"{what}: unknown category {short(name)}{hint} (levels: {levels})")
            for level, category in self._categories[name]:
                found |= self._taxonomy.item_category[:, level] == category
        return found

    def _id(self, item: str) -> int:
        if item not in self._item_ids:
            raise InputError(
                f"items: unknown item {short(item)}; allowed: the {len(self._item_ids):,} of the model"
            )
        return self._item_ids[item]
