"""How fast preparation is, and how it grows: whole commands, each in its own process, wall time and peak memory.

    python benchmarks/preparation.py globo --raw FOLDER     # beside plain pandas (plain_pandas.py), taking turns
    python benchmarks/preparation.py scale                  # 1M, 3M, 10M, 30M generated clicks, and a figure

Results go to results/preparation/ as JSON, with the machine and the versions beside every figure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_hiersrec.benchmark import environment

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "preparation"
GIB = 2**30
CLICKS = (1_000_000, 3_000_000, 10_000_000, 30_000_000)


def measured(command: Sequence[str], threads: int) -> dict[str, float]:
    """Run a command; seconds of wall time and GiB of peak resident memory of its process."""
    limits = {"OMP_NUM_THREADS": str(threads), "POLARS_MAX_THREADS": str(threads)}
    began = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **limits}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": round(seconds, 3), "peak_gib": round(usage.ru_maxrss * unit / GIB, 3)}


def hiersrec(*arguments: str | Path) -> list[str]:
    """The command line of this package, in this interpreter."""
    return [sys.executable, "-m", "recbole_hiersrec", *map(str, arguments)]


def globo(raw: Path, repeats: int, threads: int) -> dict[str, Any]:
    """Globo's clicks to atomic files, by this package and by plain pandas in turn; the files must be equal."""
    runs: dict[str, list[dict[str, float]]] = {"hiersrec": [], "plain pandas": []}
    with tempfile.TemporaryDirectory() as temporary:
        ours, theirs = Path(temporary) / "ours", Path(temporary) / "theirs"
        for _ in range(repeats):
            shutil.rmtree(ours, ignore_errors=True)
            theirs.mkdir(exist_ok=True)
            runs["hiersrec"].append(
                measured(hiersrec("data", "prepare", "globo", "--raw", raw, "--data-path", ours), threads)
            )
            plain = [sys.executable, str(HERE / "plain_pandas.py"), str(raw / "clicks.parquet"), str(theirs)]
            runs["plain pandas"].append(measured(plain, threads))
            print(*(f"{name}: {found[-1]}" for name, found in runs.items()), sep="; ", flush=True)
        manifest = json.loads((ours / "globo" / "manifest.json").read_text())
        equal = {
            suffix: same_table(ours / "globo" / f"globo.{suffix}", theirs / f"globo.{suffix}")
            for suffix in ("inter", "user")
        }
    medians = {name: statistics.median(run["seconds"] for run in found) for name, found in runs.items()}
    return {
        "read": manifest["read"],
        "result": manifest["result"],
        "settings": manifest["settings"],
        "runs": runs,
        "median_seconds": medians,
        "times_faster": round(medians["plain pandas"] / medians["hiersrec"], 2),
        "same_rows": equal,
    }


def same_table(first: Path, second: Path) -> bool:
    """Whether two atomic files hold the same rows, whatever way their numbers are written."""
    import polars as pl

    a, b = (
        pl.read_csv(path, separator="\t", schema_overrides={"timestamp:float": pl.Float64})
        for path in (first, second)
    )
    return a.equals(b)


def scale(clicks: Sequence[int], items: int, threads: int) -> dict[str, Any]:
    """Generated logs of growing size, prepared as a user's own log is."""
    rows = []
    for number in clicks:
        with tempfile.TemporaryDirectory() as temporary:
            raw, out = Path(temporary) / "raw", Path(temporary) / "out"
            generate = hiersrec("data", "generate", raw, "--clicks", str(number), "--items", str(items))
            prepare = hiersrec(
                *(
                    "data",
                    "prepare",
                    "generated",
                    "--events",
                    raw / "events.parquet",
                    "--items",
                    raw / "items.csv",
                ),
                *("--map", "session=session", "--map", "item=item", "--map", "time=time"),
                *("--levels", "level_1,level_2", "--title", "title", "--data-path", out),
            )
            row = {
                "clicks": number,
                "generate": measured(generate, threads),
                "prepare": measured(prepare, threads),
            }
            row["result"] = json.loads((out / "generated" / "manifest.json").read_text())["result"]
        print(row, flush=True)
        rows.append(row)
    return {"items": items, "runs": rows}


def draw(found: dict[str, Any], path: Path) -> None:
    """Seconds and memory against clicks, both axes logarithmic, with a straight line of slope one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    clicks = [run["clicks"] for run in found["runs"]]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    for axis, key, label in zip(axes, ("seconds", "peak_gib"), ("seconds", "peak memory, GiB"), strict=True):
        values = [run["prepare"][key] for run in found["runs"]]
        axis.loglog(clicks, values, "o-", label="hiersrec data prepare")
        axis.loglog(clicks, [values[-1] * n / clicks[-1] for n in clicks], ":", color="grey", label="linear")
        axis.set(xlabel="clicks", ylabel=label)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=150)


def save(name: str, found: dict[str, Any], threads: int) -> None:
    """Write results/preparation/NAME.json with what the figures rest on."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    facts = {
        "machine": environment.machine("cpu"),
        "versions": environment.versions(),
        "commit": environment.commit(),
    }
    text = json.dumps({**found, "threads": threads, **facts}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and run one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("globo", "scale"))
    parser.add_argument("--raw", type=Path, help="folder of Globo's clicks.parquet")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clicks", type=int, nargs="+", default=list(CLICKS))
    parser.add_argument("--items", type=int, default=100_000)
    given = parser.parse_args()
    if given.what == "globo":
        if given.raw is None:
            parser.error("globo needs --raw FOLDER")
        found = globo(given.raw, given.repeats, given.threads)
        print({key: found[key] for key in ("median_seconds", "times_faster", "same_rows")})
    else:
        found = scale(given.clicks, given.items, given.threads)
        RESULTS.mkdir(parents=True, exist_ok=True)
        draw(found, RESULTS / "scale.png")
    save(given.what, found, given.threads)


if __name__ == "__main__":
    main()
