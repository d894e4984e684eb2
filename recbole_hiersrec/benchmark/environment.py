"""What a record says of where it was made: machine, versions, commit, code, memory."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recbole_hiersrec import resources

PACKAGES = (
    "recbole-hiersrec",
    "recbole",
    "torch",
    "numpy",
    "pandas",
    "polars",
    "scipy",
    "faiss-cpu",
    "safetensors",
    "tokenizers",
)


def machine(device: Any) -> dict[str, Any]:
    """Processor, cores, memory, system, the device that the model ran on, and how many jobs ran at a time."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages * size / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "device": str(device),
        "jobs_at_a_time": int(os.environ.get("HIERSREC_WORKERS", "1")),
    }


def processor() -> str:
    """Name of the processor, as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Python and the packages that can change a figure."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str | None:
    """Commit of the checkout the package runs from, with "+changes" if it was edited; None outside a checkout."""
    root = resources.root()
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        edited = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None  # no git program, or a checkout that git does not trust: the code hash still tells
    return head + ("+changes" if edited else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def code_hash() -> str:
    """SHA-256 (hex) over the package's Python files."""
    return resources.code_hash(Path(__file__).resolve().parents[1])


def peak_memory_mib() -> float:
    """Largest resident size of this process so far, MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
