"""What the compatibility layer makes faster in RecBole's data: exactly what RecBole's own code makes, in order."""

from __future__ import annotations

import copy
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from atomic_files import SMALL, write_shop, write_split
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from recbole_hiersrec import register
from recbole_hiersrec.errors import InputError

register()

from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset  # noqa: E402
from recbole.data.dataset import Dataset, SequentialDataset  # noqa: E402
from recbole.data.interaction import Interaction  # noqa: E402
from recbole.sampler import RepeatableSampler  # noqa: E402

from recbole_hiersrec.compat.reading import _read_csv, lean_reading  # noqa: E402
from recbole_hiersrec.compat.splitting import Groups  # noqa: E402
from recbole_hiersrec.data.dataset import covering_rows  # noqa: E402

HEAD = "user_id:token\titem_id:token\ttimestamp:float\tprice:float\ttags:token_seq\tweights:float_seq"
ROW = st.tuples(
    st.integers(0, 3),
    st.integers(0, 5),
    st.integers(0, 4),
    st.sampled_from(["1", "2.5", "-3"]),
    st.sampled_from(["a", "b c", "a b c", ""]),
    st.sampled_from(["0.5", "1 2", "3 4 5"]),
)
FIRST = "u0\ti0\t0\t1\ta b c\t1 2 3"
"""One row with the longest sequences, and every column filled."""
EVERY = {"load_col": None, "train_neg_sample_args": None, "gpu_id": ""}


def write_log(folder: Path, rows: list[Any]) -> None:
    (folder / "log").mkdir()
    lines = [f"u{user}\ti{item}\t{time}\t" + "\t".join(rest) for user, item, time, *rest in rows]
    (folder / "log" / "log.inter").write_text("\n".join([HEAD, FIRST, *lines]) + "\n", encoding="utf-8")


def created(model: str, folder: Path, **given: Any) -> Any:
    values = {**SMALL, **EVERY, "data_path": str(folder), **given}
    return create_dataset(Config(model=model, dataset="log", config_dict=values))


def same(ours: Any, theirs: Any) -> None:
    """Fields in order, types, shapes, values, and what RecBole knows of the fields."""
    assert ours.inter_feat.columns == theirs.inter_feat.columns
    for field in theirs.inter_feat:
        found, wanted = ours.inter_feat[field], theirs.inter_feat[field]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), field
        assert torch.equal(found, wanted), field
    for name in ("field2type", "field2source", "field2seqlen"):
        assert list(getattr(ours, name).items()) == list(getattr(theirs, name).items())


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, max_size=20), st.integers(1, 4), st.sampled_from([[], ["price"], ["price", "weights"]]))
@example([], 3, [])
def test_prefix_rows_are_recboles(rows: list[Any], max_length: int, numerical: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), rows)
        ours = created("SASRec", Path(folder), MAX_ITEM_LIST_LENGTH=max_length, numerical_features=numerical)
    Dataset._change_feat_format(ours)
    theirs = copy.copy(ours)
    theirs.inter_feat = copy.deepcopy(ours.inter_feat)
    for name in ("field2type", "field2source", "field2seqlen"):
        setattr(theirs, name, dict(getattr(ours, name)))
    ours.data_augmentation()
    SequentialDataset.data_augmentation.__wrapped__(theirs)
    same(ours, theirs)


SPLITS: list[dict[str, Any]] = [
    {"split": {"LS": "valid_and_test"}, "group_by": "user"},
    {"split": {"LS": "valid_only"}, "group_by": "user"},
    {"split": {"LS": "test_only"}, "group_by": "user"},
    {"split": {"RS": [0.6, 0.2, 0.2]}, "group_by": "user"},
    {"split": {"RS": [0.6, 0.2, 0.2]}, "group_by": None},
    {"split": {"TS": [0.6, 0.2, 0.2]}, "group_by": "user"},
]


def recboles_own() -> ExitStack:
    """RecBole's slow code back in its place."""
    stack = ExitStack()
    for owner, name in (
        (SequentialDataset, "data_augmentation"),
        (Dataset, "_filter_by_inter_num"),
        (Dataset, "_grouped_index"),
        (Dataset, "_split_index_by_leave_one_out"),
        (Interaction, "__getitem__"),
    ):
        stack.enter_context(patch.object(owner, name, getattr(owner, name).__wrapped__))
    stack.enter_context(patch("recbole.data.dataset.dataset.pd", pd))
    return stack


