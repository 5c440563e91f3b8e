"""What Pythia's events leave in all detectors: particles, their origins, rows that fit each other."""

from __future__ import annotations

import dataclasses
import itertools

import made_detectors
import numpy as np
import pytest
from guns import gun
from made_detectors import COLLISIONS, Z, made_up

from collider.detectors import DetectorEvents
from collider.detectors.making.events import (
    Rows,
    followed,
    in_steps,
    joined,
    nearest_origin,
    rounded,
    simulated,
    written,
)
from collider.detectors.schema import ORDER, TABLES
from collider.detectors.tracking import at_beam_spot, simulate_hits
from collider.generation import EventGenerator
from collider.generation.wheels import wheel


def test_every_table_has_its_columns_and_names_rows_that_are_there(folder):
    events = DetectorEvents(folder)
    assert len(events) == 9
    assert events.processes == ["qcd", "z"]
    part = events[:]
    assert np.bincount(part.columns["process"]).tolist() == [3, 6]
    for table, own in TABLES.items():
        rows = part[table]
        assert rows.counts.sum() == len(rows)
        for column in own:
            values = rows[column.name]
            assert values.dtype == column.dtype
            known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            assert not len(known) or column.minimum <= known.min() <= known.max() <= column.maximum, column.name
        for name, other in (("particle", "particles"), ("cluster", "clusters"), ("track", "tracks")):
            if name in rows.columns:
                assert (rows[name] < part[other].counts[rows.event]).all()
                assert (rows[name] >= -1).all()
    assert len(part["tracks"])
    assert len(part["clusters"])
    assert len(part["segments"])


def test_tables_fit_each_other(folder):
    part = DetectorEvents(folder)[:]
    particles, clusters = part["particles"], part["clusters"]
    for name, of in (("ecal_cells", 0), ("hcal_cells", 1)):
        cells = part[name]
        cluster = cells.place(clusters, "cluster")
        inside = cluster >= 0
        energy = np.bincount(cluster[inside], cells["energy_gev"][inside], len(clusters))
        own = clusters["detector"] == of
        np.testing.assert_allclose(energy[own], clusters["energy_gev"][own], rtol=1e-3)
        assert (energy[~own] == 0).all()
        whose = cells.place(particles, "particle")
        assert (particles.event[whose[whose >= 0]] == cells.event[whose >= 0]).all()
        # deposits of all particles in cells that are read are at most what particles left
        left = np.bincount(cells.event, cells["deposited_gev"], 9)
        column = f"{name[:4]}_gev"
        assert (left <= np.bincount(particles.event, particles[column], 9) * 1.001).all()
    tracks = part["tracks"]
    used = part["tracker_hits"].place(tracks, "track")
    np.testing.assert_array_equal(np.bincount(used[used >= 0], minlength=len(tracks)), tracks["hits"])


def test_the_products_of_a_z_are_found(folder):
    """Both leptons of a Z are among the particles, and its muons have tracks, its electrons clusters."""
    part = DetectorEvents(folder)[:]
    particles = part["particles"]
    of_z = np.flatnonzero((particles["origin"] == 23) & np.isin(np.abs(particles["pdg_id"]), (11, 13)))
    p = np.stack([particles[f"p{axis}_gev"] for axis in "xyz"], axis=1).astype(float)
    eta = np.abs(np.arcsinh(p[:, 2] / np.hypot(p[:, 0], p[:, 1])))
    z = part.columns["process"][particles.event] == 1
    assert z[of_z].all()
    central = of_z[eta[of_z] < 1.2]
    assert len(central)
    tracks = part["tracks"]
    for place in central:
        found = np.flatnonzero(tracks.place(particles, "particle") == place)
        assert len(found) == 1
        pt = np.hypot(*p[place, :2])
        assert 1 / abs(tracks["q_over_pt_per_gev"][found[0]]) == pytest.approx(pt, rel=0.1)
        assert np.sign(tracks["q_over_pt_per_gev"][found[0]]) == particles["charge"][place]
        # where the track enters the ECAL its cluster is
        if abs(particles["pdg_id"][place]) == 11:
            own = np.flatnonzero(part["clusters"].place(particles, "particle") == place)
            best = own[part["clusters"]["energy_gev"][own].argmax()]
            assert part["clusters"]["eta"][best] == pytest.approx(tracks["ecal_eta"][found[0]], abs=0.03)
            assert part["clusters"]["energy_gev"][best] == pytest.approx(np.linalg.norm(p[place]), rel=0.1)


def test_the_momenta_of_an_event_sum_to_nothing_across_the_beam(folder):
    part = DetectorEvents(folder)[:]
    particles = part["particles"]
    for axis in "xy":
        total = np.bincount(particles.event, particles[f"p{axis}_gev"], 9)
        total = total + part.columns[f"missing_p{axis}_gev"] + part.columns[f"beyond_p{axis}_gev"]
        np.testing.assert_allclose(total, 0, atol=0.05)


def test_origins_are_those_of_a_walk_along_mothers(wheels):
    ak = wheel("awkward")
    particles = ak.Array([
        {"pdg_id": 2212, "mother": -1}, {"pdg_id": 23, "mother": 0}, {"pdg_id": 23, "mother": 1},
        {"pdg_id": 11, "mother": 2}, {"pdg_id": 22, "mother": 3}, {"pdg_id": 211, "mother": 0},
    ])  # fmt: skip
    assert nearest_origin(ak.Array([particles, particles])).tolist() == [0, 23, 23, 23, 23, 0] * 2


