"""Thin layers from thick ones: what every method keeps, and which is better."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from collider.showers import CylindricalGrid, Readout, SamplingMaterial, material, simulate_showers
from collider.showers.information import LayerModel, shapes_of
from collider.showers.shapes import Profiles, by_likelihood, given, interpolated, thick, thicker

MEDIUM = SamplingMaterial(material("Pb"), material("LAr"), 0.2, 0.4)
MODEL = LayerModel(MEDIUM, tuple(float(x) for x in range(17)), 0.002)


@pytest.fixture(scope="module")
def showers():
    edges = np.array(MODEL.depth_edges_x0) * MEDIUM.radiation_length_cm
    grid = CylindricalGrid(tuple(edges.tolist()), (0, 2000 * MEDIUM.moliere_radius_cm))
    found = simulate_showers(np.full(1200, 40.0), MEDIUM, grid, seed=3, readout=Readout(noise_gev=MODEL.noise_gev))
    layers = found.cells_gev[:, :, 0, 0].astype(float)
    known = np.column_stack([np.log(found.energy_gev), shapes_of(found.energy_gev, found.t, found.alpha, MEDIUM)])
    return layers, known


def rms(found: np.ndarray, layers: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - layers) ** 2)) / 40)


def test_every_way_keeps_what_was_seen(showers):
    layers, known = showers
    seen = thick(layers, 4)
    for found in (interpolated(seen, 4), by_likelihood(MODEL, seen, 4).energies_gev,
                  given(MODEL, seen, 4, known).energies_gev):  # fmt: skip
        np.testing.assert_allclose(thick(found, 4), seen, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(interpolated(layers, 1), layers)
    np.testing.assert_allclose(by_likelihood(MODEL, layers, 1).energies_gev, layers)


def test_the_shape_of_showers_is_worth_more_than_a_spline(showers):
    layers, known = showers
    seen = thick(layers, 4)
    best, fitted = given(MODEL, seen, 4, known), by_likelihood(MODEL, seen, 4)
    limit, likelihood, spline = (
        rms(found, layers) for found in (best.energies_gev, fitted.energies_gev, interpolated(seen, 4))
    )
    assert limit < likelihood < spline
    assert likelihood < 1.15 * limit
    assert spline > 1.3 * limit
    for found in (best, fitted):
        assert np.mean(np.abs(found.energies_gev - layers) < found.std_gev) == pytest.approx(0.683, abs=0.03)


def test_error_bars_without_what_the_fit_does_not_know_are_too_small(showers):
    """The check above can fail: with the covariance of E, T and α left out, and with shapes of other depths."""
    layers, _ = showers
    seen = thick(layers, 4)
    fitted = by_likelihood(MODEL, seen, 4)
    theta, _ = thicker(MODEL, 4).most_likely(seen)
    bare = Profiles(fitted.energies_gev, given(MODEL, seen, 4, theta).std_gev)
    early = slice(0, 4)
    inside = np.abs(fitted.energies_gev - layers)[:, early] < bare.std_gev[:, early]
    assert inside.mean() < np.mean((np.abs(fitted.energies_gev - layers) < fitted.std_gev)[:, early]) - 0.01
    shallow = dataclasses.replace(MODEL, depth_edges_x0=tuple(0.7 * x for x in range(17)))
    assert rms(by_likelihood(shallow, seen, 4).energies_gev, layers) > 1.5 * rms(fitted.energies_gev, layers)
