"""From a training of seconds to jets of physics that have its energies; tables that say nothing of these jets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from collider.detectors import DetectorEvents
from collider.detectors.jet_energies.learned import LearnedJets
from collider.detectors.jet_energies.system import SYSTEM
from collider.detectors.physics import command
from collider.detectors.physics.chain import NETWORK, RULES, TRUTH, Chain
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.jets import Jets, nearest_jets
from collider.detectors.physics.measures import jet_figures
from collider.detectors.system import SYSTEM as CANDIDATES
from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import main
from reconstruction.training.watching.quiet import QUIET

ROOT = Path(__file__).parents[3]
SMALL = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--figures.every_epochs=0"]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


@pytest.fixture
def told(files, tmp_path):
    """Return what writes a table of the true energies, times a factor, of a part of the split."""

    def write(split: int = 2, factor: float = 1.0, system=SYSTEM, **columns):
        seen = {"rules_pt_gev": files.scalar("rules_pt_gev"), "split": np.full(len(files), split)} | columns
        table = PredictionTable.from_estimates(
            files.event_ids,
            {"jet_pt_gev": factor * files.scalar("jet_pt_gev")},
            estimator="oracle",
            observables=seen,
            system=system,
        )
        return table.write(tmp_path / "jets.hdf5")

    return write


def test_jets_have_the_energies_that_the_table_says(few, told):
    """Directions stay; who is not in the table has the rules' energy; the flow itself is the rules'."""
    events, config = DetectorEvents(few), PhysicsConfig()
    measured = Chain(events, config, learned=LearnedJets.read(told(factor=1.5))).measured()
    assert len(measured) == 60
    true, jets, rules = (measured.jets[name] for name in (TRUTH, NETWORK, RULES))
    place = nearest_jets(true, jets, 0.2)
    paired = (place >= 0) & (true.pt_gev >= 20)
    np.testing.assert_allclose(jets.pt_gev[place[paired]] / true.pt_gev[paired], 1.5, rtol=1e-5)
    assert len(jets) == len(rules)
    for event in range(60):
        mine, before = (one.kept(one.event == event) for one in (jets, rules))
        np.testing.assert_allclose(np.sort(mine.eta), np.sort(before.eta), rtol=1e-9)
        assert (np.diff(mine.pt_gev) <= 0).all()
    np.testing.assert_array_equal(measured.events[NETWORK], measured.events[RULES])
    figures = jet_figures(measured, config, 20)[-1]
    assert figures.response[NETWORK].value == pytest.approx(1.5)
    assert figures.resolution[NETWORK].value < 1e-5 < figures.resolution[RULES].value


def test_a_jet_of_which_nothing_is_said_stays_as_it_is():
    jets = Jets(np.array([0, 0, 1]), np.array([[50, 30, 0, 0], [40, 0, 20, 0], [9, 8, 0, 0]], float), np.zeros(3))
    table = LearnedJets(np.array([7]), np.array([45.0]), np.array([20.0]), np.ones(1, bool), Path("t"), "n")
    found = table.corrected(jets, np.array([-1, 0, -1]))
    np.testing.assert_allclose(found.pt_gev, [45, 30, 8])
    np.testing.assert_allclose(found.vector[0], np.array([40, 0, 20, 0]) * 45 / 20)
    np.testing.assert_array_equal(found.event, jets.event)


def test_events_with_a_jet_that_was_trained_on_are_no_test(few, files, told):
    split = np.where(files.event_of_rows < 25, 0, 2)
    split[np.flatnonzero(files.event_of_rows == 30)[0]] = 1
    measured = Chain(DetectorEvents(few), PhysicsConfig(), learned=LearnedJets.read(told(split=split))).measured()
    assert len(measured) == 34
    with pytest.raises(UserError, match="no network was trained on"):
        command.found_in([few], PhysicsConfig(), None, [], 10, None, told(split=0))


def test_tables_of_other_jets_are_refused(few, files, told):
    with pytest.raises(UserError, match=r"jets.hdf5 is of candidates, not of jets: name a table of jets.yaml"):
        LearnedJets.read(told(system=CANDIDATES))
    path = told()
    PredictionTable.read(path).with_attributes({"kind": "bound"}).write(path)
    with pytest.raises(UserError, match="is a bound"):
        LearnedJets.read(path)
    other = told(rules_pt_gev=1.001 * files.scalar("rules_pt_gev"))
    with pytest.raises(UserError, match=r"of jets that other rules made: give both the network \(data.cuts\)"):
        Chain(DetectorEvents(few), PhysicsConfig(), learned=LearnedJets.read(other)).measured()
    config = PhysicsConfig()
    wider = replace(config, jets=replace(config.jets, radius=0.7))
    with pytest.raises(UserError, match="other rules made"):
        Chain(DetectorEvents(few), wider, learned=LearnedJets.read(told())).measured()


def test_a_training_of_seconds_runs_to_jets_of_physics(few, tmp_path, monkeypatch, capsys):
    run, cuts = tmp_path / "run", tmp_path / "cuts.yaml"
    cuts.write_text("flow: {excess_sigma: 1.5}\n")
    words = ["fit", "-c", str(ROOT / "configs/detectors/jets.yaml"), f"--data.data={few}", f"--run={run}", *SMALL]
    main([*words, "--trainer.max_epochs=2", "--data.batch_size=32", f"--data.cuts={cuts}", "--model.ema_decay=0"])
    main(["predict", f"--run={run}", f"--predictions={run / 'all.hdf5'}"])
    table = PredictionTable.read(run / "all.hdf5")
    assert table.attributes["system"] == "collider.detectors.jet_energies"
    assert np.median(np.abs(table.mean("jet_pt_gev") / table.truth("jet_pt_gev") - 1)) < 0.2
    assert np.isfinite(table.std("jet_pt_gev")).all()
    output = tmp_path / "physics"
    given = [str(few), "--jets", str(run / "all.hdf5"), "-c", str(cuts), "--resamples", "20", "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["detectors_physics.py", *given])
    monkeypatch.setattr(command, "write_report", lambda findings, folder: folder)
    assert command.main() == 0
    assert "Network over rules" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["detectors_physics.py", *given[:3], "--output", str(output)])
    with pytest.raises(UserError, match="other rules made"):
        command.main()
    with pytest.raises(UserError, match="number of tracks and clusters read of a jet is 9, but the model was trained"):
        main(["predict", f"--run={run}", "--data.objects=9", f"--predictions={tmp_path / 'other.hdf5'}"])
