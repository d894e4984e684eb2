"""How sure a difference is: intervals and tests over test cases, a session at a time. Needs numpy and scipy alone.

Cases of one session are no independent draws, so sessions are resampled (or flipped) whole. Every statistic here
is a mean over cases, that is a ratio of sums over sessions: each resample needs the sessions' sums and sizes only.

Axes: n cases, G clusters (sessions), M series of values over the same cases, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recbole_hiersrec.errors import InputError

RESAMPLES = 10_000
CONFIDENCE = 0.95
LEVEL_WITH = (
    1e-12  # means of the same values in another order differ by less; two metrics that differ, by more
)
_AT_ONCE = 1 << 19  # resamples x clusters held at a time: more than the processor's caches hold is slower


@dataclass(frozen=True)
class Interval:
    """A mean (or ratio) with its interval; low and high are NaN where the data cannot tell.

    Attributes:
        mean: the estimate.
        low: lower bound.
        high: upper bound.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of two models over the same test cases.

    Attributes:
        mean: mean of a - b over the cases.
        low: lower bound of its interval; NaN with fewer than two clusters.
        high: upper bound.
        p_value: of the two-sided randomisation test.
        n_cases: cases.
        n_clusters: clusters (sessions) that the cases belong to.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n_cases: int
    n_clusters: int


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    clusters: np.ndarray,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int,
) -> PairedDifference:
    """Mean of a - b, its percentile bootstrap interval, and a randomisation test, both by cluster.

    Args:
        a: float [n], one value a case, averaged over seeds; of the first model.
        b: float [n], likewise of the second one, for the same cases in the same order.
        clusters: [n], the session of each case.
        confidence: of the interval.
        resamples: of the bootstrap, and random sign patterns of the test.
        seed: of both.

    Raises:
        InputError: lengths differ, there is no case, or a value is not finite.
    """
    values = np.stack([_checked(a, clusters, "a"), _checked(b, clusters, "b")])
    means = bootstrap_means(values, clusters, resamples=resamples, seed=seed)
    found = interval(float(np.mean(values[0] - values[1])), means[:, 0] - means[:, 1], confidence)
    p_value = sign_flip_p_values(values[:1] - values[1:], clusters, resamples=resamples, seed=seed)[0]
    return PairedDifference(
        found.mean, found.low, found.high, float(p_value), len(clusters), len(np.unique(clusters))
    )


def mean_interval(
    values: np.ndarray,
    clusters: np.ndarray,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int,
) -> Interval:
    """Mean of ``values`` [n] and its interval; arguments as in :func:`paired_difference`."""
    series = _checked(values, clusters, "values")
    means = bootstrap_means(series[None], clusters, resamples=resamples, seed=seed)
    return interval(float(series.mean()), means[:, 0], confidence)


