"""The blocked kernel against the paper's sum and against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cres.errors import UserError
from reconstruction.models import s4d_kernel
from reconstruction.models.encoders.s4d_kernel import geometric_projection, geometric_sum


def direct_kernel(c: Tensor, a: Tensor, dt: Tensor, length: int) -> Tensor:
    """The sum of the paper, term by term, in float64."""
    c, a, dt = c.to(torch.complex128), a.to(torch.complex128), dt.double()
    exponent = a * dt[:, None]
    powers = torch.exp(exponent[..., None] * torch.arange(length))
    return 2 * torch.einsum("...hn,hnl->...hl", c * (torch.exp(exponent) - 1) / a, powers).real


def random_parameters(channels: int, states: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """C, A and Δ like those of S4D-Lin."""
    generator = torch.Generator().manual_seed(3)
    c = torch.randn(channels, states, generator=generator, dtype=dtype.to_complex())
    a = torch.complex(
        -torch.rand(channels, states, generator=generator, dtype=dtype),
        math.pi * torch.arange(states, dtype=dtype).expand(channels, -1),
    )
    dt = torch.logspace(-3, -1, channels, dtype=dtype)
    return c, a, dt


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 700), channels=st.integers(1, 4), states=st.integers(1, 6))
def test_blocked_kernel_equals_the_sum(length: int, channels: int, states: int) -> None:
    c, a, dt = random_parameters(channels, states)
    torch.testing.assert_close(s4d_kernel(c, a, dt, length), direct_kernel(c, a, dt, length), rtol=1e-10, atol=1e-10)


def test_directions_share_a_and_dt() -> None:
    c, a, dt = random_parameters(3, 4)
    both = s4d_kernel(torch.stack((c, 2 * c)), a, dt, 50)
    torch.testing.assert_close(both[0], s4d_kernel(c, a, dt, 50))
    torch.testing.assert_close(both[1], 2 * both[0])


def test_float32_within_1e_4_of_the_peak_at_65536_samples() -> None:
    c, a, dt = random_parameters(16, 32, torch.float32)
    kernel = s4d_kernel(c, a, dt, 65_536)
    assert kernel.dtype == torch.float32
    exact = direct_kernel(c, a, dt, 65_536)
    assert (kernel - exact).abs().max() < 1e-4 * exact.abs().max()


def test_float32_phases_would_miss_that_bound() -> None:
    """The check above can fail: with the phase in float32 the last samples are wrong."""
    c, a, dt = random_parameters(16, 32, torch.float32)
    a = torch.complex(torch.full_like(a.real, -1e-3), a.imag)
    phase_in_float32 = (a * dt[:, None])[..., None] * torch.arange(65_000, 65_536)
    weights = c * (torch.exp(a * dt[:, None]) - 1) / a
    careless = 2 * torch.einsum("hn,hnl->hl", weights, torch.exp(phase_in_float32)).real
    exact = direct_kernel(c, a, dt, 65_536)
    assert (careless - exact[:, 65_000:]).abs().max() > 1e-4 * exact.abs().max()
    blocked = s4d_kernel(c, a, dt, 65_536)
    assert (blocked - exact).abs().max() < 1e-4 * exact.abs().max()


@pytest.mark.parametrize("length", [1, 2, 7, 20])
def test_gradcheck(length: int) -> None:
    c, a, dt = (parameter.requires_grad_() for parameter in random_parameters(2, 3))
    assert torch.autograd.gradcheck(lambda *args: s4d_kernel(*args, length), (c, a, dt))
    assert torch.autograd.gradcheck(lambda *args: s4d_kernel(*args, length), (torch.stack((c, c)), a, dt))


def test_projection_is_the_transpose_of_the_sum() -> None:
    c, a, dt = random_parameters(2, 3)
    exponent = a * dt[:, None]
    values = torch.randn(5, 2, 37, dtype=torch.float64)
    powers = torch.exp(exponent[..., None] * torch.arange(37))
    torch.testing.assert_close(
        geometric_projection(values, exponent), torch.einsum("bhl,hnl->bhn", values.to(powers.dtype), powers)
    )
    torch.testing.assert_close(geometric_sum(c, exponent, 37), 2 * torch.einsum("hn,hnl->hl", c, powers).real)


def test_no_samples_is_an_error() -> None:
    c, a, dt = random_parameters(2, 3)
    with pytest.raises(UserError, match="at least one sample"):
        s4d_kernel(c, a, dt, 0)
