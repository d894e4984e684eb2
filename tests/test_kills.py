"""Whatever kills a runner, at whatever moment: nothing is lost, half written or done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).with_name("fault_driver.py")


def drive(*arguments: str) -> Any:
    process = subprocess.run([sys.executable, str(DRIVER), *arguments], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    found = drive(str(tmp_path), "kills", "50")
    assert found["kills"] >= 50
    assert found["folders"] >= 2  # some of them were late enough for jobs to be done


def test_a_fault_at_every_change_of_the_disk(tmp_path: Path) -> None:
    assert drive(str(tmp_path), "faults")["faults"] > 25
