"""Showers on the shared core: from a data set through the real command line to a report beside the bound."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from collider.showers.command import calorimeters
from collider.showers.command import main as showers
from collider.showers.config import ShowerConfig
from collider.showers.dataset import Shard, write_shard
from collider.showers.information import over_bound, shapes_of
from collider.showers.learning.bounds import bound_table, layer_model
from collider.showers.learning.cells import CellLayout
from collider.showers.learning.data import ShowerDataModule
from collider.showers.learning.files import ShowerFiles, layer_names, shower_paths
from collider.showers.learning.turns import Turn
from collider.showers.learning.views import CellsView, Deposit, LayersView, rooted
from collider.showers.shapes import interpolated, thick
from cres.commands.evaluate import main as evaluate
from reconstruction.errors import UserError
from reconstruction.judging.measures.comparison import compare, summarise
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.models import GaussianHead, GaussianNLL
from reconstruction.random.keyed import KeyedRandom
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.learner import CARD
from reconstruction.training.network.reconstructor import build_reconstructor
from reconstruction.training.runs.loading import load_module
from reconstruction.training.watching.quiet import QUIET

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs/showers/energy.yaml"
SMALL = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--figures.every_epochs=0"]
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]


@pytest.fixture(scope="module")
def config() -> ShowerConfig:
    whole = ShowerConfig.from_yaml(ROOT / "configs/showers/leaking.yaml")
    return dataclasses.replace(whole, particles=dataclasses.replace(whole.particles, energy_gev=(2.0, 30.0)))


@pytest.fixture(scope="module")
def data(config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("showers")
    for split, count in (("train", 1600), ("validation", 1000)):
        write_shard(Shard(split, 0, count, folder / f"{split}_dataset.hdf5"), config)
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A short training of the shipped configuration, tested."""
    run = tmp_path_factory.mktemp("run") / "layers"
    main(["fit", "-c", str(CONFIG), f"--data.data={data}", f"--run={run}", "--trainer.max_epochs=8", *SMALL])
    main(["test", f"--run={run}"])
    return run


def test_a_network_learns_what_the_layers_hold(run, data):
    """The energy better than the sum does, near the bound of the same showers, with error bars that hold."""
    found = PredictionTable.read(run / "predictions.hdf5")
    assert found.attributes["system"] == "collider.showers"
    assert found.attributes["split"] == "test"
    assert len(found) == 500
    bound = bound_table(shower_paths(str(data)))
    mine, least = found.join(bound)
    ratio, _ = over_bound(mine.residual("energy_gev"), least.std("energy_gev"))
    energy = mine.truth("energy_gev")
    scaled = mine.column("deposited_gev") / energy
    of_the_sum, _ = over_bound((scaled / scaled.mean() - 1) * energy, least.std("energy_gev"))
    assert 0.9 < ratio < 1.15 < of_the_sum
    pulls = mine.residual("energy_gev") / mine.std("energy_gev")
    assert 0.6 < np.mean(np.abs(pulls) < 1) < 0.76
    low, high = (energy < 5), (energy > 15)
    relative = mine.std("energy_gev") / energy
    assert np.median(relative[low]) > 1.4 * np.median(relative[high])


def test_the_report_speaks_of_showers(run, data, tmp_path, capsys, monkeypatch):
    bound = bound_table(shower_paths(str(data))).write(tmp_path / "bound.hdf5")
    tables = [str(run / "predictions.hdf5"), str(bound)]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *tables, "--output", str(tmp_path / "report")])
    evaluate()
    said = capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text()
    for text in ("energy of 500 showers", "energetic (", "over bound"):
        assert text in said, text
    assert "How well are the showers reconstructed?" in page
    assert "10 GeV or more" in page
    for stranger in ("sideband", "pitch angle", "many electrons", " eV"):
        assert stranger not in page, stranger


