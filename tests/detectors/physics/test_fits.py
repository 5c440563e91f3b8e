"""Densities against integrals and sums in float64; fits against toys whose truth is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iminuit import Minuit
from scipy.integrate import quad
from scipy.stats import binomtest

from collider.detectors.physics import densities
from collider.detectors.physics.fits import (
    BACKGROUND,
    HIGH,
    LOW,
    MASS,
    SIGMA,
    SIGNAL,
    SLOPE,
    PeakModel,
    fitted,
)
from collider.detectors.physics.measures import clopper_pearson

WINDOW = (66.0, 116.0)
TAILS = (1.5, 3.0, 2.0, 3.0)
TOYS = 30
HIGGS = PeakModel((105.0, 145.0), 125.0, 1.2)
TRUE = {MASS: 124.6, SIGMA: 1.1, LOW: 1.5, HIGH: 2.0, SIGNAL: 300.0, BACKGROUND: 120.0, SLOPE: -0.5}


def toys(model, values, count, seed):
    """Return so many pretended samples of masses, drawn from the model with these values."""
    random = np.random.default_rng(seed)
    grid = np.linspace(*model.window_gev, 20001)
    density = np.add(*model.parts(grid, values))
    running = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    total = model.total(values)
    return [np.interp(random.uniform(0, running[-1], random.poisson(total)), running, grid) for _ in range(count)]


def pulls_of(fits, truth, name):
    """Return (fitted − true)/error of a parameter for fits that converged."""
    return np.array([(fit.values[name] - truth[name]) / fit.errors[name] for fit in fits if fit.valid])


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.05, 5),
    st.floats(0.3, 5),
    st.floats(1.2, 20),
    st.floats(0.3, 5),
    st.floats(1.2, 20),
    st.floats(-30, 30),
    st.floats(0.1, 30),
)
def test_the_crystal_ball_in_closed_form_is_its_integral(sigma, low, low_power, high, high_power, start, size):
    shape = (sigma, low, low_power, high, high_power)
    stop = start + size
    # where its parts meet, an integral in steps is told to look
    inside = [one for one in (-low * sigma, 0.0, high * sigma) if start < one < stop]
    pairs = itertools.pairwise(sorted([start, *inside, stop]))
    expected = sum(quad(lambda x: float(densities.crystal_ball(np.array(x), *shape)), *pair)[0] for pair in pairs)
    assert densities.crystal_ball_integral(start, stop, *shape) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_crystal_ball_is_smooth_where_its_parts_meet():
    sides = np.array([-1.5, 2.0])
    for step in (-1e-9, 1e-9):
        np.testing.assert_allclose(
            densities.crystal_ball(sides + step, 1.0, *TAILS), np.exp(-0.5 * sides**2), rtol=1e-7
        )


def test_a_resonance_is_that_of_s_and_turns_into_mass():
    pole, width = 91.2, 2.5
    mass = np.linspace(60, 120, 7)
    square = mass**2
    running = width * square / pole**2  # Γ(s) = Γ s/M²
    of_s = square / ((square - pole**2) ** 2 + (pole * running) ** 2)
    np.testing.assert_allclose(2 * densities.breit_wigner(mass, pole, width), of_s * 2 * mass, rtol=1e-12)
    assert densities.breit_wigner(np.array([pole]), pole, width)[0] == pytest.approx(pole / width**2)


@pytest.mark.parametrize("sigma", [0.15, 1.2])
def test_a_smeared_resonance_is_the_sum_over_all_true_masses(sigma):
    """The twin adds, for each mass, all true masses by what they are smeared to."""
    x = np.linspace(70, 110, 9)
    true = np.arange(40, 150, 0.02)
    weights = densities.breit_wigner(true, 91.2, 2.5)

    def slow(at):
        return np.array([(weights * densities.crystal_ball(one - true, sigma, *TAILS)).sum() for one in at])

    grid = np.linspace(*WINDOW, 1001)
    expected = slow(x) / np.trapezoid(slow(grid), grid)
    found = densities.resonance(x, WINDOW, 91.2, sigma, TAILS, 2.5)
    np.testing.assert_allclose(found, expected, rtol=0.003)  # tails end 20 GeV away


@pytest.mark.parametrize(
    "density",
    [
        lambda x: densities.peak(x, WINDOW, 90.0, 1.0, TAILS),
        lambda x: densities.resonance(x, WINDOW, 90.0, 1.0, TAILS, 2.5),
        lambda x: densities.exponential(x, WINDOW, -1.7),
        lambda x: densities.exponential(x, WINDOW, 0.0),
        lambda x: densities.bernstein(x, WINDOW, 1, 3),
    ],
)
def test_densities_are_normalised_in_their_window(density):
    grid = np.linspace(*WINDOW, 20001)
    assert np.trapezoid(density(grid), grid) == pytest.approx(1, rel=1e-5)
    assert (density(grid) >= 0).all()


@pytest.fixture(scope="module")
def toy_fits():
    return [fitted(masses, HIGGS) for masses in toys(HIGGS, TRUE, TOYS, seed=1)]


@pytest.mark.parametrize("name", [MASS, SIGMA, SIGNAL])
def test_errors_of_fits_are_true(toy_fits, name):
    """The pulls' mean within 3/√n of 0, their spread within 3/√(2n) of 1."""
    pulls = pulls_of(toy_fits, TRUE, name)
    assert len(pulls) >= TOYS - 2
    assert abs(pulls.mean()) < 3 / np.sqrt(TOYS)
    assert abs(pulls.std() - 1) < 3 / np.sqrt(2 * TOYS)


