"""How often tables report a difference where there is none: 1,000 simulated ones, through the comparison itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from recbole_hiersrec.benchmark.rankfiles import Ranks
from recbole_hiersrec.report import comparison
from recbole_hiersrec.report.tables import Entry

TABLES = 1000
RESAMPLES = 599  # 600 x .05 / 1, 2 and 3 are whole numbers: the randomisation test has exactly its level
SESSIONS, CASES, SEEDS = 30, 4, 3
MODELS = ("reference", "first", "second", "third")
LEVEL = 0.05


def simulated_ranks(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Ranks [seeds, cases] of models that differ by chance alone, the same chance for all.

    Sessions are easy or hard, each model has sessions that suit it (which is what ties the cases of a session
    together in the differences, and the seeds of a model), and the rest is noise of seed and case. No seed is better
    than another as a whole: the tests are of models as trained, and say nothing of such luck.
    """
    hard = random.normal(size=(1, SESSIONS, 1))
    found = {}
    for model in MODELS:
        suits = random.normal(size=(1, SESSIONS, 1))
        noise = random.normal(size=(SEEDS, SESSIONS, CASES))
        found[model] = np.ceil(np.exp(1.5 + hard + suits + 0.5 * noise)).reshape(SEEDS, -1)
    return found


def lines_of(ranks: dict[str, np.ndarray], session: np.ndarray) -> list[tuple[Entry, list[Ranks]]]:
    record: dict[str, Any] = {"job": {"metrics": ["NDCG"], "ks": [10]}, "accuracy": []}
    return [
        (
            Entry(model, model, (record,) * SEEDS, False),
            [{"all": one, "session": session} for one in of_seeds],
        )
        for model, of_seeds in ranks.items()
    ]


def differences(session: np.ndarray, key: str) -> Iterator[list[float]]:
    """The p values ``key`` of each simulated table."""
    random = np.random.default_rng(2026)
    for _ in range(TABLES):
        table = comparison.compare_table(
            ("toy", "any"), lines_of(simulated_ranks(random), session), "reference"
        )
        rows = [row for row in table.rows if row["quantity"] == comparison.DIFFERENCE]
        assert [row["n_tests"] for row in rows] == [len(MODELS) - 1] * (len(MODELS) - 1)
        yield [row[key] for row in rows]


def false_alarms(session: np.ndarray, key: str) -> float:
    """Share of the tables in which any model differs from the reference by ``key`` at the level."""
    return float(np.mean([min(p) <= LEVEL for p in differences(session, key)]))


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "RESAMPLES", RESAMPLES)


def test_tables_without_a_difference_report_one_in_at_most_five_percent() -> None:
    """Of 1,000 tables 5 % are 50, with a standard deviation of 7."""
    assert 0.01 <= false_alarms(np.arange(SESSIONS).repeat(CASES), "p_holm") <= 0.067


def test_the_simulation_notices_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Holm, or with each case its own session, the share of false alarms is far above the level."""
    monkeypatch.setattr(f"{__name__}.TABLES", 200)
    assert false_alarms(np.arange(SESSIONS).repeat(CASES), "p_value") > 0.08
    assert false_alarms(np.arange(SESSIONS * CASES), "p_holm") > 0.15
