"""The Kalman filter in perigee numbers: nothing is transported, layers scatter and measure.

Frühwirth, NIM A262 (1987) 444; the smoother is that of Rauch, Tung and Striebel, AIAA J. 3 (1965) 1445. Matrices of
many tracks at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.particles import Floats, Mask
from collider.detectors.scattering import passed_x0, scattering_angle
from collider.detectors.tracking.geometry import Tracker
from collider.detectors.tracking.perigee import COT_THETA, Q_OVER_PT, LayerCrossing, crossing, momentum_of
from collider.generation.kinematics import phi_difference

PRIOR: Final = np.diag([3.0, 1.0, 3.0, 1000.0, 1000.0]) ** 2
"""What is known of a track before its first hit, beside where it is sought: next to nothing. Narrower, it would pull at
soft tracks, whose d₀ behind all layers is millimetres off; wider, rounding would show."""
STRAIGHTEST: Final = 1e-5
"""Least |q/pT| (1/GeV) for which scattering is worked out."""
FORWARD: Final = 50.0


@dataclass(frozen=True)
class Update:
    """What a measurement does to states (track, 5).

    gain: (track, 5, 2); weight: (track, 2, 2) inverse covariance of what is measured; covariance: (track, 5, 5) of the
    states behind it.
    """

    gain: Floats
    weight: Floats
    covariance: Floats


def update_for(covariance: Floats, jacobian: Floats, variances: Floats) -> Update:
    """Return the update by a measurement with a jacobian (track, 2, 5) and variances (2,)."""
    cross = covariance @ np.swapaxes(jacobian, -1, -2)
    weight = _inverse(jacobian @ cross + np.diag(variances))
    gain = cross @ weight
    left = covariance - gain @ np.swapaxes(cross, -1, -2)
    return Update(gain, weight, (left + np.swapaxes(left, -1, -2)) / 2)


def chi2_of(residual: Floats, weight: Floats) -> Floats:
    """Return rᵀ W r for residuals (track, 2)."""
    return np.einsum("ti,tij,tj->t", residual, weight, residual)


def noise_of(parameters: Floats, found: LayerCrossing, tracker: Tracker, layer: int | slice) -> Floats:
    """Return the covariance (…, 5, 5) that scattering in layers adds, of pions; nothing where they are not crossed."""
    safe = parameters.copy()
    curvature = safe[..., Q_OVER_PT]
    safe[..., Q_OVER_PT] = np.maximum(np.abs(curvature), STRAIGHTEST)
    safe[..., COT_THETA] = np.clip(safe[..., COT_THETA], -FORWARD, FORWARD)
    passed = passed_x0(tracker.thickness_x0[layer], found.cosine)
    variance = scattering_angle(momentum_of(safe), passed) ** 2
    crossed = found.reached & (np.abs(found.measured[..., 1]) <= tracker.half_lengths_mm[layer])
    scaled = found.scattering * np.where(crossed, variance, 0.0)[..., None, None]
    return scaled @ np.swapaxes(found.scattering, -1, -2)


def residual_of(phi: Floats, z_mm: Floats, expected: Floats, radius_mm: Floats | float) -> Floats:
    """Return how far hits lie from what is expected (…, 2: r·φ and z in mm), the short way around."""
    around = phi_difference(phi, expected[..., 0] / radius_mm)
    return np.stack([around * radius_mm, z_mm - expected[..., 1]], axis=-1)


def _inverse(matrix: Floats) -> Floats:
    """Return the inverses of symmetric 2 × 2 matrices."""
    a, b, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    scale = 1 / (a * d - b * b)
    return np.stack([np.stack([d, -b], axis=-1), np.stack([-b, a], axis=-1)], axis=-2) * scale[..., None, None]


@dataclass(frozen=True)
class TrackFit:
    """Fitted tracks.

    parameters: (track, 5) and covariance: (track, 5, 5) at the perigee; chi2: (track,). outer_parameters,
    outer_covariance: the helix behind the last hit, for extrapolation outwards. residual_chi2: (track, layer) of each
    hit beside the smoothed track, two degrees of freedom; 0 without a hit.
    """

    parameters: Floats
    covariance: Floats
    chi2: Floats
    outer_parameters: Floats
    outer_covariance: Floats
    residual_chi2: Floats


@dataclass(frozen=True)
class _Step:
    """A layer as the filter passed it: the state with its hit; residual, jacobian and scattering of the reference."""

    state: Floats
    covariance: Floats
    residual: Floats
    jacobian: Floats
    noise: Floats
    on: Mask


def fit_tracks(
    start: Floats, phi: Floats, z_mm: Floats, hit: Mask, tracker: Tracker, rounds: int = 2, prior: Floats = PRIOR
) -> TrackFit:
    """Return tracks fitted through hits, from the outside to the inside, smoothed back.

    start: (track, 5) numbers beside which the problem is linear; each further round begins where the last one ended.
    phi, z_mm, hit: (track, layer), hit says which are there. prior: covariance of the start.
    """
    reference = start
    for turn in range(rounds):
        found = crossing(reference[:, None, :], tracker.radii_mm, tracker.field_t)
        noise = noise_of(reference[:, None, :], found, tracker, slice(None))
        residual = residual_of(phi, z_mm, found.measured, tracker.radii_mm)
        steps, state, covariance, chi2 = _filtered(residual, hit & found.reached, found.jacobian, noise, tracker, prior)
        last = turn == rounds - 1
        if not last:
            reference = reference + state
    return _smoothed(reference, steps, state, covariance, chi2, tracker, hit)


def _filtered(
    residual: Floats, hit: Mask, jacobian: Floats, noise: Floats, tracker: Tracker, prior: Floats
) -> tuple[list[_Step], Floats, Floats, Floats]:
    """Return what the filter met, the outermost layer first, and the deviation from the reference at the perigee."""
    tracks, layers = hit.shape
    state = np.zeros((tracks, 5))
    covariance = np.broadcast_to(prior, (tracks, 5, 5)).copy()
    chi2, steps = np.zeros(tracks), []
    for layer in reversed(range(layers)):
        on = hit[:, layer]
        update = update_for(covariance, jacobian[:, layer], tracker.variances_mm2[layer])
        rest = residual[:, layer] - np.einsum("tij,tj->ti", jacobian[:, layer], state)
        rest = np.where(on[:, None], rest, 0.0)
        chi2 = chi2 + chi2_of(rest, update.weight)
        state = state + np.einsum("tij,tj->ti", update.gain, rest)
        covariance = np.where(on[:, None, None], update.covariance, covariance)
        steps.append(_Step(state, covariance, residual[:, layer], jacobian[:, layer], noise[:, layer], on))
        covariance = covariance + noise[:, layer]
    return steps, state, covariance, chi2


def _smoothed(
    reference: Floats, steps: list[_Step], state: Floats, covariance: Floats, chi2: Floats, tracker: Tracker, hit: Mask
) -> TrackFit:
    """Return the fit with what the inner layers tell of the outer ones, from the inside to the outside.

    With M = Q (P + Q)⁻¹, P behind a layer as the filter knew it and Q its scattering, the state there becomes
    x − M (x − x_filter) and its covariance M P + (1 − M) C (1 − M)ᵀ, of x and C inside the layer: what is known of the
    outermost layers is not the small rest of large numbers.
    """
    residual_chi2 = np.zeros(hit.shape)
    inner, spread = state, covariance
    outer, outer_covariance = state, covariance
    for layer, step in enumerate(reversed(steps)):
        inner, spread = _outwards(inner, spread, step)
        on = step.on & hit[:, layer]
        rest = step.residual - np.einsum("tij,tj->ti", step.jacobian, inner)
        error = np.diag(tracker.variances_mm2[layer]) - step.jacobian @ spread @ np.swapaxes(step.jacobian, -1, -2)
        residual_chi2[:, layer] = np.where(on, chi2_of(np.where(on[:, None], rest, 0.0), _inverse(error)), 0.0)
        outer = np.where(on[:, None], inner, outer)
        outer_covariance = np.where(on[:, None, None], spread, outer_covariance)
    return TrackFit(reference + state, covariance, chi2, reference + outer, outer_covariance, residual_chi2)


def _outwards(inner: Floats, spread: Floats, step: _Step) -> tuple[Floats, Floats]:
    """Return the smoothed state and covariance outside a layer from those inside it."""
    whole = step.covariance + step.noise
    scale = 1 / np.sqrt(np.diagonal(whole, axis1=1, axis2=2))
    both = scale[:, :, None] * scale[:, None, :]
    mixed = np.linalg.solve(whole * both, step.noise * scale[:, :, None]) * scale[:, :, None]
    share = np.swapaxes(mixed, -1, -2)
    kept = np.eye(5) - share
    state = inner - np.einsum("tij,tj->ti", share, inner - step.state)
    covariance = share @ step.covariance + kept @ spread @ np.swapaxes(kept, -1, -2)
    return state, (covariance + np.swapaxes(covariance, -1, -2)) / 2
