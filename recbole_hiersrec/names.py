"""Names of models: which exist, where they live, which was meant. Imports neither torch nor RecBole."""

from __future__ import annotations

import ast
import hashlib
import importlib
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from recbole_hiersrec.errors import HierSRecError, InputError, nearest

RECBOLE_VERSION = "1.2.1"
INSTALL = f"pip install --no-deps recbole=={RECBOLE_VERSION}"
"""RecBole without ray, which has no wheel for Python >= 3.12; what else it needs, this package requires there."""

MODELS = {
    "HierSRec": "recbole_hiersrec.model.hiersrec",
    "SASRecAllPositions": "recbole_hiersrec.baselines.all_positions",
    "GRU4RecAllPositions": "recbole_hiersrec.baselines.all_positions",
    "SequentialPop": "recbole_hiersrec.baselines.pop",
    "MarkovChain": "recbole_hiersrec.baselines.markov",
    "SessionPop": "recbole_hiersrec.baselines.session_pop",
    "SKNN": "recbole_hiersrec.baselines.sknn",
    "VSKNN": "recbole_hiersrec.baselines.vsknn",
    "STAN": "recbole_hiersrec.baselines.stan",
}
"""Models of this package: class name -> module."""

INNER_PRODUCT = frozenset({"HierSRec", "SASRecAllPositions", "GRU4RecAllPositions"})
"""Those of them whose scores are queries times item vectors, so that an index can serve them."""

SERVED = "HierSRec"
"""The model that a recommender can be loaded of."""


def recbole_folder() -> Path:
    """Folder of the installed RecBole, found without importing it.

    Raises:
        HierSRecError: RecBole is not installed; the message holds the pip command.
    """
    spec = find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        raise HierSRecError(f"RecBole {RECBOLE_VERSION} is not installed; run: {INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


@lru_cache(maxsize=1)
def recbole_sequential_models() -> list[str]:
    """Class names of RecBole's sequential models, sorted: those with a default YAML and a source file."""
    folder = recbole_folder()
    sources = {path.stem for path in (folder / "model" / "sequential_recommender").glob("*.py")}
    names = [path.stem for path in (folder / "properties" / "model").glob("*.yaml")]
    return sorted(name for name in names if name.lower() in sources)


def check_model(name: str) -> None:
    """Raise :class:`InputError` unless ``name`` is a model of ours, of RecBole, or ``package.module:Class``.

    Only the module of a ``package.module:Class`` is looked for; nothing is imported.
    """
    if ":" in name:
        _check_class_path(name)
        return
    known = [*MODELS, *recbole_sequential_models()]
    if name not in known:
        raise InputError(
            f"unknown model '{name}'{nearest(name, known)} "
            f"(allowed: {', '.join(MODELS)}, sequential models of RecBole, package.module:Class)"
        )


def model_source(name: str) -> str:
    """SHA-256 (hex) of the file of a ``package.module:Class``; empty for a model by its name."""
    found = _find_module(name.partition(":")[0]) if ":" in name else None
    if found is None or not found.has_location or found.origin is None:
        return ""
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()


def load_model_class(name: str) -> type[Any]:
    """Import the class that ``name`` stands for (see :func:`check_model`).

    Raises:
        InputError: no such model, the module cannot be imported, or it has no such class.
    """
    check_model(name)
    if ":" in name:
        module, _, attribute = name.partition(":")
    else:
        attribute = name
        module = MODELS.get(name, f"recbole.model.sequential_recommender.{name.lower()}")
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"model '{name}': module '{module}' cannot be imported: {error}") from error
    found = getattr(loaded, attribute, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(loaded).items() if isinstance(value, type)]
        raise InputError(
            f"model '{name}': module '{module}' has no class '{attribute}'{nearest(attribute, classes)}"
        )
    return found


def _check_class_path(name: str) -> None:
    module, _, attribute = name.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"model '{name}': expected package.module:Class")
    found = _find_module(module)
    if found is None:
        raise InputError(f"model '{name}': no module named '{module}' can be found by this Python")
    if found.origin and found.origin.endswith(".py"):
        _check_defined(name, attribute, Path(found.origin))


def _check_defined(name: str, attribute: str, path: Path) -> None:
    """Look for the class in the module's text, without running it; a star import may bring anything."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError) as error:
        raise InputError(f"model '{name}': {path} cannot be read as Python: {error}") from None
    defined = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    if attribute not in defined | classes | imported and "*" not in imported:
        raise InputError(
            f"model '{name}': {path} defines no class '{attribute}'{nearest(attribute, classes)}"
        )


def _find_module(module: str) -> ModuleSpec | None:
    """Like ``importlib.util.find_spec``, but without importing the parent packages."""
    first, *rest = module.split(".")
    path, found = first, find_spec(first)
    for part in rest:
        if found is None or found.submodule_search_locations is None:
            return None
        path = f"{path}.{part}"
        found = PathFinder.find_spec(path, list(found.submodule_search_locations))
    return found
