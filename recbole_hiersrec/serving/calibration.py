"""Category probabilities that are as sure as they are right: one temperature a level, fitted on the validation part.

Axes: n cases, C categories.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

BOUNDS = (0.05, 20.0)
"""Of a temperature: few or very easy cases would have it run to 0 or without end."""


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    r"""The temperature T that makes the categories of the validation part likeliest.

    .. math:: \min_T \; -\frac{1}{n} \sum_i \log \mathrm{softmax}(z_i / T)_{y_i}

    Guo, Pleiss, Sun and Weinberger, *On calibration of modern neural networks*, ICML 2017, arXiv 1706.04599, section
    4.2. The loss is convex in 1 / T, so there is one minimum; T does not change which category is the likeliest.

    Args:
        logits: [n, C], of at least one case.
        target: the category that came, long [n].

    Returns:
        T, within :data:`BOUNDS`.
    """
    values = logits.double()

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(values / math.exp(log_temperature), target))

    found = minimize_scalar(loss, bounds=tuple(np.log(BOUNDS)), method="bounded", options={"xatol": 1e-4})
    return math.exp(found.x)
