"""Does the fitted record explain the data? What is left must be noise."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy import stats
from torch import Tensor

from cres.estimation.placement import on_host
from cres.estimation.search.periodogram import Spectrum, band_indices


def goodness_p(
    residual: Complex[Tensor, "batch time"], sampling_rate_hz: float, band_hz: tuple[float, float]
) -> Float[Tensor, "batch"]:
    """Return the probability that noise alone leaves as much as is left in the band: small where the model is wrong.

    residual: Fourier coefficients in units of the noise (`ProductMaker.residual_spectrum`). Twice the smaller of two
    probabilities (Bonferroni): that of the power of the whole band, a χ² variable, and that of its highest bin, the
    largest of exponential variables.
    """
    picked = band_indices(Spectrum(residual, sampling_rate_hz, residual.shape[1]), band_hz)
    power = residual[:, picked].abs().square().double()
    bins = power.shape[1]
    whole = stats.chi2.sf(on_host(power.sum(1)), 2 * bins)
    highest = -np.expm1(bins * np.log1p(-np.exp(-on_host(power.amax(1)) / 2)))
    return torch.from_numpy(np.minimum(1.0, 2 * np.minimum(whole, highest))).to(residual.device)
