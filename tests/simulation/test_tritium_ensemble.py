"""Energies of the tritium ensemble follow the spectrum up to the endpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cres.errors import UserError
from cres.physics.beta import beta_spectrum_rate
from cres.physics.final_states import FinalStates
from cres.simulation import SimulationConfig, sample_electrons

CONFIG = Path(__file__).parents[2] / "configs" / "simulation" / "tritium.yaml"


def ensemble(**changes: float | str) -> SimulationConfig:
    plain = SimulationConfig.from_yaml(CONFIG).to_dict()
    plain["ensemble"] |= changes
    return SimulationConfig.from_dict(plain)


def energies_ev(count: int = 20_000, **changes: float | str) -> np.ndarray:
    return sample_electrons(ensemble(**changes), count, seed=3).energy_ev


def distance_from_spectrum(energy_ev: np.ndarray, endpoint_ev: float) -> float:
    """p-value of the Kolmogorov–Smirnov test against the integrated rate."""
    grid = np.linspace(18_500, endpoint_ev, 5001)
    rate = beta_spectrum_rate(grid, endpoint_ev, 0.0, final_states=FinalStates.t2())
    total = np.concatenate([[0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    return float(stats.kstest(energy_ev, lambda e: np.interp(e, grid, total / total[-1])).pvalue)


def test_energies_follow_the_spectrum_of_the_config() -> None:
    assert distance_from_spectrum(energies_ev(), 18_574.1) > 1e-3


def test_the_check_sees_an_endpoint_one_ev_off() -> None:
    assert distance_from_spectrum(energies_ev(200_000), 18_575.1) < 1e-3


def test_the_check_sees_final_states_that_are_left_out() -> None:
    assert distance_from_spectrum(energies_ev(final_states="none"), 18_574.1) < 1e-6


def test_final_states_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="no file of this name"):
        ensemble(final_states="T3")


def test_no_electron_above_the_endpoint_but_background() -> None:
    assert energies_ev().max() < 18_574.1
    above = (energies_ev(background_fraction=0.5) > 18_574.1).mean()
    assert above == pytest.approx(0.5 * (18_700 - 18_574.1) / 200, abs=0.02)


def test_an_endpoint_below_the_window_is_refused() -> None:
    with pytest.raises(UserError, match="endpoint_ev"):
        ensemble(endpoint_ev=18_000.0)
    with pytest.raises(UserError, match="background_fraction"):
        ensemble(background_fraction=1.5)
