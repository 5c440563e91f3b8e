"""Scattering on tritium: areas, inverses and published totals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from cres.physics import gas

SHARES = np.array([1e-3, 0.1, 0.3, 0.44, 0.46, 0.7, 0.95, 0.999])


def share_below(loss_ev: float) -> float:
    def density(loss: float) -> float:
        return float(gas.energy_loss_density_per_ev(loss))

    join = min(loss_ev, gas.IONISATION_EV)
    return quad(density, 8, join, points=(12, 12.8, 15), limit=200)[0] + quad(density, join, loss_ev, limit=500)[0]


def test_the_energy_loss_is_a_density_and_its_quantile_the_inverse() -> None:
    assert share_below(9300.0) == pytest.approx(1, abs=1e-5)
    for share, loss in zip(SHARES, np.asarray(gas.energy_loss_quantile_ev(SHARES)), strict=True):
        assert share_below(loss) == pytest.approx(share, abs=2e-5)
    assert gas.energy_loss_density_per_ev(15.4869) == pytest.approx(gas.energy_loss_density_per_ev(15.4871), rel=0.01)


def test_published_parameters_of_the_energy_loss_are_normalised_by_themselves() -> None:
    # Aker et al. 2021 normalise their model; a wrong digit in an amplitude, a place or a width would show here
    assert gas._loss_table(18_600.0)[2] == pytest.approx(1, abs=0.004)
    # Kim and Rudd 1994: the oscillator strength of the continuum of H₂ is 1.173
    strength = sum(c / power for power, c in enumerate(gas._OSCILLATOR, start=2))
    assert strength == pytest.approx(1.173, abs=0.001)


def test_cross_sections_add_up_to_the_published_total() -> None:
    elastic = gas.elastic_cross_section_m2(18_600.0)
    assert elastic == pytest.approx(2.9e-23, rel=0.03)  # Liu 1987
    # Liu 1987, eq. 6: 4πa₀² (R/T) [1.5487 ln(T/R) + 2.2212], T = mv²/2
    energy = 0.5 * 510_998.95 * (1 - (1 + 18_600 / 510_998.95) ** -2) / 13.605693
    bethe = 4 * np.pi * 5.29177e-11**2 / energy * (1.5487 * np.log(energy) + 2.2212)
    assert gas.inelastic_cross_section_m2(18_600.0) == pytest.approx(bethe, rel=2e-3)
    assert gas.mean_track_time_s(18_600.0, 1e18) == pytest.approx(1 / (1e18 * 3.915e-22 * 7.875e7), rel=2e-3)
    assert gas.mean_track_time_s(18_600.0, 1e18, elastic=False) > gas.mean_track_time_s(18_600.0, 1e18)


def test_elastic_angles_follow_the_born_amplitude() -> None:
    """Integrated in small steps of the solid angle."""
    wavenumber = np.sqrt(18_600.0 * (18_600 + 2 * 510_998.95)) * 137.035999 / 510_998.95
    edges = np.concatenate([np.linspace(0, 0.5, 200_001), np.linspace(0.5, np.pi, 20_001)[1:]])
    middle = (edges[1:] + edges[:-1]) / 2
    square = (2 * wavenumber * np.sin(middle / 2)) ** 2
    weight = ((8 + square) / (4 + square) ** 2) ** 2 * (np.cos(edges[:-1]) - np.cos(edges[1:]))
    below = np.interp(gas.elastic_angle_quantile_rad(SHARES, 18_600.0), edges, np.append(0, np.cumsum(weight)))
    np.testing.assert_allclose(below / weight.sum(), SHARES, atol=5e-4)


def test_inelastic_angles_are_lorentzian_up_to_the_ridge() -> None:
    characteristic = 13.0 * (18_600 + 510_998.95) / (18_600 * (18_600 + 2 * 510_998.95))
    angle = np.asarray(gas.inelastic_angle_quantile_rad([0.0, 0.5, 1.0], 18_600.0, 13.0))
    np.testing.assert_allclose(angle[[0, 2]], [0, np.sqrt(13 / 18_600)], atol=1e-12)
    # half of ln(1 + x²) up to the ridge
    half = np.log(1 + (angle[1] / characteristic) ** 2) / np.log(1 + (angle[2] / characteristic) ** 2)
    assert half == pytest.approx(0.5)
