"""Extension of RecBole's splits: whole sessions, in the part that data preparation gave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.utils.argument_list import dataset_arguments

from recbole_hiersrec.compat.patch import wrap
from recbole_hiersrec.data.parts import PARTS, TRAIN, parts_of
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.settings import TestCases

KEY = "prepared_split"


def prepared_split() -> None:
    """With ``prepared_split: every-prefix`` or ``last-item``, take the parts from ``NAME.user``, column ``part``.

    Training keeps every prefix of its sessions; validation and test keep every prefix too, or only the one before the
    last item of each session. RecBole's ``eval_args: split`` and its group have no say then. The parts come in
    RecBole's order of rows: by session, then by time.

    Upstream: ``data/dataset/dataset.py:1806`` splits by ratios, by leave-one-out, or by files of ready-made prefixes;
    its splits by ratio and by time cut prefix rows, not sessions. ``data/utils.py:122`` takes up saved data loaders
    if the settings named in ``utils/argument_list.py`` are the same, hence the key is put there.
    """
    if KEY not in dataset_arguments:
        dataset_arguments.append(KEY)
    wrap(Dataset, "build", _with_parts)


def _with_parts(original: Callable[..., Any]) -> Callable[..., Any]:
    def build(self: Any) -> Any:
        cases = self.config[KEY]
        if cases is None:
            return original(self)
        _check(self, cases)
        return _build(self, cases)

    return build


def _check(dataset: Any, cases: Any) -> None:
    allowed = get_args(TestCases)
    if cases not in allowed:
        raise InputError(
            f"{KEY}: received {cases!r}{nearest(str(cases), allowed)} (allowed: {', '.join(allowed)})"
        )
    if not isinstance(dataset, SequentialDataset):
        raise InputError(
            f"{KEY}: {cases} needs a sequential model, whose sessions RecBole expands to prefixes; "
            f"received {dataset.config['model']}"
        )
    if dataset.benchmark_filename_list is not None:
        raise InputError(f"{KEY} and benchmark_filename are two splits; set one of them")


def _build(dataset: Any, cases: str) -> list[Any]:
    """Copies of the data set with the rows of training, validation and test."""
    dataset._change_feat_format()  # expands the prefixes: rows of a session lie together, in time order
    dataset._drop_unused_col()
    rows = dataset.inter_feat
    sessions = rows[dataset.uid_field].numpy()
    path = Path(dataset.dataset_path) / f"{dataset.dataset_name}.user"
    part = _part_of_rows(dataset, path, sessions)
    last = np.append(sessions[1:] != sessions[:-1], True)
    built = []
    for number, name in enumerate(PARTS):
        keep = part == number
        if number != TRAIN and cases == "last-item":
            keep &= last
        if not keep.any():
            raise InputError(
                f"data set '{dataset.dataset_name}': no session of part '{name}' in {path} has 2 or more interactions"
            )
        built.append(dataset.copy(rows[torch.from_numpy(np.flatnonzero(keep))]))
    return built


def _part_of_rows(dataset: Any, path: Path, sessions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Part of each row, [R], joined by session token; ``sessions`` are RecBole's ids, [R]."""
    ids, position = np.unique(sessions, return_inverse=True)
    tokens = pl.Series(dataset.field2id_token[dataset.uid_field][ids].tolist(), dtype=pl.String)
    return parts_of(path, tokens, dataset.uid_field, dataset.config["field_separator"])[position]
