"""A suite's YAML file -> frozen jobs, each with a key that is a hash of all that its result depends on.

Everything a user can get wrong is checked here, before any job starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_hiersrec import resources
from recbole_hiersrec.benchmark.checks import (
    OWNED,
    SuiteData,
    check_counts,
    check_owned,
    check_settings,
    check_split,
    find_data,
)
from recbole_hiersrec.benchmark.needs import check_features, feature_settings, lacking
from recbole_hiersrec.benchmark.store import SCHEMA
from recbole_hiersrec.benchmark.tuned import read_tuned, tuned_facts
from recbole_hiersrec.data.files import dataset_folder, folder_settings
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.names import check_model, model_source
from recbole_hiersrec.reading import parse, read_yaml
from recbole_hiersrec.settings import DatasetEntry, ModelEntry, SuiteSettings

NO_PART_OF_THE_KEY = ("key", "suite", "name", "data_path", "reference", "threads", "tuned")
"""They change no result: the data's hash stands for its path. (Threads move the last bits; they are recorded.)"""


@dataclass(frozen=True)
class Job:
    """One model on one data set with one seed. Everything is a plain JSON value."""

    key: str
    suite: str
    dataset: str
    data_path: str
    model: str
    source: str
    name: str
    seed: int
    protocol: dict[str, Any]
    limits: dict[str, Any]
    settings: dict[str, Any]
    candidates: dict[str, Any] | None
    speed: dict[str, Any]
    metrics: list[str]
    ks: list[int]
    threads: int
    data_hash: str
    reference: str = ""  # name of the model that comparisons are made with
    tuned: dict[str, Any] = field(
        default_factory=dict
    )  # what `hiersrec tune` says of the settings, if it chose them

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """Inverse of :meth:`to_dict`."""
        return cls(**values)

    def label(self) -> str:
        """How messages name the job."""
        return f"{self.dataset} {self.name} seed {self.seed}"


def labels(jobs: Iterable[Job]) -> str:
    """How messages name several jobs: the seeds of a model together."""
    seeds: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        seeds.setdefault((job.dataset, job.name), []).append(job)
    return ", ".join(
        alike[0].label() if len(alike) == 1 else f"{dataset} {name} seeds {_and(job.seed for job in alike)}"
        for (dataset, name), alike in seeds.items()
    )


def _and(numbers: Iterable[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}"


def load_suite(path_or_name: str) -> SuiteSettings:
    """Read a suite from a YAML file, or one that ships by its name.

    Raises:
        InputError: no such file or suite, not YAML, or a setting is wrong.
    """
    given = Path(path_or_name)
    if given.exists() and (given.suffix or given.is_file()):
        path = given
    elif len(given.parts) == 1 and resources.suite(path_or_name).is_file():
        path = resources.suite(path_or_name)
    else:
        ship = sorted(found.stem for found in resources.suite("x").parent.glob("*.yaml"))
        hint = nearest(given.stem, ship)
        raise InputError(
            f"no suite '{path_or_name}': neither a file nor one that ships ({', '.join(ship)}){hint}"
        )
    return parse(SuiteSettings, read_yaml(path), str(path))


def expand(suite: SuiteSettings) -> list[Job]:
    """All jobs of a suite, in the order data set, model, seed.

    Raises:
        InputError: a data set, model, column, k or item fraction that no job can run with, or two
            entries that ask for the same job.
    """
    for entry in suite.models:
        check_model(entry.model)
    jobs: dict[str, Job] = {}
    for dataset in suite.datasets:
        data = find_data(suite, dataset)
        check_split(suite, data)
        check_counts(suite, data)
        for model in suite.models:
            settings = resolve(suite, dataset, model)
            check_settings(suite, model, settings, data)
            settings |= feature_settings(model.model, settings, data.files.get("item"))
            check_features(model.model, settings, data.files.get("item"))
            for seed in suite.seeds:
                job = _job(suite, data, model, settings, seed)
                if job.key in jobs:
                    first = jobs[job.key].name
                    raise InputError(
                        f"models: '{first}' and '{job.name}' are the same job; settings must differ"
                    )
                jobs[job.key] = job
    return list(jobs.values())


def resolve(suite: SuiteSettings, dataset: DatasetEntry, model: ModelEntry) -> dict[str, Any]:
    """Settings of one job; later ones win: this package's for the model and for the data set, those in the data
    set's folder, those that ``tuned`` names, the suite's, the data set entry's, the model entry's."""
    merged: dict[str, Any] = {}
    for path in (resources.model_defaults(model.model), resources.dataset_defaults(dataset.name)):
        merged |= read_yaml(path) if path.is_file() else {}
    merged = {
        key: value for key, value in merged.items() if key not in OWNED
    }  # the suite has its own for those
    prepared = folder_settings(dataset.name, dataset.data_path)
    chosen = model.tuned_on(dataset.name)
    for where, given in (
        (f"{dataset.name}.yaml of data set '{dataset.name}'", prepared),
        (f"tuned: {chosen}", read_tuned(chosen, model.model) if chosen else {}),
        ("settings", suite.settings),
        (f"datasets: {dataset.name}: settings", dataset.settings),
        (f"models: {model.name or model.model}: settings", model.settings),
    ):
        check_owned(given, where)
        merged |= given
    try:
        return json.loads(json.dumps(merged, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"settings of {model.name or model.model}: a value that JSON cannot hold: {error}"
        ) from None


def reason_to_skip(job: Job, *models: str) -> str:
    """Why the job's model cannot use its data, in a few words; empty if it can, as far as is known before it starts.

    Args:
        job: the job.
        models: names that the model goes by in RecBole; the job's own when absent.
    """
    item_file = dataset_folder(job.dataset, job.data_path) / f"{job.dataset}.item"
    found = item_file if item_file.is_file() else None
    reasons = (lacking(name, job.settings, job.protocol, found) for name in models or (job.model,))
    return next(filter(None, reasons), "")


def job_key(values: Mapping[str, Any]) -> str:
    """First 16 hex digits of SHA-256 over the canonical JSON of what the result depends on."""
    content = {"schema": SCHEMA} | {
        key: value for key, value in values.items() if key not in NO_PART_OF_THE_KEY
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def headline(metrics: list[str], ks: list[int]) -> tuple[str, int]:
    """The metric and k that tables are sorted by: NDCG@10, or what comes closest to it."""
    return "NDCG" if "NDCG" in metrics else metrics[0], 10 if 10 in ks else max(ks)


def _job(
    suite: SuiteSettings, data: SuiteData, model: ModelEntry, settings: dict[str, Any], seed: int
) -> Job:
    candidates = suite.candidates_of(model)
    values: dict[str, Any] = {
        "suite": suite.name,
        "dataset": data.entry.name,
        "data_path": data.entry.data_path,
        "model": model.model,
        "source": model_source(model.model),
        "name": model.name or model.model,
        "seed": seed,
        "protocol": suite.protocol.model_dump(mode="json", exclude_none=True),
        "limits": suite.limits.model_dump(mode="json"),
        "settings": settings,
        "candidates": candidates.model_dump(mode="json") if candidates else None,
        "speed": suite.speed.model_dump(mode="json"),
        "metrics": list(suite.metrics),
        "ks": list(suite.ks),
        "threads": suite.threads,
        "data_hash": data.hash,
        "reference": suite.reference or suite.models[0].name or suite.models[0].model,
        "tuned": tuned_facts(model.tuned_on(data.entry.name), settings),
    }
    return Job(key=job_key(values), **values)
