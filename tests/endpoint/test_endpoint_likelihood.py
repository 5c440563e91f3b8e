"""The likelihood against slow twins, its normalisation, its fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from cres.endpoint.binned import BinnedLikelihood
from cres.endpoint.efficiency import Efficiency, fit_efficiency
from cres.endpoint.fit import fit_endpoint, profile
from cres.endpoint.kernel import even_smearing_matrix, smearing_matrix
from cres.endpoint.likelihood import (
    NUISANCES,
    PARAMETERS,
    EndpointLikelihood,
    FitWindow,
    Physics,
    make_constraints,
)
from cres.endpoint.model import SpectrumModel, twice_integrated_phase_space
from cres.endpoint.pseudo import Experiment
from cres.endpoint.response import Response
from cres.errors import UserError
from cres.physics.beta import T2_ENDPOINT_EV, beta_spectrum_rate, phase_space
from cres.physics.final_states import FinalStates

E0 = T2_ENDPOINT_EV
WINDOW = FitWindow(E0 - 30.0, E0 + 20.0)
STATES = FinalStates.from_arrays(np.array([0.0, 20.0]), np.array([0.6, 0.4]), "test")
EXPERIMENT = Experiment(electrons=800.0, background_fraction=0.02, window=WINDOW)


def point(**changes):
    values = dict.fromkeys(PARAMETERS, 0.0) | NUISANCES
    return values | {"endpoint_ev": E0, "signal": 780.0, "background": 16.0} | changes


@pytest.fixture(scope="module")
def likelihood():
    energy, std, _ = EXPERIMENT.generate(np.random.default_rng(11))
    return EndpointLikelihood(energy, std, EXPERIMENT.response(), WINDOW)


@pytest.fixture(scope="module")
def fit(likelihood):
    return fit_endpoint(likelihood, minos=("endpoint_ev",))


@pytest.mark.parametrize("mass_squared", [-30.0, 0.0, 9.0])
def test_twice_integrated_phase_space_is_the_second_antiderivative(mass_squared):
    start = np.sqrt(max(mass_squared, 0.0))

    def once(energy):
        return quad(lambda e: float(phase_space(np.array(e), mass_squared)), start, energy)[0]

    for energy in (start + 0.3, 5.0, 40.0):
        slow = quad(once, start, energy)[0]
        assert twice_integrated_phase_space(np.array([energy]), mass_squared)[0] == pytest.approx(slow, rel=1e-7)


@pytest.mark.parametrize("mass_squared", [-30.0, 0.0, 9.0])
@pytest.mark.parametrize("states", [None, STATES])
@pytest.mark.parametrize("std", [0.4, 3.0])
def test_smeared_spectrum_against_quadrature(mass_squared, states, std):
    model = SpectrumModel.spanning(E0 - 90.0, E0 + 40.0, states)
    energies = np.array([E0 - 45.0, E0 - 21.3, E0 - 6.0, E0 - 0.7])
    fast = smearing_matrix(model.grid_ev, energies, np.full(4, std)) @ model.shape(E0, mass_squared)

    def slow(energy):
        def integrand(true):
            rate = beta_spectrum_rate(true, E0, neutrino_mass_squared_ev2=mass_squared, final_states=states)
            return float(rate) * norm.pdf(energy, true, std)

        edges = [E0, E0 - 20.0, E0 - max(mass_squared, 0) ** 0.5, E0 - 20.0 - max(mass_squared, 0) ** 0.5]
        points = [edge for edge in edges if energy - 8 * std < edge < energy + 8 * std]
        return quad(integrand, energy - 8 * std, energy + 8 * std, points=points or None, epsrel=1e-10, limit=200)[0]

    expected = np.array([slow(energy) for energy in energies])
    scale = fast[0] / expected[0]
    np.testing.assert_allclose(fast / scale, expected, rtol=2e-3, atol=2e-5 * expected[0])


def test_smearing_matrix_keeps_the_integral_and_interpolates_sharp_electrons():
    grid = np.arange(0.0, 100.0, 0.2)
    matrix = smearing_matrix(grid, np.array([50.03, 40.0, 60.1]), np.array([2.0, 1e-3, 1e-3]))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-9)
    np.testing.assert_allclose(matrix @ grid, [50.03, 40.0, 60.1], atol=1e-9)


@pytest.mark.parametrize(
    ("std", "low"), [(1e-3, 20.0), (0.7, 20.0), (6.0, 50.03), (6.0, 20.0), (6.0, 81.0), (0.7, 115.0), (40.0, -5.02)]
)
def test_one_row_moved_is_the_matrix_of_energies_as_far_apart_as_the_grid(std, low):
    """Also where the resolution reaches beyond the grid, or energies lie there."""
    grid = np.arange(0.0, 130.0, 0.2)
    energy = low + 0.2 * np.arange(150)
    slow = smearing_matrix(grid, energy, np.full(150, std)).toarray()
    np.testing.assert_allclose(even_smearing_matrix(grid, energy, std).toarray(), slow, atol=1e-11)


def test_signal_density_integrates_to_its_stated_total():
    """The extended term's normalisation is that of the densities, efficiency and tails included."""
    response = replace(
        EXPERIMENT.response(),
        values=np.array([0.1, 0.05, 0.02, 1.0, 0.1, 0.05, 0.1, 3.0]),
        efficiency=Efficiency(E0, np.array([[0.3, 0.4]]), np.zeros((2, 2)), open_end=True),
        std_edges=np.empty(0),
        std_quantiles=np.array([[1.5]]),
    )
    grid = np.linspace(WINDOW.low_ev, WINDOW.high_ev, 2002)[:-1] + 0.01
    std = np.full(len(grid), 1.5)
    offset = response.parameter("bias_ev") + response.parameter("bias_pull") * std
    estimates = response.centre_ev + (grid - response.centre_ev) * response.gain(std) + offset
    likelihood = EndpointLikelihood(estimates, std, response, WINDOW)
    assert likelihood.electrons == len(grid)
    density, total = likelihood.signal_density(point())
    assert density.sum() * (grid[1] - grid[0]) == pytest.approx(total, rel=2e-3)