def same_parts(folder: Path, dataset: str = "log", **given: Any) -> list[int]:
    """Compare the parts of HierSRecDataset with RecBole's and the rows chosen from them; returns their sizes."""
    values = {**SMALL, **EVERY, "data_path": str(folder), **given}
    with recboles_own():
        theirs = create_dataset(Config(model="SASRec", dataset=dataset, config_dict=values)).build()
    ours = create_dataset(Config(model="HierSRec", dataset=dataset, config_dict=values))
    train = theirs[0].inter_feat
    if len(train) == 0:
        with pytest.raises(InputError, match="no training case"):
            ours.build()
        return [0]
    users, history, lengths, targets = (
        train[field].numpy() for field in ("user_id", "item_id_list", "item_length", "item_id")
    )
    keep, _ = covering_rows(users, history, lengths, targets, given["MAX_ITEM_LIST_LENGTH"])
    seen = np.concatenate([targets, history[lengths == 1, 0] if given["MAX_ITEM_LIST_LENGTH"] > 1 else []])
    theirs[0].inter_feat = train[keep]
    parts = ours.build()
    for own, wanted in zip(parts, theirs, strict=True):
        same(own, wanted)
    if given["MAX_ITEM_LIST_LENGTH"] > 1:
        counts = np.bincount(seen.astype(int), minlength=ours.item_num)
        assert parts[0].item_counts.tolist() == counts.tolist()
    return [len(part.inter_feat) for part in parts]


@settings(max_examples=40, deadline=None)
@given(st.lists(ROW, min_size=4, max_size=25), st.integers(1, 4), st.sampled_from(SPLITS), st.booleans())
def test_parts_are_those_of_full_rows(
    rows: list[Any], max_length: int, split: dict[str, Any], exact: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), rows)
        given: dict[str, Any] = {
            "eval_args": {**split, "order": "TO", "mode": "full"},
            "exact_time_order": exact,
        }
        sizes = same_parts(Path(folder), MAX_ITEM_LIST_LENGTH=max_length, **given)
    assume(sizes[0] > 0)


@pytest.mark.parametrize("cases", ["every-prefix", "last-item"])
def test_parts_of_a_prepared_split_are_those_of_full_rows(tmp_path: Path, cases: str) -> None:
    write_split(write_shop(tmp_path))
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    sizes = same_parts(tmp_path, "shop", MAX_ITEM_LIST_LENGTH=3, prepared_split=cases, load_col=columns)
    assert sizes == ([16, 10, 10] if cases == "every-prefix" else [16, 2, 2])


@pytest.mark.parametrize("unused", [["timestamp_list"], ["timestamp"], ["price", "price_list", "tags_list"]])
def test_columns_that_recbole_drops_after_the_split_stay_out(tmp_path: Path, unused: list[str]) -> None:
    write_log(tmp_path, [(user, item, item, "1", "a b", "2") for user in range(3) for item in range(6)])
    assert same_parts(tmp_path, MAX_ITEM_LIST_LENGTH=3, unused_col={"inter": unused})[1:] == [3, 3]


@pytest.mark.slow
def test_prefix_rows_of_ml_100k_are_recboles() -> None:
    values = {**SMALL, "train_neg_sample_args": None, "MAX_ITEM_LIST_LENGTH": 20}
    config = Config(model="SASRec", dataset="ml-100k", config_dict=values)
    ours = create_dataset(config).build()
    with recboles_own():
        theirs = create_dataset(config).build()
    for own, wanted in zip(ours, theirs, strict=True):
        same(own, wanted)


# --- reading ---------------------------------------------------------------------------------------------

CELLS = st.one_of(
    st.sampled_from(["NA", "nan", "", "007", "7.0", " a", "b ", '"q"', '5"', "it's", "#1", "a\rb", "ключ", "\ufeff"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\t\n\r"), max_size=4),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-10, 10**12).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str),
    st.sampled_from(
        ["1e3", "", "NA", " 5", "5.", "-0", "1_000", "inf", "0.1000000000000000055511151231257827"]
    ),
)


def read(path: Path, wanted: list[str], reader: Any) -> Any:
    types = {name: np.float64 if name.endswith(":float") else str for name in wanted}
    try:
        return reader(
            str(path), delimiter="\t", usecols=wanted, dtype=types, encoding="utf-8", engine="python"
        )
    except (ValueError, pd.errors.ParserError) as error:
        return type(error)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(CELLS, CELLS, NUMBERS), max_size=6), st.booleans(), st.sampled_from(["", "\n", "x\n"])
)
def test_a_file_is_read_as_pandas_reads_it(rows: list[Any], every: bool, end: str) -> None:
    names = ["a:token", "b:token_seq", "t:float"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.inter"
        lines = ["\t".join(names), *("\t".join(row) for row in rows)]
        path.write_text("\n".join(lines) + "\n" + end, encoding="utf-8", newline="\n")
        wanted = names if every else [names[0], names[2]]
        ours, theirs = (read(path, wanted, reader) for reader in (_read_csv, pd.read_csv))
    if isinstance(theirs, type):
        assert ours is theirs
        return
    # pandas' own parser may be off in the last bit of a number of 16 digits.
    pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-14, atol=0)
    for name in wanted:
        assert [type(cell) for cell in ours[name]] == [type(cell) for cell in theirs[name]]


