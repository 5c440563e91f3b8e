"""Samples of the search: physics of signal and backgrounds, weights, folds, masses, who makes them, what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import shipped
from collisions import needed

from collider.generation import Cuts, EventFilter, EventGenerator, Process, Wanted
from collider.generation.files import write_files
from collider.higgs.making.command import in_turn, main, plan
from collider.higgs.making.config import ROLES, HiggsConfig, search_path
from collider.higgs.making.processes import BACKGROUNDS, CLASSES, signal_process, trilepton_cuts
from collider.higgs.making.samples import (
    HiggsColumns,
    drawn_points,
    folds_of,
    missing_files,
    samples_of,
    write_manifest,
)
from collider.higgs.quantities import high_level_quantities
from reconstruction.errors import UserError

ak = needed("awkward")
LOOSE_CUTS = {
    name: dataclasses.replace(cuts, jets=Wanted(), b_jets=Wanted()) for name, cuts in trilepton_cuts().items()
}


def quick(**more):
    """A search whose non-prompt background is a second sample of dibosons: tops take minutes."""
    config = HiggsConfig(
        {"trained": ((130.0, 90.0), (115.0, 85.0)), "edge": ((100.0, 95.0),)},
        events={"edge": 20},
        underlying_event=False,
        selection=LOOSE_CUTS,
        weigh_b_tags=(),
    )
    return dataclasses.replace(config, backgrounds={"nonprompt": config.processes()["diboson"]}, **more)


CONFIG = quick()


def content(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    samples = samples_of(CONFIG, 35, 8, folder, 40)
    write_files([file for sample in samples for file in sample.files])
    write_manifest(CONFIG, samples, folder)
    manifest = json.loads((folder / "samples.json").read_text())
    columns = {}
    for name, entry in manifest["samples"].items():
        parts = [content(folder / path) for path in entry["files"]]
        columns[name] = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return folder, manifest, columns


def test_a_manifest_lists_what_is_there(made):
    _, manifest, columns = made
    samples = manifest["samples"]
    assert list(samples) == ["signal_130_90", "signal_115_85", "signal_100_95", "nonprompt", "diboson", "ttx"]
    assert [entry["role"] for entry in samples.values()] == ["trained", "trained", "edge"] + ["background"] * 3
    assert samples["signal_130_90"]["mass_charged_higgs_gev"] == 130
    assert samples["ttx"]["files"] == ["ttx/events_0000.hdf5"]
    assert [entry["events"] for entry in samples.values()] == [35, 35, 20, 8, 8, 8]
    for name, entry in samples.items():
        assert len(columns[name]["event_id"]) == entry["events"] == sum(entry["channels"].values())
        assert entry["generated"] > entry["passed_filter_hard"] > entry["passed_filter_final"] >= entry["events"]


def test_columns_are_those_of_the_layout(made):
    _, manifest, columns = made
    assert manifest["classes"] == {name: code for code, name in enumerate(CLASSES)}
    for name, found in columns.items():
        assert set(found["class"]) == {CLASSES.index(name.partition("_")[0])}
        assert found["object_pt_gev"].shape[1] == 14
        assert set(found["fold"]) <= set(range(5))
        assert (found["weight"] > 0).all()
        masses = set(zip(found["mass_charged_higgs_gev"], found["mass_a_gev"], strict=True))
        own = (
            {tuple(map(float, name.split("_")[1:]))} if name.startswith("signal") else {(130, 90), (115, 85), (100, 95)}
        )
        assert masses == own
    ids = np.concatenate([found["event_id"] for found in columns.values()])
    assert len(np.unique(ids)) == len(ids)


def test_weights_sum_to_the_events_that_are_expected(made):
    """Luminosity times cross-section times the share that is kept: here 138/fb and 1000 fb a pb."""
    folder, manifest, columns = made
    for name, entry in manifest["samples"].items():
        expected = 138 * 1000 * entry["cross_section_pb"] * entry["events"] / entry["generated"]
        assert columns[name]["weight"].sum() == pytest.approx(entry["expected_events"])
        assert entry["expected_events"] == pytest.approx(expected, rel=0.1)  # each file has a share of its own
        one = content(folder / entry["files"][0])
        visible = one["weight_pb"].sum() * 138e3
        assert one["weight"].sum() == pytest.approx(visible * len(one["weight"]) / entry["events"])
    # 833.9 pb twice, and one of 100 000 pairs
    assert manifest["samples"]["signal_130_90"]["cross_section_pb"] == pytest.approx(0.016678)


def test_muons_of_the_signal_have_the_mass_of_a(made):
    for name, mass in (("signal_130_90", 90), ("signal_115_85", 85), ("signal_100_95", 95)):
        columns = made[2][name]
        of_one_pair = columns["channel"] == 0
        found = high_level_quantities(columns)["muon_pair_mass_gev"][of_one_pair]
        assert abs(np.median(found) - mass) < 1.5
        assert np.mean(np.abs(found - mass) < 6) > 0.8


def test_charges_are_alike(made):
    columns = made[2]
    signal = [columns[name] for name in columns if name.startswith("signal")]
    leptons = [(one["object_charge"] * (one["object_kind"] > 1)).sum(axis=1) for one in signal]
    charge = np.concatenate(leptons)
    assert set(charge) == {-1, 1}
    assert abs(charge.sum()) < 4 * np.sqrt(len(charge))


def test_at_the_edge_the_w_is_far_off_its_mass_shell():
    """5 GeV are left for the W of (100, 95); at (165, 80) it may be real."""
    for point, low, high in (((100.0, 95.0), 0.1, 5.1), ((165.0, 80.0), 60, 87)):
        process = dataclasses.replace(
            signal_process(*point, 1.0, underlying_event=False),
            filter=EventFilter(),
            settings={"Higgs:useBSM": "on", "PartonLevel:ISR": "off", "HadronLevel:all": "off"},
        )
        particles = EventGenerator(process, 1).batch(25).particles
        of_higgs = (abs(particles.pdg_id) == 24) & (abs(particles.pdg_id[particles.mother]) == 37)
        masses = ak.flatten(particles.mass[of_higgs]).to_numpy()
        assert len(masses) == 25
        assert low < np.median(masses) < high
        assert masses.max() < point[0] - point[1] + 2


def test_who_makes_the_files_changes_nothing(tmp_path, monkeypatch, capsys):
    """Two tasks of an array job, the second first, against one run; then the manifest."""
    cheap = Process("z", ("WeakSingleBoson:ffbar2gmZ",), underlying_event=False, settings={"PartonLevel:all": "off"})
    config = HiggsConfig(
        {"trained": ((130.0, 90.0),)},
        backgrounds=dict.fromkeys(BACKGROUNDS, cheap),
        selection={"all": Cuts()},
        channels=("all",),
        weigh_b_tags=(),
        underlying_event=False,
    )
    monkeypatch.setattr("collider.higgs.making.command.HiggsConfig.from_yaml", lambda path: config)
    two, one = tmp_path / "two", tmp_path / "one"
    options = ["--events=3", "--background-events=3", "--workers=1"]
    for task in ("1/2", "0/2", "0/2"):
        words = [*options, f"--output={two}", f"--task={task}"]
        monkeypatch.setattr(sys, "argv", ["higgs.py", *words])
        assert main() == 0
    said = capsys.readouterr().out
    assert "2 of 4 files are not there yet; samples.json is written with the last of them" in said
    assert "0 files to make with 0 events; 2 are there already" in said
    assert said.count(f"{two / 'samples.json'}: 4 samples") == 2
    monkeypatch.setattr(sys, "argv", ["higgs.py", *options, f"--output={one}"])
    assert main() == 0
    assert (one / "samples.json").read_text() == (two / "samples.json").read_text()
    for path in one.rglob("*.hdf5"):
        first, other = content(path), content(two / path.relative_to(one))
        for name in first:
            np.testing.assert_array_equal(first[name], other[name])


def test_what_is_added_changes_without_a_new_event(made, tmp_path, monkeypatch):
    """Twice the luminosity, three folds, another prior: no event is generated for that."""
    monkeypatch.setattr("collider.generation.files.EventGenerator", None)
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    other = dataclasses.replace(CONFIG, luminosity_fb=276.0, folds=3, prior=("edge",))
    samples = samples_of(other, 35, 8, tmp_path, 40)
    write_files([file for sample in samples for file in sample.files])
    for name in ("signal_130_90", "ttx"):
        before, after = (content(folder / name / "events_0000.hdf5") for folder in (made[0], tmp_path))
        assert before.keys() == after.keys()
        np.testing.assert_array_equal(after["object_pt_gev"], before["object_pt_gev"])
        np.testing.assert_allclose(after["weight"], 2 * before["weight"])
        assert set(after["fold"]) == {0, 1, 2}
    assert set(after["mass_a_gev"]) == {95.0}


def test_folds_and_masses_are_a_matter_of_the_identity():
    ids = np.arange(20_000, dtype=np.int64) * 7 + (5 << 40)
    folds = folds_of(ids, 5)
    order = np.random.default_rng(1).permutation(len(ids))
    np.testing.assert_array_equal(folds_of(ids[order], 5), folds[order])
    np.testing.assert_array_equal(folds_of(ids[:7], 5), folds[:7])
    assert np.abs(np.bincount(folds, minlength=5) - 4000).max() < 5 * np.sqrt(4000)
    points = ((100.0, 85.0), (130.0, 90.0), (160.0, 95.0))
    drawn = drawn_points(ids, points)
    np.testing.assert_array_equal(drawn_points(ids[order], points), drawn[order])
    for point in points:
        chosen = (drawn == point).all(axis=1)
        assert abs(chosen.sum() - len(ids) / 3) < 5 * np.sqrt(len(ids) / 3)
        shares = np.bincount(folds[chosen], minlength=5) / chosen.sum()
        assert np.abs(shares - 0.2).max() < 0.03  # folds and masses have nothing to do with each other


def test_what_it_takes_is_said_before(tmp_path):
    samples = samples_of(CONFIG, 1000, 500, tmp_path, 500)
    files = in_turn(samples)
    assert [file.path.parent.name for file in files[:1]] == ["nonprompt"]
    assert len(missing_files(samples)) == len(files) == 2 + 2 + 1 + 3
    text = plan(samples, files, 2)
    assert text.startswith("6 samples, 8 files to make with 3520 events: about ")
    assert "with 2 workers, 1 MB" in text


# What cannot be -----------------------------------------------------------------------------------------------------

BAD = [
    ({"points": {"training": ((130, 90),)}}, "points of a search: there is no 'training'"),
    ({"prior": ("trianed",)}, "prior of a search: there is no 'trianed'.*trained"),
    ({"points": {"map": ((130.0, 90.0),)}, "events": {}}, "no mass point is trained or edge"),
    ({"points": {"trained": ()}, "events": {}}, "no mass point is trained or edge"),
    ({"points": {"trained": ((130.0, 90.0),), "edge": ((130.0, 90.0),)}}, "mass point signal 130 90 stands twice"),
    ({"points": {"trained": ((90.0, 95.0),)}, "events": {}}, "of 90 GeV cannot decay to W and A of 95 GeV"),
    ({"points": {"trained": ((100.0, 99.0),)}, "events": {}}, "leave 2 GeV or more for the W"),
    ({"points": {"trained": ((170.0, 90.0),)}, "events": {}}, "no top quark decays to a charged Higgs boson of 170"),
    ({"events": {"trained": 0}}, "events of trained points must be 1 or more"),
    ({"events": {"map": 5}}, "events of a search: there is no 'map'"),
    ({"channels": ("2e1mu",)}, "channels of a search: there is no '2e1mu'"),
    ({"channels": ()}, "channels must be some of 1e2mu, 3mu"),
    ({"channels": ("3mu", "3mu")}, "each once"),
    ({"folds": 0}, "folds must be from 1 to 100"),
    ({"luminosity_fb": -1.0}, "luminosity_fb must be more than 0"),
    ({"luminosity_fb": float("inf")}, "finite"),
    ({"branching_ratio": 0.0}, "branching_ratio between 0 and 1"),
    ({"weigh_b_tags": ("wz",)}, "weigh_b_tags of a search: there is no 'wz'"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_what_cannot_be_searched_is_one_sentence(change, message):
    with pytest.raises(UserError, match=message) as raised:
        dataclasses.replace(CONFIG, **change)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("points: {trained: [[130, 90, 3]]}", "must hold 2 values, not 3"),
        ("points: {trained: [[130, heavy]]}", "must be of type float, not 'heavy'"),
        ("points: {trained: 130}", "must be a list"),
        ("trained: [[130, 90]]", "a search names its mass points"),
        ("points: {trained: [[130, 90]]}\nchanels: [3mu]", "unknown key 'chanels'.*channels"),
        ("points: {trained: [[130, 90]]}\nbackgrounds: {wz: {name: wz, subprocesses: [a]}}", "there is no 'wz'"),
        ("points: {trained: [[130, 90]]}\nbackgrounds: {ttx: {lhe_file: a.lhe}}", "Process lacks 'name'"),
        ("", "a search names its mass points"),
    ],
)
def test_a_file_that_says_no_search_is_one_sentence(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        HiggsConfig.from_yaml(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_set_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"no set of mass points 'sevn'.*seven"):
        search_path("sevn")


@pytest.mark.parametrize(
    ("weights", "message"),
    [([1.0, -1.0], "event 1 of the ttx sample has the weight -1 pb"), ([0.0, 0.0], "weights of the ttx sample sum to")],
)
def test_weights_that_no_network_can_learn_with_are_refused(weights, message):
    columns = HiggsColumns("ttx", ((130.0, 90.0),), 138.0, 5, 1.0, 1)
    with pytest.raises(UserError, match=message):
        columns.columns({"weight_pb": np.array(weights), "event_id": np.arange(2)})


# What comes along ---------------------------------------------------------------------------------------------------


def test_the_sets_that_come_along():
    for path in shipped.higgs_points():
        assert search_path(path.stem) == path
        assert isinstance(HiggsConfig.from_yaml(path), HiggsConfig)
    with pytest.raises(UserError, match="no set of mass points 'small'"):  # a training
        search_path("small")
    points = HiggsConfig.from_yaml(search_path("points")).points
    assert {role: len(some) for role, some in points.items()} == {
        "trained": 11,
        "edge": 1,
        "interpolated": 3,
        "extrapolated": 2,
    }
    seven = HiggsConfig.from_yaml(search_path("seven"))
    assert len(seven.prior_points) == 7
    assert len(seven.points["validation"]) == 3
    assert set(seven.points) <= set(ROLES)


def test_more_than_fifteen_points_need_no_program(tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text(json.dumps({"points": {"trained": [[100 + 4 * i, 85] for i in range(16)]}}))
    samples = samples_of(HiggsConfig.from_yaml(path), 10, 10, Path("unused"), 10)
    assert len(samples) == 19
    assert len({sample.files[0].config.process.name for sample in samples}) == 19
