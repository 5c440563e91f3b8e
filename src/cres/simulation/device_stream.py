"""Electrons made on a device: start values keyed by electron, tracks, samples, all of a batch together.

`DeviceElectrons` is the entry point for whoever trains on a device. It makes the electrons of `SimulatedElectrons`,
the same ones for a seed whatever the device: to 1e-6 of the amplitude what the processor writes to files.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import NamedTuple

import torch
from torch import Tensor

from cres import schema
from cres.errors import UserError
from cres.resources import simulation_config
from cres.simulation.channels import channel_factors
from cres.simulation.config import SimulationConfig
from cres.simulation.device_render import real_cubics, render_batch
from cres.simulation.electrons import Electrons, sample_electrons
from cres.simulation.motion import Start, upwards
from cres.simulation.pieces import PIECE_SAMPLES, Piece, State, horner, make_piece
from cres.simulation.source import stream_seed
from cres.simulation.track import Track, TrackModel
from cres.simulation.tracks import WINDOW_TRUTH
from cres.simulation.truth import frequency_columns, snr_columns, start_carrier_hz
from cres.transforms import FROZEN_EPOCH, KeyedRandom
from reconstruction import kernels

Columns = dict[str, Tensor]

SAMPLES_AT_ONCE = {"cpu": 2**19, "cuda": 2**24}
"""Samples of a block of electrons by kind of device; a sample needs about 130 bytes while it is made."""

OTHER_DEVICE = 2**22

BY_KERNELS = 8192
"""Electrons of a block, where a kernel makes its samples: what their tracks take, 80 kB each, is the memory then.

Measured on a processor; 230 kB with three modes, 350 in coils.
"""

KEPT_SAMPLES = 2**26
"""Samples, of all channels, that a training's stream has made at once: half a gigabyte."""

RECEIVED = 8
"""That many times fewer where a receiver's effects are made, of all the records together."""


class StartValues(NamedTuple):
    """Start values of a batch on a device, each (batch,): the fields of `Electrons`, float64 (identities int64)."""

    energy_ev: Tensor
    pitch_angle_deg: Tensor
    radius_m: Tensor
    azimuth_rad: Tensor
    start_phase_rad: Tensor
    axial_phase_rad: Tensor
    amplitude: Tensor
    event_id: Tensor

    def at(self, index: slice) -> StartValues:
        """Return the start values of some electrons."""
        return StartValues(*(value[index] for value in self))


