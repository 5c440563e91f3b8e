"""Records of any length, with scattering and starts within the record: generated in windows, memory of one window.

An event is a chain of tracks; a track is a chain of pieces (see `pieces`). Each electron goes through its own chain;
the records of a block are filled window by window, and what a window needs of the past is one state and one table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cres import schema
from cres.simulation.config import SimulationConfig
from cres.simulation.electrons import Electrons
from cres.simulation.motion import upwards
from cres.simulation.pieces import PIECE_SAMPLES, Piece, State, make_piece
from cres.simulation.render import Curves, hermite_cubics, render
from cres.simulation.scattering import draw_kick, scatter, share_within, still_held, track_draws, track_time_s
from cres.simulation.track import TrackModel

FloatArray = NDArray[np.float64]


class End(IntEnum):
    """Why an event has no further signal: column `event_end`."""

    RECORD = 0
    NOT_TRAPPED = 1
    WALL = 2
    BAND = 3
    MAXIMUM_TRACKS = 4


class Stretch(NamedTuple):
    """The samples `start` to `start + n` of all records, float32 volts (rows, n), and the electrons at `start`.

    truth: (rows,) arrays, NaN where there is no electron: energy, pitch angle, radius, azimuth, mean carrier before
    mixing, axial frequency, and the number of the track (−1 for none).
    """

    start: int
    series_i: NDArray[np.float32]
    series_q: NDArray[np.float32]
    truth: dict[str, NDArray[Any]]


WINDOW_TRUTH = ("energy_eV", "pitch_angle_deg", "radius_m", "azimuth_rad", "carrier_frequency_Hz", "axial_frequency_Hz")
TRACK_TRUTH = ("start_s", "length_s", "energy_eV", "pitch_angle_deg", "radius_m", "carrier_frequency_Hz")


@dataclass
class _Row:
    """One electron on its way. Times in samples from the record's first; curves are those of the present piece."""

    piece_start: float
    piece_end: float
    scatter: float
    curves: Curves
    energy: FloatArray
    pitch: FloatArray
    state: State
    after: State
    drift: float = 0.0
    first: bool = True
    track: int = -1
    alive: bool = True
    end: End = End.RECORD


