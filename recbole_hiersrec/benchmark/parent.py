"""How a job ends with the runner that started it, even when the runner is killed: ``MODULE ARGUMENTS``.

This is what a job's process starts with, so that it watches its runner before anything heavy is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading


def exit_with_parent() -> None:
    """Watch standard input, a pipe whose other end only the runner holds; end this process when it closes.

    Does nothing for a job that a person starts in a terminal or with input from a file. What this process starts is
    not told of the runner.
    """
    if os.environ.pop("HIERSREC_RUNNER", ""):
        threading.Thread(target=_wait_and_exit, daemon=True).start()


def _wait_and_exit() -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock, held here, would abort Python's own shutdown
        pass
    os._exit(1)


if __name__ == "__main__":
    exit_with_parent()
    sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
