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

    join = min(loss_ev, 14.09)
    return quad(density, 0, join)[0] + quad(density, join, loss_ev, limit=500)[0]


def test_the_energy_loss_is_a_density_and_its_quantile_the_inverse() -> None:
    assert share_below(9300.0) == pytest.approx(1, abs=1e-9)
    for share, loss in zip(SHARES, np.asarray(gas.energy_loss_quantile_ev(SHARES)), strict=True):
        assert share_below(loss) == pytest.approx(share, abs=1e-9)
    # the published parameters are normalised by themselves, and both parts meet where they are joined
    below, above = gas._areas(18_600.0)
    assert below + above == pytest.approx(1, abs=0.01)
    assert gas.energy_loss_density_per_ev(14.0899) == pytest.approx(gas.energy_loss_density_per_ev(14.0901), rel=0.01)


def test_cross_sections_add_up_to_the_published_total() -> None:
    elastic = gas.elastic_cross_section_m2(18_600.0)
    assert elastic == pytest.approx(2.9e-23, rel=0.03)  # Liu 1987
    assert elastic + gas.inelastic_cross_section_m2(18_600.0) == pytest.approx(3.7e-22, rel=0.01)
    assert gas.mean_track_time_s(18_600.0, 1e18) == pytest.approx(1 / (1e18 * 3.69e-22 * 7.875e7), rel=2e-3)
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
