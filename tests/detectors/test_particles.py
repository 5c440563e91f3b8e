"""Particles of many events as arrays."""

from __future__ import annotations

import numpy as np
import pytest
from collisions import needed

from collider.detectors.particles import Particles


def two() -> Particles:
    return Particles(
        np.array([0, 2]),
        np.array([11, 22]),
        np.array([-1, 0]),
        np.array([[3.0, 4, 12], [0, 2, 0]]),
        np.array([0.000511, 0.0]),
        np.zeros((2, 3)),
    )


def test_what_momenta_say() -> None:
    particles = two()
    np.testing.assert_allclose(particles.pt_gev, [5, 2])
    np.testing.assert_allclose(particles.p_gev, [13, 2])
    np.testing.assert_allclose(particles.energy_gev, [13, 2])
    np.testing.assert_allclose(particles.eta, [np.arctanh(12 / 13), 0])
    np.testing.assert_allclose(particles.phi, [np.arctan2(4, 3), np.pi / 2])
    assert particles.kept(particles.charge == 0).event.tolist() == [2]


def test_arrays_of_other_shapes_are_refused() -> None:
    particles = two()
    with pytest.raises(ValueError, match="vertex_mm must have the shape"):
        Particles(
            *[getattr(particles, name) for name in ("event", "pdg_id", "charge", "momentum_gev", "mass_gev")],
            np.zeros(2),
        )
    with pytest.raises(ValueError, match="event by event"):
        particles.kept(np.array([1, 0]))


def test_particles_of_generated_events() -> None:
    needed()
    import awkward as ak

    fields = ("pdg_id", "charge", "px", "py", "pz", "mass", "x_mm", "y_mm", "z_mm")
    counts, values = [2, 0, 1], np.arange(3.0)
    events = ak.zip({name: ak.unflatten(values + i, counts) for i, name in enumerate(fields)})
    found = Particles.from_events(events)
    assert found.event.tolist() == [0, 0, 2]
    assert found.charge.tolist() == [1, 2, 3]
    np.testing.assert_allclose(found.momentum_gev[1], [3, 4, 5])
    np.testing.assert_allclose(found.vertex_mm[2], [8, 9, 10])
