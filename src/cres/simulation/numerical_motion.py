"""Axial motion in any axisymmetric field, differentiable: the torch twin of `physics.guiding`.

Turning points are found without derivatives and corrected by one differentiable Newton step. With z = z̄ − ẑ cos w the
time, the field and the phase along a bounce are smooth even functions of w: their cosine series converge exponentially.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cres.physics import guiding
from cres.physics.constants import ELECTRON_MASS_EV, ELEMENTARY_CHARGE_C, SPEED_OF_LIGHT_M_PER_S
from cres.physics.guiding import EQUAL, AxisymmetricField, line_radius_m
from cres.physics.jets import places
from cres.physics.traps import NumericalTrap
from cres.simulation.motion import Motion, Orbit, Period, Rates, Start, cotangent, cyclotron_rad_per_s, lorentz, speed

GRID = 49
HUMP_GRID = 2 * guiding.GRID - 1
"""Places at which a hump is looked for: those of `physics.guiding` among them, so that none it knows is passed over."""
NODES = 48
SERIES = 32
HUMP_FACTOR = 8
"""So many times both where an electron may linger on a hump: as many nodes as `physics.traps` takes there."""
INVERSE = 512
ROOT_STEPS, ROOT_LENGTH_M = 5, 0.08
"""Steps from the grid to a turning point where the trap's end is so far; one more for each factor of two."""
SMALLEST_COTANGENT = math.radians(1e-3)
"""Nearer to 90° the motion is that at 1e-3 degrees: the carrier is then 4 Hz off."""


class NumericalMotion(Motion):
    """Guiding-centre motion with gyroradius averaging in the field of a `NumericalTrap`, drift included."""

    def __init__(self, trap: NumericalTrap) -> None:
        self.trap = trap
        self.symmetric = trap.symmetric and trap.centred

    def solve(self, start: Start) -> Orbit:
        """Return the orbits of a batch."""
        return _NumericalOrbit(self.trap, start, self.symmetric)


