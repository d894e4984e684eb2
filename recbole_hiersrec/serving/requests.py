"""What `hiersrec train` was asked for -> a job, checked as those of suites are; imports neither torch nor RecBole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_hiersrec.benchmark.suite import Job, expand, reason_to_skip
from recbole_hiersrec.errors import InputError
from recbole_hiersrec.names import SERVED, check_model
from recbole_hiersrec.reading import parse, read_yaml
from recbole_hiersrec.settings import SuiteSettings

PROTOCOL, LIMITS = ("split", "history", "max_length"), ("epochs", "patience", "steps", "seconds")


def job_of(model: str, dataset: str, options: Mapping[str, Any]) -> Job:
    """The job of training one model, under a suite's defaults.

    Args:
        model: its name.
        dataset: its name.
        options: ``data_path``; ``split``, ``history``, ``max_length`` of the protocol; ``epochs``, ``patience``,
            ``steps``, ``seconds`` of the limits; ``seed``; ``threads``; ``tuned``, as in suites; ``settings``, the
            path of a YAML file.

    Raises:
        InputError: a name, number or setting is wrong, or the model cannot use the data, or cannot be served.
    """
    check_model(model)
    if model != SERVED:
        raise InputError(
            f"model '{model}' cannot be served: recommend needs the inner products of {SERVED} "
            "(which with category_fields: [] is a SASRec); compare models with hiersrec bench"
        )
    own = read_yaml(Path(options["settings"])) if "settings" in options else {}
    where = {"name": dataset} | {key: str(options[key]) for key in ("data_path",) if key in options}
    values: dict[str, Any] = {
        "name": "train",
        "datasets": [where],
        "models": [{"model": model, "settings": own, "tuned": options.get("tuned", "")}],
        "protocol": {key: options[key] for key in PROTOCOL if key in options},
        "limits": {key: options[key] for key in LIMITS if key in options},
        "seeds": [options["seed"]] if "seed" in options else [2026],
        "ks": [1],  # nothing is tested: a suite's 20 items may be more than there are
        "speed": {"k": 1},
    }
    values |= {"threads": options["threads"]} if "threads" in options else {}
    job = expand(parse(SuiteSettings, values, "options"))[0]
    if reason := reason_to_skip(job):
        raise InputError(f"model {model} cannot use data set {dataset}: {reason}")
    return job
