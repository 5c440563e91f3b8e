"""Candidates on the shared core, from the real command line: a track's momentum, its table, what a checkpoint knows."""

from __future__ import annotations

from pathlib import Path

import made_detectors
import numpy as np
import pytest
import torch
import yaml

from collider.detectors.combining.command import main as tables_of
from collider.detectors.learning.data import CandidateDataModule
from collider.detectors.learning.export import export
from reconstruction.errors import UserError
from reconstruction.judging.measures.metrics import sigma68
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.system import attribute_of, find_system
from reconstruction.training.command_line.cli import main
from reconstruction.training.network.reconstructor import build_reconstructor
from reconstruction.training.runs.loading import load_module
from reconstruction.training.watching.quiet import QUIET

ROOT = Path(__file__).parents[3]
SMALL = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--figures.every_epochs=0"]
CONFIGURATIONS = (
    "tracker",
    "charge",
    "ecal",
    "hcal",
    "muon",
    "joint",
    "identity",
    "graph",
    "graph_identity",
    "untracked",
)
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training of a few seconds on tracks of 80 events, and its table of all of them."""
    folder = tmp_path_factory.mktemp("tracker")
    made_detectors.write(folder / "events.hdf5", 80, seed=3, pt_gev=(1.0, 20.0))
    text = (ROOT / "configs/detectors/tracker.yaml").read_text().replace("width: 48", "width: 16")
    (folder / "tracker.yaml").write_text(text)
    run = folder / "run"
    words = ["fit", "-c", str(folder / "tracker.yaml"), f"--data.data={folder / 'events.hdf5'}", f"--run={run}"]
    main([*words, "--trainer.max_epochs=3", "--data.batch_size=32", "--model.ema_decay=0", *SMALL])
    main(["predict", f"--run={run}", f"--predictions={run / 'all.hdf5'}"])
    return run


def test_a_short_training_is_as_good_as_the_filter_and_covers(trained):
    """The ratio to the filter's momentum is learned, so that a training of seconds is not much worse."""
    table = PredictionTable.read(trained / "all.hdf5")
    assert table.attributes["system"] == "collider.detectors"
    truth = table.truth("momentum_gev")
    mine = sigma68(table.mean("momentum_gev") / truth - 1)
    kalman = sigma68(table.column("kalman_momentum_gev") / truth - 1)
    assert mine < 1.5 * kalman
    assert kalman < 0.03
    covered = np.mean(np.abs(table.residual("momentum_gev")) < table.std("momentum_gev"))
    assert 0.55 < covered < 0.8
    assert set(np.unique(table.column("split"))) == {0, 1, 2}


def test_classical_tables_stand_beside(trained, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["detectors_combine.py", "classical", str(trained / "all.hdf5")])
    tables_of()
    said = capsys.readouterr().out
    assert all(name in said for name in ("kalman.hdf5", "track_bound.hdf5"))
    kalman, bound = (PredictionTable.read(trained / f"{name}.hdf5") for name in ("kalman", "track_bound"))
    assert bound.is_bound
    _, rows = PredictionTable.read(trained / "all.hdf5").join(kalman)
    assert len(rows) == len(kalman)


def test_other_cells_are_another_model(trained, tmp_path):
    words = ["predict", f"--run={trained}", "--data.cells=7", f"--predictions={tmp_path / 'table.hdf5'}"]
    with pytest.raises(UserError, match="number of cells read of a calorimeter is 7, but the model was trained at 40"):
        main(words)


@pytest.fixture(scope="module")
def graphs(trained, tmp_path_factory):
    """Two seeds of a graph of particle flow with both laws in its loss, an epoch each."""
    folder = tmp_path_factory.mktemp("graphs")
    text = (ROOT / "configs/detectors/graph.yaml").read_text()
    text = text.replace("width: 32", "width: 8").replace("[32, 48]", "[8]")
    text = text.replace("MixtureHead", "GaussianHead").replace("    init_args:\n      components: 3\n", "")
    (folder / "graph.yaml").write_text(text)
    words = ["fit", "-c", str(folder / "graph.yaml"), f"--data.data={trained.parent / 'events.hdf5'}", *SMALL]
    laws = ["--model.momentum_balance.weight=0.1", "--model.energy_conservation.weight=0.1"]
    words += [*laws, "--data.whole_events=true", "--data.batch_size=32", "--trainer.max_epochs=1"]
    for seed in range(2):
        main([*words, f"--run={folder / str(seed)}", f"--seed_everything={seed}"])
    return [folder / "0", folder / "1"]


