"""Builds a candidate rule by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.retrieval.base import CandidateRule
from recbole_hiersrec.retrieval.budget import most_compared
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.co_visitation import CoVisitation
from recbole_hiersrec.retrieval.coarse import FlatOrder, ListOrder, TwoLevelOrder, n_super_lists
from recbole_hiersrec.retrieval.hnsw import Hnsw
from recbole_hiersrec.retrieval.last_category import LastCategory
from recbole_hiersrec.retrieval.leaf_categories import LeafCategories
from recbole_hiersrec.retrieval.lists import Lists, build_lists, cell_cap
from recbole_hiersrec.retrieval.mixed import Mixed
from recbole_hiersrec.retrieval.needs import RULES
from recbole_hiersrec.retrieval.popularity import Popularity


@dataclass(frozen=True)
class RuleContext:
    """What rules are built from; each rule reads some of it.

    Attributes:
        n_items: N.
        item_counts: int [N+1], training interactions of each item.
        training: training rows: history [R, L], length [R], target [R]; a row counts at every position.
        item_vectors: float32 [N+1, A], of models that score by an inner product.
        item_category: int [N+1, M], coarse to fine, where there is a taxonomy.
        seed: of k-means.
        list_size, super_lists, compared_fraction, mixed_share: see
            :class:`~recbole_hiersrec.settings.CandidateSettings`.
    """

    n_items: int
    item_counts: np.ndarray
    training: tuple[np.ndarray, np.ndarray, np.ndarray]
    item_vectors: Tensor | None = None
    item_category: np.ndarray | None = None
    seed: int = 0
    list_size: int | None = None
    super_lists: int | None = None
    compared_fraction: float = 0.02
    mixed_share: float = 0.5


def build_rule(name: str, context: RuleContext) -> CandidateRule:
    """Build the rule ``name``; what it needs is in the context (see :func:`~.needs.check_needs`).

    Raises:
        InputError: no such rule.
    """
    if name not in RULES:
        raise InputError(f"rule: received {name!r}, allowed: {', '.join(RULES)}")
    if name == "popularity":
        return Popularity(context.item_counts)
    if name == "co-visitation":
        return CoVisitation(context.training, context.item_counts)
    if name == "last-category":
        return LastCategory(_categories(context), context.item_counts)
    if name == "leaf-categories":
        return LeafCategories(_categories(context)[:, -1])
    if name == "hnsw":
        return Hnsw(_vectors(context))
    if name == "mixed":
        cells = build_rule("k-means", context)
        assert isinstance(cells, Cells)
        return Mixed(CoVisitation(context.training, context.item_counts), cells, context.mixed_share)
    lists = item_lists(name, context)
    return Cells(lists, _vectors(context), name, list_order(lists, context))


def item_lists(name: str, context: RuleContext) -> Lists:
    """The lists of ``cells`` or ``k-means``.

    Raises:
        InputError: the context has no item vectors, or no categories where the rule needs them.
    """
    finest = _categories(context)[:, -1] if name == "cells" else None
    cap = context.list_size or cell_cap(context.n_items)
    return build_lists(_vectors(context), finest, cap, context.seed)


def exact_lists(context: RuleContext) -> Lists:
    """The lists of the exact search: about sqrt(N) items each, so that centroids and members cost about as much.

    Smaller ones have tighter bounds, but since the members of a list are screened too, their centroids cost more than
    the bounds save (docs/experiments.md).
    """
    cap = context.list_size or max(5, math.isqrt(context.n_items))
    return build_lists(_vectors(context), None, cap, context.seed)


def list_order(lists: Lists, context: RuleContext) -> ListOrder:
    """Flat where every centroid may be compared, or too few for two levels; otherwise two-level."""
    most = most_compared(context.compared_fraction, context.n_items)
    n_super = n_super_lists(len(lists), most) if context.super_lists is None else context.super_lists
    if n_super == 0:
        return FlatOrder(lists.centroids)
    return TwoLevelOrder(lists.centroids, n_super, most, context.seed)


def _vectors(context: RuleContext) -> Tensor:
    assert context.item_vectors is not None  # check_needs
    return context.item_vectors


def _categories(context: RuleContext) -> np.ndarray:
    assert context.item_category is not None  # check_needs
    return context.item_category
