"""Defects that show when RecBole is imported: numpy aliases, ray, anomaly detection."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import torch

from recbole_hiersrec.errors import HierSRecError
from recbole_hiersrec.names import INSTALL


def numpy_aliases() -> None:
    """Bring back ``np.float_``, ``np.complex_`` and ``np.unicode_``, which numpy 2 dropped.

    Upstream: ``config/configurator.py:630,631,635`` reads them whenever a Config is built.
    """
    for name, value in {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}.items():
        if name not in vars(np):
            setattr(np, name, value)


def import_without_ray() -> None:
    """Import ``recbole.quick_start`` with a stand-in for ray, then forget the stand-in.

    ``tune.report`` does nothing, so ``objective_function`` works outside Ray Tune; a real ray stays
    importable.
    Upstream: ``quick_start/quick_start.py:20`` imports ray, ``:223`` is the only use.

    Raises:
        HierSRecError: something RecBole needs is not installed.
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
        importlib.import_module("recbole.quick_start")
    except ModuleNotFoundError as error:
        raise HierSRecError(f"RecBole cannot be imported: {error}; run: {INSTALL}") from error
    finally:
        for name in ("ray", "ray.tune"):
            del sys.modules[name]
        sys.modules.update(before)


def _report_nothing(**metrics: float) -> None:
    """What ``tune.report`` does where no Ray Tune listens: nothing."""


def anomaly_detection_off() -> None:
    """Import RecBole's sequential models, then put autograd anomaly detection back to what it was.

    Where they were imported before, it is switched off: the import did it, and it costs half as much again a
    step. Whoever wants it calls ``torch.autograd.set_detect_anomaly(True)`` after
    :func:`recbole_hiersrec.register`.
    Upstream: ``model/sequential_recommender/sine.py:25`` switches it on for the whole process.
    """
    sine = "recbole.model.sequential_recommender.sine"
    wanted = torch.is_anomaly_enabled() and sine not in sys.modules
    check_nan = torch.is_anomaly_check_nan_enabled()
    importlib.import_module(sine)
    torch.autograd.set_detect_anomaly(wanted, check_nan)
