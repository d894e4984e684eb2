"""Defect of RecBole's logs: always in the working folder, and a second run writes into the first's file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import colorlog  # type: ignore[import-untyped]
import recbole.utils.logger
import recbole.utils.utils
from torch.utils.tensorboard import SummaryWriter

from recbole_hiersrec.compat.patch import replace_everywhere
from recbole_hiersrec.compat.runs import run_name

_CONSOLE = "%(log_color)s%(asctime)-15s %(levelname)s  %(message)s"
_FILE = "%(asctime)-15s %(levelname)s  %(message)s"
_ours: list[logging.Handler] = []  # the handlers of the latest run in this process


def tidy_logs() -> None:
    """Log to the console; to files only below ``config["log_dir"]``, when the user sets it; one file a run.

    Upstream: ``utils/logger.py:75`` always writes ``./log`` and ``:118`` (basicConfig) keeps the handlers of
    an earlier run; ``utils/utils.py:220`` always writes ``./log_tensorboard``.
    """
    replace_everywhere(recbole.utils.logger, "init_logger", init_logger)
    replace_everywhere(recbole.utils.utils, "get_tensorboard", get_tensorboard)


def init_logger(config: Any) -> None:
    """Set up the root logger for a run, in place of ``recbole.utils.init_logger``.

    The handlers of an earlier run are closed. Like RecBole's, the console stays as it is where the program
    has set up logging itself.

    Args:
        config: RecBole's Config; ``state`` is the level, ``log_dir`` the folder of log files or ``None``.
    """
    root = logging.getLogger()
    while _ours:
        handler = _ours.pop()
        root.removeHandler(handler)
        handler.close()
    if not root.handlers:
        _ours.append(_console())
    if config["log_dir"]:
        _ours.append(_file(config))
    level = logging.getLevelNamesMapping().get((config["state"] or "info").upper(), logging.INFO)
    for handler in _ours:
        handler.setLevel(level)
        root.addHandler(handler)
    if _ours:
        root.setLevel(level)


def _console() -> logging.Handler:
    handler = logging.StreamHandler()
    colors = recbole.utils.logger.log_colors_config
    handler.setFormatter(colorlog.ColoredFormatter(_CONSOLE, "%d %b %H:%M", log_colors=colors))
    return handler


def _file(config: Any) -> logging.Handler:
    path = Path(config["log_dir"]) / config["model"] / f"{run_name(config)}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_PlainFormatter(_FILE, "%a %d %b %Y %H:%M:%S"))
    return handler


class _PlainFormatter(logging.Formatter):
    """Without colours; RecBole's filter strips them from the record, so later handlers lose them, too."""

    def format(self, record: logging.LogRecord) -> str:
        return recbole.utils.logger.re.sub(
            r"\x1B(?:[@-Z\\-_]|\[[0-?]*[ -/]*[@-~])", "", super().format(record)
        )


def get_tensorboard(logger: logging.Logger) -> Any:
    """A TensorBoard writer beside the run's log file; without such a file, one that writes nothing."""
    for handler in logger.handlers:
        if handler in _ours and isinstance(handler, logging.FileHandler):
            path = Path(handler.baseFilename)
            return SummaryWriter(str(path.parent / "tensorboard" / path.stem))
    return SilentWriter()


class SilentWriter:
    """Has the methods of ``SummaryWriter`` that trainers call, and writes nothing."""

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """Forget the value."""

    def add_hparams(self, *args: Any, **kwargs: Any) -> None:
        """Forget the settings."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("add_") and hasattr(SummaryWriter, name):
            return self.add_scalar
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def flush(self) -> None:
        """Nothing is waiting to be written."""

    def close(self) -> None:
        """Nothing is open."""
