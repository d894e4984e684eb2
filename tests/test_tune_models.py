"""Every model of the sessions suite that has a space can run a trial, at the far end of every range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from atomic_files import write_manifest, write_shop, write_split

from recbole_hiersrec import register

register()

from recbole_hiersrec.benchmark.suite import load_suite  # noqa: E402
from recbole_hiersrec.tuning.requests import Wishes, tasks_of_suite  # noqa: E402
from recbole_hiersrec.tuning.sampling import decoded, encoded  # noqa: E402
from recbole_hiersrec.tuning.task import Task  # noqa: E402
from recbole_hiersrec.tuning.trial import run  # noqa: E402

UNSEARCHED = {"SequentialPop", "SessionPop", "MarkovChain"}
LINES = [
    entry.name or entry.model for entry in load_suite("sessions").models if entry.model not in UNSEARCHED
]


def task_of(folder: Path, line: str) -> Task:
    """That of the suite's line, on a small data set split by time, for one epoch."""
    write_shop(folder)
    write_split(folder)
    write_manifest(folder / "shop", time="click", settings={"split": "temporal"})
    fields = {"category_fields": ["department", "class"], "metadata_fields": [], "follower_fields": ["class"]}
    changes: dict[str, Any] = {
        "datasets": [{"name": "shop", "data_path": str(folder), "settings": fields}],
        "limits": {"epochs": 1},
        "candidates": {"item_fractions": [0.5]},
        "ks": [3],
        "speed": {"k": 3},
    }
    values = load_suite("sessions").model_dump(mode="json", exclude_none=True) | changes
    (folder / "suite.yaml").write_text(yaml.safe_dump(values))
    (found,) = tasks_of_suite(str(folder / "suite.yaml"), (), [line], Wishes(), print)
    return found


@pytest.mark.parametrize("line", LINES)
def test_a_trial_runs_at_the_far_end_of_every_range(line: str, tmp_path: Path) -> None:
    task = task_of(tmp_path, line)
    far = task.space.values(lambda _, parameter: parameter.ends()[-1], task.job.settings)
    stored = encoded(task.space, far)
    values = {name: decoded(task.space.parameters[name], value) for name, value in stored.items()}
    job = task.trial_job(values)
    assert {name: job.settings[name] for name in far} == values
    found = run(job, tmp_path)
    assert 0 <= found["values"][0] <= 1
    assert found["facts"]["stopped_by"] in ("epochs", "counted")
