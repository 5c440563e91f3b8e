"""What electronics read of cells: photostatistics, calibration, noise in every cell, and a threshold."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.stats import norm

from collider.detectors.calorimeters.config import Ecal, Hcal
from collider.detectors.calorimeters.points import NO_PARTICLE, Deposits, sums
from collider.detectors.particles import Floats, Integers, Mask


@dataclass(frozen=True)
class ReadCells:
    """Cells that are read, (cell,) each, by event and then by number.

    event: place of the event; cell: number in its grid; energy_gev: as read; particle: the one that left most in it,
    NO_PARTICLE for noise; deposited_gev: what all left in it.
    """

    event: Integers
    cell: Integers
    energy_gev: Floats
    particle: Integers
    deposited_gev: Floats

    def __len__(self) -> int:
        return len(self.cell)

    def kept(self, mask: Mask | Integers) -> ReadCells:
        """Return those of a mask, or at places."""
        return ReadCells(*(getattr(self, field.name)[mask] for field in fields(self)))


def read_cells(deposits: Deposits, part: Ecal | Hcal, events: int, random: np.random.Generator, seed: int) -> ReadCells:
    """Return the cells above threshold of so many events; seed: of the cells' calibration, which no event changes."""
    count, readout = part.grid.cells, part.readout
    key = deposits.event * count + deposits.cell
    keys, place = np.unique(key, return_inverse=True)
    deposited = sums(place, deposits.energy_gev, len(keys))
    energy, c_square = deposited, part.stochastic_term**2
    if c_square > 0:
        energy = c_square * random.gamma(deposited / c_square)
    energy = energy * calibration(part, seed)[keys % count]
    energy = energy + readout.noise_gev * random.standard_normal(len(keys))
    # where photostatistics leave nothing there is nothing to read, without a threshold, too
    seen = (energy >= readout.threshold_gev) & (energy > 0)
    noise_key, noise = _noise(part, events, keys, random)
    whose = _largest(deposits, place, len(keys))
    all_keys = np.concatenate([keys[seen], noise_key])
    order = np.argsort(all_keys)
    empty = len(noise_key)
    return ReadCells(
        event=all_keys[order] // count,
        cell=all_keys[order] % count,
        energy_gev=np.concatenate([energy[seen], noise])[order],
        particle=np.concatenate([whose[seen], np.full(empty, NO_PARTICLE)])[order],
        deposited_gev=np.concatenate([deposited[seen], np.zeros(empty)])[order],
    )


def calibration(part: Ecal | Hcal, seed: int) -> Floats:
    """Return the factor by which each cell reads too much: always the same ones."""
    drawn = np.random.default_rng([seed, part.grid.cells]).standard_normal(part.grid.cells)
    return np.asarray(1 + part.readout.constant_term * drawn)


def _noise(part: Ecal | Hcal, events: int, taken: Integers, random: np.random.Generator) -> tuple[Integers, Floats]:
    """Return the empty cells whose noise passes the threshold, of all events, and their energies.

    As if noise had been drawn for each: the number of those above is binomial, their places are uniform, and their
    energies are the tail of a Gaussian.
    """
    sigma, cells = part.readout.noise_gev, events * part.grid.cells
    if sigma == 0 or cells == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    above = float(norm.sf(part.readout.threshold_gev / sigma))
    found = np.unique(random.integers(0, cells, random.binomial(cells, above)))
    found = found[~np.isin(found, taken)]
    return found, sigma * norm.isf(above * (1 - random.random(len(found))))


def _largest(deposits: Deposits, place: Integers, count: int) -> Integers:
    """Return the particle with the largest deposit in each cell; place (deposit,): of the cell."""
    order = np.lexsort((deposits.energy_gev, place))
    last = np.flatnonzero(np.diff(place[order], append=count + 1))
    found = np.full(count, NO_PARTICLE)
    found[place[order][last]] = deposits.particle[order][last]
    return found
