"""The guiding centre with its gyration against the Lorentz force itself."""

import numpy as np
import pytest
from lorentz import Trajectory, integrate_lorentz

from cres.physics import CoilTrap, cyclotron_frequency_hz
from cres.physics.cyclotron import gyroradius_m

TRAP = CoilTrap(0.9587, [(0.02, -0.08, 42.0), (0.02, 0.08, 42.0)])
ENERGY = np.full(3, 18_600.0)
PITCH = np.array([88.0, 88.0, 88.5])
RADIUS = np.array([0.0, 4e-3, 6e-3])


def field(radius_m: np.ndarray, axial_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    field_z, field_rho, _ = TRAP.field.beyond_background(radius_m, axial_m)
    return 0.9587 + field_z, field_rho


@pytest.fixture(scope="module")
def trajectory() -> Trajectory:
    return integrate_lorentz(field, ENERGY, PITCH, RADIUS, 1.02e-6)


def phase_error(trajectory: Trajectory, gyroradius: bool) -> np.ndarray:
    """Phase less that of the mean carrier, after the last whole half bounce within 1 µs and more than 6 of them."""
    mean = cyclotron_frequency_hz(ENERGY, TRAP.average_field_t(ENERGY, PITCH, RADIUS, gyroradius))
    axial = TRAP.axial_frequency_hz(ENERGY, PITCH, RADIUS, gyroradius)
    whole = np.floor(2 * trajectory.times_s[-1] * axial) / (2 * axial)
    left = trajectory.angle_rad - 2 * np.pi * mean * trajectory.times_s[:, None]
    return np.array([np.interp(whole[i], trajectory.times_s, left[:, i]) for i in range(len(ENERGY))])


def test_accumulated_phase_over_a_microsecond(trajectory: Trajectory) -> None:
    assert trajectory.times_s[-1] >= 1e-6
    assert np.abs(phase_error(trajectory, gyroradius=True)).max() < 0.005  # the issue asks for 0.05


def test_the_comparison_sees_the_gyroradius(trajectory: Trajectory) -> None:
    assert np.abs(phase_error(trajectory, gyroradius=False)).max() > 0.02


def test_drift_around_the_axis(trajectory: Trajectory) -> None:
    """Azimuth of the guiding centre = position less the gyration, by a straight line; off the axis only."""
    speedup = trajectory.position_m[:, :, 0] + 1j * trajectory.position_m[:, :, 1]
    place = trajectory.position_m[:, :, 2]
    local = TRAP.field_t(np.broadcast_to(RADIUS, place.shape), place)
    centre_field = TRAP.field_t(RADIUS, 0.0)
    gyration = gyroradius_m(ENERGY, PITCH, centre_field) * np.sqrt(centre_field / local)
    centre = speedup - gyration * np.exp(1j * trajectory.angle_rad)
    expected = TRAP.drift_frequency_hz(ENERGY, PITCH, RADIUS)
    for i in (1, 2):
        axial = float(TRAP.axial_frequency_hz(ENERGY[i], PITCH[i], RADIUS[i]))
        inside = trajectory.times_s <= np.floor(trajectory.times_s[-1] * axial) / axial
        slope = np.polyfit(trajectory.times_s[inside], np.unwrap(np.angle(centre[inside, i])), 1)[0]
        assert slope / (2 * np.pi) == pytest.approx(expected[i], rel=0.1)


def test_a_uniform_field_is_exact() -> None:
    uniform = lambda radius, axial: (np.ones_like(radius), np.zeros_like(radius))  # noqa: E731
    energy = np.array([18_600.0])
    run = integrate_lorentz(uniform, energy, np.array([88.0]), np.array([3e-3]), 1e-8)
    expected = 2 * np.pi * cyclotron_frequency_hz(energy, 1.0) * run.times_s[-1]
    np.testing.assert_allclose(run.angle_rad[-1], expected, rtol=1e-12)
