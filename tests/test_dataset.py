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
from hypothesis import assume, given
from hypothesis import strategies as st

from recbole_hiersrec import register
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.model.loss import next_items

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model  # noqa: E402

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


def write_sessions(data_path: Path, sessions: list[str], step: int) -> Path:
    """Sessions of one-letter items, ``step`` seconds between two clicks; returns ``data_path``."""
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for number, items in enumerate(sessions):
        rows += [f"u{number}\t{item}\t{1000 + place * step}" for place, item in enumerate(items)]
    (data_path / "log").mkdir()
    (data_path / "log" / "log.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return data_path


def words(part: Any) -> list[tuple[str, str]]:
    """(history, target) of each row, in letters."""
    rows, letters = part.inter_feat, part.field2id_token[part.iid_field]
    columns = (
        rows[field] for field in (part.item_id_list_field, part.item_list_length_field, part.iid_field)
    )
    return [("".join(letters[h[:n]]), str(letters[t])) for h, n, t in zip(*columns, strict=True)]


@pytest.mark.parametrize("step", [1, 0], ids=["in time", "all at the same time"])
def test_sessions_of_every_length(tmp_path: Path, step: int) -> None:
    """One item: no row. Two: training only. Three: no validation. Longer than the maximum: cut, and all targets."""
    data_path = write_sessions(tmp_path, ["A", "BC", "DEF", "GHIJ", "KLMNOPQ"], step)
    train, valid, test = parts("HierSRec", data_path, "log", MAX_ITEM_LIST_LENGTH=3)
    assert sorted(words(train)) == [("B", "C"), ("D", "E"), ("G", "H"), ("K", "L"), ("LMN", "O")]
    assert sorted(words(valid)) == [("GH", "I"), ("MNO", "P")]
    assert sorted(words(test)) == [("DE", "F"), ("GHI", "J"), ("NOP", "Q")]
    counted = {
        str(token): int(n)
        for token, n in zip(train.field2id_token["item_id"], train.item_counts, strict=True)
    }
    assert [token for token, n in counted.items() if n == 1] == list("BCDEGHKLMNO")
    assert sum(counted.values()) == 11


def test_sessions_of_one_item_alone_are_an_error(tmp_path: Path) -> None:
    data_path = write_sessions(tmp_path, ["A", "B", "C"], 1)
    with pytest.raises(InputError, match="'log' has no training case: every session is too short"):
        parts("HierSRec", data_path, "log")


def test_the_log_is_let_go_once_the_rows_have_their_lists(shop: Path) -> None:
    config = Config(
        model="HierSRec",
        dataset="shop",
        config_dict={**SMALL, "train_neg_sample_args": None, "data_path": str(shop)},
    )
    dataset = create_dataset(config)
    built = dataset.build()
    assert [part._log for part in (dataset, *built)] == [None] * 4
    assert all(field in built[0].inter_feat for field in ("item_id_list", "timestamp_list"))
    assert not any(field.startswith("[") for part in built for field in part.inter_feat)


def test_the_whole_data_set_keeps_rows_that_a_model_can_read(shop: Path) -> None:
    """RecBole's get_flops takes a row of it, after the split, and runs the model's predict on it."""
    settings = {**SMALL, "train_neg_sample_args": None, "data_path": str(shop)}
    config = Config(model="HierSRec", dataset="shop", config_dict=settings)
    dataset = create_dataset(config)
    train = data_preparation(config, dataset)[0]._dataset
    model = get_model("HierSRec")(config, train).eval()
    row = dataset[torch.tensor([1])]
    with torch.no_grad():
        score = model.predict(row)
        every = model.full_sort_predict(row)
    assert score.shape == (1,)
    assert score[0].item() == pytest.approx(every[0, row["item_id"][0]].item(), abs=1e-5)


Row = tuple[int, list[int], int]
"""User, history, target."""


def prefixes(user: int, session: list[int], max_length: int) -> list[Row]:
    """All prefix rows of a session, the last ``max_length`` items of each."""
    return [(user, session[:end][-max_length:], session[end]) for end in range(1, len(session))]


def choose(rows: list[Row], max_length: int) -> tuple[list[int], list[int]]:
    history = np.array([past + [0] * (max_length - len(past)) for _, past, _ in rows])
    users, targets = np.array([user for user, _, _ in rows]), np.array([target for _, _, target in rows])
    keep, starts = covering_rows(
        users, history, np.array([len(past) for _, past, _ in rows]), targets, max_length
    )
    return keep.tolist(), starts.tolist()


def learned(rows: list[Row], keep: list[int]) -> Counter[tuple[int, int]]:
    """(user, target) of every position of the kept rows."""
    return Counter(
        (user, item) for user, past, target in (rows[k] for k in keep) for item in [*past[1:], target]
    )


sessions = st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=9), min_size=1, max_size=5)


