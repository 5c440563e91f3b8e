"""A training in which the noise moves: level and slope of its spectrum are drawn for each electron and epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cres.errors import UserError
from cres.transforms.bands import POINTS, Spectra, band_means, grid_hz
from cres.transforms.coloured import interpolate, read_table
from reconstruction.random.keyed import KeyedRandom
from reconstruction.records.batch import STRENGTH, Batch
from reconstruction.shapes import PerRow

_STEEPEST_DB = 40.0


@dataclass(frozen=True)
class NoiseVariation:
    """Over which range the noise moves in a training, beside the spectrum of the data.

    S(f) → S(f) · level · 10^{(slope/10) (f/f_s)}, f after mixing, −f_s/2 to f_s/2.

    Args:
        level: Lowest and highest factor; its logarithm is drawn uniformly.
        slope_db: Lowest and highest slope, in dB from the lower end of the sampled range to its upper one; drawn
            uniformly.
        hidden: Share of the electrons of a training whose spectrum the model is not told, so that it learns to do
            without one. Each is told to validate and to calibrate.

    """

    level: tuple[float, float] = (0.7, 1.4)
    slope_db: tuple[float, float] = (-6.0, 6.0)
    hidden: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.level[0] <= self.level[1] < math.inf:
            raise UserError(
                f"model.noise_variation.level is [{self.level[0]:g}, {self.level[1]:g}]: a lowest and a highest factor "
                "are wanted, above 0"
            )
        if not -_STEEPEST_DB <= self.slope_db[0] <= self.slope_db[1] <= _STEEPEST_DB:
            raise UserError(
                f"model.noise_variation.slope_db is [{self.slope_db[0]:g}, {self.slope_db[1]:g}]: a lowest and a "
                f"highest slope are wanted, of {_STEEPEST_DB:g} dB at most over the sampled range"
            )
        if not 0 <= self.hidden < 1:
            raise UserError(f"model.noise_variation.hidden is {self.hidden:g}, but must lie in 0 to below 1")

    def factors(self, random: KeyedRandom, points: int) -> Spectra:
        """Return what the spectrum of each row is multiplied with, (batch, point), float64; keyed by event."""
        drawn = random.scoped("noise variation").uniform(2, stream="level and slope").double()
        low, high = (math.log(end) for end in self.level)
        level = low + (high - low) * drawn[:, :1]
        slope_db = self.slope_db[0] + (self.slope_db[1] - self.slope_db[0]) * drawn[:, 1:]
        place = grid_hz(points, 1.0).to(drawn.device)
        return torch.exp(level + math.log(10) / 10 * slope_db * place)

    def are_hidden(self, random: KeyedRandom) -> Tensor:
        """Return whose spectrum the model is not told, (batch,)."""
        return random.scoped("noise variation").uniform(1, stream="hidden").squeeze(1) < self.hidden


class MovingNoise:
    """The spectrum of the noise of each row of a batch, and what a model is told of it.

    bands: settings that are densities in bands; variation: what a training multiplies; added: whether the model adds
    noise, or records carry theirs, of which the data alone know. Rows that do not say their spectrum have that of the
    model: density_w_per_hz, or table (frequency in Hz and density).
    """

    def __init__(
        self,
        bands: Sequence[str],
        variation: NoiseVariation | None,
        sampling_rate_hz: float,
        density_w_per_hz: float,
        table: Sequence[tuple[float, float]] | None,
        added: bool = True,
    ) -> None:
        self.bands, self.variation, self.added = tuple(bands), variation, added
        points = max(POINTS, len(table or ()))
        self._own = torch.full((points,), float(density_w_per_hz), dtype=torch.float64)
        if table is not None:
            self._own = interpolate(grid_hz(points, sampling_rate_hz), read_table(table))
        self._density_w_per_hz = density_w_per_hz or 1.0

    def __call__(self, batch: Batch, scale: float, random: KeyedRandom, learning: bool, varied: bool) -> Batch:
        """Return a batch that says the spectrum of each row, and as settings its bands as far as they are told.

        scale: of the noise that is added; 0 for records that carry their own, whose bands the data say. varied:
        whether the spectrum moves, keyed by event; learning: whether some of it is hidden.
        """
        density = self.density_w_per_hz(batch)
        density = self.moved(density, random) if varied else density
        told: dict[str, Tensor] = {}
        if self.tells(scale):
            values = scale * band_means(density, self.bands)
            if self.variation is not None and learning:
                values = values.masked_fill(self.variation.are_hidden(random).unsqueeze(1), torch.nan)
            told = dict(zip(self.bands, values.unbind(dim=1), strict=True))
        return batch | {STRENGTH: density, "observables": batch.get("observables", {}) | told}

    def tells(self, scale: float) -> bool:
        """Return whether what is told is the noise that is added, rather than what the data say of theirs."""
        return bool(self.bands) and self.added and scale > 0

    def moved(self, density: Spectra, random: KeyedRandom) -> Spectra:
        """Return spectra as the training moves them, keyed by event."""
        return density if self.variation is None else density * self.variation.factors(random, density.shape[1])

    def density_w_per_hz(self, batch: Mapping[str, Any]) -> Spectra:
        """Return the density of the noise of each row, (batch, point), before it moves."""
        said = batch.get(STRENGTH)
        rows = batch["event_id"]
        if said is None:
            return self._own.to(rows.device).expand(len(rows), -1)
        if said.ndim == 1:
            return _outer(said / self._density_w_per_hz, self._own)
        spectra: Spectra = said.double()
        return spectra


def _outer(scale: PerRow, spectrum: Tensor) -> Spectra:
    return torch.outer(scale.double(), spectrum.to(scale.device))
