"""A small data set on disk and suites over it, for tests of the benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from atomic_files import write_manifest
from fake_job import make_record

from recbole_hiersrec.benchmark.suite import Job, expand
from recbole_hiersrec.reading import parse
from recbole_hiersrec.settings import SuiteSettings

FAKE_COMMAND = (sys.executable, str(Path(__file__).with_name("fake_job.py")))
N_ITEMS = 30


def write_data(folder: Path, name: str = "toy") -> Path:
    """Atomic files of 40 sessions over 30 items; returns the data_path."""
    target = folder / "dataset" / name
    target.mkdir(parents=True)
    rows = [f"{s}\t{(s + p) % N_ITEMS + 1}\t{s * 100 + p}" for s in range(40) for p in range(5)]
    (target / f"{name}.inter").write_text(
        "user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(rows) + "\n"
    )
    items = [f"{i + 1}\ttitle {i}\tgroup{i % 3} sub{i % 6}" for i in range(N_ITEMS)]
    (target / f"{name}.item").write_text(
        "item_id:token\ttitle:token_seq\tclass:token_seq\n" + "\n".join(items) + "\n"
    )
    return folder / "dataset"


def write_parts(folder: Path, name: str = "toy") -> Path:
    """Split the data of :func:`write_data` by time, as preparation does: 30, 5 and 5 sessions; returns its folder."""
    target = folder / "dataset" / name
    parts = ["train"] * 30 + ["valid"] * 5 + ["test"] * 5
    rows = ["user_id:token\tpart:token", *(f"{session}\t{part}" for session, part in enumerate(parts))]
    (target / f"{name}.user").write_text("\n".join(rows) + "\n")
    write_manifest(target, time="click", settings={"split": "temporal"})
    return target


def suite_values(folder: Path, **changes: Any) -> dict[str, Any]:
    """Settings of a suite with three models on the data of :func:`write_data`."""
    if not (folder / "dataset").exists():
        write_data(folder)
    values: dict[str, Any] = {
        "name": "trial",
        "datasets": [{"name": "toy", "data_path": str(folder / "dataset")}],
        "models": [
            {"model": "HierSRec", "candidates": True, "settings": {"category_fields": ["class"]}},
            "SASRecAllPositions",
            "SequentialPop",
        ],
        "candidates": {"item_fractions": [0.04, 0.1]},
        "threads": 1,
    }
    return values | changes


def make_suite(folder: Path, **changes: Any) -> SuiteSettings:
    """The same, checked."""
    return parse(SuiteSettings, suite_values(folder, **changes), "test")


def make_records(folder: Path, **changes: Any) -> tuple[list[Job], list[dict[str, Any]]]:
    """Jobs and a sound record of each."""
    jobs = expand(make_suite(folder, **changes))
    return jobs, [json.loads(json.dumps(make_record(job.to_dict()))) for job in jobs]