def test_particles_that_are_followed(wheels):
    events = EventGenerator(Z, 5).batch(4)
    particles, origin, momenta = followed(events, dataclasses.replace(COLLISIONS, largest_eta=1.0, least_pt_gev=1.0))
    assert (np.abs(particles.eta) <= 1).all()
    assert (particles.pt_gev >= 1).all()
    assert len(origin) == len(particles)
    assert np.hypot(momenta["beyond_px_gev"], momenta["beyond_py_gev"]).max() > 1
    assert not np.isin(np.abs(particles.pdg_id), (12, 14, 16)).any()


def test_simulated_without_pythia():
    """A gun of muons: tracks, ionisation, segments, in the rows of a file."""
    tables = simulated(gun(13, 30.0, 3), np.arange(3), COLLISIONS)
    assert tables["tracks"].event.tolist() == [0, 1, 2]
    assert (np.bincount(tables["segments"].event, minlength=3) >= 3).all()
    assert tables["segments"].columns["particle"].tolist().count(0) >= 9


def test_batches_are_joined_with_their_offsets():
    counts = {table: np.array([2, 0, 1]) for table in TABLES}
    both = joined([made_up(counts, 1), made_up(counts, 2)])
    assert both["tracks/offsets"].tolist() == [0, 2, 2, 3, 5, 5, 6]
    assert len(both["tracks/chi2"]) == 6


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_rounding_keeps_so_many_bits(bits):
    values = np.float32([0, 1, 1.0001, -3.14159, 1e-30, 1e30, np.inf, np.nan])
    got = rounded(values, bits)
    np.testing.assert_allclose(got[:6], values[:6], rtol=2.0**-bits)
    assert np.isinf(got[6])
    assert np.isnan(got[7])
    assert rounded(np.float32([1 + 2.0**-17]), bits)[0] == 1.0
    assert (got[:6].view(np.uint32) % 2 ** (24 - bits) == 0).all()


def test_steps_are_the_nearest_ones():
    got = in_steps(np.float32([0.3, -0.3, 100.06, np.nan]), np.array([0.25, 0.25, 0.125, 0.125]))
    np.testing.assert_array_equal(got, [0.25, -0.25, 100.0, np.nan])
    assert got.dtype == np.float32


def test_what_a_file_holds_is_what_was_simulated():
    """Rows of an event in their order, each with its own numbers, off by far less than their errors."""
    tables = simulated(made_detectors.particles(5, 2), np.arange(5), made_detectors.SAMPLE)
    tracker = made_detectors.SAMPLE.tracker
    error = {"phi_rad": tracker.column("rphi_um") / 1000 / tracker.radii_mm, "z_mm": tracker.column("z_um") / 1000}
    exact = simulate_hits(
        at_beam_spot(made_detectors.particles(5, 2), tracker.beam_spot, made_detectors.SAMPLE.seed, np.arange(5)),
        tracker, made_detectors.SAMPLE.seed, np.arange(5),
    )  # fmt: skip
    hits = tables["tracker_hits"]
    for name, true in (("phi_rad", exact.phi), ("z_mm", exact.z_mm)):
        away = np.abs(hits.columns[name] - true) / error[name][exact.layer]
        assert 0.01 < away.max() <= 1 / 16 + 0.01
    for name in ("tracker_hits", "ecal_cells", "hcal_cells"):
        found, rows = written(name, tables[name], 5), tables[name]
        mixed = np.random.default_rng(4).permutation(len(rows.event))
        mixed = mixed[np.argsort(rows.event[mixed], kind="stable")]
        again = written(name, Rows(rows.event, {key: own[mixed] for key, own in rows.columns.items()}), 5)
        keys = ORDER[name]
        for event, (begin, end) in enumerate(itertools.pairwise(found[f"{name}/offsets"])):
            columns = [found[f"{name}/{key}"][begin:end] for key in keys]
            assert list(zip(*columns, strict=True)) == sorted(zip(*columns, strict=True))
            before = {key: rows.columns[key][rows.event == event] for key in rows.columns}
            order = np.lexsort([before[key] for key in reversed(keys)])
            for key, values in before.items():
                np.testing.assert_allclose(found[f"{name}/{key}"][begin:end], values[order], rtol=1e-3, atol=1e-9)
                assert sorted(again[f"{name}/{key}"][begin:end]) == sorted(found[f"{name}/{key}"][begin:end])


def test_stored_covariances_keep_their_smallest_eigenvalue():
    """Of tracks with few hits, whose numbers are nearly a multiple of each other."""
    shots = made_detectors.particles(100, 4, ("pion",), eta=(2.4, 2.9), pt_gev=(1.0, 30.0))
    rows = simulated(shots, np.arange(100), made_detectors.SAMPLE)["tracks"]
    stored, exact = written("tracks", rows, 100)["tracks/covariance"], rows.columns["covariance"]
    assert len(exact) > 50
    np.testing.assert_allclose(smallest(stored), smallest(exact), rtol=0.15)


def smallest(covariance):
    """The least eigenvalue of each correlation matrix."""
    upper = np.triu_indices(5)
    full = np.zeros((len(covariance), 5, 5))
    full[:, upper[0], upper[1]] = full[:, upper[1], upper[0]] = covariance
    size = np.sqrt(np.einsum("nii->ni", full))
    return np.linalg.eigvalsh(full / (size[:, :, None] * size[:, None, :]))[:, 0]


def test_a_column_of_rows_becomes_that_of_a_file():
    columns = {column.name: np.zeros(2) for column in TABLES["muon_hits"]}
    found = written("muon_hits", Rows(np.array([1, 1]), columns), 3)
    assert found["muon_hits/offsets"].tolist() == [0, 0, 2, 2]
