"""Nothing assumes a CPU; see device_checks.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no backends in Python",
)
def test_whole_jobs_on_a_device_that_is_none() -> None:
    # Torch knows of the device from then on, which is nothing for the process of all other tests.
    here = Path(__file__).resolve().parent
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        "device_checks.py",
    ]
    found = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=280)
    assert found.returncode == 0, found.stdout[-10_000:]
