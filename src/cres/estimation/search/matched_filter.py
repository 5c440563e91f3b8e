"""The matched filter of one apparatus: detection, then the best templates; what every likelihood fit starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cres.estimation.apparatus import LARGEST_PITCH_DEG, TYPICAL_RADIUS_M, Apparatus
from cres.estimation.noise import Coloured, NoiseModel, White
from cres.estimation.search.building import build_banks, carrier_grid, coarse_bank, fine_bank, joined_banks
from cres.estimation.search.chirps import best_rate, chirp_rates_hz_per_s, without_chirp
from cres.estimation.search.detection import Detected, detect, false_alarm_threshold
from cres.estimation.search.periodogram import PADDING, Spectrum, centred_spectrum, refine_line, strongest_lines_near
from cres.estimation.search.templates import TemplateBank, TemplateProfile, profile, profile_within
from reconstruction.shapes import ComplexSeries, PerRow

FALSE_ALARM_PROBABILITY = 1e-3
NOISE_BLOCK = 32
ENERGY_ROOM_EV, PITCH_ROOM_DEG = 20.0, 0.05
"""Templates reach a little beyond the window."""
CARRIERS, CARRIER_HEIGHT = 4, 0.6
"""Lines that are tried as the carrier, and their height over that of the strongest, which may be a sideband by chance,
or noise."""
INNERMOST = 0.06
"""First radius of templates over the largest: on the axis there is no signal."""


def template_radii_m(apparatus: Apparatus) -> tuple[float, ...]:
    """Return the radii at which templates are made: one where the radius moves no line, else the whole range."""
    largest = apparatus.largest_radius_m
    radii = np.array([INNERMOST * largest, largest])
    field = np.asarray(apparatus.trap.average_field_t(np.full(2, apparatus.middle_energy_ev), np.full(2, 89.0), radii))
    return (TYPICAL_RADIUS_M,) if field[0] == field[1] else (float(radii[0]), TYPICAL_RADIUS_M, float(radii[1]))


@dataclass(frozen=True)
class Found:
    """What the filter found in each record."""

    statistic: PerRow
    """Detection statistic over the thin bank: the log likelihood ratio against noise alone."""
    carrier_hz: PerRow
    """After mixing, at the middle of the record."""
    chirp_hz_per_s: PerRow
    """How fast it rises; 0 in records that are too short to tell."""
    templates: TemplateProfile
    """All fine templates at this carrier."""


@dataclass(frozen=True)
class Region:
    """Where lines may be, as somebody else has told, (batch,) each; carriers before mixing."""

    carrier_hz: PerRow
    carrier_reach_hz: PerRow
    lowest_axial_hz: PerRow
    highest_axial_hz: PerRow


def noise_over_white(noise: NoiseModel, apparatus: Apparatus, frequency_hz: Tensor) -> Tensor:
    """Return a noise's standard deviation at frequencies over that of an apparatus's white noise."""
    if not isinstance(noise, Coloured):
        return torch.ones_like(frequency_hz)
    samples = len(noise.std_volt)
    index = torch.round(frequency_hz * samples / apparatus.reception.sampling_rate_hz).long() % samples
    return noise.std_volt[index] / apparatus.noise_std_volt


class MatchedFilter:
    """Templates are made once from the forward model."""

    def __init__(self, apparatus: Apparatus, noise: NoiseModel | None = None) -> None:
        self.apparatus = apparatus
        self.noise = (noise or White(apparatus.noise_std_volt)).to(apparatus.device)
        (low_ev, high_ev), (low_deg, high_deg) = apparatus.energies_ev, apparatus.pitch_angles_deg
        by_radius = build_banks(
            apparatus.model,
            apparatus.trap,
            apparatus.reception,
            energies_ev=(low_ev - ENERGY_ROOM_EV, high_ev + ENERGY_ROOM_EV),
            pitch_angles_deg=(low_deg - PITCH_ROOM_DEG, min(high_deg, LARGEST_PITCH_DEG)),
            radii_m=template_radii_m(apparatus),
            device=apparatus.device,
        )
        self.fine = self._weighted(joined_banks([fine_bank(bank) for banks in by_radius for bank in banks]))
        # the outermost radius reaches the highest axial frequency; at one frequency the lines hardly depend on it
        self.coarse = self._weighted(joined_banks([coarse_bank(bank) for bank in by_radius[-1]]))
        self.carriers_hz = carrier_grid(self.fine)
        self.chirps_hz_per_s = chirp_rates_hz_per_s(apparatus)

    def __call__(self, data: ComplexSeries) -> Found:
        """Search the thin bank everywhere, at every chirp, then the dense one at the best carrier and chirp."""
        noise = self.apparatus.noise_std_volt
        found, chirp = self._detected(data, self.spectrum)
        steady = self.steady(data, chirp)
        carrier = refine_line(steady, found.carrier_hz, self.apparatus.reception.sampling_rate_hz)
        return Found(found.statistic, carrier, chirp, profile(self.spectrum(steady), noise, self.fine, carrier))

    def within(self, data: ComplexSeries, region: Region) -> TemplateProfile:
        """Return the dense templates of each region at its strongest lines, which are candidates for the carrier."""
        # single precision is enough to find a start
        data = data.to(torch.complex64)
        reception, (low, high) = self.apparatus.reception, self.fine.carrier_band_hz
        centre = (region.carrier_hz - reception.lo_frequency_hz).clamp(low, high)
        # somebody else may mean the carrier at the start
        moved = float(self.chirps_hz_per_s.abs().max()) * reception.middle_s
        reach = region.carrier_reach_hz + reception.bin_hz / PADDING + moved
        strongest = partial(strongest_lines_near, centre_hz=centre, reach_hz=reach, widest_hz=high - low)
        if len(self.chirps_hz_per_s) > 1:
            # one after the other: all of them together are sixteen times the records
            turned = (self.steady(data, rate.expand(len(data))) for rate in self.chirps_hz_per_s)
            highest = [strongest(self.spectrum(steady))[1][:, 0] for steady in turned]
            data = self.steady(data, best_rate(self.chirps_hz_per_s, torch.stack(highest, 1)))
        spectrum = self.spectrum(data)
        lines, heights = strongest(spectrum, count=CARRIERS, share=CARRIER_HEIGHT)
        window = self.fine.window(region.lowest_axial_hz, region.highest_axial_hz)
        return profile_within(spectrum, self.apparatus.noise_std_volt, self.fine, lines, heights > 0, window)

    def around(self, data: ComplexSeries, found: Found) -> TemplateProfile:
        """Return the dense templates at the carrier that was found and at the other strong lines of the band."""
        spectrum = self.spectrum(self.steady(data, found.chirp_hz_per_s))
        low, high = self.fine.carrier_band_hz
        middle = torch.full_like(found.carrier_hz, (low + high) / 2)
        lines, heights = strongest_lines_near(spectrum, middle, middle - low, high - low, CARRIERS, CARRIER_HEIGHT)
        others = (lines - found.carrier_hz[:, None]).abs() > self.apparatus.reception.bin_hz
        window = torch.arange(len(self.fine.axial_hz), device=middle.device).expand(len(middle), -1)
        sought = (heights > 0) & others
        searched = profile_within(spectrum, self.apparatus.noise_std_volt, self.fine, lines, sought, window)
        return TemplateProfile.beside_each_other([found.templates, searched])

    def statistic(self, data: ComplexSeries) -> PerRow:
        """Return the detection statistic alone."""
        return self._detected(data, self.spectrum)[0].statistic

    def steady(self, data: ComplexSeries, chirp_hz_per_s: PerRow) -> ComplexSeries:
        """Return records without the rise of their lines, which the templates do not have."""
        return data if len(self.chirps_hz_per_s) == 1 else without_chirp(data, chirp_hz_per_s, self.apparatus)

    def _detected(
        self, data: ComplexSeries, spectrum_of: Callable[[ComplexSeries], Spectrum]
    ) -> tuple[Detected, PerRow]:
        """Return the best templates at the best of the chirps, and the chirp between them."""
        tried = [
            detect(
                spectrum_of(self.steady(data, rate.expand(len(data)))),
                self.apparatus.noise_std_volt,
                self.coarse,
                self.carriers_hz,
            )
            for rate in self.chirps_hz_per_s
        ]
        if len(tried) == 1:
            return tried[0], torch.zeros_like(tried[0].statistic)
        best = tried[0]
        for other in tried[1:]:
            best = best.or_better(other)
        return best, best_rate(self.chirps_hz_per_s, torch.stack([one.statistic for one in tried], 1))

    def spectrum(self, data: ComplexSeries, padding: int = PADDING) -> Spectrum:
        """Return the spectrum of records over that of the noise: as in white noise of the apparatus's level."""
        plain = centred_spectrum(data, self.apparatus.reception.sampling_rate_hz, padding)
        if isinstance(self.noise, White):
            return plain
        values = plain.values
        frequency_hz = torch.fft.fftfreq(
            values.shape[1], 1 / plain.sampling_rate_hz, dtype=torch.float64, device=values.device
        )
        return Spectrum(values / self.noise_over_white(frequency_hz), plain.sampling_rate_hz, plain.samples)

    def noise_over_white(self, frequency_hz: Tensor) -> Tensor:
        """Return the noise's standard deviation at frequencies over that of the apparatus's white noise."""
        return noise_over_white(self.noise, self.apparatus, frequency_hz)

    def _weighted(self, bank: TemplateBank) -> TemplateBank:
        """Return templates whose lines count by the noise under them."""
        if isinstance(self.noise, White):
            return bank
        frequency = bank.carrier_hz[:, :, None] + bank.harmonics * bank.axial_hz[None, :, None]
        lines = bank.amplitudes / self.noise_over_white(frequency)
        return replace(bank, amplitudes=lines / lines.abs().square().sum(-1, keepdim=True).sqrt())

    def noise_maxima(self, records: int, seed: int) -> Tensor:
        """Return the detection statistic of records of noise alone, (records,)."""
        generator = torch.Generator().manual_seed(seed)
        white = partial(centred_spectrum, sampling_rate_hz=self.apparatus.reception.sampling_rate_hz)
        maxima = []
        for begin in range(0, records, NOISE_BLOCK):
            shape = (min(NOISE_BLOCK, records - begin), self.apparatus.reception.samples, 2)
            noise = torch.randn(shape, dtype=torch.float64, generator=generator) * self.apparatus.noise_std_volt
            # over its own spectrum noise of any colour is white
            drawn = torch.view_as_complex(noise).to(self.apparatus.device)
            maxima.append(self._detected(drawn, white)[0].statistic)
        return torch.cat(maxima)

    def threshold(self, probability: float = FALSE_ALARM_PROBABILITY, records: int = 500, seed: int = 0) -> float:
        """Return the statistic that a record of noise alone exceeds with this probability, from `records` of them."""
        # carrier, axial frequency, axial phase; and the chirp where it counts
        dimensions = 3 if len(self.chirps_hz_per_s) == 1 else 4
        return false_alarm_threshold(self.noise_maxima(records, seed), probability, dimensions)
