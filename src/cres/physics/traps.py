"""Magnetic traps: axial frequency, mean field, turning point, drift.

Pitch angles are those at the field minimum on the electron's field line. `gyroradius=False` gives the guiding-centre
value. Electrons that a trap does not hold give NaN.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cres.physics.constants import ELECTRON_MASS_EV
from cres.physics.cyclotron import Array, Result, Values, as_array, gyroradius_m, lorentz_factor, speed_m_per_s
from cres.physics.fields import CoilField
from cres.physics.guiding import EQUAL, QUADRATURE, AxisymmetricField, Bounce, solve_bounce

HUMP_FACTOR = 4
"""So many times the nodes of a quadrature where a bounce may linger on a hump."""

CENTRE_GRID = 200
"""Places on either side of the middle at which a hump is looked for."""


class Trap(ABC):
    """What every trap answers; all arguments broadcast."""

    @abstractmethod
    def axial_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Frequency of the bounce between the turning points."""

    @abstractmethod
    def average_field_t(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Field averaged over a bounce: the mean carrier is that of this field."""

    @abstractmethod
    def turning_point_m(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Place of the upper turning point."""

    @abstractmethod
    def drift_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Turns of the guiding centre around the axis a second; positive in the sense of the gyration."""

    @abstractmethod
    def field_t(self, radius_m: Values, axial_m: Values) -> Result:
        """Modulus of the field."""


def _cotangent(pitch_angle_deg: Values) -> Array:
    pitch = np.deg2rad(as_array(pitch_angle_deg))
    return np.asarray(np.abs(np.cos(pitch)) / np.sin(pitch))


def _broadcast(result: Result, *arguments: Values) -> Array:
    return np.broadcast_to(result, np.broadcast(result, *(as_array(a) for a in arguments)).shape)


class BathtubTrap(Trap):
    """A flat bottom (flat_length_m) between walls B = B₀(1 + x²/L₀²), x the way into the wall. The radius is ignored.

    κ = 1/(1 + L₁ tanθ/πL₀), ω_a = κ v sinθ/L₀, ⟨B⟩ = B₀(1 + ½κcot²θ), z_m = L₁/2 + L₀cotθ.
    """

    def __init__(self, field_t: float, flat_length_m: float, gradient_length_m: float) -> None:
        self.minimum_field_t = field_t
        self.flat_length_m = flat_length_m
        self.gradient_length_m = gradient_length_m

    def _wall_share(self, pitch_angle_deg: Values) -> Array:
        wall = math.pi * self.gradient_length_m * _cotangent(pitch_angle_deg)
        return np.asarray(wall / (wall + self.flat_length_m))

    def axial_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Frequency of the bounce."""
        transverse = speed_m_per_s(kinetic_energy_ev) * np.sin(np.deg2rad(as_array(pitch_angle_deg)))
        frequency = self._wall_share(pitch_angle_deg) * transverse / (2 * math.pi * self.gradient_length_m)
        return _broadcast(frequency, radius_m)

    def average_field_t(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Field averaged over a bounce."""
        rise = self._wall_share(pitch_angle_deg) * _cotangent(pitch_angle_deg) ** 2 / 2
        return _broadcast(self.minimum_field_t * (1 + rise), kinetic_energy_ev, radius_m)

    def turning_point_m(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Place of the upper turning point."""
        place = self.flat_length_m / 2 + self.gradient_length_m * _cotangent(pitch_angle_deg)
        return _broadcast(place, kinetic_energy_ev, radius_m)

    def drift_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Zero: without a radial dependence nothing drifts."""
        return _broadcast(np.zeros(()), kinetic_energy_ev, pitch_angle_deg, radius_m)

    def field_t(self, radius_m: Values, axial_m: Values) -> Result:
        """Modulus of the field."""
        depth = np.maximum(np.abs(as_array(axial_m)) - self.flat_length_m / 2, 0.0) / self.gradient_length_m
        return _broadcast(self.minimum_field_t * (1 + depth**2), radius_m)


class HarmonicTrap(Trap):
    """The vacuum quadratic field B_z = B₀(1 + z²/L₀² − ρ²/2L₀²), B_ρ = −B₀ρz/L₀².

    On the axis z_m = L₀cotθ, ω_a = v sinθ/L₀, ⟨B⟩ = B₀(1 + ½cot²θ). Off the axis, to the first order in z²/L₀²,
    B₀ → B₀(1 − ρ²/2L₀²) and L₀² → L₀²(1 − ρ²/2L₀²)/(1 + ρ²/L₀²), with the gyration at ρ² + r_c² for the cyclotron
    motion and ρ² + r_c²/2 for the bounce.
    """

    def __init__(self, field_t: float, gradient_length_m: float) -> None:
        self.minimum_field_t = field_t
        self.gradient_length_m = gradient_length_m

    def _radius2(self, energy: Values, pitch_deg: Values, radius_m: Values, gyro: bool, share: float) -> Result:
        gyration = gyroradius_m(energy, pitch_deg, self.minimum_field_t)
        return np.asarray(as_array(radius_m) ** 2 + share * gyration**2 * float(gyro)) / self.gradient_length_m**2

    def _length2(self, relative_radius2: Result) -> Result:
        return np.asarray(self.gradient_length_m**2 * (1 - relative_radius2 / 2) / (1 + relative_radius2))

    def axial_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Frequency of the bounce."""
        length2 = self._length2(self._radius2(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius, 0.5))
        transverse = speed_m_per_s(kinetic_energy_ev) * np.sin(np.deg2rad(as_array(pitch_angle_deg)))
        return np.asarray(transverse / (2 * math.pi * np.sqrt(length2)))

    def average_field_t(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Field averaged over a bounce."""
        disc = self._radius2(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius, 0.5)
        ring = self._radius2(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius, 1.0)
        rise = _cotangent(pitch_angle_deg) ** 2 / 2 * self._length2(disc) / self._length2(ring)
        return np.asarray(self.minimum_field_t * (1 - ring / 2) * (1 + rise))

    def turning_point_m(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Place of the upper turning point."""
        disc = self._radius2(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius, 0.5)
        return np.asarray(np.sqrt(self._length2(disc)) * _cotangent(pitch_angle_deg))

    def drift_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """(γmv²/e)(1 + ½cos²θ)/(4π B₀ L₀²): ⟨cos²θ(z)⟩ is half its value at the minimum."""
        gamma = lorentz_factor(kinetic_energy_ev)
        volts = ELECTRON_MASS_EV * (gamma - 1 / gamma)
        cosine2 = np.cos(np.deg2rad(as_array(pitch_angle_deg))) ** 2
        frequency = volts * (1 + cosine2 / 2) / (4 * math.pi * self.minimum_field_t * self.gradient_length_m**2)
        return _broadcast(frequency, radius_m)

    def field_t(self, radius_m: Values, axial_m: Values) -> Result:
        """Modulus of the field."""
        rho, z = as_array(radius_m) / self.gradient_length_m, as_array(axial_m) / self.gradient_length_m
        return np.asarray(self.minimum_field_t * np.hypot(1 + z**2 - rho**2 / 2, rho * z))


class NumericalTrap(Trap):
    """A trap in any axisymmetric field on a background, solved by quadrature (see `guiding`).

    interval_m: where electrons may move; pitch angles are those at the lowest field within, of two equal wells the
    upper one. symmetric: both halves are mirror images of each other, z → −z.
    """

    def __init__(self, field: AxisymmetricField, interval_m: tuple[float, float], symmetric: bool = False) -> None:
        self.field = field
        self.interval_m = interval_m
        self.symmetric = symmetric

    @cached_property
    def centred(self) -> bool:
        """Whether the lowest field of all lines is in the middle: a symmetric trap with a hump there has two wells."""
        rise = self._rises
        return bool(np.all(rise[:, CENTRE_GRID - 1] <= rise.min(1) + EQUAL * np.ptp(rise, axis=1)))

    @cached_property
    def humped(self) -> bool:
        """Whether there is more than one well: electrons that hardly pass the hump between two linger there."""
        steps = np.diff(self._rises, axis=1)
        falls = (steps < -EQUAL * np.ptp(self._rises, axis=1, keepdims=True)).cumsum(1)
        # a fall after a rise, that is, after the first minimum
        rising = (steps > EQUAL * np.ptp(self._rises, axis=1, keepdims=True)).cumsum(1)
        return bool(np.any((rising > 0) & (np.diff(falls, axis=1, prepend=0) > 0)))

    @cached_property
    def _rises(self) -> Array:
        """|B| less the background along the axis and beside it, (radius, place)."""
        low, high = self.interval_m
        axial = np.linspace(low, high, 2 * CENTRE_GRID + 1)[1:-1]
        radii = np.linspace(0, self._reach_m, 5)[:, None]
        return np.asarray(self.field.excess_t(radii + 0 * axial, axial + 0 * radii))

    @property
    def _reach_m(self) -> float:
        """How far off the axis electrons may be: not beyond a field map, nor half way to a wire."""
        low, high = self.interval_m
        wires = [coil[0] / 2 for coil in getattr(self.field, "coils", ())]
        return float(min((high - low) / 20, getattr(self.field, "largest_radius_m", np.inf), *wires, np.inf))

    def bounce(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Bounce:
        """Solve one bounce of each electron, in flat arrays."""
        shape = self._shape(kinetic_energy_ev, pitch_angle_deg, radius_m)
        flat = [np.broadcast_to(as_array(v), shape).ravel() for v in (kinetic_energy_ev, pitch_angle_deg, radius_m)]
        nodes = QUADRATURE * (HUMP_FACTOR if self.humped else 1)
        return solve_bounce(self.field, flat[0], flat[1], flat[2], self.interval_m, gyroradius, nodes)

    def _shape(self, *arguments: Values) -> tuple[int, ...]:
        return np.broadcast_shapes(*(as_array(a).shape for a in arguments))

    def axial_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Frequency of the bounce."""
        solved = self.bounce(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius)
        return (1 / solved.period_s).reshape(self._shape(kinetic_energy_ev, pitch_angle_deg, radius_m))

    def average_field_t(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Field averaged over a bounce."""
        solved = self.bounce(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius)
        return solved.average_field_t.reshape(self._shape(kinetic_energy_ev, pitch_angle_deg, radius_m))

    def turning_point_m(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Place of the upper turning point; NaN, too, where the lower end does not hold the electron."""
        solved = self.bounce(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius)
        high_m = np.where(np.isfinite(solved.low_m), solved.high_m, np.nan)
        return high_m.reshape(self._shape(kinetic_energy_ev, pitch_angle_deg, radius_m))

    def drift_frequency_hz(
        self, kinetic_energy_ev: Values, pitch_angle_deg: Values, radius_m: Values = 0.0, gyroradius: bool = True
    ) -> Result:
        """Turns of the guiding centre around the axis a second."""
        solved = self.bounce(kinetic_energy_ev, pitch_angle_deg, radius_m, gyroradius)
        return solved.drift_frequency_hz.reshape(self._shape(kinetic_energy_ev, pitch_angle_deg, radius_m))

    def field_t(self, radius_m: Values, axial_m: Values) -> Result:
        """Modulus of the field."""
        return np.asarray(self.field.background_t + self.field.excess_t(as_array(radius_m), as_array(axial_m)))


WELL_RADII = 8.0
"""A coil against the background is a well of its own; so many of its radii away the field is that of the background."""


class CoilTrap(NumericalTrap):
    """Circular coils, each (radius_m, axial_m, current_a), around the axis of a uniform field.

    Electrons may move between the outermost coils; a coil whose current is against the background (negative) is a well
    that ends beyond it. gradient_t_per_m adds B_z = g z to the background.
    """

    def __init__(self, field_t: float, coils: Sequence[Sequence[float]], gradient_t_per_m: float = 0.0) -> None:
        if not coils or (len(coils) == 1 and float(coils[0][2]) >= 0):
            raise ValueError("a coil trap needs two coils, or one against the field, with a negative current")
        reach = [WELL_RADII * float(radius) * (float(current) < 0) for radius, _, current in coils]
        low = min(float(coil[1]) - beyond for coil, beyond in zip(coils, reach, strict=True))
        high = max(float(coil[1]) + beyond for coil, beyond in zip(coils, reach, strict=True))
        mirrored = sorted((float(a), -float(z), float(i)) for a, z, i in coils)
        symmetric = gradient_t_per_m == 0 and mirrored == sorted((float(a), float(z), float(i)) for a, z, i in coils)
        super().__init__(CoilField(field_t, coils, gradient_t_per_m), (low, high), symmetric)
