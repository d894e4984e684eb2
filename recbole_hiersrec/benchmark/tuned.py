"""Settings that ``hiersrec tune export`` wrote, as suites name them: the settings themselves, and how they were found.

MODEL.DATASET.yaml holds the settings, MODEL.DATASET.json beside it the study: see ``tuning.summary``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_hiersrec import resources
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.reading import read_yaml
from recbole_hiersrec.records import read_text

STUDY_SCHEMA = 1


def tuned_file(name: str) -> Path:
    """The YAML file that ``name`` stands for: a path that ends in .yaml, or a name in properties/model/.

    Raises:
        InputError: there is no such file.
    """
    path = _path(name)
    if not path.is_file():
        exported = sorted(found.stem for found in resources.tuned_settings("x").parent.glob("*.json"))
        raise InputError(
            f"tuned: no settings '{name}': {path} does not exist{nearest(name, exported)} "
            f"(exported: {', '.join(exported) or 'none; see hiersrec tune export'})"
        )
    return path


def read_tuned(name: str, model: str) -> dict[str, Any]:
    """The settings that ``name`` stands for.

    Raises:
        InputError: there are none, or they were chosen for another model.
    """
    settings, study = read_yaml(tuned_file(name)), read_study(name)
    if study and study["model"] != model:
        raise InputError(f"tuned: '{name}' was chosen for model {study['model']}, received model {model}")
    return settings


def read_study(name: str) -> dict[str, Any]:
    """What was written of the study beside the settings; empty where nothing was.

    Raises:
        InputError: it is damaged.
    """
    path = _path(name).with_suffix(".json")
    return read_exported(path) if path.is_file() else {}


def read_exported(path: Path) -> dict[str, Any]:
    """A study that ``hiersrec tune export`` wrote.

    Raises:
        InputError: it is damaged.
    """
    try:
        study = read_text(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}); run hiersrec tune export again") from None
    if not isinstance(study, dict) or study.get("schema") != STUDY_SCHEMA:
        raise InputError(f"{path} is not a study of this version; run hiersrec tune export again")
    return study


def tuned_facts(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a job carries of the study: a few plain values; empty where ``name`` is.

    Args:
        name: what the suite names.
        settings: the job's; those that are not as in the study's best trial are told.
    """
    if not name:
        return {}
    study = read_study(name)
    told = ("study", "dataset", "objectives", "counts", "cut_short", "samplers", "exported", "value")
    facts = {"name": name} | {key: study[key] for key in told if key in study}
    return facts | ({"differs": _differing(study, settings)} if study else {})


def _differing(study: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Settings of a job that are not those which were tried and found best; searched ones that the trial had no use
    for are left alone, and so is the metric that validation stops by."""
    (trial,) = (one for one in study["trials"] if one["number"] == study["exported"])
    wanted, unused = study["settings"] | trial["params"], {*study["space"], "valid_metric"}
    names = {*wanted, *settings} - (unused - set(trial["params"]))
    return sorted(name for name in names if wanted.get(name) != settings.get(name))


def _path(name: str) -> Path:
    return Path(name) if name.endswith(".yaml") else resources.tuned_settings(name)
