from __future__ import annotations

import numpy as np
import pytest

from cres.evaluation.calibration import _MEDIAN_ERROR, _WIDTH_ERROR, calibration_verdict, coverage_curve
from cres.evaluation.metrics import sigma68


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


def test_standard_errors_of_median_and_width():
    samples = np.random.default_rng(1).normal(size=(2000, 900))
    assert np.std(np.median(samples, axis=1)) * 30 == pytest.approx(_MEDIAN_ERROR, rel=0.06)
    assert np.std([sigma68(row) for row in samples]) * 30 == pytest.approx(_WIDTH_ERROR, rel=0.06)


def test_the_coverage_curve_is_the_diagonal_for_an_honest_estimator():
    residual = np.random.default_rng(2).normal(size=20_000)
    nominal, observed, error = coverage_curve(residual, np.ones(20_000))
    assert np.abs((observed - nominal) / error).max() < 4
    assert (coverage_curve(residual, np.full(20_000, 0.8))[1] < nominal).all()
    assert np.isnan(coverage_curve(np.zeros(0), np.zeros(0))[1]).all()
