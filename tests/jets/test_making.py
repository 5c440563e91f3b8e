"""Jets that are made: classes, matching, impact parameters, substructure, flat spectra, files."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from collider.generation import EventGenerator
from collider.generation.substructure import soft_drop_mass, subjettiness
from collider.generation.wheels import wheel
from collider.jets.command import expected, main
from collider.jets.making import files as made
from collider.jets.making.classes import KINDS, LABELS, NAMES
from collider.jets.making.config import JetSample
from collider.jets.making.files import JetFile, jet_files, write_jet_file
from collider.jets.making.seen import jet_columns
from collider.jets.making.tracks import ImpactParameters, true_impact
from collider.jets.making.truth import decayed, matched
from collider.jets.schema import COLUMNS, JET_COLUMNS, PARTICLE_COLUMNS
from reconstruction.errors import UserError
from reconstruction.random.keyed import KeyedRandom

pytestmark = pytest.mark.usefixtures("wheels")
SMALL = JetSample(classes=("QCD", "Tbqq"), pt_gev=(200.0, 300.0), radius=1.5, pt_bins=2, underlying_event=False, seed=3)


def content(folder):
    """All columns of a folder, by class."""
    found = {}
    for path in sorted(folder.glob("*.hdf5")):
        with h5py.File(path) as file:
            columns = {name: file[name][:] for name in file}
        kind = path.stem.partition("_")[0]
        parts = found.setdefault(kind, [])
        parts.append(columns)
    return {
        kind: {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for kind, parts in found.items()
    }


# Files --------------------------------------------------------------------------------------------------------------


def test_a_file_has_the_columns_of_jetclass_and_what_they_say(generated):
    found = content(generated)
    assert set(found) == {"QCD", "Tbqq"}
    for kind, columns in found.items():
        assert {*PARTICLE_COLUMNS, *JET_COLUMNS, *LABELS, "jet_genmass", "jet_mass", "event_id"} <= set(columns)
        assert len(columns["jet_pt"]) == 8
        assert (columns[f"label_{kind}"] == 1).all()
        assert sum(int(columns[label].sum()) for label in LABELS) == 8
        assert columns["part_px"].shape == (8, 128)
        _check_particles(columns)
    with h5py.File(generated / "QCD_0000.hdf5") as file:
        assert file["part_d0val"].attrs["units"] == "mm"
        assert file["jet_genmass"].attrs["units"] == "GeV"
        assert {"config", "seed", "git_commit", "created_by", "libraries", "generated"} <= set(file.attrs)


def _check_particles(columns):
    there = columns["part_energy"] > 0
    np.testing.assert_array_equal(there.sum(1), np.minimum(columns["jet_nparticles"], 128))
    pt = np.hypot(columns["part_px"], columns["part_py"])
    assert (np.diff(pt, axis=1)[there[:, 1:]] <= 1e-4).all()
    four = [columns[f"part_{name}"].astype(float).sum(1) for name in ("px", "py", "pz", "energy")]
    np.testing.assert_allclose(np.hypot(four[0], four[1]), columns["jet_pt"], rtol=1e-4)
    mass = np.sqrt(np.maximum(four[3] ** 2 - sum(one**2 for one in four[:3]), 0))
    np.testing.assert_allclose(mass, columns["jet_mass"], rtol=1e-3, atol=0.05)
    side = np.where(columns["jet_eta"] > 0, 1, -1)
    eta = np.arcsinh(columns["part_pz"][:, 0] / pt[:, 0])
    np.testing.assert_allclose(columns["part_deta"][:, 0], (eta - columns["jet_eta"]) * side, atol=2e-4)
    types = sum(columns[f"part_is{one}"] for one in ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon"))
    np.testing.assert_array_equal(types, there)
    neutral = there & (columns["part_charge"] == 0)
    assert (columns["part_d0err"][neutral] == 0).all()
    assert (columns["part_d0err"][there & ~neutral] > 0).all()
    assert (columns["jet_sdmass"] <= columns["jet_mass"] * 1.001).all()


def test_every_class_has_the_same_flat_spectrum(generated):
    for columns in content(generated).values():
        counts = np.histogram(columns["jet_pt"], [200, 250, 300])[0]
        np.testing.assert_array_equal(counts, [4, 4])


def test_the_jet_that_was_seen_is_that_of_the_particles(generated):
    columns = content(generated)["Tbqq"]
    ratio = columns["jet_pt"] / columns["jet_genpt"]
    assert 0.85 < np.median(ratio) < 1.02
    assert (np.abs(ratio - 1) < 0.5).all()
    assert (np.abs(columns["aux_genpart_pid"]) == 6).all()
    assert (content(generated)["QCD"]["aux_genpart_pid"] == 0).all()


def test_who_makes_the_files_changes_nothing(generated, tmp_path):
    again = next(file for file in jet_files(SMALL, 16, tmp_path, 8) if file.kind.name == "QCD")
    assert write_jet_file(again) > 0
    with h5py.File(again.path) as one, h5py.File(generated / again.path.name) as other:
        assert all(np.array_equal(one[name][:], other[name][:]) for name in other)
    ids = np.concatenate([columns["event_id"] for columns in content(generated).values()])
    assert len(np.unique(ids)) == 16


def test_other_jets_in_the_place_are_refused(generated):
    file = jet_files(SMALL, 16, generated, 8)[0]
    assert write_jet_file(file) == 0
    for other in (dataclasses.replace(SMALL, seed=4), dataclasses.replace(SMALL, eta=1.5)):
        with pytest.raises(UserError, match="holds other events"):
            write_jet_file(dataclasses.replace(file, sample=other))
    alone = dataclasses.replace(SMALL, classes=("QCD",))
    assert write_jet_file(dataclasses.replace(file, sample=alone)) == 0  # other classes make no difference


@pytest.mark.parametrize("count", [1, 3, 10, 37])
def test_places_of_a_spectrum_are_as_many_as_jets(count, tmp_path):
    sample = JetSample()
    shares = [JetFile(sample, KINDS[0], start, start + count, tmp_path).places for start in range(0, 10 * count, count)]
    assert all(one.sum() == count for one in shares)
    assert max(one.max() - one.min() for one in shares) <= 1
    assert (sum(shares) == count).all()  # the ten files together are flat, whatever one of them divides into


def test_a_spectrum_that_cannot_be_filled_ends(tmp_path, monkeypatch):
    """Jets of one bin alone, whatever is generated."""
    one = {"jet_pt": np.full(3, 210.0)}
    monkeypatch.setattr(made, "jet_columns", lambda *_: (one, np.arange(3)))
    monkeypatch.setattr(made, "FUTILE", 40)
    monkeypatch.setattr(made, "EventGenerator", lambda *_: SimpleNamespace(batch=range))
    with pytest.raises(UserError, match=r"events of the class QCD filled 20 of 40 places from 200 to 300 GeV"):
        write_jet_file(jet_files(dataclasses.replace(SMALL, classes=("QCD",)), 40, tmp_path)[0])
    assert list(tmp_path.iterdir()) == []


# Matching -----------------------------------------------------------------------------------------------------------


def event_of(*particles):
    """One event of particles (code, mother, pt, eta, phi)."""
    ak = wheel("awkward")
    codes, mothers, pt, eta, phi = (np.array(column) for column in zip(*particles, strict=True))
    columns = {"pdg_id": codes, "mother": mothers, "px": pt * np.cos(phi), "py": pt * np.sin(phi)}
    columns["pz"] = pt * np.sinh(eta)
    return ak.zip({"particles": ak.unflatten(ak.zip(columns), [len(codes)])}, depth_limit=1)


TOP = (
    (6, -1, 600, 0.0, 0.0),
    (21, 0, 5, 2.0, 2.0),  # radiated before the decay
    (6, 0, 590, 0.0, 0.0),
    (5, 2, 200, 0.2, 0.1),
    (24, 2, 390, 0.0, -0.1),
    (24, 4, 380, 0.0, -0.1),
    (2, 5, 200, -0.3, 0.0),
    (-1, 5, 180, 0.1, -0.4),
    (24, -1, 80, 3.0, 3.0),  # of something else
    (13, 8, 50, 3.0, 3.0),
)


def test_the_products_of_a_decay_are_found_through_copies():
    found = decayed(event_of(*TOP), 6, 3)
    assert found.code.tolist() == [6]
    np.testing.assert_allclose(found.pt, [590])
    np.testing.assert_allclose(sorted(found.product_eta[0]), [-0.3, 0.1, 0.2])
    assert len(decayed(event_of(*TOP), 6, 2).event) == 0
    assert len(decayed(event_of(*TOP), 25, 3).event) == 0
    leptonic = (*TOP[:6], (-11, 5, 200, -0.3, 0.0), (12, 5, 180, 2.5, 2.5))
    assert decayed(event_of(*leptonic), 6, 2).product_eta.shape == (1, 2)  # the neutrino may go where it likes


@pytest.mark.parametrize(("eta", "place"), [(0.0, 1), (0.65, 0), (2.0, -1)])
def test_a_jet_holds_all_products_or_is_none(eta, place):
    """Two jets of the event: one of its own beside, and the one that moves away from the decay."""
    ak = wheel("awkward")
    jets = ak.zip({"pt": [[700.0, 600.0]], "eta": [[0.4 if place == 0 else 3.0, eta]], "phi": [[0.0, 0.0]]})
    best, decay = matched(jets, decayed(event_of(*TOP), 6, 3), 0.8)
    assert best.tolist() == [place]
    assert decay.tolist() == [0 if place >= 0 else -1]


def test_the_hardest_of_two_jets_that_hold_it_is_taken():
    ak = wheel("awkward")
    jets = ak.zip({"pt": [[700.0, 600.0]], "eta": [[0.1, 0.0]], "phi": [[0.0, 0.0]]})
    assert matched(jets, decayed(event_of(*TOP), 6, 3), 0.8)[0].tolist() == [0]


# Impact parameters, substructure ------------------------------------------------------------------------------------


def test_impact_parameters_are_those_of_a_loop():
    """The slow way: the nearest of many points of the line."""
    random = np.random.default_rng(1)
    momenta, vertices = random.normal(size=(3, 8)), 3 * random.normal(size=(3, 8))
    d0, dz = true_impact(*momenta, *vertices)
    for place in range(8):
        p, x = momenta[:, place], vertices[:, place]
        along = np.linspace(-50, 50, 200_001) / math.hypot(p[0], p[1])
        points = x[:, None] + along * p[:, None]
        nearest = np.argmin(np.hypot(points[0], points[1]))
        assert abs(d0[place]) == pytest.approx(np.hypot(*points[:2, nearest]), abs=1e-3)
        assert dz[place] == pytest.approx(points[2, nearest], abs=1e-2)
        assert np.sign(d0[place]) == np.sign(x[0] * p[1] - x[1] * p[0])


def test_resolutions_grow_where_tracks_scatter():
    impact = ImpactParameters()
    d0, dz = impact.sigma(np.array([1.0, 10.0, 1e4, 1.0]), np.array([0.0, 0.0, 0.0, 2.0]))
    assert d0[2] == pytest.approx(0.010, rel=1e-3)
    assert d0[0] == pytest.approx(math.hypot(0.010, 0.080))
    assert d0[3] > d0[0] > d0[1]
    assert (dz > d0).all()
    assert dz[3] == pytest.approx(math.hypot(0.020, 0.100 * math.cosh(2) ** 1.5))


def lists(*jets):
    """Massless particles (pt, eta, phi) of jets."""
    ak = wheel("awkward")
    columns = {
        name: [[function(*one) for one in jet] for jet in jets]
        for name, function in {
            "px": lambda pt, eta, phi: pt * math.cos(phi),
            "py": lambda pt, eta, phi: pt * math.sin(phi),
            "pz": lambda pt, eta, phi: pt * math.sinh(eta),
            "energy": lambda pt, eta, phi: pt * math.cosh(eta),
        }.items()
    }
    return ak.zip(columns)


TWO = ((100.0, 0.2, 0.0), (80.0, -0.2, 0.1), (90.0, 0.21, 0.02), (1.0, 0.5, -0.5))


def test_subjettiness_is_that_of_a_loop():
    """Axes that are known: two prongs of one particle and of two that are close."""
    tau = subjettiness(lists(TWO[:3], TWO[:1]), 0.8)
    total = 270.0
    (px, py, pz) = (
        sum(f(*one) for one in (TWO[0], TWO[2]))
        for f in (
            lambda pt, eta, phi: pt * math.cos(phi),
            lambda pt, eta, phi: pt * math.sin(phi),
            lambda pt, eta, phi: pt * math.sinh(eta),
        )
    )
    axis = (math.asinh(pz / math.hypot(px, py)), math.atan2(py, px))
    expected = sum(one[0] * math.hypot(one[1] - axis[0], one[2] - axis[1]) for one in (TWO[0], TWO[2]))
    assert tau[0, 1] == pytest.approx(expected / (total * 0.8), rel=1e-3)
    assert tau[0, 0] > 5 * tau[0, 1]
    assert tau[0, 2] == tau[0, 3] == 0
    assert (tau[1] == 0).all()


def mass_of_all(jet):
    pairs = itertools.combinations(jet, 2)
    return math.sqrt(sum(2 * a[0] * b[0] * (math.cosh(a[1] - b[1]) - math.cos(a[2] - b[2])) for a, b in pairs))


def test_soft_drop_takes_the_soft_particle_away():
    found = soft_drop_mass(lists(TWO, (TWO[0], TWO[3])), 0.8)
    assert found[0] == pytest.approx(mass_of_all(TWO[:3]), rel=1e-4)
    assert found[1] == pytest.approx(0, abs=1e-3)


WIDE = ((100.0, 0.6, 0.0), (90.0, -0.6, 0.0), (2.0, 0.0, 0.7))
"""Prongs on both sides of the axis, further from each other than the radius: heavy particles of little momentum."""


def test_prongs_on_both_sides_of_a_jet_belong_to_it():
    assert soft_drop_mass(lists(WIDE[:2]), 0.8)[0] == pytest.approx(mass_of_all(WIDE[:2]), rel=1e-4)
    tau = subjettiness(lists(WIDE), 0.8)[0]
    px, pz = (sum(one[0] * f(one) for one in WIDE[:2]) for f in (lambda _: 1, lambda one: math.sinh(one[1])))
    energy = sum(one[0] * math.cosh(one[1]) for one in WIDE)
    soft = WIDE[2]
    axis_y = 0.5 * math.log((energy + pz) / (energy - pz))
    axis_phi = math.atan2(soft[0] * math.sin(soft[2]), px + soft[0] * math.cos(soft[2]))
    away = sum(one[0] * math.hypot(one[1] - axis_y, one[2] - axis_phi) for one in WIDE)
    assert tau[0] == pytest.approx(away / (192 * 0.8), rel=1e-6)
    assert tau[1] < 0.03


def test_events_without_such_a_jet_are_none(generated):
    """Batches of rare classes may hold none: that is no mistake."""
    few = dataclasses.replace(SMALL, pt_gev=(6000.0, 6400.0))
    events = EventGenerator(SMALL.process(KINDS[0]), 5).batch(2)
    columns, rows = jet_columns(KINDS[0], few, events, KeyedRandom(5, 0, torch.arange(2)))
    assert len(rows) == 0
    assert {len(values) for values in columns.values()} == {0}


# Configurations and the command -------------------------------------------------------------------------------------


def test_each_class_is_a_process_that_can_be():
    for kind in KINDS:
        process = kind.process(13000.0, (500.0, 1000.0), True)
        assert process.smallest_pt_gev == 450
        assert any("bias2SelectionPow" in command for command in process.commands())
    assert [kind.code for kind in KINDS] == list(range(10))
    assert tuple(f"label_{name}" for name in NAMES) == LABELS
    assert {name for name in JET_COLUMNS if not name.startswith("jet_tau")} <= set(COLUMNS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [Hbb, Hbc]", r"there is no class of jets 'Hbc' \(did you mean 'H\w\w'\?\): ours are QCD"),
        ("classes: [Hbb, Hbb]", "are named once each"),
        ("pt_gev: [500, 400]", "from one value of 20 or more to a larger one"),
        ("pt_bins: 0", "pt_bins of jets must be from 1 to 1000"),
        ("radios: 0.8", r"unknown key 'radios' .*did you mean 'radius'"),
        ("impact: {d0_constant_mm: 0}", "impact.d0_constant_mm must be more than 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_sentence(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        JetSample.from_yaml(path)
    assert str(path) in str(raised.value)


def test_the_command_says_time_and_disk_and_goes_on(generated, tmp_path, monkeypatch, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "{classes: [QCD, Tbqq], pt_gev: [200, 300], pt_bins: 2, underlying_event: false, radius: 1.5, seed: 3}"
    )
    words = ["jets.py", "-c", str(path), "--workers", "1", "--jets-per-file", "8"]
    monkeypatch.setattr(sys, "argv", [*words, "--events", "16", "--output", str(generated), "--task", "1/2"])
    assert main() == 0
    said = capsys.readouterr().out
    assert "0 jets to make: about 0 min with 1 worker, 0 MB" in said
    assert "Tbqq_0000.hdf5: 8 jets, there already" in said
    assert "QCD" not in said
    files = jet_files(JetSample(), 100_000, tmp_path / "none")
    assert len(files) == 100
    assert expected(files, 1).startswith("100000 jets to make: about 75 min with 1 worker, 200 MB")
