"""Events through all detectors, their files, and how these are read back."""

from __future__ import annotations

import dataclasses
import json
import sys

import h5py
import numpy as np
import pytest
import shipped
from collisions import needed
from guns import gun
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collider.detectors import DetectorEvents
from collider.detectors.command import expected, holds_processes, main
from collider.detectors.making import files as made
from collider.detectors.making.config import DetectorSample
from collider.detectors.making.events import followed, joined, nearest_origin, rounded, simulated, written
from collider.detectors.making.files import (
    DetectorFile,
    event_files,
    write_event_file,
    write_event_files,
    write_manifest,
)
from collider.detectors.schema import EVENT_COLUMNS, TABLES
from collider.generation import EventGenerator, Process, Resonance
from collider.generation.config import config_path
from collider.generation.wheels import wheel
from reconstruction.errors import UserError

Z = Process("z", ("WeakSingleBoson:ffbar2gmZ",), resonances={"Z": Resonance(only=("e", "mu"))}, underlying_event=False,
            settings={"WeakZ0:gmZmode": "2"})  # fmt: skip
QCD = Process("qcd", ("HardQCD:all",), smallest_pt_gev=40.0, underlying_event=False)
SAMPLE = DetectorSample((Z, QCD), {"z": 2, "qcd": 1}, seed=3)


@pytest.fixture(scope="module")
def wheels():
    needed()


@pytest.fixture(scope="module")
def folder(wheels, tmp_path_factory):
    """Six events of Z bosons and three of jets, in three files."""
    target = tmp_path_factory.mktemp("events")
    files = event_files(SAMPLE, 9, target, 3)
    write_event_files(files, 1)
    write_manifest(files, target)
    return target


# What is made -------------------------------------------------------------------------------------------------------


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
    particles, origin, momenta = followed(events, dataclasses.replace(SAMPLE, largest_eta=1.0, least_pt_gev=1.0))
    assert (np.abs(particles.eta) <= 1).all()
    assert (particles.pt_gev >= 1).all()
    assert len(origin) == len(particles)
    assert np.hypot(momenta["beyond_px_gev"], momenta["beyond_py_gev"]).max() > 1
    assert not np.isin(np.abs(particles.pdg_id), (12, 14, 16)).any()


def test_simulated_without_pythia():
    """A gun of muons: tracks, ionisation, segments, in the rows of a file."""
    tables = simulated(gun(13, 30.0, 3), np.arange(3), SAMPLE)
    assert tables["tracks"].event.tolist() == [0, 1, 2]
    assert (np.bincount(tables["segments"].event, minlength=3) >= 3).all()
    assert tables["segments"].columns["particle"].tolist().count(0) >= 9


# Files --------------------------------------------------------------------------------------------------------------


def test_who_makes_the_files_changes_nothing(folder, tmp_path):
    """Split among workers, in any order: the bytes are the same."""
    again = event_files(SAMPLE, 9, tmp_path, 3)[::-1]
    assert sorted(file.path.name for file in again) == sorted(path.name for path in folder.glob("*.hdf5"))
    assert write_event_file(again[0]) > 0
    assert again[0].path.read_bytes() == (folder / again[0].path.name).read_bytes()


def test_other_events_in_the_place_are_refused(folder):
    file = event_files(SAMPLE, 9, folder, 3)[0]
    assert write_event_file(file) == 0
    more = dataclasses.replace(SAMPLE, processes=(Z, QCD, dataclasses.replace(QCD, name="other")))
    assert write_event_file(dataclasses.replace(file, sample=more)) == 0  # other processes make no difference
    for other in (dataclasses.replace(SAMPLE, seed=4), dataclasses.replace(SAMPLE, least_pt_gev=0.5)):
        with pytest.raises(UserError, match="holds other events"):
            write_event_file(dataclasses.replace(file, sample=other))


