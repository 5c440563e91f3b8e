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

from cres.estimation.apparatus import Apparatus
from cres.estimation.noise import NoiseModel, White
from cres.estimation.radial.grid import log_ratio
from cres.estimation.radial.phases import PhaseSums
from cres.estimation.search.chirps import without_chirp
from cres.estimation.search.matched_filter import noise_over_white
from cres.estimation.search.periodogram import centred_spectrum
from cres.estimation.weighing.line_table import LineTable
from reconstruction.shapes import ComplexSeries

Points = Float[Tensor, "batch point 3"]
"""Energy in eV, pitch angle in degrees, radius in metres."""

PADDING, TAP_WIDTH = 8, 1.6
"""Of the spectrum that lines are read off: to 1e-5 of the highest value, 0.01 of ln L at a squared SNR of 1 000."""
PHASES = 64
"""Axial phases averaged over: the sidebands of an amplitude of 20 σ tell the phase to 0.05 rad, a step."""


class ExactPosterior:
    """Densities of one apparatus; `table` holds its lines."""

    def __init__(self, apparatus: Apparatus, noise: NoiseModel | None = None, table: LineTable | None = None) -> None:
        self.apparatus = apparatus
        self.noise = (noise or White(apparatus.noise_std_volt)).to(apparatus.device)
        self.table = table or LineTable(apparatus)
        self.phases = PhaseSums(self.table.harmonics, apparatus.reception, PHASES)

    def log_density(self, data: ComplexSeries, points: Points) -> Float[Tensor, "batch point"]:
        """Return ln (prior density × likelihood ratio) of each record at its points; −∞ outside of the window."""
        return self.log_prior(points) + self.log_likelihood(data, points)

    def log_prior(self, points: Points) -> Float[Tensor, "batch point"]:
        """Return the logarithm of the normalised prior density, an eV, degree and metre; −∞ outside of the window."""
        energy, pitch, radius = points.unbind(-1)
        (low_e, high_e), (low_p, high_p) = self.apparatus.energies_ev, self.apparatus.pitch_angles_deg
        largest = self.apparatus.largest_radius_m
        inside = (energy >= low_e) & (energy <= high_e) & (pitch >= low_p) & (pitch <= high_p)
        inside &= (radius > 0) & (radius <= largest)
        angles = math.cos(math.radians(low_p)) - math.cos(math.radians(high_p))
        isotropic = torch.sin(torch.deg2rad(pitch)) * math.radians(1) / angles
        density = isotropic / (high_e - low_e) * 2 * radius / largest**2
        return torch.where(inside, density.clamp_min(1e-300).log(), -math.inf)

    def log_likelihood(self, data: ComplexSeries, points: Points) -> Float[Tensor, "batch point"]:
        """Return the logarithm of the likelihood ratio of each record at its points."""
        parts = [self._part(*one) for one in zip(data.split(1), points.split(1), strict=True)]
        return torch.cat(parts)

    def _part(self, data: ComplexSeries, points: Points) -> Float[Tensor, "batch point"]:
        lines = self.table(*points.unbind(-1))
        # a common chirp is taken off: what is left of it over the points of one record moves nothing
        steady = without_chirp(data, lines.chirp_hz_per_s.median(1).values, self.apparatus)
        spectrum = centred_spectrum(steady, self.apparatus.reception.sampling_rate_hz, PADDING)
        unit = math.sqrt(spectrum.samples) * self.apparatus.noise_std_volt
        frequency = lines.carrier_hz[..., None] + lines.axial_hz[..., None] * self.phases.harmonics
        over = noise_over_white(self.noise, self.apparatus, frequency)
        there = lines.amplitudes / over * (math.sqrt(spectrum.samples) / self.apparatus.noise_std_volt)
        row = torch.zeros(points.shape[1], dtype=torch.int64, device=points.device)
        values = spectrum.between(row, frequency[0], TAP_WIDTH)[None] / over * there.conj()
        inner = self.phases.turned(values.to(torch.complex64)).abs() / unit
        power = self.phases.powers(lines.axial_hz, there)
        ratio = log_ratio(inner.flatten(0, 1).double(), power.flatten(0, 1).double(), self.apparatus.gain_std)
        return ratio.reshape(points.shape[:2])
