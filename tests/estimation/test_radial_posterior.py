"""The posterior over the radius: its integrals against what is known, and real electrons between two coils."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from cres import schema
from cres.estimation.apparatus import Apparatus, RadialStrength
from cres.estimation.likelihood import Likelihood
from cres.estimation.radial_posterior import RadialEstimator, central_interval, mended, posterior_of
from cres.estimation.search import MatchedFilter
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns

CONFIG = Path(__file__).parents[2] / "configs" / "simulation" / "coils.yaml"
NODES_M = torch.linspace(0.4e-3, 6.4e-3, 9, dtype=torch.float64)


def likelihood() -> Likelihood:
    one = torch.ones(1, dtype=torch.float64)
    return Likelihood(torch.zeros(1, 6).double(), torch.eye(5)[None].double(), *[one] * 6, one > 0, one)


def curves(strength: float, slope_ev_per_m: float, tilt: float = 0.0) -> dict[str, torch.Tensor]:
    """A record of norm sin(πρ/6.8 mm)·100, the energy linear in the radius; tilt favours outer radii in χ²."""
    norm = 100 * torch.sin(torch.pi * NODES_M / 6.8e-3)[None]
    one = torch.ones_like(norm)
    covariance = torch.diag(torch.tensor([0.03**2, 1e-8, 1.0], dtype=torch.float64)).expand(1, len(NODES_M), 3, 3)
    return {
        "chi_square": -tilt * NODES_M[None] / 1e-3,
        "energy": 18600 + slope_ev_per_m * NODES_M[None],
        "pitch": 89 * one,
        "strength": strength * one,
        "norm": norm,
        "half_logdet": 0 * one,
        "covariance": covariance,
    }


TABLE = RadialStrength(NODES_M, 100 * torch.sin(torch.pi * NODES_M / 6.8e-3))


def test_two_radii_of_one_strength_are_two_solutions() -> None:
    found = posterior_of(curves(80.0, 1000.0), NODES_M, TABLE, likelihood())
    inner = 6.8e-3 / np.pi * np.arcsin(0.8)
    radii = (inner, 6.8e-3 - inner)
    for solution, radius in zip((found.inner, found.outer), radii, strict=True):
        assert float(solution.radius_m) == pytest.approx(radius, abs=0.02e-3)
        assert float(solution.energy_ev) == pytest.approx(18600 + 1000 * radius, abs=0.02)
        # the same width in radius: the prior uniform in area decides
        assert float(solution.weight) == pytest.approx(radius / sum(radii), abs=0.02)
    assert bool(found.two_solutions)
    assert float(found.energy_std_ev) > 0.4 * 1000 * (radii[1] - radii[0])


def test_the_data_can_decide_for_one_radius() -> None:
    found = posterior_of(curves(80.0, 1000.0, tilt=-6.0), NODES_M, TABLE, likelihood())
    assert float(found.inner.weight) > 0.99
    assert not found.two_solutions
    assert float(found.energy_std_ev) < 0.2


def test_the_interval_of_a_mixture_is_that_of_its_distribution() -> None:
    means, spreads = np.array([0.0, 3.0]), np.array([0.5, 1.0])
    weights = np.array([0.3, 0.7])
    median, half = central_interval(*(torch.from_numpy(values)[None] for values in (means, spreads, weights)))
    grid = np.linspace(-6, 9, 200_001)
    cumulative = (weights * stats.norm.cdf(grid[:, None], means, spreads)).sum(1)
    low, middle, high = np.interp([0.15865, 0.5, 0.84135], cumulative, grid)
    assert float(median) == pytest.approx(middle, abs=1e-4)
    assert float(half) == pytest.approx((high - low) / 2, abs=1e-4)


@pytest.mark.slow
def test_electrons_between_coils_are_where_the_posterior_says() -> None:
    """Needs a minute: the field of the coils is integrated for every template and fit."""
    config = SimulationConfig.from_yaml(CONFIG)
    apparatus = Apparatus.from_config(config)
    columns = simulate_columns(config, sample_electrons(config, 40, seed=5))
    chosen = np.flatnonzero(columns["sideband_snr"] >= 25)
    clean = torch.from_numpy(columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]).to(torch.complex128)[chosen]
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(*clean.shape, 2, dtype=torch.float64, generator=generator) * apparatus.noise_std_volt
    found = RadialEstimator(MatchedFilter(apparatus)).estimate(clean + torch.view_as_complex(noise))
    pull = (found.energy_ev.numpy() - columns["energy_eV"][chosen]) / found.energy_std_ev.numpy()
    assert 0.4 < np.mean(np.abs(pull) < 1) < 0.95
    assert np.mean(np.abs(pull) > 4) < 0.1
    assert found.two_solutions.double().mean() > 0.5
    assert found.likelihood.failed.double().mean() < 0.1


def test_a_node_whose_fit_broke_down_is_taken_from_the_nearest_and_an_electron_without_any_is_lost() -> None:
    node = torch.arange(8.0, dtype=torch.float64).repeat(3, 1)
    covariance = torch.eye(3, dtype=torch.float64).expand(3, 8, 3, 3).clone()
    half_logdet = node.clone()
    half_logdet[1, 5] = torch.nan
    covariance[1, 0, 2, 2] = torch.inf
    half_logdet[2] = torch.nan
    found = mended({"energy": node, "half_logdet": half_logdet, "covariance": covariance})
    torch.testing.assert_close(found["energy"][0], node[0])
    assert found["energy"][1].tolist() == [1, 1, 2, 3, 4, 4, 6, 7]
    assert found["covariance"][:2].isfinite().all()
    assert all(bool(values[2].isnan().all()) for values in found.values())
