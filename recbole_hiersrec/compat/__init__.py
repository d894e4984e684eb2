"""Everything done *to* RecBole 1.2.1: one function a defect or extension, each naming the upstream line.

Nothing happens until :func:`apply_fixes` or :func:`register` is called; both may be called again at no cost.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_hiersrec.errors import HierSRecError
from recbole_hiersrec.names import INSTALL, RECBOLE_VERSION, recbole_folder

__all__ = [
    "apply_fixes",
    "load_data_and_model",
    "plain_config",
    "rebuild_config",
    "register",
    "require_recbole",
]


def require_recbole() -> None:
    """Raise :class:`HierSRecError` with the pip command unless RecBole 1.2.1 is installed; loads no torch."""
    recbole_folder()
    version = importlib.import_module("recbole").__version__
    if version != RECBOLE_VERSION:
        raise HierSRecError(
            f"RecBole {RECBOLE_VERSION} is needed, found {version}: its fixes fit no other; run: {INSTALL}"
        )


def apply_fixes() -> None:
    """Mend RecBole in this process, without registering our models.

    Raises:
        HierSRecError: RecBole, or something it needs, is not installed.
    """
    require_recbole()
    from recbole_hiersrec.compat import process

    process.quiet_future_warnings()
    process.late_imports_present()
    process.import_without_ray()
    process.numpy_aliases()
    process.anomaly_detection_off()

    # These import RecBole at their top, so they come after it was imported safely.
    from recbole_hiersrec.compat import (
        augmentation,
        bert4rec,
        checkpoints,
        config,
        costs,
        hyper_tuning,
        item_universe,
        loading,
        logs,
        padding,
        prepared_split,
        reading,
        runs,
        s3rec,
        splitting,
        time_order,
    )

    config.no_command_line()
    config.default_files()
    config.time_column_loaded()
    config.no_unknown_keys()
    logs.tidy_logs()
    runs.one_folder_a_run()
    checkpoints.safe_checkpoints()
    loading.safe_loading()
    time_order.exact_time_order()
    reading.lean_reading()
    augmentation.vectorised_augmentation()
    splitting.no_needless_counts()
    splitting.fast_splits()
    splitting.one_empty_set()
    prepared_split.prepared_split()
    item_universe.interacted_items()
    padding.zero_padding()
    padding.gates_of_items_alone()
    padding.state_of_the_last_item()
    bert4rec.whole_sessions_masked()
    bert4rec.room_for_one_masked_item()
    bert4rec.whole_sessions_scored()
    s3rec.finetuning_without_a_file()
    s3rec.items_without_an_attribute()
    costs.distances_without_copies()
    costs.targets_grouped_at_once()
    costs.gelu_at_once()
    costs.graphs_without_loops()
    costs.masked_items_alone()
    hyper_tuning.exhaustive_search_draws()


def register() -> None:
    """Mend RecBole and register the models of this package (see :func:`recbole_hiersrec.register`)."""
    apply_fixes()
    from recbole_hiersrec.compat.extensions import register_models

    register_models()


def plain_config(config: Any) -> dict[str, Any]:
    """The final settings of RecBole's Config as plain values, fit for JSON, without enums and device."""
    apply_fixes()
    from recbole_hiersrec.compat import checkpoints

    return checkpoints.plain_config(config)


def rebuild_config(values: Mapping[str, Any], where: str | Path = "checkpoint", trusted: bool = False) -> Any:
    """The Config that :func:`plain_config` was made from, for this machine.

    Args:
        values: plain settings.
        where: named in error messages, for instance the path of the checkpoint.
        trusted: allow settings that make RecBole unpickle cached data sets.

    Raises:
        CheckpointError: the settings cannot be used, or name pickled files and are not trusted.
    """
    apply_fixes()
    from recbole_hiersrec.compat import loading

    return loading.rebuild_config(values, where, trusted)


def load_data_and_model(model_file: str | Path, trusted: bool = False) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Load a checkpoint, see :func:`recbole_hiersrec.compat.loading.load_data_and_model`."""
    apply_fixes()
    from recbole_hiersrec.compat import loading

    return loading.load_data_and_model(model_file, trusted)