@given(sessions, st.integers(1, 4), st.randoms())
def test_covering_rows_of_interleaved_sessions(items: list[list[int]], max_length: int, random: Any) -> None:
    queues = [prefixes(user, session, max_length) for user, session in enumerate(items)]
    rows = []
    while any(queues):
        rows.append(random.choice([queue for queue in queues if queue]).pop(0))
    keep, starts = choose(rows, max_length)
    assert learned(rows, keep) == Counter((user, target) for user, _, target in rows)
    assert sorted(rows[row][0] for row in starts) == list(range(len(items)))


@given(sessions, st.randoms())
def test_prefixes_in_any_order_are_recognised(items: list[list[int]], random: Any) -> None:
    """As in prepared splits that list the longest prefix first; here nothing is longer than the maximum."""
    rows = [row for user, session in enumerate(items) for row in prefixes(user, session, 10)]
    random.shuffle(rows)
    keep, _ = choose(rows, 10)
    assert learned(rows, keep) == Counter((user, target) for user, _, target in rows)
    assert len(keep) == len(items)


def test_several_sessions_of_one_user_are_several_runs() -> None:
    rows = prefixes(1, [3, 4, 5], 9) + prefixes(1, [6, 7, 8, 9], 9)
    assert choose(rows, 9) == ([1, 4], [1, 4])


@given(sessions, st.integers(1, 4), st.integers(0, 3))
def test_prefixes_whose_first_are_left_out(items: list[list[int]], max_length: int, skipped: int) -> None:
    """As of a prepared split of sessions with at least so many items: every target once, those before at most once."""
    rows = [row for user, past in enumerate(items) for row in prefixes(user, past, max_length)[skipped:]]
    assume(rows)
    keep, starts = choose(rows, max_length)
    found = learned(rows, keep)
    assert not Counter((user, target) for user, _, target in rows) - found
    assert not found - Counter((user, item) for user, past in enumerate(items) for item in past[1:])
    assert [rows[row][0] for row in starts] == list(dict.fromkeys(user for user, _, _ in rows))


def test_rows_that_do_not_grow_from_each_other_are_all_kept() -> None:
    rows: list[Row] = [(1, [3], 4), (1, [7, 8], 9), (2, [5, 6, 7], 8)]
    assert choose(rows, 5) == ([0, 1, 2], [0, 1, 2])


def test_prepared_split_with_the_longest_prefix_first(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    head = "session_id:token\titem_id_list:token_seq\titem_id:token\n"
    texts = {"train": "s1\ta b c\td\ns1\ta b\tc\ns1\ta\tb\n", "valid": "s2\ta b\tc\n", "test": "s3\tb c\td\n"}
    for name, text in texts.items():
        (folder / f"split.{name}.inter").write_text(head + text, encoding="utf-8")
    settings = {
        "benchmark_filename": ["train", "valid", "test"],
        "USER_ID_FIELD": "session_id",
        "load_col": None,
        "alias_of_item_id": ["item_id_list"],
    }
    train = parts("HierSRec", tmp_path, "split", **settings)[0]
    assert sorted(covered(train).values()) == [1, 1, 1]
    assert train.item_counts.tolist() == [0, 1, 1, 1, 1]


def test_labels_are_the_items_that_follow() -> None:
    labels = next_items(
        torch.tensor([[4, 5, 6, 0], [7, 0, 0, 0]]), torch.tensor([3, 1]), torch.tensor([9, 8])
    )
    assert labels.tolist() == [[5, 6, 9, 0], [8, 0, 0, 0]]