def test_several_seeds_are_one_ensemble(graphs, tmp_path):
    """Estimates lie between those of the members, up to the medians of mixtures; the error bars are calibrated anew."""
    members = ",".join(str(run / "checkpoints" / "best.ckpt") for run in graphs)
    main(["test", f"--run={graphs[0]}", f"--ckpt_path=[{members}]", f"--predictions={tmp_path / 'both.hdf5'}"])
    for run in graphs:
        main(["test", f"--run={run}"])
    both, *alone = map(PredictionTable.read, (tmp_path / "both.hdf5", *(run / "predictions.hdf5" for run in graphs)))
    for one in alone:
        np.testing.assert_array_equal(both.event_id, one.event_id)
    low, high = np.sort([one.mean("momentum_gev") for one in alone], axis=0)
    together, std = both.mean("momentum_gev"), both.std("momentum_gev")
    assert ((together > low - std) & (together < high + std)).all()
    assert np.abs(together - (low + high) / 2).mean() < np.abs(together - low).mean()
    covered = np.mean(np.abs(both.residual("momentum_gev")) < std)
    assert 0.5 < covered < 0.85


def test_laws_are_part_of_a_checkpoint_and_of_no_prediction(graphs, trained):
    module = load_module(graphs[0] / "checkpoints" / "best.ckpt")
    balance, energy = module.laws
    assert balance.fitted
    assert energy.fitted
    assert 0 < float(balance.lost) < 100
    assert (energy.response > 0).all()
    data = CandidateDataModule(data=str(trained.parent / "events.hdf5"), inputs=("neighbours",))
    batch = next(iter(data.predict_dataloader()))
    assert module.of(batch).estimate.isfinite().all()
    with pytest.raises(UserError, match=r"batches do not hold whole events"):
        module.objective(batch, batch)
    assert not load_module(trained / "checkpoints" / "best.ckpt").laws


def test_a_model_leaves_as_one_file_that_knows_padding_itself(graphs, trained, tmp_path):
    main(["export", f"--run={graphs[0]}", f"--output={tmp_path / 'graph.pt2'}"])
    program = torch.export.load(tmp_path / "graph.pt2").module()
    data = CandidateDataModule(data=str(trained.parent / "events.hdf5"), inputs=("neighbours",), batch_size=40)
    batch = next(iter(data.predict_dataloader()))
    assert not batch["masks"]["neighbours"].all()
    with torch.no_grad():
        said = load_module(graphs[0] / "checkpoints" / "best.ckpt").of(batch)
        found = program(batch["inputs"]["neighbours"])
    torch.testing.assert_close(found["estimate"], said.estimate, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found["error_bar"], said.error_bar, rtol=1e-4, atol=1e-5)
    card = (tmp_path / "graph.md").read_text()
    assert "neighbours, float32, (batch, 20, 18)" in card
    assert "16 tracks and clusters about a candidate" in card


def test_a_model_of_several_inputs_is_no_program(trained):
    module = load_module(trained / "checkpoints" / "best.ckpt")
    module.reconstructor.input_names = ("tracker", "ecal")
    with pytest.raises(UserError, match="a program has one input, and this model reads tracker, ecal"):
        export(module, [], Path("model.pt2"))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_shipped_networks_read_what_their_data_hold(name, shots):
    """Each configuration's view, encoder and head on a batch of its own data, to the gradient of every parameter."""
    told = yaml.safe_load((ROOT / f"configs/detectors/{name}.yaml").read_text())
    system = find_system(told["system"])
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in told["data"].items()}
    data = attribute_of(system.data)(**{**given, "data": str(shots), "batch_size": 24})
    batch = next(iter(data.predict_dataloader()))
    model = told["model"]
    made = {part: {one: _factory(how) for one, how in model[part].items()} for part in ("views", "encoders")}
    built = build_reconstructor({}, data.targets, made["views"], made["encoders"], _factory(model["head"]))
    built.scalar_scaler.fit(built.scalars(batch["inputs"]))
    with torch.no_grad():  # without a mask, as an exported program has none, the same is known from the input
        masked, bare = (built.standardised(batch["inputs"], masks).distribution for masks in (batch["masks"], {}))
    torch.testing.assert_close(bare.estimate, masked.estimate, rtol=1e-4, atol=1e-4)
    said = built.standardised(batch["inputs"], batch["masks"]).distribution
    classes = built.head.classes
    targets = batch["targets"]
    if not classes:
        assert np.isfinite(said.mean.detach().numpy()).all()
        targets = targets.float() / 10
    loss = -said.log_prob(targets).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is not None for parameter in built.parameters() if parameter.requires_grad)


def _factory(told):
    made = attribute_of(told["class_path"])
    return lambda **more: made(**told.get("init_args", {}), **more)
