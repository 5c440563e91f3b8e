"""The harmonic trap with its radius: the differentiable motion against `cres.physics`, its phase against quadrature."""

from __future__ import annotations

import numpy as np
import torch

from cres.physics import HarmonicTrap, cyclotron_frequency_hz
from cres.simulation.motion import HarmonicMotion, Start

TRAP, MOTION = HarmonicTrap(0.957, 0.5), HarmonicMotion(0.957, 0.5)
ENERGY, PITCH = np.full(4, 18_600.0), np.array([88.0, 88.9, 89.7, 90.0])
RADIUS = np.array([0.0, 2e-3, 4e-3, 6e-3])


def orbit(**values: np.ndarray) -> object:
    start = {"energy_ev": ENERGY, "pitch_rad": np.deg2rad(PITCH), "radius_m": RADIUS} | values
    return MOTION.solve(Start(*(torch.from_numpy(value) for value in start.values())))


def test_the_motion_is_that_of_physics_off_the_axis_and_with_gyration() -> None:
    rates = orbit().rates()
    mean = cyclotron_frequency_hz(ENERGY, TRAP.average_field_t(ENERGY, PITCH, RADIUS))
    drift = TRAP.drift_frequency_hz(ENERGY, PITCH, RADIUS)
    np.testing.assert_allclose(rates.carrier / (2 * np.pi), mean - drift, rtol=1e-13)
    np.testing.assert_allclose(rates.axial / (2 * np.pi), TRAP.axial_frequency_hz(ENERGY, PITCH, RADIUS), rtol=1e-12)
    np.testing.assert_allclose(orbit().drift_rad_per_s() / (2 * np.pi), drift, rtol=1e-12)
    top = orbit().period(torch.full((4, 1), np.pi / 2, dtype=torch.float64)).axial_m[:, 0]
    np.testing.assert_allclose(top, TRAP.turning_point_m(ENERGY, PITCH, RADIUS), atol=1e-12)


def test_the_phase_is_the_integral_of_the_field_along_the_bounce() -> None:
    phases = torch.linspace(0, 2 * np.pi, 20_001, dtype=torch.float64)
    period, rates = orbit().period(phases), orbit().rates()
    field = period.field_ratio.numpy()
    excess = field / field[:, :-1].mean(1, keepdims=True) - 1
    # ω_c of the mean field; the drift is not part of what turns along the bounce
    carrier = (rates.carrier + orbit().drift_rad_per_s()).numpy()[:, None]
    step = 2 * np.pi / 20_000 / rates.axial.numpy()[:, None]
    sums = np.cumsum((excess[:, 1:] + excess[:, :-1]) / 2 * carrier * step, 1)
    np.testing.assert_allclose(period.phase.numpy()[:, 1:], sums, atol=1e-5)


def test_derivatives_by_the_radius_are_there_and_finite_at_ninety_degrees() -> None:
    radius = torch.from_numpy(RADIUS).requires_grad_()
    start = Start(torch.from_numpy(ENERGY), torch.from_numpy(np.deg2rad(PITCH)), radius)
    (slope,) = torch.autograd.grad(MOTION.solve(start).rates().carrier.sum(), radius)
    expected = -cyclotron_frequency_hz(ENERGY, 0.957) * 2 * np.pi * RADIUS / 0.5**2
    np.testing.assert_allclose(slope, expected, rtol=0.02, atol=1)
