"""Defect of RecBole's item universe: a loaded .item file enlarges it by items that nobody ever clicked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recbole.data.dataset import Dataset
from recbole.utils.argument_list import dataset_arguments

from recbole_hiersrec.compat.patch import wrap

KEY = "catalogue_items"


def interacted_items() -> None:
    """With ``catalogue_items: false``, rows of the .item file are loaded for the items of the interactions alone.

    So models that read item features rank the items that all others rank. Where the key is not set, the universe is
    RecBole's. Ready-made splits (``benchmark_filename``) are left as they are.
    Upstream: ``data/dataset/dataset.py:272`` loads every row, and ``:164`` gives an id to each; ``data/utils.py:63``
    takes up saved data if the settings named in ``utils/argument_list.py`` are the same, hence the key is put there.
    """
    if KEY not in dataset_arguments:
        dataset_arguments.append(KEY)
    wrap(Dataset, "_load_data", _with_interacted_items)


def _with_interacted_items(original: Callable[..., None]) -> Callable[..., None]:
    def load(self: Any, token: str, dataset_path: str) -> None:
        original(self, token, dataset_path)
        if self.config[KEY] is not False or self.item_feat is None or self.benchmark_filename_list:
            return
        known = self.item_feat[self.iid_field].isin(self.inter_feat[self.iid_field].unique())
        self.item_feat = self.item_feat[known].reset_index(drop=True)

    return load