def test_provenance_and_manifest(folder):
    with h5py.File(folder / "z_0000.hdf5") as file:
        assert {"config", "seed", "git_commit", "created_by", "libraries", "generated", "layout"} <= set(file.attrs)
        assert file["tracks/d0_mm"].attrs["units"] == "mm"
        assert file["clusters/energy_gev"].attrs["units"] == "GeV"
        assert file["missing_px_gev"].attrs["units"] == "GeV"
    told = json.loads((folder / "events.json").read_text())["processes"]
    assert {name: one["events"] for name, one in told.items()} == {"z": 6, "qcd": 3}
    assert told["z"]["files"] == ["z_0000.hdf5", "z_0001.hdf5"]
    events = DetectorEvents(folder)
    sums = np.bincount(events.column("process"), events.weight_pb)
    np.testing.assert_allclose(sums, [told[name]["cross_section_pb"] for name in events.processes], rtol=1e-6)
    assert len(np.unique(events.column("event_id"))) == 9


def test_events_are_shared_among_processes():
    counts = DetectorSample((Z, QCD, dataclasses.replace(Z, name="a"))).counts(8)
    assert sorted(counts.values()) == [2, 3, 3]
    assert SAMPLE.counts(9) == {"z": 6, "qcd": 3}
    assert SAMPLE.counts(1) == {"z": 1, "qcd": 0}
    assert [file.path.name for file in event_files(SAMPLE, 9, SAMPLE_FOLDER, 3)] == [
        "z_0000.hdf5", "qcd_0000.hdf5", "z_0001.hdf5",
    ]  # fmt: skip


SAMPLE_FOLDER = made.Path("none")


def test_the_command_tells_makes_and_goes_on(wheels, tmp_path, monkeypatch, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(
        "processes:\n  - {name: z, subprocesses: ['WeakSingleBoson:ffbar2gmZ'], underlying_event: false}\n"
        "tables: [particles, tracks]\n"
    )
    monkeypatch.setattr(
        sys,
        "argv",
        ["detectors", "--events", "2", "--workers", "1", "-c", str(config), "--output", str(tmp_path / "out")],
    )
    assert main() == 0
    first = capsys.readouterr().out
    assert "2 events to make: about 1 min with 1 worker" in first
    assert main() == 0
    assert "there already" in capsys.readouterr().out
    events = DetectorEvents(tmp_path / "out")
    assert events.tables == ("particles", "tracks")
    with pytest.raises(UserError, match=r"no table 'clusters'.*there are particles, tracks"):
        events.read(slice(0, 1), ["clusters"])


@pytest.mark.parametrize("path", shipped.detector_samples(), ids=lambda path: path.stem)
def test_the_shipped_sample_is_one(path):
    assert config_path(path.stem, "detectors", "set of events", holds_processes) == path
    sample = DetectorSample.from_yaml(path)
    assert sample.names == ["ttbar", "w", "z", "higgs", "qcd"]
    assert "8000 events" in expected(event_files(sample, 8000, SAMPLE_FOLDER), 2)


# Ragged columns -----------------------------------------------------------------------------------------------------


def made_up(counts, seed):
    """Columns of a file whose tables have so many rows in each event, {table: (event,)}."""
    random, events = np.random.default_rng(seed), len(next(iter(counts.values())))
    columns = {column.name: random.integers(0, 100, events).astype(column.dtype) for column in EVENT_COLUMNS} | {
        "event_id": np.arange(events, dtype=np.int64),
        "process": np.zeros(events, dtype=np.int8),
    }
    for table, own in TABLES.items():
        rows = int(counts[table].sum())
        columns[f"{table}/offsets"] = np.concatenate([[0], np.cumsum(counts[table])])
        for column in own:
            shape = (rows, 15) if column.name == "covariance" else (rows,)
            columns[f"{table}/{column.name}"] = random.integers(0, 100, shape).astype(column.dtype)
    return columns


def write_made_up(path, columns, sample=SAMPLE):
    events = len(columns["event_id"])
    made._write(DetectorFile(sample, sample.processes[0], 0, events, path), dict(columns), 1.0, events)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_what_is_written_is_read(tmp_path_factory, data):
    """Any numbers of rows, none too, in any slice, over two files."""
    folder = tmp_path_factory.mktemp("ragged")
    files, events = [], 0
    for number in range(2):
        count = data.draw(st.integers(0 if number else 1, 4))
        counts = {table: np.array(data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count)), dtype=int)
                  for table in TABLES}  # fmt: skip
        columns = made_up(counts, number)
        columns["event_id"] = columns["event_id"] + 1000 * number
        write_made_up(folder / f"{number}.hdf5", columns)
        files.append((counts, columns))
        events += count
    start, stop = data.draw(st.integers(0, events)), data.draw(st.integers(0, events))
    part = DetectorEvents(folder)[start:stop]
    assert len(part) == max(0, stop - start)
    rows = [(file, i) for file in files for i in range(len(file[1]["event_id"]))][start:stop]
    for table, own in TABLES.items():
        assert part[table].counts.tolist() == [int(file[0][table][i]) for file, i in rows]
        for column in own:
            wanted = [
                file[1][f"{table}/{column.name}"][slice(*file[1][f"{table}/offsets"][i : i + 2])] for file, i in rows
            ]
            got = part[table][column.name]
            np.testing.assert_array_equal(got, np.concatenate(wanted) if wanted else got[:0])


