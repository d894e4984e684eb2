"""The tree over the items: ragged paths, names that recur, and a safe file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec.data.taxonomy import UNKNOWN, Taxonomy
from recbole_hiersrec.errors import CheckpointError, InputError

PATHS = [("food", "fruit"), ("food", ""), ("tools", "other"), ("food", "other"), ("food",), ()]


@pytest.fixture
def taxonomy() -> Taxonomy:
    return Taxonomy.from_paths(PATHS, ["department", "class"])


def test_every_item_is_on_every_level(taxonomy: Taxonomy) -> None:
    assert taxonomy.n_items == 6
    assert taxonomy.item_category.shape == (7, 2)
    assert (taxonomy.item_category[0] == -1).all()
    assert (taxonomy.item_category[1:] >= 0).all()


def test_a_category_is_its_whole_path(taxonomy: Taxonomy) -> None:
    tools_other, food_other = taxonomy.item_category[3, 1], taxonomy.item_category[4, 1]
    assert tools_other != food_other
    assert taxonomy.labels[1][tools_other] == ("tools", "other")


def test_ragged_paths_get_an_unknown_per_parent(taxonomy: Taxonomy) -> None:
    blank, short, nothing = taxonomy.item_category[[2, 5, 6], 1]
    assert blank == short
    assert taxonomy.labels[1][blank] == ("food", UNKNOWN)
    assert taxonomy.labels[1][nothing] == (UNKNOWN, UNKNOWN)
    assert taxonomy.labels[0][taxonomy.item_category[6, 0]] == (UNKNOWN,)


def test_items_of_is_the_inverse(taxonomy: Taxonomy) -> None:
    for level, size in enumerate(taxonomy.sizes):
        found = [taxonomy.items_of(level, category) for category in range(size)]
        assert sorted(np.concatenate(found)) == list(range(1, 7))


names = st.text(alphabet="abc ", max_size=2)


@given(st.lists(st.lists(names, max_size=3), min_size=1, max_size=20))
def test_parents_agree_with_the_items(paths: list[list[str]]) -> None:
    taxonomy = Taxonomy.from_paths(paths, ["a", "b", "c"])
    for level in range(1, 3):
        own, above = taxonomy.item_category[1:, level], taxonomy.item_category[1:, level - 1]
        assert (taxonomy.parents[level][own] == above).all()
        assert set(own) == set(range(taxonomy.sizes[level]))


def test_save_and_load(taxonomy: Taxonomy, tmp_path: Path) -> None:
    taxonomy.save(tmp_path / "taxonomy.npz")
    loaded = Taxonomy.load(tmp_path / "taxonomy.npz")
    assert loaded.levels == taxonomy.levels
    assert loaded.labels == taxonomy.labels
    assert (loaded.item_category == taxonomy.item_category).all()
    assert all((a == b).all() for a, b in zip(loaded.parents, taxonomy.parents, strict=True))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"not an archive"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "taxonomy.npz"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a taxonomy, or damaged"):
        Taxonomy.load(path)


def test_faults_of_the_input() -> None:
    with pytest.raises(InputError, match="no level was given"):
        Taxonomy.from_paths([("a",)], [])
    with pytest.raises(InputError, match="there are no items"):
        Taxonomy.from_paths([], ["a"])
    with pytest.raises(InputError, match="item 2 has a path of 2 parts, there are 1 levels"):
        Taxonomy.from_paths([("a",), ("a", "b")], ["one"])
