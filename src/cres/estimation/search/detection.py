"""Detection: the thin bank at every carrier, and how high noise alone reaches."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cres.estimation.search.periodogram import Spectrum
from cres.estimation.search.templates import TemplateBank, axial_turns, phase_step_rad
from reconstruction.shapes import PerRow

COARSE_PHASES = 8


@dataclass(frozen=True)
class Detected:
    """Best templates: carrier after mixing and axial phase at the middle of the record. Shapes (batch,)."""

    statistic: PerRow
    carrier_hz: PerRow
    template: Int[Tensor, "batch"]
    axial_phase_rad: PerRow

    def or_better(self, other: Detected) -> Detected:
        """Return, for each record, the one of the higher statistic."""
        won = other.statistic > self.statistic
        return Detected(*(torch.where(won, getattr(other, f.name), getattr(self, f.name)) for f in fields(self)))


def detect(
    spectrum: Spectrum, noise_std_volt: float, bank: TemplateBank, carriers_hz: Float[Tensor, "carrier"]
) -> Detected:
    """Search every record over all templates, carriers (the same for all records) and axial phases."""
    batch = len(spectrum.values)
    phases = axial_turns(COARSE_PHASES, bank.harmonics)
    nothing = torch.zeros(batch, dtype=torch.float64, device=bank.device)
    best = Detected(nothing, nothing, nothing.long(), nothing)
    for template in range(len(bank.axial_hz)):
        column = torch.full((len(carriers_hz),), template, device=bank.device)
        lines = bank.amplitudes[bank.energy_index(carriers_hz, column), template]
        frequency = carriers_hz[:, None] + bank.harmonics * bank.axial_hz[template]
        values = spectrum.values[:, spectrum.index(frequency).flatten()].reshape(batch, *frequency.shape)
        # |z|² without the square root that abs would take
        power = torch.view_as_real((values * lines.conj()) @ phases).square().sum(-1).flatten(1)
        best = _better(best, power, template, carriers_hz)
    unit = spectrum.samples * 2 * noise_std_volt**2
    step = phase_step_rad(bank, COARSE_PHASES)
    return Detected(best.statistic / unit, best.carrier_hz, best.template, best.axial_phase_rad * step)


def _better(best: Detected, power: Float[Tensor, "batch point"], template: int, carriers_hz: Tensor) -> Detected:
    """Return the better of the best so far and this template; the phase still as an index."""
    value, point = power.max(1)
    won = value > best.statistic
    return Detected(
        torch.where(won, value, best.statistic),
        torch.where(won, carriers_hz[point // COARSE_PHASES], best.carrier_hz),
        torch.where(won, template, best.template),
        torch.where(won, (point % COARSE_PHASES).double(), best.axial_phase_rad),
    )


def false_alarm_threshold(maxima: Float[Tensor, "record"], probability: float, dimensions: int = 3) -> float:
    """Return the statistic that noise alone exceeds with a probability a record, from maxima of noise records.

    The maximum of a smooth χ²₂ field over D parameters (carrier, axial frequency, axial phase):
    P(max > q) = 1 − exp(−n q^{D/2} e^{−q}), the leading term of the expected number of peaks above q
    (Adler & Taylor 2007, ch. 15); n of highest likelihood is records / Σ q^{D/2} e^{−q}. D = 0: independent trials.
    """

    def peaks(q: Tensor) -> Tensor:
        return q ** (dimensions / 2) * torch.exp(-q)

    effective = len(maxima) / peaks(maxima).sum()
    tried = torch.linspace(dimensions / 2, 100.0, 200_001, dtype=torch.float64, device=maxima.device)
    passed = effective * peaks(tried) < -math.log1p(-probability)
    return float(tried[int(passed.to(torch.int8).argmax())])
