"""Tracks as five numbers at the point nearest to the z axis, and how those meet the layers.

The numbers are q/pT (1/GeV), φ (the direction there), cot θ, d₀ (mm) and z₀ (mm): the track passes the axis at
d₀ (−sin φ, cos φ), at the height z₀. A helix keeps its five numbers along its whole way, so that a filter in them
transports nothing: only what a layer measures and how it scatters depends on the layer. Formulae are exact, their
derivatives worked out in closed form, with ω = −q B/pT (turn for each mm across the field), the transverse path s to a
layer, α = ωs and W = 1 + ωd₀.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from collider.detectors.helix import FIELD_T, GEV_PER_T_MM, Helices
from collider.detectors.particles import Floats, Mask, Particles
from collider.generation.kinematics import phi_difference

Q_OVER_PT, PHI, COT_THETA, D0, Z0 = range(5)
_SMALL: Final = 0.05
"""Below, differences that cancel are sums of four terms: relative errors of 10⁻¹⁴."""


def turn_for(q_over_pt: ArrayLike, field_t: float) -> Floats:
    """Return ω, radians for each mm across the field, positive anticlockwise."""
    return -GEV_PER_T_MM * field_t * np.asarray(q_over_pt, dtype=np.float64)


def perigee_of(
    position_mm: ArrayLike, phi: ArrayLike, cot_theta: ArrayLike, q_over_pt: ArrayLike, field_t: float = FIELD_T
) -> Floats:
    """Return the five numbers (track, 5) of helices through places (track, 3) with the direction φ, cot θ there."""
    x = np.asarray(position_mm, dtype=np.float64)
    angle, cot, curvature = (np.asarray(value, dtype=np.float64) for value in (phi, cot_theta, q_over_pt))
    turn = turn_for(curvature, field_t)
    along = x[:, 0] * np.cos(angle) + x[:, 1] * np.sin(angle)
    across = x[:, 1] * np.cos(angle) - x[:, 0] * np.sin(angle)
    radius2 = along**2 + across**2
    width = np.sqrt(1 + 2 * turn * across + turn**2 * radius2)
    d0 = (2 * across + turn * radius2) / (1 + width)
    y, rest = turn * along, 1 + turn * across
    back = np.arctan2(y, rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        path = along * np.where(np.abs(y) < 1e-9 * np.abs(rest), 1 / rest, back / y)
    return np.stack([curvature, phi_difference(angle, back), cot, d0, x[:, 2] - path * cot], axis=1)


def perigee_of_particles(particles: Particles, field_t: float = FIELD_T) -> Floats:
    """Return the five numbers (particle, 5) of charged particles: what a fit would find if it knew everything."""
    with np.errstate(divide="ignore", invalid="ignore"):  # what flies along the beam has no perigee
        cot, curvature = particles.momentum_gev[:, 2] / particles.pt_gev, particles.charge / particles.pt_gev
        return perigee_of(particles.vertex_mm, particles.phi, cot, curvature, field_t)


def helices_of(parameters: Floats, field_t: float = FIELD_T) -> Helices:
    """Return the helices (track,) that start where they are nearest to the axis."""
    curvature, phi, cot, d0, z0 = parameters.T
    direction = np.stack([np.cos(phi), np.sin(phi), cot], axis=1) / np.sqrt(1 + cot**2)[:, None]
    start = np.stack([-d0 * np.sin(phi), d0 * np.cos(phi), z0], axis=1)
    return Helices(start, direction, turn_for(curvature, field_t) / np.sqrt(1 + cot**2))


def momentum_of(parameters: Floats) -> Floats:
    """Return p (GeV) of the five numbers in the last axis."""
    return np.sqrt(1 + parameters[..., COT_THETA] ** 2) / np.abs(parameters[..., Q_OVER_PT])


@dataclass(frozen=True)
class LayerCrossing:
    """Where helices cross cylinders, and how that depends on the five numbers; leading axes as they were given.

    measured: (…, 2) r·φ and z of the place, mm; jacobian: (…, 2, 5) its derivatives by the five numbers. scattering:
    (…, 5, 2) change of the five numbers of the way behind, or before, a layer by angles of scattering (rad) in the
    transverse plane and out of it. cosine: of the angle to the cylinder's normal. reached: whether they get there;
    where they do not, all other numbers are 0 (the cosine 1).
    """

    measured: Floats
    jacobian: Floats
    scattering: Floats
    cosine: Floats
    reached: Mask


def crossing(parameters: Floats, radius_mm: ArrayLike, field_t: float = FIELD_T) -> LayerCrossing:
    """Return where helices (…, 5) first cross cylinders on their way out; radii broadcast with the leading axes."""
    curvature, phi, cot, d0, z0 = np.moveaxis(parameters, -1, 0)
    radius = np.asarray(radius_mm, dtype=np.float64)
    turn = turn_for(curvature, field_t)
    width = 1 + turn * d0
    rest = radius**2 - d0**2
    square = width - rest * turn**2 / 4
    reached = (rest > 0) & (square > 0)
    tau = np.sqrt(np.where(reached, rest, 0.0) / np.where(reached, square, 1.0))
    alpha = 2 * np.arctan(turn * tau / 2)
    sine, cosine = np.sin(alpha), np.cos(alpha)
    path = tau * _ratio(np.arctan, turn * tau / 2)
    sinc, versine = np.sinc(alpha / np.pi), _versine(alpha, cosine)
    # the place in the frame of the direction at the perigee, and along and across the direction there
    forward, aside = path * sinc, d0 + path * versine
    angle = np.arctan2(aside, forward)
    outward = np.where(reached, width * path * sinc / radius, 1.0)
    by_turn = _by_turn(path, alpha, sine, cosine)
    jacobian = np.zeros((*reached.shape, 2, 5))
    # for each number: how the place moves at equal path, in that frame; the path then grows or shrinks to stay on r
    curved = turn_for(1.0, field_t)
    still = np.zeros_like(path)
    moves = ((D0, still, still + 1), (Q_OVER_PT, curved * by_turn[0], curved * by_turn[1]))
    for column, ahead, beside in moves:
        radial = (ahead * forward + beside * aside) / radius
        around = (beside * forward - ahead * aside) / radius
        longer = -radial / outward
        jacobian[..., 0, column] = around + longer * (np.cos(alpha) * -aside + sine * forward) / radius
        jacobian[..., 1, column] = cot * longer
    jacobian[..., 0, PHI] = radius
    jacobian[..., 1, COT_THETA] = path
    jacobian[..., 1, Z0] = 1.0
    measured = np.stack([radius * phi_difference(phi, -angle), z0 + cot * path], axis=-1)
    scattering = _scattering(parameters, field_t, path, sine, cosine, sinc, versine, width, rest)
    normal = np.where(reached, outward / np.sqrt(1 + cot**2), 1.0)
    on = reached[..., None]
    return LayerCrossing(
        np.where(on, measured, 0.0),
        np.where(on[..., None], jacobian, 0.0),
        np.where(on[..., None], scattering, 0.0),
        normal,
        reached,
    )


def _scattering(
    parameters: Floats,
    field_t: float,
    path: Floats,
    sine: Floats,
    cosine: Floats,
    sinc: Floats,
    versine: Floats,
    width: Floats,
    rest: Floats,
) -> Floats:
    """Return the changes (…, 5, 2) of the five numbers by a kick that leaves the place and the momentum as they are."""
    curvature, _, cot, d0, _ = np.moveaxis(parameters, -1, 0)
    slope2 = 1 + cot**2
    turn = turn_for(curvature, field_t)
    out = np.zeros((*path.shape, 5, 2))
    stretch = np.sqrt(slope2)  # an angle in space turns φ by more
    out[..., PHI, 0] = cosine / width * stretch
    out[..., D0, 0] = -path * sinc * stretch
    out[..., Z0, 0] = -cot * (d0 + path * versine) / width * stretch
    # out of the plane: cot θ changes by 1 + cot²θ for each radian, and with it pT = p sin θ
    change = cot / slope2
    out[..., Q_OVER_PT, 1] = curvature * change * slope2
    out[..., COT_THETA, 1] = slope2
    by_turn = turn * change * slope2
    out[..., PHI, 1] = -path * sinc / width * by_turn
    out[..., D0, 1] = rest / (2 * width) * by_turn
    alpha = turn * path
    lengthening = path / width * (d0 + path * _lag(alpha, sinc))
    out[..., Z0, 1] = -path * slope2 + cot * lengthening * by_turn
    return out


def _by_turn(path: Floats, alpha: Floats, sine: Floats, cosine: Floats) -> tuple[Floats, Floats]:
    """Return how a place moves with ω at equal path: ∫ s n(ωs) ds along the first direction and across it."""
    small = np.abs(alpha) < _SMALL
    safe = np.where(small, 1.0, alpha)
    square = alpha**2
    ahead = np.where(
        small,
        -alpha / 3 * (1 - square / 10 * (1 - square / 28 * (1 - square / 54))),
        (safe * cosine - sine) / safe**2,
    )
    beside = np.where(
        small,
        0.5 - square / 8 * (1 - square / 18 * (1 - square / 40)),
        (safe * sine + cosine - 1) / safe**2,
    )
    return path**2 * ahead, path**2 * beside


def _versine(alpha: Floats, cosine: Floats) -> Floats:
    """Return (1 − cos α)/α."""
    return np.sin(alpha / 2) * np.sinc(alpha / 2 / np.pi)


def _lag(alpha: Floats, sinc: Floats) -> Floats:
    """Return (1 − sin α/α)/α."""
    small = np.abs(alpha) < _SMALL
    square = alpha**2
    series = alpha / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72)))
    return np.where(small, series, (1 - sinc) / np.where(small, 1.0, alpha))


def _ratio(function: np.ufunc, value: Floats) -> Floats:
    """Return f(x)/x, 1 at 0."""
    zero = value == 0
    return np.where(zero, 1.0, function(value) / np.where(zero, 1.0, value))
