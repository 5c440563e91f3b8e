"""Configurations, data sets, the report and the command line."""

from __future__ import annotations

import dataclasses
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import h5py
import numpy as np
import pytest
import shipped
from hypothesis import given
from hypothesis import strategies as st

from collider.showers import Readout, Tuning, material
from collider.showers.checks import Check, corrected
from collider.showers.command import command_line, config_path, main
from collider.showers.config import GridConfig, MaterialConfig, ParticleConfig, ShowerConfig
from collider.showers.dataset import read_showers, shards_of, write_dataset, write_shard
from collider.showers.events import incident, observables, simulate_events
from collider.showers.report import write_report
from collider.showers.validation import _sample, shapes, validate
from reconstruction import errors
from reconstruction.errors import UserError

SMALL = ShowerConfig(particles=ParticleConfig(energy_gev=(1.0, 10.0)))


# Configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", shipped.showers(), ids=lambda path: path.stem)
def test_our_configurations_are_read_and_simulated(path):
    config = ShowerConfig.from_yaml(path)
    found = simulate_events(config, np.arange(4))
    assert found.cells_gev.shape == (4, *config.cells.shape)
    assert np.isfinite(found.cells_gev).all()
    # a calorimeter sees most of the energy that enters it, and noise adds nothing on the average
    seen = (
        simulate_events(config, np.arange(40)).cells_gev.sum((1, 2, 3))
        / incident(config, np.arange(40), "train").energy_gev
    )
    assert 0.6 < seen.mean() < 1.05


def test_a_variation_leaves_the_cells_where_they_are():
    nominal, dense = (ShowerConfig.from_yaml(config_path(name)) for name in ("pbwo4", "pbwo4_dense"))
    np.testing.assert_allclose(dense.cells.depth_edges_cm, 1.01 * np.array(nominal.cells.depth_edges_cm))
    assert dense.medium.radiation_length_cm == pytest.approx(nominal.medium.radiation_length_cm / 1.02)
    assert dense.medium.critical_energy_mev == pytest.approx(nominal.medium.critical_energy_mev)


BROKEN = {
    "materiall: Pb": "unknown key 'materiall' in the configuration (did you mean 'material'?)",
    "material: Pbx": "there is no material 'Pbx'",
    "material: {passive: Pb}": "passive_thickness_cm|no material ''",
    "material: {name: Pb, passive: W}": "material wants either a name",
    "material: {name: Pb, density: 100}": "material.density is a factor around 1",
    "grid: {kind: hexagonal}": "grid.kind is cylindrical or cartesian",
    "grid: {layers: 0}": "grid.layers must be from 1",
    "grid: {layers: many}": "grid, layers must be of type int, not 'many'",
    "grid: {radius_rm: 3}": "grid, radius_rm must be a list",
    "grid: {layer_x0: -1}": "grid.layer_x0 must be more than 0",
    "particles: {kinds: {muon: 1}}": "there is no shower of particle 'muon'",
    "particles: {kinds: {electron: -1}}": "frequencies of 0 or more",
    "particles: {energy_gev: [10, 1]}": r"particles.energy_gev is \[lowest, highest\]",
    "particles: {energy_gev: [0.001, 1]}": "where there is no shower in PbWO4 yet",
    "particles: {energy_gev: []}": "must be positive numbers",
    "particles: {spectrum: loguniform}": "did you mean 'log-uniform'",
    "particles: {angle_deg: 90}": "from 0 to less than 80",
    "readout: {noise: 1}": "unknown key 'noise' in the configuration, readout",
    "readout: {noise_gev: -1}": "readout.noise_gev must be 0 or more",
    "readout: {bits: 4, pedestal: 16}": "readout.pedestal must be counts",
    "tuning: {critical_energy: 0}": "tuning.critical_energy must be a positive factor",
    "dead_material_x0: -1": "dead_material_x0 must be 0 or more",
    "seed: -1": "seed must be from 0",
    "seed: 1.5": "seed must be of type int",
    "[1]": "must be a table of keys and values",
    "material: [": "is no YAML file",
}


@pytest.mark.parametrize("text", sorted(BROKEN))
def test_a_configuration_that_cannot_be_is_one_sentence(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=BROKEN[text].replace("(did", r"\(did").replace("?)", r"\?\)")) as raised:
        _ = ShowerConfig.from_yaml(path).cells
    assert "\n" not in str(raised.value)
    assert text == "material: [" or str(path) in str(raised.value) or "passive" in text


