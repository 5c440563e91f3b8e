"""Axial motion over one period, differentiable (torch, float64): what the signal needs to know of a trap.

The axial phase ψ grows uniformly in time; ψ = 0 where the electron crosses the field minimum upwards.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from cres.physics.constants import ELECTRON_CYCLOTRON_HZ_PER_T, ELECTRON_MASS_EV, SPEED_OF_LIGHT_M_PER_S


class Start(NamedTuple):
    """What the motion depends on, each (batch,): kinetic energy, pitch angle at the field minimum, radius."""

    energy_ev: Tensor
    pitch_rad: Tensor
    radius_m: Tensor


class Rates(NamedTuple):
    """Mean angular frequencies of the cyclotron and the axial motion, rad/s, each (batch,)."""

    carrier: Tensor
    axial: Tensor


class Period(NamedTuple):
    """One axial period at the axial phases asked for, each (batch, phases)."""

    axial_m: Tensor
    field_ratio: Tensor
    """Field over the field at the minimum."""
    phase: Tensor
    """Cyclotron phase less the mean carrier's, rad, zero mean: ∫(ω_c − ⟨ω_c⟩) dψ/ω_a."""


class Orbit(ABC):
    """The solved axial motion of a batch of electrons."""

    @abstractmethod
    def rates(self) -> Rates:
        """Return the mean frequencies."""

    @abstractmethod
    def drift_rad_per_s(self) -> Tensor:
        """Return the angular velocity around the axis, (batch,)."""

    @abstractmethod
    def period(self, axial_phase: Tensor) -> Period:
        """Return the motion at `axial_phase`, (phases,) for all electrons or (batch, phases)."""


class Motion(ABC):
    """A trap as the signal sees it. `symmetric`: the two halves of the trap are mirror images."""

    symmetric: bool

    @abstractmethod
    def solve(self, start: Start) -> Orbit:
        """Return the orbits of a batch."""


def lorentz(energy_ev: Tensor) -> Tensor:
    """γ = 1 + K/mc²."""
    return 1 + energy_ev / ELECTRON_MASS_EV


def speed(energy_ev: Tensor) -> Tensor:
    """Speed in m/s."""
    kinetic = energy_ev / ELECTRON_MASS_EV
    return SPEED_OF_LIGHT_M_PER_S * torch.sqrt(kinetic * (kinetic + 2)) / (1 + kinetic)


def cyclotron_rad_per_s(energy_ev: Tensor, field_t: float) -> Tensor:
    """ω_c = eB/γm."""
    return 2 * math.pi * ELECTRON_CYCLOTRON_HZ_PER_T * field_t / lorentz(energy_ev)


def upwards(pitch_rad: Tensor, axial_phase: Tensor) -> tuple[Tensor, Tensor]:
    """Return pitch angles of at most 90° and axial phases of the same motion.

    An electron above 90° crosses the field minimum downwards at axial phase 0: half a bounce later it is one below 90°.
    """
    down = pitch_rad > math.pi / 2
    pitch = torch.where(down, math.pi - pitch_rad, pitch_rad)
    return pitch, torch.where(down, axial_phase + math.pi, axial_phase)


def cotangent(pitch_rad: Tensor) -> Tensor:
    """|cot θ|."""
    return (torch.cos(pitch_rad) / torch.sin(pitch_rad)).abs()


