"""Completion of the command in a shell: commands, options, and names that the package knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CODE = "import sys; sys.argv[0] = 'hiersrec'; from recbole_hiersrec.cli import main; main()"


def hiersrec(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("hiersrec ", {"bench", "data", "doctor", "results", "tune"}),
        ("hiersrec results v", {"verify"}),
        ("hiersrec tune run --sec", {"--second-objective", "--seconds"}),
        ("hiersrec bench candidates", {"candidates", "candidates-sessions"}),
        ("hiersrec bench sca", set()),
        ("hiersrec data prepare wiki", {"wikispeedia"}),
    ],
)
def test_what_is_offered(typed: str, offered: set[str]) -> None:
    place = str(len(typed.split(" ")) - 1)
    found = hiersrec(_HIERSREC_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=place).split()
    assert offered <= set(found)
    assert all(word.startswith(typed.split(" ")[-1]) for word in found)


@pytest.mark.skipif(shutil.which("bash") is None, reason="asks a bash for what it has learned")
def test_it_is_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    script = (
        f'"{sys.executable}" -c "{CODE}" --install-completion && source ~/.bashrc && complete -p hiersrec'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("complete -o default -F _hiersrec_completion hiersrec")
