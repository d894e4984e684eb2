"""A defect of RecBole's HyperTuning with today's hyperopt."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.trainer import hyper_tuning


class _NumpyWithGenerators:
    """numpy, but for its generator of old, which hyperopt cannot draw from."""

    class random:
        RandomState = staticmethod(np.random.default_rng)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def exhaustive_search_draws() -> None:
    """``algo="exhaustive"`` hands hyperopt a ``numpy.random.Generator``.

    Upstream: ``trainer/hyper_tuning.py:117`` makes a ``RandomState``; hyperopt from 0.2.6 on calls its ``integers``,
    which it does not have.
    """
    hyper_tuning.np = _NumpyWithGenerators()