def seed_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Interval:
    """Mean over seeds and its Student t interval; one seed alone has no bounds (NaN).

    Raises:
        InputError: there is no value.
    """
    from scipy.special import stdtrit

    series = np.asarray(values, dtype=np.float64)
    if series.size == 0:
        raise InputError("values: received none, allowed: at least one seed")
    mean = float(series.mean())
    if series.size == 1:
        return Interval(mean, float("nan"), float("nan"))
    half = stdtrit(series.size - 1, (1 + confidence) / 2) * series.std(ddof=1) / np.sqrt(series.size)
    return Interval(mean, float(mean - half), float(mean + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being the best of several, in the order given; their number is the family's size.

    At level alpha the chance that any true null hypothesis is rejected is at most alpha, whatever the tests
    share (Holm, *A simple sequentially rejective multiple test procedure*, Scand. J. Statist. 6, 1979).
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()


def effect_size(differences: np.ndarray, clusters: np.ndarray) -> float:
    r"""Standardised mean difference of paired values, with sessions as the units, as in the randomisation test.

    .. math:: d_z = \bar{S} / s_S

    with :math:`S` the sum of each session's differences, and :math:`s_S` their standard deviation (G - 1): its sign is
    that of the mean over the cases, and with one case a session it is Cohen's (*Statistical power analysis for the
    behavioral sciences*, 1988; the name is that of Lakens, Frontiers in Psychology 4:863, 2013).

    Args:
        differences: float [n], one a case.
        clusters: [n], the session of each case.

    Returns:
        NaN with fewer than two sessions, and where all sums are the same.
    """
    sums = _cluster_sums(differences[None], clusters)[0][:, 0]
    if len(sums) < 2 or np.ptp(sums) <= LEVEL_WITH:
        return float("nan")
    return float(sums.mean() / sums.std(ddof=1))


def win_tie_loss(differences: np.ndarray) -> tuple[float, float, float]:
    """Shares of the cases with a difference above 0, of 0, and below 0: three numbers that sum to 1.

    Args:
        differences: float [n], n at least 1; those within :data:`LEVEL_WITH` of 0 are ties.
    """
    win, loss = float((differences > LEVEL_WITH).mean()), float((differences < -LEVEL_WITH).mean())
    return win, float((np.abs(differences) <= LEVEL_WITH).mean()), loss


def bootstrap_means(values: np.ndarray, clusters: np.ndarray, *, resamples: int, seed: int) -> np.ndarray:
    """Means of every series over resampled clusters; all series share the resamples.

    Args:
        values: float [M, n].
        clusters: [n], the session of each case.
        resamples: number R, at least 1.
        seed: of the resamples.

    Returns:
        float64 [R, M]; NaN with a single cluster, which says nothing of how much clusters differ.
    """
    sums, sizes = _cluster_sums(values, clusters)
    n_clusters = len(sizes)
    if n_clusters == 1:
        return np.full((resamples, len(values)), np.nan)
    usual = np.median(sizes)  # most clusters miss every metric and are of one size: all their columns are 0
    columns = np.column_stack([sums, sizes - usual])  # [G, M + 1]
    telling = np.flatnonzero(columns.any(axis=1))
    columns = columns[telling]
    rng = np.random.default_rng(seed)
    totals = np.empty((resamples, columns.shape[1]))
    done = 0
    for n_rows in _chunks(resamples, n_clusters):
        # No cluster is drawn 65,536 times: with so many of them the chance of it is below 1 / 65,536 factorial.
        times = np.zeros((n_rows, n_clusters), dtype=np.uint16)
        for row, picks in zip(times, rng.integers(0, n_clusters, size=times.shape), strict=True):
            np.add.at(row, picks, np.uint16(1))
        totals[done : done + n_rows] = times[:, telling].astype(np.float64) @ columns
        done += n_rows
    totals[:, -1] += n_clusters * usual
    return totals[:, :-1] / totals[:, -1:]


def sign_flip_p_values(
    differences: np.ndarray, clusters: np.ndarray, *, resamples: int, seed: int
) -> np.ndarray:
    """Two-sided paired randomisation test of every series: signs of whole clusters are flipped at random.

    Smucker, Allan & Carterette, *A comparison of statistical significance tests for information retrieval
    evaluation*, CIKM 2007. p = (1 + patterns at least as extreme) / (1 + R). The null hypothesis is that a cluster's
    difference could as well have had the other sign: with few and lopsided clusters (tens of them) p is too small.

    Args:
        differences: float [M, n].
        clusters: [n], the session of each case.
        resamples: sign patterns R, at least 1.
        seed: of the patterns.

    Returns:
        float64 [M].
    """
    sums, sizes = _cluster_sums(differences, clusters)
    total = sums.sum(axis=0)
    # Patterns that tie with the observed one must count, although their sums round otherwise.
    bound = np.abs(total) - 1e-12 * np.abs(sums).sum(axis=0)
    telling = np.flatnonzero(sums.any(axis=1))  # clusters in which models do not differ stay as they are
    sums = sums[telling]
    rng = np.random.default_rng(seed)
    extreme = np.zeros(len(total))
    for n_rows in _chunks(resamples, len(sizes)):
        flipped = rng.integers(0, 2, size=(n_rows, len(sizes)), dtype=np.uint8)[:, telling]
        extreme += (np.abs(total - 2 * (flipped.astype(np.float64) @ sums)) >= bound).sum(axis=0)
    return (1 + extreme) / (1 + resamples)


def interval(estimate: float, samples: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Percentile interval from bootstrap ``samples`` [R]; its bounds are NaN where one of them is no finite number."""
    if not np.isfinite(samples).all():
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))


def ratio_interval(estimates: np.ndarray, samples: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """Interval of the first series' mean over the second's: ``estimates`` [2], ``samples`` [R, 2]; NaN over 0."""
    ratio = float(estimates[0] / estimates[1]) if estimates[1] else float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(ratio, samples[:, 0] / samples[:, 1], confidence)


def _cluster_sums(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sums of each series in each cluster [G, M], cases of each cluster [G])."""
    _, number = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(number).astype(np.float64)
    return np.stack([np.bincount(number, weights=row) for row in values], axis=1), sizes


def _chunks(resamples: int, n_clusters: int) -> list[int]:
    """Sizes of the portions in which resamples are drawn."""
    if resamples < 1:
        raise InputError(f"resamples: received {resamples}, allowed: whole numbers from 1")
    most = max(1, _AT_ONCE // n_clusters)
    full, rest = divmod(resamples, most)
    return [most] * full + [rest] * (rest > 0)


def _checked(values: np.ndarray, clusters: np.ndarray, name: str) -> np.ndarray:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or len(series) == 0 or series.shape != np.shape(clusters):
        raise InputError(
            f"{name}: received shape {series.shape} with clusters {np.shape(clusters)}, allowed: equal lengths from 1"
        )
    if not np.isfinite(series).all():
        raise InputError(f"{name}: received a value that is not finite, allowed: finite numbers")
    return series
