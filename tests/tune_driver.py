"""One process that works on a study with fake trials: tune_driver.py FOLDER STORAGE TRIALS WORKERS [SECONDS [EXPORTS]].

The space is FOLDER/space.yaml, the data that of fake_suite.write_data. Ctrl-C ends it with status 130.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from fake_trial import FAKE_TRIAL

from recbole_hiersrec.tuning.requests import Wishes, task_of
from recbole_hiersrec.tuning.search import Outcome, search
from recbole_hiersrec.tuning.storage import place_of
from recbole_hiersrec.tuning.task import Task
from recbole_hiersrec.tuning.worker import Options


def task(folder: Path, model: str = "SASRecAllPositions", **wishes: Any) -> Task:
    """The search that ``folder`` describes."""
    wanted = {"space": folder / "space.yaml", "study": "s", "threads": 1} | wishes
    return task_of(model, "toy", {"data_path": folder / "dataset"}, Wishes(**wanted))


def run(folder: Path, storage: str | None = None, trials: int = 3, **options: Any) -> Outcome:
    """Work on it with fake trials, quietly."""
    wishes = {name: options.pop(name) for name in ("second", "seed", "study") if name in options}
    warm, told = options.pop("warm", None), options.pop("told", [])
    elsewhere = options.pop("elsewhere", ())
    wanted = task(folder, **wishes)
    place = place_of(wanted.study, storage, folder / "runs")
    chosen = Options(trials, command=FAKE_TRIAL, **{"pruner": "none"} | options)
    (outcome,) = search([(wanted, place)], chosen, warm=warm, elsewhere=elsewhere, echo=told.append)
    return outcome


if __name__ == "__main__":
    seconds = float(sys.argv[5]) if len(sys.argv) > 5 else None
    exports = [Path(folder) for folder in sys.argv[6:]]
    where, storage, trials, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    try:
        found = run(where, storage, trials, workers=workers, seconds=seconds, elsewhere=exports)
    except KeyboardInterrupt:
        sys.exit(130)
    print(found)
