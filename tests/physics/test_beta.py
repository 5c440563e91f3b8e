"""The beta spectrum its limits, the published sizes of its corrections, and its samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest

from cres.physics.beta import T2_ENDPOINT_EV, beta_quantile, beta_spectrum_rate, sample_beta_spectrum
from cres.physics.final_states import FinalStates

E0 = T2_ENDPOINT_EV
STATES = FinalStates.from_arrays(np.array([0.0, 0.4, 25.0]), np.array([0.3, 0.3, 0.4]), "test")


def test_half_life_comes_out():
    # 12.32 ± 0.02 years (Lucas and Unterweger 2000); the matrix element is that of Kleesiek et al., good to some %
    total = quad(lambda k: float(beta_spectrum_rate(k, E0)), 1, E0, limit=300)[0]
    assert np.log(2) / total / 3.15576e7 == pytest.approx(12.32, rel=0.03)


def test_last_electronvolt():
    # physics.md: 2.9e-13 of the decays with the Fermi function, and an integral that grows with the third power
    def integral(width, **kwargs):
        return quad(lambda k: float(beta_spectrum_rate(k, E0, **kwargs)), E0 - width, E0, epsrel=1e-12)[0]

    total = quad(lambda k: float(beta_spectrum_rate(k, E0)), 1, E0, limit=300)[0]
    assert integral(1.0) / total == pytest.approx(2.9e-13, rel=0.02)
    assert integral(1.0, corrections=()) / integral(0.5, corrections=()) == pytest.approx(8, rel=1e-4)


def test_edge_of_a_massive_neutrino():
    assert beta_spectrum_rate(E0 - 1.999, E0, 2.0) == 0
    assert beta_spectrum_rate(E0 - 2.001, E0, 2.0) > 0
    near, far = beta_spectrum_rate(np.array([E0 - 2.0001, E0 - 2.0004]), E0, 2.0, corrections=())
    assert far / near == pytest.approx(2, rel=1e-3)  # the rate rises like the root of the distance to the edge


@pytest.mark.parametrize(
    ("name", "change", "tolerance"),
    # physics.md, from E₀ − 200 to E₀ − 1 eV
    [("radiative", -6.0e-4, 0.1e-4), ("screening", 1.7e-5, 0.1e-5)]
    + [(name, 0.0, 1e-6) for name in ("recoil", "coulomb_recoil", "exchange", "finite_nucleus")],
)
def test_published_sizes_of_corrections(name, change, tolerance):
    energies = np.array([E0 - 200, E0 - 1])
    factor = beta_spectrum_rate(energies, E0, corrections=(name,)) / beta_spectrum_rate(energies, E0, corrections=())
    assert abs(factor[1] / factor[0] - 1 - change) < tolerance


def test_phase_space_and_fermi_function_change_as_published():
    energies = np.array([E0 - 200, E0 - 1])
    rate = beta_spectrum_rate(energies, E0, corrections=()) / (E0 - energies) ** 2
    assert rate[1] / rate[0] - 1 == pytest.approx(5.9e-3 - 8.4e-4, rel=0.02)


@given(
    low=st.floats(1.0, 400.0),
    mass_squared=st.floats(-100.0, 100.0),
    shift=st.floats(-50.0, 50.0),
)
def test_never_negative_and_zero_beyond_the_endpoint(low, mass_squared, shift):
    energies = np.linspace(E0 - low, E0 + 50, 60)
    rate = beta_spectrum_rate(energies, E0 + shift, neutrino_mass_squared_ev2=mass_squared)
    assert (rate >= 0).all()
    assert (rate[energies >= E0 + shift] == 0).all()
    assert np.isfinite(rate).all()


def test_broadcasting():
    rate = beta_spectrum_rate(np.linspace(E0 - 10, E0, 5)[:, None], np.array([E0, E0 + 1]), 0.0)
    assert rate.shape == (5, 2)
    assert beta_spectrum_rate(E0 - 10, E0).shape == ()


@pytest.mark.parametrize(
    "wrong", [{"corrections": ("screning",)}, {"corrections": "radiative"}, {"neutrino_mass_ev": -1.0}]
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=r"screning|collection|negative"):
        beta_spectrum_rate(E0 - 10, E0, **wrong)


def test_mass_and_its_square_exclude_each_other():
    with pytest.raises(ValueError, match="not both"):
        beta_spectrum_rate(E0 - 10, E0, 1.0, neutrino_mass_squared_ev2=1.0)


@pytest.mark.parametrize("final_states", [None, STATES])
def test_samples_follow_the_spectrum(final_states):
    low = E0 - 60
    sample = sample_beta_spectrum(16_000, low, E0 + 100, E0, np.random.default_rng(1), final_states=final_states)
    grid = np.linspace(low, E0, 4001)
    cumulative = np.cumsum(beta_spectrum_rate(grid, E0, final_states=final_states))
    assert kstest(sample, lambda x: np.interp(x, grid, cumulative / cumulative[-1])).pvalue > 0.01
    # the check can fail: an endpoint 4 eV off is told
    moved = np.cumsum(beta_spectrum_rate(grid, E0 - 4, final_states=final_states))
    assert kstest(sample, lambda x: np.interp(x, grid, moved / moved[-1])).pvalue < 0.01


def test_quantile_is_exact_where_the_integral_is_known():
    # without corrections the rate is (E₀ − K)² times 1e-4 of slope: the quantile is a cube root
    probability = np.array([0.0, 1e-3, 0.3, 0.999, 1.0])
    energy = beta_quantile(probability, E0 - 1.0, E0, E0, corrections=())
    np.testing.assert_allclose(E0 - energy, (1 - probability) ** (1 / 3), rtol=1e-4, atol=1e-4)


def test_background_and_independence_of_count():
    few = sample_beta_spectrum(10, E0 - 50, E0 + 50, E0, np.random.default_rng(3), background_fraction=0.5)
    many = sample_beta_spectrum(3000, E0 - 50, E0 + 50, E0, np.random.default_rng(3), background_fraction=0.5)
    np.testing.assert_array_equal(few, many[:10])
    assert np.mean(many > E0) == pytest.approx(0.25, abs=0.03)


def test_empty_window_is_refused():
    with pytest.raises(ValueError, match="no electron"):
        sample_beta_spectrum(3, E0 + 1, E0 + 10, E0, np.random.default_rng(0))
