"""Imports point up the list of ARCHITECTURE.md, never down; only the files marked (R) there import RecBole."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "recbole_hiersrec"
ORDER = (
    "errors",
    "resources",
    "atomic",
    "arrays",
    "names",
    "reading",
    "records",
    "settings",
    "keys",
    "clustering",
    "queries",
    "data.files",
    "data.parts",
    "data.taxonomy",
    "data.catalogue",
    "data.log",
    "data.content",
    "data.quoting",
    "data.delimited",
    "data.jsonl",
    "data.tables",
    "data.validate",
    "data.sources",
    "data.sessions",
    "data.options",
    "data.steps",
    "data.split",
    "data.learned",
    "data.generator",
    "data.manifest",
    "data.writer",
    "data.prepare",
    "data.requests",
    "data.describe",
    "compat",
    "data.dataset",
    "data.batches",
    "model",
    "explain",
    "retrieval",
    "baselines",
    "evaluation",
    "scoring",
    "serving.content",
    "checkpoint",
    "serving.answers",
    "serving.filters",
    "serving.search",
    "serving.model",
    "serving.calibration",
    "serving.session_files",
    "recommend",
    "optim",
    "averaging",
    "encoding",
    "resuming",
    "training",
    "pretraining",
    "benchmark.parent",
    "benchmark.rankfiles",
    "benchmark.shape",
    "benchmark.store",
    "benchmark.checks",
    "benchmark.needs",
    "benchmark.tuned",
    "benchmark.suite",
    "benchmark.recompute",
    "benchmark.environment",
    "benchmark.prepare",
    "benchmark.candidates",
    "benchmark.breakdown",
    "benchmark.categories",
    "benchmark.job",
    "benchmark.probe",
    "serving.requests",
    "serving.train",
    "benchmark.runner",
    "benchmark.plan",
    "tuning.space",
    "tuning.task",
    "tuning.requests",
    "tuning.sampling",
    "tuning.storage",
    "tuning.study",
    "tuning.exported",
    "tuning.worker",
    "tuning.search",
    "tuning.trial",
    "tuning.summary",
    "report",
    "publish",
    "verify",
    "merge",
    "doctor",
    "cli_errors",
    "cli_data",
    "cli_tune",
    "cli_recommend",
    "cli",
    "__main__",
)
RECBOLE = (
    "compat",
    "data.dataset",
    "data.batches",
    "model.hiersrec",
    "baselines",
    "scoring",
    "training",
    "pretraining",
    "benchmark.prepare",
    "benchmark.candidates",
    "benchmark.job",
    "tuning.trial",
)
HEAVY = (
    "clustering",
    "queries",
    "data.learned",
    "compat",
    "data.dataset",
    "data.batches",
    "model",
    "explain",
    "retrieval.base",
    "retrieval.lists",
    "retrieval.scan",
    "retrieval.cells",
    "retrieval.co_visitation",
    "retrieval.coarse",
    "retrieval.exact",
    "retrieval.greedy",
    "retrieval.hnsw",
    "retrieval.last_category",
    "retrieval.leaf_categories",
    "retrieval.mixed",
    "retrieval.own",
    "retrieval.popularity",
    "retrieval.rules",
    "baselines",
    "evaluation.cold",
    "evaluation.faithfulness",
    "evaluation.ranks",
    "evaluation.scorer",
    "evaluation.speed",
    "scoring",
    "checkpoint",
    "serving.search",
    "serving.model",
    "serving.calibration",
    "serving.train",
    "recommend",
    "optim",
    "averaging",
    "encoding",
    "resuming",
    "training",
    "pretraining",
    "benchmark.prepare",
    "benchmark.candidates",
    "benchmark.breakdown",
    "benchmark.categories",
    "benchmark.job",
    "benchmark.probe",
    "tuning.trial",
    "doctor",
)
"""All others import neither torch nor RecBole nor FAISS."""
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).as_posix() not in ("__init__.py",)
)


def matches(module: str, entries: tuple[str, ...]) -> str | None:
    return next((entry for entry in entries if module == entry or module.startswith(entry + ".")), None)


def place(module: str) -> int:
    entry = matches(module, ORDER)
    assert entry is not None, f"{module} has no place in the order"
    return ORDER.index(entry)


def imports(module: str) -> set[str]:
    """Everything a module imports, wherever in its text, as absolute dotted names."""
    path = PACKAGE / (module.replace(".", "/") + ".py")
    tree = ast.parse(
        (path if path.exists() else PACKAGE / module.replace(".", "/") / "__init__.py").read_text()
    )
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def is_folder(module: str) -> bool:
    return any(entry.startswith(module + ".") for entry in ORDER)


@pytest.mark.parametrize("module", [module for module in MODULES if not is_folder(module)])
def test_imports_point_up(module: str) -> None:
    for name in imports(module):
        inner = name.removeprefix("recbole_hiersrec.")
        if inner in MODULES and not is_folder(inner):
            assert place(inner) <= place(module), f"{module} imports {inner}"


@pytest.mark.parametrize("module", MODULES)
def test_only_marked_files_import_recbole(module: str) -> None:
    uses = any(name == "recbole" or name.startswith("recbole.") for name in imports(module))
    assert not uses or matches(module, RECBOLE), f"{module} imports RecBole"


@pytest.mark.parametrize("module", [module for module in MODULES if not matches(module, HEAVY)])
def test_torch_free_files_import_no_torch(module: str) -> None:
    heavy = {"torch", "recbole", "faiss"}
    assert not {name.split(".")[0] for name in imports(module)} & heavy


def test_the_lists_name_modules_that_exist() -> None:
    for entry in (*ORDER, *RECBOLE, *HEAVY):
        assert any(matches(module, (entry,)) for module in MODULES), entry
