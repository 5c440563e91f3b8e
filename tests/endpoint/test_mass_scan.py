"""Tabulated spectra and the constructions that rest on them, against the likelihood of the fit and slow twins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import beta, ks_2samp

from cres.endpoint.belt import Belt, Expectation, draw_sample, make_belt, statistics
from cres.endpoint.efficiency import Efficiency
from cres.endpoint.endpoint_interval import endpoint_interval, endpoint_statistics, massless
from cres.endpoint.fit import fit_endpoint
from cres.endpoint.likelihood import NUISANCES, PARAMETERS, EndpointLikelihood, FitWindow, Physics
from cres.endpoint.limits import MassInterval, accepted, construct, feldman_cousins_upper, mass_grid_ev2, mass_limits
from cres.endpoint.mass_scan import _profiled, marginal, parabola_minimum, scan
from cres.endpoint.pseudo import Experiment
from cres.endpoint.smeared import SmearedSpectra
from cres.physics.beta import T2_ENDPOINT_EV
from cres.physics.final_states import FinalStates

E0 = T2_ENDPOINT_EV
WINDOW = FitWindow(E0 - 50.0, E0 + 30.0)
STATES = FinalStates.from_arrays(np.array([0.0, 1.5, 25.0]), np.array([0.3, 0.3, 0.4]), "test")
EXPERIMENT = Experiment(electrons=300.0, background_fraction=0.02, window=WINDOW, physics=Physics(STATES))
SQUARES = np.array([-100.0, 0.0, 25.0, 144.0, 400.0, 900.0])


@pytest.fixture(scope="module")
def spectra():
    return SmearedSpectra(EXPERIMENT.response(), WINDOW, EXPERIMENT.physics, SQUARES)


@pytest.fixture(scope="module")
def electrons():
    return EXPERIMENT.generate(np.random.default_rng(4))[:2]


def start(**changes):
    return dict.fromkeys(PARAMETERS, 0.0) | NUISANCES | {"signal": 290.0, "background": 5.0} | changes


@pytest.mark.parametrize("tail", [False, True])
def test_scan_is_the_profile_of_the_likelihood_that_the_fit_uses(spectra, electrons, tail):
    if tail:
        response = replace(
            EXPERIMENT.response(),
            values=np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.05, 0.1, 3.0]),
            efficiency=Efficiency(
                E0, np.array([[0.3, 0.4], [0.1, -0.2], [0.2, 0.1], [0.0, 0.0]]), np.zeros((8, 8)), True
            ),
        )
        spectra = SmearedSpectra(response, WINDOW, EXPERIMENT.physics, SQUARES)
    sample = spectra.sample(*electrons)
    profile = scan(spectra, sample)
    likelihood = EndpointLikelihood(*electrons, spectra.response, WINDOW, EXPERIMENT.physics)
    assert likelihood.electrons == len(sample)
    slow = []
    for square in SQUARES:
        first = start(endpoint_ev=profile.endpoint_ev(square), mass_squared_ev2=square)
        fit = fit_endpoint(likelihood, fixed={"mass_squared_ev2": square}, start=first)
        assert fit.endpoint_ev == pytest.approx(profile.endpoint_ev(square), abs=0.1)
        slow.append(fit.nll)
    difference = 2 * (profile.nll - profile.nll[0]) - 2 * (np.array(slow) - slow[0])
    np.testing.assert_allclose(difference, 0.0, atol=0.03)
    assert np.ptp(profile.nll) > 1.0  # the comparison says something


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), blank=st.integers(0, 3), size=st.integers(3, 60))
def test_best_share_of_background_is_found_everywhere(seed, blank, size):
    generator = np.random.default_rng(seed)
    ratio = np.exp(generator.normal(1.0, 2.0, (size, 4)))
    ratio[:blank] = 0.0  # electrons that only background explains
    nll, share = _profiled(ratio)
    for column in range(4):
        rho = np.maximum(ratio[:, column], 1e-12)

        def slow(f, rho=rho):
            return -np.log(f + (1 - f) * rho).sum()

        best = minimize_scalar(slow, bounds=(0, 0.999), method="bounded", options={"xatol": 1e-10})
        lowest = min(best.fun, slow(0.0))
        assert nll[column] == pytest.approx(lowest, abs=1e-5 * max(1, abs(lowest)))
        assert 0 <= share[column] <= 0.999


def test_marginal_likelihood_against_a_sum(spectra, electrons):
    sample = spectra.sample(*electrons)
    profile = scan(spectra, sample)
    fast = marginal(spectra, sample, profile)
    share = (np.arange(400) + 0.5) / 400
    for mass in (1, 4):
        ratio = spectra.ratio(spectra.placed(sample), mass, np.arange(len(spectra.edges_ev)))
        logarithm = np.stack([np.log(np.maximum(f + (1 - f) * ratio, 1e-300)).sum(axis=0) for f in share])
        slow = np.log(np.exp(logarithm - logarithm.max()).sum()) + logarithm.max()
        if mass == 1:
            offset = fast[mass] - slow
    assert fast[4] - slow == pytest.approx(offset, abs=0.02)


def test_pseudo_experiments_are_those_of_the_model(spectra):
    made = draw_sample(spectra, Expectation(E0, 19_800.0, 200.0), 144.0, np.random.default_rng(1))
    many = replace(EXPERIMENT, electrons=20_000.0, background_fraction=0.01, mass_squared_ev2=144.0)
    other = spectra.sample(*many.generate(np.random.default_rng(2))[:2])
    assert ks_2samp(made.energy_ev, other.energy_ev).pvalue > 1e-3
    lighter = spectra.sample(*replace(many, mass_squared_ev2=0.0).generate(np.random.default_rng(2))[:2])
    assert ks_2samp(made.energy_ev, lighter.energy_ev).pvalue < 1e-3


def test_neyman_limits_of_many_electrons_are_those_of_a_normal_measurement():
    # a thousand sharp electrons: m² is measured with a nearly normal error, of more than two steps of the tables
    experiment = Experiment(electrons=1000.0, background_fraction=1e-4, std_low_ev=1.0, std_high_ev=1.0, window=WINDOW)
    squares = np.arange(-80.0, 401.0, 20.0)
    spectra = SmearedSpectra(experiment.response(), WINDOW, Physics(), squares)
    sample = spectra.sample(*experiment.generate(np.random.default_rng(3))[:2])
    limits = mass_limits(spectra, sample, toys=30, seed=1)
    error = limits.upper_ev2
    assert error > 2 * 20.0
    normal = feldman_cousins_upper(limits.best_ev2 / error) * error
    # the 90 % quantile of 30 values of χ² is known to 0.9 of 2.7, the limit's distance from the best m² to 0.27 errors:
    # a tenth of the limit
    assert limits.neyman.high_ev2 == pytest.approx(normal, rel=0.3)
    assert limits.profile.high_ev2 == pytest.approx(normal, rel=0.3)
    assert limits.bayesian.high_ev2 == pytest.approx(normal, rel=0.3)
    assert not limits.problems()


def test_few_electrons_do_not_measure_the_mass_and_that_is_said():
    experiment = replace(EXPERIMENT, electrons=12.0, background_fraction=0.0)
    spectra = SmearedSpectra(experiment.response(), WINDOW, Physics(STATES), mass_grid_ev2(30.0, negative=False))
    sample = spectra.sample(*experiment.generate(np.random.default_rng(8))[:2])
    said = " ".join(mass_limits(spectra, sample, toys=3).problems())
    assert "do not tell m²" in said or "prior" in said


def test_accepted_intervals():
    squares = np.array([0.0, 1.0, 2.0, 3.0])
    assert accepted(squares, np.array([-1.0, -1.0, 1.0, 2.0])) == MassInterval(0.0, 1.5)
    assert accepted(squares, np.array([1.0, -1.0, -1.0, -2.0])) == MassInterval(0.5, float("inf"))
    assert accepted(squares, np.array([1.0, 0.5, 1.0, 2.0])) == MassInterval(1.0, 1.0)
    assert MassInterval(0.5, float("inf")).holds(7.0)


def test_parabola_minimum():
    x = np.array([0.0, 1.0, 3.0, 4.0])
    place, value = parabola_minimum(x, (x - 2.2) ** 2 + 5)
    assert place == pytest.approx(2.2)
    assert value == pytest.approx(5.0)
    assert parabola_minimum(x, x) == (0.0, 0.0)


SMALL = Experiment(electrons=80.0, background_fraction=0.02, window=WINDOW, mass_squared_ev2=144.0)


COVERING_TOYS = 80


@pytest.fixture(scope="module")
def toys_and_belt():
    """Spectra, toys with their scans, and the belt for the true mass."""
    spectra = SmearedSpectra(SMALL.response(), WINDOW, Physics(), np.array([0.0, 36.0, 144.0, 324.0, 676.0, 1600.0]))
    mass = int(np.argmin(np.abs(spectra.mass_squared_ev2 - 144.0)))
    expected = Expectation(E0, 78.4, 1.6)
    belt = make_belt(spectra, lambda _: expected, [mass], 150, 0.9, seed=3)
    drawn = (SMALL.generate(np.random.default_rng([9, index]))[:2] for index in range(COVERING_TOYS))
    samples = [spectra.sample(*electrons) for electrons in drawn]
    return spectra, [(sample, scan(spectra, sample)) for sample in samples], belt


@pytest.mark.parametrize(("scale", "covers"), [(1.0, True), (0.3, False)])
def test_neyman_construction_covers_and_a_wrong_belt_does_not(toys_and_belt, scale, covers):
    spectra, toys, belt = toys_and_belt
    scaled = Belt(belt.mass_squared_ev2, scale * belt.critical, 0.9, 150)
    held = sum(construct(spectra, *toy, scaled, 0.9).neyman.holds(144.0) for toy in toys)
    low, high = beta.ppf(0.002, held, len(toys) - held + 1), beta.ppf(0.998, held + 1, len(toys) - held)
    assert (low <= 0.9 <= high) == covers


def test_statistics_are_keyed_by_toy():
    spectra = SmearedSpectra(SMALL.response(), WINDOW, Physics(), mass_grid_ev2(20.0, negative=False))
    expected = Expectation(E0, 78.4, 1.6)
    first = [*statistics(spectra, lambda _: expected, 2, 3, seed=5)]
    assert first[:2] == [*statistics(spectra, lambda _: expected, 2, 2, seed=5)]
    assert first != [*statistics(spectra, lambda _: expected, 2, 3, seed=6)]


def test_endpoint_intervals_agree_with_minos_and_widen_for_few_electrons():
    experiment = Experiment(electrons=800.0, window=WINDOW)
    energy, std, _ = experiment.generate(np.random.default_rng(2))
    spectra = massless(experiment.response(), WINDOW, Physics())
    found = endpoint_interval(spectra, spectra.sample(energy, std))
    fit = fit_endpoint(EndpointLikelihood(energy, std, spectra.response, WINDOW), minos=("endpoint_ev",))
    low, high = fit.interval_ev()
    assert found.toys == 0
    assert found.best_ev == pytest.approx(fit.endpoint_ev, abs=0.03)
    assert found.low_ev == pytest.approx(low, abs=0.06)
    assert found.high_ev == pytest.approx(high, abs=0.06)
    few = spectra.sample(energy[:30], std[:30])
    measured, wilks = endpoint_interval(spectra, few, toys=100), endpoint_interval(spectra, few, toys=0)
    assert wilks.critical == pytest.approx(1.0)
    assert 0.5 < measured.critical < 2.5
    assert measured.critical != 1.0
    assert measured.holds(measured.best_ev)
    assert np.isnan(wilks.bias_ev)


def test_the_expected_bias_is_that_of_the_simulations_own_electrons():
    # the twin draws electrons from the spectrum and not from the fit's tables
    experiment = Experiment(electrons=20.0, window=FitWindow(E0 - 60.0, E0 + 40.0), background_fraction=0.02)
    spectra = massless(experiment.response(), experiment.window, Physics())
    statistic, distance = endpoint_statistics(spectra, Expectation(E0, 19.6, 0.4), 300, seed=1)
    generator = np.random.default_rng(3)
    samples = [spectra.sample(*experiment.generate(generator)[:2]) for _ in range(200)]
    twin = np.array([scan(spectra, sample).edge_ev[0] for sample in samples]) - E0
    error = 1.25 * np.sqrt(1 / 300 + 1 / 200) * twin.std()
    assert np.median(distance) == pytest.approx(np.median(twin), abs=3 * error)
    assert np.quantile(statistic, 0.68) == pytest.approx(1.1, abs=0.35)
    # the largest likelihood lies low
    assert np.median(distance) < 0
    found = endpoint_interval(spectra, samples[0], toys=60, seed=1)
    assert found.median_unbiased_ev == pytest.approx(found.best_ev - found.bias_ev)