def test_a_checkpoint_predicts_other_showers_of_the_same_calorimeter_only(run, config, data, tmp_path):
    new = dataclasses.replace(config, seed=9)
    write_shard(Shard("validation", 0, 60, tmp_path / "new.hdf5"), new)
    table = tmp_path / "predicted.hdf5"
    main(["predict", f"--run={run}", f"--data.data={tmp_path / 'new.hdf5'}", f"--predictions={table}"])
    found = PredictionTable.read(table)
    assert len(found) == 60
    assert found.attributes["split"] == "new"
    wide = dataclasses.replace(config, grid=dataclasses.replace(config.grid, layer_x0=1.5))
    write_shard(Shard("validation", 0, 20, tmp_path / "wide.hdf5"), wide)
    with pytest.raises(UserError, match=r"depth of all layers is 24 X0, but the model was trained at 16 X0"):
        main(["predict", f"--run={run}", f"--data.data={tmp_path / 'wide.hdf5'}", f"--predictions={table}"])


def test_what_a_checkpoint_knows(run):
    card = read_checkpoint(run / "checkpoints" / "best.ckpt")[CARD]
    assert card["system"] == "collider.showers"
    assert card["model"]["grid_shape"] == [16, 4, 5]
    assert card["data"]["split"]["by"] == "dataset"
    assert card["data"]["split"]["train"] == 1600
    assert bool(load_module(run / "checkpoints" / "best.ckpt").reconstructor.ratio_scaler.fitted)


@pytest.mark.parametrize(
    ("view", "encoder", "options"),
    [
        ("LayersView", "VolumeEncoder", ["--model.encoders.layers.init_args.sectors=4"]),
        ("CellsView", "GraphEncoder", []),
    ],
)
def test_the_siblings_train_in_its_place(view, encoder, options, data, tmp_path):
    written = CONFIG.read_text().replace("LayersView", view).replace("LayerTransformerEncoder", encoder)
    written = written.replace("width: 48", "width: 8").replace("depth: 2", "depth: 1")
    (tmp_path / "sibling.yaml").write_text(written)
    words = ["fit", "-c", str(tmp_path / "sibling.yaml"), f"--data.data={data}", f"--run={tmp_path / 'run'}"]
    main([*words, "--trainer.max_epochs=1", "--trainer.limit_train_batches=4", *options, *SMALL])
    main(["test", f"--run={tmp_path / 'run'}"])
    found = PredictionTable.read(tmp_path / "run" / "predictions.hdf5")
    # before anything is learned the ratio alone makes the estimate follow the energy
    assert np.corrcoef(np.log(found.mean("energy_gev")), np.log(found.truth("energy_gev")))[0, 1] > 0.98


