"""The command `hiersrec`, but for how long it works: one step of training, one model, seed and rule, two trials.

Tests run the commands of the documentation with it; all else is as for a user. A suite that names its reference
keeps two models, so that there is something to compare. `tune export` writes into properties/model/ of the folder
HIERSREC_TEST_EXPORTS, if there is one in the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_hiersrec import cli, resources
from recbole_hiersrec.benchmark import suite as suites
from recbole_hiersrec.settings import SuiteSettings
from recbole_hiersrec.tuning import requests

LEAST = {"--trials": "2", "--epochs": "1", "--steps": "1"}


def shortened(read: Callable[..., Any]) -> Callable[..., Any]:
    """``read``, whose suites have the least that still makes every table."""

    def read_short(*given: Any) -> Any:
        found = read(*given)
        return short(found) if isinstance(found, SuiteSettings) else found

    return read_short


def short(suite: SuiteSettings) -> SuiteSettings:
    candidates = {
        "rules": suite.candidates.rules[-1:],
        "item_fractions": suite.candidates.item_fractions[:1],
    }
    changes = {
        "models": suite.models[: 2 if suite.reference else 1],
        "seeds": suite.seeds[:1],
        "limits": suite.limits.model_copy(update={"epochs": 1, "steps": 1}),
        "candidates": suite.candidates.model_copy(update=candidates),
        "speed": suite.speed.model_copy(update={"repeats": 1, "warmup": 0}),
    }
    return suite.model_copy(update=changes)


if __name__ == "__main__":
    suites.load_suite = shortened(suites.load_suite)
    requests.parse = shortened(requests.parse)  # type: ignore[attr-defined]
    if exports := os.environ.get("HIERSREC_TEST_EXPORTS"):
        resources.tuned_settings = lambda name: Path(exports) / "properties" / "model" / f"{name}.yaml"
    words = sys.argv[1:]
    before = ["", *words]
    sys.argv = ["hiersrec", *(LEAST.get(option, word) for option, word in zip(before, words, strict=False))]
    cli.main()
