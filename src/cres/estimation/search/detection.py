"""Matched filter over the template bank: common phase and amplitude maximised exactly, carrier and axial phase by FFT.

Statistic: q = max |Σ_m a_m* e^{−imψ} X(f_c + m f_a)|² / (N σ_c²), the logarithm of the likelihood ratio against noise
alone; for one template under noise alone it is exponential with mean 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cres.estimation.search.periodogram import Spectrum
from cres.estimation.search.templates import FINE_PHASES, TemplateBank, axial_turns
from reconstruction.shapes import PerRow

COARSE_TEMPLATES = 64
COARSE_PHASES = 8
STRONG_SIDEBAND = 0.4
"""A sideband's share of the power that makes detection depend on it."""
# Spacing of fine templates: the outermost strong line (m = 2) then moves by an eighth of a natural bin.
FINE_STEPS_PER_BIN = 8
SLOW_BINS = 4.0
"""Below so many natural bins of axial frequency the lines of a template overlap, and must be read exactly."""


@dataclass(frozen=True)
class Detected:
    """Best templates: carrier after mixing and axial phase at the middle of the record. Shapes (batch,)."""

    statistic: PerRow
    carrier_hz: PerRow
    template: Int[Tensor, "batch"]
    axial_phase_rad: PerRow


def phase_step_rad(bank: TemplateBank, count: int) -> float:
    """Return the distance of the axial phases tried."""
    return (math.pi if bool((bank.harmonics % 2 == 0).all()) else 2 * math.pi) / count


def coarse_bank(bank: TemplateBank, templates: int = COARSE_TEMPLATES) -> TemplateBank:
    """Return a thin bank for detection: sidebands mostly carry 15 % of the power, so little is lost between templates.

    Where one is as strong as the carrier, templates lie so near that it moves by at most half a bin between them.
    Slow bounces are left out, they are detected by their carrier.
    """
    low, high = max(float(bank.axial_hz[0]), SLOW_BINS * bank.reception.bin_hz), float(bank.axial_hz[-1])
    sidebands = bank.amplitudes[..., bank.harmonics != 0].abs().square()
    if bool((sidebands > STRONG_SIDEBAND).any()):
        step_hz = bank.reception.bin_hz / float(bank.harmonics.abs().max())
        templates = max(templates, math.ceil((high - low) / step_hz) + 1)
    return bank.resampled(torch.linspace(low, high, templates, dtype=torch.float64, device=bank.device))


def carrier_grid(bank: TemplateBank) -> Float[Tensor, "carrier"]:
    """Return the carriers to try in detection: every half natural bin of the bank's band."""
    low, high = bank.carrier_band_hz
    return torch.arange(low, high, bank.reception.bin_hz / 2, dtype=torch.float64, device=bank.device)


def fine_bank(bank: TemplateBank) -> TemplateBank:
    """Return a bank so dense that the sidebands stay within a small part of a natural bin."""
    low, high = float(bank.axial_hz[0]), float(bank.axial_hz[-1])
    step = bank.reception.bin_hz / FINE_STEPS_PER_BIN
    return bank.resampled(torch.arange(low, high, step, dtype=torch.float64, device=bank.device))


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


@dataclass(frozen=True)
class Profile:
    """The statistic of templates at their best phase, all (batch, position)."""

    template: Int[Tensor, "batch position"]
    statistic: Float[Tensor, "batch position"]
    axial_phase_rad: Float[Tensor, "batch position"]


def profile(
    spectrum: Spectrum,
    noise_std_volt: float,
    bank: TemplateBank,
    carrier_hz: PerRow,
    template: Int[Tensor, "batch position"] | None = None,
) -> Profile:
    """Search templates of a fine bank (default: all) at one carrier an electron, the refined strongest line."""
    if template is None:
        template = torch.arange(len(bank.axial_hz), device=bank.device).expand(len(carrier_hz), -1)
    node = bank.energy_index(carrier_hz[:, None].expand(template.shape), template)
    lines = bank.amplitudes[node, template]
    frequency = carrier_hz[:, None, None] + bank.axial_hz[template][:, :, None] * bank.harmonics
    values = spectrum.at(frequency)
    # the carrier, most of the power and the same for all templates, and slow bounces, whose lines overlap, exactly
    carrier = spectrum.between(torch.arange(len(carrier_hz), device=carrier_hz.device), carrier_hz)
    values[:, :, bank.harmonics == 0] = carrier[:, None, None].to(values.dtype)
    slow = torch.nonzero(bank.axial_hz[template] < SLOW_BINS * bank.reception.bin_hz, as_tuple=True)
    values[slow] = spectrum.between(slow[0], frequency[slow]).to(values.dtype)
    phases = axial_turns(FINE_PHASES, bank.harmonics).to(values.dtype)
    turned = torch.view_as_real((values * lines.conj().to(values.dtype)) @ phases)
    power = turned.square().sum(-1).double()
    power /= bank.norms[node, template]
    phase = power.argmax(2, keepdim=True)
    best, offset = _top(*(power.gather(2, (phase + k) % FINE_PHASES)[:, :, 0] for k in (-1, 0, 1)))
    unit = spectrum.samples * 2 * noise_std_volt**2
    return Profile(template, best / unit, (phase[:, :, 0] + offset) * phase_step_rad(bank, FINE_PHASES))


def _top(left: Tensor, middle: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return height and place, within ±½, of the top of the parabola through three values, the middle highest."""
    bend = left - 2 * middle + right
    offset = torch.where(bend < 0, (left - right) / (2 * torch.where(bend < 0, bend, -1.0)), 0.0).clamp(-0.5, 0.5)
    return middle - (left - right) * offset / 4, offset


def best_templates(found: Profile, count: int, apart: int) -> Int[Tensor, "batch count"]:
    """Return the `count` highest positions of each row that lie at least `apart` positions from each other."""
    remaining = found.statistic.clone()
    index = torch.arange(remaining.shape[1], device=remaining.device)
    chosen = []
    for _ in range(count):
        best = remaining.argmax(1)
        chosen.append(best)
        remaining[(index - best[:, None]).abs() < apart] = -1.0
    return torch.stack(chosen, 1)


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
