"""What of a suite can be checked before any job starts, without RecBole or torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_hiersrec.data.catalogue import check_fields, item_rows, wanted_fields
from recbole_hiersrec.data.files import SEPARATOR, atomic_files, check_interactions, column, data_hash
from recbole_hiersrec.data.manifest import MANIFEST, read_manifest
from recbole_hiersrec.data.parts import check_parts
from recbole_hiersrec.errors import InputError, nearest
from recbole_hiersrec.keys import check_keys
from recbole_hiersrec.names import INNER_PRODUCT, MODELS
from recbole_hiersrec.retrieval.budget import check_super_lists, item_budget
from recbole_hiersrec.retrieval.needs import LISTED, check_needs
from recbole_hiersrec.settings import (
    NEIGHBOUR_SETTINGS,
    CandidateSettings,
    DatasetEntry,
    HierSRecSettings,
    ModelEntry,
    SuiteSettings,
    hiersrec_settings,
    neighbour_settings,
    training_settings,
)

OWNED = {
    "model": "models",
    "dataset": "datasets",
    "data_path": "data_path of an entry of datasets",
    "seed": "seeds",
    "epochs": "limits: epochs",
    "stopping_step": "limits: patience",
    "max_steps": "limits: steps",
    "max_seconds": "limits: seconds",
    "MAX_ITEM_LIST_LENGTH": "protocol: max_length",
    "eval_args": "protocol: split",
    "prepared_split": "protocol: test_cases",
    "history": "protocol: history",
    "exact_time_order": "protocol: exact_time_order",
    "catalogue_items": "protocol: catalogue_items",
    "metrics": "metrics",
    "topk": "ks",
    "checkpoint_dir": "the option --runs",
    "train_stage": "pretrain_epochs (both stages are run)",
    "pre_model_path": "pretrain_epochs (both stages are run)",
    "show_progress": "the terminal",
}
"""RecBole's keys that a suite sets itself -> where it does."""


FIELDS = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp"}
"""RecBole's keys for the columns of the .inter file -> their defaults."""


@dataclass(frozen=True)
class SuiteData:
    """A data set of a suite, as it lies on disk."""

    entry: DatasetEntry
    files: Mapping[str, Path]
    hash: str
    separator: str


def find_data(suite: SuiteSettings, entry: DatasetEntry) -> SuiteData:
    """The files of a data set; raises :class:`InputError` when it is unknown or empty."""
    separator = str((suite.settings | entry.settings).get("field_separator", SEPARATOR))
    files = atomic_files(entry.name, entry.data_path, separator)
    return SuiteData(entry, files, data_hash(files), separator)


def check_owned(given: Mapping[str, Any], where: str) -> None:
    """Refuse keys that the suite sets itself, and would set over what was given."""
    for key in given:
        if key in OWNED:
            raise InputError(f"{where}: key '{key}' is not set here; a suite says it under: {OWNED[key]}")


def check_split(suite: SuiteSettings, data: SuiteData) -> None:
    """Refuse a split that the data set was not prepared for."""
    inter, wanted = data.files["inter"], suite.protocol.split
    manifest = read_manifest(inter.parent)
    prepared = manifest["settings"]["split"] if manifest else wanted
    if prepared != wanted:
        raise InputError(
            f"protocol: split: received '{wanted}', data set '{data.entry.name}' was prepared with split '{prepared}' "
            f"({inter.parent / MANIFEST})"
        )
    if wanted == "temporal":
        check_parts(inter, _fields(suite, data)[0], data.separator)


def check_counts(suite: SuiteSettings, data: SuiteData) -> None:
    """Refuse rows that RecBole would misread, a k above the number of items, and candidates that so few cannot have."""
    user, item, when = _fields(suite, data)
    split = suite.protocol.split
    items = check_interactions(data.files["inter"], user, item, when, data.separator, split)
    if suite.protocol.catalogue_items and "item" in data.files:
        items |= set(column(data.files["item"], item, data.separator))
    n_items = len(items)
    for where, k in (("ks", max(suite.ks)), ("speed.k", suite.speed.k)):
        if k > n_items:
            raise InputError(f"{where}: received {k}, data set '{data.entry.name}' has {n_items} items")
    if any(model.candidates for model in suite.models):
        for fraction in suite.candidates.item_fractions:
            with _at(f"candidates: data set '{data.entry.name}'"):
                item_budget(fraction, n_items)
    rules = {rule for model in suite.models if (own := suite.candidates_of(model)) for rule in own.rules}
    if rules & LISTED:
        with _at(f"candidates: data set '{data.entry.name}'"):
            check_super_lists(suite.candidates.super_lists, suite.candidates.compared_fraction, n_items)


def _fields(suite: SuiteSettings, data: SuiteData) -> tuple[str, str, str]:
    """Columns of the .inter file: session, item, time."""
    settings = suite.settings | data.entry.settings
    user, item, when = (str(settings.get(key, default)) for key, default in FIELDS.items())
    return user, item, when


def check_settings(
    suite: SuiteSettings, model: ModelEntry, settings: Mapping[str, Any], data: SuiteData
) -> None:
    """Refuse unknown keys, values out of range, columns that do not exist, and candidates that cannot be had.

    Keys of an importable class are its own business.
    """
    where = f"settings of {model.name or model.model}"
    own = check_values(model.model, settings, where)
    types: dict[str, str] = {}
    with _at(where):
        if wanted_fields(own):
            path = data.files["inter"].with_suffix(".item")
            types = check_fields(path, own, data.separator)
            item_rows(path, str(settings.get("ITEM_ID_FIELD", FIELDS["ITEM_ID_FIELD"])), data.separator)
        _check_followers(own, types)
    candidates = suite.candidates_of(model)
    if candidates:
        _check_candidates(candidates, model, own)


def check_values(model: str, settings: Mapping[str, Any], where: str) -> HierSRecSettings:
    """Refuse unknown keys and values out of range, whatever the data; returns HierSRec's own settings."""
    if ":" not in model:
        check_keys(settings, where)
    training_settings(settings, where)
    if model in NEIGHBOUR_SETTINGS:
        neighbour_settings(settings, model, where)
    return hiersrec_settings(settings, where) if model in MODELS else HierSRecSettings()


def _check_followers(own: HierSRecSettings, types: Mapping[str, str]) -> None:
    """Followers are remembered of category levels and metadata fields; a token_seq column is two levels."""
    levels = [
        level
        for field in own.category_fields
        for level in ([f"{field}.first", field] if types[field] == "token_seq" else [field])
    ]
    allowed = [*levels, *own.metadata_fields]
    for field in own.follower_fields:
        if field not in allowed:
            told = ", ".join(allowed) or "none, as no category or metadata field is named"
            raise InputError(f"follower_fields: received '{field}'{nearest(field, allowed)}, allowed: {told}")
        if own.follower_fields.count(field) > 1:
            raise InputError(f"follower_fields: '{field}' stands more than once")


def _check_candidates(candidates: CandidateSettings, model: ModelEntry, own: HierSRecSettings) -> None:
    """What a rule needs of a model of this package is known before training; of others it is seen when they run."""
    if model.model not in MODELS:
        return
    name = model.name or model.model
    inner_product, categories = model.model in INNER_PRODUCT, bool(own.category_fields)
    heads = categories and model.model == "HierSRec" and own.category_task
    for rule in candidates.rules:
        check_needs(name, rule, inner_product=inner_product, categories=categories, heads=heads)
    if candidates.exact and not inner_product:
        raise InputError(
            f"models: {name}: candidates: exact needs scores by inner products, which it has not"
        )


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Say where in the suite the fault lies."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
