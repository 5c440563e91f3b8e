"""The measured spectrum of the noise of each row, for models that are told it, and for data of several spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cres.data.noise_spectrum import WHITE, NoiseSpectrum, spectra_for
from cres.data.record_file import Rows
from cres.data.records import Records
from cres.transforms.bands import POINTS, band_means, grid_hz

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NoiseOfRows:
    """What is known of the noise of each row: its density on a grid, and whether that was measured.

    relative: power over the nominal white noise of each file on the grid of `cres.transforms.bands`, (file, point).
    measured: whether a table says so (or `white` was said), (file,); else it is white of the nominal density as far as
    noise is added, and unknown where records carry their own. nominal: W/Hz of each row; starts: first row of each
    file, and the number of all.
    """

    relative: Array
    measured: NDArray[np.bool_]
    nominal: Array
    starts: Rows

    @classmethod
    def of(cls, records: Records, wanted: str | Path | None, sampling_rate_hz: float, shift_hz: float) -> NoiseOfRows:
        """Read the tables beside the files of records, or the one that is named.

        sampling_rate_hz and shift_hz are of the batches, where a band is cut from the records.
        """
        spectra = spectra_for(records, wanted)
        points = max([POINTS, *(len(spectrum.frequency_hz) for spectrum in spectra if spectrum is not None)])
        frequency_hz = grid_hz(points, sampling_rate_hz).numpy() + shift_hz
        relative = np.array([_at(frequency_hz, spectrum) for spectrum in spectra])
        measured = np.array([spectrum is not None or str(wanted) == WHITE for spectrum in spectra])
        return cls(relative, measured, records.noise_densities(), records.starts)

    def density_w_per_hz(self, rows: Rows) -> Tensor:
        """Return the density of the noise that is added to rows, (row, point)."""
        return torch.from_numpy(self.relative[self._files(rows)] * self.nominal[rows, None])

    def bands(self, settings: Sequence[str], rows: Rows) -> Tensor:
        """Return the density in the band of each setting, (row, setting) in W/Hz; NaN where nobody measured it.

        Raises UserError for a setting that is no band.
        """
        means = band_means(torch.from_numpy(self.relative), settings).numpy()  # of files: rows may be many
        means[~self.measured] = np.nan
        return torch.from_numpy(means[self._files(rows)] * self.nominal[rows, None])

    def _files(self, rows: Rows) -> Rows:
        return np.searchsorted(self.starts, rows, side="right") - 1


def bands_of_table(
    table: str | Path, settings: Sequence[str], sampling_rate_hz: float, nominal_w_per_hz: float
) -> dict[str, float]:
    """Return the settings, in W/Hz, that a table of noise says, or `white` for noise of the nominal density.

    A table without densities is relative to the nominal one.
    Raises UserError for a table that is none, and for a setting that is no band.
    """
    spectrum = None if str(table) == WHITE else NoiseSpectrum.read(table)
    points = POINTS if spectrum is None else max(POINTS, len(spectrum.frequency_hz))
    if spectrum is not None and spectrum.nominal_w_per_hz is not None:
        nominal_w_per_hz = spectrum.nominal_w_per_hz
    density = nominal_w_per_hz * _at(grid_hz(points, sampling_rate_hz).numpy(), spectrum)
    return dict(zip(settings, band_means(torch.from_numpy(density), settings).tolist(), strict=True))


def _at(frequency_hz: Array, spectrum: NoiseSpectrum | None) -> Array:
    """Return the power over nominal noise at frequencies, (point,): 1 for white noise."""
    if spectrum is None:
        return np.ones_like(frequency_hz)
    return np.interp(frequency_hz, spectrum.frequency_hz, spectrum.relative_power)