class ExpandedField:
    """A field whose derivatives by place, the first and the second, are those of its jet: exact and cheap.

    At a place x the field is the Taylor polynomial around the detached x, whose steps x − x.detach() are zero but carry
    the derivatives in every mode of automatic differentiation. Third derivatives are not there.
    """

    def __init__(self, field: AxisymmetricField) -> None:
        self.field = field
        self.background_t = field.background_t

    def beyond_background(self, radius_m: Tensor, axial_m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return B_z less the background, B_ρ and the flux function (see `physics.fields`)."""
        radius, axial, steps = _split(radius_m, axial_m)
        z, rho, flux = self.field.beyond_background(*places(radius, axial))
        return z.at(*steps), rho.at(*steps), flux.at(*steps)

    def flux_t_m2(self, radius_m: Tensor, axial_m: Tensor) -> Tensor:
        """Return the flux function alone."""
        radius, axial, steps = _split(radius_m, axial_m)
        result: Tensor = self.field.beyond_background(*places(radius, axial))[2].at(*steps)
        return result

    def excess_t(self, radius_m: Tensor, axial_m: Tensor) -> Tensor:
        """Return |B| less the background."""
        radius, axial, steps = _split(radius_m, axial_m)
        result: Tensor = self.field.excess_t(*places(radius, axial)).at(*steps)
        return result


class PlainField:
    """A field without derivatives, for the search of the turning points."""

    def __init__(self, field: AxisymmetricField) -> None:
        self.field = field

    def beyond_background(self, radius_m: Tensor, axial_m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return B_z less the background, B_ρ and the flux function."""
        result: tuple[Tensor, Tensor, Tensor] = self.field.beyond_background(radius_m, axial_m)
        return result

    def flux_t_m2(self, radius_m: Tensor, axial_m: Tensor) -> Tensor:
        """Return the flux function."""
        result: Tensor = self.field.beyond_background(radius_m, axial_m)[2]
        return result

    def excess_t(self, radius_m: Tensor, axial_m: Tensor) -> Tensor:
        """Return |B| less the background."""
        result: Tensor = self.field.excess_t(radius_m, axial_m)
        return result


def _split(radius_m: Tensor, axial_m: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Return the places without derivatives, of one shape, and steps of zero that carry them."""
    radius, axial = torch.broadcast_tensors(radius_m.detach(), axial_m.detach())
    return radius, axial, (radius_m - radius_m.detach(), axial_m - axial_m.detach())


class _NumericalOrbit(Orbit):
    def __init__(self, trap: NumericalTrap, start: Start, centred: bool) -> None:
        self.trap, self.start = trap, start
        self.field: ExpandedField | PlainField = ExpandedField(trap.field)
        self.background = float(trap.field.background_t)
        factor = HUMP_FACTOR if trap.humped else 1
        self.nodes, self.series = NODES * factor, SERIES * factor
        kinetic = start.energy_ev * (start.energy_ev + 2 * ELECTRON_MASS_EV)
        momentum = torch.sqrt(kinetic) * ELEMENTARY_CHARGE_C / SPEED_OF_LIGHT_M_PER_S
        self.gyration = (momentum * torch.sin(start.pitch_rad) / (ELEMENTARY_CHARGE_C * self.background))[:, None]
        self._place_minimum(torch.zeros_like(self.gyration) if centred else self._find_minimum())
        lowest = self._bounce_excess(self.minimum)
        cotangent2 = cotangent(start.pitch_rad)[:, None].clamp(min=SMALLEST_COTANGENT) ** 2
        self.turning = lowest + (self.background + lowest) * cotangent2
        high = self._turning_point(+1)
        low = -high if centred else self._turning_point(-1)
        self.middle, self.reach = (high + low) / 2, (high - low) / 2
        self._expand()

    def _radius(self, axial: Tensor) -> Tensor:
        result: Tensor = line_radius_m(
            self.background, self.field.flux_t_m2, self.start.radius_m[:, None], self.flux, axial
        )
        return result

    def _bounce_excess(self, axial: Tensor) -> Tensor:
        result: Tensor = self.field.excess_t((self._radius(axial) ** 2 + self.gyration**2 / 2) ** 0.5, axial)
        return result

    def _detached(self) -> _NumericalOrbit:
        """Return a twin without derivatives that only knows how to evaluate the field on the line."""
        twin = object.__new__(_NumericalOrbit)
        twin.trap, twin.field, twin.background = self.trap, PlainField(self.trap.field), self.background
        twin.start = Start(*(value.detach() for value in self.start))
        twin.gyration = self.gyration.detach()
        twin._place_minimum(torch.zeros_like(twin.gyration))
        return twin

    def _place_minimum(self, minimum: Tensor) -> None:
        self.minimum = minimum
        self.flux = self.field.flux_t_m2(self.start.radius_m[:, None], minimum)

    def _find_minimum(self) -> Tensor:
        """Lowest field along the line, by parabolas; without derivatives, of which a minimum needs none."""
        twin = self._detached()
        low, high = self.trap.interval_m
        grid = torch.linspace(low, high, GRID, dtype=torch.float64, device=twin.gyration.device)
        inner = grid[1:-1]
        values = twin._bounce_excess(inner[None, :].expand(len(twin.gyration), -1))
        span = values.amax(1, keepdim=True) - values.amin(1, keepdim=True)
        values = values + EQUAL * span * (inner < (low + high) / 2)  # of two equal wells the upper one
        place = inner[values.argmin(1)][:, None]
        step = (high - low) / (GRID - 1)
        offsets = torch.arange(-1, 2, dtype=torch.float64, device=place.device)
        for _ in range(8):
            left, here, right = twin._bounce_excess(place + step * offsets).unbind(1)
            bend = (right - 2 * here + left).clamp(min=1e-300)
            shift = ((left - right) / (2 * bend)).clamp(-1.0, 1.0)
            place = (place + step * shift[:, None]).clamp(low, high)
            step /= 4
        return place

    def _turning_point(self, side: int) -> Tensor:
        """First crossing of the turning field outwards, (batch, 1); where there is none, the trap's end."""
        twin = self._detached()
        twin._place_minimum(self.minimum.detach())
        turning = self.turning.detach()
        end = self.trap.interval_m[1 if side > 0 else 0]
        grid = HUMP_GRID if self.trap.humped else GRID
        share = torch.linspace(0, 1, grid, dtype=torch.float64, device=turning.device)
        axial = twin.minimum + (end - twin.minimum) * share
        beyond = twin._bounce_excess(axial) >= turning
        first = (beyond[:, 1:].to(torch.int64).argmax(1) + 1)[:, None]
        first = torch.where(beyond[:, 1:].any(1, keepdim=True), first, grid - 1)
        inside, outside = torch.gather(axial, 1, first - 1), torch.gather(axial, 1, first)
        step = 1e-7
        offsets = step * torch.arange(-1, 2, dtype=torch.float64, device=turning.device)
        place = outside
        longest = max(abs(value) for value in self.trap.interval_m)
        for _ in range(ROOT_STEPS + max(0, math.ceil(math.log2(longest / ROOT_LENGTH_M)))):
            left, here, right = (twin._bounce_excess(place + offsets) - turning).unbind(1)
            above = (here >= 0)[:, None]
            outside, inside = torch.where(above, place, outside), torch.where(above, inside, place)
            slope = (right - left) / (2 * step)
            newton = place - (here / torch.where(slope == 0, 1.0, slope))[:, None]
            between = (newton - inside) * (newton - outside) <= 0
            place = torch.where(between, newton, (inside + outside) / 2)
        for _ in range(2):  # twice with derivatives: the first and the second are then exact
            left, here, right = (self._bounce_excess(place + offsets) - self.turning).unbind(1)
            place = place - (here / ((right - left) / (2 * step)))[:, None]
        return place

    def _expand(self) -> None:
        """Cosine series in w of dt/dw, of the ring's field and of the phase, (batch, series)."""
        w = math.pi * (torch.arange(self.nodes, dtype=torch.float64, device=self.gyration.device) + 0.5) / self.nodes
        axial = self.middle - self.reach * torch.cos(w)
        radius = self._radius(axial)
        field_z, field_rho, _ = self.field.beyond_background(radius, axial)
        stretch = torch.sqrt(1 + (field_rho / (self.background + field_z)) ** 2)
        bounce = self.field.excess_t((radius**2 + self.gyration**2 / 2) ** 0.5, axial)
        ring = self.field.excess_t((radius**2 + self.gyration**2) ** 0.5, axial)
        slowness = torch.sqrt((self.background + self.turning) / (self.turning - bounce))
        time = self.reach * torch.sin(w) * stretch * slowness / speed(self.start.energy_ev)[:, None]
        total = time.mean(1, keepdim=True)
        self.period_s = 2 * math.pi * total[:, 0]
        self.mean_excess = (ring * time).mean(1, keepdim=True) / total
        self.drift = (self._drift(radius, axial) * time).mean(1) / total[:, 0]
        self.order = torch.arange(1, self.series + 1, dtype=torch.float64, device=w.device)
        cosines = torch.cos(self.order[:, None] * w) * (2 / self.nodes)
        per_tesla = cyclotron_rad_per_s(self.start.energy_ev, 1.0)[:, None]
        self.time_series = time / total @ cosines.T / self.order
        self.phase_series = per_tesla * ((ring - self.mean_excess) * time) @ cosines.T / self.order
        self.ring_series = ring @ cosines.T
        self.ring_mean = ring.mean(1, keepdim=True)
        offset = ((self.minimum - self.middle) / self.reach).clamp(-1 + 1e-12, 1 - 1e-12)
        crossing = torch.acos(-offset)
        self.crossing_phase = crossing + self._sines(crossing, self.time_series)
        self.lowest_ring = self.ring_mean + self._cosines(crossing, self.ring_series)

    def _drift(self, radius: Tensor, axial: Tensor) -> Tensor:
        """Gradient and curvature drift around the axis, rad/s (see `physics.guiding`)."""
        radius = radius.clamp(min=1e-5)
        step = 1e-3 * radius.detach()
        field = self.field
        rise = (field.excess_t(radius + step, axial) - field.excess_t(radius - step, axial)) / (2 * step)
        local = self.background + field.excess_t(radius, axial)
        cosine2 = 1 - local / (self.background + self.turning)
        gamma = lorentz(self.start.energy_ev)[:, None]
        result: Tensor = -ELECTRON_MASS_EV * (gamma - 1 / gamma) * (1 + cosine2) / (2 * local**2 * radius) * rise
        return result

    def _sines(self, w: Tensor, series: Tensor) -> Tensor:
        return (torch.sin(w[..., None] * self.order) * series[:, None, :]).sum(-1)

    def _cosines(self, w: Tensor, series: Tensor) -> Tensor:
        return (torch.cos(w[..., None] * self.order) * series[:, None, :]).sum(-1)

    def drift_rad_per_s(self) -> Tensor:
        """Gradient and curvature drift, averaged over the bounce."""
        return self.drift

    def rates(self) -> Rates:
        """Mean carrier and axial frequency, rad/s.

        E_φ at the guiding centre turns with its azimuth: what is received is the cyclotron motion less the drift.
        """
        carrier = cyclotron_rad_per_s(self.start.energy_ev, 1.0) * (self.background + self.mean_excess[:, 0])
        return Rates(carrier - self.drift, 2 * math.pi / self.period_s)

    def period(self, axial_phase: Tensor) -> Period:
        """Position, field and phase."""
        target = axial_phase + self.crossing_phase
        w = self._invert(target)
        position = self.middle - self.reach * torch.cos(w)
        ring = self.ring_mean + self._cosines(w, self.ring_series)
        ratio = (self.background + ring) / (self.background + self.lowest_ring)
        return Period(position, ratio, self._sines(w, self.phase_series))

    def _invert(self, target: Tensor) -> Tensor:
        """Solve w + Σ b_k sin kw = target: linear in a table, then Newton, the last step with derivatives."""
        series = self.time_series.detach()
        grid = torch.linspace(0, 2 * math.pi, INVERSE + 1, dtype=torch.float64, device=target.device)
        values = grid + series @ torch.sin(self.order[:, None] * grid)
        turned = torch.remainder(target.detach(), 2 * math.pi)
        after = torch.searchsorted(values.contiguous(), turned.contiguous(), right=True).clamp(1, INVERSE)
        low, high = torch.gather(values, 1, after - 1), torch.gather(values, 1, after)
        w = (after - 1 + (turned - low) / (high - low)) * (2 * math.pi / INVERSE)
        slope = 1 + self._cosines(w, series * self.order)
        w = w - (w + self._sines(w, series) - turned) / slope
        whole = (target - turned).detach()
        slope = 1 + self._cosines(w, self.time_series * self.order)
        return w - (w + self._sines(w, self.time_series) - (target - whole)) / slope
