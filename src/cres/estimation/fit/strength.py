"""Strength of a record against the radius, which ties the two in a fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.least_squares import AMPLITUDE, RADIUS, Tie
from cres.estimation.placement import interpolated, on_host
from reconstruction.shapes import PerRow


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

    def norm(self, radius_m: PerRow) -> PerRow:
        """Return the norm at radii, linear between the nodes."""
        return interpolated(radius_m, self.radius_m, self.norm_volt)

    def inner_radius(self, norm_volt: PerRow) -> PerRow:
        """Return the radius inside the best one that has this norm; the best radius for stronger records."""
        best = self.best + 1
        return interpolated(norm_volt, self.norm_volt[:best], self.radius_m[:best])

    def moved(self, parameters: Float[Tensor, "batch 6"], change: PerRow) -> Float[Tensor, "batch 6"]:
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
