"""FFT convolution against the plain sum; its gradients against finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reconstruction.models.encoders import convolution
from reconstruction.models.encoders.convolution import fft_convolve, good_length, kernel_spectrum


@given(st.integers(1, 300_000))
def test_good_length(minimum: int) -> None:
    size = good_length(minimum)
    assert minimum <= size <= max(2, 1.26 * minimum + 2)
    assert size % 2 == 0
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    assert size == 1


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_equals_the_sum(directions: int, length: int) -> None:
    kernel = torch.randn(directions, 3, length, dtype=torch.float64)
    values = torch.randn(2, 3, length, dtype=torch.float64)
    size = good_length(2 * length)
    expected = torch.zeros_like(values)
    for i in range(length):
        for j in range(length):
            if j <= i:
                expected[:, :, i] += kernel[0, :, i - j] * values[:, :, j]
            elif directions == 2:
                expected[:, :, i] += kernel[1, :, j - i - 1] * values[:, :, j]
    torch.testing.assert_close(fft_convolve(values, kernel_spectrum(kernel, size), size), expected)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_gradcheck(directions: int, length: int) -> None:
    kernel = torch.randn(directions, 3, length, dtype=torch.float64, requires_grad=True)
    values = torch.randn(2, 3, length, dtype=torch.float64, requires_grad=True)
    size = good_length(2 * length)
    assert torch.autograd.gradcheck(lambda v, k: fft_convolve(v, kernel_spectrum(k, size), size), (values, kernel))


def test_more_channels_than_fit_into_the_cache_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = torch.randn(1, 5, 8, dtype=torch.float64, requires_grad=True)
    values = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)

    def gradients() -> tuple[torch.Tensor, ...]:
        result = fft_convolve(values, kernel_spectrum(kernel, 16), 16)
        return result, *torch.autograd.grad(result.square().sum(), (values, kernel))

    at_once = gradients()
    monkeypatch.setattr(convolution, "_CACHE_BYTES", 2 * 2 * 16 * 8)
    monkeypatch.setattr(convolution, "_SHARED_BYTES", 0)
    for piecewise, expected in zip(gradients(), at_once, strict=True):
        torch.testing.assert_close(piecewise, expected)
