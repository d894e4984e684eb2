"""Model folders with random weights, made without a training and without RecBole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from recbole_hiersrec import checkpoint
from recbole_hiersrec.data.catalogue import Catalogue
from recbole_hiersrec.data.taxonomy import Taxonomy
from recbole_hiersrec.model.memory import build_memory
from recbole_hiersrec.model.network import build_network
from recbole_hiersrec.retrieval.lists import build_lists
from recbole_hiersrec.serving.content import Serving
from recbole_hiersrec.settings import HierSRecSettings

N_ITEMS, MAX_LENGTH = 240, 6
LEVELS = ("a", "b")
TEMPERATURES = (0.5, 2.0)


def catalogue(levels: bool = True, titles: bool = True, fields: int = 1) -> Catalogue:
    """240 items i1, i2, ...: categories a0 to a2 with four below each, all called b0 to b3; titles; one more field."""
    numbers = np.arange(N_ITEMS)
    paths = [(f"a{n % 3}", f"b{n // 3 % 4}") for n in numbers]
    table = np.zeros((N_ITEMS + 1, 2 if titles else 0), np.int64)
    if titles:
        table[1:] = np.stack([1 + numbers % 5, 1 + numbers % 7], axis=1)
    brands = np.concatenate([[0], numbers % 4])[:, None][:, :fields]
    tokens = tuple(f"i{number + 1}" for number in numbers)
    texts = tuple(f"Thing <b>{number + 1}</b>" for number in numbers) if titles else ()
    return Catalogue(tokens, Taxonomy.from_paths(paths, LEVELS) if levels else None, table, brands, texts)


def make_folder(folder: Path, *, levels: bool = True, titles: bool = True, **settings: Any) -> Path:
    """A folder as ``hiersrec train`` writes it; the same arguments give the same model."""
    small = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "initializer_range": 0.4, "followers": 3}
    fields = {"follower_window": 2, "follower_items": 3, "metadata_fields": ("brand",)}
    fields |= {"follower_fields": ("b", "brand")} if levels else {}
    chosen = HierSRecSettings(**(small | fields | settings))
    items, random = catalogue(levels, titles, len(chosen.metadata_fields)), np.random.default_rng(5)
    torch.manual_seed(7)
    pairs = [tuple(random.integers(1, N_ITEMS + 1, (2, 900))) for _ in range(chosen.follower_window)]
    memory = build_memory(pairs, items, chosen) if chosen.followers else None
    network = build_network(items, chosen, MAX_LENGTH, memory=memory).eval()
    for parameter in (network.item_bias.weight, network.level_weight, *network.heads.bias):
        torch.nn.init.normal_(parameter)
    for parameter in [*network.heads.to_item.parameters(), *(memory.trust.parameters() if memory else ())]:
        torch.nn.init.normal_(parameter, std=0.3)
    counts = np.concatenate([[0], random.integers(0, 9, N_ITEMS)])
    with torch.no_grad():
        lists = build_lists(network.item_vectors(), None, 3, seed=1)
    n_predicted = len(network.heads.category)
    content = checkpoint.Checkpoint(
        "HierSRec",
        "toy",
        chosen.model_dump(mode="json") | {"history": settings.get("history", "unmasked")},
        {},
        {f"network.{name}": values for name, values in network.state_dict().items()},
        items.tokens,
        items.taxonomy,
        Serving(counts, lists, TEMPERATURES[:n_predicted], items.titles),
    )
    checkpoint.save(folder, content)
    return folder


def change_head(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change checkpoint.json, and give it the hashes of the files as they are now."""
    path = folder / "checkpoint.json"
    head = json.loads(path.read_text(encoding="utf-8"))
    head["sha256"] = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name != path.name
    }
    change(head)
    path.write_text(json.dumps(head), encoding="utf-8")


def change_arrays(folder: Path, name: str, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Change the arrays of a safetensors file; its hash is made right."""
    arrays = {key: values.copy() for key, values in load_file(folder / name).items()}
    change(arrays)
    save_file(arrays, folder / name)
    change_head(folder, lambda _: None)


def write_file(folder: Path, name: str, content: bytes) -> None:
    """Replace a file; its hash is made right."""
    (folder / name).write_bytes(content)
    change_head(folder, lambda _: None)
