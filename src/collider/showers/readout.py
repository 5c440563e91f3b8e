"""What electronics make of the energy in the cells: resolution terms, noise, digitisation, thresholds, dead cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from collider.showers import keyed
from collider.showers.arrays import Arrays
from reconstruction.errors import UserError

_DEAD_SPLIT = 2
"""A split of its own for the cells that are dead: they are the detector's, not an event's."""


@dataclass(frozen=True)
class Readout:
    """Read-out of the cells; zeros leave the energy as it is.

    stochastic_term: c of σ/E = c/√E of a homogeneous calorimeter (photostatistics; a sampling one has its own);
    constant_term: relative spread of the whole response from event to event; noise_gev: of each cell;
    adc_gev: one count; bits: of the ADC, which holds 0 to 2^bits − 1 counts; pedestal: counts without a signal,
    which are taken off again (without one, noise below 0 is cut off and the sum of many cells is too large);
    threshold_gev: cells below read 0;
    dead_cells: share of the cells that read nothing, always the same ones.
    """

    stochastic_term: float = 0.0
    constant_term: float = 0.0
    noise_gev: float = 0.0
    adc_gev: float = 0.0
    bits: int = 16
    pedestal: int = 0
    threshold_gev: float = 0.0
    dead_cells: float = 0.0

    def __post_init__(self) -> None:
        for name in ("stochastic_term", "constant_term", "noise_gev", "adc_gev", "threshold_gev", "dead_cells"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"readout.{name} must be 0 or more, not {value!r}")
        for name in ("stochastic_term", "constant_term", "dead_cells"):
            if getattr(self, name) >= 1:
                raise UserError(f"readout.{name} is a share, below 1, not {getattr(self, name)!r}")
        if not 1 <= self.bits <= 32:
            raise UserError(f"readout.bits must be from 1 to 32, not {self.bits!r}")
        if not 0 <= self.pedestal < 2**self.bits:
            raise UserError(f"readout.pedestal must be counts of the ADC, from 0 to {2**self.bits - 1}")

    def apply(self, xp: Arrays, cells: Any, keys: Any, seed: int) -> Any:
        """Return what is read of cells (event, cell) in GeV; keys: of the events."""
        places = xp.arange(cells.shape[1])
        if self.constant_term > 0:
            gain = keyed.normals(xp, keys, keyed.RESPONSE, xp.integers([0]))[0]
            cells = cells * (1 + self.constant_term * gain)[:, None]
        if self.noise_gev > 0:
            half = xp.arange((cells.shape[1] + 1) // 2)
            both = xp.stack(keyed.normals(xp, keys[:, None], keyed.NOISE, half[None]), -1)
            cells = cells + self.noise_gev * both.reshape(len(cells), -1)[:, : cells.shape[1]]
        if self.adc_gev > 0:
            counts = xp.floor(cells / self.adc_gev + 0.5)
            cells = xp.clip(counts, -self.pedestal, 2**self.bits - 1 - self.pedestal) * self.adc_gev
        if self.threshold_gev > 0:
            cells = xp.where(cells < self.threshold_gev, xp.zeros_like(cells), cells)
        if self.dead_cells > 0:
            key = keyed.event_keys(xp, seed, _DEAD_SPLIT, [0])
            alive = keyed.uniforms(xp, key, keyed.RESPONSE, places) >= self.dead_cells
            cells = xp.where(alive[None], cells, xp.zeros_like(cells))
        return cells


PERFECT = Readout()
