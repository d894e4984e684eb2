"""A small data set in RecBole's atomic files: 12 sessions of 6 items out of 10, and a catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recbole_hiersrec.data.manifest import SCHEMA, SECTIONS

SMALL = {
    "gpu_id": "",
    "MAX_ITEM_LIST_LENGTH": 5,
    "hidden_size": 8,
    "inner_size": 8,
    "n_layers": 1,
    "n_heads": 1,
    "epochs": 1,
    "show_progress": False,
    "metrics": ["Recall", "MRR", "NDCG"],
    "topk": [3],
    "valid_metric": "NDCG@3",
}
"""Settings that make any Transformer of RecBole train on :func:`write_shop` within a second."""


def write_shop(data_path: Path, name: str = "shop") -> Path:
    """Write ``<data_path>/<name>/<name>.inter`` and ``.item``; returns ``data_path``."""
    folder = data_path / name
    folder.mkdir(parents=True)
    rows = ["user_id:token\titem_id:token\ttimestamp:float"]
    for user in range(12):
        for step in range(6):
            rows.append(f"u{user}\ti{(user + step * (1 + user % 2)) % 10}\t{1_000_000 + 500 * step}")
    (folder / f"{name}.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    items = ["item_id:token\tdepartment:token\tclass:token\ttitle:token_seq"]
    for item in range(10):
        items.append(f"i{item}\td{item // 5}\tc{item // 2}\tthing number {item}")
    (folder / f"{name}.item").write_text("\n".join(items) + "\n", encoding="utf-8")
    return data_path


def write_split(data_path: Path, name: str = "shop") -> Path:
    """Add the parts of a temporal split to :func:`write_shop`: u0 to u7, u8 and u9, u10 and u11; returns the file."""
    parts = ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
    path = data_path / name / f"{name}.user"
    rows = ["user_id:token\tpart:token", *(f"u{user}\t{part}" for user, part in enumerate(parts))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_manifest(folder: Path, **values: Any) -> None:
    """A manifest.json that says only ``values``; its other sections are there, and empty."""
    text = json.dumps({**dict.fromkeys(SECTIONS), "schema": SCHEMA, "settings": {"split": "any"}, **values})
    (folder / "manifest.json").write_text(text, encoding="utf-8")
