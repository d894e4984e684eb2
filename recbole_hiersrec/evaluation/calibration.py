"""Whether predicted probabilities are as sure as they are right: reliability diagram and expected calibration error.

Axes: n cases, B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """The bins of a reliability diagram that have cases, by rising confidence.

    Attributes:
        number: int64 [B], which of the bins of equal width it is, from 1.
        confidence: float64 [B], mean probability of what was predicted.
        accuracy: float64 [B], share of the predictions that were right.
        count: int64 [B], cases.
    """

    number: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    def error(self) -> float:
        r"""Expected calibration error, from 0 to 1.

        .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \, |\mathrm{accuracy}_b - \mathrm{confidence}_b|

        Guo, Pleiss, Sun and Weinberger, *On calibration of modern neural networks*, ICML 2017, arXiv 1706.04599, eq. 3.
        """
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.count))


def calibration(confidence: np.ndarray, hit: np.ndarray, bins: int = BINS) -> Calibration:
    """Put the cases into bins of equal width, ((b - 1) / bins, b / bins], by their confidence.

    Args:
        confidence: float64 [n], probability of the predicted category, in (0, 1].
        hit: bool [n], whether it was right.
        bins: how many.
    """
    upper = np.arange(1, bins) / bins
    of_case = np.searchsorted(upper, confidence, side="left")
    count, confidences, hits = (
        np.bincount(of_case, weights=weights, minlength=bins) for weights in (None, confidence, hit)
    )
    some = np.flatnonzero(count)
    return Calibration(some + 1, confidences[some] / count[some], hits[some] / count[some], count[some])
