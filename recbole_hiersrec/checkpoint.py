"""Checkpoints that are safe to load from strangers: safetensors + JSON + taxonomy + item tokens, no pickle.

A checkpoint is a folder::

    checkpoint.json      format, version, model, RecBole settings, how training went, SHA-256 of the other files
    weights.safetensors  parameters and buffers of the model
    items.json           item tokens in id order, ids 1..N
    taxonomy.npz         categories of the items, where the model has any
    serving.safetensors  of a model that is ready to recommend: popularity, lists, temperatures
    titles.json          of such a model: titles of the items

Nothing that a file says of its own size is believed before the memory for it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recbole_hiersrec.atomic import recover_folder, replace_folder
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.errors import CheckpointError
from recbole_hiersrec.serving.content import ARRAYS, TITLES, Serving

FORMAT = "recbole_hiersrec checkpoint"
VERSION, SERVED = 1, 2
"""Format of a checkpoint without and with what recommending needs; the first is what earlier releases read, too."""
_FREE, _AN_ITEM = 1 << 26, 1 << 11
"""Bytes that categories may unpack to: so many, and so many more an item."""
_HEAD, _WEIGHTS, _ITEMS, _TAXONOMY = "checkpoint.json", "weights.safetensors", "items.json", "taxonomy.npz"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a trained model needs.

    Attributes:
        model: name of the model as RecBole knows it.
        dataset: name of the data set.
        config: RecBole's settings as plain values.
        training: how the training went (best epoch, validation score).
        state: parameters and buffers, as ``state_dict`` gives them.
        tokens: item token of ids 1..N.
        taxonomy: categories of the items, or None.
        serving: what recommending needs beside the model, or None.
    """

    model: str
    dataset: str
    config: Mapping[str, Any]
    training: Mapping[str, Any]
    state: Mapping[str, torch.Tensor]
    tokens: Sequence[str]
    taxonomy: Taxonomy | None
    serving: Serving | None = None


def is_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` holds a checkpoint of this package, whatever its version and state."""
    try:
        return _json(folder / _HEAD)["format"] == FORMAT
    except (OSError, ValueError, TypeError, KeyError):
        return False


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an older one in ``folder`` is replaced only when the new one is complete."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.state.items()},
        temporary / _WEIGHTS,
    )
    (temporary / _ITEMS).write_text(json.dumps(list(checkpoint.tokens), ensure_ascii=False), encoding="utf-8")
    if checkpoint.taxonomy is not None:
        checkpoint.taxonomy.save(temporary / _TAXONOMY)
    if checkpoint.serving is not None:
        checkpoint.serving.save(temporary)
    head = {
        "format": FORMAT,
        "version": VERSION if checkpoint.serving is None else SERVED,
        "model": checkpoint.model,
        "dataset": checkpoint.dataset,
        "config": dict(checkpoint.config),
        "training": dict(checkpoint.training),
        "sha256": {path.name: _sha256(path) for path in sorted(temporary.iterdir())},
    }
    (temporary / _HEAD).write_text(json.dumps(head, indent=1, ensure_ascii=False), encoding="utf-8")
    replace_folder(temporary, folder)


def load(folder: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: ``folder`` is no checkpoint of this package, of another version, or a file is damaged.
    """
    recover_folder(folder)
    head = _read_head(folder)
    for name, expected in head["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"checkpoint {folder}: {name} is missing")
        if _sha256(path) != expected:
            raise CheckpointError(
                f"checkpoint {folder}: {name} is damaged (its SHA-256 is not the recorded one)"
            )
    try:
        state = load_file(folder / _WEIGHTS)
        tokens = _tokens(_json(folder / _ITEMS))
        taxonomy = _taxonomy(folder, len(tokens)) if _TAXONOMY in head["sha256"] else None
        serving = Serving.load(folder, len(tokens)) if head["version"] == SERVED else None
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"checkpoint {folder}: cannot be read: {reason}") from None
    return Checkpoint(
        head["model"], head["dataset"], head["config"], head["training"], state, tokens, taxonomy, serving
    )


def _tokens(values: Any) -> list[str]:
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{_ITEMS} is no list of item ids")
    if len(set(values)) < len(values):
        raise ValueError(f"{_ITEMS} has an item id twice")
    return values


def _taxonomy(folder: Path, n_items: int) -> Taxonomy:
    """Categories of ``n_items`` items; a file that unpacks to far more than those can take is refused."""
    found = Taxonomy.load(folder / _TAXONOMY, most_bytes=_FREE + _AN_ITEM * n_items)
    found.check(n_items)
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deep") from None


def misfit(wanted: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> str:
    """What keeps a checkpoint's weights ``state`` from being those that a model has, ``wanted``; "" if nothing does.

    Returns:
        Names of up to three weights of each kind: missing, unexpected, and of another shape.
    """
    shapes = {
        name: f"{name} {_shape(state[name])} instead of {_shape(wanted[name])}"
        for name in wanted.keys() & state.keys()
        if state[name].shape != wanted[name].shape
    }
    kinds = {
        "missing": sorted(wanted.keys() - state.keys()),
        "unexpected": sorted(state.keys() - wanted.keys()),
        "of another shape": [shapes[name] for name in sorted(shapes)],
    }
    return "; ".join(f"{kind}: {_first(names)}" for kind, names in kinds.items() if names)


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first(names: Sequence[str], n: int = 3) -> str:
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")


def _read_head(folder: Path) -> dict[str, Any]:
    path = folder / _HEAD
    if not path.is_file():
        raise CheckpointError(f"{folder}: not a checkpoint of recbole_hiersrec (there is no {_HEAD} in it)")
    try:
        head = _json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of recbole_hiersrec (format is not '{FORMAT}')")
    if head.get("version") not in (VERSION, SERVED):
        raise CheckpointError(
            f"{path}: checkpoint version {head.get('version')!r}; this release reads {VERSION} and {SERVED}"
        )
    required = {"model": str, "dataset": str, "config": dict, "training": dict, "sha256": dict}
    if missing := sorted(required.keys() - head.keys()):
        raise CheckpointError(f"{path}: damaged: {', '.join(missing)} missing")
    for key, kind in required.items():
        if not isinstance(head[key], kind):
            raise CheckpointError(f"{path}: damaged: {key} is a {type(head[key]).__name__}")
    needed = {_WEIGHTS, _ITEMS} | ({ARRAYS, TITLES} if head["version"] == SERVED else set())
    if not needed <= head["sha256"].keys() <= {*needed, _TAXONOMY}:
        raise CheckpointError(f"{path}: damaged: it lists the files {sorted(head['sha256'])}")
    return head


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
