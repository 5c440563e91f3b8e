"""The command line on a device: train, resume with an average, calibrate, test, predict, in windows and in pieces."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from training_records import TINY, write_records

from reconstruction.judging.tables.table import PredictionTable
from reconstruction.models import Calibration
from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.learning.averaging import Average
from reconstruction.training.learning.checkpoints import read_checkpoint

pytestmark = pytest.mark.gpu

Run = Callable[..., None]

LANDMARK = """
views:
  aligned: {class_path: cres.transforms.AlignedSpectrum, init_args: {carrier_bins: 8, parts: [2], comb: [1, 2, 3]}}
encoders:
  aligned: {class_path: reconstruction.models.S4DEncoder, init_args: {width: 6, state: 4, depth: 1, pooling: attention}}
landmark: {column: avg_axial_frequency_Hz, multiple: 2.0, view: aligned, location_degree: 2, scalar_degrees: [1, 1]}
head: {class_path: reconstruction.models.MixtureHead, init_args: {components: 2, hidden_width: 8}}
receiver: [{class_path: cres.transforms.Quantise, init_args: {range_volt: 1.0, bits: 12}}]
schedule: {class_path: reconstruction.training.schedules.OneCycle}
"""
CAUSAL = """
views: {time: {class_path: cres.transforms.TimeView, init_args: {band_hz: null}}}
encoders:
  time:
    class_path: reconstruction.models.S4DEncoder
    init_args: {width: 6, state: 4, depth: 1, bidirectional: false, stride: 4}
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("data") / "records.hdf5", 256)


@pytest.fixture
def run(device: torch.device, trainer_options: list[str], records: Path, tmp_path: Path) -> Run:
    """Run a command: run(command, folder, *options)."""
    config = tmp_path / "tiny.yaml"
    text = TINY.replace("  accelerator: cpu\n", "").replace("batch_size: 32", "batch_size: 128")
    config.write_text(text.replace("max_epochs: 3", "max_epochs: 1"))

    def run(command: str, folder: Path, *options: str) -> None:
        given = ["-c", str(config)] if command == "fit" else []
        data = [] if any(option.startswith("--data.data=") for option in options) else [f"--data.data={records}"]
        CommandLine(command, [*given, *data, f"--run={folder}", *trainer_options, *options]).execute()

    return run


