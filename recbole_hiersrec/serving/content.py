"""What a model folder holds beside the weights, so that it can be served alone: two files of a checkpoint.

Axes: N items (ids 1..N, 0 is PAD), K lists, A augmented width, M levels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from recbole_hiersrec.retrieval.lists import Lists

ARRAYS, TITLES = "serving.safetensors", "titles.json"


@dataclass(frozen=True)
class Serving:
    """What a recommender needs beside the model.

    Attributes:
        counts: training interactions of each item, int64 [N + 1].
        lists: the inverted lists that candidates come from. Kept, as k-means takes longer than all else of loading.
        temperatures: of each level that is predicted, what its logits are divided by before they become
            probabilities; see :func:`~recbole_hiersrec.serving.calibration.fit_temperature`.
        titles: as they stood in the .item file, of ids 1..N; empty if the model was told of none.
    """

    counts: np.ndarray
    lists: Lists
    temperatures: tuple[float, ...]
    titles: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write the files into ``folder``."""
        arrays = {
            "counts": self.counts.astype(np.int64),
            "centroids": self.lists.centroids,
            "offsets": self.lists.offsets,
            "members": self.lists.members,
            "temperatures": np.array(self.temperatures, np.float64),
        }
        save_file(arrays, folder / ARRAYS)
        (folder / TITLES).write_text(json.dumps(self.titles, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, n_items: int) -> Serving:
        """Read what :meth:`save` wrote for ``n_items`` items.

        Raises:
            ValueError, KeyError, OSError, SafetensorError: it is not that.
        """
        arrays = load_file(folder / ARRAYS)
        titles = json.loads((folder / TITLES).read_text(encoding="utf-8"))
        counts, offsets, members = (_integers(arrays, name) for name in ("counts", "offsets", "members"))
        centroids, temperatures = arrays["centroids"], arrays["temperatures"]
        if counts.shape != (n_items + 1,) or counts.min() < 0:
            raise ValueError(f"counts of shape {counts.shape} for {n_items} items")
        if not np.array_equal(np.sort(members), np.arange(1, n_items + 1)):
            raise ValueError(f"lists do not hold each of {n_items} items once")
        whole = len(offsets) > 1 and offsets[0] == 0 and offsets[-1] == n_items
        if not whole or (np.diff(offsets) < 1).any():
            raise ValueError("lists overlap, are empty, or do not hold all items")
        _require(
            centroids,
            np.float32,
            (len(offsets) - 1, centroids.shape[-1] if centroids.ndim else 0),
            "centroids",
        )
        _require(temperatures, np.float64, (temperatures.size,), "temperatures")
        if (temperatures <= 0).any():
            raise ValueError("temperatures that are not above 0")
        if not _texts(titles) or len(titles) not in (0, n_items):
            raise ValueError(f"{TITLES} is no list of {n_items} texts")
        return cls(counts, Lists(centroids, offsets, members), tuple(temperatures.tolist()), tuple(titles))


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _integers(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    found = arrays[name]
    if found.dtype != np.int64 or found.ndim != 1:
        raise ValueError(f"{name} is no row of whole numbers")
    return found


def _require(values: np.ndarray, dtype: type, shape: tuple[int, ...], name: str) -> None:
    if values.dtype != dtype or values.shape != shape or not np.isfinite(values).all():
        raise ValueError(
            f"{name}: received {values.dtype} of shape {values.shape}, or one that is not finite"
        )
