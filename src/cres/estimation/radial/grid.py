"""The posterior over pitch angle and radius on a grid of templates, where the radius moves the carrier.

The gain is known, so a template s has a strength of its own. Likelihood ratio of data d against noise alone, the
common phase integrated out, all in units of the noise: I₀(|⟨s, d⟩|) exp(−⟨s, s⟩/2); the axial phase is averaged over,
and so is what is not known of the gain.
At the record's carrier each template has one energy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, Int, Shaped
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.placement import on_host
from cres.estimation.radial.phases import PhaseSums
from cres.estimation.search.matched_filter import ENERGY_ROOM_EV, INNERMOST, MatchedFilter
from cres.simulation.parameters import parameter_rows
from reconstruction.shapes import ComplexSeries, PerRow

Array = NDArray[np.float64]
RADIUS_NODES, PITCH_NODES = 12, 72
FEWEST_ENERGIES, ENERGY_STEP_EV = 5, 60.0
"""Energies at which the forward model is asked, and how far apart they are at most: between them all is linear."""
RADII = 48
AXIAL_STEP_BINS = 0.05
"""A sideband of SNR 25 has an axial frequency to 0.04 bins."""
LARGEST_TEMPLATE_PITCH_DEG = 89.99
"""Beyond it sidebands stand within a bin or two of the carrier, and templates cannot be told from each other."""
LARGEST_PITCH_STEP_DEG = 0.004
"""Where the axial frequency hardly depends on the pitch angle, the carrier does."""
PADDING = 16
LARGEST_HARMONIC = 4
ELECTRONS_AT_ONCE = 8
NEGLIGIBLE_LOG_RATIO = 20.0
"""Templates so far below the best one are left out."""


@dataclass(frozen=True)
class GridPosterior:
    """What the templates say of each electron at its carrier; templates are (batch, pitch · radius)."""

    weight: Float[Tensor, "batch template"]
    """Posterior probability; the rest to 1 is `elsewhere`."""
    elsewhere: PerRow
    """Probability that the line is noise and the electron anywhere in the window."""
    energy_ev: Float[Tensor, "batch template"]
    axial_hz: Float[Tensor, "batch template"]
    axial_phase_rad: Float[Tensor, "batch template"]
    """Best phase at the middle of the record."""
    carrier_std_hz: PerRow
    """Error of the carrier."""


class RadialGrid:
    """Templates on even radii and on pitch angles so dense that lines move by a small part of a bin."""

    def __init__(self, search: MatchedFilter) -> None:
        self.search, self.apparatus, self.radii = search, search.apparatus, RADII
        apparatus = self.apparatus
        low_deg = apparatus.pitch_angles_deg[0]
        even = torch.linspace(INNERMOST, 1.0, RADII, dtype=torch.float64, device=apparatus.device)
        self.radius_m = even * apparatus.largest_radius_m
        energies = asked_energies_ev(*apparatus.energies_ev)
        radii = np.linspace(INNERMOST, 1.0, RADIUS_NODES) * apparatus.largest_radius_m
        angles = np.linspace(low_deg, min(apparatus.pitch_angles_deg[1], LARGEST_TEMPLATE_PITCH_DEG), PITCH_NODES)
        carrier, axial, lines, self.harmonics = _measured(apparatus, energies, radii, angles)
        self.phases = PhaseSums(self.harmonics, apparatus.reception)
        pitch_deg = _dense(angles, axial, AXIAL_STEP_BINS * apparatus.reception.bin_hz)
        self.pitch_deg = torch.from_numpy(pitch_deg).to(apparatus.device)

        def fine(values: NDArray[Any]) -> Tensor:
            """(energy, radius, pitch, …) at the nodes → (template, energy, …), the radius running fastest."""
            finer = CubicSpline(radii, values, axis=1)(on_host(self.radius_m))
            finer = CubicSpline(angles, finer, axis=2)(pitch_deg)
            ordered = torch.from_numpy(finer).transpose(1, 2).flatten(1, 2).transpose(0, 1).contiguous()
            return ordered.to(apparatus.device)

        self.energies_ev = torch.from_numpy(energies).to(apparatus.device)
        self.carrier_hz, self.axial_hz, self.lines = fine(carrier), fine(axial), fine(lines)
        self.template_pitch_deg = self.pitch_deg.repeat_interleave(RADII)
        self.template_radius_m = self.radius_m.repeat(len(self.pitch_deg))
        self.prior = self._prior()
        self.ev_per_hz = float((self.energies_ev[-1] - self.energies_ev[0]) / (carrier[0] - carrier[-1]).mean())

    def __call__(self, data: ComplexSeries, carrier_hz: PerRow) -> GridPosterior:
        """Return the posterior of records whose carrier is known, after mixing at the middle of the record."""
        blocks = zip(data.split(ELECTRONS_AT_ONCE), carrier_hz.split(ELECTRONS_AT_ONCE), strict=True)
        parts = [self._part(*block) for block in blocks]
        return GridPosterior(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def cell_widths(self, values: Float[Tensor, "batch template"]) -> Float[Tensor, "batch template"]:
        """Return how far apart a quantity is between templates of one radius and neighbouring pitch angles."""
        shaped = values.unflatten(1, (-1, RADII))
        return torch.gradient(shaped, dim=1)[0].abs().flatten(1)

    def _prior(self) -> Float[Tensor, "template"]:
        """Return the prior probability of each template: isotropic, uniform in area; all of the angles to 90°."""
        steps = torch.gradient(self.pitch_deg)[0]
        steps[-1] += self.apparatus.pitch_angles_deg[1] - self.pitch_deg[-1]
        density = (torch.sin(torch.deg2rad(self.pitch_deg)) * steps)[:, None] * self.radius_m
        density = density * (self.radius_m >= self.apparatus.smallest_radius_m)
        return (density / density.sum()).flatten()

    def templates(
        self, carrier_hz: PerRow
    ) -> tuple[
        Float[Tensor, "batch template"], Float[Tensor, "batch template"], Complex[Tensor, "batch template line"]
    ]:
        """Return the templates at a carrier: energy, axial frequency, and lines in units of the noise.

        Well separated, the squares of the lines sum to that of the record's norm.
        """
        energy, position = energies_at(self.carrier_hz, self.energies_ev, carrier_hz)
        axial = _at(self.axial_hz, position)
        lines = _at(self.lines, position)
        weight = self.search.noise_over_white(self._frequency_hz(carrier_hz, axial))
        unit = math.sqrt(self.apparatus.reception.samples) / self.apparatus.noise_std_volt
        return energy, axial, lines / weight * unit

    def inner_products(
        self,
        data: ComplexSeries,
        carrier_hz: PerRow,
        axial_hz: Float[Tensor, "batch template"],
        lines: Complex[Tensor, "batch template line"],
    ) -> Float[Tensor, "batch template phase"]:
        """Return |⟨template, data⟩| in units of the noise, at each axial phase; single precision."""
        spectrum = self.search.spectrum(data.to(torch.complex64), PADDING)
        values = spectrum.at(self._frequency_hz(carrier_hz, axial_hz)) * lines.conj().to(torch.complex64)
        return self.phases.turned(values).abs() / (math.sqrt(spectrum.samples) * self.apparatus.noise_std_volt)

    def _frequency_hz(self, carrier_hz: PerRow, axial_hz: Tensor) -> Float[Tensor, "batch template line"]:
        return carrier_hz[:, None, None] + axial_hz[:, :, None] * self.harmonics

    def _part(self, data: ComplexSeries, carrier_hz: PerRow) -> tuple[Tensor, ...]:
        energy, axial, lines = self.templates(carrier_hz)
        inner = self.inner_products(data, carrier_hz, axial, lines)
        power = self.phases.powers(axial, lines)
        low, high = self.apparatus.energies_ev
        gain_std = self.apparatus.gain_std
        highest, phase = exponent(inner, power, gain_std).max(2)
        highest = torch.where((energy >= low) & (energy <= high), highest.double(), -math.inf)
        likely = highest > highest.amax(1, keepdim=True) - NEGLIGIBLE_LOG_RATIO
        ratio = torch.full_like(highest, -math.inf)
        ratio[likely] = log_ratio(inner[likely].double(), power[likely].double(), gain_std)
        overlap = (inner / power.sqrt()).amax((1, 2)).double()
        carrier_std = self._carrier_std_hz(overlap)
        share = ratio + self.prior.log() + self._carrier_share(carrier_std).log()[:, None]
        # noise alone has a mean likelihood ratio of 1 wherever the carrier is
        total = torch.logaddexp(torch.logsumexp(share, 1), torch.zeros_like(overlap))
        phase_rad = phase * self.phases.step_rad
        return torch.exp(share - total[:, None]), torch.exp(-total), energy, axial, phase_rad, carrier_std

    def _carrier_std_hz(self, overlap: PerRow) -> PerRow:
        """Return the error of a tone of norm a over a time T, √12/(2πTa) (Rife & Boorstyn 1974, with free phase)."""
        reception = self.apparatus.reception
        return math.sqrt(12) * reception.sampling_rate_hz / (2 * math.pi * reception.samples * overlap)

    def _carrier_share(self, std_hz: PerRow) -> PerRow:
        """Return the prior probability of the carrier's own width, √(2π) of its error, in the window of energies."""
        low, high = self.apparatus.energies_ev
        return (math.sqrt(2 * math.pi) * std_hz * self.ev_per_hz / (high - low)).clamp(max=1.0)


