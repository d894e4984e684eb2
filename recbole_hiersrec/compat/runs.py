"""Defect of RecBole's checkpoint names: they have one-second resolution, and all runs share a folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from recbole.trainer.trainer import Trainer

from recbole_hiersrec.compat.patch import wrap


def run_name(config: Any) -> str:
    """``<model>-<data set>-<time>-<8 hex digits>``: no two runs share it, whichever process starts them."""
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return f"{config['model']}-{config['dataset']}-{now}-{uuid.uuid4().hex[:8]}"


def one_folder_a_run() -> None:
    """Give every trainer a checkpoint folder of its own below ``checkpoint_dir``.

    Only the first checkpoint creates it: a run that saves nothing leaves no folder behind.
    Upstream: ``trainer/trainer.py:132``; two runs that started within one second overwrote each other.
    """

    def build(original: Callable[..., Any]) -> Callable[..., Any]:
        def initialise(self: Any, config: Any, model: Any) -> None:
            os.makedirs(
                config["checkpoint_dir"], exist_ok=True
            )  # RecBole's own check races between processes
            original(self, config, model)
            folder = Path(config["checkpoint_dir"]) / run_name(config)
            self.saved_model_file = str(folder / f"{config['model']}.pth")

        return initialise

    wrap(Trainer, "__init__", build)
