"""One model for many chambers: the toy system, told the error of its points, through the real command line."""

from __future__ import annotations

import contextlib
import importlib
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres.errors import UserError
from cres.evaluation import PredictionTable
from reconstruction.training.command_line.cli import main
from reconstruction.training.learning.checkpoints import read_checkpoint
from reconstruction.training.learning.learner import CARD
from reconstruction.training.watching.quiet import QUIET

HERE = Path(__file__).parent
pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]

CONFIG = """
system: straight_lines
seed_everything: 1
trainer: {max_epochs: 10, accelerator: cpu, enable_progress_bar: false}
model:
  encoders:
    points:
      class_path: reconstruction.models.ConvNetEncoder
      init_args: {width: 32, kernel_size: 1, stride: 1, downsample: [1, 1]}
  head: {class_path: reconstruction.models.GaussianHead, init_args: {hidden_width: 32}}
  optimiser: {lr: 1.0e-2}
  condition: {settings: [stretch], log: [stretch], drop: 0.15}
figures: {every_epochs: 0}
"""


@pytest.fixture(scope="module", autouse=True)
def lines():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("straight_lines")


def stretched(lines, path: Path, factors: tuple[float, ...], rows: int, seed: int, told: bool = True) -> Path:
    """Write lines of chambers that show every height larger by a factor: the same picture means other lines."""
    lines.write(path, rows, seed, stretch=factors)
    if not told:
        with h5py.File(path, "a") as file:
            file["stretch"][...] = np.nan
    return path


@pytest.fixture(scope="module")
def folder(lines, tmp_path_factory) -> Path:
    """A trained model, and tables of other lines: of trained chambers, of unknown ones, and of one outside."""
    folder = tmp_path_factory.mktemp("told")
    stretched(lines, folder / "lines.hdf5", (0.5, 1.0, 2.0), 2400, 0)
    (folder / "told.yaml").write_text(CONFIG)
    main(["fit", "-c", str(folder / "told.yaml"), f"--data.data={folder / 'lines.hdf5'}", f"--run={folder / 'run'}"])
    main(["test", f"--run={folder / 'run'}"])
    for name, factors, told in (("between", (1.4,), True), ("unknown", (0.5, 1.0, 2.0), False)):
        data = stretched(lines, folder / f"{name}.hdf5", factors, 600, 5, told)
        words = ["predict", f"--run={folder / 'run'}", f"--data.data={data}", f"--predictions={folder / name}.table"]
        with (
            contextlib.nullcontext() if told else pytest.warns(UserWarning, match="stretch is not known for 600 of 600")
        ):
            main(words)
    return folder


def table(folder: Path, name: str) -> PredictionTable:
    return PredictionTable.read(folder / f"{name}.table")


def test_it_uses_what_it_is_told_and_interpolates(folder):
    tested = PredictionTable.read(folder / "run" / "predictions.hdf5")
    for one in (tested, table(folder, "between")):
        assert np.median(np.abs(one.residual("offset_mm"))) < 0.2
        inside = np.abs(one.residual("slope")) < one.std("slope")
        assert 0.5 < inside.mean() < 0.85
    assert set(tested.column("stretch")) == {0.5, 1.0, 2.0}
    assert not tested.column("outside_settings").any()


def test_what_is_not_known_makes_the_error_bars_grow(folder):
    tested, unknown = PredictionTable.read(folder / "run" / "predictions.hdf5"), table(folder, "unknown")
    assert np.median(unknown.std("offset_mm")) > 2 * np.median(tested.std("offset_mm"))
    inside = np.abs(unknown.residual("offset_mm")) < unknown.std("offset_mm")
    assert 0.5 < inside.mean() < 0.85


def test_outside_is_flagged_said_and_covered(folder, lines, tmp_path):
    data = stretched(lines, tmp_path / "far.hdf5", (2.6,), 600, 6)
    with pytest.warns(UserWarning, match=r"600 of 600 lines have settings outside .*is 2\.6 to 2\.6, 0\.5 to 2"):
        main(["predict", f"--run={folder / 'run'}", f"--data.data={data}", f"--predictions={tmp_path / 'far'}"])
    far, tested = PredictionTable.read(tmp_path / "far"), PredictionTable.read(folder / "run" / "predictions.hdf5")
    assert far.column("outside_settings").all()
    assert np.median(far.std("offset_mm")) > 1.5 * np.median(tested.std("offset_mm"))
    assert (np.abs(far.residual("offset_mm")) < far.std("offset_mm")).mean() > 0.6
    met = json.loads(far.attributes["settings"])
    assert (met["names"], met["low"], met["high"]) == (["stretch"], [0.5], [2.0])
    assert met["trained"] == [[0.5], [1.0], [2.0]]


