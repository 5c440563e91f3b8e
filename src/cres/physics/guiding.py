"""Guiding-centre motion in an axisymmetric field, by quadrature over one bounce.

The guiding centre follows a line of constant flux. Averaged over a turn of the gyration (radius r_c), the mirror force
is that of the field at √(ρ² + r_c²/2) (the mean over the disc, whose flux is the adiabatic invariant) and the
cyclotron frequency that of the field at √(ρ² + r_c²) (the mean over the ring).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cres.physics.constants import ELECTRON_MASS_EV
from cres.physics.cyclotron import Array, gyroradius_m, speed_m_per_s

LINE_STEPS = 2
"""Each step gains the ratio of the trap's field to the background, 1e-3: the radius is then known to 1e-9."""
GRID = 201
QUADRATURE = 96
ROOT_STEPS = 60
EQUAL = 1e-9
"""Two fields are the same that differ by this part of the field's range along the line."""
CHUNK = 256
"""Electrons solved at a time; bounds the memory."""


@runtime_checkable
class AxisymmetricField(Protocol):
    """A field on a uniform background, see `fields.CoilField`."""

    background_t: float

    def beyond_background(self, radius_m: Any, axial_m: Any) -> tuple[Any, Any, Any]:
        """Return B_z less the background, B_ρ and the flux function of what is beyond the background."""

    def excess_t(self, radius_m: Any, axial_m: Any) -> Any:
        """Return |B| less the background."""


def line_radius_m(
    background_t: float, flux_t_m2: Callable[[Any, Any], Any], radius_m: Any, flux_there: Any, axial_m: Any
) -> Any:
    """Return the radius at `axial_m` of the field line with `radius_m` where the flux beyond B₀ρ²/2 is `flux_there`.

    Arithmetic only: NumPy and torch.
    """
    radius = radius_m + axial_m * 0
    for _ in range(LINE_STEPS):
        squared = radius_m**2 + 2 / background_t * (flux_there - flux_t_m2(radius, axial_m))
        radius = (squared * (squared > 0) + 1e-30) ** 0.5
    return radius


def turning_excess_t(field: Any, lowest_excess_t: Any, pitch_rad: Any, xp: Any) -> Any:
    """Return B_t less the background: B_t = B_min/sin²θ."""
    cotangent2 = (xp.cos(pitch_rad) / xp.sin(pitch_rad)) ** 2
    return lowest_excess_t + (field.background_t + lowest_excess_t) * cotangent2


@dataclass(frozen=True)
class Bounce:
    """One bounce of each electron; NaN where it is not trapped. All arrays of one shape."""

    minimum_m: Array
    low_m: Array
    high_m: Array
    period_s: Array
    average_field_t: Array
    drift_frequency_hz: Array
    lingering: Array
    """How much longer than on average it stays at the place where it stays longest, in places even in the quadrature:
    1 to 2 in one well; more, without limit, for those that hardly pass a hump between two."""


