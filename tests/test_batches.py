"""Training batches of like length: every row once an epoch, about the same number of targets in each."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop
from hypothesis import example, given
from hypothesis import strategies as st

from recbole_hiersrec import register

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402

from recbole_hiersrec.data.batches import POOL, LengthBuckets, buckets  # noqa: E402

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=150)


def drawn(lengths: list[int], rows: int, seed: int = 0) -> list[np.ndarray]:
    return buckets(np.array(lengths), rows, np.random.default_rng(seed))


@given(lengths=LENGTHS, rows=st.integers(1, 40), seed=st.integers(0, 5))
@example(lengths=[7], rows=1, seed=0)
@example(lengths=[3] * 100, rows=1, seed=0)  # more than one pool
def test_every_row_is_in_exactly_one_batch(lengths: list[int], rows: int, seed: int) -> None:
    batches = drawn(lengths, rows, seed)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert all(len(batch) for batch in batches)


@given(lengths=LENGTHS, rows=st.integers(5, 40))
@example(lengths=[1] * 33, rows=8)  # no batch of the one row that is left over
@example(lengths=[1] * 40 + [50] * 10, rows=10)
def test_batches_have_about_the_same_number_of_targets(lengths: list[int], rows: int) -> None:
    """Up to one row, which is never cut. All examples fit into one pool."""
    sizes = [sum(lengths[row] for row in batch) for batch in drawn(lengths, rows)]
    n_batches = max(1, round(len(lengths) / rows))
    assert len(sizes) <= n_batches
    assert all(abs(size - sum(lengths) / n_batches) <= max(lengths) for size in sizes)


@pytest.mark.parametrize("surplus", [0, 1, 150])
def test_no_pool_is_small(surplus: int) -> None:
    """One row more than a pool holds makes two halves, not a batch of one row."""
    batches = drawn([4] * (POOL * 5 + surplus), 5)
    assert {len(batch) for batch in batches} <= {4, 5, 6}


def test_lengths_of_a_batch_are_alike() -> None:
    """In one pool: no two batches overlap in length, but for one length at their border."""
    lengths = np.random.default_rng(1).integers(1, 50, 300).tolist()
    spans = sorted((min(lengths[r] for r in b), max(lengths[r] for r in b)) for b in drawn(lengths, 20))
    assert len(spans) == 15
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_batches_come_in_random_order_of_length() -> None:
    lengths = list(range(1, 201))
    means = [np.mean(batch) for batch in drawn(lengths, 10)]
    assert means != sorted(means)


def test_rows_of_one_length() -> None:
    assert sorted(len(batch) for batch in drawn([5] * 12, 4)) == [4, 4, 4]


# --- on a data set -------------------------------------------------------------------------------------------


def data_set(lengths: list[int]) -> Any:
    """Row r has the items 1000 r + 1, 1000 r + 2, ... and the target 1000 r."""
    history = torch.zeros(len(lengths), 60, dtype=torch.long)
    for row, length in enumerate(lengths):
        history[row, :length] = 1000 * row + torch.arange(1, length + 1)
    fields = {
        "item_id_list": history,
        "item_length": torch.tensor(lengths),
        "item_id": 1000 * torch.arange(len(lengths)),
    }
    return SimpleNamespace(
        inter_feat=fields,
        item_list_length_field="item_length",
        iid_field="item_id",
        config={"LIST_SUFFIX": "_list"},
    )


def epoch(loader: LengthBuckets) -> list[tuple[list[list[int]], list[int], list[int]]]:
    return [
        tuple(batch[name].tolist() for name in ("item_id_list", "item_length", "item_id")) for batch in loader
    ]


def check_epoch(lengths: list[int], rows: int) -> None:
    """Every row comes once with its own items, cut to the longest of its batch."""
    seen = []
    for histories, sizes, targets in epoch(LengthBuckets(data_set(lengths), rows, seed=1)):
        longest = max(sizes)
        for history, size, target in zip(histories, sizes, targets, strict=True):
            assert size == lengths[target // 1000]
            assert history == [*range(target + 1, target + size + 1)] + [0] * (longest - size)
            seen.append(target // 1000)
    assert sorted(seen) == list(range(len(lengths)))


@pytest.mark.parametrize("rows", [1, 4, 1000])
@pytest.mark.parametrize("lengths", [[9], [4] * 10, [1, 60, 2, 2, 30, 7, 1, 1, 5, 44, 12]])
def test_trimmed_rows_keep_their_content(lengths: list[int], rows: int) -> None:
    check_epoch(lengths, rows)


def test_the_seed_decides_the_order_and_epochs_differ() -> None:
    lengths = np.random.default_rng(2).integers(1, 20, 60).tolist()
    first, second, other = (LengthBuckets(data_set(lengths), 6, seed) for seed in (3, 3, 4))
    epochs = [epoch(first), epoch(first)]
    assert epochs == [epoch(second), epoch(second)]
    assert epochs[0] != epochs[1]
    assert epochs[0] != epoch(other)


@pytest.mark.parametrize(
    ("n_rows", "rows", "steps"), [(12, 6, 2), (1, 6, 1), (12, 5, 2), (13, 5, 3), (100, 1, 100)]
)
def test_the_number_of_steps_is_known_before(n_rows: int, rows: int, steps: int) -> None:
    loader = LengthBuckets(data_set([5] * n_rows), rows, seed=0)
    assert len(loader) == len(epoch(loader)) == steps


def test_batches_of_recboles_data_set(tmp_path: Path) -> None:
    values = {**SMALL, "data_path": str(write_shop(tmp_path)), "train_neg_sample_args": None}
    config = Config(model="HierSRec", dataset="shop", config_dict=values)
    train = data_preparation(config, create_dataset(config))[0]._dataset
    rows = train.inter_feat
    expected = zip(
        rows["item_id_list"].tolist(), rows["item_length"].tolist(), rows["item_id"].tolist(), strict=True
    )
    found = [row for batch in epoch(LengthBuckets(train, 5, seed=1)) for row in zip(*batch, strict=True)]
    assert sorted((h[:n], n, t) for h, n, t in found) == sorted((h[:n], n, t) for h, n, t in expected)
