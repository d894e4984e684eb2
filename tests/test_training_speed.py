"""The comparison of training times: where a curve reaches the other's best."""

from __future__ import annotations

from typing import Any

import pytest
from scripts import BENCHMARKS, load_script


@pytest.fixture(scope="module")
def script() -> Any:
    return load_script("training_speed")


def record(values, stopped_by="patience", counted=0.0):
    """A record whose validations come every 10 seconds, after ``counted`` seconds before the first epoch."""
    curve = [{"seconds": 10.0 * number, "valid": value} for number, value in enumerate(values, start=1)]
    training = {"valid_metric": "NDCG@10", "curve": curve, "best_valid": max(values)}
    return {"training": training | {"stopped_by": stopped_by, "seconds": 10.0 * len(values) + counted}}


def test_the_settings_of_a_suite_are_its_own_its_data_sets_and_its_models(script):
    suite = script.load_suite(str(BENCHMARKS / "candidates-sessions.yaml"))
    settings = script.settings_in(suite, "wikispeedia")
    assert (settings["loss"], settings["category_fields"]) == ("full", ["learned_1"])
    with pytest.raises(SystemExit, match="candidates-sessions: no data set 'ml-100k'"):
        script.settings_in(suite, "ml-100k")


def test_the_first_validation_at_or_above_the_best_counts(script):
    found = script.compare(record([0.1, 0.2, 0.3, 0.25]), record([0.3, 0.4]))
    assert (found["sasrec_seconds"], found["hiersrec_seconds"], found["times_faster"]) == (30, 10, 3)
    assert found["lower_bound"] is False
    assert script.compare(record([0.1, 0.2]), record([0.1, 0.19, 0.2]))["times_faster"] == 0.67


def test_what_a_model_counts_before_its_first_epoch_counts(script):
    found = script.compare(record([0.1, 0.2]), record([0.3, 0.4], counted=6.0))
    assert (found["hiersrec_seconds"], found["times_faster"]) == (16, 1.25)


def test_a_ceiling_makes_it_a_lower_bound(script):
    assert script.compare(record([0.1, 0.2], "seconds"), record([0.3]))["lower_bound"] is True


def test_a_best_that_is_never_reached_gives_no_ratio(script):
    found = script.compare(record([0.5]), record([0.1, 0.4]))
    assert found["times_faster"] is None
    assert found["hiersrec_seconds"] is None
