"""Expected limits from a binned likelihood, asymptotic CLs      Cowan et al. 2011, arXiv:1007.1727; Read 2002

Bins i hold n_i ~ Poisson(μ s_i + γ_i b_i), with γ_i ~ Normal(1, σ_i) for what is not known of the background in each:
the generated events and a systematic share, independent between bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import xlogy
from scipy.stats import norm

Array = NDArray[np.float64]
LEVEL: Final = 0.95
BANDS: Final = (-2, -1, 0, 1, 2)
"""Standard deviations of the background's fluctuation: median, and the two bands around it."""
SMALLEST, LARGEST = 1e-6, 1e9
"""Expected signal events, in all bins, between which the limit lies."""
_LEAST_SIGMA: Final = 1e-6


def profiled(mu: float, signal: Array, background: Array, sigma: Array) -> Array:
    """Return γ ≥ 0 (bin,) that is most likely at μ, for data that are the background's expectation b.

    The root of (b/σ²) γ² + (b² + (μs − b)/σ²) γ + b (μs − b) − μs/σ² = 0, from ∂/∂γ of the likelihood.
    """
    s, b, precision = mu * signal, background, 1 / sigma**2
    linear, constant = b**2 + (s - b) * precision, b * (s - b) - s * precision
    root = np.sqrt(linear**2 - 4 * b * precision * constant)
    # of the two forms of the root the one that adds numbers of one sign; no background is less than none
    gamma = np.where(linear > 0, -2 * constant / (linear + root), (root - linear) / (2 * b * precision))
    return np.maximum(gamma, 0.0)


def asimov_statistic(mu: float, signal: Array, background: Array, sigma: Array) -> float:
    """Return q̃_μ = −2 ln λ(μ) of data that are the background's expectation, whose best μ is 0."""
    gamma = profiled(mu, signal, background, sigma)
    nu = mu * signal + gamma * background
    poisson = nu - background - xlogy(background, nu / background)
    return float(2 * poisson.sum() + (((gamma - 1) / sigma) ** 2).sum())


def expected_cls(mu: float, band: float, signal: Array, background: Array, sigma: Array) -> float:
    """Return CLs of μ where the background fluctuates by `band` standard deviations    arXiv:1007.1727, sec. 4.3

    CLs = (1 − Φ(√q_A − N))/Φ(N).
    """
    root = np.sqrt(max(asimov_statistic(mu, signal, background, sigma), 0.0))
    return float(norm.sf(root - band) / norm.cdf(band))


def expected_limits(
    signal: Array, background: Array, sigma: Array, bands: Sequence[float] = BANDS, level: float = LEVEL
) -> list[float]:
    """Return the upper limits on μ for each band; ∞ where no μ is excluded (no signal in any bin with background).

    signal, background, sigma (bin,): expected events, and the background's relative uncertainty. Bins without
    background are left out.
    """
    kept = background > 0
    s, b, width = signal[kept], background[kept], np.maximum(sigma[kept], _LEAST_SIGMA)
    if not s.sum() > 0:
        return [float("inf")] * len(bands)

    def over(log_mu: float, band: float) -> float:
        return expected_cls(float(np.exp(log_mu)), band, s, b, width) - (1 - level)

    low, high = np.log(SMALLEST / s.sum()), np.log(LARGEST / s.sum())
    return [float(np.exp(brentq(over, low, high, args=(band,), xtol=1e-8))) for band in bands]


def relative_uncertainty(weights: Array, bins: NDArray[np.int64], count: int, systematic: float) -> Array:
    """Return √(Σw²)/Σw of each bin's events, with a systematic share added in squares; 0 for empty bins."""
    total, squares = (np.bincount(bins, part, minlength=count) for part in (weights, weights**2))
    share = np.divide(squares, total**2, out=np.zeros(count), where=total > 0)
    return np.sqrt(share + systematic**2)
