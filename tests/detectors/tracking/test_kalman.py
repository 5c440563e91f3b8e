"""The filter and its smoother against one least-squares problem with the full covariance of all hits."""

from __future__ import annotations

import numpy as np
import pytest

from collider.detectors.tracking import Tracker
from collider.detectors.tracking.bounds import layers_crossed, linear_model
from collider.detectors.tracking.kalman import fit_tracks, noise_of, residual_of
from collider.detectors.tracking.perigee import crossing

TRACKS = 40
TOLERANCE = 5e-4
"""In units of the errors: what the filter believes before the first hit is worth some 10⁻⁴ of them at most."""


@pytest.fixture(scope="module")
def drawn():
    """Helices, hits drawn from the linear model itself, and a reference beside each."""
    random, tracker = np.random.default_rng(7), Tracker()
    curvature = random.choice([-1, 1], TRACKS) / np.exp(random.uniform(np.log(0.8), np.log(100), TRACKS))
    flat = [random.uniform(-3, 3, TRACKS), random.uniform(-1.5, 1.5, TRACKS)]
    truth = np.stack([curvature, *flat, random.normal(0, 0.2, TRACKS), random.normal(0, 45, TRACKS)], axis=1)
    model = linear_model(truth, tracker)
    noise = np.linalg.cholesky(model.covariance) @ random.standard_normal((TRACKS, 20, 1))
    measured = (model.expected + noise[:, :, 0]).reshape(TRACKS, 10, 2)
    hit = layers_crossed(truth, tracker) & (random.random((TRACKS, 10)) < 0.9)
    start = truth + random.standard_normal((TRACKS, 5)) * [1e-4, 1e-3, 1e-3, 0.02, 0.05]
    return tracker, start, measured[..., 0] / tracker.radii_mm, measured[..., 1], hit


def least_squares(tracker, start, phi, z_mm, hit):
    """Estimate and covariance of the five numbers from all hits at once; the state behind all layers beside them.

    The angles of scattering in the layers are ten pairs of further unknowns, each measured to be 0 with its error.
    """
    found = crossing(start[:, None, :], tracker.radii_mm)
    noise = noise_of(start[:, None, :], found, tracker, slice(None))
    estimates, covariances, outer, outer_covariance = [], [], [], []
    for track in range(len(start)):
        rows, rest = [], []
        weight = 1 / np.sqrt(tracker.variances_mm2)
        behind = np.zeros((5, 20))
        root = []
        for layer in range(10):
            # of rank two: two angles for each layer
            value, vector = np.linalg.eigh(noise[track, layer])
            root.append(vector[:, -2:] * np.sqrt(np.maximum(value[-2:], 0)))
        for layer in range(10):
            if hit[track, layer]:
                line = found.jacobian[track, layer] @ np.hstack([np.eye(5), behind])
                rows.append(line * weight[layer][:, None])
                residual = residual_of(
                    phi[track, layer], z_mm[track, layer], found.measured[track, layer], tracker.radii_mm[layer]
                )
                rest.append(residual * weight[layer])
            behind = behind.copy()
            behind[:, 2 * layer : 2 * layer + 2] = root[layer]
            if layer == np.flatnonzero(hit[track])[-1]:
                last = behind.copy()
        matrix = np.vstack([*rows, np.hstack([np.zeros((20, 5)), np.eye(20)])])
        scale = 1 / np.linalg.norm(matrix, axis=0)
        orthogonal, triangle = np.linalg.qr(matrix * scale)
        root_inverse = scale[:, None] * np.linalg.inv(triangle)
        inverse = root_inverse @ root_inverse.T
        solution = root_inverse @ orthogonal.T @ np.concatenate([*rest, np.zeros(20)])
        to_outer = np.hstack([np.eye(5), last])
        estimates.append(start[track] + solution[:5])
        covariances.append(inverse[:5, :5])
        outer.append(start[track] + to_outer @ solution)
        outer_covariance.append(to_outer @ inverse @ to_outer.T)
    return tuple(np.array(part) for part in (estimates, covariances, outer, outer_covariance))


def assert_same(one, other, covariance, tolerance):
    errors = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    np.testing.assert_allclose((one - other) / errors, 0, atol=tolerance)


def test_the_filter_and_its_smoother_are_the_least_squares_fit_of_all_hits(drawn) -> None:
    tracker, start, phi, z_mm, hit = drawn
    fit = fit_tracks(start, phi, z_mm, hit, tracker, rounds=1)
    estimate, covariance, outer, outer_covariance = least_squares(tracker, start, phi, z_mm, hit)
    assert_same(fit.parameters, estimate, covariance, TOLERANCE)
    assert_same(fit.outer_parameters, outer, outer_covariance, TOLERANCE)
    for ours, theirs in ((fit.covariance, covariance), (fit.outer_covariance, outer_covariance)):
        scale = np.sqrt(np.diagonal(theirs, axis1=1, axis2=2))
        np.testing.assert_allclose(
            ours / (scale[:, :, None] * scale[:, None, :]),
            theirs / (scale[:, :, None] * scale[:, None, :]),
            atol=TOLERANCE,
        )


def test_the_filters_covariance_is_the_inverse_of_the_information(drawn) -> None:
    tracker, start, phi, z_mm, hit = drawn
    fit = fit_tracks(start, phi, z_mm, hit, tracker, rounds=1)
    information = linear_model(start, tracker).information(hit)
    np.testing.assert_allclose(fit.covariance @ information, np.broadcast_to(np.eye(5), (TRACKS, 5, 5)), atol=1e-3)


def test_a_hit_that_does_not_belong_stands_out_of_the_smoothed_track(drawn) -> None:
    tracker, start, phi, z_mm, hit = drawn
    moved = phi.copy()
    moved[:, 5] += 1.0 / tracker.radii_mm[5]  # a millimetre: thirty times the error of the hit
    fit = fit_tracks(start, moved, z_mm, hit, tracker)
    there = hit[:, 5] & (hit.sum(axis=1) > 7)
    assert (np.argmax(fit.residual_chi2[there], axis=1) == 5).mean() > 0.9
