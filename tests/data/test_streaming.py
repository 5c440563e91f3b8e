"""Endless training: a stream of electrons through the loader, and through the real command line as the page says."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from frames import write_frames

from cres import schema
from cres.data.module import CresDataModule
from cres.data.prepare.preparation import prepare
from cres.errors import UserError
from cres.resources import simulation_config
from cres.simulation import SimulatedElectrons, SimulationConfig, sample_electrons, simulate_columns
from cres.training.export import card_text
from cres.training.module import CresModule
from reconstruction.training.command_line.cli import CommandLine
from reconstruction.training.runs.loading import load_module
from reconstruction.training.watching.quiet import QUIET

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "streaming.md"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streaming")
    write_frames(folder / "raw", files=3, rows=20, samples=256)
    prepare([folder / "raw"], folder / "cres.hdf5")
    return folder


def batches_by_event(loader) -> dict[int, torch.Tensor]:
    return {
        int(event): series
        for batch in loader
        for event, series in zip(batch["event_id"], batch["inputs"]["series"], strict=True)
    }


class Counting:
    """Electron i of a seed: its number, in every column."""

    sampling_rate_hz = 403e6
    lo_frequency_hz = 25.9702e9
    samples = 256

    def __call__(self, seed: int, start: int, count: int) -> dict[str, np.ndarray]:
        number = np.arange(start, start + count)
        series = np.repeat(number[:, None], self.samples, axis=1).astype(np.float32)
        scalars = dict.fromkeys((*schema.TRUTH_COLUMNS, schema.CARRIER_FREQUENCY), number.astype(float))
        return {schema.EVENT_ID: number + 10**6 * seed, schema.SERIES_I: series, schema.SERIES_Q: -series, **scalars}


class CountingTensors(Counting):
    """The same electrons as tensors of their own device, as a source on an accelerator makes them."""

    device = torch.device("meta")

    def __call__(self, seed: int, start: int, count: int) -> dict[str, torch.Tensor]:
        columns = super().__call__(seed, start, count)
        return {name: torch.from_numpy(values).to(self.device) for name, values in columns.items()}


def test_electrons_made_on_a_device_stay_there(prepared, monkeypatch):
    """They come from no worker, for they cannot leave; and the host looks at none of their numbers."""
    options = {"stream_electrons": 10, "batch_size": 4, "workers": 2, "seed": 3}
    data = [
        CresDataModule(str(prepared / "cres.hdf5"), stream=made, **options) for made in (CountingTensors(), Counting())
    ]
    for module in data:
        module.setup("fit")
    there = data[0].train_dataloader()
    assert there.num_workers == 0 < data[1].train_dataloader().num_workers
    shapes = [
        (batch["inputs"]["series"].shape, batch["targets"].dtype, batch["inputs"]["series"].device.type)
        for batch in there
    ]
    assert shapes == [((size, 256, 2), torch.float64, "meta") for size in (4, 4, 2)]
    monkeypatch.setattr(CountingTensors, "device", torch.device("cpu"))
    data[1].workers = 0
    for ours, theirs in zip(data[0].train_dataloader(), data[1].train_dataloader(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_stream_never_repeats_and_resumes(prepared, workers):
    options = {"stream": Counting(), "stream_electrons": 10, "batch_size": 4, "workers": workers, "seed": 3}
    module = CresDataModule(str(prepared / "cres.hdf5"), **options)
    module.setup("fit")
    loader = module.train_dataloader()
    numbers = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            numbers += batch["targets"][:, 0].tolist()
            np.testing.assert_array_equal(batch["inputs"]["series"][:, 0, 1], -batch["targets"][:, 1])
            assert set(batch["observables"]) == {schema.RADIUS, schema.CARRIER_FREQUENCY}
    assert numbers == list(range(30))
    assert len(batches_by_event(module.val_dataloader())) == len(module.split.validation)


def test_a_stream_must_fit_the_data(prepared):
    other = Counting()
    other.samples = 128
    with pytest.raises(UserError, match=r"samples is 256 in .* and 128 in the stream"):
        CresDataModule(str(prepared / "cres.hdf5"), stream=other).setup("fit")
    with pytest.raises(UserError, match="window and band are for files"):
        CresDataModule(str(prepared / "cres.hdf5"), stream=Counting(), window_samples=5).setup("fit")
    # a model that was trained on a stream reconstructs records of any length, and in windows
    CresDataModule(str(prepared / "cres.hdf5"), stream=other).setup("predict")
    CresDataModule(str(prepared / "cres.hdf5"), stream=Counting(), window_samples=5).setup("test")


def test_a_stream_of_another_apparatus_is_refused(prepared, tmp_path):
    """A file of one mode, electrons of simulate.py's three: scales and calibration would be another cavity's."""
    stream = SimulatedElectrons()
    stream.samples = 256
    files = {}
    for name in ("cavity_26ghz", "cavity_26ghz_modes"):
        files[name] = tmp_path / f"{name}.hdf5"
        shutil.copy(prepared / "cres.hdf5", files[name])
        with h5py.File(files[name], "r+") as written:
            content = SimulationConfig.from_yaml(simulation_config(name)).to_dict()
            written.attrs["config"] = json.dumps(content, sort_keys=True)
    with pytest.raises(UserError, match=r"cavity.modes is another one in .*init_args.config"):
        CresDataModule(str(files["cavity_26ghz"]), stream=stream).setup("fit")
    CresDataModule(str(files["cavity_26ghz_modes"]), stream=stream).setup("fit")


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A working folder with an apparatus of short records, and a file of it to judge by."""
    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((PAGE.parents[2] / "configs" / "simulation" / "cavity_26ghz.yaml").read_text())
    config["readout"]["samples"] = 512
    Path("small.yaml").write_text(yaml.safe_dump(config))
    source = SimulationConfig.from_yaml(Path("small.yaml"))
    columns = simulate_columns(source, sample_electrons(source, 24, 0, 0))
    frame = pd.DataFrame({name: list(v) if v.ndim > 1 else v for name, v in columns.items()})
    Path("raw").mkdir()
    frame.to_pickle("raw/electrons.pkl.gz")
    prepare(["raw"], "judged.hdf5")
    return tmp_path


