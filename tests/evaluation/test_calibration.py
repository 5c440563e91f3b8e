from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cres.evaluation import PredictionTable, compare, summarise
from reconstruction.judging.measures.calibration import _MEDIAN_ERROR, calibration_verdict, coverage_curve


def _judge(draw_table, count=4000, **how):
    table = draw_table(count, **how)
    return calibration_verdict(table.residual("energy_ev"), table.std("energy_ev"))


@pytest.mark.parametrize("count", [500, 4000])
@pytest.mark.parametrize(
    ("std_scale", "bias", "label"),
    [(1.0, 0.0, "calibrated"), (0.8, 0.0, "over-confident"), (1.25, 0.0, "under-confident"), (1.0, 0.5, "biased")],
)
def test_the_verdict_rejects_what_is_not_honest_and_accepts_what_is(draw_table, count, std_scale, bias, label):
    verdict = _judge(draw_table, count, std_scale=std_scale, bias=bias)
    assert verdict.calibrated == (label == "calibrated")
    assert verdict.label.startswith(label)


def test_heavy_tails_are_found(draw_table):
    verdict = _judge(draw_table, tails=0.06)
    assert verdict.calibrated is False
    assert "heavy tails" in verdict.findings[0] or "over-confident" in verdict.findings[0]


def test_honest_estimators_are_seldom_rejected():
    random = np.random.default_rng(0)
    rejected = sum(not calibration_verdict(random.normal(size=400), np.ones(400)).calibrated for _ in range(200))
    assert rejected <= 6


def test_few_electrons_get_no_verdict():
    verdict = calibration_verdict(np.zeros(10), np.ones(10))
    assert verdict.calibrated is None
    assert "too few" in verdict.findings[0]


def test_standard_error_of_the_median():
    samples = np.random.default_rng(1).normal(size=(2000, 900))
    assert np.std(np.median(samples, axis=1)) * 30 == pytest.approx(_MEDIAN_ERROR, rel=0.06)


def test_the_coverage_curve_is_the_diagonal_for_an_honest_estimator():
    residual = np.random.default_rng(2).normal(size=20_000)
    nominal, observed, error = coverage_curve(residual, np.ones(20_000))
    assert np.abs((observed - nominal) / error).max() < 4
    assert (coverage_curve(residual, np.full(20_000, 0.8))[1] < nominal).all()
    assert np.isnan(coverage_curve(np.zeros(0), np.zeros(0))[1]).all()


def _stated(count, std_scale, two_sigma_scale, bias, tails, skew, seed):
    """Return a table whose error bars and stated 95.45 % intervals are wrong by factors of their own."""
    random = np.random.default_rng(seed)
    residual = random.normal(size=count) * np.where(random.uniform(size=count) < tails, 5, 1) + bias
    residual += skew * (residual**2 - 1)
    truth, std = random.uniform(18_500, 18_700, count), np.full(count, std_scale)
    estimate = truth + residual
    ends = {"energy_low95_ev": estimate - 2 * two_sigma_scale, "energy_high95_ev": estimate + 2 * two_sigma_scale}
    return PredictionTable.from_estimates(
        np.arange(count),
        {"energy_eV": estimate},
        estimator="drawn",
        std={"energy_eV": std},
        truth={"energy_eV": truth},
        observables=ends,
    )


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([60, 300, 2000]),
    st.floats(0.6, 1.5),
    st.floats(0.6, 1.5),
    st.floats(-0.3, 0.3),
    st.floats(0, 0.15),
    st.floats(0, 0.15),
    st.integers(0, 1000),
)
def test_words_say_what_the_figures_show(count, std_scale, two_sigma_scale, bias, tails, skew, seed):
    comparison = compare([_stated(count, std_scale, two_sigma_scale, bias, tails, skew, seed)])
    (row,) = summarise(comparison, resamples=20)
    one, two = (100 * row.figures[name].value for name in ("coverage1", "coverage2"))
    label, words = row.verdict.label, "; ".join(row.verdict.findings)
    assert ("over-confident" in label) <= (one < 68.27)
    assert ("under-confident" in label) <= (one > 68.27)
    assert ("heavy" in label) <= (two < 95.45)
    assert ("light" in label) <= (two > 95.45)
    assert ("confident" in label) <= (f"truth for {one:.1f} %" in words)
    assert ("tails" in label) <= (f"truth for {two:.1f} %" in words)
    assert ("biased" in label) <= (f"{abs(row.figures['pull_bias'].value):.2f} σ too" in words)
    if row.verdict.calibrated:
        assert abs(one - 68.27) < 100 * max(0.02, 3 * 0.4654 / np.sqrt(count)) + 1e-6
        assert abs(two - 95.45) < 100 * max(0.02, 3 * 0.2084 / np.sqrt(count)) + 1e-6
