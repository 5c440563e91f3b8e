"""The network-seeded likelihood: the network says where to look, the likelihood measures, the network is the fallback.

It reads the network's predictions table, not the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from cres import schema
from cres.errors import UserError
from cres.estimation.estimates import Estimates
from cres.estimation.fit.likelihood import Likelihood, LikelihoodEstimator
from cres.estimation.placement import on_host
from cres.estimation.search.detection import Profile, profile
from cres.estimation.search.periodogram import Spectrum, parabolic_peak
from cres.estimation.search.templates import TemplateBank
from cres.physics.cyclotron import cyclotron_frequency_hz
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.shapes import ComplexSeries, PerRow

Array = NDArray[np.float64]
SEARCH_SIGMAS = 5.0
# The whole spread of a prediction counts its other modes: a mixture's second component lies inside.
SEARCH_SPREADS = 3.0
STARTS = 2
# A seeded fit starts so near that one that is not done by then swings about for other reasons.
STEPS = 8
# The search is never narrower: a network may be too sure of itself.
NARROWEST_ENERGY_EV = 2.0
NARROWEST_TEMPLATES = 8
# Electrons whose window is wider are searched apart, so that they do not widen everybody's.
NARROW_WINDOW = 96


@dataclass(frozen=True)
class Seed:
    """The network's answer for a block of electrons, each (batch,).

    std: the central 68 % of the prediction; reach: how far around it the search goes, `SEARCH_SIGMAS` std and
    `SEARCH_SPREADS` of the whole distribution's standard deviation, so that no mode is left out.
    """

    energy_ev: Array
    energy_std_ev: Array
    energy_reach_ev: Array
    pitch_angle_deg: Array
    pitch_angle_std_deg: Array
    pitch_angle_reach_deg: Array

    @classmethod
    def of(cls, table: PredictionTable, event_id: NDArray[np.int64]) -> Seed:
        """Look electrons up in a predictions table. Raises UserError where one is missing."""
        order = np.argsort(table.event_id)
        place = np.searchsorted(table.event_id, event_id, sorter=order).clip(max=len(table) - 1)
        rows = order[place]
        missing = table.event_id[rows] != event_id
        if missing.any():
            raise UserError(
                f"the network's table has no event {event_id[missing][0]} ({missing.sum()} of {len(event_id)} are "
                "missing): predict the same split of the same data"
            )
        columns = []
        for name in schema.DEFAULT_TARGETS:
            std = table.std(name)[rows]
            spread = table.column(schema.spread_name(name))[rows] if schema.spread_name(name) in table else std
            columns += [table.mean(name)[rows], std, np.maximum(SEARCH_SIGMAS * std, SEARCH_SPREADS * spread)]
        return cls(*columns)


class SeededEstimator:
    """Wraps a likelihood estimator: its search is confined to the network's uncertainty."""

    def __init__(self, likelihood: LikelihoodEstimator) -> None:
        self.likelihood = likelihood
        self.apparatus = likelihood.apparatus

    def estimate(self, data: ComplexSeries, seed: Seed) -> tuple[Likelihood, Bool[Tensor, "batch"]]:
        """Return the fits and where they failed, so that the network's answer is the better one."""
        # single precision is enough to find a start
        spectrum = self.likelihood.search.spectrum(data.to(torch.complex64))
        carrier = self._carrier_hz(spectrum, seed)
        templates = self._templates(spectrum, carrier, seed)
        found = self.likelihood.fit_candidates(data, carrier, templates, STARTS, STEPS)
        return found, found.failed

    def _carrier_hz(self, spectrum: Spectrum, seed: Seed) -> PerRow:
        """Return the strongest line that the network's energy and pitch angle allow, between the values by parabola."""
        trap, reception = self.apparatus.trap, self.apparatus.reception
        radius = np.zeros_like(seed.energy_ev)
        pitch = np.minimum(seed.pitch_angle_deg, 90.0)
        width = np.maximum(seed.energy_reach_ev, NARROWEST_ENERGY_EV)
        middle, other_energy, other_pitch = (
            np.asarray(cyclotron_frequency_hz(energy, trap.average_field_t(energy, angle, radius)))
            for energy, angle in (
                (seed.energy_ev, pitch),
                (seed.energy_ev + width, pitch),
                (seed.energy_ev, pitch - seed.pitch_angle_reach_deg),
            )
        )
        device = self.apparatus.device
        apart = torch.from_numpy(np.abs(other_energy - middle) + np.abs(other_pitch - middle))
        reach = apart.to(device) + spectrum.bin_hz
        low, high = self.likelihood.fine.carrier_band_hz
        centre = torch.from_numpy(middle - reception.lo_frequency_hz).to(device).clamp(low, high)
        steps = min(math.ceil(float(reach.max()) / spectrum.bin_hz), math.ceil((high - low) / spectrum.bin_hz))
        offsets = torch.arange(-steps, steps + 1, dtype=torch.float64, device=device) * spectrum.bin_hz
        first = torch.round(centre / spectrum.bin_hz) * spectrum.bin_hz
        power = spectrum.at(first[:, None] + offsets).abs() * (offsets.abs() <= reach[:, None])
        best, between = parabolic_peak(power)
        return first + offsets[best] + between * spectrum.bin_hz

    def _templates(self, spectrum: Spectrum, carrier_hz: PerRow, seed: Seed) -> Profile:
        """Return the statistic of the templates in each electron's window; positions beyond it say −∞."""
        bank = self.likelihood.fine
        window = template_window(bank, *self._axial_range(seed))
        wide = (window >= 0).sum(1) > NARROW_WINDOW
        template = window.clamp_min(0)
        statistic = torch.full(window.shape, -math.inf, dtype=torch.float64, device=window.device)
        phase = torch.zeros_like(statistic)
        for rows, width in ((torch.nonzero(~wide)[:, 0], NARROW_WINDOW), (torch.nonzero(wide)[:, 0], window.shape[1])):
            part = Spectrum(spectrum.values[rows], spectrum.sampling_rate_hz, spectrum.samples)
            found = profile(part, self.apparatus.noise_std_volt, bank, carrier_hz[rows], template[rows, :width])
            statistic[rows, :width], phase[rows, :width] = found.statistic, found.axial_phase_rad
        return Profile(template, torch.where(window >= 0, statistic, -math.inf), phase)

    def _axial_range(self, seed: Seed) -> tuple[PerRow, PerRow]:
        """Return the lowest and highest axial frequency within the network's pitch angle."""
        radius = np.zeros_like(seed.energy_ev)
        low, high = self.apparatus.pitch_angles_deg
        reach = seed.pitch_angle_reach_deg
        angles = [np.clip(seed.pitch_angle_deg + s * reach, low - 0.1, high - 1e-3) for s in (1, -1)]
        rates = [self.apparatus.trap.axial_frequency_hz(seed.energy_ev, angle, radius) for angle in angles]
        lowest, highest = (torch.tensor(rate, device=self.apparatus.device) for rate in rates)
        return lowest, highest