def _fold(axial_phase: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the phase folded into [0, π/2] and the signs of z (odd) and of the cyclotron phase (odd twice)."""
    turn = torch.remainder(axial_phase, 2 * math.pi)
    up = torch.where(turn < math.pi, 1.0, -1.0).to(turn)
    half = torch.remainder(turn, math.pi)
    early = half < math.pi / 2
    return torch.where(early, half, math.pi - half), up, torch.where(early, 1.0, -1.0).to(turn)


class BathtubMotion(Motion):
    """Flat bottom between two halves of a harmonic well, in closed form. The radius plays no part."""

    symmetric = True

    def __init__(self, field_t: float, flat_length_m: float, gradient_length_m: float) -> None:
        self.field_t = field_t
        self.flat_length_m = flat_length_m
        self.gradient_length_m = gradient_length_m

    def solve(self, start: Start) -> Orbit:
        """Return the orbits of a batch."""
        return _BathtubOrbit(self, start)


class HarmonicMotion(Motion):
    """The vacuum quadratic field with its radial dependence, gyration and drift: the twin of `physics.HarmonicTrap`.

    To the first order in z²/L₀² it is a harmonic well on the axis: B₀ → B₀(1 − ρ²/2L₀²) and
    L₀² → L₀²(1 − ρ²/2L₀²)/(1 + ρ²/L₀²), at ρ² + r_c² for the cyclotron motion and at ρ² + r_c²/2 for the bounce.
    """

    symmetric = True

    def __init__(self, field_t: float, gradient_length_m: float) -> None:
        self.field_t = field_t
        self.gradient_length_m = gradient_length_m

    def solve(self, start: Start) -> Orbit:
        """Return the orbits of a batch."""
        return _HarmonicOrbit(self, start)


class _HarmonicOrbit(Orbit):
    def __init__(self, trap: HarmonicMotion, start: Start) -> None:
        kinetic = start.energy_ev * (start.energy_ev + 2 * ELECTRON_MASS_EV)
        gyration = torch.sqrt(kinetic) * torch.sin(start.pitch_rad) / (SPEED_OF_LIGHT_M_PER_S * trap.field_t)
        self.gamma = lorentz(start.energy_ev)
        self.length2 = trap.gradient_length_m**2
        disc = (start.radius_m**2 + gyration**2 / 2) / self.length2
        ring = (start.radius_m**2 + gyration**2) / self.length2
        disc_length2, ring_length2 = (self.length2 * (1 - r / 2) / (1 + r) for r in (disc, ring))
        self.pitch_rad, self.field_t = start.pitch_rad, trap.field_t
        self.lowest = cyclotron_rad_per_s(start.energy_ev, trap.field_t) * (1 - ring / 2)
        cotangent2 = cotangent(start.pitch_rad) ** 2
        self.rise = cotangent2 * disc_length2 / ring_length2  # of the ring's field at the turning point
        self.reach = torch.sqrt(disc_length2 * cotangent2 + 1e-300)
        self.axial = speed(start.energy_ev) * torch.sin(start.pitch_rad) / torch.sqrt(disc_length2)

    def drift_rad_per_s(self) -> Tensor:
        """(γmv²/e)(1 + ½cos²θ)/(2B₀L₀²)."""
        volts = ELECTRON_MASS_EV * (self.gamma - 1 / self.gamma)
        return volts * (1 + torch.cos(self.pitch_rad) ** 2 / 2) / (2 * self.field_t * self.length2)

    def rates(self) -> Rates:
        """Mean carrier less the drift, as it is received, and axial frequency, rad/s."""
        return Rates(self.lowest * (1 + self.rise / 2) - self.drift_rad_per_s(), self.axial)

    def period(self, axial_phase: Tensor) -> Period:
        """Position z_m sin ψ; the field's rise goes as sin²ψ, the phase as −sin 2ψ."""
        sine = torch.sin(axial_phase)
        phase = -(self.lowest * self.rise / self.axial)[:, None] / 4 * torch.sin(2 * axial_phase)
        return Period(self.reach[:, None] * sine, 1 + self.rise[:, None] * sine**2, phase)


class _BathtubOrbit(Orbit):
    """With κ = πL₀cotθ/(πL₀cotθ + L₁), the walls' share of the period: ω_a = κ v sinθ/L₀, ⟨B⟩ = B₀(1 + ½κcot²θ)."""

    def __init__(self, trap: BathtubMotion, start: Start) -> None:
        self.trap = trap
        self.cotangent = cotangent(start.pitch_rad)
        wall = math.pi * trap.gradient_length_m * self.cotangent
        self.wall_share = wall / (wall + trap.flat_length_m)
        self.cyclotron = cyclotron_rad_per_s(start.energy_ev, trap.field_t)
        self.wall_rate = speed(start.energy_ev) * torch.sin(start.pitch_rad) / trap.gradient_length_m

    def drift_rad_per_s(self) -> Tensor:
        """Zero: nothing drifts where nothing depends on the radius."""
        return torch.zeros_like(self.cyclotron)

    def rates(self) -> Rates:
        """Mean carrier and axial frequency, rad/s."""
        carrier = self.cyclotron * (1 + self.wall_share * self.cotangent**2 / 2)
        return Rates(carrier, self.wall_share * self.wall_rate)

    def period(self, axial_phase: Tensor) -> Period:
        """Position, field and phase, piece by piece."""
        cotangent, share = self.cotangent[:, None], self.wall_share[:, None]
        quarter, up, early = _fold(axial_phase)
        flat_quarter = math.pi / 2 * (1 - share)
        # the phase within the wall's half oscillation, 0 to π/2
        wall = ((quarter - flat_quarter) / share.clamp(min=1e-300)).clamp(min=0.0, max=math.pi / 2)
        flat = torch.minimum(quarter, flat_quarter) / flat_quarter.clamp(min=1e-300)
        position = self.trap.flat_length_m / 2 * flat + self.trap.gradient_length_m * cotangent * torch.sin(wall)
        # ω₀cot²θ/ω_a · [κ(w/2 − sin 2w/4) − ½κψ]; κ/ω_a is finite at 90°
        scale = (self.cyclotron / self.wall_rate)[:, None] * cotangent**2
        phase = scale * (wall / 2 - torch.sin(2 * wall) / 4 - quarter / 2)
        return Period(up * position, 1 + (cotangent * torch.sin(wall)) ** 2, early * phase)
