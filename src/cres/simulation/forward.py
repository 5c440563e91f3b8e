"""The forward model of a likelihood: parameters → noiseless volts and their derivatives, in torch float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from cres.simulation.config import SimulationConfig
from cres.simulation.motion import Start
from cres.simulation.track import TABLE, TrackModel

PARAMETERS = ("energy_ev", "pitch_angle_deg", "radius_m", "start_phase_rad", "axial_phase_rad", "amplitude")
"""Order of the columns of `parameters`."""

JACOBIAN_BLOCK = 8
"""Electrons whose derivatives are evaluated together: 0.8 MB an electron and a few times that in between."""


class ForwardModel(nn.Module):
    """Noiseless records of one apparatus as a differentiable function of `PARAMETERS`, on any device.

    `model(parameters)` supports automatic differentiation in both modes; `model.jacobian` is the fast way to all first
    derivatives. `table`: points of the envelope's table over one axial period.
    """

    def __init__(self, config: SimulationConfig, table: int = TABLE) -> None:
        super().__init__()
        self.config = config
        self._tracks = TrackModel(config, table)
        time_s = torch.arange(config.readout.samples, dtype=torch.float64) / config.readout.sampling_rate_hz
        self.register_buffer("time_s", time_s, persistent=False)
        self.time_s: Tensor

    def forward(self, parameters: Float[Tensor, "batch 6"]) -> Complex[Tensor, "batch samples"]:
        """Return the records in volts, complex128: I + iQ."""
        energy, pitch, radius, start_phase, axial_phase, amplitude = parameters.double().unbind(1)
        phase, axial, envelope, slope = self._curves(energy, pitch, radius, axial_phase)
        turned = self._polynomial(phase) + start_phase[:, None]
        place, part = self._place(self._polynomial(axial))
        value, _ = self._interpolate(self._cubics(envelope, slope)[:, :, :, None], place, part)
        return amplitude[:, None] * torch.polar(torch.ones_like(turned), turned) * value[..., 0]

    @torch.no_grad()
    def jacobian(
        self, parameters: Float[Tensor, "batch 6"]
    ) -> tuple[Complex[Tensor, "batch samples"], Complex[Tensor, "batch 6 samples"]]:
        """Return the records and their derivatives by each of `PARAMETERS`, complex128 volts per unit."""
        blocks = [self._jacobian(block) for block in parameters.double().split(JACOBIAN_BLOCK)]
        return torch.cat([series for series, _ in blocks]), torch.cat([slopes for _, slopes in blocks])

    def _curves(
        self, energy_ev: Tensor, pitch_angle_deg: Tensor, radius_m: Tensor, axial_phase: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the track at start phase 0: polynomials of both phases, table of the envelope and of its slope."""
        start = Start(energy_ev, torch.deg2rad(pitch_angle_deg), radius_m)
        track = self._tracks.track(start, torch.zeros_like(energy_ev), axial_phase)
        return track.phase, track.axial, track.envelope, track.slope

    def _polynomial(self, coefficients: Tensor) -> Tensor:
        """Evaluate (..., 3) ascending coefficients at the samples: (..., samples)."""
        constant, linear, square = (c[..., None] for c in coefficients.unbind(-1))
        return (square * self.time_s + linear) * self.time_s + constant

    def _place(self, axial_phase: Tensor) -> tuple[Tensor, Tensor]:
        """Return the interval of the table and the place in it, 0 to 1."""
        place = axial_phase * self._intervals_per_rad
        whole = torch.floor(place.detach())
        return torch.remainder(whole, self._tracks.table).long(), place - whole

    @property
    def _intervals_per_rad(self) -> float:
        return self._tracks.fold * self._tracks.table / (2 * math.pi)

    def _cubics(self, values: Tensor, slopes: Tensor) -> Tensor:
        """Return the cubic Hermite polynomial of each interval, (..., table, 4) ascending powers."""
        rise = slopes / self._intervals_per_rad
        jump = values.roll(-1, -1) - values
        rise_there = rise.roll(-1, -1)
        return torch.stack([values, rise, 3 * jump - 2 * rise - rise_there, rise + rise_there - 2 * jump], -1)

    def _interpolate(self, cubics: Tensor, place: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate tables side by side: cubics (batch, table, 4, tables) → (batch, samples, tables).

        The second result is the derivative of the first table by axial phase, (batch, samples).
        """
        batch = torch.arange(len(place), device=place.device)[:, None]
        constant, linear, square, cube = cubics[batch, place].unbind(2)
        u = part[..., None]
        value = ((cube * u + square) * u + linear) * u + constant
        slope = (3 * cube[..., 0] * part + 2 * square[..., 0]) * part + linear[..., 0]
        return value, slope * self._intervals_per_rad

    def _jacobian(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        energy, pitch, radius, start_phase, axial_phase, amplitude = parameters.unbind(1)
        inputs = (energy, pitch, radius, axial_phase)
        # one tangent each for energy, pitch angle, radius and axial phase
        tangents = tuple(
            torch.eye(4, dtype=torch.float64, device=energy.device)[i][:, None].expand(4, len(energy)) for i in range(4)
        )
        (phase, axial, envelope, slope), changes = _push(self._curves, inputs, tangents)
        phase_by, axial_by, envelope_by, slope_by = changes

        angle = self._polynomial(phase) + start_phase[:, None]
        place, part = self._place(self._polynomial(axial))
        # the tables of the envelope and of its changes with the first three; the axial phase moves no table
        tables = torch.cat([envelope[None], envelope_by[:3]]), torch.cat([slope[None], slope_by[:3]])
        value, along = self._interpolate(self._cubics(*tables).permute(1, 2, 3, 0), place, part)

        carrier = torch.polar(amplitude[:, None].expand_as(angle), angle)
        series = carrier * value[..., 0]
        along = carrier * along
        by_curves = 1j * self._polynomial(phase_by) * series + self._polynomial(axial_by) * along
        by_curves[:3] += (carrier[..., None] * value[..., 1:]).permute(2, 0, 1)
        by_amplitude = torch.polar(torch.ones_like(angle), angle) * value[..., 0]
        derivatives = [by_curves[0], by_curves[1], by_curves[2], 1j * series, by_curves[3], by_amplitude]
        return series, torch.stack(derivatives, 1)


def _push(
    function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Push tangents (direction, batch) through a function once: values, and changes with a leading direction."""

    def along(*direction: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        pushed: Any = torch.func.jvp(function, inputs, direction)
        return pushed

    out_dims: Any = (None, 0)
    values, changes = torch.func.vmap(along, out_dims=out_dims)(*tangents)
    return values, changes
