import dataclasses

import numpy as np
import pytest
import torch

from cres import schema
from cres.simulation import PARAMETERS, Electrons, ForwardModel, SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.parameters import parameters_of

CONFIG = SimulationConfig.default()
SHORT = dataclasses.replace(CONFIG, readout=dataclasses.replace(CONFIG.readout, samples=2048))


def parameters(electrons: Electrons) -> torch.Tensor:
    return parameters_of(electrons)


def test_the_fast_path_is_the_forward_model() -> None:
    electrons = sample_electrons(CONFIG, 12, 3)
    columns = simulate_columns(CONFIG, electrons)
    expected = ForwardModel(CONFIG)(parameters(electrons)).numpy()
    fast = columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]
    assert np.abs(fast - expected).max() < 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("energy_ev", 0.02),
        ("pitch_angle_deg", 1e-5),
        ("radius_m", 3e-5),
        ("start_phase_rad", 1e-2),
        ("axial_phase_rad", 3e-3),
        ("amplitude", 1e-2),
    ],
)
def test_jacobian_against_central_differences(name: str, step: float) -> None:
    """Richardson-extrapolated central differences, to 1e-6 of the derivative's norm."""
    model = ForwardModel(SHORT)
    # 3.4 mm is where the amplitude does not depend on the radius: a vanishing derivative has no relative error
    electrons = sample_electrons(SHORT, 6, 1)
    radius = np.array([0.5e-3, 1e-3, 2e-3, 4.5e-3, 5.5e-3, 6.3e-3])
    point = parameters(dataclasses.replace(electrons, radius_m=radius))
    index = PARAMETERS.index(name)
    _, jacobian = model.jacobian(point)
    shift = torch.zeros(6, dtype=torch.float64)
    shift[index] = step

    def difference(scale: float) -> torch.Tensor:
        return (model(point + scale * shift) - model(point - scale * shift)) / (2 * scale * step)

    expected = (64 * difference(0.25) - 20 * difference(0.5) + difference(1.0)) / 45
    error = (jacobian[:, index] - expected).norm(dim=1) / expected.norm(dim=1)
    assert float(error.max()) < 1e-6


def test_jacobian_brings_the_series_and_survives_any_batch() -> None:
    model = ForwardModel(SHORT)
    point = parameters(sample_electrons(SHORT, 11, 4))
    series, jacobian = model.jacobian(point)
    torch.testing.assert_close(series, model(point), rtol=0, atol=1e-12)
    torch.testing.assert_close(jacobian[9:10], model.jacobian(point[9:10])[1], rtol=1e-9, atol=1e-9)


def test_reverse_mode_agrees_with_the_jacobian() -> None:
    model = ForwardModel(SHORT)
    point = parameters(sample_electrons(SHORT, 2, 8)).requires_grad_()
    series = model(point)
    weight = torch.randn(series.shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((series * weight).real.sum(), point)
    _, jacobian = model.jacobian(point.detach())
    expected = (jacobian * weight[:, None]).real.sum(-1)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-8)


def test_derivatives_are_finite_at_ninety_degrees_and_on_the_axis() -> None:
    point = torch.tensor([[18_600.0, 90.0, 0.0, 0.1, 0.2, 1.0]], dtype=torch.float64)
    series, jacobian = ForwardModel(SHORT).jacobian(point)
    assert torch.isfinite(series.real).all()
    assert torch.isfinite(torch.view_as_real(jacobian)).all()
