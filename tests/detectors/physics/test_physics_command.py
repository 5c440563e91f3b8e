"""From files to the report: what networks say, figures, and what the command refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from collider.detectors import DetectorEvents
from collider.detectors.learning.candidates import matched_particles
from collider.detectors.learning.columns import CLASSES, IDENTITY, MOMENTUM, UNTRACKED
from collider.detectors.learning.untracked import untracked_gev
from collider.detectors.physics import chain as chains
from collider.detectors.physics import command, report
from collider.detectors.physics.chain import NETWORK, RULES, TRUTH, Chain
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.flow import true_flow
from collider.detectors.physics.measures import identification, jet_figures
from collider.detectors.physics.spoken import spoken_by
from collider.detectors.system import SYSTEM
from reconstruction import schema
from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable

SECTIONS_OF = report.sections_of


@pytest.fixture
def tables(shot_objects, shot_part, tmp_path):
    """Return what writes tables that say the truth of the candidates that have one, of a part of the split."""

    def write(split: int = 2, shift: int = 0):
        true = true_flow(shot_part)
        particle = matched_particles(shot_part, shot_objects.heads, shot_objects.owner)
        ids = shot_objects.identity[shot_objects.heads]
        known = (particle >= 0) & (ids > 0)
        ids, particle = ids[known] + shift, particle[known]
        momentum, kind = np.linalg.norm(true.momentum_gev[particle], axis=1), true.kind[particle]
        columns = {"split": np.full(len(ids), split)}
        columns |= {schema.probability_name(name): np.where(kind == code, 0.96, 0.01) for name, code in CLASSES.items()}
        momenta = PredictionTable.from_estimates(
            ids,
            {MOMENTUM: momentum},
            estimator="oracle",
            std={MOMENTUM: momentum},
            observables={"split": columns["split"]},
            system=SYSTEM,
        )
        identity = PredictionTable.from_estimates(
            ids, {IDENTITY: kind}, estimator="oracle of kinds", observables=columns, system=SYSTEM
        ).with_attributes({"classes": json.dumps(CLASSES)})
        return identity.write(tmp_path / "identity.hdf5"), momenta.write(tmp_path / "momenta.hdf5")

    return write


def test_networks_that_know_the_truth_are_better_than_the_rules(shot_events, tables):
    identity, momenta = tables()
    config = PhysicsConfig()
    measured = Chain(DetectorEvents(shot_events), config, spoken_by(identity, [momenta])).measured()
    assert len(measured) == 40
    found = identification(measured, 50)
    assert found[NETWORK].macro.value == 1
    assert 0.9 < found[RULES].macro.value <= 1
    jets = jet_figures(measured, config, 50)[-1]
    assert set(jets.resolution) == {RULES, NETWORK}


def test_true_energies_without_a_track_are_what_events_hold(shot_events, shot_part, shot_objects, tmp_path):
    """Tracks, and beside them the true energies of what has none: events then balance better than by rules."""
    whole = DetectorEvents(shot_events)
    energies = untracked_gev(whole.read(slice(None)), shot_objects.candidate, len(shot_objects))
    rows = np.flatnonzero(shot_objects.identity)
    table = PredictionTable.from_estimates(
        shot_objects.identity[rows],
        {UNTRACKED: energies[rows]},
        estimator="oracle",
        observables={"split": np.full(len(rows), 2)},
        system=SYSTEM,
    )
    spoken = spoken_by(None, [], table.write(tmp_path / "untracked.hdf5"))
    measured = Chain(whole, PhysicsConfig(), spoken).measured()
    assert len(measured) == 40
    away = {flow: np.abs(measured.events[flow] - measured.events[TRUTH]) for flow in measured.flows}
    assert np.median(away[NETWORK]) < 0.5 * np.median(away[RULES])


def test_without_tables_there_are_the_rules_alone(chain):
    measured = chain.measured()
    assert measured.flows == (RULES,)
    assert set(measured.jets) == {RULES, TRUTH}
    assert np.isnan(measured.heads["probabilities"]).all()
    half = measured.kept(np.arange(40) % 2 == 0)
    assert len(half) == 20
    for name, table in (("heads", half.heads), ("particles", half.particles)):
        whole = getattr(measured, name)
        assert len(table["event"]) == (whole["event"] % 2 == 0).sum()
        np.testing.assert_array_equal(table["event"] * 2, whole["event"][whole["event"] % 2 == 0])
    for name in measured.jets:
        whole, found = measured.jets[name], half.jets[name]
        assert len(found)
        np.testing.assert_array_equal(found.event * 2, whole.event[whole.event % 2 == 0])
        np.testing.assert_array_equal(found.pt_gev, whole.pt_gev[whole.event % 2 == 0])


def test_the_same_particles_come_in_pieces(chain, monkeypatch):
    whole = chain.measured()
    monkeypatch.setattr(chains, "PIECE", 17)
    pieces = chain.measured()
    for name in whole.particles:
        np.testing.assert_array_equal(whole.particles[name], pieces.particles[name])
    np.testing.assert_allclose(whole.events[RULES], pieces.events[RULES])
    np.testing.assert_array_equal(whole.jets[RULES].event, pieces.jets[RULES].event)


def test_events_that_a_network_was_trained_on_are_no_test(shot_events, tables):
    identity, momenta = tables(split=0)
    with pytest.raises(UserError, match="no network was trained on"):
        command.found_in([shot_events], PhysicsConfig(), identity, [momenta], 10)


def test_events_are_judged_that_tables_of_both_kinds_hold(shot_events, shot_part, shot_objects, tables):
    """A table of a test split lacks what its network was trained on, though another network was not."""
    identity, momenta = tables()
    table = PredictionTable.read(momenta)
    late = np.isin(table.event_id, shot_objects.identity[shot_objects.event >= 30])
    table.select(late).write(momenta)
    judged = spoken_by(identity, [momenta]).judged_events(shot_objects.identity, shot_objects.event, len(shot_part))
    assert np.flatnonzero(judged).tolist() == list(range(30, 40))
    assert spoken_by(identity, []).judged_events(shot_objects.identity, shot_objects.event, 40).all()


def test_tables_of_other_events_are_refused(shot_events, tables):
    identity, momenta = tables(shift=1)
    with pytest.raises(UserError, match="of other events"):
        command.found_in([shot_events], PhysicsConfig(), identity, [momenta], 10)


def test_tables_of_other_things_are_refused(tables):
    identity, momenta = tables()
    with pytest.raises(UserError, match=r"identity.hdf5 estimates identity, not momentum_gev"):
        spoken_by(None, [identity])
    with pytest.raises(UserError, match=r"momenta.hdf5 estimates momentum_gev, not identity"):
        spoken_by(momenta, [])
    table = PredictionTable.read(momenta)
    table.with_attributes({"kind": "bound"}).write(momenta)
    with pytest.raises(UserError, match="bound"):
        spoken_by(None, [momenta])
    PredictionTable(
        {name: values for name, values in table.columns.items() if name != "split"}, table.attributes
    ).write(momenta)
    with pytest.raises(UserError, match="which rows its network was trained on"):
        spoken_by(None, [momenta])
    assert spoken_by(None, []) is None


def one_picture_each(findings):
    """The sections, with the first picture of each kind: time is for the tests."""
    sections = SECTIONS_OF(findings)
    return [
        replace(one, illustrations=tuple(replace(drawn, panels=drawn.panels[:1]) for drawn in one.illustrations))
        for one in sections
    ]


def test_the_command_writes_a_page_and_every_figure(shot_events, tables, tmp_path, monkeypatch, capsys):
    identity, momenta = tables()
    output = tmp_path / "out"
    given = [str(shot_events), "--identity", str(identity), "--momenta", str(momenta), "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["detectors_physics.py", *given, "--resamples", "20"])
    monkeypatch.setattr(report, "sections_of", one_picture_each)
    assert command.main() == 0
    told = capsys.readouterr().out
    assert "W → qq, network: no fit, 0 events between" in told
    found = json.loads((output / "physics.json").read_text())
    assert found["events"] == 40
    assert found["identification"]["network"]["macro"]["value"] == 1
    assert found["masses"]["z_mumu"]["fits"]["rules"]["no_fit"].endswith("a fit takes 30")
    shares = np.array(found["efficiency"]["tracks"]["tracker"]["share"], dtype=float)
    assert np.nanmin(shares) > 0.5
    page = (output / "report.html").read_text()
    assert "Invariant masses" in page
    assert page.count("<img ") == len(list((output / "figures").glob("*.png")))


def test_a_configuration_says_what_differs(tmp_path):
    file = tmp_path / "cuts.yaml"
    file.write_text("flow: {muon_stations: 3}\nprompt: {lepton_pt_gev: 20}\njets: {radius: 0.8}\n")
    config = PhysicsConfig.from_yaml(file)
    assert (config.flow.muon_stations, config.prompt.lepton_pt_gev, config.jets.radius) == (3, 20, 0.8)
    file.write_text("flow: {muon_station: 3}\n")
    with pytest.raises(UserError, match=r"cuts.yaml: .*muon_stations"):
        PhysicsConfig.from_yaml(file)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("clusters", "energy_gev", np.nan),
        ("segments", "x_mm", np.inf),
        ("tracks", "covariance", np.nan),
        ("tracks", "q_over_pt_per_gev", 0.0),
        ("particles", "px_gev", -np.inf),
    ],
)
def test_what_is_no_number_is_named(chain, shot_part, monkeypatch, table, column, value):
    values = shot_part[table][column].copy()
    row = int(shot_part[table].offsets[7]) + 1
    values.reshape(len(values), -1)[row, -1] = value
    spoilt = replace(shot_part[table], columns={**shot_part[table].columns, column: values})
    part = replace(shot_part, tables={**shot_part.tables, table: spoilt})
    monkeypatch.setattr(chain.events, "read", lambda rows, tables: part)
    with pytest.raises(UserError, match=rf"event 7 of the data: {table}/{column} is {value:g} in row 1:"):
        chain.measured()


def test_what_holds_no_events_is_refused(tmp_path):
    with pytest.raises(UserError, match="there is no HDF5 file of events"):
        command.found_in([tmp_path], PhysicsConfig(), None, [], 10)
