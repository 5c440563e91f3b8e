"""From start values to a track: slow polynomials of the phases and a table of the envelope over one axial period.

A record is s(t) = e^{iΦ(t)} h(Ψ(t)): Φ the mean carrier's phase less the local oscillator's, Ψ the axial phase, both
slow polynomials in time; h is periodic and holds all lines. Its Fourier coefficients are those of each mode's profile
times √(B/B₀) e^{iΔφ} over one period, each times the response of the cavity at its own frequency, 1/(1 + iδ) of one
mode (the steady state: the cavity fills in 5 ns), added up with the couplings of the port, and the anti-alias filter.
Everything is differentiable float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cres.physics.constants import ELECTRON_MASS_EV, ELECTRON_MASS_KG, ELEMENTARY_CHARGE_C
from cres.physics.cyclotron import radiated_power_w
from cres.simulation.cavity_field import CavityField, combined
from cres.simulation.channels import seen_modes
from cres.simulation.config import SimulationConfig
from cres.simulation.motion import Motion, Orbit, Period, Rates, Start, lorentz, speed
from cres.simulation.trapping import make_motion

SLOWEST_AXIAL_RAD_PER_S = 2e4
"""Slower electrons (pitch angle within 0.0005° of 90°) lose the power of their start, not of a whole bounce."""

TABLE = 256
"""Points of the envelope's table: the record's relative error is 1e-7 at 89.8°, at most 6e-4 (89.999°)."""

PASS_BAND = 0.45
"""The anti-alias filter is flat to this part of the sampling rate and zero from one half of it."""


class Track(NamedTuple):
    """A piece of a track from its start on, as its record needs it.

    phase: (batch, 3) polynomial of Φ(t), rad, ascending powers of seconds; axial: (batch, 3), that of Ψ(t).
    envelope: (batch, table) complex volts on a uniform grid of the axial phase; slope: its derivative by axial phase.
    mean_power: eV/s, and pitch_rate: rad/s, each (batch,).
    """

    phase: Tensor
    axial: Tensor
    envelope: Tensor
    slope: Tensor
    mean_power: Tensor
    pitch_rate: Tensor


class SlowMotion(NamedTuple):
    """The slow motion at one moment, each (batch,): what a long track is integrated with."""

    rates: Rates
    power: Tensor
    """eV/s, averaged over the bounce."""
    pitch_rate: Tensor
    drift: Tensor
    """Around the axis, rad/s."""


class Bunching(NamedTuple):
    """Power less its mean along the period, integrated once and twice over the axial phase: (batch, table), eV/s."""

    excess: Tensor
    first: Tensor
    second: Tensor


class PieceSolution(NamedTuple):
    """What a later time of the same piece is found with."""

    orbit: Orbit
    rates: Rates
    bunching: Bunching
    strength: Tensor
    """ω_c/(E ω_a²), rad s/eV, (batch,): energy behind the mean, integrated over the axial phase → cyclotron phase."""
    slowest: Tensor
    offset: Tensor
    """Cyclotron phase less that of the mean carrier at the start, rad, (batch,)."""


class BouncePattern(NamedTuple):
    """The motion over one period, and what the cavity does with it."""

    orbit: Orbit
    rates: Rates
    period: Period
    line_hz: Tensor
    drives: list[Tensor]
    """Of each mode along the period, and its answers at the lines: see `CavityField`."""
    answers: list[Tensor]
    power: Tensor
    """eV/s along the period."""


class TrackModel:
    """Start values → Track, for one apparatus. `table`: points of the envelope's table over its period.

    Several modes get as many points in each half of the bounce as one mode has. channel: the read-out channel that the
    envelope is of.
    """

    def __init__(self, config: SimulationConfig, table: int = TABLE, channel: int = 0) -> None:
        self.config = config
        self.motion: Motion = make_motion(config.trap)
        self.cavity = CavityField(config.cavity)
        self.fold = 2 if self.motion.symmetric and self.cavity.even else 1
        self.table = table if not config.cavity.modes else table * (2 // self.fold)
        self._seen = seen_modes(config, channel)
        self._root_volt_per_watt = math.sqrt(config.readout.resistance_ohm * config.readout.gain)

    def track(self, start: Start, start_phase: Tensor, axial_phase: Tensor) -> Track:
        """Return the tracks of a batch.

        start_phase: cyclotron phase at time 0; axial_phase: ψ at time 0; all (batch,).
        """
        return self.solve(start, start_phase, axial_phase)[0]

    def solve(self, start: Start, start_phase: Tensor, axial_phase: Tensor) -> tuple[Track, PieceSolution]:
        """Return the tracks and what later times of them are found with."""
        harmonics = self._harmonics(start_phase)
        orbit, rates, period, line_hz, _, answers, power = self.bounce(start)
        bunching = self._bunching(power, harmonics)
        slowest = rates.axial.clamp(min=SLOWEST_AXIAL_RAD_PER_S)
        total_ev = lorentz(start.energy_ev) * ELECTRON_MASS_EV
        strength = (rates.carrier / total_ev / slowest**2)[:, None]

        envelope, slope = self._envelope(combined(self._seen, answers) * self._anti_alias(line_hz), harmonics)
        turn = torch.polar(torch.ones_like(strength), strength * bunching.second)
        slope = (slope + 1j * strength * bunching.first * envelope) * turn

        # where in its bounce the electron starts decides its mean energy and phase
        excess, first, second = self.at(bunching, axial_phase)
        mean_power = self._lasting_power(power, rates, excess)
        pitch_rate = self._pitch_rate(start, period, power)
        carrier_slope, axial_slope = self._rate_slopes(start, -mean_power, pitch_rate)
        offset = orbit.period(axial_phase[:, None]).phase[:, 0] + strength[:, 0] * second
        carrier = rates.carrier - strength[:, 0] * slowest * first - self._lo_rad_per_s
        phase = torch.stack([start_phase - offset, carrier, carrier_slope / 2], 1)
        axial = torch.stack([axial_phase, rates.axial, axial_slope / 2], 1)
        track = Track(phase, axial, envelope * turn, slope, mean_power, pitch_rate)
        return track, PieceSolution(orbit, rates, bunching, strength[:, 0], slowest, offset)

    def moment(self, start: Start, axial_phase: Tensor) -> SlowMotion:
        """Return the slow motion of electrons with these mean values; `axial_phase` matters for the slowest alone."""
        bounce = self.bounce(start)
        excess = self._fourier_sum(bounce.power - bounce.power.mean(1, keepdim=True), self._wave(axial_phase))
        power = self._lasting_power(bounce.power, bounce.rates, excess)
        pitch_rate = self._pitch_rate(start, bounce.period, bounce.power)
        return SlowMotion(bounce.rates, power, pitch_rate, bounce.orbit.drift_rad_per_s())

    def _lasting_power(self, power: Tensor, rates: Rates, excess: Tensor) -> Tensor:
        """Power averaged over the bounce; of the slowest electrons that of their place."""
        slowest = rates.axial.clamp(min=SLOWEST_AXIAL_RAD_PER_S)
        return power.mean(1) + (1 - (rates.axial / slowest) ** 2) * excess

    def bounce(self, start: Start) -> BouncePattern:
        """Return the motion over one period and the answer of the cavity."""
        orbit = self.motion.solve(start)
        rates, period = orbit.rates(), orbit.period(self._grid(start.energy_ev))
        harmonics = self._harmonics(start.energy_ev)
        line_hz = (rates.carrier[:, None] + harmonics * rates.axial[:, None]) / (2 * math.pi)
        transverse = speed(start.energy_ev) * torch.sin(start.pitch_rad)
        momentum = lorentz(start.energy_ev) * ELECTRON_MASS_KG * transverse
        gyroradius = momentum / (ELEMENTARY_CHARGE_C * self.config.trap.field_t)
        along = self._axial_speed(period, rates) if self.cavity.needs_axial_speed else None
        drives = self.cavity.drives(transverse, start.radius_m, gyroradius, period, along)
        answers = self.cavity.answers(drives, line_hz)
        return BouncePattern(
            orbit, rates, period, line_hz, drives, answers, self._power_ev_per_s(start, drives, answers)
        )

    def _axial_speed(self, period: Period, rates: Rates) -> Tensor:
        """dz/dt along the period, (batch, table) m/s, by the Fourier series of z; the other half of a bounce is −z."""
        place = torch.cat([period.axial_m, -period.axial_m], 1) if self.fold == 2 else period.axial_m
        points = place.shape[1]
        orders = torch.fft.rfftfreq(points, 1 / points, dtype=torch.float64, device=place.device)
        slope = torch.fft.irfft(1j * orders * torch.fft.rfft(place), n=points)
        return slope[:, : self.table] * rates.axial[:, None]

    @property
    def _lo_rad_per_s(self) -> float:
        return 2 * math.pi * self.config.readout.lo_frequency_hz

    def _grid(self, like: Tensor) -> Tensor:
        steps = torch.arange(self.table, dtype=torch.float64, device=like.device)
        return steps * (2 * math.pi / (self.fold * self.table))

    def _harmonics(self, like: Tensor) -> Tensor:
        return torch.fft.fftfreq(self.table, 1 / (self.fold * self.table), dtype=torch.float64, device=like.device)

    def _anti_alias(self, line_hz: Tensor) -> Tensor:
        """1 within PASS_BAND of the sampling rate around the oscillator, falling as cos² to 0 at one half."""
        readout = self.config.readout
        distance = (line_hz - readout.lo_frequency_hz).abs() / readout.sampling_rate_hz
        edge = ((distance - PASS_BAND) / (0.5 - PASS_BAND)).clamp(0.0, 1.0)
        return torch.cos(edge * math.pi / 2) ** 2

    def _envelope(self, passed: Tensor, harmonics: Tensor) -> tuple[Tensor, Tensor]:
        volts = passed * self._root_volt_per_watt
        return torch.fft.ifft(volts), torch.fft.ifft(1j * harmonics * volts)

    def _power_ev_per_s(self, start: Start, drives: list[Tensor], answers: list[Tensor]) -> Tensor:
        """Power that the electron loses along the period, (batch, table).

        In the cavity it is what the field does on the electron; its mean is what leaves the ports and stays in the
        walls.
        """
        loss = self.config.loss
        if loss.kind == "off":
            return torch.zeros_like(drives[0].real)
        if loss.kind == "free_space":
            # (B p_⊥)² at 1 T and 1 eV carries the constants; K(K + 2mc²) is (pc)²
            unit = float(radiated_power_w(1.0, 90.0, self.config.trap.field_t)) / (1 + 2 * ELECTRON_MASS_EV)
            squared = start.energy_ev * (start.energy_ev + 2 * ELECTRON_MASS_EV) * torch.sin(start.pitch_rad) ** 2
            watt = (unit * squared)[:, None].expand_as(drives[0].real)
        else:
            watt = self.cavity.watt(drives, answers)
        return watt * (loss.factor / ELEMENTARY_CHARGE_C)

    def _bunching(self, power: Tensor, harmonics: Tensor) -> Bunching:
        excess = power - power.mean(1, keepdim=True)
        integral = torch.where(harmonics == 0, 0.0, 1 / torch.where(harmonics == 0, 1.0, harmonics)) * -1j
        lines = torch.fft.fft(excess)
        return Bunching(excess, torch.fft.ifft(lines * integral).real, torch.fft.ifft(lines * integral * integral).real)

    def at(self, bunching: Bunching, axial_phase: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three tables at one axial phase an electron, by their Fourier sums."""
        wave = self._wave(axial_phase)
        excess, first, second = (self._fourier_sum(table, wave) for table in bunching)
        return excess, first, second

    def _wave(self, axial_phase: Tensor) -> Tensor:
        angle = axial_phase[:, None] * self._harmonics(axial_phase)
        return torch.polar(torch.ones_like(angle), angle) / self.table

    @staticmethod
    def _fourier_sum(table: Tensor, wave: Tensor) -> Tensor:
        return (torch.fft.fft(table) * wave).sum(1).real

    def _pitch_rate(self, start: Start, period: Period, power: Tensor) -> Tensor:
        """dθ/dt at the trap centre, averaged over the bounce.

        The standing wave takes transverse momentum only (p_∥ stays), radiation into free space keeps v_∥:
        d ln sin²θ = d ln p² · cot²θ_local, in free space /γ².
        """
        cosine, sine = torch.cos(start.pitch_rad), torch.sin(start.pitch_rad)
        local = (1 / (sine**2)[:, None] / period.field_ratio - 1).clamp(min=0.0)
        gamma = lorentz(start.energy_ev)
        log_momentum2 = -2 * gamma * ELECTRON_MASS_EV / (start.energy_ev * (start.energy_ev + 2 * ELECTRON_MASS_EV))
        share = 1 / gamma**2 if self.config.loss.kind == "free_space" else torch.ones_like(gamma)
        safe = torch.where(cosine.abs() < 1e-12, 1e-12, cosine)
        return 0.5 * sine / safe * share * log_momentum2 * (power * local).mean(1)

    def _rate_slopes(self, start: Start, energy_rate: Tensor, pitch_rate: Tensor) -> Rates:
        """Time derivatives of the mean frequencies, rad/s², by forward differentiation."""

        def rates(energy_ev: Tensor, pitch_rad: Tensor) -> tuple[Tensor, Tensor]:
            carrier, axial = self.motion.solve(Start(energy_ev, pitch_rad, start.radius_m)).rates()
            return carrier, axial

        moving, tangents = (start.energy_ev, start.pitch_rad), (energy_rate, pitch_rate)
        slopes: tuple[Tensor, Tensor] = torch.func.jvp(rates, moving, tangents)[1]
        return Rates(*slopes)
