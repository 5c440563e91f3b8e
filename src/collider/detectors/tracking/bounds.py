"""How well a tracker can measure: Gluckstern's formula and, exactly, the Fisher information of its layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from collider.detectors.helix import GEV_PER_T_MM
from collider.detectors.particles import Floats, Mask
from collider.detectors.scattering import HIGHLAND_GEV, PION_GEV, passed_x0, scattering_angle
from collider.detectors.tracking.geometry import Tracker
from collider.detectors.tracking.kalman import STRAIGHTEST
from collider.detectors.tracking.perigee import Q_OVER_PT, crossing, momentum_of

TOGETHER: Final = 2048
"""Tracks whose covariances of all hits, some kilobytes each, are in memory at a time."""
CONTINUOUS: Final = 1.43
"""Gluckstern's C_N for many layers, all of one weight."""


@dataclass(frozen=True)
class LinearModel:
    """Hits of a track as a linear problem: m = h + H δ + noise of covariance C, all hits at once.

    jacobian: (track, 2·layer, 5); covariance: (track, 2·layer, 2·layer), errors of hits and scattering in all layers
    before; expected: (track, 2·layer), what is measured without noise: r·φ and z (mm) of the first layer, then of the
    next.
    """

    jacobian: Floats
    covariance: Floats
    expected: Floats

    def information(self, hit: Mask) -> Floats:
        """Return the Fisher information (track, 5, 5) of the five numbers, from the hits that are there."""
        there = np.repeat(hit, 2, axis=1)
        both = there[:, :, None] & there[:, None, :]
        weight = np.linalg.inv(np.where(both, self.covariance, np.eye(there.shape[1])))
        jacobian = np.where(there[:, :, None], self.jacobian, 0.0)
        return np.swapaxes(jacobian, 1, 2) @ weight @ jacobian


def linear_model(
    parameters: Floats, tracker: Tracker, mass_gev: ArrayLike = PION_GEV, charge: ArrayLike = 1
) -> LinearModel:
    """Return the linear problem beside the true five numbers (track, 5): every layer scatters all that comes behind."""
    layers = len(tracker.layers)
    found = crossing(parameters[:, None, :], tracker.radii_mm, tracker.field_t)
    crossed = found.reached & (np.abs(found.measured[..., 1]) <= tracker.half_lengths_mm)
    straight = np.maximum(np.abs(parameters[:, Q_OVER_PT]), STRAIGHTEST)
    momentum = momentum_of(np.concatenate([straight[:, None], parameters[:, 1:]], axis=1))
    mass, charges = (np.broadcast_to(np.asarray(value), momentum.shape)[:, None] for value in (mass_gev, charge))
    passed = passed_x0(tracker.thickness_x0, found.cosine)
    variance = np.where(crossed, scattering_angle(momentum[:, None], passed, mass, charges) ** 2, 0.0)
    covariance = np.zeros((len(parameters), layers, 2, layers, 2))
    for layer in range(layers):
        covariance[:, layer, :, layer, :] += np.diag(tracker.variances_mm2[layer])
        moved = found.jacobian[:, layer + 1 :] @ found.scattering[:, layer, None]
        covariance[:, layer + 1 :, :, layer + 1 :, :] += np.einsum(
            "t,tiak,tjbk->tiajb", variance[:, layer], moved, moved
        )
    size = 2 * layers
    return LinearModel(
        found.jacobian.reshape(-1, size, 5),
        covariance.reshape(-1, size, size),
        found.measured.reshape(-1, size),
    )


def layers_crossed(parameters: Floats, tracker: Tracker) -> Mask:
    """Return which layers helices (track, 5) cross: (track, layer)."""
    found = crossing(parameters[:, None, :], tracker.radii_mm, tracker.field_t)
    return found.reached & (np.abs(found.measured[..., 1]) <= tracker.half_lengths_mm)


def bound(
    parameters: Floats, tracker: Tracker, hit: Mask, mass_gev: ArrayLike = PION_GEV, charge: ArrayLike = 1
) -> Floats:
    """Return the Cramér–Rao bound (track, 5, 5) of the five numbers: no unbiased estimate of them is narrower.

    parameters: the true ones; hit: (track, layer) which hits there are. Not a number where those do not fix five
    numbers. What the size of the scattering itself tells of the momentum is left out.
    """
    mass, charges = (np.broadcast_to(np.asarray(value), len(parameters)) for value in (mass_gev, charge))
    out = np.full((len(parameters), 5, 5), np.nan)
    for start in range(0, len(parameters), TOGETHER):
        some = slice(start, start + TOGETHER)
        information = linear_model(parameters[some], tracker, mass[some], charges[some]).information(hit[some])
        enough = (hit[some].sum(axis=1) >= 3)[:, None, None]
        out[some] = np.where(enough, np.linalg.inv(np.where(enough, information, np.eye(5))), np.nan)
    return out


def gluckstern(
    pt_gev: ArrayLike,
    layers: int,
    lever_mm: float,
    rphi_mm: float,
    thickness_x0: float,
    field_t: float,
    cot_theta: ArrayLike = 0.0,
) -> tuple[Floats, Floats]:
    """Return σ(pT)/pT from the errors of hits and from scattering, of equal layers at equal distances.

    Errors: σ_x pT/(0.3 B L²) √(720 (N−1)³/((N−2) N (N+1) (N+2))), N layers (for many 720/(N+4)); scattering:
    13.6 MeV/(0.3 β B L) √(C X/X₀ (1 + cot²θ)^½) with C = 1.43 and no logarithm. Gluckstern, NIM 24 (1963) 381; Review
    of Particle Physics (2024), section 35.12. lever_mm: L, from the first layer to the last one; thickness_x0: X/X₀ of
    all layers at right angles. That all hits count alike, as here, is not the best where scattering matters: the
    information is more.
    """
    pt, cot = np.asarray(pt_gev, dtype=np.float64), np.asarray(cot_theta, dtype=np.float64)
    n = layers - 1
    points = 720 * n**3 / ((n - 1) * (n + 1) * (n + 2) * (n + 3))
    bending = GEV_PER_T_MM * field_t * lever_mm
    measured = rphi_mm * pt / (bending * lever_mm) * np.sqrt(points)
    slope = np.sqrt(1 + cot**2)
    inverse_beta = np.sqrt(1 + (PION_GEV / (pt * slope)) ** 2)
    scattered = HIGHLAND_GEV * inverse_beta / bending * np.sqrt(CONTINUOUS * thickness_x0 * slope)
    return measured, scattered


def gluckstern_of(tracker: Tracker, pt_gev: ArrayLike, cot_theta: ArrayLike = 0.0) -> Floats:
    """Return σ(pT)/pT by the formula for as many equal layers, of the mean variance, from the first one to the last."""
    rphi = float(np.sqrt(tracker.variances_mm2[:, 0].mean()))
    lever = float(tracker.radii_mm[-1] - tracker.radii_mm[0])
    matter = float(tracker.thickness_x0.sum())
    layers = len(tracker.layers)
    return np.hypot(*gluckstern(pt_gev, layers, lever, rphi, matter, tracker.field_t, cot_theta))
