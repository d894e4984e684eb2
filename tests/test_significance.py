"""Intervals and tests: known answers, coverage by simulation, and the borders."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from recbole_hiersrec.errors import InputError
from recbole_hiersrec.evaluation import significance
from recbole_hiersrec.evaluation.significance import (
    RESAMPLES,
    Interval,
    bootstrap_means,
    effect_size,
    holm,
    mean_interval,
    paired_difference,
    ratio_interval,
    seed_interval,
    sign_flip_p_values,
    win_tie_loss,
)


def test_resampling_two_clusters_by_hand() -> None:
    """Clusters of sums 3 (1 case) and 1 (3 cases): the draws give 3/1, 4/4, 4/4 and 2/6, a quarter each."""
    values, clusters = np.array([[3.0, 1.0, 0.0, 0.0]]), np.array([7, 9, 9, 9])
    means = bootstrap_means(values, clusters, resamples=4000, seed=1)[:, 0]
    found, counts = np.unique(means.round(12), return_counts=True)
    assert found == pytest.approx([1 / 3, 1, 3])
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_interval_matches_scipy_where_every_case_is_a_session() -> None:
    rng = np.random.default_rng(5)
    values = rng.exponential(size=300)
    ours = mean_interval(values, np.arange(300), seed=1)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=rng)
    assert ours.mean == values.mean()
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval), rel=0.02)


def test_sign_flips_match_all_patterns() -> None:
    """Four clusters have 16 patterns; the share of those at least as extreme is exact."""
    sums = np.array([3.0, 1.0, -1.0, 2.0])
    patterns = [abs(sum(s * x for s, x in zip(signs, sums, strict=True)))
                for signs in itertools.product((1, -1), repeat=4)]  # fmt: skip
    exact = np.mean([value >= abs(sums.sum()) for value in patterns])
    assert exact == 6 / 16  # |.| of 5, 5, 7, each with its mirror image
    p = sign_flip_p_values(sums[None], np.arange(4), resamples=20_000, seed=3)[0]
    assert p == pytest.approx(exact, abs=0.02)


def clustered(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences of 26 cases in 8 sessions of 1 to 5, a third of them 0 as those of rankings are; not in order."""
    random = np.random.default_rng(seed)
    sessions = random.permutation(np.repeat(np.arange(8), [1, 2, 3, 5, 5, 4, 3, 3]))
    return random.normal(0.3, 1, 26) * (random.random(26) > 1 / 3), sessions


@pytest.mark.parametrize("seed", range(5))
def test_random_flips_agree_with_all_256_patterns_of_eight_sessions(seed: int) -> None:
    """Counted one by one, and by scipy's exact test of the sessions' sums; 20,000 random ones err by under .014."""
    differences, sessions = clustered(seed)
    sums = np.array([differences[sessions == session].sum() for session in range(8)])
    patterns = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=8)]
    exact = np.mean([value >= abs(sums.sum()) - 1e-9 for value in patterns])
    theirs = stats.permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=np.inf)
    p = sign_flip_p_values(differences[None], sessions, resamples=20_000, seed=seed)[0]
    assert theirs.pvalue == pytest.approx(exact)
    assert p == pytest.approx(exact, abs=0.014)


def test_the_clustered_interval_matches_scipys_bootstrap_of_sums_and_sizes() -> None:
    random = np.random.default_rng(8)
    sessions = np.repeat(np.arange(50), random.integers(1, 8, 50))
    values = random.exponential(size=50)[sessions] + random.exponential(size=len(sessions))
    sums, sizes = np.bincount(sessions, values), np.bincount(sessions)
    ours = mean_interval(values, sessions, seed=1)
    theirs = stats.bootstrap(
        (sums, sizes),
        lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        method="percentile",
        rng=random,
    )
    assert [ours.low, ours.high] == pytest.approx(list(theirs.confidence_interval), rel=0.015)


