"""The search through the real commands: train, predict, tune to a new point, stages, export, and the comparison."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import shipped
import torch
import yaml
from higgs_trainings import smallest

from collider.higgs.judging import trees
from collider.higgs.judging.command import main as compare
from collider.higgs.judging.command import reference_of
from collider.higgs.judging.scores import Network, unseen
from collider.higgs.learning.data import HiggsDataModule
from collider.higgs.learning.files import SIGNAL
from collider.higgs.learning.views import OBJECTS
from collider.higgs.making.samples import MASSES
from collider.higgs.quantities import QUANTITIES
from cres.commands.stages import main as stages
from reconstruction.errors import UserError
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import main
from reconstruction.training.stages.plan import read_plan
from reconstruction.training.watching.quiet import QUIET

pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


def compared(patch, *arguments: object) -> int:
    patch.setattr(sys, "argv", ["higgs_compare.py", *map(str, arguments)])
    return compare()


@pytest.fixture(scope="module")
def judged(runs, samples):
    """The comparison of an ensemble of two with a dedicated network and trees."""
    with pytest.MonkeyPatch.context() as patch:
        folder = runs / "judged"
        options = ["--dedicated", runs / "alone", "--data", samples, "--output", folder, "--resamples", 20]
        assert compared(patch, runs / "joint0", runs / "joint1", *options) == 0
    return folder


def test_every_point_is_judged_where_it_lies(judged):
    found = json.loads((judged / "comparison.json").read_text())
    by_point = {(one["mass_charged_higgs_gev"], one["mass_a_gev"]): one for one in found["points"]}
    assert {point: one["where"] for point, one in by_point.items()} == {
        (115, 85): "trained",
        (130, 90): "trained",
        (145, 92): "between",
        (160, 95): "trained",
        (170, 97): "outside",
    }
    assert [point for point, one in by_point.items() if one["outside_trained_range"]] == [(170, 97)]
    # trained points are judged by their test fold, the others by all of their events
    assert by_point[130, 90]["signal_events"] == 40
    assert by_point[145, 92]["signal_events"] == 200
    assert set(by_point[130, 90]["figures"]) == {"network", "dedicated network", "boosted trees", "dedicated trees"}
    assert set(by_point[145, 92]["figures"]) == {"network", "boosted trees"}
    for one in by_point.values():
        for figures in one["figures"].values():
            assert set(figures) == {"auc", "accuracy", "efficiency", "rejection", "significance"}
            assert 0 <= figures["auc"]["low"] <= figures["auc"]["value"] <= figures["auc"]["high"] <= 1
        lost = {name: 1 - own["auc"]["value"] for name, own in one["figures"].items()}
        for name, ratio in one["one_minus_auc_ratio"].items():
            assert ratio["value"] == pytest.approx(lost["network"] / lost[name])
        assert one["ensemble_spread"] > 0
    assert len(by_point[145, 92]["auc_told_other_masses"]) == 3
    limits = by_point[145, 92]["expected_limit_branching_ratio"]["boosted trees"]
    assert limits["-2 sigma"] < limits["median"] < limits["+2 sigma"]
    assert found["calibration"]["ece"] > 0


def test_the_page_holds_every_picture(judged):
    page = (judged / "report.html").read_text()
    for name in ("plane", "ratios", "limits", "wrong-masses", "spread", "reliability", "roc-130-90"):
        assert (judged / "figures" / f"{name}.png").stat().st_size > 5000
    assert page.count("data:image/png") == len(list((judged / "figures").iterdir()))
    assert "electron" not in page.split("</style>")[1]


def test_no_event_of_a_training_is_judged(runs, samples):
    network = Network.load(runs / "joint0")
    data = HiggsDataModule(str(samples), points=((115.0, 85.0), (145.0, 92.0)))
    events = unseen(data, [network])
    folds = data.records.scalar("fold")
    assert set(folds[events.backgrounds]) == {0}
    assert set(folds[events.signals[115.0, 85.0]]) == {0}
    assert len(events.signals[145.0, 92.0]) == 200
    # what is left of a background stands for all of it
    kinds = events.kinds(events.backgrounds)
    weights = events.weights(events.backgrounds)
    assert weights[kinds == 1].sum() == pytest.approx(2.0 * 200)


def test_masses_that_are_told_change_what_is_said(runs, samples):
    network = Network.load(runs / "joint0")
    data = HiggsDataModule(str(samples))
    data.settings = network.module.settings
    rows = np.arange(0, len(data.records), 9)
    one, other, again = (network.probabilities(data, rows, point) for point in ((115, 85), (160, 95), (115, 85)))
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)
    np.testing.assert_allclose(one.sum(1), 1)
    # batches and their padding change nothing
    data.batch_size = 7
    np.testing.assert_allclose(network.probabilities(data, rows, (115, 85)), one, atol=1e-6)


def test_what_cannot_be_compared_is_said(runs, samples, monkeypatch, tmp_path):
    for arguments, said in (
        ([tmp_path], "is no run and holds none"),
        ([runs / "alone"], "is told no masses: it belongs behind --dedicated"),
        (
            [runs / "joint0", "--dedicated", runs / "joint1"],
            "was trained on 3 mass points, and a dedicated network has one",
        ),
        ([runs / "joint0", "--dedicated", runs / "alone", runs / "alone"], r"are both of \(130, 90\)"),
        ([runs / "joint0", "--data", samples / "signal_130_90"], "no event of the class"),
    ):
        with pytest.raises(UserError, match=said):
            compared(monkeypatch, *(arguments if "--data" in arguments else [*arguments, "--data", samples]))


def test_networks_of_other_channels_are_not_compared(runs, samples, monkeypatch):
    known = Network.load

    def one_channel(folder):
        network = known(folder)
        if folder.name == "alone":
            network.module.card["data"]["channels"] = ["3mu"]
        return network

    monkeypatch.setattr(Network, "load", one_channel)
    with pytest.raises(UserError, match=r"alone and .*joint0 were trained on other channels"):
        compared(monkeypatch, runs / "joint0", "--dedicated", runs / "alone", "--data", samples)


def test_without_a_manifest_the_signal_stands_for_no_branching_ratio(samples, tmp_path):
    assert reference_of(str(samples)) == pytest.approx(0.01 / (2 * 833.9))
    assert np.isnan(reference_of(str(tmp_path)))


def test_trees_are_told_of_backgrounds_what_signals_have(samples, monkeypatch):
    """A point that is rare among the signals is as rare among backgrounds: else to be told it says what an event is."""
    files = HiggsDataModule(str(samples)).records
    kinds, mass = files.scalar("class"), files.scalar(MASSES[0])
    signal = np.flatnonzero(kinds == SIGNAL)
    rare = signal[mass[signal] == 130][:20]
    rows = np.concatenate([signal[mass[signal] == 115], rare, np.flatnonzero(kinds != SIGNAL)])
    fitted = []
    monkeypatch.setattr(trees, "_fitted", lambda features, kinds, weights: fitted.append((features, kinds)))
    trees.Trees.fit(files, rows, {})
    ((features, told_kinds),) = fitted
    shares = [np.mean(features[mine, len(QUANTITIES)] == 130) for mine in (told_kinds == SIGNAL, told_kinds != SIGNAL)]
    assert 0 < shares[0] < 0.2
    assert shares[1] == pytest.approx(shares[0], abs=0.03)


def test_predictions_of_the_core_flag_masses_outside(runs, samples, tmp_path):
    table = tmp_path / "outside.hdf5"
    options = [f"--data.data={samples}", "--data.points=[[170,97]]", f"--predictions={table}"]
    with pytest.warns(UserWarning, match="800 of 800 events have settings outside"):
        assert main(["predict", f"--run={runs / 'joint0'}", *options]) == 0
    predicted = PredictionTable.read(table)
    assert predicted.column("outside_settings").all()
    assert predicted.classes == {"signal": 0, "nonprompt": 1, "diboson": 2, "ttx": 3}
    assert main(["test", f"--run={runs / 'joint0'}", f"--predictions={tmp_path / 'test.hdf5'}"]) == 0
    assert not PredictionTable.read(tmp_path / "test.hdf5").column("outside_settings").any()


def test_a_new_point_takes_a_tuning(runs, samples, tmp_path):
    config = smallest("small", tmp_path)
    options = [f"--data.data={samples}", "--data.points=[[145,92]]", f"--run={tmp_path / 'tuned'}"]
    whole = [f"--fine_tune.checkpoint={runs / 'joint0/checkpoints/best.ckpt'}", "--fine_tune.whole=true"]
    assert main(["fit", "-c", str(config), *options, *whole]) == 0
    tuned = Network.load(tmp_path / "tuned")
    trained = tuned.module.card["settings"]["trained"]
    assert sorted(map(tuple, trained)) == [(115, 85), (130, 90), (145, 92), (160, 95)]


def test_an_exported_model_says_what_the_run_says(runs, samples, tmp_path):
    output = tmp_path / "higgs.pt2"
    assert main(["export", f"--run={runs / 'joint0'}", f"--output={output}"]) == 0
    card = output.with_suffix(".md").read_text()
    assert "(115, 85), (130, 90), (160, 95)" in card
    assert "`ttx`: 3" in card
    assert output.stat().st_size < 5e6
    network = Network.load(runs / "joint0")
    data = HiggsDataModule(str(samples))
    data.settings = network.module.settings
    rows = np.arange(0, len(data.records), 20)
    program = torch.export.load(output).module()
    told = torch.tensor([[130.0, 90.0]], dtype=torch.float64).expand(len(rows), -1)
    said = program(torch.from_numpy(data.records.objects(rows)), told)["class_probability"]
    np.testing.assert_allclose(said.detach().numpy(), network.probabilities(data, rows, (130, 90)), atol=1e-5)
    assert next(iter(data.val_dataloader()))["inputs"][OBJECTS].shape[1] == 15


def test_files_of_stages_are_understood():
    plans = {path.stem: read_plan(path) for path in shipped.higgs_stages()}
    assert list(plans["seed"].stages) == ["apart", "average", "together", "scratch"]
    assert all(plan.base.resolve().parent.name == "higgs" for plan in plans.values())


@pytest.mark.slow
def test_stages_of_the_seed(samples, tmp_path, monkeypatch):
    smallest("small", tmp_path)
    plan = yaml.safe_load((shipped.ROOT / "configs/higgs/stages/seed.yaml").read_text())
    plan["base"] = "small.yaml"
    del plan["stages"]["scratch"]
    plan["options"] = {"data.points": [[115, 85], [160, 95]]}
    plan["stages"]["average"] |= {"lines": 1, "points": 3}
    for stage in ("apart", "together"):
        plan["stages"][stage]["options"]["trainer.max_epochs"] = 1
    (tmp_path / "stages.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    run = tmp_path / "run"
    arguments = [str(tmp_path / "stages.yaml"), f"--run={run}", f"--data.data={samples}", "--data.batch_size=256"]
    monkeypatch.setattr(sys, "argv", ["stages.py", *arguments])
    assert stages() == 0
    summary = json.loads((run / "stages.json").read_text())
    assert summary["apart"]["trainings"] == 2
    assert set(summary) == {"apart", "average", "together"}
    apart = [Network.load(run / "apart" / f"{place:03d}").module.card["data"]["points"] for place in range(2)]
    assert apart == [[[115.0, 85.0]], [[160.0, 95.0]]]
    assert len(Network.load(run / "together").points) == 2
