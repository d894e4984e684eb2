"""What models of RecBole need of a data set and its split, known before any job starts; torch-free.

A model that cannot use the data is skipped with the reason, and the suite goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_hiersrec.data.catalogue import item_rows
from recbole_hiersrec.data.files import SEPARATOR, column, header
from recbole_hiersrec.errors import InputError, nearest

USER_VECTORS = frozenset({"Caser", "FOSSIL", "FPMC", "HGN", "HRM", "NPE", "SHAN", "TransRec"})
"""Models with a learned vector a user, which is a session here."""

FEATURES = frozenset({"FDSA", "GRU4RecF", "SASRecF"})
"""Models that read the columns ``selected_features`` of the .item file."""

ATTRIBUTE = frozenset({"S3Rec"})
"""Models that are pretrained to predict ``item_attribute``, one column of the .item file."""

ATTRIBUTE_VALUES = 500
"""Most different values of a column that becomes ``item_attribute`` unasked: each is predicted at each position."""


READ_PADDING = frozenset({"Caser", "FEARec", "LightSANs", "SINE"})
"""Models that read the padding behind a session (see ``compat/padding``)."""


def remark(*models: str) -> str:
    """What a reader must know of a model's figures; empty if nothing.

    Args:
        models: names that the model goes by in RecBole.
    """
    if READ_PADDING.isdisjoint(models):
        return ""
    return "reads the padding behind a session, so its figures depend on max_length where sessions are short"


def feature_settings(model: str, settings: Mapping[str, Any], item_file: Path | None) -> dict[str, Any]:
    """The setting that names a model's columns, from those that HierSRec reads, where it was not given.

    ``selected_features`` are the category and metadata fields; ``item_attribute`` is the finest of the category
    fields, or else the first of the metadata fields, with at most :data:`ATTRIBUTE_VALUES` values. Nothing for models
    that read no columns, and where there are none.

    Args:
        model: its name.
        settings: of the job.
        item_file: the .item file; None where the data set has none.

    Raises:
        InputError: a column does not exist.
    """
    key = _key(model)
    if not key or settings.get(key) or item_file is None:
        return {}
    categories, metadata = (_listed(settings.get(name)) for name in ("category_fields", "metadata_fields"))
    if model in FEATURES:
        fields = [*categories, *metadata]
        return {key: fields} if fields else {}
    separator = str(settings.get("field_separator", SEPARATOR))
    seq_separator = str(settings.get("seq_separator", " "))
    for field in (*reversed(categories), *metadata):
        if _n_values(item_file, field, separator, seq_separator) <= ATTRIBUTE_VALUES:
            return {key: field}
    return {}


def check_features(model: str, settings: Mapping[str, Any], item_file: Path | None) -> None:
    """Refuse columns that do not exist, and an item with two rows, of which RecBole would make two items.

    Raises:
        InputError: it is so.
    """
    key = _key(model)
    if not key or item_file is None:
        return
    separator = str(settings.get("field_separator", SEPARATOR))
    for field in _listed(settings.get(key)):
        _type_of(item_file, field, separator, key)
    item_rows(item_file, str(settings.get("ITEM_ID_FIELD", "item_id")), separator)


def lacking(
    model: str, settings: Mapping[str, Any], protocol: Mapping[str, Any], item_file: Path | None
) -> str:
    """Why ``model`` cannot use the data, in a few words; empty if it can, as far as is known without loading it.

    Args:
        model: its name in RecBole.
        settings: of the job, with what :func:`feature_settings` adds.
        protocol: of the job.
        item_file: the .item file; None where the data set has none.
    """
    if model in USER_VECTORS and protocol["split"] == "temporal":
        return "needs users seen in training; every test session of a temporal split is new"
    key = _key(model)
    if key and item_file is None:
        return "needs side information; the data set has no .item file"
    if key and not settings.get(key):
        few = f" with at most {ATTRIBUTE_VALUES} values" if model in ATTRIBUTE else ""
        return f"needs side information; {key}, category_fields and metadata_fields name no column{few}"
    if model == "FEARec":
        return _frequencies(settings, int(protocol["max_length"]))
    return ""


def _frequencies(settings: Mapping[str, Any], max_length: int) -> str:
    """What FEARec cannot do: fearec.py:476 divides by the number of further layers, :532 keeps log(positions) of them,
    :689 takes back an even number of positions from the frequencies."""
    n_layers = settings.get("n_layers", 2)
    if n_layers < 2:
        return f"needs n_layers 2 or more; received {n_layers}"
    if settings.get("dual_domain") and max_length % 2:
        return f"with dual_domain it needs an even max_length; received {max_length}"
    if max_length < 4:
        return f"needs max_length 4 or more; received {max_length}"
    return ""


def _key(model: str) -> str:
    """The setting that names the columns which ``model`` reads; empty for models that read none."""
    return "selected_features" if model in FEATURES else "item_attribute" if model in ATTRIBUTE else ""


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def _type_of(path: Path, field: str, separator: str, key: str) -> str:
    types = dict(header(path, separator))
    if field not in types:
        raise InputError(
            f"{key}: {path} has no column '{field}'{nearest(field, types)} (columns: {', '.join(types)})"
        )
    return types[field]


def _n_values(path: Path, field: str, separator: str, seq_separator: str) -> int:
    """Different entries of a column; of a token_seq column, of all its lists."""
    values: Sequence[str] = column(path, field, separator)
    if _type_of(path, field, separator, "item_attribute").endswith("_seq"):
        values = [entry for value in values for entry in value.split(seq_separator)]
    return len(set(values) - {""})