def test_the_checkpoint_alone_knows_the_settings(folder):
    checkpoint = read_checkpoint(folder / "run" / "checkpoints" / "best.ckpt")
    assert checkpoint[CARD]["model"]["condition"]["settings"] == ["stretch"]
    shift = checkpoint["state_dict"]["reconstructor.condition.context.shift"]
    assert shift.dtype == torch.float64
    assert abs(float(shift)) < 0.1


def test_a_training_goes_on_as_if_nothing_had_been(folder, lines, tmp_path):
    stretched(lines, tmp_path / "few.hdf5", (0.5, 2.0), 300, 9)
    options = ["-c", str(folder / "told.yaml"), f"--data.data={tmp_path / 'few.hdf5'}"]
    options += ["--model.schedule=reconstruction.training.schedules.Constant"]
    main(["fit", *options, f"--run={tmp_path / 'whole'}", "--trainer.max_epochs=2"])
    main(["fit", *options, f"--run={tmp_path / 'part'}", "--trainer.max_epochs=1"])
    main(["fit", f"--run={tmp_path / 'part'}", "--resume", "--trainer.max_epochs=2"])
    whole, part = (read_checkpoint(tmp_path / run / "checkpoints" / "last.ckpt") for run in ("whole", "part"))
    for name, value in whole["state_dict"].items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, part["state_dict"][name]), name


def test_it_is_tuned_to_one_new_chamber(folder, lines, tmp_path):
    data = stretched(lines, tmp_path / "new.hdf5", (3.0,), 400, 7)
    tune = [f"--fine_tune.checkpoint={folder / 'run/checkpoints/best.ckpt'}", "--fine_tune.whole=true"]
    rest = [f"--run={tmp_path / 'tuned'}", "--trainer.max_epochs=4", "--model.optimiser.lr=2e-3"]
    main(["fit", "-c", str(folder / "told.yaml"), f"--data.data={data}", *tune, *rest])
    main(["test", f"--run={tmp_path / 'tuned'}"])
    tuned = PredictionTable.read(tmp_path / "tuned" / "predictions.hdf5")
    assert not tuned.column("outside_settings").any()
    assert np.median(np.abs(tuned.residual("offset_mm"))) < 0.25
    assert json.loads(tuned.attributes["settings"])["trained"] == [[3.0], [0.5], [1.0], [2.0]]
    with pytest.raises(UserError, match="whole is about an earlier training"):
        main(["fit", "-c", str(folder / "told.yaml"), f"--data.data={data}", "--fine_tune.whole=true"])


def test_data_without_the_setting_and_odd_ones_are_refused(folder, lines, tmp_path):
    bare = lines.write(tmp_path / "bare.hdf5", 100, 8)
    with pytest.raises(UserError, match=r"no column 'stretch', which model.condition names.*NaN"):
        main(["predict", f"--run={folder / 'run'}", f"--data.data={bare}"])
    fit = ["fit", "-c", str(folder / "told.yaml"), f"--run={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="no column 'stretch'"):
        main([*fit, f"--data.data={bare}"])
    with h5py.File(bare, "a") as file:
        file["stretch"] = np.array([b"wide"] * 100)
    with pytest.raises(UserError, match="stretch as texts or arrays"):
        main([*fit, f"--data.data={bare}"])
    with h5py.File(bare, "a") as file:
        del file["stretch"]
        file["stretch"] = np.ones(100)
    with pytest.raises(UserError, match="stretch is 1 in all training rows"):
        main([*fit, f"--data.data={bare}"])
    with h5py.File(bare, "a") as file:
        file["stretch"][...] = np.inf
    with pytest.raises(UserError, match="row 0, column stretch: a setting is a number"):
        main([*fit, f"--data.data={bare}"])