@given(st.integers(0, 2**32 - 1), st.sampled_from(["uniform", "log-uniform"]))
def test_what_enters_is_within_its_range(seed, spectrum):
    particles = ParticleConfig({"photon": 1, "pi+": 3}, (2.0, 7.0), spectrum)
    found = incident(ShowerConfig(particles=particles, seed=seed), np.arange(200), "train")
    assert ((found.energy_gev >= 2) & (found.energy_gev <= 7)).all()
    assert set(found.particle.tolist()) <= {22, 211}
    assert 0.55 < (found.particle == 211).mean() < 0.92


def test_observables_are_sums_of_the_cells():
    """Against loops over cells."""
    for config in (SMALL, dataclasses.replace(SMALL, grid=GridConfig("cartesian", cells=5))):
        found = simulate_events(config, np.arange(3))
        made = observables(found, config.cells, config.medium.radiation_length_cm)
        for i in range(3):
            flat = found.cells_gev[i].ravel()
            rings = np.zeros(made.rings_gev.shape[1])
            edges = np.asarray(getattr(config.cells, "radius_edges_cm", None) or np.arange(4) * 0.5 * 2.1536)
            for value, (x, y, _) in zip(flat, config.cells.centres_cm, strict=True):
                ring = np.searchsorted(edges, np.hypot(x, y), side="right") - 1
                if ring < len(rings):
                    rings[ring] += value
            np.testing.assert_allclose(made.rings_gev[i], rings, rtol=1e-5)
            assert made.deposited_gev[i] == pytest.approx(flat.sum(), rel=1e-5)
            assert abs(made.depth_of_maximum_x0[i] - (found.cells_gev[i].sum((1, 2)).argmax() + 0.5)) <= 0.5


# Files -------------------------------------------------------------------------------------------------------------


def test_shards_and_tasks_are_the_whole(tmp_path):
    """Three tasks of an array job, in any order, make the events that one run makes."""
    whole = write_dataset(SMALL, tmp_path / "whole", {"train": 25, "validation": 5})
    for task in (2, 0, 1):
        write_dataset(SMALL, tmp_path / "parts", {"train": 25, "validation": 5}, shard_events=10, task=(task, 3))
    parts = [
        shard.path
        for split, n in (("train", 25), ("validation", 5))
        for shard in shards_of(split, n, tmp_path / "parts", 10)
    ]
    one, many = read_showers(whole), read_showers(parts)
    for field in dataclasses.fields(one):
        assert np.array_equal(getattr(one, field.name), getattr(many, field.name)), field.name
    train, validation = one.energy_gev[:5], one.energy_gev[25:]
    assert not np.isin(train, validation).any()


def test_a_shard_in_pieces_is_the_shard(tmp_path, monkeypatch):
    (whole,) = write_dataset(SMALL, tmp_path / "whole", {"train": 11})
    monkeypatch.setattr("collider.showers.dataset.PIECE_CELLS", 4 * SMALL.cells.cells)
    (pieces,) = write_dataset(SMALL, tmp_path / "pieces", {"train": 11})
    with h5py.File(whole) as first, h5py.File(pieces) as second:
        assert set(first) == set(second)
        assert all(np.array_equal(first[name], second[name]) for name in first)
        assert first.attrs["config"] == second.attrs["config"]


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write") as raised:
        write_dataset(SMALL, tmp_path / "file", {"train": 2})
    assert "\n" not in str(raised.value)


def test_what_is_complete_is_kept_and_what_is_another_is_refused(tmp_path):
    (shard,) = shards_of("train", 6, tmp_path)
    assert write_shard(shard, SMALL)
    before = shard.path.read_bytes()
    assert not write_shard(shard, SMALL)
    assert shard.path.read_bytes() == before
    with pytest.raises(UserError, match="holds other showers"):
        write_shard(shard, dataclasses.replace(SMALL, seed=9))
    with pytest.raises(UserError, match="holds other showers"):
        write_shard(dataclasses.replace(shard, stop=7), SMALL)
    shard.path.write_bytes(b"half")
    with pytest.raises(UserError, match="cannot be read as HDF5"):
        write_shard(shard, SMALL)


def test_the_layout_is_that_of_the_calochallenge(tmp_path):
    (path,) = write_dataset(SMALL, tmp_path, {"train": 4})
    with h5py.File(path) as file:
        assert file["incident_energies"].shape == (4, 1)
        assert file["showers"].shape == (4, SMALL.cells.cells)
        assert file["showers"].attrs["units"] == "MeV"
        assert {"created_by", "git_commit", "config", "seed", "sources"} <= set(file.attrs)
        showers, energies = file["showers"][:], file["incident_energies"][:]
    assert (showers.sum(1) / energies[:, 0] > 0.8).all()
    # radius runs first, then the angle, then the layer
    layers = ElementTree.parse(tmp_path / "binning.xml").getroot().findall("Particle[@name='electron']/Bin/Layer")
    sizes = [int(layer.get("n_bin_alpha")) * (len(layer.get("r_edges").split(",")) - 1) for layer in layers]
    assert sum(sizes) == showers.shape[1]
    first = showers[:, : sizes[0]].sum(1)
    np.testing.assert_allclose(first / 1e3, read_showers(path).cells_gev[:, 0].sum((1, 2)), rtol=1e-5)