def test_batches_are_joined_with_their_offsets():
    counts = {table: np.array([2, 0, 1]) for table in TABLES}
    both = joined([made_up(counts, 1), made_up(counts, 2)])
    assert both["tracks/offsets"].tolist() == [0, 2, 2, 3, 5, 5, 6]
    assert len(both["tracks/chi2"]) == 6


def test_rounding_keeps_thirteen_bits():
    values = np.float32([0, 1, 1.0001, -3.14159, 1e-30, 1e30, np.inf, np.nan])
    got = rounded(values)
    np.testing.assert_allclose(got[:6], values[:6], rtol=2.0**-13)
    assert np.isinf(got[6])
    assert np.isnan(got[7])
    assert rounded(np.float32([1.0001]))[0] == 1.0
    assert (got[:6].view(np.uint32) % 2048 == 0).all()


def test_a_column_of_rows_becomes_that_of_a_file():
    from collider.detectors.making.events import Rows

    columns = {column.name: np.zeros(2) for column in TABLES["muon_hits"]}
    found = written("muon_hits", Rows(np.array([1, 1]), columns), 3)
    assert found["muon_hits/offsets"].tolist() == [0, 0, 2, 2]


def test_what_the_page_shows_runs(folder, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "detectors").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    page = (shipped.ROOT / "docs/howto/detectors.md").read_text()
    shown = {}
    exec(page.partition("```py\n")[2].partition("```")[0], shown)
    assert len(shown["part"]) == 5


def test_one_event_at_a_place(folder):
    events = DetectorEvents(folder)
    last = events[-1]
    assert len(last) == 1
    assert last.columns["event_id"] == events.column("event_id")[-1]
    np.testing.assert_array_equal(last["tracks"]["d0_mm"], events[8:9]["tracks"]["d0_mm"])
    with pytest.raises(IndexError):
        events[9]
    assert sum(1 for _ in events) == 9


