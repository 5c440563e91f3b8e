"""Files: shards, workers, tasks, weights; events of other generators; configurations and the command."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import shipped

from collider.generation import (
    Clustering,
    Cuts,
    GenerationConfig,
    Process,
    Resonance,
    Selection,
    Wanted,
    balance,
    convert,
    files_of,
    read_events,
    read_hepmc,
    read_lhe,
    write_file,
    write_files,
)
from collider.generation.command import main
from collider.generation.config import config_path
from collider.generation.files import SMALLEST_BATCH, _batches
from collider.generation.wheels import wheel
from reconstruction.errors import UserError

pytestmark = pytest.mark.usefixtures("wheels")
Z = Process(
    "z",
    ("WeakSingleBoson:ffbar2gmZ",),
    resonances={"Z": Resonance(only=("mu",))},
    underlying_event=False,
    settings={"HadronLevel:all": "off", "PartonLevel:FSR": "off"},
)
PAIR = GenerationConfig(Z, selection=Selection({"pair": Cuts(muons=Wanted(2, pt_gev=(20, 20)))}), most_objects=6)


def content(paths):
    """Return all columns of files, one after the other."""
    found = []
    for path in paths:
        with h5py.File(path) as file:
            found.append({name: file[name][:] for name in file})
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    files = files_of(PAIR, 50, tmp_path_factory.mktemp("whole"), 20)
    write_files(files)
    return files


def test_who_makes_the_files_changes_nothing(made, tmp_path):
    """Tasks of an array job, in any order, against one run."""
    assert [file.path.name for file in made] == ["z_0000.hdf5", "z_0001.hdf5", "z_0002.hdf5"]
    again = files_of(PAIR, 50, tmp_path, 20)
    write_files(again[1::2])
    write_files(again[::2], workers=2)
    one, other = content(file.path for file in made), content(file.path for file in again)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert len(np.unique(one["event_id"])) == 50
    assert len(np.unique(one["object_pt_gev"][:, 0])) == 50  # each file has random numbers of its own


def test_a_file_has_what_it_says(made):
    found = content(file.path for file in made)
    assert (found["object_kind"][:, :2] == 13).all()
    assert (found["object_pt_gev"][:, 1] >= 20).all()
    assert found["object_pt_gev"].shape == (50, 6)
    assert (np.diff(found["object_pt_gev"][:, :2]) <= 0).all()
    behind = np.arange(6) >= found["objects"][:, None]
    assert (found["object_kind"][behind] == 0).all()
    assert (found["object_kind"][~behind] != 0).all()
    with h5py.File(made[0].path) as file:
        assert file["object_pt_gev"].attrs["units"] == "GeV"
        assert file["object_phi_rad"].attrs["units"] == "rad"
        assert {"config", "seed", "git_commit", "created_by", "libraries", "generated"} <= set(file.attrs)


def test_weights_sum_to_the_visible_cross_section(made):
    """Against the share of kept events among those generated; two files agree within their errors."""
    sums = []
    for file in made:
        with h5py.File(file.path) as found:
            share = found.attrs["events"] / found.attrs["generated"]
            weights = found["weight_pb"][:]
            assert weights.sum() == pytest.approx(found.attrs["cross_section_pb"] * share)
            assert 0.01 < share < 0.9
            sums.append((weights.sum(), weights.sum() / np.sqrt(len(weights))))
    (first, error), (second, other) = sums[:2]
    assert abs(first - second) < 4 * np.hypot(error, other)


def test_other_events_in_the_place_are_refused(made):
    assert write_file(made[0]) == 0
    for other in (dataclasses.replace(PAIR, seed=2), dataclasses.replace(PAIR, jets=Clustering(pt_gev=30))):
        with pytest.raises(UserError, match="holds other events"):
            write_file(dataclasses.replace(made[0], config=other))
    with pytest.raises(UserError, match="holds other events"):
        write_file(dataclasses.replace(made[0], stop=10))


def test_what_is_damaged_is_refused(tmp_path):
    (tmp_path / "z_0000.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        write_file(files_of(PAIR, 5, tmp_path)[0])


def test_a_folder_that_cannot_be_is_told_before_any_event(tmp_path, monkeypatch):
    monkeypatch.setattr("collider.generation.files.EventGenerator", None)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"z_0000.hdf5 cannot be written: Not a directory"):
        write_file(files_of(PAIR, 5, tmp_path / "file" / "folder")[0])


def test_a_selection_that_keeps_nothing_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("collider.generation.files.FUTILE", 200)
    none = dataclasses.replace(PAIR, selection=Selection({"no": Cuts(electrons=Wanted(5))}))
    with pytest.raises(UserError, match="none of 200 events of process z passes the selection"):
        write_file(files_of(none, 5, tmp_path)[0])
    assert list(tmp_path.iterdir()) == []


# Events of other generators -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hepmc(tops, tmp_path_factory):
    """Six of our events as HepMC 3, in MeV and cm."""
    pyhepmc = wheel("pyhepmc")
    path = tmp_path_factory.mktemp("hepmc") / "tops.hepmc"
    with pyhepmc.open(str(path), "w") as file:
        for number in range(6):
            file.write(_as_hepmc(pyhepmc, tops[number].particles, number))
    return path


def _as_hepmc(pyhepmc, particles, number):
    mother = particles.mother.to_numpy()
    depth = np.zeros(len(mother), dtype=int)
    for _ in range(len(mother)):  # mothers first, as the format wants it; Pythia lists incoming partons the other way
        deeper = np.where(mother >= 0, depth[mother] + 1, 0)
        if (deeper == depth).all():
            break
        depth = deeper
    order = np.argsort(depth, kind="stable")
    place = np.argsort(order)
    particles, mother = particles[order], np.where(mother >= 0, place[mother], -1)[order]
    of = lambda *names, factor: (factor * particles[name].to_numpy() for name in names)  # noqa: E731
    px, py, pz, energy, mass = of("px", "py", "pz", "energy", "mass", factor=1e3)
    x, y, z = of("x_mm", "y_mm", "z_mm", factor=0.1)
    status, codes = particles.status.to_numpy(), particles.pdg_id.to_numpy()
    event = pyhepmc.GenEvent(pyhepmc.Units.MEV, pyhepmc.Units.CM)
    parents = np.repeat(mother[:, None] + 1, 2, axis=1)
    event.from_hepevt(number, px, py, pz, energy, mass, codes, status, parents, None, x, y, z, 0 * z)
    event.weights = [2.0]
    return event


def test_hepmc_files_are_the_events_that_were_written(tops, hepmc):
    (found,) = list(read_hepmc(hepmc))
    assert [len(batch) for batch in read_events(hepmc, 4)] == [4, 2]
    np.testing.assert_array_equal(found.weight, 2.0)
    for ours, theirs in zip(tops.particles[:6], found.particles, strict=True):
        order, other = (np.lexsort((event.pz, event.energy)) for event in (ours, theirs))
        for name in ("px", "py", "pz", "energy", "mass"):
            np.testing.assert_allclose(ours[name][order], theirs[name][other], rtol=1e-6, atol=1e-6)
        assert sorted(ours.pdg_id) == sorted(theirs.pdg_id)
        mothers = lambda event: sorted(event.pdg_id[event.mother[event.mother >= 0]])  # noqa: E731
        assert mothers(ours) == mothers(theirs)
        assert sum(theirs.status == 4) == 2
    assert np.abs(balance(found)[0]).max() < 1e-3


def test_hepmc_events_become_a_file(hepmc, tmp_path):
    config = GenerationConfig(dataclasses.replace(Z, cross_section_pb=12.0), selection=Selection())
    assert convert(config, hepmc, tmp_path / "t.hdf5") == (6, 6)
    with h5py.File(tmp_path / "t.hdf5") as file:
        assert file["weight_pb"][:].sum() == pytest.approx(12.0)
        assert hepmc.name in file.attrs["sources"]
    with pytest.raises(UserError, match="is there already"):
        convert(config, hepmc, tmp_path / "t.hdf5")
    other = shutil.copy(hepmc, tmp_path / "other.hepmc")
    convert(config, other, tmp_path / "other.hdf5")
    ids = content([tmp_path / "t.hdf5", tmp_path / "other.hdf5"])["event_id"]
    assert len(np.unique(ids)) == 12  # events of two sources are other events


def test_the_signs_of_a_file_are_equally_many():
    config = GenerationConfig.from_yaml(config_path("charged_higgs"))
    generator = SimpleNamespace(process=config.process, batch=range)
    file = files_of(config, 1000, Path("unused"))[0]
    sizes = [len(batch) for batch in itertools.islice(_batches(generator, file), 1000 // SMALLEST_BATCH)]
    assert sum(sizes[::2]) == sum(sizes[1::2]) == 500


LHE_HEAD = '<LesHouchesEvents version="3.0">\n<init>\n2212 2212 6500 6500 0 0 0 0 -4 1\n1.0 0.1 1.0 1\n</init>\n'
LHE_EVENT = """<event>
 4 1 {weight} 91.0 0.0078 0.118
 2 -1 0 0 501 0 0.0 0.0 45.6 45.6 0.0 0. 9.
 -2 -1 0 0 0 501 0.0 0.0 -45.6 45.6 0.0 0. 9.
 13 1 1 2 0 0 0.45600000D+02 0.0 0.0 45.6 0.105 0. 9.
 -13 1 1 2 0 0 -45.6 0.0 0.0 45.6 0.105 0. 9.