@pytest.mark.parametrize("suffix", ["pt2", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_model_leaves_as_one_file(run, data, tmp_path, suffix):
    """Its program states of the cells of a file what the table of the run does, without a class of ours."""
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    file = tmp_path / f"model.{suffix}"
    assert main(["export", f"--run={run}", f"--output={file}"]) == 0
    table = PredictionTable.read(run / "predictions.hdf5")
    files = ShowerFiles(shower_paths(str(data)))
    rows = np.searchsorted(files.event_ids[1600:], table.event_id) + 1600
    cells = files.showers.cells_gev[rows].reshape(len(rows), -1, 1)
    if suffix == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        said = dict(zip(names, session.run(None, {"cells": cells}), strict=True))
    else:
        program = torch.export.load(file).module()
        with torch.no_grad():
            said = {name: values.numpy() for name, values in program(torch.from_numpy(cells)).items()}
    np.testing.assert_allclose(said["estimate"][:, 0], table.mean("energy_gev"), rtol=1e-4)
    np.testing.assert_allclose(said["error_bar"][:, 0], table.std("energy_gev"), rtol=1e-3)
    card = file.with_suffix(".md").read_text()
    assert "320 cells in GeV" in card
    assert "16 layers of 4 by 5 cells (cylindrical)" in card
    assert "`energy_gev`: " in card


def test_sectors_that_the_data_do_not_have_are_refused(data, tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG.read_text().replace("LayerTransformerEncoder", "VolumeEncoder"))
    words = ["fit", "-c", str(tmp_path / "c.yaml"), f"--data.data={data}", f"--run={tmp_path / 'run'}", *SMALL]
    with pytest.raises(UserError, match=r"layers has 10 sectors, and the data have 4: set its sectors to 4"):
        main([*words, "--model.encoders.layers.init_args.sectors=10"])


def test_the_profile_of_thin_layers_is_learned_from_thick_ones(data, tmp_path):
    """Better than a spline after a few steps, the sums kept nearly, every layer with an error bar that holds."""
    words = ["fit", "-c", str(CONFIG.with_name("profile.yaml")), f"--data.data={data}", f"--run={tmp_path / 'run'}"]
    # a picture of sixteen targets takes longer than the training
    main([*words, "--trainer.max_epochs=5", "--model.ema_decay=0", *SMALL[:2]])
    main(["test", f"--run={tmp_path / 'run'}"])
    found = PredictionTable.read(tmp_path / "run" / "predictions.hdf5")
    assert found.targets == layer_names(16)
    truth, said, std = (
        np.stack([column(target) for target in found.targets], axis=1)
        for column in (found.truth, found.mean, found.std)
    )
    energy = truth.sum(1, keepdims=True)
    spline = interpolated(thick(truth, 4), 4)
    assert np.mean(((said - truth) / energy) ** 2) < 0.9 * np.mean(((spline - truth) / energy) ** 2)
    covered = (np.abs(said - truth) < std).mean(0)
    assert 0.6 < covered.mean() < 0.76
    assert covered.min() > 0.5


def test_electrons_and_photons_are_told_apart(config, tmp_path):
    """The shipped configuration, on few showers of a coarser calorimeter."""
    crystal = ShowerConfig.from_yaml(ROOT / "configs/showers/fine.yaml")
    crystal = dataclasses.replace(crystal, grid=dataclasses.replace(crystal.grid, layers=25, layer_x0=1.0))
    for split, count in (("train", 1500), ("validation", 1000)):
        write_shard(Shard(split, 0, count, tmp_path / f"{split}_dataset.hdf5"), crystal)
    words = [
        "fit",
        "-c",
        str(CONFIG.with_name("particle.yaml")),
        f"--data.data={tmp_path}",
        f"--run={tmp_path / 'run'}",
    ]
    main([*words, "--model.views.layers.init_args.together=1", "--trainer.max_epochs=5", "--model.ema_decay=0", *SMALL])
    main(["test", f"--run={tmp_path / 'run'}"])
    found = PredictionTable.read(tmp_path / "run" / "predictions.hdf5")
    assert found.classes == {"electron": 11, "photon": 22}
    (row,) = [row for row in summarise(compare([found]), resamples=20) if row.group == "all"]
    assert row.figures["accuracy"].value > 0.73
    assert row.figures["auc"].value > 0.82
    assert row.verdict is not None
    assert row.verdict.calibrated
    main(["export", f"--run={tmp_path / 'run'}", f"--output={tmp_path / 'model.pt2'}"])
    program = torch.export.load(tmp_path / "model.pt2").module()
    said = program(torch.rand(4, crystal.cells.cells, 1))
    torch.testing.assert_close(said["class_probability"].sum(1), torch.ones(4, dtype=torch.float64))
    assert said["class_code"].tolist() == [[11.0, 22.0]] * 4
    assert "`photon`: 22" in (tmp_path / "model.md").read_text()


# The yardstick -----------------------------------------------------------------------------------------------------


@pytest.fixture
def reconstructor(config):
    from collider.showers.networks import LayerTransformerEncoder

    torch.manual_seed(0)
    facts = {"grid": "cylindrical", "grid_shape": (16, 4, 5)}
    facts |= {"depth_edges_x0": tuple(range(17)), "across_edges_rm": (0, 0.25, 0.5, 1, 2, 50)}

    def encoder(in_channels: int) -> LayerTransformerEncoder:
        return LayerTransformerEncoder(in_channels, 8, 1, heads=2)

    made = build_reconstructor(
        facts, ("energy_gev",), {"layers": LayersView}, {"layers": encoder}, GaussianHead,
        yardstick=Deposit(("energy_gev",)),
    ).double()  # fmt: skip
    made.target_scaler.fit(torch.tensor([[1.0], [30.0], [80.0]]))
    made.ratio_scaler.fit(torch.tensor([[1.0], [1.1], [1.3]]))
    made.scalar_scaler.fit(torch.tensor([[0.0], [1.0], [4.0]]))
    return made


def test_what_is_learned_is_the_ratio_to_what_was_seen(reconstructor):
    """Twice the energy in the same shape: twice the estimate with the same σ/E, where ln(sum) has no say."""
    with torch.no_grad():
        for linear in (reconstructor.head.linear, reconstructor.head.perceptron[0]):
            linear.weight[:, -1] = 0
    cells = torch.rand(4, 320, 1, dtype=torch.float64) * 0.1
    one, two = reconstructor(cells), reconstructor(2 * cells)
    torch.testing.assert_close(two.estimate, 2 * one.estimate, rtol=1e-9, atol=0)
    torch.testing.assert_close(two.error_bar, 2 * one.error_bar, rtol=1e-9, atol=0)


def test_its_likelihood_is_that_of_the_ratio(reconstructor):
    """−ln p(E) and −ln p(E/S) differ by ln S alone, so that what is learned is the ratio: the slow way in float64."""
    cells = torch.rand(5, 320, 1, dtype=torch.float64) * 0.1
    seen = cells.sum(1)
    truth = seen * torch.tensor([[1.0], [1.1], [1.2], [1.3], [1.05]], dtype=torch.float64)
    said = reconstructor.standardised(cells).distribution
    loss = GaussianNLL()(said, reconstructor.target_scaler(truth))
    reconstructor.yardstick = None
    ratio = reconstructor.standardised(cells).distribution
    plain = GaussianNLL()(ratio, reconstructor.ratio_scaler(truth / seen))
    size = seen * reconstructor.ratio_scaler.scale / reconstructor.target_scaler.scale
    torch.testing.assert_close(loss - plain, size.log().reshape(loss.shape), rtol=1e-9, atol=1e-9)


def test_empty_showers_and_other_targets_have_a_size():
    cells = torch.zeros(2, 6, 1)
    sizes = Deposit(("energy_gev", "start_depth_x0"))({"cells": cells})
    assert sizes.tolist() == [[0.01, 1.0], [0.01, 1.0]]
    assert rooted(cells).isfinite().all()


# Views and turns ---------------------------------------------------------------------------------------------------


def test_views_hold_every_cell_at_its_place(config):
    cells = CellLayout("cylindrical", (2, 4, 3), (0.0, 1.0, 3.0), (0.0, 1.0, 2.0, 4.0))
    view = CellsView(*dataclasses.astuple(cells))
    energies = torch.arange(24.0).reshape(1, 24, 1)
    made = view(energies)
    share = energies / energies.sum() * 24
    torch.testing.assert_close(made.series[..., :1].square(), share)
    torch.testing.assert_close(made.scalars, torch.tensor([[np.log(276.0)]], dtype=torch.float32))
    ring, sector, layer = np.arange(24) % 3, np.arange(24) // 3 % 4, np.arange(24) // 12
    radius, angle = np.array([0.5, 1.5, 3.0])[ring], (sector + 0.5) * np.pi / 2
    expected = np.stack(
        [np.log1p(radius) * np.cos(angle), np.log1p(radius) * np.sin(angle), np.array([0.05, 0.2])[layer]]
    )
    np.testing.assert_allclose(made.series[0, :, 1:].T, expected, atol=1e-6)
    layers = LayersView(*dataclasses.astuple(cells))(energies).series
    torch.testing.assert_close(layers.reshape(24), made.series[0, :, 0])


def test_layers_that_are_read_as_one_are_those_of_a_coarser_calorimeter(data):
    """The view of sums is the view of a calorimeter whose layers are thick."""
    fine = CellLayout("cylindrical", (6, 2, 2), tuple(range(7)), (0.0, 1.0, 2.0))
    coarse = CellLayout("cylindrical", (2, 2, 2), (0, 3, 6), (0.0, 1.0, 2.0))
    cells = torch.rand(3, 24, 1)
    sums = cells.reshape(3, 2, 3, 4).sum(2).reshape(3, 8, 1)
    for kind in (LayersView, CellsView):
        joined, own = kind(*dataclasses.astuple(fine), together=3), kind(*dataclasses.astuple(coarse))
        assert joined.channels == own.channels
        torch.testing.assert_close(joined(cells).series, own(sums).series)
        torch.testing.assert_close(joined(cells).scalars, own(sums).scalars)
    with pytest.raises(UserError, match="6 layers cannot be read 4 together: give one of 1, 2, 3, 6"):
        LayersView(*dataclasses.astuple(fine), together=4)


@pytest.mark.parametrize("grid", ["cylindrical", "cartesian"])
def test_a_turn_keeps_neighbours_and_every_energy(grid):
    shape = (3, 4, 5)
    cells = torch.rand(40, 60, 1)
    turned = Turn(grid, shape)(cells, KeyedRandom(0, 0, torch.arange(40)))
    seen = set()
    for before, after in zip(cells.reshape(40, *shape).numpy(), turned.reshape(40, *shape).numpy(), strict=True):
        mirrored = {"": before, "x": before[:, ::-1], "y": before[:, :, ::-1], "xy": before[:, ::-1, ::-1]}
        for name, one in mirrored.items() if grid == "cartesian" else list(mirrored.items())[:2]:
            for shift in range(4 if grid == "cylindrical" else 1):
                if np.array_equal(np.roll(one, shift, axis=1), after):
                    seen.add((name, shift))
                    break
    assert len(seen) >= (8 if grid == "cylindrical" else 4)


# Files -------------------------------------------------------------------------------------------------------------


def test_the_split_is_that_of_the_data_set(data):
    module = ShowerDataModule(str(data), fractions=(0.8, 0.05, 0.15))
    files, split = module.records, module.split
    assert {files.describe(int(row)).split("_dataset")[0].rpartition("/")[2] for row in split.train} == {"train"}
    assert (len(split.train), len(split.validation), len(split.test)) == (1600, 250, 750)
    assert not set(split.validation) & set(split.test)
    assert len(np.unique(files.event_ids)) == 2600
    by_event = ShowerDataModule(str(data), split="event")
    assert len(by_event.split.train) == 2080
    alone = ShowerDataModule(str(data / "train_dataset.hdf5"))
    assert len(alone.split.train) == 1280


def test_numbers_are_those_of_the_file(data):
    module = ShowerDataModule(str(data / "validation_dataset.hdf5"), batch_size=8)
    batch = next(iter(module.predict_dataloader()))
    with h5py.File(data / "validation_dataset.hdf5") as file:
        np.testing.assert_allclose(batch["targets"][:, 0], file["incident_energies"][:8, 0] / 1e3)
        np.testing.assert_allclose(batch["inputs"]["cells"][..., 0], file["showers"][:8] / 1e3, rtol=1e-6)
        np.testing.assert_allclose(batch["observables"]["deposited_gev"], file["showers"][:8].sum(1) / 1e3, rtol=1e-5)
        np.testing.assert_allclose(batch["observables"]["shower_t_x0"], file["true_depth_of_maximum"][:8])


def test_files_that_do_not_fit_are_told(data, config, tmp_path):
    with pytest.raises(UserError, match=r"there is no file of showers at nowhere.*scripts/showers.py"):
        ShowerDataModule("nowhere").setup("fit")
    with pytest.raises(UserError, match=r"names .* twice"):
        shower_paths([str(data), str(data / "train_dataset.hdf5")])
    other = dataclasses.replace(config, grid=dataclasses.replace(config.grid, layers=12))
    write_shard(Shard("train", 0, 5, tmp_path / "other.hdf5"), other)
    with pytest.raises(UserError, match="are of two calorimeters"):
        ShowerFiles([data / "train_dataset.hdf5", tmp_path / "other.hdf5"])
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["showers"], file["incident_energies"] = np.ones((3, 8)), np.ones((3, 1))
    with pytest.raises(UserError, match=r"foreign.hdf5 does not say where its cells are: it has no attribute depth"):
        ShowerFiles([tmp_path / "foreign.hdf5"])
    with h5py.File(data / "train_dataset.hdf5") as file, h5py.File(tmp_path / "again.hdf5", "w") as copy:
        for name in file:
            file.copy(name, copy)
        for name, value in file.attrs.items():
            copy.attrs[name] = value
        copy.attrs["split"] = "validation"
    module = ShowerDataModule([str(data / "train_dataset.hdf5"), str(tmp_path / "again.hdf5")])
    with pytest.raises(UserError, match="is also in the training files"):
        _ = module.split


def test_a_foreign_file_that_says_its_cells_is_read(data, tmp_path):
    with h5py.File(data / "validation_dataset.hdf5") as file, h5py.File(tmp_path / "foreign.hdf5", "w") as copy:
        for name in ("showers", "incident_energies"):
            copy[name] = file[name][:20]
        for name in (
            "grid",
            "grid_shape",
            "depth_edges_cm",
            "ring_edges_cm",
            "radiation_length_cm",
            "moliere_radius_cm",
        ):
            copy.attrs[name] = file.attrs[name]
    module = ShowerDataModule(str(tmp_path / "foreign.hdf5"))
    assert len(module.split.train) == 16
    assert "shower_t_x0" not in module.records.columns
    with pytest.raises(UserError, match="does not say how it was simulated"):
        bound_table([tmp_path / "foreign.hdf5"])


# The bound ---------------------------------------------------------------------------------------------------------


def test_the_bound_is_that_of_each_electrons_layers(config, data):
    table = bound_table([data / "validation_dataset.hdf5"])
    assert table.is_bound
    model = layer_model(config, "here")
    assert model.noise_gev == pytest.approx(0.0005 * np.sqrt(20))
    with h5py.File(data / "validation_dataset.hdf5") as file:
        energy, t, alpha = (
            file[name][:3] for name in ("incident_energies", "true_depth_of_maximum", "true_alpha")
        )  # fmt: skip
    energy = energy[:, 0] / 1e3
    expected = energy * model.bound(energy, shapes_of(energy, t, alpha, config.medium))
    np.testing.assert_allclose(table.std("energy_gev")[:3], expected)


def test_bounds_that_cannot_be_given_say_why(config, tmp_path):
    silent = dataclasses.replace(config, readout=dataclasses.replace(config.readout, noise_gev=0.0))
    with pytest.raises(UserError, match=r"here cannot be given.*no noise"):
        layer_model(silent, "here")
    inclined = dataclasses.replace(config, particles=dataclasses.replace(config.particles, angle_deg=5.0))
    with pytest.raises(UserError, match="inclined or displaced"):
        layer_model(inclined, "here")
    photons = dataclasses.replace(config, particles=dataclasses.replace(config.particles, kinds={"photon": 1.0}))
    write_shard(Shard("train", 0, 4, tmp_path / "photons.hdf5"), photons)
    with pytest.raises(UserError, match="there is no electron"):
        bound_table([tmp_path / "photons.hdf5"])


def test_the_command_writes_the_bound_beside_the_data(data, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["showers.py", "--bound", "--output", str(data)])
    assert showers() == 0
    assert "2600 electrons" in capsys.readouterr().out
    assert PredictionTable.read(data / "bound.hdf5").is_bound
    (data / "bound.hdf5").unlink()


def test_trainings_are_no_calorimeters():
    assert "leaking" in calorimeters()
    assert "energy" not in calorimeters()
