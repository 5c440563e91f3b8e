from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cres.evaluation.resolved import resolved_mask
from reconstruction.judging.measures.bootstrap import Sample, bootstrap_weights, bootstrapped
from reconstruction.judging.measures.metrics import (
    METRICS,
    gaussian_core,
    pulls,
    resolution_metrics,
    sigma68,
    table_metrics,
)

weighted = st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(0, 4)), min_size=1, max_size=30).filter(
    lambda pairs: sum(weight for _, weight in pairs) > 0
)


@settings(max_examples=60, deadline=None)
@given(weighted, st.floats(0, 1))
def test_weights_are_repetitions(pairs, probability):
    values, weights = np.array([v for v, _ in pairs]), np.array([w for _, w in pairs])
    repeated = np.repeat(values, weights)
    sample = Sample(values, weights[None].astype(float))
    np.testing.assert_allclose(sample.quantile(probability), np.quantile(repeated, probability), atol=1e-9)
    np.testing.assert_allclose(sample.mean(np.abs), np.abs(repeated).mean(), rtol=1e-12)
    inside = np.mean((repeated >= -5) & (repeated <= 100))
    np.testing.assert_allclose(sample.fraction_between(-5.0, 100.0), inside)


def slow_core(values):
    """One sample, window by window, as the definition says."""
    centre, width = np.median(values), np.diff(np.quantile(values, [0.158655, 0.841345]))[0] / 2
    for _ in range(200):
        inside = values[np.abs(values - centre) <= 2 * width]
        centre, width = inside.mean(), inside.std() / 0.8796256610342398
    return centre, width


@pytest.mark.parametrize("tails", [0.0, 0.1])
def test_core_equals_its_slow_twin_and_ignores_tails(tails):
    random = np.random.default_rng(3)
    values = 0.2 + 0.5 * random.normal(size=20_000) * np.where(random.uniform(size=20_000) < tails, 40, 1)
    np.testing.assert_allclose(gaussian_core(values), slow_core(values), rtol=1e-3)
    assert gaussian_core(values)[1] == pytest.approx(0.5, rel=0.03)
    if tails:
        assert sigma68(values) > 0.55


def test_figures_of_a_known_distribution():
    random = np.random.default_rng(0)
    std = np.exp(random.normal(-1, 0.3, 40_000))
    residual = std * random.normal(size=40_000)
    figures = {
        name: figure.value
        for name, figure in resolution_metrics(
            residual, std, std, near=3.0, order=std, goal_rms=0.3, resamples=10
        ).items()
    }
    assert figures["coverage1"] == pytest.approx(0.6827, abs=0.01)
    assert figures["coverage2"] == pytest.approx(0.9545, abs=0.005)
    for name in ("pull_width", "pull_rms", "bound_ratio", "bound_sigma68", "bound_rms"):
        assert figures[name] == pytest.approx(1, abs=0.02)
    assert figures["rms"] == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-12)
    assert figures["bias"] == pytest.approx(np.median(residual), abs=1e-12)
    expected = np.mean(0.5 * np.log(2 * np.pi * std**2) + 0.5 * (residual / std) ** 2)
    assert figures["nll"] == pytest.approx(expected, rel=1e-12)
    assert set(figures) == {entry.name for entry in METRICS} | {"count", "failed"}


def test_intervals_hold_the_true_value_about_as_often_as_they_say():
    hits = 0
    for seed in range(120):
        residual = np.random.default_rng(seed).normal(size=200)
        figure = resolution_metrics(residual, resamples=100, seed=seed)["sigma68"]
        hits += figure.low <= 1 <= figure.high
    assert 0.53 < hits / 120 < 0.82


def test_the_same_seed_pairs_the_replicates_of_two_estimators():
    random = np.random.default_rng(5)
    residual = random.normal(size=800)
    first = resolution_metrics(residual, resamples=100, seed=1)["sigma68"]
    doubled = resolution_metrics(2 * residual, resamples=100, seed=1)["sigma68"]
    ratio = doubled.over(first)
    assert ratio.value == pytest.approx(2)
    assert ratio.high - ratio.low < 1e-12
    other = resolution_metrics(2 * residual, resamples=100, seed=2)["sigma68"].over(first)
    assert other.high - other.low > 0.05


