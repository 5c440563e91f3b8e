"""Energy and pitch angle from the peaks of the periodogram, with uncertainties measured on the training split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex
from numpy.typing import NDArray
from torch import Tensor

from cres import schema
from cres.errors import UserError
from cres.estimation.apparatus import TYPICAL_RADIUS_M, Apparatus
from cres.estimation.estimates import Estimated
from cres.estimation.inversion import energy_and_pitch_of_lines
from cres.estimation.placement import on_host
from cres.estimation.search.peaks import CombSearch, Peaks, comb_threshold, find_peaks
from cres.estimation.simple.carrier import CarrierCurve
from cres.estimation.simple.local_spread import FEWEST_PER_BIN, LocalSpread

Array = NDArray[np.float64]
COMB_FALSE_ALARM = 1e-2


@dataclass(frozen=True)
class PeakEstimator:
    """Inverts (carrier, axial frequency) where the comb is significant, else falls back to curves of the carrier.

    `offset` is what the inversion misses on the training split: the peak is the mean carrier, the energy that of the
    start. `spread` is a function of the comb's power.
    """

    apparatus: Apparatus
    threshold: float
    offset: Mapping[str, float]
    spread: Mapping[str, LocalSpread]
    curves: Mapping[str, CarrierCurve]

    @classmethod
    def fit(cls, apparatus: Apparatus, search: CombSearch, found: Peaks, truth: Mapping[str, Array]) -> PeakEstimator:
        """Fit on the peaks and the truth (by column) of training electrons."""
        threshold = comb_threshold(search, apparatus.reception.bin_hz, COMB_FALSE_ALARM)
        significant = on_host(found.comb_snr > threshold)
        if significant.sum() < FEWEST_PER_BIN:
            raise UserError(f"only {significant.sum()} training electrons show sidebands: name more training electrons")
        residuals = {
            name: truth[name][significant] - values[significant] for name, values in inverted(apparatus, found).items()
        }
        offset = {name: float(np.median(values)) for name, values in residuals.items()}
        power = on_host(found.comb_snr)[significant]
        spread = {name: LocalSpread.fit(power, values - offset[name]) for name, values in residuals.items()}
        curves = {name: CarrierCurve.fit(on_host(found.carrier_hz), values) for name, values in truth.items()}
        return cls(apparatus, threshold, offset, spread, curves)

    def estimate(self, found: Peaks) -> Estimated:
        """Return energy and pitch angle of each electron; the column `sidebands_found` says which way."""
        significant = on_host(found.comb_snr > self.threshold)
        values, std = {}, {}
        for name, direct in inverted(self.apparatus, found).items():
            fallback, fallback_std = self.curves[name](on_host(found.carrier_hz))
            values[name] = np.where(significant, direct + self.offset[name], fallback)
            std[name] = np.where(significant, self.spread[name](on_host(found.comb_snr)), fallback_std)
        extra = {
            "sidebands_found": significant,
            "comb_snr": on_host(found.comb_snr),
            "peak_carrier_hz": on_host(found.carrier_hz),
            "peak_axial_frequency_hz": on_host(found.axial_frequency_hz),
        }
        return Estimated(values, std, extra)


def inverted(apparatus: Apparatus, found: Peaks) -> dict[str, Array]:
    """Return energy and pitch angle that have this carrier and this axial frequency in the trap."""
    values = energy_and_pitch_of_lines(apparatus, found.carrier_hz, found.axial_frequency_hz, TYPICAL_RADIUS_M)
    return dict(zip(schema.DEFAULT_TARGETS, map(on_host, values), strict=True))


def find(apparatus: Apparatus, series: Complex[Tensor, "batch time"], search: CombSearch) -> Peaks:
    """Return the peaks of records of an apparatus."""
    return find_peaks(series, apparatus.reception.sampling_rate_hz, apparatus.noise_std_volt, search)


def concatenated(found: list[Peaks]) -> Peaks:
    """Return the peaks of consecutive blocks as one."""
    names = ("carrier_hz", "carrier_snr", "axial_frequency_hz", "comb_snr")
    return Peaks(*(torch.cat([getattr(part, name) for part in found]) for name in names))


def comb_search(apparatus: Apparatus, band_hz: tuple[float, float]) -> CombSearch:
    """Return the search for an apparatus: axial frequencies up to that of its smallest pitch angle."""
    highest = float(apparatus.trap.axial_frequency_hz(apparatus.energies_ev[1], apparatus.pitch_angles_deg[0]))
    return CombSearch(band_hz, 1.02 * highest)
