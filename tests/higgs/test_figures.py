"""Figures of merit and limits against slow twins, formulae by hand, and what must change them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm, poisson

from collider.higgs.judging.compare import even_told
from collider.higgs.judging.figures import Scored, bins_of, figures_of, significance, working_points
from collider.higgs.judging.limits import (
    asimov_statistic,
    expected_cls,
    expected_limits,
    profiled,
    relative_uncertainty,
)
from collider.higgs.learning.files import SIGNAL

S = np.array([3.0, 1.0, 0.2])
B = np.array([4.0, 20.0, 300.0])
SIGMA = np.array([0.3, 0.1, 0.05])


def scored(count: int = 400, distance: float = 2.0, seed: int = 0) -> Scored:
    """Gaussian scores, signal `distance` above three backgrounds of different weights."""
    random = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(4), count)
    drawn = random.normal(distance * (kinds == SIGNAL), 1)
    signal = 1 / (1 + np.exp(-drawn))
    rest = ((1 - signal) / 3)[:, None] * np.ones(3)
    return Scored(np.column_stack([signal, rest]), kinds, np.array([0.01, 2.0, 1.0, 0.5])[kinds])


def test_figures_are_those_of_a_loop_over_events():
    one = scored(60)
    score, even, signal = one.score(), one.even, one.signal
    found = figures_of(one, 0)
    pairs = [
        (1.0 if a > b else 0.5 if a == b else 0.0, w * v)
        for a, w in zip(score[signal], even[signal], strict=True)
        for b, v in zip(score[~signal], even[~signal], strict=True)
    ]
    area = sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)
    assert found["auc"].value == pytest.approx(area, abs=1e-12)
    kept, passed = 0.0, 1.0
    for cut in score:
        ours = even[signal & (score >= cut)].sum() / even[signal].sum()
        others = even[~signal & (score >= cut)].sum() / even[~signal].sum()
        kept = max(kept, ours) if others <= 0.01 else kept
        passed = min(passed, others) if ours >= 0.5 else passed
    assert found["efficiency"].value == pytest.approx(kept, abs=1e-12)
    assert found["rejection"].value == pytest.approx(1 / passed, rel=1e-12)


def test_area_is_that_of_gaussians():
    """Two unit Gaussians a distance d apart: Φ(d/√2)."""
    found = figures_of(scored(4000), 50)["auc"]
    assert found.value == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=4 * (found.high - found.low) / 2)


def test_every_class_counts_the_same_whatever_its_weight():
    one = scored()
    other = Scored(one.probabilities, one.kinds, one.weights * np.array([5.0, 0.1, 7.0, 1.0])[one.kinds])
    assert figures_of(other, 0)["auc"].value == pytest.approx(figures_of(one, 0)["auc"].value, abs=1e-12)
    assert figures_of(other, 0)["significance"].value != pytest.approx(figures_of(one, 0)["significance"].value)


def test_significance_of_one_bin_is_the_formula():
    # Cowan et al. 2011, arXiv:1007.1727, eq. 97; for s ≪ b it is s/√b
    found = significance(np.array([[10.0]]), np.array([[50.0]]))
    assert found[0] == pytest.approx(np.sqrt(2 * (60 * np.log(1.2) - 10)), rel=1e-12)
    assert significance(np.array([[1.0]]), np.array([[1e6]]))[0] == pytest.approx(1e-3, rel=1e-4)
    assert (
        significance(np.array([[1.0, 5.0]]), np.array([[4.0, 0.0]]))[0]
        == significance(np.array([[1.0]]), np.array([[4.0]]))[0]
    )


def test_bins_hold_backgrounds_and_fall_in_score():
    one = scored()
    bins = bins_of(one.score(), one.signal)
    counts = np.bincount(bins[~one.signal])
    assert counts[0] == 8
    assert (counts >= 8).all()
    means = [one.score()[bins == place].mean() for place in range(len(counts))]
    assert (np.diff(means) < 0).all()


def test_no_background_left_is_no_number():
    score, signal = np.array([3.0, 2.0, 1.0]), np.array([True, True, False])
    kept, rejected = working_points(score, signal, np.ones((1, 3)))
    assert kept[0] == 1
    assert np.isinf(rejected[0])


def likelihood(mu: float, gamma: np.ndarray, data: np.ndarray) -> float:
    """Return −2 ln L up to a constant, the obvious way."""
    return float(-2 * poisson.logpmf(data, mu * S + gamma * B).sum() + (((gamma - 1) / SIGMA) ** 2).sum())


def test_profiling_is_what_a_minimiser_finds():
    """Bin by bin; `poisson.logpmf` wants whole numbers: 4, 20 and 300 are."""
    for mu in (0.0, 0.3, 2.0, 20.0):
        slow = []
        for bin_ in range(3):

            def cost(gamma: float, bin_: int = bin_, mu: float = mu) -> float:
                return likelihood(mu, np.where(np.arange(3) == bin_, gamma, 1.0), B)

            slow.append(minimize_scalar(cost, bounds=(1e-6, 3), method="bounded", options={"xatol": 1e-10}).x)
        fast = profiled(mu, S, B, SIGMA)
        np.testing.assert_allclose(fast, slow, rtol=1e-5)
        wanted = likelihood(mu, fast, B) - likelihood(0.0, np.ones(3), B)
        assert asimov_statistic(mu, S, B, SIGMA) == pytest.approx(wanted, abs=1e-8)


def test_no_background_is_profiled_below_none():
    """Where a bin's background is hardly known, a larger signal must not be paid for with less than no background."""
    signal, background, sigma = np.array([1.0]), np.array([300.0]), np.array([0.6])
    for mu in (100.0, 400.0, 2000.0):
        nll = lambda gamma, mu=mu: (  # noqa: E731
            2 * (mu + gamma * 300 - 300 * np.log(mu + gamma * 300)) + ((gamma - 1) / 0.6) ** 2
        )
        slow = minimize_scalar(nll, bounds=(0, 3), method="bounded", options={"xatol": 1e-10}).x
        assert profiled(mu, signal, background, sigma)[0] == pytest.approx(slow, abs=1e-6)
    assert profiled(2000.0, signal, background, sigma)[0] == 0


