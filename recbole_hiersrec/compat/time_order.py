"""Defect of RecBole's time stamps: unix seconds keep a resolution of 128 s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset

from recbole_hiersrec.compat.patch import wrap
from recbole_hiersrec.errors import InputError


def exact_time_order() -> None:
    """With ``exact_time_order: true``, sort by (user, time) while the times are still float64.

    RecBole's later sorts are stable, so the order survives its rounding. Off by default: rows are RecBole's
    own. Prepared splits (``benchmark_filename``) keep the order of their files.
    Upstream: ``data/dataset/dataset.py:2207`` turns times into float32 before anything is sorted.
    """

    def build(original: Callable[..., Any]) -> Callable[..., Any]:
        def change(self: Any) -> None:
            frame = self.inter_feat
            if (
                self.config["exact_time_order"]
                and not self.benchmark_filename_list
                and isinstance(frame, pd.DataFrame)
            ):
                self.inter_feat = _sorted(frame, self.uid_field, self.time_field)
            original(self)

        return change

    wrap(Dataset, "_change_feat_format", build)


def _sorted(frame: pd.DataFrame, user: str, time: str | None) -> pd.DataFrame:
    """Rows by user, then time; ties stay in the order of the file."""
    if time not in frame:
        raise InputError(
            f"exact_time_order: true needs the time column '{time}' (TIME_FIELD), which is not loaded "
            f"(loaded: {', '.join(frame.columns)})"
        )
    order = np.lexsort((frame[time].to_numpy(), frame[user].to_numpy()))
    return frame.iloc[order].reset_index(drop=True)