def test_nll_against_a_loop(likelihood):
    values = point(endpoint_ev=E0 + 0.7, efficiency_slope=0.3)
    signal, total = likelihood.signal_density(values)
    shares = likelihood.response.efficiency.of(np.array([E0]))[0]
    slow = values["signal"] + values["background"]
    for index in range(likelihood.electrons):
        background = shares[likelihood.label[index]] / WINDOW.width_ev
        slow -= np.log(values["signal"] * signal[index] / total + values["background"] * background)
    assert likelihood.nll(values) == pytest.approx(slow, rel=1e-12)


def test_energy_shift_and_endpoint_are_one_thing(likelihood):
    assert likelihood.nll(point(endpoint_ev=E0 + 0.5)) == pytest.approx(likelihood.nll(point(energy_shift_ev=0.5)))


def test_resolution_scale_is_interpolated(likelihood):
    constrained = likelihood.with_constraints(make_constraints({"resolution_scale": 0.1}))
    direct = EndpointLikelihood(
        likelihood.energy_ev,
        likelihood.std_ev,
        replace(likelihood.response, values=np.array([0, 0, 0, 0, np.log(1.1), 0, 0, 3.0])),
        WINDOW,
    )
    moved = constrained.nll(point(resolution_scale=1.1)) - 0.5
    assert moved == pytest.approx(direct.nll(point()), abs=0.02)
    assert abs(moved - constrained.nll(point())) > 0.1


def test_fit_finds_the_truth_and_minos_agrees(fit):
    assert fit.valid
    assert abs(fit.endpoint_ev - E0) < 3 * fit.endpoint_error_ev
    low, high = fit.interval_ev()
    assert high - low == pytest.approx(2 * fit.endpoint_error_ev, rel=0.15)


def test_profile_is_the_likelihood_at_other_endpoints(likelihood, fit):
    points = fit.endpoint_ev + np.array([-1.0, 0.0, 1.0]) * fit.endpoint_error_ev
    rise = profile(likelihood, fit, "endpoint_ev", points)
    np.testing.assert_allclose(rise, [1.0, 0.0, 1.0], atol=0.2)


