"""The network-seeded likelihood: the network says where to look, the likelihood measures, the network is the fallback.

It reads the network's predictions table, not the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from cres import schema
from cres.errors import UserError
from cres.estimation.bank import TemplateBank
from cres.estimation.likelihood import Likelihood, LikelihoodEstimator
from cres.estimation.matched_filter import profile
from cres.estimation.periodogram import Spectrum, centred_spectrum, refine_line
from cres.estimation.tables import Estimates
from cres.evaluation.table import PredictionTable
from cres.physics.cyclotron import cyclotron_frequency_hz
from cres.shapes import ComplexSeries, PerElectron

Array = NDArray[np.float64]
SEARCH_SIGMAS = 5.0
STARTS = 2
# The search is never narrower: a network may be too sure of itself.
NARROWEST_ENERGY_EV = 2.0
NARROWEST_TEMPLATES = 8


@dataclass(frozen=True)
class Seed:
    """The network's answer for a block of electrons, each (batch,)."""

    energy_ev: Array
    energy_std_ev: Array
    pitch_angle_deg: Array
    pitch_angle_std_deg: Array

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
        energy, pitch = schema.DEFAULT_TARGETS
        return cls(table.mean(energy)[rows], table.std(energy)[rows], table.mean(pitch)[rows], table.std(pitch)[rows])


class SeededEstimator:
    """Wraps a likelihood estimator: its search is confined to the network's uncertainty."""

    def __init__(self, likelihood: LikelihoodEstimator) -> None:
        self.likelihood = likelihood
        self.apparatus = likelihood.apparatus

    def estimate(self, data: ComplexSeries, seed: Seed) -> tuple[Likelihood, Bool[Tensor, "batch"]]:
        """Return the fits and where they failed, so that the network's answer is the better one."""
        rate = self.apparatus.reception.sampling_rate_hz
        spectrum = centred_spectrum(data, rate)
        carrier = refine_line(data, self._carrier_hz(spectrum, seed), rate)
        bank = self.likelihood.fine
        window = template_window(bank, *self._axial_range(seed))
        searched = profile(spectrum, self.apparatus.noise_std_volt, bank, carrier, window)
        found = self.likelihood.fit_candidates(data, carrier, searched, STARTS)
        return found, found.failed

    def _carrier_hz(self, spectrum: Spectrum, seed: Seed) -> PerElectron:
        """Return the strongest line that the network's energy and pitch angle allow."""
        trap, reception = self.apparatus.trap, self.apparatus.reception
        radius = np.zeros_like(seed.energy_ev)
        pitch = np.minimum(seed.pitch_angle_deg, 90.0)
        width = np.maximum(SEARCH_SIGMAS * seed.energy_std_ev, NARROWEST_ENERGY_EV)
        middle, other_energy, other_pitch = (
            np.asarray(cyclotron_frequency_hz(energy, trap.average_field_t(energy, angle, radius)))
            for energy, angle in (
                (seed.energy_ev, pitch),
                (seed.energy_ev + width, pitch),
                (seed.energy_ev, pitch - SEARCH_SIGMAS * seed.pitch_angle_std_deg),
            )
        )
        reach = np.abs(other_energy - middle) + np.abs(other_pitch - middle)
        steps = int(np.ceil(reach.max() / spectrum.bin_hz))
        offsets = torch.arange(-steps, steps + 1, dtype=torch.float64) * spectrum.bin_hz
        tried = torch.from_numpy(middle - reception.lo_frequency_hz)[:, None] + offsets
        allowed = offsets.abs() <= torch.from_numpy(reach)[:, None] + spectrum.bin_hz
        power = spectrum.at(tried).abs().square() * allowed
        # values sit on the spectrum's grid, the Newton steps that follow take up the rest
        return tried.gather(1, power.argmax(1, keepdim=True))[:, 0]

    def _axial_range(self, seed: Seed) -> tuple[PerElectron, PerElectron]:
        """Return the lowest and highest axial frequency within the network's pitch angle."""
        radius = np.zeros_like(seed.energy_ev)
        width = SEARCH_SIGMAS * seed.pitch_angle_std_deg
        low, high = self.apparatus.pitch_angles_deg
        angles = [np.clip(seed.pitch_angle_deg + sign * width, low - 0.1, high - 1e-3) for sign in (1, -1)]
        rates = [self.apparatus.trap.axial_frequency_hz(seed.energy_ev, angle, radius) for angle in angles]
        return torch.tensor(rates[0]), torch.tensor(rates[1])


def template_window(bank: TemplateBank, low_hz: PerElectron, high_hz: PerElectron) -> Tensor:
    """Return template indices (batch, position) that cover each electron's range; one width for the whole batch."""
    first = torch.searchsorted(bank.axial_hz, low_hz.contiguous()) - NARROWEST_TEMPLATES
    last = torch.searchsorted(bank.axial_hz, high_hz.contiguous()) + NARROWEST_TEMPLATES
    width = int((last - first).max().clamp(max=len(bank.axial_hz)))
    middle = (first + last) // 2
    begin = (middle - width // 2).clamp(0, len(bank.axial_hz) - width)
    return begin[:, None] + torch.arange(width)


def with_network(estimates: Estimates, seed: Seed, fell_back: Bool[Tensor, "batch"]) -> Estimates:
    """Return the estimates with the network's values where the fit failed; the column `fell_back` says where."""
    use = fell_back.numpy()
    network = (seed.energy_ev, seed.pitch_angle_deg)
    spread = (seed.energy_std_ev, seed.pitch_angle_std_deg)
    targets = schema.DEFAULT_TARGETS
    values = {name: np.where(use, network[i], estimates.values[name]) for i, name in enumerate(targets)}
    std = {name: np.where(use, spread[i], estimates.std[name]) for i, name in enumerate(targets)}
    diagonal = np.stack(spread, 1)[:, :, None] ** 2 * np.eye(2)
    covariance = diagonal if estimates.covariance is None else estimates.covariance.copy()
    covariance[use] = diagonal[use]
    return replace(
        estimates, values=values, std=std, covariance=covariance, extra={**estimates.extra, "fell_back": use}
    )
