"""Cold start: items that training never saw, known by their metadata alone, ranked among all items.

A share of the items is taken out of everything that is trained or validated on; they stay in the item universe and
in the test targets. After training their id vector and bias are set to 0, so that what the catalogue says of them is
all the model has.

Axes: R interactions, n cases, N items (ids 1..N, 0 is PAD).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recbole_hiersrec.data.files import LINE, SEPARATOR, SHORTEST, atomic_files, header, read_columns
from recbole_hiersrec.data.parts import TEST, parts_of
from recbole_hiersrec.data.taxonomy import LEARNED
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.metrics import recall
from recbole_hiersrec.evaluation.ranks import rank_cases
from recbole_hiersrec.evaluation.scorer import Cases, InnerProductScorer
from recbole_hiersrec.evaluation.significance import Interval, mean_interval
from recbole_hiersrec.queries import Queries
from recbole_hiersrec.retrieval.cells import Cells
from recbole_hiersrec.retrieval.lists import build_lists, cell_cap

ALL_ITEMS, ADDED, RANDOM = "all items", "added to the index", "random order"


@dataclass(frozen=True)
class ColdRecall:
    """Recall at k over the test cases whose target is a held-out item.

    Attributes:
        variant: ranked among all items, among the candidates of an index that the held-out items were added to
            after it was built, or in random order (expected value).
        k: length of the list.
        recall: mean over the cases, with its interval by session.
    """

    variant: str
    k: int
    recall: Interval


def hold_out(name: str, source: str | Path, target: Path, *, share: float, seed: int) -> set[str]:
    """Copy a prepared data set without a share of its items in all that is trained or validated on.

    Temporal split: their interactions stay in test sessions. Leave-one-out: each session's last one stays, as it
    is the test target, and sessions with fewer than four interactions left go. The times are as prepared, so
    ties are in the order of the file.

    Learned category levels were clustered from training clicks, those on the held-out items among them: the cells of
    the held-out items are blank in the copy, so that they are of "(unknown)" as all items without training clicks.
    The other items stay in the clusters that they have.

    Args:
        name: of the data set.
        source: folder that holds the data set's folder.
        target: likewise for the copy.
        share: of the items with interactions, in (0, 1); at least one is held out.
        seed: of the choice, which is made among the sorted names.

    Returns:
        names of the items that were held out.

    Raises:
        InputError: no such data set, or the share is out of range.
    """
    if not 0 < share < 1:
        raise InputError(f"share: received {share}, allowed: above 0, below 1")
    files = atomic_files(name, source)
    table = read_columns(files["inter"], ["user_id", "item_id", "timestamp"])
    items = table["item_id"].to_numpy()
    names = np.unique(items.astype(str))
    drawn = np.random.default_rng(seed).choice(len(names), max(1, round(share * len(names))), replace=False)
    held = set(names[drawn].tolist())
    sessions = table["user_id"]
    number = np.unique(sessions.to_numpy().astype(str), return_inverse=True)[1]
    is_held = np.isin(items.astype(str), names[drawn])
    if is_temporal(files):
        keep = ~is_held | (parts_of(files["user"], sessions) == TEST)
    else:
        keep = rows_left(number, table["timestamp"].cast(float).to_numpy(), is_held)
    folder = target / name
    folder.mkdir(parents=True)
    lines = _lines(files["inter"])
    stay = [1, *table[LINE].to_numpy()[keep].tolist()]
    _write(folder / f"{name}.inter", [lines[number - 1] for number in stay])
    for path in files["inter"].parent.glob(f"{name}.*"):
        if path.suffix in (".user", ".yaml"):
            shutil.copyfile(path, folder / path.name)
    if "item" in files:
        _write(folder / f"{name}.item", _without_learned(files["item"], held))
    return held


def _without_learned(path: Path, items: set[str]) -> list[str]:
    """Lines of an .item file in which the cells of learned levels are blank for ``items``."""
    lines = _lines(path)
    learned = [place for place, (field, _) in enumerate(header(path)) if field.startswith(LEARNED)]
    for number, item in read_columns(path, ["item_id"]).iter_rows():
        if item in items:
            cells = lines[number - 1].split(SEPARATOR)
            for place in learned:
                cells[place] = ""
            lines[number - 1] = SEPARATOR.join(cells)
    return lines


def _lines(path: Path) -> list[str]:
    """Lines of an atomic file as its readers number them: only a line feed ends one, and tokens may hold the rest."""
    return path.read_bytes().decode("utf-8").removesuffix("\n").split("\n")


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_bytes(("\n".join(lines) + "\n").encode("utf-8"))


def is_temporal(files: Mapping[str, Path]) -> bool:
    """Whether the atomic files (by suffix) say to which part of a temporal split each session belongs."""
    return "user" in files and "part" in dict(header(files["user"]))


def rows_left(sessions: np.ndarray, times: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Interactions that a leave-one-out copy keeps, bool [R]; see :func:`hold_out`.

    Args:
        sessions: number of each interaction's session, int [R], from 0.
        times: float [R].
        held: whether its item is held out, bool [R].
    """
    order = np.lexsort((times, sessions))  # stable: ties in the order given
    last = np.zeros(len(sessions), dtype=bool)
    last[order[np.append(np.diff(sessions[order]) != 0, True)]] = True
    keep = ~held | last
    return keep & (np.bincount(sessions, weights=keep)[sessions] >= SHORTEST["leave-one-out"])


