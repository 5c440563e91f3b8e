"""The exact posterior of energy, pitch angle and radius at given points: likelihood times prior, up to a constant.

Likelihood ratio of the data against noise alone, as in `cres.estimation.radial`, whose sums it uses: the common phase
is integrated out (I₀), the axial phase averaged over, and so is what is not known of the gain; the radius is a
parameter, since the strength at a known gain tells it. Electrons are there for the whole record. Prior: flat in energy
over the window, isotropic, uniform in area.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from cres.errors import UserError
from cres.estimation.apparatus import Apparatus
from cres.estimation.noise import NoiseModel, White
from cres.estimation.radial.grid import log_ratio
from cres.estimation.radial.phases import PhaseSums
from cres.estimation.search.chirps import without_chirp
from cres.estimation.search.matched_filter import noise_over_white
from cres.estimation.search.periodogram import centred_spectrum
from cres.estimation.weighing.line_table import LinesThere, LineTable
from reconstruction.shapes import ComplexSeries

Points = Float[Tensor, "batch point 3"]
"""Energy in eV, pitch angle in degrees, radius in metres."""

PADDING, TAP_WIDTH = 8, 1.6
"""Of the spectrum that lines are read off: to 1e-5 of the highest value, 0.01 of ln L at a squared SNR of 1 000."""
RISE_BINS = 0.1
"""Points are taken together whose carriers rise by as much, in natural bins; half of it takes 0.07 of ln L then."""
POINTS_AT_ONCE = 4096
PHASES = 64
"""Axial phases averaged over, in half a turn: sidebands at twice the axial frequency whose amplitude is 20 σ together
tell the phase to 0.025 rad, half a step, and the average is then good to 1 %."""


class ExactPosterior:
    """Densities of one apparatus; `table` holds its lines. Raises UserError where a quantity has but one value."""

    def __init__(self, apparatus: Apparatus, noise: NoiseModel | None = None, table: LineTable | None = None) -> None:
        self.apparatus = apparatus
        radii_m = (apparatus.smallest_radius_m, apparatus.largest_radius_m)
        windows = {"energy_ev": apparatus.energies_ev, "pitch_angle_deg": apparatus.pitch_angles_deg}
        for name, (low, high) in {**windows, "radius_m": radii_m}.items():
            if not low < high:
                raise UserError(f"ensemble.{name} is {low:g} alone: samples of it want a window in the apparatus (-c)")
        self.noise = (noise or White(apparatus.noise_std_volt)).to(apparatus.device)
        self.table = table or LineTable(apparatus)
        half_turns = 1 if bool((self.table.harmonics % 2 == 0).all()) else 2
        self.phases = PhaseSums(self.table.harmonics, apparatus.reception, half_turns * PHASES)

    def log_density(self, data: ComplexSeries, points: Points) -> Float[Tensor, "batch point"]:
        """Return ln (prior density × likelihood ratio) of each record at its points; −∞ outside of the window."""
        return self.log_prior(points) + self.log_likelihood(data, points)

    def log_prior(self, points: Points) -> Float[Tensor, "batch point"]:
        """Return the logarithm of the normalised prior density, an eV, degree and metre; −∞ outside of the window."""
        energy, pitch, radius = points.unbind(-1)
        (low_e, high_e), (low_p, high_p) = self.apparatus.energies_ev, self.apparatus.pitch_angles_deg
        smallest, largest = self.apparatus.smallest_radius_m, self.apparatus.largest_radius_m
        inside = (energy >= low_e) & (energy <= high_e) & (pitch >= low_p) & (pitch <= high_p)
        inside &= (radius > 0) & (radius >= smallest) & (radius <= largest)
        angles = math.cos(math.radians(low_p)) - math.cos(math.radians(high_p))
        isotropic = torch.sin(torch.deg2rad(pitch)) * math.radians(1) / angles
        density = isotropic / (high_e - low_e) * 2 * radius / (largest**2 - smallest**2)
        return torch.where(inside, density.clamp_min(1e-300).log(), -math.inf)

    def log_likelihood(self, data: ComplexSeries, points: Points) -> Float[Tensor, "batch point"]:
        """Return the logarithm of the likelihood ratio of each record at its points."""
        rows = zip(data.split(1), points, strict=True)
        parts = [self._of_record(row, part) for row, at in rows for part in at.split(POINTS_AT_ONCE)]
        return torch.cat(parts).reshape(points.shape[:2])

    def _of_record(self, data: ComplexSeries, points: Float[Tensor, "point 3"]) -> Float[Tensor, "point"]:
        lines = self.table(*points.unbind(-1))
        step_hz_per_s = RISE_BINS * self.apparatus.reception.bin_hz**2
        rise = torch.round(lines.chirp_hz_per_s / step_hz_per_s)
        ratio = torch.full_like(rise, torch.nan)
        for steps in rise.unique():
            alike = rise == steps
            steady = without_chirp(data, steps[None] * step_hz_per_s, self.apparatus)
            ratio[alike] = self._steady(steady, LinesThere(*(part[alike] for part in lines)))
        return ratio

    def _steady(self, data: ComplexSeries, lines: LinesThere) -> Float[Tensor, "point"]:
        """Return the same of a record whose lines do not rise any more."""
        spectrum = centred_spectrum(data, self.apparatus.reception.sampling_rate_hz, PADDING)
        unit = math.sqrt(spectrum.samples) * self.apparatus.noise_std_volt
        frequency = lines.carrier_hz[:, None] + lines.axial_hz[:, None] * self.phases.harmonics
        over = noise_over_white(self.noise, self.apparatus, frequency)
        there = lines.amplitudes / over * (math.sqrt(spectrum.samples) / self.apparatus.noise_std_volt)
        row = torch.zeros(len(frequency), dtype=torch.int64, device=frequency.device)
        values = spectrum.between(row, frequency, TAP_WIDTH) / over * there.conj()
        inner = self.phases.turned(values.to(torch.complex64)).abs() / unit
        power = self.phases.powers(lines.axial_hz[None], there[None])[0]
        return log_ratio(inner.double(), power.double(), self.apparatus.gain_std)