def test_foreign_files_of_the_challenge_are_read(tmp_path):
    with h5py.File(tmp_path / "dataset_2_1.hdf5", "w") as file:
        file["incident_energies"], file["showers"] = np.full((3, 1), 5e3), np.ones((3, 6480))
    found = read_showers(tmp_path / "dataset_2_1.hdf5")
    assert found.energy_gev.tolist() == [5, 5, 5]
    assert found.cells_gev.sum() == pytest.approx(3 * 6.48, rel=1e-5)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["showers"] = np.ones((3, 6))
    with pytest.raises(UserError, match="has no incident_energies"):
        read_showers(tmp_path / "other.hdf5")
    with pytest.raises(UserError, match="there is no such file"):
        read_showers(tmp_path / "none.hdf5")
    with pytest.raises(UserError, match="no HDF5 file of showers"):
        read_showers(config_path("pbwo4").parent)


# The report --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "with_cascade"),
    [("Pb", True), ("PbWO4", False), ("Fe", False), ("Pb/LAr", False), ("scintillator", False)],
)
def test_the_simulation_passes(name, with_cascade):
    passive, _, active = name.partition("/")
    medium = MaterialConfig("", passive, active, 0.2, 0.4) if active else MaterialConfig(name)
    found = validate(ShowerConfig(medium, particles=ParticleConfig(energy_gev=(1.5, 40.0))), 250, with_cascade)
    assert [check.name for check in found.checks if not check.passed] == []
    assert len(found.cascades) == (3 if with_cascade else 0)


@pytest.mark.parametrize(
    ("broken", "found_by"),
    [
        ({"critical_energy": 1.2}, "mean of ln T"),
        ({"moliere_radius": 1.1}, "share within 0.25 R_M"),
        ({"rho": 1e-3}, "correlation of ln T and ln α"),
        ({"core_weight": 0.93}, "share within 0.25 R_M"),
        ({"sigma_ln_t": 1.2}, "width of ln T"),
        ({"sigma_ln_alpha": 0.8}, "width of ln α"),
    ],
    ids=lambda value: str(value),
)
def test_a_simulation_that_was_broken_on_purpose_fails(broken, found_by):
    particles = ParticleConfig(energy_gev=(1.5, 40.0))
    found = validate(ShowerConfig(particles=particles, tuning=Tuning(**broken)), 250, with_cascade=False)
    assert not found.passed
    assert any(check.name.startswith(found_by) for check in found.checks if not check.passed)


def test_shapes_are_measured_as_they_were_drawn():
    """From the cells alone, also where a shower is short and its layers are thick (Sheppard's correction)."""
    sample = _sample(SMALL, 1.0, 60, 0)
    log_t, log_alpha = shapes(sample, is_sampling=False)
    assert np.median(np.abs(log_t - np.log(sample.showers.t))) < 3e-4
    assert np.median(np.abs(log_alpha - np.log(sample.showers.alpha))) < 3e-4


def test_energy_that_is_lost_fails(monkeypatch):
    from collider.showers import spots

    whole = spots._shares
    monkeypatch.setattr(spots, "_shares", lambda *given: 0.99 * whole(*given))
    found = validate(SMALL, 40, with_cascade=False)
    assert "deposited over incident energy" in [check.name for check in found.checks if not check.passed]


def test_photons_that_do_not_travel_fail(monkeypatch):
    from collider.showers import sources

    monkeypatch.setattr(sources, "PHOTON", 0)
    found = validate(SMALL, 40, with_cascade=False)
    assert "mean depth of a photon's conversion" in [check.name for check in found.checks if not check.passed]


def test_a_cascade_of_another_material_is_not_agreed_with(monkeypatch):
    """With the cascade in scintillator (in its own X0) the maximum is elsewhere by ln of the ratio of E_c."""
    from collider.showers import validation

    other = dataclasses.replace(SMALL, material=MaterialConfig("scintillator"))
    honest = validation._cascade
    monkeypatch.setattr(validation, "_cascade", lambda _, energy: honest(other, energy))
    monkeypatch.setattr(validation, "CASCADE_GEV", 20.0)
    found = validate(SMALL, 100)
    assert {check.reference for check in found.checks if not check.passed} == {"cascade"}