def _measured(
    apparatus: Apparatus, energies_ev: Array, radii_m: Array, pitch_deg: Array
) -> tuple[Array, Array, NDArray[np.complex128], Int[Tensor, "line"]]:
    """Return carrier and axial frequency at the middle and the lines, carrier real, (energy, radius, pitch[, line])."""
    shape = (len(energies_ev), len(radii_m), len(pitch_deg))
    energy, radius, pitch = np.meshgrid(energies_ev, radii_m, pitch_deg, indexing="ij")
    rows = parameter_rows(energy, pitch, radius, device=apparatus.device)
    found = apparatus.model.lines(rows.flatten(0, 2))
    kept = found.harmonics.abs() <= LARGEST_HARMONIC
    at_middle = found.frequencies_hz(apparatus.reception.middle_s)
    carrier, axial = (on_host(frequency_hz).reshape(shape) for frequency_hz in at_middle)
    # the common phase turns with the energy, which a linear interpolation would pay for with strength
    first = found.amplitudes[:, found.harmonics == 0]
    lines = found.amplitudes[:, kept] * (first.conj() / first.abs())
    return carrier, axial, on_host(lines).reshape(*shape, -1), found.harmonics[kept]


def _dense(angles_deg: Array, axial_hz: Array, step_hz: float) -> Array:
    """Return pitch angles between which no axial frequency (energy, radius, angle) moves by more than a step."""
    slope = np.abs(CubicSpline(angles_deg, axial_hz, axis=2)(angles_deg, 1)).max((0, 1))
    density = np.maximum(slope / step_hz, 1 / LARGEST_PITCH_STEP_DEG)
    count = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(angles_deg))])
    even = np.linspace(0, count[-1], math.ceil(count[-1]) + 1)
    return np.interp(even, count, angles_deg)


