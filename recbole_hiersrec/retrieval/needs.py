"""Which candidate rules there are, and what each needs of a model and its data; needs neither torch nor FAISS."""

from __future__ import annotations

from dataclasses import dataclass

from recbole_hiersrec.errors import InputError


@dataclass(frozen=True)
class Needs:
    """What a rule cannot do without.

    Attributes:
        inner_product: scores that are queries times item vectors.
        categories: a taxonomy of the items.
        heads: logits of the next item's category.
    """

    inner_product: bool = False
    categories: bool = False
    heads: bool = False


RULES = {
    "cells": Needs(inner_product=True, categories=True),
    "k-means": Needs(inner_product=True),
    "mixed": Needs(inner_product=True),
    "hnsw": Needs(inner_product=True),
    "leaf-categories": Needs(inner_product=True, categories=True, heads=True),
    "last-category": Needs(categories=True),
    "co-visitation": Needs(),
    "popularity": Needs(),
}
"""Rule -> what it needs. `settings.CandidateRuleName` has the same names."""

LISTED = frozenset({"cells", "k-means", "mixed"})
"""Rules that order lists, so that super_lists and compared_fraction matter to them."""


def check_needs(model: str, rule: str, *, inner_product: bool, categories: bool, heads: bool) -> None:
    """Raise :class:`InputError`, naming the remedy, where a model lacks what the rule needs.

    Args:
        model: its name in the tables.
        rule: a key of :data:`RULES`.
        inner_product: whether the model scores by inner products.
        categories: whether its items have categories.
        heads: whether it predicts categories.
    """
    needs = RULES[rule]
    without_vectors = ", ".join(name for name, other in RULES.items() if not other.inner_product)
    for needed, given, what, remedy in (
        (
            needs.inner_product,
            inner_product,
            "scores by inner products",
            f"name other rules in its candidates: {without_vectors}",
        ),
        (
            needs.categories,
            categories,
            "category_fields",
            "name them, or leave the rule out (k-means needs none)",
        ),
        (needs.heads, heads, "a model that predicts categories", "leave the rule out of its candidates"),
    ):
        if needed and not given:
            raise InputError(f"models: {model}: the rule {rule} needs {what}, which it has not; {remedy}")
