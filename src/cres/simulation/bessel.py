"""Bessel functions with derivatives of any order, which torch's own lack."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SERIES_TERMS = 26
"""Enough for |x| ≤ 8 in float64."""


def bessel_j1(x: Tensor) -> Tensor:
    """J₁(x) = (x/2) Σ_m (−x²/4)^m / (m! (m+1)!)          Abramowitz & Stegun 9.1.10. For |x| ≤ 8."""
    quarter = -((x / 2) ** 2)
    total = torch.zeros_like(x)
    for m in reversed(range(SERIES_TERMS)):
        total = total * quarter + 1 / (math.factorial(m) * math.factorial(m + 1))
    return x / 2 * total


def bessel_j1_derivative(x: Tensor) -> Tensor:
    """J₁'(x) = ½ Σ_m (2m+1) (−x²/4)^m / (m! (m+1)!), the series of `bessel_j1` term by term."""
    quarter = -((x / 2) ** 2)
    total = torch.zeros_like(x)
    for m in reversed(range(SERIES_TERMS)):
        total = total * quarter + (2 * m + 1) / (math.factorial(m) * math.factorial(m + 1))
    return total / 2
