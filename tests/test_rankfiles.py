"""Ranks on disk: a publication needs a fraction of the space, and every figure still follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_suite import make_records
from hypothesis import given
from hypothesis import strategies as st

from recbole_hiersrec.arrays import read_arrays, write_arrays
from recbole_hiersrec.benchmark.rankfiles import (
    counted,
    depth_of,
    differing,
    publish_ranks,
    ranks_path,
    read_ranks,
    recommended,
    recommended_arrays,
)
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation.beyond_accuracy import coverage, gini, novelty
from recbole_hiersrec.evaluation.metrics import METRICS

N_CASES, KS = 40, [5, 10, 20]
INF = float("inf")


@pytest.fixture
def records(tmp_path: Path) -> list[dict[str, Any]]:
    return make_records(tmp_path, seeds=[1, 2])[1]


def put(folder: Path, record: dict[str, Any], **given: np.ndarray) -> dict[str, np.ndarray]:
    """Ranks from 1 to 4,000, some between two and some infinite, of 20 sessions; returns what was written."""
    random = np.random.default_rng(record["job"]["seed"])
    arrays = {"target": np.arange(N_CASES) % 7 + 1, "session": np.arange(N_CASES) // 2}
    labels = {
        f"{row['candidate_rule']}@{row['item_fraction']:g}"
        for row in record["accuracy"]
        if row["candidate_rule"]
    }
    for name in ("all", "history masked", *sorted(labels)):
        arrays[name] = np.exp(random.uniform(0, 8.3, N_CASES)).round(1)
        arrays[name][::9] = INF
        arrays[name][1:3] = 20.5, 100.5
    arrays["scored cells@0.04"] = counted(random.integers(1, 4, N_CASES))
    arrays["category hit, level 1: class"] = random.random(N_CASES) < 0.5
    arrays |= given
    path = ranks_path(folder, record["key"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays)
    return arrays


def test_every_metric_up_to_the_depth_is_that_of_the_whole_ranks(
    tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    record = records[0]
    written = put(tmp_path / "runs", record)
    (tmp_path / "new" / "jobs" / record["key"]).mkdir(parents=True)
    publish_ranks(tmp_path / "runs", tmp_path / "new", record)
    found = read_ranks(tmp_path / "new", record)
    assert found.keys() == written.keys()
    for name in ("target", "session", "scored cells@0.04", "category hit, level 1: class"):
        assert np.array_equal(found[name], written[name])
    for name in ("all", "history masked", "cells@0.04"):
        assert written[name][np.isfinite(written[name])].max() > 1000
        assert np.array_equal(
            np.isinf(found[name]), np.isinf(written[name])
        )  # no candidate stays no candidate
        depth = 20 if "@" in name else 100
        assert found[name][np.isfinite(found[name])].max() == depth + 1
        assert depth + 0.5 in found[name]
        for metric, of in METRICS.items():
            for k in (1, 5, 10, 20, depth):
                assert np.array_equal(of(found[name], k), of(written[name], k)), (metric, k)


def test_a_large_k_keeps_more(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    assert [depth_of("all", ks) for ks in ([5, 10], [5, 500])] == [100, 500]
    assert [depth_of("cells@0.04", ks) for ks in ([5, 10], [5, 500])] == [10, 500]
    record = records[0]
    record["job"]["ks"] = [5, 500]
    written = put(tmp_path / "runs", record)
    (tmp_path / "new" / "jobs" / record["key"]).mkdir(parents=True)
    publish_ranks(tmp_path / "runs", tmp_path / "new", record)
    found = read_ranks(tmp_path / "new", record)["all"]
    for of in METRICS.values():
        assert np.array_equal(of(found, 500), of(written["all"], 500))


def test_cases_lie_there_once_and_a_job_that_names_them_otherwise_keeps_its_own(
    tmp_path: Path, records: list[dict[str, Any]]
) -> None:
    other = {"target": np.arange(N_CASES) % 5 + 1}
    written = [
        put(tmp_path / "runs", record, **(other if n == 2 else {})) for n, record in enumerate(records)
    ]
    for record in records:
        (tmp_path / "new" / "jobs" / record["key"]).mkdir(parents=True)
        publish_ranks(tmp_path / "runs", tmp_path / "new", record)
    assert len(list((tmp_path / "new" / "cases").iterdir())) == 1
    for number, (record, arrays) in enumerate(zip(records, written, strict=True)):
        found = read_ranks(tmp_path / "new", record)
        assert np.array_equal(found["target"], arrays["target"])
        assert np.array_equal(found["session"], arrays["session"])
        own = read_arrays(ranks_path(tmp_path / "new", record["key"]))
        assert ("target" in own) == (number == 2)
        assert "session" not in own


def test_numbers_a_case_of_before_are_counted(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    record = records[0]
    put(tmp_path / "runs", record, **{"compared cells@0.04": np.array([7, 9] * 20)})
    (tmp_path / "new" / "jobs" / record["key"]).mkdir(parents=True)
    publish_ranks(tmp_path / "runs", tmp_path / "new", record)
    assert read_ranks(tmp_path / "new", record)["compared cells@0.04"].tolist() == [[7, 20], [9, 20]]


def test_lost_or_damaged_cases_are_one_line(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    record = records[0]
    put(tmp_path / "runs", record)
    (tmp_path / "new" / "jobs" / record["key"]).mkdir(parents=True)
    publish_ranks(tmp_path / "runs", tmp_path / "new", record)
    (shared,) = (tmp_path / "new" / "cases").iterdir()
    kept = read_arrays(shared)
    write_arrays(shared, {"target": kept["target"]})
    with pytest.raises(InputError, match=r"'session' is missing, which .*ranks.npz leaves to it"):
        read_ranks(tmp_path / "new", record)
    write_arrays(shared, {"target": kept["target"], "session": kept["session"][:-1]})
    with pytest.raises(InputError, match="ranks 'session': received 39, expected 40 test cases"):
        read_ranks(tmp_path / "new", record)
    shared.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"cases.*\.npz is damaged"):
        read_ranks(tmp_path / "new", record)
    shared.unlink()
    with pytest.raises(InputError, match=r"cases.*\.npz is damaged: .*No such file"):
        read_ranks(tmp_path / "new", record)


def test_a_job_that_notes_more_than_the_first_keeps_it(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    """Versions before sessions were noted."""
    for number, record in enumerate(records[:2]):
        arrays = put(tmp_path / "runs", record)
        if number == 0:
            del arrays["session"]
            write_arrays(ranks_path(tmp_path / "runs", record["key"]), arrays)
        (tmp_path / "new" / "jobs" / record["key"]).mkdir(parents=True)
        publish_ranks(tmp_path / "runs", tmp_path / "new", record)
        assert ("session" in read_ranks(tmp_path / "new", record)) == (number == 1)


def test_arrays_that_differ(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    """A publication has what its source has; two sources are compared to the last rank."""
    record = records[0]
    written = put(tmp_path / "runs", record)
    (tmp_path / "new" / "jobs" / record["key"]).mkdir(parents=True)
    publish_ranks(tmp_path / "runs", tmp_path / "new", record)
    published = read_ranks(tmp_path / "new", record)
    assert differing(written, published, KS) == differing(published, written, KS) == []
    furthest = written["all"][np.isfinite(written["all"])].max()
    later = written | {"all": np.where(written["all"] == furthest, furthest + 1, written["all"])}
    nearer = written | {"cells@0.04": np.where(written["cells@0.04"] > 20, 19.0, written["cells@0.04"])}
    assert furthest > 100
    assert differing(written, later, KS) == ["all"]
    assert differing(published, later, KS) == []
    assert differing(published, nearer, KS) == differing(nearer, published, KS) == ["cells@0.04"]
    assert differing(written, written | {"target": written["target"] + 1000}, KS) == ["target"]
    assert differing({"all": written["all"]}, {"other": written["all"]}, KS) == []  # nothing that both have


@given(st.data(), st.integers(1, 12))
def test_measures_of_lists_follow_from_what_is_kept(data: st.DataObject, n_items: int) -> None:
    numbers = st.lists(st.integers(0, 9), min_size=n_items, max_size=n_items)
    lists, training = (np.array(data.draw(numbers)) for _ in range(2))
    lists[0], training[0] = 3, 2  # something is recommended, and something was trained on
    arrays = recommended_arrays(5, lists, training)
    kept = recommended(5, arrays)
    assert kept is not None
    alone, together, levels = kept
    assert coverage(alone) == coverage(lists)
    assert gini(alone) == pytest.approx(gini(lists))
    assert novelty(together, levels) == pytest.approx(novelty(lists, training))
    assert recommended(6, arrays) is None
