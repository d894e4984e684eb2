"""Defects of RecBole's Config: command line, rounding, default files of models that live elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.utils import ModelType

from recbole_hiersrec import resources
from recbole_hiersrec.compat.patch import wrap
from recbole_hiersrec.data.files import folder_settings
from recbole_hiersrec.keys import check_keys
from recbole_hiersrec.names import MODELS

METRIC_DECIMALS = 12
EVAL_BATCH_SIZE = 256


def no_command_line() -> None:
    """Config no longer reads ``sys.argv``, which belongs to whichever program runs.

    Upstream: ``config/configurator.py:165``; ``pytest --epochs=3`` overrode a config dict.
    """
    wrap(Config, "_load_cmd_line", lambda original: lambda self: {})


def default_files() -> None:
    """Load the default YAML of our models, and stop rounding metrics before early stopping compares them.

    Right after ``overall.yaml``: ``metric_decimal_place`` 12 and ``eval_batch_size`` 256 for every model (4096 rows of
    scores are 16 GB for a million items), then ``properties/model/<model>.yaml`` of ours. Right after the data set's
    own file: ``properties/dataset/<name>.yaml`` of ours, then ``<data_path>/<name>/<name>.yaml``, which says what
    HierSRec reads from a prepared folder; for our models only.
    Upstream: ``config/configurator.py:238`` looks for files only in its own folder;
    ``properties/overall.yaml`` sets 4 decimals, and ``evaluator/base_metric.py:81`` rounds to them.
    """
    wrap(Config, "_update_internal_config_dict", _with_our_files)


def _with_our_files(original: Callable[..., Any]) -> Callable[..., Any]:
    def update(self: Any, file: str) -> Any:
        loaded = original(self, file)
        path = Path(file)
        if path.name == "overall.yaml":
            self.internal_config_dict["metric_decimal_place"] = METRIC_DECIMALS
            self.internal_config_dict["eval_batch_size"] = EVAL_BATCH_SIZE
            _update_from(original, self, resources.model_defaults(self.model))
        elif path.parent.name == "dataset":  # sample.yaml, then the data set's own where RecBole has one
            _update_from(original, self, resources.dataset_defaults(self.dataset))
            _update_from_folder(self)
        return loaded

    return update


def _update_from(original: Callable[..., Any], config: Any, path: Path) -> None:
    if config.model in MODELS and path.is_file():
        original(config, str(path))


def _update_from_folder(config: Any) -> None:
    """What lies in the data set's folder; where that is, the user's settings say, or RecBole's defaults."""
    if config.model in MODELS:
        given = config.internal_config_dict | config.external_config_dict
        config.internal_config_dict.update(folder_settings(config.dataset, given["data_path"]))


def time_column_loaded() -> None:
    """Sequential models load the user, item and time columns unless the user sets ``load_col``.

    Upstream: ``properties/dataset/sample.yaml:18`` loads user and item only, and then
    ``data/dataset/sequential_dataset.py:100`` finds no times to sort by.
    """

    def build(original: Callable[..., Any]) -> Callable[..., Any]:
        def final(self: Any) -> Any:
            settings = original(self)
            if settings["MODEL_TYPE"] == ModelType.SEQUENTIAL and "load_col" not in self.external_config_dict:
                columns = settings["load_col"]
                wanted = [settings[key] for key in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD")]
                settings["load_col"] = {**columns, "inter": list(dict.fromkeys([*columns["inter"], *wanted]))}
            return settings

        return final

    wrap(Config, "_get_final_config_dict", build)


def no_unknown_keys() -> None:
    """For our models, a key that nobody reads raises :class:`InputError` naming the nearest one.

    Upstream: ``config/configurator.py:321`` keeps every key, and a missing one reads as ``None`` (``:583``).
    """

    def build(original: Callable[..., Any]) -> Callable[..., Any]:
        def names(self: Any, model: Any, dataset: Any) -> Any:
            found = original(self, model, dataset)
            if found[0] in MODELS:
                check_keys(self.external_config_dict, f"configuration of {found[0]}")
            return found

        return names

    wrap(Config, "_get_model_and_dataset", build)