def test_pulls_of_another_truth_are_noticed(toy_fits):
    pulls = pulls_of(toy_fits, TRUE | {MASS: 124.9}, MASS)
    assert abs(pulls.mean()) > 3 / np.sqrt(TOYS)


def test_the_goodness_of_fits_is_that_of_chance(toy_fits):
    probabilities = np.array([fit.probability for fit in toy_fits])
    assert 0.3 < probabilities.mean() < 0.7
    spoilt = fitted(np.concatenate([toys(HIGGS, TRUE, 1, 2)[0], np.full(60, 112.0)]), HIGGS)
    assert spoilt.probability < 1e-3


def test_the_z_is_found_within_its_error():
    model = PeakModel(WINDOW, 91.1876, 1.5, 2.4952)
    true = {MASS: 91.1876, SIGMA: 1.2, LOW: 1.5, HIGH: 2.0, SIGNAL: 400.0, BACKGROUND: 30.0, SLOPE: -1.0}
    fits = [fitted(masses, model) for masses in toys(model, true, 2, seed=5)]
    pulls = pulls_of(fits, true, MASS)
    assert len(pulls) == 2
    assert (np.abs(pulls) < 3).all()
    assert all(0.05 < fit.errors[MASS] < 0.3 for fit in fits)


def test_a_breit_wigner_distribution_has_its_width():
    """At the pole of a narrow resonance it is twice as high as half of its width away, and it goes as m³ Γ⁻²."""
    found = densities.breit_wigner(np.array([100.0, 100.05, 99.95]), 100.0, 0.1)
    np.testing.assert_allclose(found[0] / found[1:], 2, rtol=0.005)
    assert found[0] == pytest.approx(100.0**3 / (100.0 * 0.1) ** 2)


def test_a_covariance_that_is_not_that_of_hesse_is_no_valid_fit(monkeypatch):
    monkeypatch.setattr(Minuit, "accurate", False)
    assert not fitted(np.random.default_rng(3).normal(125, 1.0, 200), HIGGS).valid


def test_too_few_events_say_so():
    fit = fitted(np.full(7, 125.0), HIGGS)
    assert fit.said == "7 events between 105 and 145 GeV: a fit takes 30"
    assert fit.to_dict()["no_fit"] == fit.said
    assert fitted(np.zeros(0), HIGGS).events == 0


def test_a_peak_without_background_has_errors():
    clean = fitted(np.random.default_rng(3).normal(125, 1.0, 200), HIGGS)
    assert clean.valid
    assert 0.04 < clean.errors[MASS] < 0.15
    assert clean.values[SIGNAL] == pytest.approx(200, abs=25)


def test_intervals_of_shares_are_those_of_scipy():
    passed, total = np.array([0, 3, 7, 10]), np.array([10, 10, 9, 10])
    low, high = clopper_pearson(passed, total, 0.9)
    for place, (count, of) in enumerate(zip(passed, total, strict=True)):
        expected = binomtest(int(count), int(of)).proportion_ci(0.9, "exact")
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(clopper_pearson(np.array([0]), np.array([0]))).all()