@torch.no_grad()
def forget_unseen(network: Any, item_counts: Tensor) -> Tensor:
    """Set id vector and bias of never-seen items to 0: as negatives they were trained, towards being avoided.

    Args:
        network: a :class:`~recbole_hiersrec.model.network.HierSRecNetwork`.
        item_counts: training interactions of each item, long [N + 1].

    Returns:
        their ids, long [n].
    """
    unseen = (item_counts[1:] == 0).nonzero()[:, 0] + 1
    if network.items.id is not None:
        network.items.id.weight[unseen] = 0.0
    network.item_bias.weight[unseen] = 0.0
    return unseen


def cold_recall(
    scorer: InnerProductScorer,
    cases: Cases,
    sessions: np.ndarray,
    held: np.ndarray,
    *,
    history: Literal["unmasked", "masked"],
    ks: Sequence[int],
    item_fraction: float,
    seed: int,
) -> list[ColdRecall]:
    """Recall of held-out targets among all items, and among candidates of an index they were added to.

    Args:
        scorer: of the trained model (see :func:`forget_unseen`) and of all ``cases``.
        cases: test cases.
        sessions: [n], the session of each case.
        held: int64, ids of the held-out items.
        history: as in :func:`~recbole_hiersrec.evaluation.ranks.rank_cases`.
        ks: list lengths.
        item_fraction: of the candidates.
        seed: of k-means and of the intervals.

    Raises:
        InputError: no case has a held-out target.
    """
    rows = np.flatnonzero(np.isin(cases.target.numpy(), held))
    if len(rows) == 0:
        raise InputError(f"cases: received none whose target is one of the {len(held)} held-out items")
    index = torch.from_numpy(rows)
    chosen = replace(
        cases, history=cases.history[index], length=cases.length[index], target=cases.target[index]
    )
    rules = {ADDED: (index_with_added(scorer, held, seed), item_fraction)}
    ranks = rank_cases(_Some(scorer, index), chosen, history=history, rules=rules)
    found = []
    for k in ks:
        for variant, values in ((ALL_ITEMS, ranks.all), (ADDED, ranks.by_rule[ADDED])):
            found.append(ColdRecall(variant, k, mean_interval(recall(values, k), sessions[rows], seed=seed)))
        by_chance = min(1.0, k / scorer.n_items)
        found.append(ColdRecall(RANDOM, k, Interval(by_chance, by_chance, by_chance)))
    return found


def index_with_added(scorer: InnerProductScorer, held: np.ndarray, seed: int) -> Cells:
    """Lists by k-means over the other items, which the held-out ones are added to: nothing is trained anew.

    Args:
        scorer: of all N items.
        held: int64, ids that the lists are built without.
        seed: of k-means.
    """
    table = scorer.item_vectors().detach().cpu()
    others = np.setdiff1d(np.arange(1, scorer.n_items + 1), held)
    blank = table.clone()
    blank[torch.from_numpy(held)] = 0.0  # the index knows nothing of them when it is built
    cells = Cells(build_lists(blank, None, cell_cap(scorer.n_items), seed, others), blank, "k-means")
    cells.add(held, table[torch.from_numpy(held)])
    return cells


class _Some:
    """A scorer of some of another's cases."""

    def __init__(self, scorer: InnerProductScorer, rows: Tensor) -> None:
        self.scorer, self.rows, self.n_items = scorer, rows, scorer.n_items

    def batch(self, index: Tensor) -> Any:
        return self.scorer.batch(self.rows[index])

    def scores(self, batch: Any) -> Tensor:
        return self.scorer.scores(batch)

    def queries(self, batch: Any) -> Queries:
        return self.scorer.queries(batch)

    def item_vectors(self) -> Tensor:
        return self.scorer.item_vectors()