def test_whole_clusters_are_flipped() -> None:
    """Ten equal differences of ten sessions are convincing (2 of 1,024 patterns), of two sessions they are not."""
    a, b = np.ones(10), np.zeros(10)
    alone = paired_difference(a, b, np.arange(10), seed=1)
    assert alone.p_value == pytest.approx(2 / 1024, abs=0.001)
    together = paired_difference(a, b, np.arange(10) // 5, seed=1)
    assert together.p_value == pytest.approx(0.5, abs=0.02)
    assert (together.n_cases, together.n_clusters) == (10, 2)
    assert (alone.mean, alone.low, alone.high) == (1.0, 1.0, 1.0)


def test_p_value_never_is_zero() -> None:
    a = np.ones(100)
    assert paired_difference(a, 0 * a, np.arange(100), resamples=99, seed=1).p_value == 0.01


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_equal_models_differ_by_nothing(value: float) -> None:
    same = np.full(50, value)
    found = paired_difference(same, same, np.arange(50) // 3, seed=1)
    assert (found.mean, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_patterns_that_tie_with_the_observed_one_count() -> None:
    """0.1 + 0.2 + 0.3 rounds otherwise in another order: all of one sign is as extreme as its mirror image."""
    p = sign_flip_p_values(np.array([[0.1, 0.2, 0.3]]), np.arange(3), resamples=20_000, seed=1)[0]
    assert p == pytest.approx(0.25, abs=0.02)


def test_one_cluster_tells_nothing() -> None:
    found = paired_difference(np.ones(5), np.zeros(5), np.zeros(5), seed=1)
    assert (found.mean, found.p_value, found.n_clusters) == (1.0, 1.0, 1)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_the_seed_decides() -> None:
    rng = np.random.default_rng(1)
    a, b, sessions = rng.random(40), rng.random(40), np.arange(40) // 2
    first = paired_difference(a, b, sessions, resamples=200, seed=1)
    assert first == paired_difference(a, b, sessions, resamples=200, seed=1)
    assert first != paired_difference(a, b, sessions, resamples=200, seed=2)


def test_names_of_clusters_do_not_matter() -> None:
    a, b = np.arange(6.0), np.arange(6.0)[::-1] / 3
    numbers = paired_difference(a, b, np.array([0, 0, 1, 1, 2, 2]), seed=1)
    assert numbers == paired_difference(a, b, np.array(["x", "x", "y", "y", "z", "z"]), seed=1)


def kept(a: np.ndarray, b: np.ndarray, clusters: np.ndarray) -> Interval:
    """mean(a) / mean(b) and its interval, as comparisons compute the share that candidates keep."""
    values = np.stack([a, b])
    means = bootstrap_means(values, clusters, resamples=RESAMPLES, seed=1)
    return ratio_interval(values.mean(axis=1), means)


def test_kept_of_candidates_that_lose_nothing_or_half() -> None:
    values = np.random.default_rng(1).random(60)
    everything = kept(values, values, np.arange(60))
    assert (everything.mean, everything.low, everything.high) == (1.0, 1.0, 1.0)
    half = kept(values / 2, values, np.arange(60) // 4)
    assert [half.mean, half.low, half.high] == pytest.approx([0.5, 0.5, 0.5])


def test_kept_of_nothing_is_undefined() -> None:
    found = kept(np.zeros(4), np.zeros(4), np.arange(4))
    assert math.isnan(found.mean)
    assert math.isnan(found.low)


def test_kept_has_the_ratio_between_its_bounds() -> None:
    """Every second case is lost: half is kept, and which half is drawn decides the bounds."""
    b = np.ones(400)
    found = kept(np.arange(400) % 2, b, np.arange(400))
    half = 1.96 * 0.5 / 20  # of a mean of 400 coin tosses
    assert [found.mean, found.low, found.high] == pytest.approx([0.5, 0.5 - half, 0.5 + half], abs=0.01)


def test_coverage_of_the_clustered_interval() -> None:
    """95 % intervals of clustered data hold the truth about 95 times in 100; those that ignore clusters do not."""
    rng = np.random.default_rng(11)
    clustered = naive = 0
    for run in range(200):
        sessions = np.repeat(np.arange(60), 8)
        values = rng.normal(size=60)[sessions] + 0.3 * rng.normal(size=480)
        found = mean_interval(values, sessions, resamples=300, seed=run)
        clustered += found.low <= 0 <= found.high
        found = mean_interval(values, np.arange(480), resamples=300, seed=run)
        naive += found.low <= 0 <= found.high
    assert 180 <= clustered <= 199
    assert naive < 130


def test_size_of_the_test_under_the_null() -> None:
    """Without a difference, p <= .05 in about one of twenty data sets."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(400, 40)).repeat(3, axis=1)
    p = sign_flip_p_values(values, np.repeat(np.arange(40), 3), resamples=500, seed=1)
    assert 0.02 <= (p <= 0.05).mean() <= 0.09


def test_seed_interval_by_hand() -> None:
    """Of 1, 2, 3: t(2) = 4.3027, standard error 1 / sqrt(3)."""
    found = seed_interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert [found.mean, found.low, found.high] == pytest.approx([2.0, 2 - half, 2 + half], rel=1e-6)
    alone = seed_interval([0.5])
    assert alone.mean == 0.5
    assert math.isnan(alone.low)
    with pytest.raises(InputError, match="values: received none"):
        seed_interval([])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.02], [0.02]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),  # 4 x .01, 3 x .02, then never less than before
        ([0.04, 0.001, 0.03, 0.005], [0.06, 0.004, 0.06, 0.015]),  # 4 x .001, 3 x .005, 2 x .03, 1 x .04
        ([0.2, 0.2], [0.4, 0.4]),
        ([0.6, 0.0001, 0.9], [1.0, 0.0003, 1.0]),
    ],
)
def test_holm_of_further_families_by_hand(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float], level: float) -> None:
    """As Holm states it: the smallest of m against level / m, the next against level / (m - 1), until one fails."""
    rejected: set[int] = set()
    for left, place in zip(range(len(p_values), 0, -1), np.argsort(p_values, kind="stable"), strict=True):
        if p_values[place] * left > level:
            break
        rejected.add(int(place))
    assert {place for place, p in enumerate(holm(p_values)) if p <= level} == rejected


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_helps(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, corrected, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


def test_effect_size_by_hand() -> None:
    """Sessions' sums 1 + 2, 0 and 3 have the mean 2 and the deviation sqrt((1 + 4 + 1) / 2)."""
    differences, sessions = np.array([1.0, 0.0, 2.0, 3.0]), np.array([7, 8, 7, 9])
    assert effect_size(differences, sessions) == pytest.approx(2 / math.sqrt(3))
    assert effect_size(-differences, sessions) == pytest.approx(-2 / math.sqrt(3))
    assert effect_size(100 * differences, sessions) == pytest.approx(2 / math.sqrt(3))  # it has no unit


def test_effect_size_of_single_cases_is_t_over_the_root_of_their_number() -> None:
    differences = np.random.default_rng(2).normal(0.4, 1, 37)
    t = stats.ttest_1samp(differences, 0).statistic
    assert effect_size(differences, np.arange(37)) == pytest.approx(t / math.sqrt(37))


def test_effect_size_has_the_sign_of_the_mean_over_cases() -> None:
    """One long session is worse, two short ones are better: the mean over sessions' means would say the opposite."""
    differences, sessions = np.array([-1.0, -1.0, -1.0, 1.0, 1.0]), np.array([0, 0, 0, 1, 2])
    assert differences.mean() < 0
    assert effect_size(differences, sessions) == pytest.approx((-1 / 3) / np.std([-3, 1, 1], ddof=1))


@pytest.mark.parametrize("values", [[0.0, 0.0], [0.1 + 0.2, 0.3], [1.0]])
def test_effect_size_that_nothing_varies_in_is_undefined(values: list[float]) -> None:
    assert math.isnan(effect_size(np.array(values), np.arange(len(values))))
    assert math.isnan(effect_size(np.array([0.1, 0.5]), np.zeros(2)))


def test_win_tie_loss_by_hand() -> None:
    assert win_tie_loss(np.array([0.5, -0.1, 0.0, 0.2, 0.0])) == pytest.approx((0.4, 0.4, 0.2))
    assert win_tie_loss(np.array([1e-3])) == (1.0, 0.0, 0.0)


def test_seeds_in_another_order_tie() -> None:
    """The mean of .1, .2, .3 is not that of .3, .2, .1 to the bit."""
    values = np.array([0.1, 0.2, 0.3])
    difference = sum(values) / 3 - sum(values[::-1]) / 3
    assert difference != 0
    assert win_tie_loss(np.array([difference, -difference])) == (0.0, 1.0, 0.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 7), st.integers(0, 100))
def test_portions_change_no_statistic(n_cases: int, per_session: int, seed: int) -> None:
    """Several series at once get the same means as one by one, all resamples at once the same as a few at a time."""
    values = np.random.default_rng(seed).random((3, n_cases))
    sessions = np.arange(n_cases) // per_session
    together = bootstrap_means(values, sessions, resamples=50, seed=seed)
    alone = bootstrap_means(values[1:2], sessions, resamples=50, seed=seed)
    np.testing.assert_allclose(together[:, 1], alone[:, 0], rtol=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(significance, "_AT_ONCE", 100)
        few_at_a_time = bootstrap_means(values, sessions, resamples=50, seed=seed)
    np.testing.assert_allclose(few_at_a_time, together, rtol=1e-12)
    if len(np.unique(sessions)) > 1:
        assert ((together >= values.min() - 1e-12) & (together <= values.max() + 1e-12)).all()


@pytest.mark.parametrize(
    ("a", "clusters", "message"),
    [
        (np.ones(3), np.arange(4), "a: received shape .3,. with clusters .4,., allowed: equal lengths"),
        (np.ones(0), np.arange(0), "allowed: equal lengths from 1"),
        (np.array([1, np.nan]), np.arange(2), "a: received a value that is not finite"),
    ],
)
def test_unusable_values_are_refused(a: np.ndarray, clusters: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        paired_difference(a, a, clusters, seed=1)


def test_resamples_are_positive() -> None:
    with pytest.raises(InputError, match="resamples: received 0"):
        mean_interval(np.ones(3), np.arange(3), resamples=0, seed=1)


def test_no_torch_is_needed() -> None:
    script = (
        "import sys, recbole_hiersrec.evaluation.significance\n"
        "sys.exit(str([name for name in ('torch', 'recbole', 'faiss') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