def test_p_values_are_corrected_for_their_number():
    """Holm by hand: 0.01·4, then 0.02·3, then the larger of 0.06 and 0.03·2, then 0.5."""
    from scipy.stats import norm

    checks = [Check(str(p), "", norm.isf(p / 2), 0.0, 1.0, 0.0, "", "") for p in (0.03, 0.01, 0.5, 0.02)]
    assert [check.corrected_p for check in corrected(checks)] == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert Check("", "", 1.2, 1.0, 0.1, 0.3, "", "").p_value == 1
    assert Check("", "", 1.5, 1.0, 0.0, 0.3, "", "").p_value == 0


def test_the_report_names_what_failed(tmp_path):
    found = validate(dataclasses.replace(SMALL, tuning=Tuning(critical_energy=1.3)), 40, with_cascade=False)
    page = write_report(found, tmp_path).read_text()
    data = json.loads((tmp_path / "validation_report.json").read_text())
    assert data["passed"] is False
    assert "mean of ln T" in data["failed"]
    assert {"measured", "expected", "tolerance", "source", "p_value", "corrected_p"} <= set(data["checks"][0])
    assert f"{len(data['failed'])} failed" in page
    assert page.count("<img ") == 4
    assert "http" not in page


# The command -------------------------------------------------------------------------------------------------------


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["showers.py", *words])
    with pytest.raises(SystemExit) as ended:
        errors.run(main)
    return int(ended.value.code or 0)


def test_the_command_writes_the_files_of_a_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("collider.showers.command.EVENTS", 60)
    monkeypatch.setattr("collider.showers.validation.CASCADE_GEV", 10.0)
    Path("mine.yaml").write_text("particles: {energy_gev: [1, 10]}\n")
    words = ["-c", "mine.yaml", "--events", "12", "--validation-events", "3", "--samples", "1", "--seed", "3"]
    assert run(words, monkeypatch) == 0
    folder = tmp_path / "ml_dataset"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("train_dataset.json", "validation_dataset.json", "validation_report.json", "validation_report.html"),
        "shower_sample_0.png",
        *("train_dataset.hdf5", "validation_dataset.hdf5", "binning.xml"),
    }
    events = json.loads((folder / "train_dataset.json").read_text())
    assert len(events) == 12
    wanted = {"energy", "particle_type", "depth_profile", "lateral_profile", "total_energy_deposited"}
    assert wanted | {"shower_max_depth", "containment_fraction"} <= set(events[0])
    for event in events:
        assert sum(event["depth_profile"]) == pytest.approx(event["total_energy_deposited"], abs=1e-3)
        assert event["containment_fraction"] == pytest.approx(
            event["total_energy_deposited"] / event["energy"], abs=1e-4
        )
        assert event["lateral_profile"][0] == 1
    before = (folder / "train_dataset.hdf5").stat().st_mtime_ns
    monkeypatch.setattr("collider.showers.command._report", lambda *_: 0)
    assert run(words, monkeypatch) == 0
    assert (folder / "train_dataset.hdf5").stat().st_mtime_ns == before
    assert "there already" in capsys.readouterr().out
    assert run([*words[:-1], "4"], monkeypatch) == 2
    said = capsys.readouterr().err
    assert "holds other showers" in said
    assert said.count("\n") == 1


def test_a_broken_simulation_ends_with_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("collider.showers.command.EVENTS", 40)
    monkeypatch.setattr("collider.showers.validation.CASCADE_GEV", 10.0)
    (tmp_path / "mine.yaml").write_text("particles: {energy_gev: [1, 10]}\ntuning: {critical_energy: 1.3}\n")
    assert run(["-c", str(tmp_path / "mine.yaml"), "--validate", "--output", str(tmp_path)], monkeypatch) == 1
    assert "FAILED mean of ln T" in capsys.readouterr().out
    assert not (tmp_path / "train_dataset.hdf5").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-c", "pbwo"], "there is no calorimeter 'pbwo' (did you mean 'pbwo4'?)"),
        (["-c", "none.yaml"], "none.yaml cannot be read (there is no such file)"),
        (["--device", "cuda:99"], "argument --device: there is no device 'cuda:99'"),
        (["--events", "0"], "0 must be 1 or more"),
        (["--task", "3"], "'3' is not I/N"),
        (["--evnts", "3"], "there is no option --evnts"),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(words, monkeypatch) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_it_needs_no_arguments():
    given = command_line().parse_args([])
    assert (given.events, given.validation_events, str(given.output)) == (5000, 1000, "ml_dataset")


def test_readout_and_material_of_the_package_are_those_of_the_configuration():
    assert ShowerConfig().readout == Readout()
    assert ShowerConfig().medium == material("PbWO4")
