"""A trial without torch: the command line of the real one, a value that follows from the settings, faults on demand.

Environment: FAKE_LOG, a file that gets "<key> <process id> <its worker's> <event>" lines; FAKE_SECONDS, how long an
epoch takes; FAKE_FAIL, a learning rate above which trainings fail; FAKE_EPOCHS, 3 when absent; FAKE_STOPPED_BY, the
limit that ends trainings.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from recbole_hiersrec.benchmark.parent import exit_with_parent

FAKE_TRIAL = (sys.executable, str(Path(__file__)))


def worth(settings: dict[str, Any]) -> float:
    """The value of a configuration: best where the rate is .01 and the dropout 0."""
    return 0.5 - abs(settings["learning_rate"] - 0.01) - settings.get("hidden_dropout_prob", 0.0) / 10


def _main(description: Path, folder: Path, second: str) -> int:
    exit_with_parent()
    job = json.loads(description.read_text())

    def log(event: str) -> None:
        with Path(os.environ["FAKE_LOG"]).open("a") as file:
            file.write(f"{job['key']} {os.getpid()} {os.getppid()} {event}\n")

    log("starts")
    if job["settings"]["learning_rate"] > float(os.environ.get("FAKE_FAIL", "inf")):
        (folder / "error.txt").write_text("ValueError: training loss is nan\n")
        return 1
    state = folder / "state" / "epoch"
    done = int(state.read_text()) if state.exists() else 0
    value = worth(job["settings"])
    for epoch in range(done + 1, int(os.environ.get("FAKE_EPOCHS", "3")) + 1):
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
        curve = [{"epoch": number, "valid": value * number / (number + 1)} for number in range(1, epoch + 1)]
        for path, text in ((folder / "curve.json", json.dumps(curve)), (state, str(epoch))):
            path.parent.mkdir(exist_ok=True)
            path.with_suffix(".new").write_text(text)
            path.with_suffix(".new").rename(path)
        log(f"epoch {epoch}")  # once it is kept: killed here, it is not trained again
    facts = {"epochs": 3, "best_epoch": 3, "seconds": 0.1}
    facts["stopped_by"] = os.environ.get("FAKE_STOPPED_BY", "epochs")
    values = [value, *([value * 2] if second else [])]
    (folder / "result.new").write_text(json.dumps({"values": values, "facts": facts}))
    (folder / "result.new").rename(folder / "result.json")
    log("ends")
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
