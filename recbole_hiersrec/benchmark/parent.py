"""How a job ends with the runner that started it, even when the runner is killed."""

from __future__ import annotations

import os
import threading


def exit_with_parent() -> None:
    """Watch standard input, a pipe whose other end only the runner holds; end this process when it closes.

    Does nothing for a job that a person starts in a terminal or with input from a file.
    """
    if os.environ.get("HIERSREC_RUNNER") == str(os.getppid()):
        threading.Thread(target=_wait_and_exit, daemon=True).start()


def _wait_and_exit() -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock, held here, would abort Python's own shutdown
        pass
    os._exit(1)