</event>
"""


def lhe(path, events=3, tail="</LesHouchesEvents>\n", weight=1.0, edit=lambda text: text):
    text = edit(LHE_HEAD + events * LHE_EVENT.format(weight=weight) + tail)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.lhe", "a.lhe.gz"])
def test_les_houches_files_are_read(name, tmp_path):
    (events,) = list(read_events(lhe(tmp_path / name)))
    assert events.particles.pdg_id[0].to_list() == [2, -2, 13, -13]
    assert events.particles.status[0].to_list() == [4, 4, 1, 1]
    assert events.particles.mother[0].to_list() == [-1, -1, 0, 0]
    assert events.particles.px[2].to_list() == [0, 0, 45.6, -45.6]
    four, charge = balance(events)
    assert np.abs(four).max() < 1e-9
    assert len(charge) == 3


BROKEN = {
    "cut": (lambda t: t[: t.rindex("-13 1")], "breaks off within the <event> of line 20"),
    "words": (lambda t: t.replace("45.6 0.105", "45.6 heavy", 1), "line 10: a particle has 13 numbers"),
    "short": (lambda t: t.replace(" 0.105 0. 9.", "", 1), "line 10: a particle has 13 numbers"),
    "head": (lambda t: t.replace("4 1 1.0 91.0", "four", 1), "line 7: an event begins with NUP"),
    "count": (
        lambda t: t.replace("4 1 1.0 91.0", "5 1 1.0 91.0", 1),
        "line 7: the event has 4 lines of particles, not 5",
    ),
    "within": (lambda t: t.replace("</event>", "", 1), "line 13: an <event> begins within that of line 6"),
    "no end": (lambda t: t.replace("</LesHouchesEvents>", ""), "before </LesHouchesEvents>"),
    "none": (lambda t: t[: t.index("<event>")] + "</LesHouchesEvents>", "holds no <event>"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
def test_a_broken_les_houches_file_is_one_sentence_with_its_line(case, tmp_path):
    edit, message = BROKEN[case]
    with pytest.raises(UserError, match=message) as raised:
        list(read_lhe(lhe(tmp_path / "a.lhe", edit=edit)))
    assert "a.lhe" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_that_are_none_are_one_sentence(hepmc, tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("nothing of the kind\n" * 9)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(hepmc.read_bytes())[:3000])
    packed = bytearray(gzip.compress(hepmc.read_bytes()))
    packed[14:40] = b"\xff" * 26
    (tmp_path / "bits.gz").write_bytes(packed)
    lines = hepmc.read_text().splitlines()
    (tmp_path / "cut.hepmc").write_text("\n".join(lines[: len(lines) // 2]))
    for name in ("empty", "text", "cut.gz", "bits.gz", "cut.hepmc", "missing"):
        with pytest.raises(UserError, match=name) as raised:
            list(read_events(tmp_path / name))
        assert "\n" not in str(raised.value)


def test_weights_that_sum_to_nothing_are_refused(tmp_path):
    for weight in (0.0, -1.0):
        config = GenerationConfig(dataclasses.replace(Z, cross_section_pb=1.0))
        with pytest.raises(UserError, match=r"the weights of z sum to -?\d"):
            convert(config, lhe(tmp_path / "a.lhe", weight=weight), tmp_path / "a.hdf5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.lhe"]


def test_pythia_showers_a_les_houches_file(tmp_path):
    path = lhe(tmp_path / "a.lhe", events=8, edit=lambda text: text.replace("0.45600000D+02", "45.6"))
    config = GenerationConfig(
        Process("mine", lhe_file=str(path), underlying_event=False, cross_section_pb=2.0), selection=Selection()
    )
    write_files(files_of(config, 8, tmp_path))
    found = content([tmp_path / "mine_0000.hdf5"])
    assert (found["object_kind"] == 13).sum() >= 10
    assert found["weight_pb"].sum() == pytest.approx(2.0)
    with pytest.raises(UserError, match="ends after 8 events, of which 8 pass the selection: ask for at most 8"):
        write_files(files_of(config, 9, tmp_path / "more"))
    # each file would begin with the first event again
    (one,) = files_of(config, 8, tmp_path, events_per_file=3)
    assert (one.start, one.stop) == (0, 8)


# Configurations and the command -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", shipped.generations(), ids=lambda path: path.stem)
def test_our_configurations_are_read(path):
    config = GenerationConfig.from_yaml(path)
    assert config.process.name == path.stem
    assert config == GenerationConfig.from_yaml(config_path(path.stem))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1", "names its process"),
        ("process: {subprocesses: ['Top:gg2ttbar']}", "Process lacks 'name'"),
        ("process: {name: t, subproceses: []}", r"unknown key 'subproceses' .*did you mean 'subprocesses'"),
        ("process: {name: t, subprocesses: [x]}\nseed: -1", "seed must be 0 or more"),
        ("process: {name: t, subprocesses: [x]}\nmost_objects: 0", "most_objects must be from 1"),
        ("process: {name: t, subprocesses: [x], resonances: {t: {mass_gev: heavy}}}", "must be of type float"),
        ("process: {name: t, subprocesses: [x]}\nselection: {channels: {a: {muon: {}}}}", "did you mean 'muons'"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_sentence(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        GenerationConfig.from_yaml(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_codes_and_switches_may_be_written_as_they_are(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "process: {name: t, subprocesses: [x], settings: {'A:b': 2, 'C:d': off, 'E:f': 1.5}, "
        "resonances: {36: {decays: [{products: [13, -13]}]}, Z: {only: [11, mu]}}}"
    )
    process = GenerationConfig.from_yaml(path).process
    assert process.by_code[36].decays[0].codes == (13, -13)
    assert {"A:b = 2", "C:d = off", "E:f = 1.5", "23:onIfAny = 11 13"} <= set(process.commands())


def test_a_process_that_is_not_ours_names_the_nearest():
    with pytest.raises(
        UserError, match=r"there is no process 'tbar' \(did you mean 'ttbar'\?\); ours are charged_higgs, ttbar, z"
    ):
        config_path("tbar")


def test_the_command_reads_and_makes_files(tmp_path, monkeypatch, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "process: {name: z, subprocesses: ['WeakSingleBoson:ffbar2gmZ'], underlying_event: false, "
        "settings: {'HadronLevel:all': 'off'}}"
    )
    words = ["generate", "-c", str(mine), "--output", str(tmp_path), "--workers", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--events", "20", "--events-per-file", "10", "--task", "1/2"])
    assert main() == 0
    assert capsys.readouterr().out == f"{tmp_path}/z_0001.hdf5: 10 events of 10 generated\n"
    monkeypatch.setattr(sys, "argv", [*words, "--input", str(lhe(tmp_path / "b.lhe")), "--seed", "3"])
    assert main() == 0
    assert "3 events of 3 read" in capsys.readouterr().out
    assert {path.name for path in tmp_path.glob("*.hdf5")} == {"z_0001.hdf5", "b.hdf5"}
