"""Electrons → columns, fast: tracks in float64, their phases reduced to one turn, samples in float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cres import schema
from cres.simulation.channels import channel_columns, channel_factors
from cres.simulation.config import SimulationConfig
from cres.simulation.electrons import Electrons
from cres.simulation.kinds import mixed_columns
from cres.simulation.motion import Start, upwards
from cres.simulation.pieces import PIECE_SAMPLES
from cres.simulation.receiver import receive
from cres.simulation.render import Curves, hermite_cubics, render
from cres.simulation.track import Track, TrackModel
from cres.simulation.tracks import RecordStream
from cres.simulation.truth import frequency_columns, snr_columns

BLOCK = 64
"""Electrons whose tables are made together."""


class Generator:
    """Makes records of one piece, of one read-out channel of an apparatus. Holds no state between calls."""

    def __init__(self, config: SimulationConfig, channel: int = 0) -> None:
        self.config = config
        self.model = TrackModel(config, channel=channel)
        self.time_s = np.arange(config.readout.samples) / config.readout.sampling_rate_hz

    def columns(self, electrons: Electrons) -> dict[str, NDArray[Any]]:
        """Return all columns of the electrons; series float32 (rows, samples) volts, noiseless."""
        rows, samples = len(electrons), self.config.readout.samples
        series_i = np.empty((rows, samples), np.float32)
        series_q = np.empty((rows, samples), np.float32)
        parts = []
        for begin in range(0, rows, BLOCK):
            block = slice(begin, min(begin + BLOCK, rows))
            parts.append(self._block(electrons[block], series_i[block], series_q[block]))
        scalars = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else {})}
        return {schema.SERIES_I: series_i, schema.SERIES_Q: series_q, **scalars}

    def _block(self, electrons: Electrons, series_i: NDArray[Any], series_q: NDArray[Any]) -> dict[str, NDArray[Any]]:
        track = self._track(electrons)
        intervals = self.model.fold * self.model.table / (2 * math.pi)
        cubics = hermite_cubics(track.envelope, track.slope, 2 * math.pi / (self.model.fold * self.model.table))
        phase, axial = track.phase.numpy(), track.axial.numpy()
        curves = [
            Curves(phase[i], axial[i], cubics[i] * np.float32(electrons.amplitude[i])) for i in range(len(electrons))
        ]
        sums = [render(self.time_s, curve, intervals, series_i[i], series_q[i]) for i, curve in enumerate(curves)]
        tone, rest = torch.from_numpy(np.array(sums).reshape(-1, 2)).unbind(1)
        readout = self.config.readout
        truth = frequency_columns(readout, track.phase, track.axial) | snr_columns(readout, tone, rest)
        return start_columns(electrons) | {name: values.numpy() for name, values in truth.items()}

    @torch.no_grad()
    def _track(self, electrons: Electrons) -> Track:
        pitch, axial_phase = upwards(
            torch.from_numpy(np.deg2rad(electrons.pitch_angle_deg)), torch.from_numpy(electrons.axial_phase_rad)
        )
        start = Start(torch.from_numpy(electrons.energy_ev), pitch, torch.from_numpy(electrons.radius_m))
        return self.model.track(start, torch.from_numpy(electrons.start_phase_rad), axial_phase)


def start_columns(electrons: Electrons) -> dict[str, NDArray[Any]]:
    """Return the start values under their names on disk."""
    return {
        schema.EVENT_ID: electrons.event_id,
        schema.ENERGY: electrons.energy_ev,
        schema.PITCH_ANGLE: electrons.pitch_angle_deg,
        schema.RADIUS: electrons.radius_m,
        "azimuth_rad": electrons.azimuth_rad,
        "start_phase_rad": electrons.start_phase_rad,
        "axial_phase_rad": electrons.axial_phase_rad,
    }


def simulate_columns(config: SimulationConfig, electrons: Electrons) -> dict[str, NDArray[Any]]:
    """Return all columns of the electrons under their names on disk; series float32 (rows, samples) volts.

    The series are noiseless unless `config.receiver` lists effects. Frequencies are those before mixing.
    `signal_snr` is Σ|s|²/σ_c² at the nominal noise, `sideband_snr` the same less the projection on the carrier's
    chirped tone. Scattered events bring `track_…` columns, records of more than one piece `window_…` columns with
    the electron at the beginning of each window, both (rows, fixed length). Where records are of several kinds
    (`config.kinds`) there is a column of them, and what `mixed_columns` says. Further read-out channels are
    `output_ts_I_1`, ….
    """
    columns = _columns_of(config, electrons, 0)
    factors = channel_factors(config)
    for channel, factor in enumerate(factors, 1):
        if factor is not None:
            columns |= channel_columns(channel, factor, columns[schema.SERIES_I], columns[schema.SERIES_Q])
        else:
            made = _columns_of(config, electrons, channel)
            own = zip(schema.series_columns(channel), schema.SERIES_COLUMNS, strict=True)
            columns |= {name: made[of_first] for name, of_first in own}
    if config.receiver:
        receive(columns, config.make_receiver(), 1 + len(factors), config.seed)
    return columns


def _columns_of(config: SimulationConfig, electrons: Electrons, channel: int) -> dict[str, NDArray[Any]]:
    """Return the columns with the series of one read-out channel, under the names of channel 0."""
    if config.kinds.active:
        return mixed_columns(config, electrons, channel, _columns_of)
    if config.readout.samples > PIECE_SAMPLES or config.scattering.active:
        return _streamed_columns(config, electrons, channel)
    return Generator(config, channel).columns(electrons)


def stream_records(config: SimulationConfig, electrons: Electrons, window_samples: int = PIECE_SAMPLES) -> RecordStream:
    """Return the records as an iterable of windows, for records too long to be held: memory is that of one window.

    The series are those of channel 0, without the receiver's effects.
    """
    return RecordStream(config, electrons, window_samples)


def _streamed_columns(config: SimulationConfig, electrons: Electrons, channel: int) -> dict[str, NDArray[Any]]:
    rows, samples = len(electrons), config.readout.samples
    series = np.empty((2, rows, samples), np.float32)
    blocks = [
        _streamed_block(config, electrons[begin : begin + BLOCK], series[:, begin : begin + BLOCK], channel)
        for begin in range(0, max(rows, 1), BLOCK)
    ]
    truth = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return {schema.SERIES_I: series[0], schema.SERIES_Q: series[1], **start_columns(electrons), **truth}


def _streamed_block(
    config: SimulationConfig, electrons: Electrons, series: NDArray[np.float32], channel: int
) -> dict[str, NDArray[Any]]:
    stream = RecordStream(config, electrons, channel=channel)
    truths: list[dict[str, NDArray[Any]]] = []
    starts: list[int] = []
    for window in stream:
        here = slice(window.start, window.start + window.series_i.shape[1])
        series[0, :, here], series[1, :, here] = window.series_i, window.series_q
        truths.append(window.truth)
        starts.append(window.start)
    columns = stream.columns()
    if len(starts) > 1:
        columns["window_start_sample"] = np.tile(np.array(starts, np.int64), (len(electrons), 1))
        columns |= {f"window_{name}": np.stack([truth[name] for truth in truths], 1) for name in truths[0]}
    return columns
