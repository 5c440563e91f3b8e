"""The information that electrons hold about the endpoint, in closed form, and the quality cut that keeps most of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

LOST_SIGMAS = 5.0
"""A calibration electron that is further off than this many of its error bars is lost: it tells nothing."""
CANDIDATES = 30
STD_QUANTILES = 4
FINEST_STD = 2e-3
"""Resolutions below this part of the window do not matter: the endpoint's uncertainty is far larger."""


def fisher_errors(
    electrons: float, resolution_ev: float, background_fraction: float, below_ev: float, above_ev: float
) -> tuple[float, float]:
    """Return the expected standard errors of the endpoint (massless) and of the squared mass (endpoint free).

    Without background and with a sharp resolution the endpoint's error becomes W/√(3N) for N electrons in a window
    of W.
    """
    information = fisher_information(electrons, resolution_ev, background_fraction, below_ev, above_ev)
    endpoint = np.linalg.inv(information[:3, :3])[0, 0]
    mass = np.linalg.inv(information)[3, 3]
    return float(np.sqrt(endpoint)), float(np.sqrt(mass))


def fisher_information(
    electrons: float, resolution_ev: float, background_fraction: float, below_ev: float, above_ev: float
) -> Array:
    """Return the information matrix of endpoint, amplitude, background, squared mass, (4, 4).

    For a spectrum A ε² with normal resolution s and flat background b in a window around the endpoint,

        n = A [(ε² + s²) Φ(ε/s) + ε s φ(ε/s)] + b,  ∂n/∂E₀ = 2A [ε Φ + s φ],  ∂n/∂m² = −(A/2) Φ;

    the information is ∫ ∂n ∂n / n dε.
    """
    step = min(resolution_ev / 20, 0.02)
    energy = np.arange(-above_ev, below_ev, step) + step / 2
    z = energy / resolution_ev
    cumulative, normal = ndtr(z), np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    shape = (energy**2 + resolution_ev**2) * cumulative + energy * resolution_ev * normal
    amplitude = electrons * (1 - background_fraction) / (shape.sum() * step)
    background = max(electrons * background_fraction, 1e-9 * electrons) / (above_ev + below_ev)
    rate = amplitude * shape + background
    derivatives = np.stack(
        [
            2 * amplitude * (energy * cumulative + resolution_ev * normal),
            amplitude * shape,
            np.full_like(energy, background),
            -0.5 * amplitude * cumulative,
        ]
    )
    return (derivatives / rate) @ derivatives.T * step


def best_cut_ev(
    quality_ev: Array, std_ev: Array, residual_ev: Array, width_ev: float, fewest: int, tolerance: float = 0.0
) -> float:
    """Return the largest `quality_ev` to keep: the tightest cut that costs at most `tolerance` more than the best.

    quality_ev, std_ev, residual_ev (estimate − truth): (electron,) of the calibration, no datum is looked at. A tight
    cut leaves few electrons; a loose one lets in those that are lost, which lie anywhere in a window of `width_ev` and
    act as a flat background under the end of the spectrum. Both are counted on the calibration electrons, and cuts are
    compared by the endpoint's error that they lead to be expected; at least `fewest` electrons stay.
    """
    candidates = np.unique(np.quantile(quality_ev, np.linspace(0, 1, CANDIDATES + 1)[1:]))
    errors = [_expected_error_ev(quality_ev <= cut, std_ev, residual_ev, width_ev, fewest) for cut in candidates]
    good = np.array(errors) <= (1 + tolerance) * min(errors)
    return float(candidates[int(np.argmax(good))])


def _expected_error_ev(
    kept: NDArray[np.bool_], std_ev: Array, residual_ev: Array, width_ev: float, fewest: int
) -> float:
    number = int(kept.sum())
    if number < fewest:
        return float("inf")
    lost = int((np.abs(residual_ev[kept]) > LOST_SIGMAS * std_ev[kept]).sum())
    # half an electron: none lost does not mean that none can be
    background = (lost + 0.5) / (number + 1)
    ranks = (np.arange(STD_QUANTILES) + 0.5) / STD_QUANTILES
    stds = np.maximum(np.quantile(std_ev[kept], ranks), FINEST_STD * width_ev)
    share = number / STD_QUANTILES
    # each electron enters with its own resolution: the information of the classes adds up
    total = sum(fisher_information(share, std, background, width_ev / 2, width_ev / 2)[:3, :3] for std in stds)
    return float(np.sqrt(np.linalg.inv(np.asarray(total))[0, 0]))
