"""Sparse matrices that smear a spectrum given on a grid with each electron's own resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtr

Array = NDArray[np.float64]

REACH = 7.0
"""Standard deviations to which a resolution is followed."""


def smearing_matrix(grid_ev: Array, energy_ev: Array, std_ev: Array) -> csr_array:
    """Return the matrix (electron, grid) that gives ∫ N(energy; K, std) f(K) dK for f linear between grid points.

    The weight of a grid point is the normal average of its hat function, a second difference of zΦ(z) + φ(z). Where
    the resolution is far below the step this becomes linear interpolation.
    """
    step = grid_ev[1] - grid_ev[0]
    first = np.floor((energy_ev - REACH * std_ev - grid_ev[0]) / step).astype(np.int64)
    last = np.ceil((energy_ev + REACH * std_ev - grid_ev[0]) / step).astype(np.int64)
    first, last = np.clip(first, 0, len(grid_ev) - 1), np.clip(last, 0, len(grid_ev) - 1)
    counts = last - first + 1
    starts = np.concatenate([[0], np.cumsum(counts)])
    # the ramp function at each point and one beyond either end, electron after electron
    padded = counts + 2
    padded_starts = np.concatenate([[0], np.cumsum(padded)])
    electron = np.repeat(np.arange(len(energy_ev)), padded)
    point = np.arange(padded_starts[-1]) - np.repeat(padded_starts[:-1], padded) + first[electron] - 1
    z = (grid_ev[0] + step * point - energy_ev[electron]) / std_ev[electron]
    ramp = (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)) * (std_ev[electron] / step)
    second = np.empty_like(ramp)
    second[1:-1] = ramp[2:] - 2 * ramp[1:-1] + ramp[:-2]
    inner = np.ones(len(ramp), bool)
    inner[padded_starts[:-1]] = inner[padded_starts[1:] - 1] = False
    return csr_array((second[inner], point[inner], starts), shape=(len(energy_ev), len(grid_ev)))


def even_smearing_matrix(grid_ev: Array, energy_ev: Array, std_ev: float) -> csr_array:
    """Return the `smearing_matrix` of one resolution at energies as far apart as the grid's points.

    Its rows are one row, each a point further, of which the grid holds a part; it is made once.
    """
    step, size = grid_ev[1] - grid_ev[0], len(grid_ev)
    below, reach = int(np.floor((energy_ev[0] - grid_ev[0]) / step)), int(np.ceil(REACH * std_ev / step)) + 1
    around = below + np.arange(-reach, reach + 2)
    row = smearing_matrix(grid_ev[0] + step * around, energy_ev[:1], np.full(1, std_ev)).toarray()[0]
    point = np.arange(len(energy_ev))[:, None] + around
    held = (point >= 0) & (point < size)
    starts = np.concatenate([[0], np.cumsum(held.sum(1))])
    return csr_array((np.broadcast_to(row, held.shape)[held], point[held], starts), shape=(len(energy_ev), size))