def test_a_limit_is_found_whatever_the_signal_is_weighed_with():
    limit = expected_limits(S, B, SIGMA)[2]
    for factor in (1e-12, 1e12):
        assert expected_limits(factor * S, B, SIGMA)[2] == pytest.approx(limit / factor, rel=1e-6)


def test_a_limit_with_much_background_is_gaussian():
    """s/√b known: μ₉₅ = Φ⁻¹(1 − 0.05 Φ(N)) + N standard deviations    Cowan et al. 2011, arXiv:1007.1727, eq. 89"""
    found = expected_limits(np.array([1.0]), np.array([1e8]), np.array([0.0]))
    wanted = [1e4 * (norm.isf(0.05 * norm.cdf(band)) + band) for band in (-2, -1, 0, 1, 2)]
    np.testing.assert_allclose(found, wanted, rtol=2e-3)


def test_limits_behave():
    limits = expected_limits(S, B, SIGMA)
    assert (np.diff(limits) > 0).all()
    assert expected_cls(limits[2], 0, S, B, SIGMA) == pytest.approx(0.05, rel=1e-5)
    assert expected_limits(2 * S, B, SIGMA)[2] == pytest.approx(limits[2] / 2, rel=1e-6)
    assert expected_limits(S, B, 3 * SIGMA)[2] > limits[2]
    assert expected_limits(np.zeros(3), B, SIGMA)[2] == np.inf
    # a bin without background is no proof of anything
    assert expected_limits(np.append(S, 1.0), np.append(B, 0.0), np.append(SIGMA, 0.0)) == limits


def test_a_limit_is_that_of_toys():
    """CLs by throwing experiments of one counting bin, without uncertainty: exact Poisson against the asymptotic."""
    s, b = 1.0, 400.0
    mu = expected_limits(np.array([s]), np.array([b]), np.array([0.0]))[2]
    # the median experiment sees b; CLs = P(n ≤ b | μs + b)/P(n ≤ b | b)
    assert poisson.cdf(b, mu * s + b) / poisson.cdf(b, b) == pytest.approx(0.05, abs=0.006)


def test_uncertainty_of_a_bin_adds_statistics_and_a_share():
    found = relative_uncertainty(np.array([1.0, 1, 2, 5]), np.array([0, 0, 0, 2]), 3, 0.1)
    np.testing.assert_allclose(found, [np.sqrt(6 / 16 + 0.01), 0.1, np.sqrt(1.01)])


def test_calibration_is_judged_on_equally_frequent_classes():
    one = scored(50)
    rare = np.flatnonzero((one.kinds != 2) | (np.arange(200) % 5 == 0))
    told = even_told([Scored(one.probabilities[rare], one.kinds[rare], one.weights[rare])])
    assert np.bincount(told.truth).tolist() == [10, 10, 10, 10]
    assert not len(even_told([]).truth)
    # at each of several points the backgrounds are the same events, and each is judged once
    others = one.probabilities[one.kinds != SIGNAL]
    several = even_told([one] * 5)
    assert np.bincount(several.truth).tolist() == [50, 50, 50, 50]
    judged = several.probabilities[several.truth != SIGNAL]
    assert len(np.unique(judged, axis=0)) == len(np.unique(others, axis=0)) == 150
