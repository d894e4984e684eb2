"""HierSRecDataset: training rows that cover each target once, everything else RecBole's own."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from atomic_files import SMALL, write_shop
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec import register
from recbole_hiersrec.model.loss import next_items

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402

from recbole_hiersrec.data.dataset import HierSRecDataset, covering_rows  # noqa: E402

COLUMNS = {
    "interactions": None,
    "with the catalogue's ids": {"inter": "*", "item": ["item_id"]},
    "with categories": {
        "inter": ["user_id", "item_id", "timestamp"],
        "item": ["item_id", "department", "class"],
    },
}


def parts(model: str, data_path: Path, dataset: str = "shop", **settings: Any) -> list[Any]:
    values = {**SMALL, "train_neg_sample_args": None, "data_path": str(data_path), **settings}
    config = Config(model=model, dataset=dataset, config_dict=values)
    return [loader._dataset for loader in data_preparation(config, create_dataset(config))]


def digest(dataset: Any) -> str:
    """Hash of a part: ids, tokens, rows, in order."""
    rows = dataset.inter_feat
    sha = hashlib.sha256(repr(list(dataset.field2id_token[dataset.iid_field])).encode())
    for field in (
        dataset.uid_field,
        dataset.item_id_list_field,
        dataset.item_list_length_field,
        dataset.iid_field,
    ):
        sha.update(rows[field].numpy().tobytes())
    return sha.hexdigest() + f" {dataset.item_num}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS.keys())
def test_validation_and_test_rows_are_recboles(shop: Path, columns: Any) -> None:
    chosen = {} if columns is None else {"load_col": columns}
    theirs = parts("SASRec", shop, **chosen)
    ours = parts("HierSRec", shop, category_fields=["department", "class"], title_field="title", **chosen)
    assert isinstance(ours[0], HierSRecDataset)
    assert [digest(part) for part in ours[1:]] == [digest(part) for part in theirs[1:]]


@pytest.mark.slow
def test_rows_of_ml_100k_are_recboles() -> None:
    theirs, ours = parts("SASRec", Path(), "ml-100k"), parts("HierSRec", Path(), "ml-100k")
    assert [digest(part) for part in ours[1:]] == [digest(part) for part in theirs[1:]]
    assert len(theirs[0]) == 97_171


def test_catalogue_items_stay_out_unless_recbole_loads_them(tmp_path: Path) -> None:
    data_path = write_shop(tmp_path)
    with (data_path / "shop" / "shop.item").open("a", encoding="utf-8") as file:
        file.write("i99\td9\tc9\tnever sold\n")
    fields = {"category_fields": ["department"]}
    assert parts("HierSRec", data_path, **fields)[0].item_num == 11
    loaded = parts("HierSRec", data_path, load_col={"inter": "*", "item": ["item_id"]}, **fields)[0]
    assert loaded.item_num == 12
    assert loaded.catalogue.taxonomy.sizes == (3,)


def covered(train: Any) -> Counter[tuple[int, int]]:
    """(user, target) of every position that is learned from."""
    rows = train.inter_feat
    labels = next_items(
        rows[train.item_id_list_field], rows[train.item_list_length_field], rows[train.iid_field]
    )
    users = rows[train.uid_field].unsqueeze(1).expand_as(labels)
    real = labels > 0
    return Counter(zip(users[real].tolist(), labels[real].tolist(), strict=True))


@pytest.mark.parametrize("length", [2, 3, 4, 5, 9])
def test_every_training_target_is_covered_once(shop: Path, length: int) -> None:
    theirs = parts("SASRec", shop, MAX_ITEM_LIST_LENGTH=length)[0]
    ours = parts("HierSRec", shop, MAX_ITEM_LIST_LENGTH=length)[0]
    wanted = Counter(
        zip(
            theirs.inter_feat[theirs.uid_field].tolist(),
            theirs.inter_feat[theirs.iid_field].tolist(),
            strict=True,
        )
    )
    assert covered(ours) == wanted
    assert len(ours) <= len(theirs)


def test_item_counts_are_the_training_interactions(shop: Path) -> None:
    for length in (2, 9):
        counts = parts("HierSRec", shop, MAX_ITEM_LIST_LENGTH=length)[0].item_counts
        assert counts.sum() == 12 * 4  # 6 interactions a session, the last two held out
        assert counts[0] == 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 4), st.randoms())
def test_covering_rows_of_interleaved_sessions(sizes: list[int], max_length: int, random: Any) -> None:
    users = [user for user, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(users)
    seen: Counter[int] = Counter()
    lengths = []
    for user in users:
        seen[user] += 1
        lengths.append(min(seen[user], max_length))
    keep, starts = covering_rows(np.array(users), np.array(lengths), max_length)
    assert sum(lengths[row] for row in keep) == sum(sizes)
    assert sorted(users[row] for row in starts) == sorted(set(users))


def test_rows_that_are_no_prefixes_are_all_kept() -> None:
    keep, starts = covering_rows(np.array([1, 1, 2]), np.array([3, 5, 4]), 5)
    assert keep.tolist() == [0, 1, 2]
    assert starts.tolist() == [0, 1, 2]


def test_labels_are_the_items_that_follow() -> None:
    labels = next_items(
        torch.tensor([[4, 5, 6, 0], [7, 0, 0, 0]]), torch.tensor([3, 1]), torch.tensor([9, 8])
    )
    assert labels.tolist() == [[5, 6, 9, 0], [8, 0, 0, 0]]
