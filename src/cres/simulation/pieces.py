"""A track of any length, piece by piece: each piece is expanded anew from where the one before has led.

A piece lasts PIECE_SAMPLES samples. The first is the record of `TrackModel.track`, with quadratic phases; later ones
take the slow motion (energy, pitch angle, frequencies) in their middle too, which makes their phases cubic and the
energy right to the third order: the phase of a track of milliseconds is then known to a few milliradians.
The envelope stays that of the piece's start: within a piece the cavity's answer changes by 4e-4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cres.simulation.motion import Start
from cres.simulation.track import PieceSolution, SlowMotion, Track, TrackModel

PIECE_SAMPLES = 8192
"""Samples of a piece, in any sampling rate."""


class State(NamedTuple):
    """An electron at one moment, each (batch,): all that its future depends on."""

    energy_ev: Tensor
    pitch_rad: Tensor
    radius_m: Tensor
    azimuth_rad: Tensor
    phase_rad: Tensor
    """Of the cyclotron motion less that of the local oscillator."""
    axial_phase_rad: Tensor

    @property
    def start(self) -> Start:
        """What the motion depends on."""
        return Start(self.energy_ev, self.pitch_rad, self.radius_m)

    def at(self, index: Tensor) -> State:
        """Return the state of some electrons."""
        return State(*(value[index] for value in self))


@dataclass(frozen=True)
class Piece:
    """A piece of the tracks of a batch. Phases and slow values are polynomials of the time in it, ascending powers.

    track: with the tables of the envelope; phase and axial: (batch, 4), rad; energy: (batch, 3), eV, the mean over the
    bounce; pitch: (batch, 3), rad; carrier: (batch,), rad/s after mixing, at the start.
    """

    track: Track
    phase: Tensor
    axial: Tensor
    energy: Tensor
    pitch: Tensor
    state: State
    drift: Tensor
    _solution: PieceSolution
    _model: TrackModel

    def after(self, time_s: Tensor) -> State:
        """Return the electrons `time_s` (batch,) after the start of the piece."""
        solution, axial_phase = self._solution, horner(self.axial, time_s)
        _, first, second = self._model.at(solution.bunching, axial_phase)
        ahead = solution.orbit.period(axial_phase[:, None]).phase[:, 0] + solution.strength * second
        return State(
            horner(self.energy, time_s) - first / solution.slowest,
            horner(self.pitch, time_s),
            self.state.radius_m,
            torch.remainder(self.state.azimuth_rad + self.drift * time_s, 2 * math.pi),
            torch.remainder(horner(self.phase, time_s) + ahead, 2 * math.pi),
            torch.remainder(axial_phase, 2 * math.pi),
        )

    @property
    def solution(self) -> PieceSolution:
        """The solved motion of the piece."""
        return self._solution


def horner(coefficients: Tensor, time_s: Tensor) -> Tensor:
    """Evaluate polynomials (batch, powers) at (batch,) times."""
    value = coefficients[:, -1]
    for power in range(coefficients.shape[1] - 2, -1, -1):
        value = value * time_s + coefficients[:, power]
    return value


@torch.no_grad()
def make_piece(model: TrackModel, state: State, first: Tensor, duration_s: float) -> Piece:
    """Return the pieces that begin with the states; `first` (batch,) says which begin a track.

    duration_s: how long they may last.
    """
    track, solution = model.solve(state.start, state.phase_rad, state.axial_phase_rad)
    bunched = model.at(solution.bunching, state.axial_phase_rad)[1] / solution.slowest
    half = duration_s / 2
    here = SlowMotion(solution.rates, track.mean_power, track.pitch_rate, solution.orbit.drift_rad_per_s())
    ahead = Start(state.energy_ev - here.power * half, state.pitch_rad + here.pitch_rate * half, state.radius_m)
    middle = model.moment(ahead, state.axial_phase_rad)
    # what the first piece of a track leaves out, so that a record of one piece is the beginning of every longer one
    later = (~first).to(state.energy_ev)
    cubics = [
        later * (there - rate - 2 * polynomial[:, 2] * half) / (3 * half**2)
        for there, rate, polynomial in zip(middle.rates, here.rates, (track.phase, track.axial), strict=True)
    ]
    power_bend = (middle.power - here.power) / duration_s
    pitch_bend = (middle.pitch_rate - here.pitch_rate) / duration_s
    return Piece(
        track,
        torch.cat([track.phase, cubics[0][:, None]], 1),
        torch.cat([track.axial, cubics[1][:, None]], 1),
        torch.stack([state.energy_ev + bunched, -here.power, -power_bend], 1),
        torch.stack([state.pitch_rad, here.pitch_rate, pitch_bend], 1),
        state,
        here.drift,
        solution,
        model,
    )