@pytest.fixture
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration of few records is enough to go through it."""
    monkeypatch.setattr("reconstruction.training.runs.calibrating.CALIBRATION_RECORDS", 1)


def overrides(text: str, tmp_path: Path) -> str:
    path = tmp_path / "model.yaml"
    path.write_text("model:\n" + "".join(f"  {line}\n" for line in text.strip().splitlines()))
    return str(path)


@pytest.mark.usefixtures("few_passes")
def test_a_training_with_an_average_is_calibrated_resumed_and_reconstructs(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run("fit", folder, "--data.cache=device")
    run("fit", folder, "--resume", "--trainer.max_epochs=2")
    checkpoint = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert checkpoint["global_step"] == 4
    factor = checkpoint["state_dict"]["reconstructor.calibration.temperature.factor"]
    assert bool((factor != 1).all())
    assert factor.device.type == "cpu"
    run("test", folder, "--data.cache=device")
    table = PredictionTable.read(folder / "predictions.hdf5")
    assert np.isfinite(table.std("energy_eV")).all()
    assert table.attributes["seconds_per_electron"] > 0


@pytest.mark.usefixtures("few_passes")
def test_a_landmark_a_mixture_and_an_ensemble(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run("fit", folder, "-c", overrides(LANDMARK, tmp_path), "--data.cache=device")
    files = [str(folder / "checkpoints" / f"{name}.ckpt") for name in ("best", "last")]
    run("test", folder, f"--ckpt_path=[{','.join(files)}]", "--data.cache=device")
    assert np.isfinite(PredictionTable.read(folder / "predictions.hdf5").std("energy_eV")).all()


# What trainings can have beside, each with tensors of its own: settings, weights of rows, what is hidden, classes.
CLASSES = "{class_path: reconstruction.models.CategoricalHead, init_args: {classes: {low: 0, high: 1}}}"
FURTHER = {
    "settings": ("condition: {settings: [kind, wall], by: attention, log: [wall]}", []),
    "noise": (
        "condition: {settings: [noise_density_3_of_8_w_per_hz], drop: 0.0}\nnoise_variation: {level: [0.5, 2.0]}",
        [],
    ),
    "weighted": ("weight_column: wall", []),
    "masked": (
        "masking: {spans: {spectrum: {share: 0.3, length: 2}}, bands: {spectrum: {length: 2}}, alone: true}",
        [],
    ),
    "samples": ("masking: {samples: {spectrum: {share: 0.5, length: 32}}}", []),
    "super-resolution": ("super_resolution: {view: spectrum, samples: 128}", []),
    "generation": (
        "generation: {view: spectrum, prior: flow, rendering: "
        "{class_path: cres.simulation.rendered_lines.RenderedLines}}",
        ["--data.targets=[energy_eV,pitch_angle_deg,radius_m]"],
    ),
    "denoiser first": (
        "denoise_first: {view: spectrum, encoder: {class_path: reconstruction.models.S4DEncoder, "
        "init_args: {width: 6, state: 4, depth: 1}}}",
        [],
    ),
    "classes": (f"head: {CLASSES}", ["--data.targets=[kind]"]),
}


@pytest.mark.usefixtures("few_passes")
@pytest.mark.parametrize("name", FURTHER)
def test_what_a_training_can_have_beside(run: Run, records: Path, tmp_path: Path, name: str) -> None:
    path, folder = tmp_path / "records.hdf5", tmp_path / "run"
    shutil.copy(records, path)
    with h5py.File(path, "r+") as file:
        rows = np.arange(len(file["event_id"]))
        file["kind"], file["wall"] = rows % 2, 0.3 + 0.1 * (rows % 3)
    text, options = FURTHER[name]
    run("fit", folder, "-c", overrides(text, tmp_path), f"--data.data={path}", "--data.cache=device", *options)
    if name != "masked":
        run("test", folder, f"--data.data={path}", "--data.cache=device", *options)
        assert len(PredictionTable.read(folder / "predictions.hdf5"))


@pytest.mark.usefixtures("few_passes")
@pytest.mark.filterwarnings("ignore:.*512 samples")
def test_long_records_in_windows_and_in_pieces(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "causal"
    run("fit", folder, "-c", overrides(CAUSAL, tmp_path), "--data.window_samples=128")
    run("predict", folder, "--windows=128", f"--predictions={tmp_path / 'windows.hdf5'}")
    run("predict", folder, "--chunk=128", f"--predictions={tmp_path / 'pieces.hdf5'}")
    run("predict", folder, f"--predictions={tmp_path / 'whole.hdf5'}", "--data.window_samples=512")
    pieces, whole = (PredictionTable.read(tmp_path / f"{name}.hdf5") for name in ("pieces", "whole"))
    np.testing.assert_allclose(pieces.mean("energy_eV"), whole.mean("energy_eV"), rtol=1e-6)
    assert len(PredictionTable.read(tmp_path / "windows.hdf5")) == len(whole)


# The suite is worth something when it fails with each known fault put back ------------------------------------------


def _fit_on_the_buffers(self: Calibration, distribution: Any, targets: Any, method: Any = "coverage") -> None:
    """As it was: predictions on the host meet buffers on the device."""
    self.reset()
    self._fit(distribution.map(lambda values: values.double()), targets.double(), method)


def _update_without_a_move(self: Average, module: torch.nn.Module, decay: float) -> None:
    """As it was: the average that a checkpoint brought back lies on the processor."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name in self.other:
                self.other[name].lerp_(parameter, 1 - decay)
            else:
                self.other[name] = parameter.detach().clone()


@pytest.mark.usefixtures("few_passes")
def test_the_fault_of_the_calibration_is_found(
    run: Run, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "cpu":
        pytest.skip("on the processor there is no second device")
    monkeypatch.setattr(Calibration, "fit", _fit_on_the_buffers)
    with pytest.raises(RuntimeError, match=r"of the processor|same device"):
        run("fit", tmp_path / "run")


@pytest.mark.usefixtures("few_passes")
def test_the_fault_of_the_average_is_found(
    run: Run, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "cpu":
        pytest.skip("on the processor there is no second device")
    monkeypatch.setattr(Average, "update", _update_without_a_move)
    run("fit", tmp_path / "run")
    with pytest.raises(RuntimeError, match=r"of the processor|same device"):
        run("fit", tmp_path / "run", "--resume", "--trainer.max_epochs=2")
