"""The benchmark of a training step: it trains on a generated log, and needs enough steps to tell."""

from __future__ import annotations

from typing import Any

import pytest
from scripts import load_script


@pytest.fixture(scope="module")
def script() -> Any:
    return load_script("training_scale")


@pytest.fixture(scope="module")
def log(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    script.write_log(folder, items=500, clicks=6000)
    return folder


def test_steps_are_timed_from_the_first_after_the_warm_up(script, log):
    found = script.train(log, steps=14, threads=1, rows=16)
    assert (found["items"], found["steps"], found["stopped_by"]) == (500, 14, "steps")
    assert 0 < found["step_ms"]["p10"] <= found["step_ms"]["p50"] <= found["step_ms"]["p90"] < 1e4
    assert found["peak_gib"] > 0


def test_too_few_steps_to_tell(script, log):
    with pytest.raises(SystemExit, match="11 steps were made, and the first 11 warm up: too few"):
        script.train(log, steps=11, threads=1, rows=16)
