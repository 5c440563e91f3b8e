"""Templates of the matched filter as line spectra: a carrier and sidebands at multiples of the axial frequency.

A record of constant frequencies is Σ_m a_m exp(i m ψ) exp(2πi (f_c + m f_a)(t − t_mid)), ψ the axial phase at the
middle; a rise of the carrier is taken out before (`search.chirps`). One padded Fourier transform of the data then
serves every template: moving a template in carrier frequency reads the spectrum elsewhere, and the sum over m for all ψ
is itself a short Fourier sum.

Statistic: q = max |Σ_m a_m* e^{−imψ} X(f_c + m f_a)|² / (N σ_c²), the logarithm of the likelihood ratio against noise
alone; for one template under noise alone it is exponential with mean 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from cres.estimation.apparatus import Reception
from cres.estimation.search.periodogram import Spectrum
from reconstruction.shapes import PerRow

FINE_PHASES = 16
"""Axial phases that a dense bank is tried at."""
SLOW_BINS = 4.0
"""Below so many natural bins of axial frequency the lines of a template overlap, and must be read exactly."""
NARROW_WINDOW, NARROWEST_TEMPLATES = 96, 8
"""Templates that an electron's search covers, and how many more than it asks for, on either side. Who does not know it
so well that these are enough may be wrong about the rest, too: then all templates are read."""
BETWEEN_PHASES = 4
"""Phases a tried one at which the likelihood is averaged: what is between those tried follows from them."""
OPTIMUM_WIDTH_BINS = 1.0
"""Templates this close, in natural bins of the axial frequency, lie on one optimum."""
OPTIMUM_MARGIN = 3.0
"""An optimum this much below the best cannot win: the statistic is a log likelihood ratio up to the grid's losses, less
than a unit."""


@dataclass(frozen=True)
class TemplateBank:
    """Line amplitudes on a grid of energies (the cavity sees the carrier) and axial frequencies (the pitch angle)."""

    harmonics: Int[Tensor, "line"]
    axial_hz: Float[Tensor, "axial"]
    """Rising."""
    pitch_angle_deg: Float[Tensor, "energy axial"]
    """The pitch angle that has the axial frequency at this energy."""
    carrier_hz: Float[Tensor, "energy axial"]
    """After mixing, at the middle of the record; falls with energy."""
    amplitudes: Complex[Tensor, "energy axial line"]
    """At ψ = 0, of norm 1 over the lines, the carrier real."""
    energies_ev: Float[Tensor, "energy"]
    reception: Reception

    @property
    def device(self) -> torch.device:
        """Where the templates lie."""
        return self.axial_hz.device

    @property
    def reach_hz(self) -> float:
        """Distance of the outermost line from the carrier."""
        return float(self.harmonics.abs().max() * self.axial_hz[-1])

    @cached_property
    def norms(self) -> Float[Tensor, "energy axial phase"]:
        """(1/N) Σ_t |Σ_m a_m e^{imψ} e^{2πi m f_a (t − t_mid)}|² at the phases tried: 1 but for lines that overlap."""
        turns = self.axial_hz[:, None, None] * (self.harmonics - self.harmonics[:, None]) / self.reception.bin_hz
        gram = self.amplitudes.conj()[..., :, None] * self.amplitudes[..., None, :] * torch.sinc(turns)
        phases = axial_turns(FINE_PHASES, self.harmonics)
        return torch.einsum("mp,eamn,np->eap", phases, gram, phases.conj()).real

    @property
    def band_hz(self) -> tuple[float, float]:
        """Lines of all templates, after mixing."""
        low, high = self.carrier_band_hz
        return low - self.reach_hz, high + self.reach_hz

    @property
    def carrier_band_hz(self) -> tuple[float, float]:
        """Carriers of all templates, after mixing."""
        return float(self.carrier_hz.min()), float(self.carrier_hz.max())

    def window(self, lowest_hz: PerRow, highest_hz: PerRow) -> Int[Tensor, "batch position"]:
        """Return the templates that cover each electron's axial frequencies, −1 after the last; all beyond some."""
        count = len(self.axial_hz)
        first = torch.searchsorted(self.axial_hz, lowest_hz.contiguous()) - NARROWEST_TEMPLATES
        last = torch.searchsorted(self.axial_hz, highest_hz.contiguous()) + NARROWEST_TEMPLATES
        first = first.clamp(0, count - 2 * NARROWEST_TEMPLATES)
        last = torch.maximum(last.clamp(max=count), first + 2 * NARROWEST_TEMPLATES)
        wide = last - first > NARROW_WINDOW
        first, last = torch.where(wide, 0, first), torch.where(wide, count, last)
        longest = count if bool(wide.any()) else NARROW_WINDOW
        window = first[:, None] + torch.arange(longest, device=first.device)
        return torch.where(window < last[:, None], window, -1)

    def resampled(self, axial_hz: Float[Tensor, "other"]) -> TemplateBank:
        """Return the bank on another grid of axial frequencies, linear between the nodes."""
        upper = torch.searchsorted(self.axial_hz, axial_hz).clamp(1, len(self.axial_hz) - 1)
        left, right = self.axial_hz[upper - 1], self.axial_hz[upper]
        weight = (axial_hz - left) / (right - left)
        carrier = torch.lerp(self.carrier_hz[:, upper - 1], self.carrier_hz[:, upper], weight)
        pitch = torch.lerp(self.pitch_angle_deg[:, upper - 1], self.pitch_angle_deg[:, upper], weight)
        lines = self.amplitudes
        mixed = lines[:, upper - 1] + weight[:, None] * (lines[:, upper] - lines[:, upper - 1])
        return replace(self, axial_hz=axial_hz, pitch_angle_deg=pitch, carrier_hz=carrier, amplitudes=normalised(mixed))

    def energy_index(self, carrier_hz: Tensor, axial: Tensor) -> Int[Tensor, "..."]:
        """Return the energy node whose carrier is nearest, for carriers (…) and axial indices (…)."""
        distance = (self.carrier_hz.T[axial] - carrier_hz[..., None]).abs()
        return distance.argmin(-1)