def template_window(bank: TemplateBank, low_hz: PerRow, high_hz: PerRow) -> Int[Tensor, "batch position"]:
    """Return the indices of the templates that cover each electron's range, −1 after the last one."""
    count = len(bank.axial_hz)
    first = torch.searchsorted(bank.axial_hz, low_hz.contiguous()) - NARROWEST_TEMPLATES
    last = torch.searchsorted(bank.axial_hz, high_hz.contiguous()) + NARROWEST_TEMPLATES
    first = first.clamp(0, count - 2 * NARROWEST_TEMPLATES)
    last = torch.maximum(last.clamp(max=count), first + 2 * NARROWEST_TEMPLATES)
    longest = max(NARROW_WINDOW, int((last - first).max()))
    window = first[:, None] + torch.arange(longest, device=first.device)
    return torch.where(window < last[:, None], window, -1)


def with_network(estimates: Estimates, seed: Seed, fell_back: Bool[Tensor, "batch"]) -> Estimates:
    """Return the estimates with the network's values where the fit failed; the column `fell_back` says where."""
    use = on_host(fell_back)
    network = (seed.energy_ev, seed.pitch_angle_deg)
    spread = (seed.energy_std_ev, seed.pitch_angle_std_deg)
    targets = schema.DEFAULT_TARGETS
    values = {name: np.where(use, network[i], estimates.values[name]) for i, name in enumerate(targets)}
    std = {name: np.where(use, spread[i], estimates.std[name]) for i, name in enumerate(targets)}
    diagonal = np.stack(spread, 1)[:, :, None] ** 2 * np.eye(2)
    covariance = diagonal if estimates.covariance is None else estimates.covariance.copy()
    covariance[use] = diagonal[use]
    extra = {**estimates.extra, **_without_others(estimates.extra, use, np.stack(network, 1), np.stack(spread, 1))}
    return replace(estimates, values=values, std=std, covariance=covariance, extra={**extra, "fell_back": use})


def _without_others(
    extra: Mapping[str, NDArray[Any]], use: NDArray[np.bool_], mean: Array, std: Array
) -> dict[str, NDArray[Any]]:
    """Return the posterior's columns with one Gaussian, the network's error bars, for the electrons of `use`."""
    known = schema.POSTERIOR_COLUMNS[:3]
    if not set(known) <= set(extra):
        return {}
    weight, means, cholesky = (np.array(extra[name]) for name in known)
    weight[use] = np.arange(weight.shape[1]) == 0
    means[use] = mean[use][:, None]
    cholesky[use] = (std[use][:, :, None] * np.eye(2))[:, None]
    return dict(zip(known, (weight, means, cholesky), strict=True))