def solve_bounce(
    field: AxisymmetricField,
    kinetic_energy_ev: Array,
    pitch_angle_deg: Array,
    radius_m: Array,
    interval_m: tuple[float, float],
    gyroradius: bool,
    nodes: int = QUADRATURE,
) -> Bounce:
    """Solve flat arrays of electrons; the field minimum is looked for within `interval_m`."""
    count = len(kinetic_energy_ev)
    parts = [
        _solve(field, kinetic_energy_ev[s], pitch_angle_deg[s], radius_m[s], interval_m, gyroradius, nodes)
        for s in (slice(i, i + CHUNK) for i in range(0, count, CHUNK))
    ]
    names = Bounce.__dataclass_fields__
    return Bounce(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


class _Line:
    """|B| less the background along the field line of each electron, for the bounce and for the cyclotron motion."""

    def __init__(self, field: AxisymmetricField, radius_m: Array, gyration_m: Array) -> None:
        self.field, self.radius, self.gyration = field, radius_m[:, None], gyration_m[:, None]
        self.place_minimum(np.zeros_like(self.radius))

    def place_minimum(self, minimum_m: Array) -> None:
        """Say where the radius is meant."""
        self.minimum = minimum_m
        self.flux = self.flux_t_m2(self.radius, minimum_m)

    def flux_t_m2(self, radius_m: Array, axial_m: Array) -> Array:
        flux: Array = self.field.beyond_background(radius_m, axial_m)[2]
        return flux

    def radius_at(self, axial_m: Array) -> Array:
        radius: Array = line_radius_m(self.field.background_t, self.flux_t_m2, self.radius, self.flux, axial_m)
        return radius

    def bounce(self, axial_m: Array) -> Array:
        excess: Array = self.field.excess_t(np.sqrt(self.radius_at(axial_m) ** 2 + self.gyration**2 / 2), axial_m)
        return excess

    def ring(self, axial_m: Array) -> Array:
        excess: Array = self.field.excess_t(np.sqrt(self.radius_at(axial_m) ** 2 + self.gyration**2), axial_m)
        return excess


def _solve(
    field: AxisymmetricField,
    energy: Array,
    pitch_deg: Array,
    radius: Array,
    interval: tuple[float, float],
    gyro: bool,
    nodes: int,
) -> Bounce:
    # at 90° the bounce has no amplitude; 1e-4 degrees from it the field rises by 3e-12
    pitch = np.deg2rad(np.minimum(np.where(pitch_deg > 90, 180 - pitch_deg, pitch_deg), 90 - 1e-4))
    gyration = gyroradius_m(energy, np.rad2deg(pitch), field.background_t) * float(gyro)
    line = _Line(field, radius, np.asarray(gyration))
    grid = np.linspace(*interval, GRID)
    _find_minimum(line, grid)
    minimum = line.minimum
    turning = turning_excess_t(field, line.bounce(minimum), pitch[:, None], np)
    low = _turning_point(line, turning, grid, -1)
    high = _turning_point(line, turning, grid, +1)
    u = math.pi * ((np.arange(nodes) + 0.5) / nodes - 0.5)
    axial = (low + high) / 2 + (high - low) / 2 * np.sin(u)
    speed = np.asarray(speed_m_per_s(energy))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        radial = line.radius_at(axial)
        stretch = _path_per_axial(field, radial, axial)
        slowness = np.sqrt((field.background_t + turning) / (turning - line.bounce(axial)))
        time = (high - low) / 2 * np.cos(u) * stretch * slowness / speed * (math.pi / nodes)
        period = 2 * time.sum(1)
        average = field.background_t + (line.ring(axial) * time).sum(1) / time.sum(1)
        drift = (_drift_rad_per_s(line, energy, turning, axial) * time).sum(1) / time.sum(1) / (2 * math.pi)
        lingering = time.max(1) / time.mean(1)
    return Bounce(minimum[:, 0], low[:, 0], high[:, 0], period, average, drift, lingering)


def _path_per_axial(field: AxisymmetricField, radius: Array, axial: Array) -> Array:
    """ds/dz = |B|/B_z along the line."""
    z, rho, _ = field.beyond_background(radius, axial)
    result: Array = np.sqrt(1 + (rho / (field.background_t + z)) ** 2)
    return result


def _drift_rad_per_s(line: _Line, energy: Array, turning: Array, axial: Array) -> Array:
    """Angular velocity of the guiding centre around the axis: −γmv²(1 + cos²θ)/(2eB²ρ) ∂B/∂ρ.

    Gradient and curvature drift together, in vacuum; positive in the sense of the gyration, where B falls outwards.
    """
    radius = np.maximum(line.radius_at(axial), 1e-5)
    step = 1e-3 * radius
    rise = (line.field.excess_t(radius + step, axial) - line.field.excess_t(radius - step, axial)) / (2 * step)
    field = line.field.background_t + line.field.excess_t(radius, axial)
    cosine2 = 1 - field / (line.field.background_t + turning)
    gamma = 1 + energy[:, None] / ELECTRON_MASS_EV
    # γ m v²/e in volts is mc²(γ − 1/γ) in eV
    volts = ELECTRON_MASS_EV * (gamma - 1 / gamma)
    result: Array = -volts * (1 + cosine2) / (2 * field**2 * radius) * rise
    return result


def _find_minimum(line: _Line, grid: Array) -> None:
    """Place the minimum at the lowest field within the grid, by parabolas through shrinking triples."""
    inner = grid[1:-1]
    values = line.bounce(inner[None, :])
    # the two wells of a symmetric trap differ by rounding alone: the upper one is meant
    values = values + EQUAL * np.ptp(values, axis=1, keepdims=True) * (inner < (grid[0] + grid[-1]) / 2)
    place = inner[np.clip(np.argmin(values, 1), 1, len(inner) - 2)][:, None]
    step = inner[1] - inner[0]
    for _ in range(6):
        three = line.bounce(place + step * np.array([-1.0, 0.0, 1.0]))
        bend = three[:, 2] - 2 * three[:, 1] + three[:, 0]
        tilt = (three[:, 2] - three[:, 0]) / 2
        shift = np.where(bend > 0, -tilt / np.where(bend > 0, bend, 1.0), 0.0)
        place = np.clip(place + step * np.clip(shift, -1, 1)[:, None], inner[0], inner[-1])
        step /= 4
    if abs(grid[0] + grid[-1]) < 1e-12 * abs(grid[0]):
        place = np.where(np.abs(place) < 1e-7, 0.0, place)  # the middle of a symmetric trap, exactly
    line.place_minimum(place)


def _turning_point(line: _Line, turning: Array, grid: Array, side: int) -> Array:
    """Return the first crossing of the turning field from the minimum outwards, (n, 1); NaN where there is none."""
    outermost = grid[-1] if side > 0 else grid[0]
    share = np.linspace(0, 1, GRID)
    axial = line.minimum + (outermost - line.minimum) * share
    beyond = line.bounce(axial) >= turning
    beyond[:, 0] = False
    first = np.argmax(beyond, 1)
    rows = np.arange(len(axial))
    trapped = beyond[rows, first]
    inside, outside = axial[rows, np.maximum(first - 1, 0)][:, None], axial[rows, first][:, None]
    inside, outside = _illinois(line, turning, inside, outside)
    result: Array = np.where(trapped[:, None], outside, np.nan)
    return result


def _illinois(line: _Line, turning: Array, inside: Array, outside: Array) -> tuple[Array, Array]:
    """Regula falsi with halving (Illinois), bracketing all the way; stops when every bracket has closed."""
    low, high = line.bounce(inside) - turning, line.bounce(outside) - turning
    last = np.zeros_like(low)
    for _ in range(ROOT_STEPS):
        gap = high - low
        guess = np.where(gap != 0, outside - high * (outside - inside) / np.where(gap != 0, gap, 1.0), outside)
        value = line.bounce(guess) - turning
        above = value >= 0
        low = np.where(above & (last > 0), low / 2, low)
        high = np.where(~above & (last < 0), high / 2, high)
        outside, high = np.where(above, guess, outside), np.where(above, value, high)
        inside, low = np.where(above, inside, guess), np.where(above, low, value)
        last = np.where(above, 1.0, -1.0)
        if np.all(np.abs(outside - inside) <= 4e-16 * np.abs(outside)) or np.all(np.abs(value) < 1e-18):
            break
    best = np.where(np.abs(value) <= np.minimum(np.abs(high), np.abs(low)), guess, outside)
    return inside, best
