"""Load a checkpoint and its data again, in place of ``recbole.quick_start.load_data_and_model``."""

from __future__ import annotations

import importlib
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, init_seed

from recbole_hiersrec.compat.checkpoints import plain_config
from recbole_hiersrec.compat.logs import init_logger
from recbole_hiersrec.compat.patch import replace_everywhere
from recbole_hiersrec.errors import CheckpointError

_OF_THIS_MACHINE = ("local_rank", "single_spec", "nproc", "world_size", "offset", "ip", "port", "device")


def safe_loading() -> None:
    """Replace RecBole's ``load_data_and_model``.

    Upstream: ``quick_start/quick_start.py:250`` calls ``torch.load`` as if it unpickled any object, which
    torch >= 2.6 does not.
    """
    # Imported here: RecBole's quick_start must first have been imported without ray (see process.py).
    import recbole.quick_start.quick_start as quick_start

    replace_everywhere(quick_start, "load_data_and_model", load_data_and_model)


def load_data_and_model(model_file: str | Path, trusted: bool = False) -> tuple[Any, Any, Any, Any, Any, Any]:
    """Load a checkpoint, build its data set again, and put the weights into a new model.

    Args:
        model_file: a ``.pth`` file that a RecBole trainer wrote, or a folder that ``HierSRecTrainer`` wrote.
        trusted: also unpickle a ``.pth`` of plain RecBole and RecBole's cached data sets. Unpickling runs
        whatever
            code the file holds, so say so only for files from people you trust.

    Returns:
        (config, model, dataset, train_data, valid_data, test_data), as RecBole's function.

    Raises:
        CheckpointError: the file is missing, damaged, not a checkpoint, does not fit the data, or is not
        trusted.
    """
    path = Path(model_file)
    if path.is_dir():
        loaded: tuple[Any, Any, Any, Any, Any, Any] = importlib.import_module(
            "recbole_hiersrec.training"
        ).load_data_and_model(path)
        return loaded
    state = read_state(path, trusted)
    config = rebuild_config(state["config"], path, trusted)
    init_seed(config["seed"], config["reproducibility"])
    init_logger(config)
    dataset = create_dataset(config)
    parts = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, parts[0]._dataset).to(config["device"])
    try:
        model.load_state_dict(state["state_dict"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: the weights do not fit the data in {config['data_path']}: {reason}"
        ) from error
    model.load_other_parameter(state.get("other_parameter"))
    return config, model, dataset, *parts


def read_state(path: Path, trusted: bool) -> dict[str, Any]:
    """The contents of a checkpoint with ``config`` as plain values (see :func:`load_data_and_model`)."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        state = _read_pickled(path, trusted, error)
    wanted = {"config", "state_dict"}
    if not isinstance(state, dict) or not wanted <= state.keys():
        raise CheckpointError(f"{path}: not a checkpoint of a RecBole trainer")
    if isinstance(state["config"], Config):
        state["config"] = plain_config(state["config"])
    return state


def _read_pickled(path: Path, trusted: bool, error: Exception) -> Any:
    """Read what the safe loader refused: only an intact file, and only where the caller trusts it."""
    if not isinstance(error, pickle.UnpicklingError) or not _is_intact(path):
        raise CheckpointError(f"{path}: damaged, or not a checkpoint") from error
    if not trusted:
        raise CheckpointError(
            f"{path}: holds pickled objects, as of plain RecBole; loading could run code of the file; "
            "if you trust it, pass trusted=True"
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as inner:  # unpickling runs arbitrary constructors
        raise CheckpointError(f"{path}: cannot be unpickled: {type(inner).__name__}: {inner}") from inner


def _is_intact(path: Path) -> bool:
    """Whether the file is a zip archive, as ``torch.save`` writes, with correct check sums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False


def rebuild_config(values: Mapping[str, Any], where: str | Path = "checkpoint", trusted: bool = False) -> Any:
    """A Config with the final settings that :func:`~recbole_hiersrec.compat.plain_config` saved.

    Enums, device and sampling arguments are derived again.

    No string goes through ``Config(config_dict=...)``, which evaluates strings as Python
    (``configurator.py:131``), and unless ``trusted``, settings that make RecBole unpickle a file are refused.

    Raises:
        CheckpointError: the settings cannot be used, or name pickled files; it begins with ``where``.
    """
    config = Config.__new__(Config)
    config.compatibility_settings()
    config._init_parameters_category()
    config.yaml_loader = config._build_yaml_loader()
    try:
        config.model, config.dataset = str(values["model"]), str(values["dataset"])
        config.model_class = get_model(config.model)
        final = _unresolved(values)
        config.file_config_dict, config.cmd_config_dict, config.internal_config_dict = {}, {}, {}
        config.variable_config_dict = config.external_config_dict = final
        config.final_config_dict = {**final, "MODEL_TYPE": config.model_class.type}
        config._set_default_parameters()
        config._init_device()
        config._set_train_neg_sample_args()
        config._set_eval_neg_sample_args("valid")
        config._set_eval_neg_sample_args("test")
    except (AttributeError, ImportError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{where}: its settings cannot be used: {type(error).__name__}: {error}"
        ) from error
    if not trusted:
        _refuse_pickled_caches(config, where)
    return config


def _unresolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Undo what Config adds to the settings, since it is going to be added again."""
    final = {key: value for key, value in values.items() if key not in _OF_THIS_MACHINE}
    final["data_path"] = os.path.dirname(
        os.path.normpath(final["data_path"])
    )  # configurator.py:336 appends the name
    # Loading writes nothing where a file says.
    final |= {"log_dir": None, "save_dataset": False, "save_dataloaders": False}
    if (final.get("train_neg_sample_args") or {}).get("distribution") == "none":
        final["train_neg_sample_args"] = None  # configurator.py:520 wrote it out
    return final


def _refuse_pickled_caches(config: Any, where: str | Path) -> None:
    """RecBole unpickles cached data (``data/utils.py:61,122``) that lies where the checkpoint says."""
    for key in ("dataset", "model"):  # they become part of the caches' file names
        if Path(config[key]).name != config[key]:
            raise CheckpointError(f"{where}: {config[key]!r} is not the name of a {key}")
    for key in ("dataset_save_path", "dataloaders_save_path"):
        if config[key]:
            raise CheckpointError(
                f"{where}: '{key}' names a pickled file ({config[key]}); if you trust it, pass trusted=True"
            )
    cached = [
        f for f in Path(config["checkpoint_dir"]).glob("*.pth") if f.name.startswith(f"{config['dataset']}-")
    ]
    pickled = [f for f in cached if f.stem.endswith(("Dataset", "-dataloader"))]
    if pickled:
        raise CheckpointError(
            f"{where}: RecBole would unpickle {pickled[0]}; if you trust it, pass trusted=True"
        )