TINY = """
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, logger: false}
data: {batch_size: 4, fractions: [0.4, 0.3, 0.3]}
model:
  views: {spectrum: {class_path: cres.transforms.SpectrumView}}
  encoders: {spectrum: {class_path: reconstruction.models.S4DEncoder, init_args: {width: 4, state: 2, depth: 1}}}
  head: {class_path: reconstruction.models.PointHead}
  loss: {class_path: reconstruction.models.MSE}
  calibration: none
"""


quiet = pytest.mark.filterwarnings(*(f"ignore:{text}" for text in QUIET))


def options_of_the_page() -> list[str]:
    """Return the options of `data.stream…` in the page's command with a configuration of its own."""
    lines = PAGE.read_text().replace("\\\n", " ").splitlines()
    command = next(line for line in lines if "cli.py fit" in line and "coils" in line)
    return [word for word in shlex.split(command) if word.startswith("--data.stream")]


@quiet
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # a figure of pulls that are all off its axis
def test_the_command_line_trains_on_electrons_that_no_file_holds(small, monkeypatch):
    """What the page says, with a small apparatus: every electron of two epochs is new, and from the simulator."""
    seen: list[int] = []
    step = CresModule.training_step

    def watched(self, batch, batch_idx):
        seen.extend(batch["event_id"].tolist())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(CresModule, "training_step", watched)
    Path("tiny.yaml").write_text(TINY)
    options = [word.replace("configs/simulation/coils.yaml", "small.yaml") for word in options_of_the_page()]
    assert any("small.yaml" in word for word in options)
    CommandLine(
        "fit", ["-c", "tiny.yaml", "--data.data=judged.hdf5", "--data.stream_electrons=8", "--run=run", *options]
    ).execute()
    assert len(seen) == len(set(seen)) == 16
    source = SimulatedElectrons("small.yaml")
    assert seen == source(0, 0, 16)[schema.EVENT_ID].tolist()
    assert not set(seen) & set(CresDataModule("judged.hdf5").records.event_ids.tolist())
    card = card_text(load_module(Path("run/checkpoints/last.ckpt")).card, "", None)
    assert "electrons of SimulatedElectrons, new ones in every epoch" in card
    assert "of judged.hdf5, for the scales of targets alone" in card


def test_electrons_of_the_simulator_do_not_depend_on_how_they_are_asked_for(small):
    source = SimulatedElectrons("small.yaml")
    whole, part = source(3, 0, 6), source(3, 4, 2)
    for name in whole:
        np.testing.assert_array_equal(whole[name][4:], part[name], err_msg=name)