def test_equal_tokens_are_one_object(tmp_path: Path) -> None:
    """So the lean way is taken, and missing values are pandas'."""
    path = tmp_path / "log.inter"
    path.write_text("a:token\tt:float\n" + "long name\t1.5\n" * 3 + "NA\t2\n", encoding="utf-8")
    table = read(path, ["a:token", "t:float"], _read_csv)
    assert table["a:token"][0] is table["a:token"][2]
    assert table["a:token"].isnull().tolist() == [False, False, False, True]
    table.loc[0, "t:float"] = 9.0  # RecBole writes into it


def test_only_recboles_data_sets_read_in_the_lean_way() -> None:
    import recbole.data.dataset.dataset as theirs

    before = theirs.pd
    lean_reading()
    assert theirs.pd is before
    assert theirs.pd.read_csv is _read_csv
    assert pd.read_csv is not _read_csv
    assert theirs.pd.DataFrame is pd.DataFrame


# --- filtering and splitting -----------------------------------------------------------------------------

KEYS = st.lists(st.integers(0, 4), min_size=1, max_size=30)


@given(KEYS, st.integers(1, 2))
def test_groups_and_what_is_left_out_are_recboles(keys: list[int], leave: int) -> None:
    values = np.array(keys)
    theirs = Dataset._grouped_index.__wrapped__(None, values)
    groups = Groups(values)
    assert list(groups) == list(theirs)
    assert len(groups) == len(theirs)
    split = Dataset._split_index_by_leave_one_out
    wanted = split.__wrapped__(None, theirs, leave)
    assert [part.tolist() for part in split(None, groups, leave)] == wanted
    assert split(None, list(theirs), leave) == wanted  # groups of somebody else's making


@pytest.mark.parametrize(
    "index",
    [
        np.array([2, 0, -1]), torch.tensor([1, 1]), np.array([], dtype=np.int64), np.array([]), [0, 2],
        np.array([True, False, True]), torch.tensor([False, True, True]), slice(1, 3), range(2), 1,
        np.array([1, 2], dtype=np.int32), torch.tensor(2),
    ],
)  # fmt: skip
def test_rows_of_an_interaction_are_recboles(index: Any) -> None:
    rows = Interaction({"a": torch.arange(3), "b": torch.arange(6.0).view(3, 2)})
    ours, theirs = rows[index], Interaction.__getitem__.__wrapped__(rows, index)
    assert len(ours) == len(theirs)
    for field in ("a", "b"):
        assert torch.equal(ours[field], theirs[field])
    assert torch.equal(rows["a"], torch.arange(3))


def test_a_row_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError, match="out of bounds"):
        Interaction({"a": torch.arange(3)})[np.array([3])]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(ROW, min_size=4, max_size=25),
    st.sampled_from(["[0,inf)", "[2,inf)", "[0,6]", None]),
    st.booleans(),
)
def test_rows_that_are_filtered_out_are_recboles(rows: list[Any], interval: str | None, users: bool) -> None:
    chosen = {"user_inter_num_interval" if users else "item_inter_num_interval": interval}
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), rows)
        found = []
        for stack in (ExitStack(), recboles_own()):
            with stack:
                try:
                    found.append(created("SASRec", Path(folder), **chosen).inter_feat)
                except ValueError as error:  # nothing is left
                    found.append(str(error))
    ours, theirs = found
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        pd.testing.assert_frame_equal(
            ours.drop(columns=["tags", "weights"]), theirs.drop(columns=["tags", "weights"])
        )


def test_nothing_is_counted_to_filter_nothing(tmp_path: Path) -> None:
    write_log(tmp_path, [(0, 1, 2, "1", "a", "1")])
    with patch("recbole.data.dataset.dataset.Counter", side_effect=AssertionError):
        created("SASRec", tmp_path)
        with pytest.raises(AssertionError):
            created("SASRec", tmp_path, item_inter_num_interval="[1,inf)")


def test_no_user_has_used_items_before_negatives_are_drawn(tmp_path: Path) -> None:
    write_log(tmp_path, [(user, item, item, "1", "a", "1") for user in range(3) for item in range(6)])
    dataset = created("SASRec", tmp_path)
    sampler = RepeatableSampler("train", dataset)
    theirs = RepeatableSampler.get_used_ids.__wrapped__(sampler)
    assert sampler.used_ids.tolist() == theirs.tolist()
    assert sampler.used_ids.shape == theirs.shape
    drawn = sampler.sample_by_user_ids(np.array([1, 2]), np.array([3, 4]), 50)
    assert set(drawn[::2].tolist()) == {1, 2, 4, 5, 6} - {3}