class RecordStream:
    """The records of a few electrons, window by window; `columns` has the truth of whole events when all are through.

    Memory is that of a window and of one table an electron, whatever the length of the records.
    """

    def __init__(
        self, config: SimulationConfig, electrons: Electrons, window_samples: int = PIECE_SAMPLES, channel: int = 0
    ) -> None:
        self.config, self.electrons, self.window_samples = config, electrons, window_samples
        self._model = TrackModel(config, channel=channel)
        self._rate_hz = config.readout.sampling_rate_hz
        self._samples = config.readout.samples
        tracks, rows = config.scattering.maximum_tracks, len(electrons)
        self._draws = track_draws(electrons.event_id, tracks + 1) if rows else np.zeros((0, tracks + 1, 8))
        self._truth = {name: np.full((rows, tracks), np.nan) for name in TRACK_TRUTH}
        self._energies = np.zeros((rows, 2))
        self._turned = np.zeros((rows, 3))  # cycles of carrier and axial motion and seconds of the first track
        self._start_carrier_hz = np.zeros(rows)
        self._rows: list[_Row] = []

    def __iter__(self) -> Iterator[Stretch]:
        self._begin()
        for start in range(0, self._samples, self.window_samples):
            yield self._window(start, min(start + self.window_samples, self._samples))

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the truth of the events, known when all windows are made.

        The averages are those of the first track. Columns of tracks are (rows, maximum_tracks), NaN beyond the last.
        """
        variance, lo = self.config.readout.complex_noise_variance, self.config.readout.lo_frequency_hz
        seconds = np.maximum(self._turned[:, 2], 1e-300)
        tone, rest = self._energies.T
        columns: dict[str, NDArray[Any]] = {
            schema.AXIAL_FREQUENCY: self._turned[:, 1] / seconds,
            schema.CARRIER_FREQUENCY: lo + self._turned[:, 0] / seconds,
            schema.START_CARRIER_FREQUENCY: self._start_carrier_hz,
            "signal_snr": (tone + rest) / variance,
            "sideband_snr": rest / variance,
        }
        if not self.config.scattering.active:
            return columns
        return columns | {
            "track_count": np.array([max(row.track + 1, 0) for row in self._rows], np.int64),
            "event_end": np.array([row.end for row in self._rows], np.int64),
            "start_time_s": self._truth["start_s"][:, 0].copy(),
            "first_track_s": self._truth["length_s"][:, 0].copy(),
            **{f"track_{name}": values for name, values in self._truth.items()},
        }

    # --- the way of the electrons

    def _begin(self) -> None:
        electrons = self.electrons
        low, high = self.config.scattering.start_s
        births = (low + (high - low) * self._draws[:, -1, 0]) * self._rate_hz
        start = (electrons.energy_ev, np.deg2rad(electrons.pitch_angle_deg), electrons.radius_m, electrons.azimuth_rad)
        phases = electrons.start_phase_rad, electrons.axial_phase_rad
        states = State(*(torch.from_numpy(np.asarray(value, np.float64).copy()) for value in (*start, *phases)))
        pitch, axial_phase = upwards(states.pitch_rad, states.axial_phase_rad)
        states = states._replace(pitch_rad=pitch, axial_phase_rad=axial_phase)
        nothing = Curves(np.zeros(4), np.zeros(4), np.zeros((0, 4), np.complex64))
        self._rows = [
            _Row(birth, birth, birth, nothing, np.zeros(3), np.zeros(3), state, state)
            for birth, state in zip(births.tolist(), _split(states), strict=True)
        ]

    def _window(self, begin: int, end: int) -> Stretch:
        rows = len(self._rows)
        series = np.zeros((2, rows, end - begin), np.float32)
        truth: dict[str, NDArray[Any]] = {name: np.full(rows, np.nan) for name in WINDOW_TRUTH}
        truth["track"] = np.full(rows, -1, np.int64)
        cursors = [begin] * rows
        while True:
            for i, row in enumerate(self._rows):
                if row.alive and cursors[i] < end and row.track >= 0:
                    cursors[i] = self._fill(i, cursors[i], begin, end, series[:, i], truth)
            ended = [(i, row.piece_end) for i, row in enumerate(self._rows) if row.alive and row.piece_end < end]
            waiting = [i for i, piece_end in ended if math.ceil(piece_end) <= cursors[i] or self._rows[i].track < 0]
            if not waiting:
                return Stretch(begin, series[0], series[1], truth)
            self._advance(waiting)

    def _fill(
        self, index: int, cursor: int, begin: int, end: int, out: NDArray[Any], truth: dict[str, NDArray[Any]]
    ) -> int:
        """Fill what the row's present piece covers of the window; return the next sample to be filled."""
        row = self._rows[index]
        first, last = max(cursor, math.ceil(row.piece_start)), min(end, math.ceil(row.piece_end))
        if first >= last:
            return max(cursor, min(last, end))
        time = (np.arange(first, last) - row.piece_start) / self._rate_hz
        if first == begin:
            self._note_window(row, index, float(time[0]), truth)
        here = slice(first - begin, last - begin)
        intervals = self._model.fold * self._model.table / (2 * math.pi)
        self._energies[index] += render(time, row.curves, intervals, out[0, here], out[1, here])
        return last

    def _note_window(self, row: _Row, index: int, time: float, truth: dict[str, NDArray[Any]]) -> None:
        lo, curves = self.config.readout.lo_frequency_hz, row.curves
        values = (
            float(np.polyval(row.energy[::-1], time)),
            math.degrees(float(np.polyval(row.pitch[::-1], time))),
            float(row.state.radius_m),
            float(row.state.azimuth_rad) + row.drift * time,
            lo + float(_slope(curves.phase, time)) / (2 * math.pi),
            float(_slope(curves.axial, time)) / (2 * math.pi),
        )
        for name, value in zip(WINDOW_TRUTH, values, strict=True):
            truth[name][index] = value
        truth["track"][index] = row.track

    def _advance(self, waiting: list[int]) -> None:
        """Give each of these rows its next piece, after a scattering where its track has ended."""
        new = [i for i in waiting if self._rows[i].piece_end >= self._rows[i].scatter]
        self._scatter([i for i in new if self._rows[i].track >= 0])
        new = [i for i in new if self._rows[i].alive]
        going = [i for i in waiting if self._rows[i].alive]
        if not going:
            return
        for i in going:
            self._rows[i].state = self._rows[i].after
            self._rows[i].piece_start = self._rows[i].piece_end
            self._rows[i].first = i in new
        self._start_tracks(new)
        states = _join([self._rows[i].state for i in going])
        first = torch.tensor([self._rows[i].first for i in going])
        piece = make_piece(self._model, states, first, PIECE_SAMPLES / self._rate_hz)
        self._take(going, piece)

    def _start_tracks(self, rows: list[int]) -> None:
        for i in rows:
            row = self._rows[i]
            row.track += 1
            energy = row.state.energy_ev.numpy()[None]
            draw = self._draws[i, row.track, 0:1]
            if row.track == 0 and self.config.scattering.within_record:
                left_s = (self._samples - row.piece_start) / self._rate_hz
                draw = draw * share_within(self.config.scattering, energy, left_s)
            time = float(track_time_s(self.config.scattering, energy, draw)[0])
            row.scatter = row.piece_start + time * self._rate_hz
            self._truth["start_s"][i, row.track] = row.piece_start / self._rate_hz
            self._truth["length_s"][i, row.track] = min(time, (self._samples - row.piece_start) / self._rate_hz)
            self._truth["energy_eV"][i, row.track] = energy[0]
            self._truth["pitch_angle_deg"][i, row.track] = math.degrees(float(row.state.pitch_rad))
            self._truth["radius_m"][i, row.track] = float(row.state.radius_m)

    def _take(self, rows: list[int], piece: Piece) -> None:
        """Put the pieces of a batch into their rows, and find where each of them leads."""
        step = 2 * math.pi / (self._model.fold * self._model.table)
        cubics = hermite_cubics(piece.track.envelope, piece.track.slope, step)
        lengths = np.array([min(PIECE_SAMPLES, self._rows[i].scatter - self._rows[i].piece_start) for i in rows])
        after = _split(piece.after(torch.from_numpy(lengths / self._rate_hz)))
        arrays = (piece.phase, piece.axial, piece.energy, piece.pitch)
        phase, axial, energy, pitch = (array.numpy() for array in arrays)
        for k, i in enumerate(rows):
            row = self._rows[i]
            amplitude = np.float32(self.electrons.amplitude[i])
            row.curves = Curves(phase[k], axial[k], cubics[k] * amplitude)
            row.energy, row.pitch, row.drift, row.after = energy[k], pitch[k], float(piece.drift[k]), after[k]
            row.piece_end = row.scatter if lengths[k] < PIECE_SAMPLES else row.piece_start + PIECE_SAMPLES
            if row.first:
                self._truth["carrier_frequency_Hz"][i, row.track] = self._first_carrier_hz(row)
            if row.track == 0:
                self._average(i)
            if abs(phase[k, 1]) > math.pi * self._rate_hz:
                row.alive, row.end = False, End.BAND

    def _first_carrier_hz(self, row: _Row) -> float:
        """Mean carrier of the first axial period, before mixing; of the record where it is shorter."""
        _, carrier, bend, _ = row.curves.phase
        duration = self._samples / self._rate_hz
        period = min(2 * math.pi / max(float(row.curves.axial[1]), 2 * math.pi / duration), duration)
        return self.config.readout.lo_frequency_hz + float(carrier + bend * period) / (2 * math.pi)

    def _average(self, index: int) -> None:
        row = self._rows[index]
        if row.first:
            self._start_carrier_hz[index] = self._truth["carrier_frequency_Hz"][index, 0]
        seconds = (min(row.piece_end, self._samples) - row.piece_start) / self._rate_hz
        turned = [
            float(np.polyval(polynomial[::-1], seconds) - polynomial[0]) / (2 * math.pi)
            for polynomial in (row.curves.phase, row.curves.axial)
        ]
        self._turned[index] += (*turned, seconds)

    def _scatter(self, rows: list[int]) -> None:
        """Kick the electrons of these rows; those that are lost end here."""
        if not rows:
            return
        draws = np.stack([self._draws[i, self._rows[i].track] for i in rows])
        before = _join([self._rows[i].after for i in rows])
        kick = draw_kick(self.config.scattering, before.energy_ev.numpy(), draws[:, 1:4])
        after = scatter(self._model.motion, self.config.trap.field_t, before, kick, 2 * math.pi * draws[:, 4:6])
        trapped, clear = still_held(self.config, after)
        for k, (i, state) in enumerate(zip(rows, _split(after), strict=True)):
            row = self._rows[i]
            row.after = state
            if not trapped[k] or not clear[k]:
                row.alive, row.end = False, End.NOT_TRAPPED if not trapped[k] else End.WALL
            elif row.track + 1 == self.config.scattering.maximum_tracks:
                row.alive, row.end = False, End.MAXIMUM_TRACKS


def _slope(polynomial: FloatArray, time: float) -> float:
    return float((3 * polynomial[3] * time + 2 * polynomial[2]) * time + polynomial[1])


def _split(states: State) -> list[State]:
    return [states.at(torch.tensor(i)) for i in range(len(states.energy_ev))]


def _join(states: list[State]) -> State:
    return State(*(torch.stack(values) for values in zip(*states, strict=True)))
