"""The drift of the pitch angle with the loss: what radiation into the cavity and into free space leaves alone."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import constants

from cres.physics.constants import ELECTRON_MASS_EV
from cres.simulation import SimulationConfig
from cres.simulation.config import LossConfig
from cres.simulation.motion import Start
from cres.simulation.track import TrackModel

ENERGY_EV, PITCH_DEG, RADIUS_M = 18_600.0, 88.4, 3e-3
STEP_EV = 1e-2


def momentum_ev(energy_ev: float) -> float:
    return math.sqrt(energy_ev * (energy_ev + 2 * ELECTRON_MASS_EV))


def sin2_after(kind: str, field_ratio: np.ndarray) -> np.ndarray:
    """sin²θ at the trap's centre after the loss of STEP_EV at places of a field B/B₀, from the momenta there."""
    before, after = momentum_ev(ENERGY_EV), momentum_ev(ENERGY_EV - STEP_EV)
    across2 = before**2 * math.sin(math.radians(PITCH_DEG)) ** 2 * field_ratio
    along = np.sqrt(before**2 - across2)
    if kind == "free_space":  # v along the field stays, and with it p/γ
        along = along * (ENERGY_EV - STEP_EV + ELECTRON_MASS_EV) / (ENERGY_EV + ELECTRON_MASS_EV)
    return (after**2 - along**2) / after**2 / field_ratio


@pytest.mark.parametrize("kind", ["cavity", "free_space"])
def test_the_pitch_drift_follows_from_the_momentum_that_stays(kind: str) -> None:
    model = TrackModel(dataclasses.replace(SimulationConfig.default(), loss=LossConfig(kind)))
    one = torch.ones(1, dtype=torch.float64)
    start = Start(ENERGY_EV * one, math.radians(PITCH_DEG) * one, RADIUS_M * one)
    bounce = model.bounce(start)
    ratio, power = bounce.period.field_ratio[0].numpy(), bounce.power[0].numpy()
    inside = ratio * math.sin(math.radians(PITCH_DEG)) ** 2 < 1
    change = (sin2_after(kind, ratio[inside]) - math.sin(math.radians(PITCH_DEG)) ** 2) / STEP_EV
    # per eV lost at each place, times eV/s lost there
    sin2_rate = float((change * power[inside]).sum() / len(ratio))
    expected = sin2_rate / math.sin(2 * math.radians(PITCH_DEG))
    found = float(model.moment(start, 0.3 * one).pitch_rate[0])
    assert found == pytest.approx(expected, rel=2e-4)
    assert found != 0


def test_free_space_loses_its_power_everywhere_alike() -> None:
    # P = e⁴B²(γβ)² sin²θ/(6πε₀m²c), Phys. Rev. C 99 055501, eq. 3
    model = TrackModel(dataclasses.replace(SimulationConfig.default(), loss=LossConfig("free_space", 2.0)))
    one = torch.ones(1, dtype=torch.float64)
    bounce = model.bounce(Start(ENERGY_EV * one, math.radians(PITCH_DEG) * one, RADIUS_M * one))
    across = SimulationConfig.default().trap.field_t * math.sin(math.radians(PITCH_DEG)) * momentum_ev(ENERGY_EV)
    charge, mass = constants.elementary_charge, constants.electron_mass
    unit = charge**4 / (6 * math.pi * constants.epsilon_0 * mass**2 * constants.speed_of_light) / charge
    expected = 2 * unit * (across / ELECTRON_MASS_EV) ** 2
    assert bounce.power[0].tolist() == pytest.approx([expected] * bounce.power.shape[1], rel=1e-6)
