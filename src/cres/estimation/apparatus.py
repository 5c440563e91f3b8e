"""One apparatus as the likelihood sees it: forward model, trap, read-out, noise, strength against the radius."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from cres.estimation.bank import Reception
from cres.estimation.inversion import trap_of
from cres.estimation.least_squares import AMPLITUDE, RADIUS, Tie
from cres.estimation.placement import interpolated, on_host
from cres.estimation.products import LineModel
from cres.physics import Trap
from cres.shapes import PerElectron
from cres.simulation.config import SimulationConfig
from cres.simulation.forward import ForwardModel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Apparatus:
    """What estimators know. Frequencies of carriers are after mixing wherever `band_hz` is meant."""

    model: LineModel
    trap: Trap
    reception: Reception
    noise_std_volt: float
    """Of I and of Q."""
    energies_ev: tuple[float, float]
    pitch_angles_deg: tuple[float, float]
    largest_radius_m: float
    gain_std: float = 0.0
    """Relative standard deviation of what is known of the power gain."""

    @classmethod
    def from_config(
        cls, config: SimulationConfig, noise_scale: float = 1.0, device: torch.device | str = "cpu"
    ) -> Apparatus:
        """Return the apparatus of a simulation configuration with its nominal noise times `noise_scale` in power."""
        readout = config.readout
        return cls(
            ForwardModel(config).to(device),
            trap_of(config.trap),
            Reception(readout.lo_frequency_hz, readout.sampling_rate_hz, readout.samples),
            math.sqrt(noise_scale * readout.complex_noise_variance / 2),
            config.ensemble.energy_ev,
            config.ensemble.pitch_angle_deg,
            config.ensemble.radius_m[1],
            readout.gain_std,
        )

    @property
    def device(self) -> torch.device:
        """Where the forward model is, and with it all that estimators make."""
        return self.model.time_s.device

    @property
    def middle_energy_ev(self) -> float:
        """Middle of the energy window."""
        return sum(self.energies_ev) / 2


@dataclass(frozen=True)
class RadialStrength(Tie):
    """Norm √Σ|s|² of a noiseless record against the radius, at a fixed energy and pitch angle.

    Two radii, on either side of the best one, give one strength. A record's power also sets its energy loss, so that
    an inner radius of the right strength describes both: in a trap that ignores the radius nothing else is lost.
    """

    radius_m: Float[Tensor, "radius"]
    norm_volt: Float[Tensor, "radius"]

    @classmethod
    def measure(cls, apparatus: Apparatus, pitch_angle_deg: float = 89.5, count: int = 1001) -> RadialStrength:
        """Tabulate from the forward model, from the axis to the largest radius."""
        radius = torch.linspace(0, apparatus.largest_radius_m, count, dtype=torch.float64, device=apparatus.device)
        rows = torch.zeros(count, 6, dtype=torch.float64, device=apparatus.device)
        rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 5] = apparatus.middle_energy_ev, pitch_angle_deg, radius, 1.0
        power = apparatus.model.lines(rows).amplitudes.abs().square().sum(1)
        return cls(radius, (apparatus.reception.samples * power).sqrt())

    @cached_property
    def best(self) -> int:
        """Index of the radius of the strongest record."""
        return int(self.norm_volt.argmax())

    @cached_property
    def _slope(self) -> Float[Tensor, "node"]:
        """Derivative of the radius by the logarithm of the strength, at the nodes up to the best."""
        radius, norm = self.radius_m[: self.best + 1], self.norm_volt[: self.best + 1]
        slope = np.gradient(on_host(radius), on_host(norm.log().clamp_min(-99.0)))
        return torch.from_numpy(slope).to(radius.device)

    def norm(self, radius_m: PerElectron) -> PerElectron:
        """Return the norm at radii, linear between the nodes."""
        return interpolated(radius_m, self.radius_m, self.norm_volt)

    def inner_radius(self, norm_volt: PerElectron) -> PerElectron:
        """Return the radius inside the best one that has this norm; the best radius for stronger records."""
        best = self.best + 1
        return interpolated(norm_volt, self.norm_volt[:best], self.radius_m[:best])

    def moved(self, parameters: Float[Tensor, "batch 6"], change: PerElectron) -> Float[Tensor, "batch 6"]:
        """Return parameters of a strength e^change times as large: another radius, and so another energy loss.

        The amplitude stays 1 but for records stronger than any radius makes.
        """
        parameters = parameters.clone()
        norm = change.exp() * parameters[:, AMPLITUDE] * self.norm(parameters[:, RADIUS])
        parameters[:, RADIUS] = self.inner_radius(norm)
        parameters[:, AMPLITUDE] = norm / self.norm(parameters[:, RADIUS])
        return parameters

    def directions(self, parameters: Float[Tensor, "batch 6"]) -> Float[Tensor, "batch 2"]:
        """Return the derivatives of radius and amplitude by the logarithm of the strength."""
        along = interpolated(parameters[:, RADIUS], self.radius_m[: self.best + 1], self._slope)
        inside = parameters[:, RADIUS] < self.radius_m[self.best - 1]
        amplitude = parameters[:, AMPLITUDE]
        zero = torch.zeros_like(along)
        return torch.stack([torch.where(inside, along, zero), torch.where(inside, zero, amplitude)], 1)
