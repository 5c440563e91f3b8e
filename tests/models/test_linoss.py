"""The oscillators as a convolution against their recurrences step by step in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cres.errors import UserError
from reconstruction.models import optimizer_groups
from reconstruction.models.encoders.linoss import Discretisation, LinOSSEncoder, OscillatoryStateSpace, impulse


def oscillate(driven: Tensor, a: Tensor, dt: Tensor, discretisation: Discretisation) -> Tensor:
    """The equations of motion as the paper discretises them, solved for one step after the other."""
    z, x = torch.zeros_like(driven[..., 0]), torch.zeros_like(driven[..., 0])
    positions = []
    for force in driven.unbind(-1):
        z = z + dt * (force - a * x)
        if discretisation == "im":  # x_n = x + Δ z_n in z_n = z + Δ (−A x_n + f), solved for z_n
            z = z / (1 + dt**2 * a)
        x = x + dt * z
        positions.append(x)
    return torch.stack(positions, dim=-1)


@settings(max_examples=40, deadline=None)
@given(
    a=st.floats(1e-4, 1e3),
    dt=st.floats(1e-3, 1),
    length=st.integers(1, 90),
    discretisation=st.sampled_from(["im", "imex"]),
)
def test_the_impulse_is_that_of_the_equations_of_motion(
    a: float, dt: float, length: int, discretisation: Discretisation
) -> None:
    if discretisation == "imex":
        a = min(a, 3.9 / dt**2)
    frequency, step = torch.tensor([a], dtype=torch.float64), torch.tensor([dt], dtype=torch.float64)
    weight, exponent = impulse(frequency, step, discretisation)
    closed = 2 * (weight[:, None] * torch.exp(exponent[:, None] * torch.arange(length))).real
    unit = torch.nn.functional.pad(torch.ones(1, 1, dtype=torch.float64), (0, length - 1))
    expected = oscillate(unit, frequency, step, discretisation)
    torch.testing.assert_close(closed, expected, rtol=1e-7, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("discretisation", ["im", "imex"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_convolution_equals_recurrence(discretisation: Discretisation, bidirectional: bool) -> None:
    torch.manual_seed(4)
    layer = OscillatoryStateSpace(3, 5, discretisation=discretisation, bidirectional=bidirectional).double()
    values = torch.randn(2, 3, 47, dtype=torch.float64)
    a, dt = layer.oscillators()
    driven = torch.einsum("sc,bcl->bsl", layer.b, values)
    positions = [oscillate(driven, a, dt, discretisation)]
    if bidirectional:  # the future's answer begins one sample ahead
        ahead = oscillate(driven.flip(-1), a, dt, discretisation).flip(-1)
        positions.append(torch.nn.functional.pad(ahead[..., 1:], (0, 1)))
    expected = torch.einsum("cs,bsl->bcl", layer.c, torch.cat(positions, dim=1)) + layer.skip[:, None] * values
    torch.testing.assert_close(layer(values), expected, rtol=1e-9, atol=1e-9)


def test_oscillations_decay_or_are_kept() -> None:
    a, dt = torch.tensor([0.5], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    assert impulse(a, dt, "im")[1].real < -0.01
    assert impulse(a, dt, "imex")[1].real == 0
    # an oscillator that would run away is held at the edge of stability
    assert impulse(1000 * a, dt, "imex")[1].imag < torch.pi


def test_float32_is_close_to_float64() -> None:
    torch.manual_seed(0)
    layer = OscillatoryStateSpace(4, 32, discretisation="imex")
    values = torch.randn(1, 4, 4096)
    single = layer(values)
    exact = layer.double()(values.double())
    assert (single - exact).abs().max() < 1e-4 * exact.abs().max()


def test_the_oscillators_have_the_learning_rate_of_dynamics() -> None:
    encoder = LinOSSEncoder(2, 8, 4, 2)
    groups = {group["name"]: group for group in optimizer_groups(encoder, 1e-2, 0.1, 1e-3)}
    assert len(groups["ssm"]["params"]) == 4
    assert groups["ssm"]["weight_decay"] == 0


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UserError, match="oscillator"):
        OscillatoryStateSpace(2, 0)
    with pytest.raises(UserError, match="depth"):
        LinOSSEncoder(2, 8, 4, 0)
