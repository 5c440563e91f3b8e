"""The forward model of a likelihood: parameters → noiseless volts and their derivatives, in torch float64."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from cres.simulation.config import SimulationConfig
from cres.simulation.motion import Start, upwards
from cres.simulation.numerical_motion import NumericalMotion
from cres.simulation.parameters import AMPLITUDE, AXIAL_PHASE, ENERGY, PARAMETERS, PITCH, RADIUS
from cres.simulation.track import TABLE, TrackModel

CURVES_BLOCK = {"cpu": 256, "cuda": 4096}
"""Electrons whose tables are differentiated together, by kind of device: enough to hide the cost of the calls."""

SAMPLES_AT_ONCE = {"cpu": 2**15, "cuda": 2**21}
"""Samples of a block of records that are differentiated together, by kind of device: what its cache likes, or what its
memory allows at 1.3 kB a sample."""

OTHER_DEVICE = "cpu"
"""The kind whose block sizes an unknown device gets: those of the least memory."""

LINE_STEPS = (1e-2, 1e-6, 1e-8, 0.0, 1e-5, 0.0)
"""Steps of the differences of `ForwardModel.lines`, in the units of `PARAMETERS`; 0: exact and trivial."""

MOVING = (ENERGY, PITCH, RADIUS, AXIAL_PHASE)
"""Columns of the parameters that the slow curves depend on."""

LOSS_STEP = 1e-3
"""Relative step of the loss factor in `ForwardModel.loss_derivative`: off by about 1e-6, the phase it moves squared."""

FAINTEST_LINE = 3e-6
"""Lines of less than this part of the power in all records are left out of `ForwardModel.lines`."""


class Lines(NamedTuple):
    """Records as sums of lines, s(t) = A e^{iφ} Σ_m c_m e^{i(Φ(t) + mΨ(t))}, with derivatives by some parameters.

    phase, axial: (batch, 3) polynomials Φ and Ψ, ascending powers of seconds, φ left out; harmonics: (line,), the m;
    amplitudes: (batch, line) complex volts at A = 1. The `_by` have a leading axis of parameters.
    """

    harmonics: Tensor
    phase: Tensor
    axial: Tensor
    amplitudes: Tensor
    phase_by: Tensor
    axial_by: Tensor
    amplitudes_by: Tensor

    def frequencies_hz(self, time_s: float) -> tuple[Tensor, Tensor]:
        """Return the carrier, after mixing, and the axial frequency at a time, (batch,) each."""
        carrier, axial = ((p[:, 1] + 2 * p[:, 2] * time_s) / (2 * math.pi) for p in (self.phase, self.axial))
        return carrier, axial


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
        self.register_buffer("_time_s", time_s, persistent=False)
        self._time_s: Tensor

    @property
    def time_s(self) -> Float[Tensor, "samples"]:
        """Times of the samples from the record's start.

        A property, for whoever asks whether this is a `LineModel`: from Python 3.12 on, protocols do not see buffers.
        """
        return self._time_s

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
        """Return the records and their derivatives by each of `PARAMETERS`, complex128 volts per unit.

        All electrons of a block together, blocks as the device likes them: beside the result, memory does not grow with
        the batch.
        """
        parameters = parameters.double()
        samples = len(self.time_s)
        series = torch.empty(len(parameters), samples, dtype=torch.complex128, device=parameters.device)
        derivatives = torch.empty(
            len(parameters), len(PARAMETERS), samples, dtype=torch.complex128, device=parameters.device
        )
        step = size_for(CURVES_BLOCK, parameters.device)
        for begin in range(0, len(parameters), step):
            block = slice(begin, begin + step)
            self._jacobian(parameters[block], series[block], derivatives[block])
        return series, derivatives

    @torch.no_grad()
    def loss_derivative(self, parameters: Float[Tensor, "batch 6"]) -> Complex[Tensor, "batch samples"]:
        """Return the derivative of the records by the logarithm of `loss.factor`, complex128 volts.

        A central difference: the same model with a little less and a little more loss.
        """
        less, more = (model.to(parameters.device)(parameters) for model in self._other_losses)
        return (more - less) / (2 * LOSS_STEP)

    @cached_property
    def _other_losses(self) -> tuple[ForwardModel, ForwardModel]:
        loss = self.config.loss
        factors = [loss.factor * (1 + step) for step in (-LOSS_STEP, LOSS_STEP)]
        others = [dataclasses.replace(self.config, loss=dataclasses.replace(loss, factor=factor)) for factor in factors]
        less, more = (ForwardModel(config, self._tracks.table) for config in others)
        return less, more

    @torch.no_grad()
    def lines(self, parameters: Float[Tensor, "batch 6"], names: Sequence[str] = ()) -> Lines:
        """Return the records as lines, with derivatives by the named parameters: those that move lines.

        In traps of closed form by differences of the slow curves, equal to the exact derivatives to about 1e-5 and a
        tenth of their cost; elsewhere as in `jacobian`.
        """
        parameters = parameters.double()
        columns = [PARAMETERS.index(name) for name in names]
        if columns and isinstance(self._tracks.motion, NumericalMotion):
            return self._pushed_lines(parameters, columns)
        shifts = torch.zeros(1 + len(columns), 1, len(PARAMETERS), dtype=torch.float64, device=parameters.device)
        for i, column in enumerate(columns):
            shifts[1 + i, 0, column] = LINE_STEPS[column]
        tried = (parameters + shifts).flatten(0, 1)
        phase, axial, envelope, _ = self._curves(*(tried[:, column] for column in MOVING))
        spectrum = torch.fft.fft(envelope) / envelope.shape[1]
        kept, harmonics = self._bright(spectrum)
        curves = [values.unflatten(0, (len(shifts), -1)) for values in (phase, axial, spectrum[:, kept])]
        steps = torch.tensor([LINE_STEPS[column] for column in columns], dtype=torch.float64)[:, None, None]
        by = [(values[1:] - values[0]) / steps.to(phase.device) for values in curves]
        return Lines(harmonics, *(values[0] for values in curves), *by)

    def _pushed_lines(self, parameters: Tensor, columns: list[int]) -> Lines:
        """Return the lines with exact derivatives."""
        inputs = tuple(parameters[:, column] for column in MOVING)
        identity = torch.eye(len(MOVING), dtype=torch.float64, device=parameters.device)
        picked = identity[[MOVING.index(column) for column in columns]]
        directions = tuple(picked[:, i, None].expand(-1, len(parameters)) for i in range(len(MOVING)))
        curves, changes = _push(self._curves, inputs, directions)
        spectrum, change = (torch.fft.fft(values) / values.shape[-1] for values in (curves[2], changes[2]))
        kept, harmonics = self._bright(spectrum)
        return Lines(harmonics, curves[0], curves[1], spectrum[:, kept], changes[0], changes[1], change[:, :, kept])

    def _bright(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        """Return the columns (line,) of an envelope's spectrum that are not negligible in all rows, their harmonics."""
        power = spectrum.abs().square()
        share = power / power.sum(1, keepdim=True).clamp(min=1e-300)
        kept = torch.nonzero(share.amax(0) > FAINTEST_LINE)[:, 0]
        return kept, self._tracks.fold * torch.where(kept < spectrum.shape[1] // 2, kept, kept - spectrum.shape[1])

    def _curves(
        self, energy_ev: Tensor, pitch_angle_deg: Tensor, radius_m: Tensor, axial_phase: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the track at start phase 0: polynomials of both phases, table of the envelope and of its slope."""
        pitch, axial_phase = upwards(torch.deg2rad(pitch_angle_deg), axial_phase)
        start = Start(energy_ev, pitch, radius_m)
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

        The second result are the derivatives by axial phase.
        """
        batch = torch.arange(len(place), device=place.device)[:, None]
        constant, linear, square, cube = cubics[batch, place].unbind(2)
        u = part[..., None]
        value = ((cube * u + square) * u + linear) * u + constant
        return value, ((3 * cube * u + 2 * square) * u + linear) * self._intervals_per_rad

    def _jacobian(self, parameters: Tensor, series: Tensor, derivatives: Tensor) -> None:
        """Fill the records (batch, samples) and their derivatives (batch, 6, samples)."""
        energy, pitch, radius, start_phase, axial_phase, amplitude = parameters.unbind(1)
        # one direction each for energy, pitch angle, radius and axial phase
        identity = torch.eye(len(MOVING), dtype=torch.float64, device=energy.device)
        directions = tuple(row[:, None].expand(-1, len(energy)) for row in identity)
        curves, changes = _push(self._curves, (energy, pitch, radius, axial_phase), directions)
        phase, axial = curves[0] + 0.0, curves[1]
        phase[:, 0] += start_phase
        # the tables of the envelope and of its changes with the first three; the axial phase moves no table
        tables = [torch.cat([table[None], change[:3]]) for table, change in zip(curves[2:], changes[2:], strict=True)]
        cubics = torch.view_as_real(self._cubics(*tables)).permute(1, 2, 3, 0, 4).flatten(3).contiguous()
        step = max(1, size_for(SAMPLES_AT_ONCE, energy.device) // len(self.time_s))
        for begin in range(0, len(parameters), step):
            rows = slice(begin, begin + step)
            angle = self._polynomial(phase[rows])
            turned = torch.polar(torch.ones_like(angle), angle)
            inner = self._inner(axial[rows], changes[0][:, rows], changes[1][:, rows], cubics[rows])
            torch.mul(inner, (turned * amplitude[rows, None])[:, None], out=derivatives[rows])
            torch.mul(inner[:, AMPLITUDE], turned, out=derivatives[rows, AMPLITUDE])
            torch.mul(derivatives[rows, AMPLITUDE], amplitude[rows, None], out=series[rows])

    def _inner(self, axial: Tensor, phase_by: Tensor, axial_by: Tensor, cubics: Tensor) -> Tensor:
        """Return d/dp of e^{iΦ}h(Ψ) over e^{iΦ}: i Φ_p h + Ψ_p h' + h_p, (batch, 6, samples) complex; the last is h.

        In real numbers: torch multiplies complex by real numbers as if both were complex.
        """
        value, slope = self._interpolate(cubics, *self._place(self._polynomial(axial)))
        # h, h by energy, pitch angle, radius; real, imaginary
        pairs = value.movedim(-1, 1).contiguous().unflatten(1, (4, 2))
        along = slope[:, :, :2].movedim(-1, 1)[:, None]
        envelope = pairs[:, :1]
        quarter_turned = torch.stack([-envelope[:, :, 1], envelope[:, :, 0]], 2)
        phase_rate, axial_rate = (self._polynomial(by.transpose(0, 1))[:, :, None] for by in (phase_by, axial_by))
        inner = phase_rate * quarter_turned + axial_rate * along
        inner[:, :3] += pairs[:, 1:]
        ordered = torch.cat([inner[:, :3], quarter_turned, inner[:, 3:], envelope], 1)
        return torch.complex(ordered[:, :, 0], ordered[:, :, 1])


def size_for(sizes: dict[str, int], device: torch.device) -> int:
    """Return the size of a block for a device, of those by kind of device."""
    return sizes.get(device.type, sizes[OTHER_DEVICE])


def _push(
    function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Push tangents (direction, batch) through a function once: values, and changes with a leading direction."""
    inputs = tuple(value.contiguous() for value in inputs)  # columns of a matrix: torch wants the layout of tangents

    def along(*direction: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        pushed: Any = torch.func.jvp(function, inputs, direction)
        return pushed

    out_dims: Any = (None, 0)
    values, changes = torch.func.vmap(along, out_dims=out_dims)(*tangents)
    return values, changes
