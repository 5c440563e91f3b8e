"""Tracks found among hits: how many, how well, and what the bound says; each check with something that fails it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from collider.detectors.gun import shot
from collider.detectors.tracking import Finding, Hits, Tracker, find_tracks, simulate_hits
from collider.detectors.tracking.judging import core_width, judged, matching, over_bound, pulls, reconstructable
from collider.detectors.tracking.tracks import matched

FIVE = ("q/pT", "φ", "cot θ", "d0", "z0")


def test_isolated_tracks_of_the_barrel_are_found_once_and_nothing_else_is(barrel) -> None:
    wanted = reconstructable(barrel.particles, barrel.hits, barrel.tracker)
    match = matching(barrel.tracks, len(barrel.particles))
    assert wanted.mean() > 0.99
    assert match.found[wanted].mean() > 0.98
    assert match.fake.mean() < 0.002
    assert match.duplicate.mean() < 0.002


def test_pulls_have_width_one_and_the_bound_is_reached(barrel) -> None:
    error = 1 / np.sqrt(2 * len(barrel.tracks))
    pull = pulls(barrel.tracks, barrel.particles, barrel.tracker)
    ratio = over_bound(barrel.tracks, barrel.particles, barrel.hits, barrel.tracker)
    np.testing.assert_allclose(pull.std(axis=0), 1, atol=4 * error)
    np.testing.assert_allclose(core_width(pull), 1, atol=6 * error)
    np.testing.assert_allclose(pull.mean(axis=0), 0, atol=4 / np.sqrt(len(pull)))
    np.testing.assert_allclose(core_width(ratio), 1, atol=6 * error)
    assert (barrel.tracks.chi2 / barrel.tracks.ndf).mean() == pytest.approx(1, abs=0.05)


def test_a_fit_that_believes_in_another_tracker_states_other_errors(barrel) -> None:
    """With half of the matter that there is, pulls are wide: the check above can fail."""
    thin = tuple(dataclasses.replace(layer, thickness_x0=layer.thickness_x0 / 2) for layer in barrel.tracker.layers)
    some = barrel.hits.kept(barrel.hits.event < 60)
    tracks = find_tracks(some, dataclasses.replace(barrel.tracker, layers=thin))
    soft = tracks.kept(tracks.pt_gev < 5)
    assert pulls(soft, barrel.particles, barrel.tracker).std(axis=0).min() > 1.15


def test_tracks_of_another_field_have_another_momentum(barrel) -> None:
    some = barrel.hits.kept(barrel.hits.event < 10)
    tracks = find_tracks(some, dataclasses.replace(barrel.tracker, field_t=1.9))
    ratio = tracks.pt_gev / barrel.particles.pt_gev[tracks.particle]
    assert np.median(ratio) == pytest.approx(0.5, rel=0.02)


def test_charges_are_told(barrel) -> None:
    assert (barrel.tracks.charge == barrel.particles.charge[barrel.tracks.particle]).mean() > 0.998


def test_noise_makes_few_fakes_and_random_hits_alone_make_none_to_speak_of(look) -> None:
    noisy = tuple(dataclasses.replace(layer, noise_hits=150.0, efficiency=0.97) for layer in Tracker().layers)
    found = look(shot("pion", 6, 20, (0.6, 20.0), (-2.2, 2.2), seed=9), Tracker(noisy))
    wanted = reconstructable(found.particles, found.hits, found.tracker)
    match = matching(found.tracks, len(found.particles))
    assert match.found[wanted].mean() > 0.97
    assert match.fake.mean() < 0.03
    alone = found.hits.kept(found.hits.particle < 0)
    assert len(find_tracks(alone, found.tracker)) < 0.05 * len(found.tracks)


def test_of_two_hits_that_fit_the_better_one_is_taken(barrel) -> None:
    """Beside each hit of four layers lies another one, 0.2 mm on: a guess would take it half of the times."""
    some = barrel.hits.kept(barrel.hits.event < 60)
    beside = some.kept((some.layer >= 4) & (some.layer < 8))
    shift = 0.2 / barrel.tracker.radii_mm[beside.layer]
    columns = [
        np.concatenate([getattr(some, name), getattr(beside, name)]) for name in ("event", "layer", "phi", "z_mm")
    ]
    columns[2][len(some) :] += shift * np.where(beside.particle % 2, 1, -1)
    particle = np.concatenate([some.particle, np.full(len(beside), -1)])
    order = np.lexsort((columns[2], columns[1], columns[0]))
    both = Hits(*(column[order] for column in (*columns, particle)))
    tracks = find_tracks(both, barrel.tracker)
    stiff = tracks.kept((tracks.pt_gev > 10) & (tracks.particle >= 0))
    own = both.particle[stiff.hit[:, 4:8]] == stiff.particle[:, None]
    assert own[stiff.hit[:, 4:8] >= 0].mean() > 0.85


def test_a_search_that_takes_every_hit_finds_fakes(look) -> None:
    """That the cuts keep fakes away is seen by opening them."""
    noisy = tuple(dataclasses.replace(layer, noise_hits=150.0) for layer in Tracker().layers)
    events = np.arange(2)
    hits = simulate_hits(shot("pion", 2, 1), Tracker(noisy), 3, events)
    loose = Finding(largest_chi2=400.0, largest_seed_chi2=400.0, largest_chi2_per_ndf=200.0, fewest_hits=4)
    strict, open_ = (matching(find_tracks(hits, Tracker(noisy), options), 2).fake.sum() for options in (None, loose))
    assert strict <= 1
    assert open_ >= 4


def test_a_missing_hit_in_a_seed_layer_costs_no_track(barrel) -> None:
    for layer in range(4):
        some = barrel.hits.kept((barrel.hits.layer != layer) & (barrel.hits.event < 12))
        found = find_tracks(some, barrel.tracker)
        whole = barrel.tracks.kept(barrel.tracks.event < 12)
        assert len(found) > 0.95 * len(whole), layer


def test_without_later_passes_tracks_are_lost(barrel) -> None:
    some = barrel.hits.kept((barrel.hits.layer != 1) & (barrel.hits.event < 12))
    assert len(find_tracks(some, barrel.tracker, Finding(passes=Finding().passes[:1]))) == 0


def test_an_events_tracks_depend_on_no_other_event(barrel) -> None:
    one = barrel.hits.kept(barrel.hits.event == 7)
    alone, among = find_tracks(one, barrel.tracker), barrel.tracks.kept(barrel.tracks.event == 7)
    np.testing.assert_array_equal(alone.parameters, among.parameters)
    first = np.flatnonzero(barrel.hits.event == 7)[0]
    np.testing.assert_array_equal(np.where(alone.hit >= 0, alone.hit + first, -1), among.hit)


def test_no_hits_no_tracks() -> None:
    nothing = simulate_hits(shot("photon", 1, 2), Tracker(), 1, np.arange(1)).kept(np.zeros(0, dtype=np.int64))
    assert len(find_tracks(nothing, Tracker())) == 0


def test_figures_in_bins_are_those_of_the_whole(barrel) -> None:
    rows = judged(barrel.tracks, barrel.particles, barrel.hits, barrel.tracker, (1.0, 10.0, 101.0), (0.0, 0.5, 1.0))
    assert len(rows) == 5
    assert sum(row.particles for row in rows[:-1]) == rows[-1].particles
    assert rows[-1].efficiency > 0.98
    assert 0 < rows[-1].efficiency_error < 0.01
    np.testing.assert_allclose(rows[-1].over_bound, 1, atol=6 * rows[-1].error)


def test_what_a_track_is_follows_from_its_hits() -> None:
    """Six hits of particle 0 and four of 1 make no track of either; noise has no votes."""
    particle = np.array([0] * 6 + [1] * 4 + [-1] * 5)
    hits = Hits(np.zeros(15, int), np.zeros(15, int), np.zeros(15), np.zeros(15), particle)
    rows = np.array([np.arange(10), [*range(6), 10, -1, -1, -1], [10, 11, 12, -1, -1, -1, -1, -1, -1, -1]])
    found, share = matched(rows, hits)
    assert found.tolist() == [0, 0, -1]
    np.testing.assert_allclose(share, [0.6, 6 / 7, 0])