@dataclass(frozen=True)
class Optima:
    """The best templates of all electrons, one row each; several rows may share an electron. Shapes (row,)."""

    electron: Int[Tensor, "row"]
    carrier_hz: Float[Tensor, "row"]
    axial_hz: Float[Tensor, "row"]
    axial_phase_rad: Float[Tensor, "row"]
    statistic: Float[Tensor, "row"]


@dataclass(frozen=True)
class TemplateProfile:
    """The statistic of templates of a bank, each at a carrier and its best phase, all (batch, position)."""

    bank: TemplateBank
    template: Int[Tensor, "batch position"]
    carrier_hz: Float[Tensor, "batch position"]
    statistic: Float[Tensor, "batch position"]
    evidence: Float[Tensor, "batch position"]
    """Logarithm of the likelihood ratio, averaged over the axial phases."""
    axial_phase_rad: Float[Tensor, "batch position"]

    @classmethod
    def beside_each_other(cls, profiles: Sequence[TemplateProfile]) -> TemplateProfile:
        """Return the positions of several profiles of one bank as those of one."""
        arrays = [field.name for field in fields(cls) if field.name != "bank"]
        return cls(profiles[0].bank, *(torch.cat([getattr(one, name) for one in profiles], 1) for name in arrays))

    def optima(self, count: int) -> Optima:
        """Return up to `count` optima of each electron whose statistic is within `OPTIMUM_MARGIN` of its best."""
        axial_hz = self.bank.axial_hz
        step_hz = float(axial_hz[1] - axial_hz[0])
        apart = max(1, round(OPTIMUM_WIDTH_BINS * self.bank.reception.bin_hz / step_hz))
        position = best_templates(self.statistic, self.carrier_hz, count, apart)
        statistic, carrier, phase = (
            values.gather(1, position) for values in (self.statistic, self.carrier_hz, self.axial_phase_rad)
        )
        between = _between(self.statistic, self.carrier_hz, position)
        axial = axial_hz[self.template.gather(1, position)] + step_hz * between
        electron, rank = torch.nonzero(statistic > statistic[:, :1] - OPTIMUM_MARGIN, as_tuple=True)
        return Optima(electron, *(values[electron, rank] for values in (carrier, axial, phase, statistic)))

    @cached_property
    def weights(self) -> Float[Tensor, "batch position"]:
        """The posterior probability of each template at its carrier, the prior flat in cos θ."""
        cosine = torch.cos(torch.deg2rad(self._middle_pitch_deg))
        density = torch.gradient(cosine)[0].abs().clamp_min(1e-300)
        return torch.softmax(self.evidence + density.log()[self.template], 1)

    def near(self, carrier_hz: PerRow, axial_hz: PerRow) -> Bool[Tensor, "batch position"]:
        """Return which templates lie on the optimum at a carrier and an axial frequency."""
        carrier = (self.carrier_hz - carrier_hz[:, None]).abs()
        axial = (self.bank.axial_hz[self.template] - axial_hz[:, None]).abs()
        return torch.maximum(carrier, axial) < OPTIMUM_WIDTH_BINS * self.bank.reception.bin_hz

    @property
    def pitch_angle_deg(self) -> Float[Tensor, "batch position"]:
        """The pitch angle of each template at the middle energy."""
        return self._middle_pitch_deg[self.template]

    @property
    def energy_ev(self) -> Float[Tensor, "batch position"]:
        """The energy that explains each template's carrier at its pitch angle.

        Linear between the bank's energies: off by some 10 meV in the middle of 60 eV.
        """
        table, energies = self.bank.carrier_hz.T[self.template], self.bank.energies_ev
        upper = (table > self.carrier_hz[:, :, None]).sum(2).clamp(1, len(energies) - 1)
        left, right = (table.gather(2, k[:, :, None])[:, :, 0] for k in (upper - 1, upper))
        part = (self.carrier_hz - left) / (right - left)
        return energies[upper - 1] + part * (energies[upper] - energies[upper - 1])

    @property
    def _middle_pitch_deg(self) -> Float[Tensor, "axial"]:
        return self.bank.pitch_angle_deg[len(self.bank.energies_ev) // 2]


def profile(
    spectrum: Spectrum,
    noise_std_volt: float,
    bank: TemplateBank,
    carrier_hz: PerRow,
    template: Int[Tensor, "batch position"] | None = None,
) -> TemplateProfile:
    """Search templates of a dense bank (default: all) at one carrier an electron, the refined strongest line."""
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
    power /= bank.norms[node, template] * (spectrum.samples * 2 * noise_std_volt**2)
    phase = power.argmax(2, keepdim=True)
    best, offset = _top(*(power.gather(2, (phase + k) % FINE_PHASES)[:, :, 0] for k in (-1, 0, 1)))
    turn = (phase[:, :, 0] + offset) * phase_step_rad(bank, FINE_PHASES)
    return TemplateProfile(bank, template, carrier_hz[:, None].expand(template.shape), best, _averaged(power), turn)


def _averaged(power: Float[Tensor, "batch position phase"]) -> Float[Tensor, "batch position"]:
    """Return ln ⟨e^q⟩ over a period from q at equally spaced phases, of which q is a trigonometric polynomial."""
    count = power.shape[2]
    dense = BETWEEN_PHASES * count
    apart = torch.arange(dense, dtype=power.dtype, device=power.device) * (2 * math.pi / dense)
    apart = apart - torch.arange(count, dtype=power.dtype, device=power.device)[:, None] * (2 * math.pi / count)
    orders = torch.arange(1, count // 2, dtype=power.dtype, device=power.device)
    kernel = 1 + 2 * torch.cos(orders * apart[..., None]).sum(2) + torch.cos(count / 2 * apart)
    return torch.logsumexp(power @ (kernel / count), 2) - math.log(dense)


def profile_within(
    spectrum: Spectrum,
    noise_std_volt: float,
    bank: TemplateBank,
    carrier_hz: Float[Tensor, "batch candidate"],
    sought: Bool[Tensor, "batch candidate"],
    window: Int[Tensor, "batch position"],
) -> TemplateProfile:
    """Search the templates of each electron's window (`TemplateBank.window`) at those of its carriers that are sought.

    Positions that are not searched say −∞.
    """
    wide = (window >= 0).sum(1) > NARROW_WINDOW
    template = window.clamp_min(0)
    found = []
    for carrier, wanted in zip(carrier_hz.unbind(1), sought.unbind(1), strict=True):
        nothing = torch.full(window.shape, -math.inf, dtype=torch.float64, device=window.device)
        values = nothing, nothing.clone(), torch.zeros_like(nothing)
        for rows, width in ((~wide & wanted, NARROW_WINDOW), (wide & wanted, window.shape[1])):
            chosen = torch.nonzero(rows)[:, 0]
            part = Spectrum(spectrum.values[chosen], spectrum.sampling_rate_hz, spectrum.samples)
            of_part = profile(part, noise_std_volt, bank, carrier[chosen], template[chosen, :width])
            for whole, some in zip(values, (of_part.statistic, of_part.evidence, of_part.axial_phase_rad), strict=True):
                whole[chosen, :width] = some
        statistic, evidence = (torch.where(window >= 0, one, -math.inf) for one in values[:2])
        at = carrier[:, None].expand(window.shape)
        found.append(TemplateProfile(bank, template, at, statistic, evidence, values[2]))
    return TemplateProfile.beside_each_other(found)


def _top(left: Tensor, middle: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return height and place, within ±½, of the top of the parabola through three values, the middle highest."""
    bend = left - 2 * middle + right
    offset = torch.where(bend < 0, (left - right) / (2 * torch.where(bend < 0, bend, -1.0)), 0.0).clamp(-0.5, 0.5)
    return middle - (left - right) * offset / 4, offset


def best_templates(
    statistic: Float[Tensor, "batch position"], carrier_hz: Float[Tensor, "batch position"], count: int, apart: int
) -> Int[Tensor, "batch count"]:
    """Return the `count` highest positions of each row, those of one carrier at least `apart` from each other."""
    remaining = statistic.clone()
    index = torch.arange(remaining.shape[1], device=remaining.device)
    chosen = []
    for _ in range(count):
        best = remaining.argmax(1, keepdim=True)
        chosen.append(best[:, 0])
        remaining[((index - best).abs() < apart) & (carrier_hz == carrier_hz.gather(1, best))] = -math.inf
    return torch.stack(chosen, 1)


def _between(
    statistic: Float[Tensor, "batch position"],
    carrier_hz: Float[Tensor, "batch position"],
    position: Int[Tensor, "batch count"],
) -> Tensor:
    """Return how far, within ±½, the top of the parabola through each position and its neighbours lies."""
    inside = position.clamp(1, statistic.shape[1] - 2)
    left, middle, right = (statistic.gather(1, inside + k) for k in (-1, 0, 1))
    before, after = (carrier_hz.gather(1, inside + k) for k in (-1, 1))
    bend = left - 2 * middle + right
    top = (inside == position) & (before == after) & (bend < 0) & bend.isfinite()
    return torch.where(top, (left - right) / (2 * torch.where(top, bend, -1.0)), 0.0).clamp(-0.5, 0.5)


def axial_turns(count: int, harmonics: Tensor) -> Tensor:
    """Return e^{−imψ} (line, phase) for ψ over one period of the pattern: π when all harmonics are even."""
    period = math.pi if bool((harmonics % 2 == 0).all()) else 2 * math.pi
    psi = torch.arange(count, dtype=torch.float64, device=harmonics.device) * period / count
    return torch.exp(-1j * harmonics[:, None] * psi)


def phase_step_rad(bank: TemplateBank, count: int) -> float:
    """Return the distance of the axial phases tried."""
    return (math.pi if bool((bank.harmonics % 2 == 0).all()) else 2 * math.pi) / count


def normalised(lines: Tensor) -> Tensor:
    """Return lines (…, line) of norm 1."""
    return lines / lines.abs().square().sum(-1, keepdim=True).sqrt()
