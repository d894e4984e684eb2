"""Where `properties/` and `benchmarks/` lie: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import hashlib
from pathlib import Path

FIGURES = "figures"
"""Folder beside a data set's files that `hiersrec data describe` draws into."""

FIGURE_NAMES = ("lengths.png", "popularity.png", "categories.png")

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Folder that holds `properties/` and `benchmarks/`; a checkout wins over the copies in a wheel."""
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "properties").is_dir():
        return checkout
    return _PACKAGE


def model_defaults(model: str) -> Path:
    """Path of the defaults of ``model``; the file need not exist."""
    return root() / "properties" / "model" / f"{model}.yaml"


def model_space(model: str) -> Path:
    """Path of the search space of ``model``; the file need not exist."""
    return root() / "properties" / "space" / f"{model}.yaml"


def tuned_settings(name: str) -> Path:
    """Path of the settings that ``hiersrec tune export`` wrote as ``name``; the file need not exist."""
    return root() / "properties" / "model" / f"{name}.yaml"


def dataset_defaults(dataset: str) -> Path:
    """Path of the settings this package adds for ``dataset``; the file need not exist."""
    return root() / "properties" / "dataset" / f"{dataset}.yaml"


def suite(name: str) -> Path:
    """Path of the suite ``name`` that ships with the package; the file need not exist."""
    return root() / "benchmarks" / f"{name}.yaml"


def code_hash(folder: Path) -> str:
    """SHA-256 (hex) over the names and bytes of the Python files below ``folder``."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()