def test_replicates_do_not_depend_on_the_size_of_the_pieces(monkeypatch):
    whole = np.concatenate(list(bootstrap_weights(50, 20, seed=3)))
    monkeypatch.setattr("reconstruction.judging.measures.bootstrap._CHUNK_VALUES", 130)
    np.testing.assert_array_equal(whole, np.concatenate(list(bootstrap_weights(50, 20, seed=3))))
    assert whole.sum(axis=1).tolist() == [50] * 21


def test_failed_estimates_count_as_far_and_nowhere_else():
    residual = np.array([0.1, -0.1, np.nan, 10.0])
    figures = resolution_metrics(residual, np.array([1.0, 1.0, 1.0, np.nan]), near=3.0, resamples=0)
    assert figures["failed"].value == 1
    assert figures["near_fraction"].value == 0.5
    assert figures["coverage1"].value == 1
    assert np.isnan(figures["sigma68"].low)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_tiny_and_empty_samples_give_no_exception(count):
    figures = resolution_metrics(np.zeros(count), np.ones(count), np.ones(count), near=3.0, resamples=5)
    assert np.isnan(figures["sigma68"].value) == (count == 0)
    assert np.isnan(figures["near_fraction"].value) == (count == 0)


def test_pulls_of_uncertainties_that_are_none():
    assert np.isnan(pulls(np.ones(4), np.array([0.0, -1.0, np.nan, np.inf]))).all()


def test_resolved_means_sideband_snr_of_25():
    assert resolved_mask(np.array([24.9, 25.0, np.nan])).tolist() == [False, True, False]


def test_only_energies_have_a_distance_in_ev(draw_table):
    table = draw_table(200)
    assert "near_fraction" in table_metrics(table, "energy_ev", resamples=2)
    assert "near_fraction" not in table_metrics(table, "pitch_angle_deg", resamples=2)


def test_bootstrapped_keeps_the_sample_itself_as_the_value():
    values = np.arange(10.0)
    figures = bootstrapped(lambda weights: {"mean": weights @ values / weights.sum(axis=1)}, 10, 30, 0)
    assert figures["mean"].value == 4.5
    assert figures["mean"].low < 4.5 < figures["mean"].high


def test_the_share_at_the_goal_is_the_largest_that_reaches_it():
    residual = np.array([0.1, 0.5, 0.2, 5.0, 0.0, np.nan])
    order = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 0.5])
    # rms of the best 1, 2, 3: 0.1, 0.36, 0.316; the sixth has no estimate and still counts
    figures = resolution_metrics(residual, order, order=order, goal_rms=0.3, resamples=0)
    assert figures["goal_fraction"].value == pytest.approx(1 / 6)
    residual[2] = 0.05
    assert resolution_metrics(residual, order=order, goal_rms=0.3, resamples=0)["goal_fraction"].value == pytest.approx(
        3 / 6
    )
    assert resolution_metrics(residual, order=np.full(6, np.nan), goal_rms=0.3, resamples=0)["goal_fraction"].value == 0


def test_electrons_are_selected_by_their_spread_where_it_is_stated(draw_table):
    table = draw_table(400)
    residual = table.residual("energy_ev")
    worse = table.truth("energy_ev") + residual / np.std(residual)  # 1 eV rms
    table = table.with_columns({"energy_ev": worse, "energy_spread_ev": table.std("energy_ev")})
    by_error_bar = table_metrics(table, "energy_ev", resamples=20)["goal_fraction"]
    assert by_error_bar.low <= by_error_bar.value <= by_error_bar.high
    honest = table.with_columns({"energy_spread_ev": np.abs(table.residual("energy_ev")) + 1e-9})
    assert table_metrics(honest, "energy_ev", resamples=0)["goal_fraction"].value > by_error_bar.value
    assert "goal_fraction" not in table_metrics(table, "pitch_angle_deg", resamples=0)
