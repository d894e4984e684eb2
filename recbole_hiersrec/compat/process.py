"""Defects that concern the whole process: warnings, numpy aliases, ray, anomaly detection."""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.util import find_spec
from types import ModuleType

from recbole_hiersrec.errors import HierSRecError

# numpy and torch are imported in functions: where they are missing, import_without_ray says so.

_PIP = {"distutils": "setuptools", "sklearn": "scikit-learn", "torch": "'torch>=2.6'", "yaml": "PyYAML"}
"""What pip calls a module, where that is not the module's name."""


def quiet_future_warnings() -> None:
    """Hide the FutureWarnings that RecBole's own lines cause, which its users can do nothing about.

    The filter comes last, so whoever asks for these warnings (``-W``, ``PYTHONWARNINGS``, a filter of their
    own) still gets them. pandas and torch attribute them to their caller, which is RecBole.
    Upstream: ``data/dataset/dataset.py:501,648,650`` fill in place through a chained assignment (pandas);
    ``trainer/trainer.py:235,1440`` call ``torch.cuda.amp.GradScaler``, ``:1453`` ``torch.cuda.amp.autocast``.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.", append=True)


def numpy_aliases() -> None:
    """Bring back ``np.float_``, ``np.complex_`` and ``np.unicode_``, which numpy 2 dropped.

    Upstream: ``config/configurator.py:630,631,635`` reads them whenever a Config is built.
    """
    import numpy as np

    for name, value in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
        if name not in vars(np):
            setattr(np, name, value)


def late_imports_present() -> None:
    """Look for what RecBole imports only while it runs, so that nothing is trained in vain.

    Upstream: ``utils/utils.py:298`` imports thop (which needs distutils), and ``:425``, after the training,
    psutil.

    Raises:
        HierSRecError: one of them is not installed; the message names it and the pip command.
    """
    for name in ("psutil", "thop", "distutils"):
        if find_spec(name) is None:
            raise HierSRecError(_not_installed(name))


def import_without_ray() -> None:
    """Import ``recbole.quick_start``, and the trainers, with a stand-in for ray, then forget the stand-in.

    ``tune.report`` does nothing, so ``objective_function`` works outside Ray Tune; a real ray stays
    importable.
    Upstream: ``quick_start/quick_start.py:20`` imports ray, ``:223`` is the only use.

    Raises:
        HierSRecError: something RecBole needs is not installed; the message names it and the pip command.
    """
    if "recbole.quick_start" in sys.modules:
        return
    before: dict[str, ModuleType] = {
        name: sys.modules[name] for name in ("ray", "ray.tune") if name in sys.modules
    }
    ray, tune = ModuleType("ray"), ModuleType("ray.tune")
    vars(tune)["report"] = _report_nothing
    vars(ray)["tune"] = tune
    sys.modules |= {"ray": ray, "ray.tune": tune}
    try:
        importlib.import_module("recbole.trainer")
        importlib.import_module("recbole.quick_start")
    except ModuleNotFoundError as error:
        raise HierSRecError(_missing(error)) from error
    finally:
        for name in ("ray", "ray.tune"):
            del sys.modules[name]
        sys.modules.update(before)


def _missing(error: ModuleNotFoundError) -> str:
    name = (error.name or "").partition(".")[0]
    if not name or find_spec(name):  # the package is there, but a part of it is not
        return f"RecBole cannot be imported: {error}"
    return _not_installed(name)


def _not_installed(name: str) -> str:
    return f"{name} is not installed; run: pip install {_PIP.get(name, name)}"


def _report_nothing(**metrics: float) -> None:
    """What ``tune.report`` does where no Ray Tune listens: nothing."""


def anomaly_detection_off() -> None:
    """Import RecBole's sequential models, then put autograd anomaly detection back to what it was.

    Where they were imported before, it is switched off: the import did it, and it costs half as much again a
    step. Whoever wants it calls ``torch.autograd.set_detect_anomaly(True)`` after
    :func:`recbole_hiersrec.register`.
    Upstream: ``model/sequential_recommender/sine.py:25`` switches it on for the whole process.
    """
    import torch

    sine = "recbole.model.sequential_recommender.sine"
    wanted = torch.is_anomaly_enabled() and sine not in sys.modules
    check_nan = torch.is_anomaly_check_nan_enabled()
    importlib.import_module(sine)
    torch.autograd.set_detect_anomaly(wanted, check_nan)
