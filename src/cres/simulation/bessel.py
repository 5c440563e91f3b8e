"""Bessel functions with derivatives of any order, which torch's own lack."""

from __future__ import annotations

import torch
from torch import Tensor

SERIES_TERMS = 26
"""Enough for |x| ≤ 8 in float64."""


def bessel_j1(x: Tensor) -> Tensor:
    """J₁(x) = (x/2) Σ_m (−x²/4)^m / (m! (m+1)!)          Abramowitz & Stegun 9.1.10. For |x| ≤ 8."""
    return x / 2 * (_powers(x) @ _coefficients(x))


def bessel_j1_derivative(x: Tensor) -> Tensor:
    """J₁'(x) = ½ Σ_m (2m+1) (−x²/4)^m / (m! (m+1)!), the series of `bessel_j1` term by term."""
    return _powers(x) @ (_coefficients(x) * (_orders(x) + 0.5))


def _orders(x: Tensor) -> Tensor:
    return torch.arange(SERIES_TERMS, dtype=x.dtype, device=x.device)


def _coefficients(x: Tensor) -> Tensor:
    """Return 1/(m! (m+1)!), made where x is: a copy from the host would make it wait."""
    m = _orders(x)
    return torch.exp(-torch.lgamma(m + 1) - torch.lgamma(m + 2))


def _powers(x: Tensor) -> Tensor:
    """Return (−x²/4)^m with m last, all at once: as many calls as terms are what costs time on a device."""
    return (-((x / 2) ** 2))[..., None] ** _orders(x)
