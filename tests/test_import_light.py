"""Importing the package is cheap and changes nothing; torch and RecBole come with register()."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = ("recbole_hiersrec", "recbole_hiersrec.names", "recbole_hiersrec.settings", "recbole_hiersrec.compat")


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", LIGHT)
def test_import_loads_neither_torch_nor_recbole(module: str) -> None:
    loaded = run(
        f"import {module}, sys; print(sorted({{'torch', 'recbole', 'ray', 'pandas'}} & set(sys.modules)))"
    )
    assert loaded == "[]"


def test_commands_and_requests_load_no_optuna() -> None:
    code = (
        "import sys, recbole_hiersrec.cli; print('optuna' in sys.modules);"
        "import recbole_hiersrec.tuning.requests, recbole_hiersrec.report.page;"
        "print({'optuna', 'torch', 'recbole'} & set(sys.modules))"
    )
    assert run(code) == "False\nset()"


def test_names_are_answered_without_torch_and_recbole() -> None:
    code = (
        "from recbole_hiersrec.names import *; from recbole_hiersrec import compat; import sys;"
        "check_model('SASRec'); check_model('torch.nn:Linear'); compat.require_recbole();"
        "print('GRU4Rec' in recbole_sequential_models(), {'torch', 'recbole.config'} & set(sys.modules))"
    )
    assert run(code) == "True set()"


def test_version_and_register_are_offered() -> None:
    import recbole_hiersrec

    assert recbole_hiersrec.__version__.count(".") == 2
    assert set(recbole_hiersrec.__all__) == {"__version__", "register"}


@pytest.mark.slow
def test_recbole_is_left_alone_until_register_is_called() -> None:
    code = (
        "import recbole_hiersrec, recbole_hiersrec.compat, numpy as np, recbole.config, recbole.trainer;"
        "print(hasattr(np, 'float_'), recbole.config.Config._load_cmd_line.__module__,"
        " recbole.trainer.Trainer.__init__.__qualname__)"
    )
    assert run(code) == "False recbole.config.configurator Trainer.__init__"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("torch", "torch is not installed; run: pip install 'torch>=2.6'"),
        ("colorlog", "colorlog is not installed; run: pip install colorlog"),
        ("thop", "thop is not installed; run: pip install thop"),
        ("distutils", "distutils is not installed; run: pip install setuptools"),
        ("sklearn", "sklearn is not installed; run: pip install scikit-learn"),
        (
            "recbole.trainer",
            "RecBole cannot be imported: import of recbole.trainer halted; None in sys.modules",
        ),
    ],
)
def test_what_recbole_lacks_is_named_with_the_pip_command(module: str, message: str) -> None:
    code = (
        f"import sys; sys.modules['{module}'] = None; import recbole_hiersrec\n"
        "from recbole_hiersrec.errors import HierSRecError\n"
        "try:\n    recbole_hiersrec.register()\nexcept HierSRecError as error:\n    print(error)"
    )
    assert run(code) == message
