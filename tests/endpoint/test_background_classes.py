"""The flat background falls into classes of stated uncertainty as they are filled, however unequally."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cres.endpoint.efficiency import Efficiency
from cres.endpoint.likelihood import NUISANCES, PARAMETERS, EndpointLikelihood, FitWindow, background_density
from cres.endpoint.pseudo import Experiment

WINDOW = FitWindow(18_540.0, 18_600.0)
SHARES = np.array([0.6, 0.3, 0.1])


def density(efficiency: Efficiency) -> np.ndarray:
    response = replace(Experiment(electrons=10.0, window=WINDOW).response(), efficiency=efficiency)
    return background_density(response, WINDOW)


def test_classes_hold_their_shares_of_the_background() -> None:
    found = density(Efficiency.constant(SHARES, 18_570.0))
    np.testing.assert_allclose(found, SHARES / WINDOW.width_ev, rtol=1e-12)


def test_shares_are_averaged_over_the_window_and_add_up_to_one_electron() -> None:
    # the first class grows with energy, and a part of the electrons passes no cut
    sloped = Efficiency(18_570.0, np.array([[0.5, 2.0], [0.0, 0.0]]), np.zeros((4, 4)), open_end=True)
    energy = np.linspace(WINDOW.low_ev, WINDOW.high_ev, 20_001)
    first, second = np.exp(0.5 + 2.0 * (energy - 18_570.0) / 100), np.ones_like(energy)
    shares = np.array([np.mean(part / (first + second + 1)) for part in (first, second)])
    found = density(sloped)
    np.testing.assert_allclose(found, shares / shares.sum() / WINDOW.width_ev, rtol=2e-3)
    assert found.sum() * WINDOW.width_ev == pytest.approx(1.0)


def test_a_positive_slope_of_the_efficiency_favours_high_energies() -> None:
    experiment = Experiment(electrons=300.0, window=WINDOW)
    energy, std, _ = experiment.generate(np.random.default_rng(2))
    likelihood = EndpointLikelihood(energy, std, experiment.response(), WINDOW)
    values = dict.fromkeys(PARAMETERS, 0.0) | NUISANCES | {"endpoint_ev": 18_575.0, "signal": 300.0}
    flat, sloped = (likelihood.signal_density(values | {"efficiency_slope": slope}) for slope in (0.0, 0.5))
    # below the endpoint; above it nothing but the resolution's tail is left to divide by
    order = np.argsort(likelihood.calibrated_ev)
    order = order[likelihood.calibrated_ev[order] < 18_565.0]
    ratio = (sloped[0] / sloped[1])[order] / (flat[0] / flat[1])[order]
    assert ratio[-5:].mean() > ratio[:5].mean() * 1.02
