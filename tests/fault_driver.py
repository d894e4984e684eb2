"""Kill runners at random moments and at every change of the disk; what is left must be whole. Prints what it did.

    fault_driver.py FOLDER kills N      N times SIGKILL, each after a random time, until all jobs are done
    fault_driver.py FOLDER faults       a fresh folder for every n: the runner dies at its n-th change of the disk

Each runner is a fork of this process, which has all imports; the jobs are a few lines of shell. A job makes three
"epochs", keeps the number of the last one in state/, and then copies a result that was made before. It does not watch
its runner: it outlives it for a moment, with its lock.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_job import write_result
from fake_suite import make_records, make_suite

from recbole_hiersrec.benchmark import runner
from recbole_hiersrec.benchmark.store import JobStore

MODELS = ["MarkovChain", "SequentialPop"]
SHELL = """
folder=$2; key=${folder##*/.tmp-}; echo "$key starts" >> $LOG
mkdir -p $folder/state; n=$(cat $folder/state/n 2>/dev/null || echo 0)
while [ $n -lt 3 ]; do
  n=$((n + 1)); echo "$key $n" >> $LOG; echo $n > $folder/state/new; mv $folder/state/new $folder/state/n; sleep 0.005
done
cp -r $RESULTS/$key/. $folder; echo "$key ends" >> $LOG
"""
COMMAND = ("sh", "-c", SHELL, "job")


class Suite:
    """Two jobs a seed in ``folder``, what each of them will leave, and a log of their epochs."""

    def __init__(self, folder: Path, seeds: list[int]) -> None:
        self.runs, self.epochs = folder / "runs", folder / "epochs"
        self.suite = make_suite(folder, seeds=seeds, models=MODELS)
        jobs, records = make_records(folder, seeds=seeds, models=MODELS)
        self.keys = [job.key for job in jobs]
        runner.expand = lambda _: jobs  # it reads with Polars, whose threads a fork does not have
        for record in records:
            result = folder / "results" / record["key"]
            if not result.exists():
                result.mkdir(parents=True)
                write_result(result, record)
        self.epochs.touch()
        os.environ |= {"LOG": str(self.epochs), "RESULTS": str(folder / "results")}
        self.whole = {key: _content(folder / "results" / key) for key in self.keys}

    def run(self, workers: int = 1) -> Any:
        return runner.run_suite(self.suite, self.runs, workers=workers, command=COMMAND, echo=lambda _: None)

    def fork(self, before: Callable[[], None], workers: int = 1) -> int:
        """Start a runner in a process of its own; returns its id."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                before()
                status = 0 if not self.run(workers).failed else 2
            finally:
                os._exit(status)
        return child

    def done(self) -> set[str]:
        """Keys of the jobs that are done; each of them must be whole."""
        store = JobStore(self.runs / "trial")
        found = {key for key in self.keys if store.is_done(key)}
        for key in found:
            left = _content(store.path(key))
            for name in (
                "job.json",
                "lock",
                "state/n",
            ):  # the latter two of a runner that died after the rename
                left.pop(name, None)
            assert left == self.whole[key], f"{key} is half written: {sorted(left)}"
        return found

    def started(self) -> int:
        return len(self.epochs.read_text().splitlines())

    def check_end(self) -> None:
        """All is done and nothing else is left; no job went back behind the state it had kept, or began when done."""
        assert self.done() == set(self.keys)
        names = sorted(path.name for path in (self.runs / "trial" / "jobs").iterdir())
        assert names == sorted(self.keys), names
        for key in self.keys:
            assert not {"lock", "state"} & {
                path.name for path in (self.runs / "trial" / "jobs" / key).iterdir()
            }
            told = [line.split()[1] for line in self.epochs.read_text().splitlines() if key in line]
            assert told.count("ends") == 1, f"{key} was done {told.count('ends')} times"
            assert told[-1] == "ends", f"{key} began when it was done: {told}"
            epochs = [int(word) for word in told if word.isdigit()]
            assert epochs == sorted(epochs), f"{key} began anew: {epochs}"
            assert set(epochs) == {1, 2, 3}, epochs


def kills(folder: Path, wanted: int) -> dict[str, Any]:
    """Kill ``wanted`` runners; where all jobs were done sooner, in a fresh folder."""
    made = rounds = 0
    chance = random.Random(1)
    while made < wanted:
        rounds += 1
        suite, done = Suite(folder / str(rounds), [1, 2]), set[str]()
        while len(done) < len(suite.keys) and made < wanted:
            children = [
                suite.fork(lambda: None, chance.choice([1, 2])) for _ in range(chance.choice([1, 1, 2]))
            ]
            for child in children:
                time.sleep(chance.uniform(0, 0.25))
                os.kill(child, signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                assert status in (0, -signal.SIGKILL), f"a runner ended with {status}"
                made += status != 0
            assert done <= suite.done(), "a finished job is lost"
            done = suite.done()
        finished = suite.done()
        before = suite.started()
        outcome = suite.run()
        assert not outcome.failed
        assert finished <= {job.key for job in outcome.done}, "a finished job was done again"
        assert len(finished) < len(suite.keys) or suite.started() == before
        suite.check_end()
    return {"kills": made, "folders": rounds}


def faults(folder: Path) -> dict[str, Any]:
    """Let a runner die at its n-th change of the disk, for n = 1, 2, ... until it lives."""
    n = 0
    while True:
        n += 1
        suite = Suite(folder / str(n), [1])
        status = os.waitstatus_to_exitcode(os.waitpid(suite.fork(lambda n=n: _die_at(n)), 0)[1])
        assert status in (0, 9), f"fault {n}: the runner ended with {status}"
        done = suite.done()
        if status == 9:
            outcome = suite.run()
            assert not outcome.failed
            assert done <= {job.key for job in outcome.done}
        suite.check_end()
        shutil.rmtree(folder / str(n))
        if status == 0:
            return {"faults": n - 1}


def _die_at(n: int) -> None:
    """Make this process die just before its n-th change of the disk."""
    left = n

    def counted(original: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal left
            if changes(*given, **named):
                left -= 1
                if left == 0:
                    os._exit(9)
            return original(*given, **named)

        return call

    for name in ("rename", "replace", "mkdir", "unlink", "remove", "rmdir"):
        setattr(os, name, counted(getattr(os, name), lambda *_, **__: True))
    os.open = counted(os.open, lambda path, flags, *_, **__: bool(flags & os.O_CREAT))  # type: ignore[assignment]
    Path.open = counted(Path.open, lambda _, mode="r", *__, **___: "r" not in mode)  # type: ignore[assignment]


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    where = Path(sys.argv[1])
    print(json.dumps(kills(where, int(sys.argv[3])) if sys.argv[2] == "kills" else faults(where)))