def asked_energies_ev(low_ev: float, high_ev: float) -> Array:
    """Return the energies at which the forward model is asked for a window, with some room around it."""
    low_ev, high_ev = low_ev - ENERGY_ROOM_EV, high_ev + ENERGY_ROOM_EV
    return np.linspace(low_ev, high_ev, max(FEWEST_ENERGIES, math.ceil((high_ev - low_ev) / ENERGY_STEP_EV) + 1))


def energies_at(
    carrier_hz: Float[Tensor, "template energy"], energies_ev: Float[Tensor, "energy"], wanted_hz: PerRow
) -> tuple[Float[Tensor, "batch template"], Float[Tensor, "batch template"]]:
    """Return the energy at which each template has the wanted carrier, and its place among the energies, clamped.

    Linear between the nodes: off by less than 10 meV.
    """
    upper = (carrier_hz.T[:, None, :] > wanted_hz[:, None]).sum(0).clamp(1, len(energies_ev) - 1)
    template = torch.arange(len(carrier_hz), device=carrier_hz.device)
    left, right = carrier_hz[template, upper - 1], carrier_hz[template, upper]
    position = upper - 1 + (wanted_hz[:, None] - left) / (right - left)
    energy = energies_ev[0] + position * (energies_ev[1] - energies_ev[0])
    return energy, position.clamp(0, len(energies_ev) - 1)


def _at(values: Shaped[Tensor, "template energy ..."], position: Float[Tensor, "batch template"]) -> Tensor:
    """Return values between the energies, linear: the cavity answers two energies with strengths that differ by 2 %."""
    lower = position.floor().long().clamp(max=values.shape[1] - 2)
    template = torch.arange(len(values), device=values.device)
    part = (position - lower).reshape(*position.shape, *[1] * (values.ndim - 2))
    left, right = values[template, lower], values[template, lower + 1]
    return left + part * (right - left)


def exponent(inner: Tensor, power: Tensor, gain_std: float = 0.0) -> Tensor:
    """Return x − p/2 of x = |⟨s, d⟩| and p = ⟨s, s⟩, or its mean exponent under a prior of the amplitude's factor a.

    ∫ N(a; 1, τ²) exp(ax − a²p/2) da = exp[(2x − p + τ²x²) / 2(1 + τ²p)] / √(1 + τ²p), τ half the gain's relative std.
    """
    variance = (gain_std / 2) ** 2
    return (2 * inner - power + variance * inner.square()) / (2 * (1 + variance * power))


def log_ratio(
    inner: Float[Tensor, "point phase"], power: Float[Tensor, "point phase"], gain_std: float = 0.0
) -> Float[Tensor, "point"]:
    """Return log of the mean over the axial phases of I₀(|⟨s, d⟩|) exp(−⟨s, s⟩/2), in units of the noise.

    With a gain that is known to `gain_std` also over it: I₀(ax) = e^{ax} I₀ₑ(ax), whose second factor changes little
    over the prior and is taken at the amplitude (1 + τ²x)/(1 + τ²p) where the rest has its middle.
    """
    variance = (gain_std / 2) ** 2
    widened = 1 + variance * power
    middle = inner * (1 + variance * inner) / widened
    summed = torch.logsumexp(torch.special.i0e(middle).log() + exponent(inner, power, gain_std) - widened.log() / 2, 1)
    return summed - math.log(inner.shape[1])
