"""Whole training sessions, put together again from the rows that models learn from.

Axes: S sessions, T clicks of all of them, K training rows, L the maximum length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recbole_hiersrec.data.dataset import history_field, kept_of
from recbole_hiersrec.data.manifest import read_manifest
from recbole_hiersrec.data.taxonomy import IntArray
from recbole_hiersrec.errors import InputError

LATEST = 1e11  # seconds since 1970: the year 5138; milliseconds since 1973 are more


@dataclass(frozen=True)
class PastSessions:
    """Training sessions, whole whatever the maximum length is.

    Attributes:
        items: item ids, session after session, each in the order of its clicks, [T].
        sizes: clicks of each session, [S].
        users: user id of each, [S].
        ends: time of each one's last click as RecBole has it (float32: unix seconds to 64 or 128 s), [S]; None: the
            data have no times.
    """

    items: IntArray
    sizes: IntArray
    users: IntArray
    ends: NDArray[np.float32] | None


def past_sessions_of(dataset: Any) -> PastSessions:
    """The sessions of a training part, in the order of the data set.

    A row's history begins with the target of the row before it in its session; that item is taken once.

    Raises:
        InputError: the data set is of another class than this package's, was not split, or its times are no seconds.
    """
    kept, rows = kept_of(dataset), dataset.inter_feat
    order = np.lexsort((kept.place, kept.run))
    run, begins = kept.run[order], kept.place[order] < dataset.max_item_list_len
    history, lengths, targets, users = (
        rows[field].numpy()[order]
        for field in (
            history_field(dataset),
            dataset.item_list_length_field,
            dataset.iid_field,
            dataset.uid_field,
        )
    )
    clicks = np.pad(history, ((0, 0), (0, 1)))  # [K, L + 1]
    clicks[np.arange(len(clicks)), lengths] = targets
    inside = np.arange(clicks.shape[1]) <= lengths[:, None]
    inside[:, 0] = begins
    last = np.flatnonzero(np.r_[run[1:] != run[:-1], True])
    ends = rows[dataset.time_field].numpy()[order][last] if has_times(dataset) else None
    if ends is not None and ends.max() > LATEST:
        where = f"data set '{dataset.dataset_name}', column {dataset.time_field}"
        raise InputError(
            f"{where}: received {ends.max():.0f}, allowed: seconds up to {LATEST:.0f} (milliseconds?)"
        )
    return PastSessions(
        items=clicks[inside],
        sizes=np.bincount(run, inside.sum(1)).astype(np.int64),
        users=users[last],
        ends=ends,
    )


def has_times(dataset: Any) -> bool:
    """Whether the data set has a time column, and not one that preparation made up out of an order."""
    manifest = read_manifest(Path(dataset.config["data_path"]))
    stamped = manifest is None or manifest["time"] != "order"
    return stamped and dataset.time_field is not None and dataset.time_field in dataset.inter_feat