class DeviceElectrons:
    """Electrons of a simulation's configuration, made on `device` when they are asked for.

    The source of a training on a device: `source(seed, start, count)` returns what `SimulatedElectrons` returns, as
    tensors on the device. In two steps it never makes the host wait: `start_values` draws on the host and sends
    72 bytes an electron, for many batches at once; `records` is made of torch operations on the device alone, a number
    that does not depend on the batch (see `benchmarks/simulation.py`; in numerical traps two hundred times as many). So
    make several batches of a training together: `electrons_at_once` says how many, and a training's stream does.

    Args:
        config: file of the simulation's configuration (configs/simulation/), or the configuration itself; the default
            apparatus when empty. Scattering is not made on devices.
        device: where the records are made.

    """

    def __init__(self, config: str | SimulationConfig | None = None, device: str | torch.device | None = None) -> None:
        self.config = config if isinstance(config, SimulationConfig) else _read(config)
        self.device = torch.device("cpu" if device is None else device)
        readout = self.config.readout
        self.sampling_rate_hz = readout.sampling_rate_hz
        self.lo_frequency_hz = readout.lo_frequency_hz
        self.samples = readout.samples
        self._model = TrackModel(self.config)
        # a further channel is channel 0 times a number, or a record of its own
        self._channels = [
            TrackModel(self.config, channel=channel) if factor is None else factor
            for channel, factor in enumerate(channel_factors(self.config), 1)
        ]
        self._receiver = self.config.make_receiver().to(self.device) if self.config.receiver else None
        if self.config.kinds.active:
            raise UserError(
                "records of several kinds are not made on a device: choose cres.simulation.SimulatedElectrons, or "
                "leave out the section kinds"
            )
        if self.config.scattering.active:
            raise UserError(
                "electrons that scatter, or are born within the record, are not made on a device: "
                "choose cres.simulation.SimulatedElectrons, or leave out the section scattering"
            )

    def __call__(self, seed: int, start: int, count: int) -> Columns:
        """Return the columns of electrons `start` to `start + count`, (count, …) in the names of the schema."""
        return self.records(self.start_values(seed, start, count))

    def start_values(self, seed: int, start: int, count: int) -> StartValues:
        """Draw electrons `start` to `start + count` of the seed's sequence: those of `SimulatedElectrons`."""
        return self.sent(sample_electrons(self.config, count, stream_seed(seed), start))

    def sent(self, electrons: Electrons) -> StartValues:
        """Return electrons as tensors on the device, in two copies."""
        *values, event_id = (torch.from_numpy(getattr(electrons, field.name)) for field in fields(Electrons))
        sent = torch.stack(values).to(self.device, non_blocking=True)
        return StartValues._make((*sent.unbind(), event_id.to(self.device, non_blocking=True)))

    @torch.no_grad()
    def records(self, starts: StartValues) -> Columns:
        """Return all columns of these electrons on the device: series float32 (batch, samples) volts, truth float64.

        The names, and the meaning, are those of `simulate_columns`.
        """
        series, truth = self._made(self._model, starts)
        more = [
            self._made(channel, starts)[0] if isinstance(channel, TrackModel) else _turned(series, channel)
            for channel in self._channels
        ]
        channels = torch.cat([series, *more], -1) if more else series
        if self._receiver is not None:
            random = KeyedRandom(self.config.seed, FROZEN_EPOCH, starts.event_id, scope="receiver")
            channels = self._receiver(channels, random)
        names = [name for channel in range(1 + len(more)) for name in schema.series_columns(channel)]
        return dict(zip(names, channels.unbind(-1), strict=True)) | _start_columns(starts) | truth

    def _made(self, model: TrackModel, starts: StartValues) -> tuple[Tensor, Columns]:
        """Return the series (batch, samples, 2) of a read-out channel, and the truth."""
        batch = len(starts.energy_ev)
        series = torch.empty(batch, self.samples, 2, device=self.device)
        step = self._block_electrons
        blocks = [slice(begin, begin + step) for begin in range(0, batch, step)]
        truths = [self._block(model, starts.at(block), series[block]) for block in blocks]
        return series, {name: torch.cat([part[name] for part in truths]) for name in (truths[0] if truths else {})}

    @property
    def electrons_at_once(self) -> int:
        """How many electrons a stream best asks for together: where kernels make samples, many launch what few do."""
        if not kernels.run_on(self.device):
            return 1
        channels = (1 + len(self._channels)) * (1 if self._receiver is None else RECEIVED)
        return max(1, min(BY_KERNELS, KEPT_SAMPLES // (self.samples * channels)))

    @property
    def _block_electrons(self) -> int:
        if kernels.run_on(self.device):
            return BY_KERNELS
        samples = min(self.samples, PIECE_SAMPLES)
        return max(1, SAMPLES_AT_ONCE.get(self.device.type, OTHER_DEVICE) // samples)

    def _block(self, model: TrackModel, starts: StartValues, series: Tensor) -> Columns:
        """Fill the series (batch, samples, 2) of electrons that are made together; return their truth."""
        if self.samples > PIECE_SAMPLES:
            return self._pieces(model, starts, series)
        pitch, axial_phase = upwards(torch.deg2rad(starts.pitch_angle_deg), starts.axial_phase_rad)
        track = model.track(Start(starts.energy_ev, pitch, starts.radius_m), starts.start_phase_rad, axial_phase)
        tone, rest = self._render(model, track, track.phase, track.axial, starts.amplitude, series)
        readout = self.config.readout
        return frequency_columns(readout, track.phase, track.axial) | snr_columns(readout, tone, rest)

    def _render(
        self, model: TrackModel, track: Track, phase: Tensor, axial: Tensor, amplitude: Tensor, series: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fill a piece (batch, samples, 2); return the energies of its carrier and of its other lines."""
        step = 2 * math.pi / (model.fold * model.table)
        cubics = real_cubics(track.envelope, track.slope, step) * amplitude[:, None, None].float()
        time_s = torch.arange(series.shape[1], dtype=torch.float64, device=self.device) / self.sampling_rate_hz
        return render_batch(time_s, phase, axial, cubics, 1 / step, series)

    def _pieces(self, model: TrackModel, starts: StartValues, series: Tensor) -> Columns:
        """Fill records of several pieces, one after the other: `tracks.RecordStream` without scattering."""
        pitch, axial_phase = upwards(torch.deg2rad(starts.pitch_angle_deg), starts.axial_phase_rad)
        slow = starts.energy_ev, pitch, starts.radius_m, starts.azimuth_rad
        state = State(*slow, starts.start_phase_rad, axial_phase)
        longest = torch.full_like(starts.energy_ev, PIECE_SAMPLES / self.sampling_rate_hz)
        reached = torch.ones_like(starts.energy_ev, dtype=torch.bool)
        sums = torch.zeros(5, len(longest), dtype=torch.float64, device=self.device)
        windows: list[Columns] = []
        for begin in range(0, self.samples, PIECE_SAMPLES):
            part = series[:, begin : begin + PIECE_SAMPLES]
            first = torch.full_like(reached, begin == 0)
            piece = make_piece(model, state, first, PIECE_SAMPLES / self.sampling_rate_hz)
            if begin == 0:
                start_hz = start_carrier_hz(self.config.readout, piece.phase, piece.axial)
            seconds = torch.full_like(longest, part.shape[1] / self.sampling_rate_hz)
            turned = [horner(polynomial, seconds) - polynomial[:, 0] for polynomial in (piece.phase, piece.axial)]
            in_band = reached & (piece.phase[:, 1].abs() <= math.pi * self.sampling_rate_hz)
            amplitude = starts.amplitude * in_band
            energies = self._render(model, piece.track, piece.phase, piece.axial, amplitude, part)
            sums += torch.stack([*(value * reached for value in (seconds, *turned)), *energies])
            windows.append(self._window(piece, in_band, begin))
            state, reached = piece.after(longest), in_band
        seconds, carrier, axial, tone, rest = sums
        truth = {
            schema.AXIAL_FREQUENCY: axial / seconds / (2 * math.pi),
            schema.CARRIER_FREQUENCY: self.lo_frequency_hz + carrier / seconds / (2 * math.pi),
            schema.START_CARRIER_FREQUENCY: start_hz,
        }
        truth |= snr_columns(self.config.readout, tone, rest)
        return truth | {f"window_{name}": torch.stack([w[name] for w in windows], 1) for name in windows[0]}

    def _window(self, piece: Piece, present: Tensor, start_sample: int) -> Columns:
        """Return the electrons at the start of a piece; NaN, and track −1, where a record has ended."""
        values = (
            piece.energy[:, 0],
            torch.rad2deg(piece.pitch[:, 0]),
            piece.state.radius_m,
            piece.state.azimuth_rad,
            self.lo_frequency_hz + piece.phase[:, 1] / (2 * math.pi),
            piece.axial[:, 1] / (2 * math.pi),
        )
        columns = {
            name: torch.where(present, value, math.nan) for name, value in zip(WINDOW_TRUTH, values, strict=True)
        }
        start = torch.full_like(present, start_sample, dtype=torch.int64)
        return {"start_sample": start, **columns, "track": present.to(torch.int64) - 1}


def _read(config: str | None) -> SimulationConfig:
    return SimulationConfig.from_yaml(simulation_config(config))


def _turned(series: Tensor, factor: complex) -> Tensor:
    real, imaginary = series.unbind(-1)
    i = factor.real * real - factor.imag * imaginary
    return torch.stack([i, factor.real * imaginary + factor.imag * real], -1)


def _start_columns(starts: StartValues) -> Columns:
    return {
        schema.EVENT_ID: starts.event_id,
        schema.ENERGY: starts.energy_ev,
        schema.PITCH_ANGLE: starts.pitch_angle_deg,
        schema.RADIUS: starts.radius_m,
        "azimuth_rad": starts.azimuth_rad,
        "start_phase_rad": starts.start_phase_rad,
        "axial_phase_rad": starts.axial_phase_rad,
    }
