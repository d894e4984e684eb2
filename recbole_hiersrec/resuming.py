"""Where a training stands, on disk: enough to go on after a kill as if nothing had happened. No pickle.

A state is a tree of dictionaries, lists, tuples, tensors, arrays and plain values. Its folder holds one folder an
epoch, of which the newest complete one counts::

    <number>/state.json            the tree, with the names of its tensors, and whose training it is
    <number>/tensors.safetensors   the tensors
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from recbole_hiersrec.atomic import replace_folder

SHARE = 20
"""A save may take one part in so many of the time: large models are kept less often."""
FAULTS = (OSError, SafetensorError)
TREE, TENSORS = "state.json", "tensors.safetensors"


class TrainingState:
    """Keeps the state of a training in ``folder``.

    Args:
        folder: created by the first :meth:`save`.
        identity: what must be the same for a training to go on, such as the hash of the code; plain JSON values.

    Attributes:
        every: seconds of training between two saves, at least: a short training costs nothing.
    """

    every = 20.0

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder, self.identity = folder, dict(identity)
        self._made = self._last = time.monotonic()
        self._took = 0.0

    def due(self, ended: bool = False) -> bool:
        """Whether enough time has gone by since the last save, or, for a training that ended, since this was made."""
        since = self._made if ended else self._last
        return time.monotonic() - since >= max(self.every, SHARE * self._took)

    def save(self, tree: Any) -> None:
        """Write a state; the one before is removed when it is complete."""
        began, old = time.monotonic(), self._numbers()
        new = self.folder / str(old[-1] + 1 if old else 1)
        part = new.with_name(f".{new.name}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        tensors: dict[str, torch.Tensor] = {}
        packed = {"identity": self.identity, "tree": _packed(tree, tensors)}
        save_file(tensors, part / TENSORS)
        (part / TREE).write_text(json.dumps(packed), encoding="utf-8")
        replace_folder(part, new)
        for number in old:
            shutil.rmtree(self.folder / str(number))
        self._last = time.monotonic()
        self._took = self._last - began

    def load(self) -> Any:
        """The newest state; None where there is none of this identity, or it cannot be read."""
        for number in reversed(self._numbers()):
            folder = self.folder / str(number)
            try:
                packed = json.loads((folder / TREE).read_text(encoding="utf-8"))
                tensors = load_file(folder / TENSORS)
            except (OSError, ValueError, SafetensorError):
                continue  # damaged by a power cut: the one before, or the beginning, will do
            other = packed["identity"]
            if other == self.identity:
                return _unpacked(packed["tree"], tensors)
            different = [
                key for key in {**other, **self.identity} if other.get(key) != self.identity.get(key)
            ]
            logging.getLogger(__name__).warning(
                "begins anew: what was kept is of other %s", ", ".join(different)
            )
        return None

    def _numbers(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())


def random_state() -> dict[str, Any]:
    """Where all global random number generators stand."""
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),  # noqa: NPY002 (RecBole draws from the global one)
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Inverse of :func:`random_state`."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])


def order_of(train_data: Any) -> Any:
    """Where the order of a training loader's batches stands: ours, or RecBole's."""
    return (
        train_data.random_state if hasattr(train_data, "random_state") else train_data.generator.get_state()
    )


def set_order(train_data: Any, state: Any) -> None:
    """Inverse of :func:`order_of`."""
    if hasattr(train_data, "random_state"):
        train_data.random_state = state
    else:
        train_data.generator.set_state(state)


def _packed(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """``value`` for JSON, its tensors put into ``tensors``."""
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name, "device": str(value.device)}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    if isinstance(value, Mapping):
        return {"dict": [[_packed(key, tensors), _packed(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_packed(item, tensors) for item in value]}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a training state cannot hold a {type(value).__name__}")


def _unpacked(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Inverse of :func:`_packed`."""
    if not isinstance(value, dict):
        return value
    kind = next(iter(value))
    content = value[kind]
    if kind == "tensor":
        return tensors[content].to(value["device"])
    if kind == "array":
        return np.array(content, dtype=value["dtype"])
    if kind == "dict":
        return {_unpacked(key, tensors): _unpacked(item, tensors) for key, item in content}
    items = [_unpacked(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)
