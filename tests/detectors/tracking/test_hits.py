"""Hits: where they lie, how they spread, whose they are, and on what they depend."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from collider.detectors.gun import shot
from collider.detectors.helix import Helices
from collider.detectors.particles import Particles
from collider.detectors.scattering import scattering_angle
from collider.detectors.tracking import Tracker, at_beam_spot, simulate_hits


def changed(**values) -> Tracker:
    return Tracker(tuple(dataclasses.replace(layer, **values) for layer in Tracker().layers))


def test_without_errors_and_matter_hits_lie_on_the_helices() -> None:
    tracker = changed(thickness_x0=0.0, rphi_um=1e-6, z_um=1e-6, efficiency=1.0, noise_hits=0.0)
    particles = shot("muon", 3, 4, (0.8, 20), (-1, 1))
    hits = simulate_hits(particles, tracker, 1, np.arange(3))
    assert len(hits) == 120
    crossing = Helices.of_particles(particles.kept(np.array([5]))).at_radius(tracker.radii_mm[3])
    own = hits.kept((hits.particle == 5) & (hits.layer == 3))
    np.testing.assert_allclose(own.position_mm(tracker), crossing.position_mm, atol=1e-6)
    assert own.event.tolist() == [1]


def test_errors_and_efficiency_are_those_of_the_layers() -> None:
    exact, tracker = (
        changed(thickness_x0=0.0, rphi_um=1e-6, z_um=1e-6, efficiency=1.0, noise_hits=0.0),
        changed(thickness_x0=0.0, efficiency=0.9, noise_hits=0.0),
    )
    particles = shot("muon", 100, 10, (1, 20), (-1, 1))
    truth, seen = (simulate_hits(particles, one, 1, np.arange(100)) for one in (exact, tracker))
    assert len(seen) / len(truth) == pytest.approx(0.9, abs=4 * 0.003)
    key = truth.particle * 10 + truth.layer
    order = np.argsort(key)
    place = order[np.searchsorted(key[order], seen.particle * 10 + seen.layer)]
    for layer in (0, 9):
        own = seen.layer == layer
        around = (seen.phi - truth.phi[place])[own] * tracker.radii_mm[layer]
        around = around[np.abs(around) < 1]  # but for those at ±π
        spread = np.sqrt(tracker.variances_mm2[layer])
        assert around.std() == pytest.approx(spread[0], rel=0.1)
        assert (seen.z_mm - truth.z_mm[place])[own].std() == pytest.approx(spread[1], rel=0.1)


def test_scattering_is_as_wide_as_highland_says() -> None:
    """One thick layer; the next shows the angle. Golden: β = 0.990400 for a pion of 1 GeV."""
    assert scattering_angle(1.0, 0.1) == pytest.approx(
        0.0136 / 0.990400 * np.sqrt(0.1) * (1 + 0.038 * np.log(0.1 / 0.990400**2)), rel=1e-5
    )
    layers = list(changed(thickness_x0=0.0, rphi_um=1e-3, z_um=1e-3, efficiency=1.0, noise_hits=0.0).layers)
    layers[0] = dataclasses.replace(layers[0], thickness_x0=0.05)
    particles = shot("pion", 50, 20, (2.0, 2.0), (0, 0))
    tracker = Tracker(tuple(layers))
    hits = simulate_hits(particles, tracker, 1, np.arange(50))
    far = hits.kept(hits.layer == 1)
    straight = Helices.of_particles(particles).at_radius(tracker.radii_mm[1]).position_mm[far.particle]
    angle = far.z_mm - straight[:, 2]
    assert angle.std() / 40.0 == pytest.approx(scattering_angle(2.0, 0.05), rel=0.08)
    around = np.remainder(far.phi - np.arctan2(straight[:, 1], straight[:, 0]) + np.pi, 2 * np.pi) - np.pi
    assert (around * 70.0).std() / 40.0 == pytest.approx(scattering_angle(2.0, 0.05), rel=0.08)


def test_what_an_event_draws_does_not_depend_on_how_events_are_shared() -> None:
    tracker, ids = Tracker(), np.array([11, 7, 2**62])
    particles = at_beam_spot(shot("muon", 3, 4), tracker.beam_spot, 2, ids)
    whole = simulate_hits(particles, tracker, 2, ids)
    second = particles.event == 1
    alone = dataclasses.replace(particles.kept(second), event=np.zeros(4, dtype=int))
    part = simulate_hits(alone, tracker, 2, ids[1:2])
    own = whole.kept(whole.event == 1)
    np.testing.assert_array_equal(part.phi, own.phi)
    np.testing.assert_array_equal(part.z_mm, own.z_mm)
    assert not np.array_equal(simulate_hits(alone, tracker, 3, ids[1:2]).z_mm[:4], part.z_mm[:4])


def test_neutral_particles_loopers_and_late_decays_leave_the_hits_they_should() -> None:
    particles = shot("muon", 1, 4, (1.0, 1.0), (0, 0))
    momentum = np.array([[0.2, 0, 0], [5.0, 0, 0], [5.0, 0, 0], [0.5, 0, 500.0]])  # 0.2 GeV turns at 351 mm
    vertex = np.array([[0, 0, 0], [0, 0, 0], [200.0, 0, 0], [0, 0, 0]])
    made = dataclasses.replace(particles, momentum_gev=momentum, vertex_mm=vertex, charge=np.array([1, 0, 1, 1]))
    tracker = changed(thickness_x0=0.0, efficiency=1.0, noise_hits=0.0)
    hit = simulate_hits(made, tracker, 1, np.arange(1)).of_particles(4, 10)
    assert hit.sum(axis=1).tolist() == [5, 0, 6, 0]
    assert hit[0, :5].all()
    assert hit[2, 4:].all()


def test_the_beam_spot_moves_all_particles_of_an_event_together() -> None:
    tracker, ids = Tracker(), np.arange(2000)
    moved = at_beam_spot(shot("photon", 2000, 2), tracker.beam_spot, 1, ids).vertex_mm.reshape(2000, 2, 3)
    np.testing.assert_array_equal(moved[:, 0], moved[:, 1])
    np.testing.assert_allclose(moved[:, 0].std(axis=0), [0.015, 0.015, 45.0], rtol=0.06)


def test_noise_lies_anywhere_on_the_layers() -> None:
    nobody = Particles(*[np.zeros(0, dtype=int)] * 3, np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3)))
    tracker = changed(noise_hits=5.0)
    hits = simulate_hits(nobody, tracker, 1, np.arange(200))
    assert len(hits) == pytest.approx(200 * 50, abs=5 * 100)
    assert (hits.particle == -1).all()
    assert np.abs(hits.z_mm / tracker.half_lengths_mm[hits.layer]).max() <= 1
    assert np.diff(hits.event * 10 + hits.layer).min() >= 0


def test_what_does_not_fit_together_is_refused() -> None:
    particles = shot("muon", 3, 1)
    for make in (simulate_hits, at_beam_spot):
        whose = Tracker() if make is simulate_hits else Tracker().beam_spot
        with pytest.raises(ValueError, match="event 2 have no id: there are 2"):
            make(particles, whose, 1, np.arange(2))
    hits = simulate_hits(particles, Tracker(), 1, np.arange(3))
    with pytest.raises(ValueError, match="event by event"):
        hits.kept(np.array([len(hits) - 1, 0]))
    with pytest.raises(ValueError, match="of one length"):
        dataclasses.replace(hits, phi=hits.phi[:3])
