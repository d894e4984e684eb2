"""The ranks of a job's test cases on disk: what a job writes, what a publication keeps, and how both are read.

Arrays of jobs/<key>/ranks.npz, one value a test case:

- all, <rule>@<f>, history masked or unmasked: rank of the target; infinite where it is no candidate
- target, session: item id of the target, number of the session
- length: items before the target, however many of them a model is shown
- target popularity: training interactions of the target
- repeated: whether the target stands in the history that a model is shown
- category: of the target, on the level that record.json names: index in the names there, or their number for the others
- category hit, level <m>: <name>: whether the likeliest category is the target's

and as [different numbers, 2], (number, cases that have it):

- scored <rule>@<f>, compared <rule>@<f>
- scanned exact: vectors that the exact search looked at, of one it looked at in part that part
- majority, level <m>: <name>: 1 where the training part's most frequent category is the target's, 0 elsewhere

- recommended at <k>: lists of k items that an item is in, and the items

and as [different popularities, 3] of (training interactions of an item, items, lists that they are in): recommended by
popularity at <k>. Records of earlier versions lack the last four.

A publication tells ranks up to :func:`depth_of` apart, 100 among all items and the largest k of the metrics among
candidates; those beyond are all depth + 1. What belongs to the cases
(:data:`CASES`, of which jobs of older versions lack some) it keeps once for all jobs of the same cases, in
cases/<hash>.npz.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recbole_hiersrec.arrays import read_arrays, write_arrays
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.retrieval.budget import candidate_label

FILE = "ranks.npz"
CASES = ("target", "session", "length", "target popularity", "repeated", "category")
DEPTH = 100
SCANNED_EXACT = "scanned exact"
MAJORITY = "majority"
RECOMMENDED = "recommended"
COUNTS = ("scored ", "compared ", SCANNED_EXACT, MAJORITY, RECOMMENDED)
HITS = "category hit"
SHARED = "shared"  # names of the arrays that lie in cases/<hash>.npz

Ranks = Mapping[str, np.ndarray]


def counted(numbers: np.ndarray) -> np.ndarray:
    """How many cases have each number: [different numbers, 2], for an array [cases]."""
    return np.stack(np.unique(numbers, return_counts=True), axis=1)


def recommended_arrays(k: int, lists: np.ndarray, training: np.ndarray) -> dict[str, np.ndarray]:
    """How often items are recommended, as ranks.npz keeps it; :func:`recommended` is the inverse but for the order.

    Args:
        k: length of the lists.
        lists: int64 [N], lists of k items that each item is in.
        training: int64 [N], training interactions of each item.
    """
    levels, of = np.unique(training, return_inverse=True)
    items, total = np.bincount(of), np.bincount(of, weights=lists).astype(np.int64)
    return {
        f"{RECOMMENDED} at {k}": counted(lists),
        f"{RECOMMENDED} by popularity at {k}": np.stack([levels, items, total], axis=1),
    }


def recommended(k: int, ranks: Ranks) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """What coverage, Gini and novelty of lists of k items follow from; None where the ranks do not know.

    Returns:
        lists that each item is in [N], in rising order; and, item by item of another order, the lists that it is in
        and its training interactions, where the lists of all items of one popularity are put down to one of them.
    """
    if f"{RECOMMENDED} at {k}" not in ranks:
        return None
    lists, items = ranks[f"{RECOMMENDED} at {k}"].T
    levels, alike, total = ranks[f"{RECOMMENDED} by popularity at {k}"].T
    together = np.zeros(alike.sum(), dtype=np.int64)
    together[np.cumsum(alike) - alike] = total
    return np.repeat(lists, items), together, np.repeat(levels, alike)


def depth_of(name: str, ks: Sequence[int]) -> int:
    """The greatest rank that a publication tells apart: 100, or the largest k of the metrics; that alone where the
    items are candidates."""
    return max(ks) if "@" in name else max(DEPTH, *ks)


def ranks_path(folder: Path, key: str) -> Path:
    """Where the ranks of job ``key`` lie in a suite's folder, or in a publication."""
    return folder / "jobs" / key / FILE


def publish_ranks(source: Path, target: Path, record: Mapping[str, Any]) -> None:
    """Copy the ranks of a record's job from a suite's folder into a publication, which needs a tenth of the space.

    Raises:
        InputError: the ranks are damaged or do not fit the record.
    """
    arrays = read_ranks(source, record)
    cases = {name: arrays[name] for name in CASES if name in arrays}
    shared = _cases_path(target, record)
    if not shared.exists():
        shared.parent.mkdir(exist_ok=True)
        write_arrays(shared, cases)
    known = read_arrays(shared)
    own = {
        name: values
        for name, values in cases.items()
        if name not in known or not np.array_equal(values, known[name])
    }
    kept = {
        name: _published(name, values, record["job"]["ks"])
        for name, values in arrays.items()
        if name not in CASES
    }
    elsewhere = {SHARED: np.array([name for name in cases if name not in own], dtype=np.str_)}
    write_arrays(ranks_path(target, record["key"]), own | elsewhere | kept)


def read_ranks(folder: Path, record: Mapping[str, Any]) -> Ranks:
    """Arrays of the record's ranks, with what is known of their cases.

    Raises:
        InputError: a file is damaged or does not fit the record.
    """
    path = ranks_path(folder, record["key"])
    arrays = read_arrays(path)
    elsewhere = arrays.pop(SHARED, np.array([], dtype=np.str_)).tolist()
    if elsewhere:
        shared = _cases_path(folder, record)
        known = read_arrays(shared)
        if missing := [name for name in elsewhere if name not in known]:
            raise InputError(f"{shared}: '{missing[0]}' is missing, which {path} leaves to it")
        arrays |= {name: known[name] for name in elsewhere}
    labels = [candidate_label(rule, share) for rule, share in candidate_keys(record)]
    n_cases = record["data"]["n_test"]
    for name in ("all", *(name for name in CASES if name in arrays), *labels):
        if name not in arrays or len(arrays[name]) != n_cases:
            received = len(arrays[name]) if name in arrays else "none"
            raise InputError(f"{path}: ranks '{name}': received {received}, expected {n_cases} test cases")
    return arrays


def differing(first: Ranks, second: Ranks, ks: Sequence[int]) -> list[str]:
    """Names of arrays that both have with other values, unless one has what a publication keeps of the other."""

    def same(name: str) -> bool:
        one, other = first[name], second[name]
        pairs = ((one, other), (_published(name, one, ks), other), (one, _published(name, other, ks)))
        return any(np.array_equal(*pair) for pair in pairs)

    return [name for name in first if name in second and not same(name)]


def candidate_keys(record: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(rule, item fraction) of the record's candidate evaluations, in rising order."""
    return sorted(
        {(r["candidate_rule"], r["item_fraction"]) for r in record["accuracy"] if r["candidate_rule"]}
    )


def _published(name: str, values: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """An array as a publication keeps it; counts of versions that noted one number a case are counted."""
    if name.startswith(COUNTS):
        return values if values.ndim == 2 else counted(values)
    if name in CASES or name.startswith(HITS):
        return values
    return np.where(np.isinf(values), values, values.clip(max=depth_of(name, ks) + 1))


def _cases_path(folder: Path, record: Mapping[str, Any]) -> Path:
    return folder / "cases" / f"{record['data']['cases'][:16]}.npz"
