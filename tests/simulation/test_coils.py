"""The coils apparatus: the differentiable motion against `cres.physics`, its gradients, an independent simulation."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cres.physics import CoilTrap, cyclotron_frequency_hz
from cres.simulation import PARAMETERS, ForwardModel, SimulationConfig
from cres.simulation.motion import Start
from cres.simulation.numerical_motion import NumericalMotion

ROOT = Path(__file__).parents[2]
CONFIG = SimulationConfig.from_yaml(ROOT / "configs/simulation/coils.yaml")
SHORT = dataclasses.replace(CONFIG, readout=dataclasses.replace(CONFIG.readout, samples=1024))
INDEPENDENT = ROOT.parent / "shared/data/independent_simulation.pkl.gz"
ENERGY, PITCH = np.full(5, 18_600.0), np.array([88.05, 88.5, 89.0, 89.5, 89.9])
RADIUS = np.array([1e-3, 6e-3, 0.0, 3e-3, 2e-3])


@pytest.mark.parametrize("gradient", [0.0, 1e-4])
def test_motion_is_that_of_physics(gradient: float) -> None:
    trap = CoilTrap(CONFIG.trap.field_t, CONFIG.trap.coils, gradient)
    start = Start(*(torch.from_numpy(values) for values in (ENERGY, np.deg2rad(PITCH), RADIUS)))
    rates = NumericalMotion(trap).solve(start).rates()
    held = np.isfinite(trap.axial_frequency_hz(ENERGY, PITCH, RADIUS))
    assert held.sum() >= 4
    axial = trap.axial_frequency_hz(ENERGY, PITCH, RADIUS)
    np.testing.assert_allclose((rates.axial / (2 * np.pi)).numpy()[held], axial[held], rtol=1e-9)
    mean = cyclotron_frequency_hz(ENERGY, trap.average_field_t(ENERGY, PITCH, RADIUS))
    received = mean - trap.drift_frequency_hz(ENERGY, PITCH, RADIUS)
    np.testing.assert_allclose((rates.carrier / (2 * np.pi)).numpy()[held], received[held], rtol=1e-12)


def test_period_is_periodic_and_reaches_the_turning_points() -> None:
    trap = CoilTrap(CONFIG.trap.field_t, CONFIG.trap.coils)
    start = Start(*(torch.from_numpy(values) for values in (ENERGY, np.deg2rad(PITCH), RADIUS)))
    phases = torch.tensor([0.0, np.pi / 2, np.pi, 2 * np.pi, -3 * np.pi / 2], dtype=torch.float64)
    period = NumericalMotion(trap).solve(start).period(phases)
    turning = torch.from_numpy(trap.turning_point_m(ENERGY, PITCH, RADIUS))
    expected = torch.stack([0 * turning, turning, 0 * turning, 0 * turning, turning], 1)
    torch.testing.assert_close(period.axial_m, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(period.phase, torch.zeros_like(period.phase), rtol=0, atol=1e-6)


def test_jacobian_against_central_differences() -> None:
    """All parameters of the motion in one batch: differences of the sixth order."""
    model = ForwardModel(SHORT)
    point = torch.tensor([18_600.0, 88.3, 2e-3, 0.4, 1.0, 1.0], dtype=torch.float64)
    steps = {"energy_ev": 0.2, "pitch_angle_deg": 1e-4, "radius_m": 1e-4, "axial_phase_rad": 3e-3}
    _, jacobian = model.jacobian(point[None])
    shifts = torch.zeros(len(steps), 6, dtype=torch.float64)
    for row, (name, step) in enumerate(steps.items()):
        shifts[row, PARAMETERS.index(name)] = step
    places = torch.tensor([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    weights = torch.tensor([-1.0, 9.0, -45.0, 45.0, -9.0, 1.0], dtype=torch.float64) / 60
    series = model((point + places[:, None, None] * shifts).flatten(0, 1)).unflatten(0, (6, len(steps)))
    for row, (name, step) in enumerate(steps.items()):
        expected = (weights[:, None] * series[:, row]).sum(0) / step
        derivative = jacobian[0, PARAMETERS.index(name)]
        assert float((derivative - expected).norm() / expected.norm()) < 1e-6, name


def test_reverse_mode_agrees_with_the_jacobian() -> None:
    model = ForwardModel(dataclasses.replace(CONFIG, readout=dataclasses.replace(CONFIG.readout, samples=64)))
    point = torch.tensor([[18_600.0, 88.6, 3e-3, 0.4, 1.0, 1.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(point).real.sum(), point)
    expected = model.jacobian(point.detach())[1].real.sum(-1)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=0)


def test_ninety_degrees_stays_finite() -> None:
    series = ForwardModel(SHORT)(torch.tensor([[18_600.0, 90.0, 3e-3, 0.0, 0.0, 1.0]], dtype=torch.float64))
    assert torch.isfinite(series.real).all()


@pytest.mark.skipif(not INDEPENDENT.exists(), reason="the independent simulation is not at hand")
def test_an_independent_simulation_agrees() -> None:
    """Guiding centre without gyration: axial frequency to 1e-7, the spectrum's peak to half a record's chirp."""
    frame = pd.read_pickle(INDEPENDENT)
    start = tuple(frame[name].to_numpy() for name in ("energy_eV", "pitch_angle_deg", "radius_m"))
    trap = CoilTrap(CONFIG.trap.field_t, CONFIG.trap.coils)
    axial = trap.axial_frequency_hz(*start, gyroradius=False)
    np.testing.assert_allclose(axial, frame["avg_axial_frequency_Hz"], rtol=1e-7)
    carrier = cyclotron_frequency_hz(start[0], trap.average_field_t(*start, gyroradius=False))
    for row, expected in zip(frame.itertuples(), carrier, strict=True):
        series = (row.output_ts_I + 1j * row.output_ts_Q) * np.hanning(8192)
        frequencies = np.fft.fftfreq(2**17, 1 / 403e6) + 25.9702e9
        power = np.abs(np.fft.fft(series, 2**17)) * (np.abs(frequencies - expected) < 1e6)
        assert 0 < frequencies[power.argmax()] - expected < 12e3