def test_binned_twin_agrees(likelihood, fit):
    binned = BinnedLikelihood(likelihood.energy_ev, likelihood.std_ev, likelihood.response, WINDOW, bins=100)
    other = fit_endpoint(binned)
    assert abs(other.endpoint_ev - fit.endpoint_ev) < fit.endpoint_error_ev
    assert other.endpoint_error_ev == pytest.approx(fit.endpoint_error_ev, rel=0.3)
    assert binned.expected(fit.values).sum() == pytest.approx(fit.values["signal"] + fit.values["background"])
    assert binned.goodness(fit.values, 3)[2] > 1e-3
    # the check can fail
    assert binned.goodness({**fit.values, "endpoint_ev": fit.endpoint_ev - 8.0}, 3)[2] < 1e-3


def test_asimov_data_give_back_the_parameters(likelihood):
    binned = BinnedLikelihood(likelihood.energy_ev, likelihood.std_ev, likelihood.response, WINDOW, bins=100)
    found = fit_endpoint(binned.asimov(point()))
    assert found.endpoint_ev == pytest.approx(E0, abs=0.01)
    assert found.values["background"] == pytest.approx(16.0, rel=0.02)


def test_final_states_matter_and_are_fitted():
    near = FinalStates.from_arrays(np.array([0.0, 6.0]), np.array([0.5, 0.5]), "test")
    experiment = replace(EXPERIMENT, electrons=3000.0, physics=Physics(final_states=near))
    energy, std, _ = experiment.generate(np.random.default_rng(5))
    right = fit_endpoint(EndpointLikelihood(energy, std, experiment.response(), WINDOW, experiment.physics))
    wrong = fit_endpoint(EndpointLikelihood(energy, std, experiment.response(), WINDOW))
    assert abs(right.endpoint_ev - E0) < 3 * right.endpoint_error_ev
    assert wrong.endpoint_ev < E0 - 4 * wrong.endpoint_error_ev


def test_own_uncertainties_beat_one_common_resolution():
    experiment = Experiment(electrons=3000.0, window=FitWindow(E0 - 10.0, E0 + 20.0))
    energy, std, _ = experiment.generate(np.random.default_rng(8))
    response = experiment.response()
    own = fit_endpoint(EndpointLikelihood(energy, std, response, experiment.window))
    common = fit_endpoint(BinnedLikelihood(energy, std, response, experiment.window, bins=60))
    assert common.endpoint_error_ev > 1.1 * own.endpoint_error_ev


@settings(max_examples=15, deadline=None)
@given(slope=st.floats(-2.0, 2.0), level=st.floats(-1.0, 3.0), seed=st.integers(0, 1000))
def test_efficiency_is_recovered(slope, level, seed):
    generator = np.random.default_rng(seed)
    energy = generator.uniform(18_500.0, 18_700.0, 4000)
    true = 1 / (1 + np.exp(-level - slope * (energy - 18_600.0) / 100))
    label = (generator.random(4000) > true).astype(np.int64)
    efficiency = fit_efficiency(energy, label, 1, 18_600.0)
    found, error = efficiency.coefficients[0], np.sqrt(np.diagonal(efficiency.covariance))
    assert (np.abs(found - [level, slope]) < 5 * error).all()
    assert efficiency.slope_std() > 0


def test_efficiency_of_classes_sums_to_the_total():
    label = np.array([0, 1, 2] * 50)
    efficiency = fit_efficiency(np.linspace(18_500, 18_700, 150), label, 2, 18_600.0)
    shares = efficiency.of(np.array([18_550.0, 18_650.0]))
    np.testing.assert_allclose(shares.sum(axis=1), efficiency.total(np.array([18_550.0, 18_650.0])))
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)


def test_ideal_response_changes_nothing():
    std = np.array([0.5, 1.0, 2.0, 4.0])
    response = Response.ideal(std, 18_500.0, 18_700.0)
    energy, width = response.calibrate(np.array([18_550.0, 18_560.0, 18_570.0, 18_580.0]), std)
    np.testing.assert_allclose(energy, [18_550.0, 18_560.0, 18_570.0, 18_580.0])
    np.testing.assert_allclose(width, std)


def test_wrong_settings_are_one_sentence():
    with pytest.raises(UserError, match="empty"):
        FitWindow(2.0, 1.0)
    with pytest.raises(UserError, match="did you mean"):
        make_constraints({"resolution_scal": 0.1})
