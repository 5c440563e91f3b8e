"""Missed first tracks: electrons whose start was not recognised, and that are measured after they scattered.

Of all electrons a fraction η loses its first track, η² its first two …; after n scatterings the energy is lower by n
losses of the published spectrum on T₂ (`cres.physics.gas`), one after another: the tail of the response towards low
energies is Σ (1 − η) ηⁿ L⊗…⊗L. η holds the probability that a track is too short or too weak to be found and that the
electron is still trapped afterwards.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cres.physics.gas import energy_loss_density_per_ev, energy_loss_quantile_ev

Array = NDArray[np.float64]

MOST_MISSED = 4
"""Tracks that are followed: at η = 0.2 one electron in a thousand misses more."""
FINE = 20
"""Points of the energy loss for each step of a grid: its narrowest group is 0.18 eV wide."""


def with_missed_tracks(shape: Array, step_ev: float, fraction: float, loss_shift_ev: float = 0.0) -> Array:
    """Return a spectrum on a uniform ascending grid (point,) in which a fraction of all electrons missed tracks.

    `loss_shift_ev` is added to every loss. What was above the grid is not there: it must reach to the endpoint.
    """
    if fraction == 0:
        return shape
    kernel = loss_kernel(step_ev, len(shape))
    total, scattered = (1 - fraction) * shape, shape
    for missed in range(1, MOST_MISSED + 1):
        # an electron found at K had K + loss: a correlation with the loss
        scattered = np.convolve(scattered[::-1], kernel)[: len(shape)][::-1]
        if loss_shift_ev:
            place = np.arange(len(shape), dtype=np.float64)
            scattered = np.interp(place + loss_shift_ev / step_ev, place, scattered, right=0.0)
        total = total + (1 - fraction) * fraction**missed * scattered
    return np.asarray(total)


@lru_cache(maxsize=16)
def loss_kernel(step_ev: float, points: int) -> Array:
    """Return probabilities of losses of 0, 1, 2 … steps, shared between neighbours so that the mean is kept."""
    fine = (np.arange(points * FINE) + 0.5) / FINE
    weight = np.asarray(energy_loss_density_per_ev(fine * step_ev)) * step_ev / FINE
    lower = np.floor(fine).astype(np.int64)
    kernel = np.bincount(lower, weight * (1 - fine + lower), points + 1)
    kernel += np.bincount(lower + 1, weight * (fine - lower), points + 1)[: points + 1]
    return np.asarray(kernel[:points])


def draw_losses(count: int, fraction: float, generator: np.random.Generator) -> Array:
    """Draw the energy in eV that electrons have lost in tracks that were missed, (count,)."""
    missed = np.minimum(generator.geometric(1 - fraction, count) - 1, MOST_MISSED)
    lost = np.zeros(count)
    for number in range(1, MOST_MISSED + 1):
        again = np.flatnonzero(missed >= number)
        lost[again] += energy_loss_quantile_ev(generator.random(len(again)))
    return lost
