"""Bessel functions with derivatives of any order, which torch's own lack."""

from __future__ import annotations

import torch
from torch import Tensor

SERIES_TERMS = 26
"""Enough for |x| ≤ 8 in float64, and to 1e-9 for |x| ≤ 13.5."""


def bessel_j1(x: Tensor) -> Tensor:
    """J₁(x) = (x/2) Σ_m (−x²/4)^m / (m! (m+1)!)          Abramowitz & Stegun 9.1.10. For |x| ≤ 13.5."""
    return x / 2 * (_powers(x) @ _coefficients(x))


def bessel_j1_derivative(x: Tensor) -> Tensor:
    """J₁'(x) = ½ Σ_m (2m+1) (−x²/4)^m / (m! (m+1)!), the series of `bessel_j1` term by term."""
    return _powers(x) @ (_coefficients(x) * (_orders(x) + 0.5))


def bessel_j(order: int, x: Tensor) -> Tensor:
    """J_n(x) = (x/2)^n Σ_m (−x²/4)^m / (m! (m+n)!), J_−n = (−1)^n J_n          A & S 9.1.10, 9.1.5. For |x| ≤ 13.5."""
    n = abs(order)
    m = _orders(x)
    series = _powers(x) @ torch.exp(-torch.lgamma(m + 1) - torch.lgamma(m + n + 1))
    return (-1.0 if order < 0 and n % 2 else 1.0) * (x / 2) ** n * series


def bessel_j_derivative(order: int, x: Tensor) -> Tensor:
    """J_n' = ½(J_n−1 − J_n+1)          Abramowitz & Stegun 9.1.27."""
    return (bessel_j(order - 1, x) - bessel_j(order + 1, x)) / 2


def _orders(x: Tensor) -> Tensor:
    return torch.arange(SERIES_TERMS, dtype=x.dtype, device=x.device)


def _coefficients(x: Tensor) -> Tensor:
    """Return 1/(m! (m+1)!), made where x is: a copy from the host would make it wait."""
    m = _orders(x)
    return torch.exp(-torch.lgamma(m + 1) - torch.lgamma(m + 2))


def _powers(x: Tensor) -> Tensor:
    """Return (−x²/4)^m with m last, all at once: as many calls as terms are what costs time on a device."""
    return (-((x / 2) ** 2))[..., None] ** _orders(x)
