"""The matched filter of one apparatus: detection, then the best templates; what every likelihood fit starts from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.bank import TemplateBank, build_bank
from cres.estimation.matched_filter import (
    Profile,
    carrier_grid,
    coarse_bank,
    detect,
    false_alarm_threshold,
    fine_bank,
    profile,
)
from cres.estimation.periodogram import Spectrum, centred_spectrum, refine_line
from cres.shapes import ComplexSeries, PerElectron

FALSE_ALARM_PROBABILITY = 1e-3
NOISE_BLOCK = 32


@dataclass(frozen=True)
class Found:
    """What the filter found in each record."""

    spectrum: Spectrum
    statistic: PerElectron
    """Detection statistic over the thin bank: the log likelihood ratio against noise alone."""
    carrier_hz: PerElectron
    """After mixing, at the middle of the record."""
    templates: Profile
    """All fine templates at this carrier."""


class MatchedFilter:
    """Templates are made once from the forward model."""

    def __init__(self, apparatus: Apparatus, bank: TemplateBank | None = None) -> None:
        self.apparatus = apparatus
        bank = bank or build_bank(apparatus.model, apparatus.trap, apparatus.reception)
        self.fine, self.coarse = fine_bank(bank), coarse_bank(bank)
        self.carriers_hz = carrier_grid(bank)

    def __call__(self, data: ComplexSeries) -> Found:
        """Search the thin bank everywhere, then the dense one at the best carrier."""
        rate, noise = self.apparatus.reception.sampling_rate_hz, self.apparatus.noise_std_volt
        spectrum = centred_spectrum(data, rate)
        found = detect(spectrum, noise, self.coarse, self.carriers_hz)
        carrier = refine_line(data, found.carrier_hz, rate)
        return Found(spectrum, found.statistic, carrier, profile(spectrum, noise, self.fine, carrier))

    def statistic(self, data: ComplexSeries) -> PerElectron:
        """Return the detection statistic alone."""
        spectrum = centred_spectrum(data, self.apparatus.reception.sampling_rate_hz)
        return detect(spectrum, self.apparatus.noise_std_volt, self.coarse, self.carriers_hz).statistic

    def noise_maxima(self, records: int, seed: int) -> Tensor:
        """Return the detection statistic of records of white noise alone, (records,)."""
        generator = torch.Generator().manual_seed(seed)
        maxima = []
        for begin in range(0, records, NOISE_BLOCK):
            shape = (min(NOISE_BLOCK, records - begin), self.apparatus.reception.samples, 2)
            noise = torch.randn(shape, dtype=torch.float64, generator=generator) * self.apparatus.noise_std_volt
            maxima.append(self.statistic(torch.view_as_complex(noise)))
        return torch.cat(maxima)

    def threshold(self, probability: float = FALSE_ALARM_PROBABILITY, records: int = 500, seed: int = 0) -> float:
        """Return the statistic that a record of noise alone exceeds with this probability, from `records` of them."""
        return false_alarm_threshold(self.noise_maxima(records, seed), probability)
