"""A network from its checkpoint, without RecBole and its data set. What strangers wrote is checked before it is used.

Axes: B sessions, L history length, N items (ids 1..N, 0 is PAD), M levels, V values of a field, K followers of a
value, W distances.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from recbole_hiersrec.checkpoint import Checkpoint, misfit
from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.errors import CheckpointError, InputError
from recbole_hiersrec.model.memory import Followers, Memory, memory_of
from recbole_hiersrec.model.network import HierSRecNetwork, build_network
from recbole_hiersrec.names import SERVED
from recbole_hiersrec.queries import Queries, check_sessions
from recbole_hiersrec.settings import HierSRecSettings, hiersrec_settings

_PREFIX = "network."


@dataclass(frozen=True)
class ServedModel:
    """A network with the catalogue it was made for, as explanations see a model.

    Attributes:
        network: in evaluation mode.
        catalogue: its items.
        table: augmented item vectors [N + 1, A].
        max_length: most items of a session that are read, the last ones.
    """

    network: HierSRecNetwork
    catalogue: Catalogue
    table: Tensor
    max_length: int

    def encode(self, sessions: tuple[Tensor, Tensor]) -> Queries:
        """Queries of sessions: history [B, L], 0-padded on the right, and length [B], at least 1."""
        history, length = sessions
        longest = check_sessions(history, length, self.catalogue.n_items, self.max_length)
        return self.network.encode(history, length, longest, self.table)


def served_model(content: Checkpoint, where: Path) -> ServedModel:
    """Build the network of a checkpoint.

    Its parameters are made without memory, compared with those of the file, and those of the file take their
    place: settings that ask for more than the file holds are refused before anything is allocated.

    Raises:
        CheckpointError: another model, or settings, weights and items that do not fit each other.
    """
    if content.model != SERVED:
        raise CheckpointError(f"checkpoint {where}: of model {content.model}; allowed: {SERVED}")
    try:
        return _built(content)
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"checkpoint {where}: settings, weights and items do not fit ({reason})"
        ) from None


@torch.no_grad()
def _built(content: Checkpoint) -> ServedModel:
    settings = hiersrec_settings(content.config, "settings")
    if not all(name.startswith(_PREFIX) for name in content.state):
        raise InputError("weights of another model")
    state = {name.removeprefix(_PREFIX): values for name, values in content.state.items()}
    catalogue = _catalogue(content, settings, state)
    position = state["encoder.position.weight"]  # [L, D]
    if position.dim() != 2 or position.shape[1] != settings.hidden_size or settings.n_layers > len(state):
        received = f"hidden_size {settings.hidden_size} and n_layers {settings.n_layers}"
        raise InputError(f"{received}, which are not those of the weights")
    memory = _memory(settings, state, catalogue.n_items)
    with torch.device("meta"), _NoInitialisation():
        network = build_network(catalogue, settings, len(position), memory=memory)
    wanted = network.state_dict()
    if difference := misfit(wanted, state):
        raise InputError(difference)
    for name, values in state.items():
        if values.dtype != wanted[name].dtype or not torch.isfinite(values).all():
            raise InputError(f"{name} is of type {values.dtype}, or not finite")
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
    _check_memory(catalogue.n_items, settings.hidden_size * (1 + network.n_scored) + 1)
    table = network.item_vectors()
    if not torch.isfinite(table).all():
        raise InputError("an item vector is not finite")
    return ServedModel(network, catalogue, table, len(position))


class _NoInitialisation(TorchFunctionMode):
    """Leaves out what fills new parameters: without memory there is nothing to fill, and torch would load its compiler
    for it, which takes two seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def _check_memory(n_items: int, width: int) -> None:
    """Refuse item vectors that this machine cannot hold: metadata of a few bytes an item can ask for any number."""
    needed, there = 4 * (n_items + 1) * width, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise InputError(f"item vectors take {needed:,} bytes; this machine has {there:,}")


def _catalogue(content: Checkpoint, settings: HierSRecSettings, state: Mapping[str, Tensor]) -> Catalogue:
    """The catalogue that the network was made for: taxonomy and titles of their files, the rest of its buffers."""
    n_items = len(content.tokens)
    titles, metadata, categories = (
        _numbers(state, f"items.{name}", n_items + 1, 2)
        for name in ("title_tokens", "metadata", "item_category")
    )
    taxonomy = content.taxonomy
    known = taxonomy.item_category.clip(min=0) if taxonomy else np.zeros((n_items + 1, 0), np.int64)
    if not np.array_equal(categories, known):
        raise InputError("items.item_category is not that of the taxonomy")
    if metadata.shape[1] != len(settings.metadata_fields):
        raise InputError(
            f"metadata_fields: received {len(settings.metadata_fields)}, weights of {metadata.shape[1]}"
        )
    served = content.serving.titles if content.serving else ()
    return Catalogue(tuple(content.tokens), taxonomy, titles, metadata, served)


def _memory(settings: HierSRecSettings, state: Mapping[str, Tensor], n_items: int) -> Memory | None:
    """The memory that the buffers hold; None where the settings ask for none."""
    if settings.followers == 0:
        return None
    return memory_of(
        [_followers(state, number, n_items) for number in range(1 + len(settings.follower_fields))], settings
    )


def _followers(state: Mapping[str, Tensor], number: int, n_items: int) -> Followers:
    """One table of followers, every number of it one that can be looked up."""
    found = {name: state[f"memory.tables.{number}.{name}"] for name in Followers._fields}
    ids, counts, times = found["ids"], found["counts"], found["occurrences"]
    value = _numbers(state, f"memory.tables.{number}.value", n_items + 1, 1)
    size = len(ids)
    fits = ids.dim() == 2 and counts.shape[:2] == ids.shape and counts.dim() == 3 and times.shape == (size,)
    if not fits or found["border"].shape != (size, 2) or value.max(initial=0) >= size:
        raise InputError(f"memory.tables.{number}: tables of different sizes")
    whole = not (ids.is_floating_point() or counts.is_floating_point() or times.is_floating_point())
    if (
        not whole
        or (ids.numel() and (ids.min() < 0 or ids.max() > n_items))
        or (counts < 0).any()
        or (times < 0).any()
    ):
        raise InputError(f"memory.tables.{number}: numbers that are no items or counts")
    return Followers(**found)


def _numbers(state: Mapping[str, Tensor], name: str, rows: int, dimensions: int) -> np.ndarray:
    """Whole numbers from 0, int64 [rows] or [rows, any]."""
    found = state[name]
    if found.dtype != torch.int64 or found.dim() != dimensions or len(found) != rows:
        raise InputError(
            f"{name}: received {found.dtype} of shape {tuple(found.shape)}, {rows} rows expected"
        )
    if found.numel() and found.min() < 0:
        raise InputError(f"{name}: a number below 0")
    return found.numpy()