def test_rows_as_awkward_lists(folder):
    part = DetectorEvents(folder).read(slice(2, 5), ["tracks", "particles"])
    lists = part["tracks"].awkward()
    assert wheel("awkward").num(lists, axis=1).tolist() == part["tracks"].counts.tolist()
    assert lists.covariance.ndim == 3


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A file of two made-up events."""
    write_made_up(tmp_path / "one.hdf5", made_up({table: np.array([2, 1]) for table in TABLES}, 1))
    return tmp_path / "one.hdf5"


def test_columns_of_unequal_length_are_refused(small):
    with h5py.File(small, "a") as file:
        del file["tracks/chi2"]
        file["tracks/chi2"] = np.zeros(2)
    with pytest.raises(UserError, match=r"tracks/chi2 has 2 rows, and tracks/offsets says 3"):
        DetectorEvents(small)
    with h5py.File(small, "a") as file:
        del file["missing_px_gev"]
        file["missing_px_gev"] = np.zeros(5)
    with pytest.raises(UserError, match=r"missing_px_gev has 5 rows for 2 events"):
        DetectorEvents(small)


@pytest.mark.parametrize("offsets", [[0, 2], [0, 3, 2], [1, 2, 3]])
def test_offsets_that_are_none_are_refused(small, offsets):
    with h5py.File(small, "a") as file:
        del file["segments/offsets"]
        file["segments/offsets"] = np.array(offsets)
    with pytest.raises(UserError, match="must be 3 numbers that rise"):
        DetectorEvents(small)


def test_a_table_that_is_gone_is_told(small):
    with h5py.File(small, "a") as file:
        del file["clusters"]
    with pytest.raises(UserError, match="is not whole"):
        DetectorEvents(small)


def test_a_truncated_file_is_told(small):
    content = small.read_bytes()
    small.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"one.hdf5 is not whole"):
        DetectorEvents(small)


def test_other_detectors_in_one_folder_are_refused(small):
    other = dataclasses.replace(SAMPLE, least_pt_gev=0.4)
    columns = made_up({table: np.array([1]) for table in TABLES}, 1) | {"event_id": np.array([77])}
    write_made_up(small.parent / "two.hdf5", columns, other)
    with pytest.raises(UserError, match=r"two.hdf5 is of other detectors.*they differ in least_pt_gev"):
        DetectorEvents(small.parent)


def test_an_event_in_two_files_is_refused(small):
    (small.parent / "two.hdf5").write_bytes(small.read_bytes())
    with pytest.raises(UserError, match=r"event 0 is in .*one.hdf5 and in .*two.hdf5"):
        DetectorEvents(small.parent)


def test_what_is_no_file_of_events(tmp_path, small):
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["x"] = 1
    for source, words in (
        (tmp_path / "none.hdf5", "there is no such file"),
        (tmp_path / "foreign.hdf5", "is no file of events in detectors"),
        (tmp_path / "no_*.hdf5", "there is no HDF5 file of events"),
        ([], "there is no HDF5 file of events"),
    ):
        with pytest.raises(UserError, match=words):
            DetectorEvents(source)
    events = DetectorEvents(str(tmp_path / "on*.hdf5"))
    for ask, words in (
        (lambda: events[0:2]["track"], "no table 'track' .*did you mean 'tracks'"),
        (lambda: events[0:2]["tracks"]["chi"], "no column 'chi'"),
        (lambda: events.column("weigth"), "no column 'weigth'"),
        (lambda: events[0:2:2], "without a step"),
    ):
        with pytest.raises(UserError, match=words):
            ask()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("share: {z: 1}", "names its processes"),
        ("processes: []", "names its processes"),
        ("processes: [{subprocesses: ['Top:gg2ttbar']}]", "Process lacks 'name'"),
        ("processes: [{name: z, subprocesses: ['a:b']}]\nshare: {zz: 1}", "share names the process 'zz'.*'z'"),
        ("processes: [{name: z, subprocesses: ['a:b']}]\nshare: {z: 0}", "shares of all processes are 0"),
        ("processes: [{name: z, subprocesses: ['a:b']}]\ntables: [track]", "no table 'track'"),
        ("processes: [{name: z, subprocesses: ['a:b']}]\nmuon: {}", "unknown key 'muon'"),
        ("processes: [{name: z, subprocesses: ['a:b']}]\ncalorimeters: {ecal: {ring: 3}}", "unknown key 'ring'"),
        ("processes: [{name: z, subprocesses: ['a:b']}, {name: z, subprocesses: ['a:b']}]", "one name each"),
        ("processes: [{name: z, subprocesses: ['a:b']}]\nleast_pt_gev: .nan", "least_pt_gev"),
        ("processes: [{name: z, subprocesses: ['a:b']}]\nmuons: {coil_radius_mm: 1500}", "coil"),
    ],
)
def test_configurations_that_mean_nothing(tmp_path, text, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text + "\n")
    with pytest.raises(UserError, match=f"mine.yaml: .*{words}"):
        DetectorSample.from_yaml(path)


def test_an_unknown_process_and_an_unknown_set_are_told(wheels, tmp_path):
    with pytest.raises(UserError, match=r"no set of events 'event'.*events"):
        config_path("event", "detectors", "set of events", holds_processes)
    wrong = dataclasses.replace(SAMPLE, processes=(Process("z", ("WeakSingleBoson:ffbar2gmZZ",)),), share={})
    with pytest.raises(UserError, match=r"Pythia 8 does not know `WeakSingleBoson:ffbar2gmZZ = on`"):
        write_event_file(event_files(wrong, 1, tmp_path)[0])
    assert not list(tmp_path.iterdir())
