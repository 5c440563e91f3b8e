"""Densities of mass peaks, each normalised to 1 within a window; masses in GeV.

A peak is a Breit–Wigner distribution, smeared by a double-sided Crystal Ball function, or that function alone where the
natural width is far below the resolution; below it lies an exponential or a Bernstein polynomial.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.signal import fftconvolve
from scipy.special import comb, erf

from collider.detectors.particles import Floats

STEP_GEV: Final = 0.02
_REACH_SIGMA, _REACH_GEV = 12.0, 20.0
"""How far a mass is smeared."""
_TINY: Final = 1e-300


def crystal_ball(x: Floats, sigma: float, low: float, low_power: float, high: float, high_power: float) -> Floats:
    """Return the double-sided Crystal Ball function, 1 at its peak at 0.

    exp(−t²/2) for −low ≤ t = x/σ ≤ high, and beyond a side at a = low, with its power n,
    (n/a)ⁿ exp(−a²/2) (n/a − a + |t|)⁻ⁿ                       Gaiser 1982, SLAC-R-255, app. F, on both sides
    """
    t = np.asarray(x, dtype=np.float64) / sigma
    return np.asarray(
        np.select([t < -low, t > high], [_tail(-t, low, low_power), _tail(t, high, high_power)], np.exp(-0.5 * t * t))
    )


def _tail(t: Floats, begin: float, power: float) -> Floats:
    base = np.maximum(1 + (t - begin) * begin / power, 1.0)  # within the core it is not asked for
    return np.asarray(np.exp(-0.5 * begin**2 - power * np.log(base)))


def crystal_ball_integral(
    start: float, stop: float, sigma: float, low: float, low_power: float, high: float, high_power: float
) -> float:
    """Return the integral of `crystal_ball` from start to stop, in closed form."""

    def up_to(x: float) -> float:
        t = x / sigma
        if t < 0:
            return -side(-t, low, low_power)
        return side(t, high, high_power)

    def side(t: float, begin: float, power: float) -> float:
        core = np.sqrt(np.pi / 2) * erf(min(t, begin) / np.sqrt(2))
        if t <= begin:
            return float(core)
        base = 1 + (t - begin) * begin / power
        # ∫ base⁻ⁿ dt = (n/a) (1 − base^(1−n))/(n − 1)
        return float(core + np.exp(-0.5 * begin**2) * power / begin * (1 - base ** (1 - power)) / (power - 1))

    return sigma * (up_to(stop) - up_to(start))


def breit_wigner(mass_gev: Floats, pole_gev: float, width_gev: float) -> Floats:
    """Return m³/((m² − M²)² + m⁴Γ²/M²), with the width that runs with the mass       PDG, Review of Particle Physics

    Events for each GeV: the cross-section goes as s/((s − M²)² + s²Γ²/M²) with s = m², and ds = 2m dm. Not normalised.
    """
    square = np.asarray(mass_gev, dtype=np.float64) ** 2
    return mass_gev * mass_gev**2 / ((square - pole_gev**2) ** 2 + square**2 * (width_gev / pole_gev) ** 2)


def peak(
    x: Floats, window: tuple[float, float], mass: float, sigma: float, tails: tuple[float, float, float, float]
) -> Floats:
    """Return the normalised Crystal Ball function around a mass."""
    total = crystal_ball_integral(window[0] - mass, window[1] - mass, sigma, *tails)
    return crystal_ball(x - mass, sigma, *tails) / total


def resonance(
    x: Floats,
    window: tuple[float, float],
    mass: float,
    sigma: float,
    tails: tuple[float, float, float, float],
    width: float,
) -> Floats:
    """Return the normalised Breit–Wigner distribution, smeared by the Crystal Ball function.

    On a grid of steps of at most 20 MeV or a quarter of σ, with straight lines between its points.
    """
    step = min(STEP_GEV, sigma / 4) if sigma > 0 else STEP_GEV
    reach = min(window[1] - window[0], _REACH_SIGMA * sigma + _REACH_GEV)
    points = int(np.ceil((window[1] - window[0]) / step)) + 1
    grid = np.linspace(*window, points)
    step = grid[1] - grid[0]
    beyond = int(reach / step)
    offsets = step * np.arange(-beyond, beyond + 1)
    wide = np.maximum(window[0] - step * beyond + step * np.arange(points + 2 * beyond), 1e-3)
    smeared = fftconvolve(breit_wigner(wide, mass, width), crystal_ball(offsets, sigma, *tails), mode="valid")
    smeared = np.maximum(smeared, _TINY)
    return np.asarray(np.interp(x, grid, smeared) / np.trapezoid(smeared, dx=step))


def exponential(x: Floats, window: tuple[float, float], slope: float) -> Floats:
    """Return exp(s u) with u from −1 to 1 across the window, normalised."""
    half = (window[1] - window[0]) / 2
    u = (x - (window[0] + window[1]) / 2) / half
    total = 2 * half * (np.sinh(slope) / slope if abs(slope) > 1e-6 else 1 + slope**2 / 6)
    return np.asarray(np.exp(slope * u) / total)


def bernstein(x: Floats, window: tuple[float, float], term: int, degree: int) -> Floats:
    """Return the Bernstein polynomial of a term (0 to degree), normalised; sums of these are nowhere below 0."""
    size = window[1] - window[0]
    u = (np.asarray(x, dtype=np.float64) - window[0]) / size
    return np.asarray((degree + 1) / size * comb(degree, term) * u**term * (1 - u) ** (degree - term))
