"""Defect of RecBole's checkpoints: they pickle whole objects, which torch >= 2.6 rightly refuses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.trainer.trainer import PretrainTrainer, Trainer
from recbole.utils import set_color

from recbole_hiersrec.compat.patch import wrap
from recbole_hiersrec.errors import HierSRecError


def safe_checkpoints() -> None:
    """Checkpoints hold tensors and plain values only, so RecBole's own ``torch.load`` calls work again.

    Upstream: ``trainer/trainer.py:300`` stores the Config object, ``:308`` saves with pickle protocol 4,
    which the safe unpickler refuses; ``:765,770`` likewise for pre-training. Read back at
    ``trainer/trainer.py:323,583``, ``quick_start/quick_start.py:250`` and
    ``model/sequential_recommender/s3rec.py:120``.
    """
    wrap(Trainer, "_save_checkpoint", lambda original: _save_checkpoint)
    wrap(PretrainTrainer, "save_pretrained_model", lambda original: _save_pretrained)


def _save_checkpoint(self: Any, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
    if not self.config["single_spec"] and self.config["local_rank"] != 0:
        return
    path = kwargs.pop("saved_model_file", self.saved_model_file)
    write_state(self, epoch, path)
    if verbose:
        self.logger.info(set_color("Saving current", "blue") + f": {path}")


def _save_pretrained(self: Any, epoch: int, saved_model_file: str) -> None:
    write_state(self, epoch, saved_model_file)
    self.saved_model_file = saved_model_file


def write_state(trainer: Any, epoch: int, path: str | Path) -> None:
    """Write what RecBole's trainers read back, without any pickled object, under a temporary name first.

    The folder is created if need be.
    """
    state = {
        "config": plain_config(trainer.config),
        "epoch": int(epoch),
        "cur_step": int(trainer.cur_step),
        "best_valid_score": float(trainer.best_valid_score),
        "state_dict": trainer.model.state_dict(),
        "other_parameter": _other_parameter(trainer.model),
        "optimizer": trainer.optimizer.state_dict(),
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    temporary = f"{path}.part"
    torch.save(state, temporary)
    os.replace(temporary, path)


def plain_config(config: Any) -> dict[str, Any]:
    """The final settings as plain values, without enums and the device, which follow from the others."""
    derived = (Enum, torch.device)
    values = {key: value for key, value in config.final_config_dict.items() if not isinstance(value, derived)}
    return {key: plain(value, f"setting '{key}'") for key, value in values.items()}


def plain(value: Any, where: str) -> Any:
    """``value`` out of numbers, strings, lists, tuples and dicts only, so it may also be written as JSON.

    Raises:
        HierSRecError: it holds anything else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {plain(key, where): plain(entry, where) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        entries = [plain(entry, where) for entry in value]
        return tuple(entries) if isinstance(value, tuple) else entries
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise HierSRecError(
        f"{where} is a {type(value).__name__}, which a safe checkpoint cannot hold; "
        "give a plain value, or run with saved=False"
    )


def _other_parameter(model: Any) -> dict[str, Any]:
    """What the model keeps beside its ``state_dict``, which holds modules (SASRecF, FDSA) already."""
    kept = model.other_parameter() or {}
    return {
        key: value if isinstance(value, torch.Tensor) else plain(value, f"'{key}' of {type(model).__name__}")
        for key, value in kept.items()
        if not isinstance(value, torch.nn.Module)
    }
