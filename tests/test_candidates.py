"""When a record warns that a rule scans more than was aimed at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_suite import make_suite

from recbole_hiersrec import register
from recbole_hiersrec.benchmark.suite import expand
from recbole_hiersrec.evaluation.ranks import RankTable
from recbole_hiersrec.retrieval.base import CandidateRule

register()

from recbole_hiersrec.benchmark.candidates import Retrieval, scan_warnings  # noqa: E402


class Named(CandidateRule):
    """Of a rule nothing but its name is looked at."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _choose(self, queries: Any, budgets: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


def warnings_of(folder: Path, name: str, work: dict[float, tuple[int, int]], **changes: Any) -> list[str]:
    """Of two cases over 100 items; ``work``: item fraction -> items scored, vectors compared."""
    job = expand(make_suite(folder, candidates={"item_fractions": [0.04], **changes}))[0]
    labels = {share: f"{name}@{share:g}" for share in work}
    scored, compared = (
        {labels[share]: np.full(2, both[place]) for share, both in work.items()} for place in (0, 1)
    )
    ranks = RankTable(np.ones(2), {label: np.ones(2) for label in scored}, scored, compared)
    retrieval = Retrieval({label: (Named(name), share) for share, label in labels.items()})
    return scan_warnings(job, ranks, retrieval, 100)


def test_a_rule_above_its_target_is_named_once(tmp_path: Path) -> None:
    work = {0.04: (4, 3), 0.08: (8, 2), 0.5: (50, 30)}
    assert warnings_of(tmp_path, "k-means", work) == [
        "rule k-means: ScannedFraction is above item_fraction + compared_fraction (0.02) at the item fractions "
        "0.04, 0.5"
    ]
    assert len(warnings_of(tmp_path, "k-means", work, compared_fraction=0.1)) == 1
    assert warnings_of(tmp_path, "k-means", work, compared_fraction=0.4) == []


@pytest.mark.parametrize(
    ("name", "changes"), [("hnsw", {}), ("leaf-categories", {}), ("cells", {"super_lists": 0})]
)
def test_no_warning_where_the_target_is_not_aimed_at(
    tmp_path: Path, name: str, changes: dict[str, Any]
) -> None:
    assert warnings_of(tmp_path, name, {0.04: (4, 90)}, **changes) == []


def test_a_share_that_is_met_exactly_is_no_warning(tmp_path: Path) -> None:
    shares = [share / 100 for share in range(1, 30)]
    work = {share: (round(100 * share), 6) for share in shares}
    assert warnings_of(tmp_path, "mixed", work, compared_fraction=0.06) == []  # 0.01 + 0.06 < 0.07
