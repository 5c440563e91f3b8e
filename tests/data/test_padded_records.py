"""Records that were cut to different lengths: what lies behind their samples is nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.training import build_module
from reconstruction.random.keyed import FROZEN_EPOCH

SAMPLES, ROWS = 96, 12


def write(path: Path, taken: np.ndarray | None, padding: float = 0.0) -> Path:
    random = np.random.default_rng(3)
    series = random.normal(0, 0.1, (2, ROWS, SAMPLES)).astype(np.float32)
    if taken is not None:
        series[:, np.arange(SAMPLES) >= taken[:, None]] = padding
    with h5py.File(path, "w") as file:
        file["output_ts_I"], file["output_ts_Q"] = series
        file["event_id"] = np.arange(ROWS)
        file["energy_eV"] = random.uniform(18_500, 18_600, ROWS)
        file["pitch_angle_deg"] = random.uniform(88, 90, ROWS)
        if taken is not None:
            file["valid_samples"] = taken
        file.attrs.update({"sampling_rate_hz": 403e6, "lo_frequency_hz": 25.9702e9})
    return path


@pytest.fixture
def taken() -> np.ndarray:
    return np.array([96, 50, 7, 96, 33, 64, 96, 80, 1, 96, 20, 95])


def batch_of(path: Path, **options) -> dict:
    return next(iter(CresDataModule(str(path), batch_size=ROWS, **options).predict_dataloader()))


def model(encoder: str):
    view = {"class_path": "cres.transforms.TimeView", "init_args": {"band_hz": None}}
    options = {"LSTMEncoder": {"width": 8, "depth": 1, "stride": 4}, "S4DEncoder": {"width": 8, "depth": 1, "state": 4}}
    config = {
        "sampling_rate_hz": 403e6,
        "targets": ["energy_eV"],
        "views": {"time": view},
        "encoders": {"time": {"class_path": f"reconstruction.models.{encoder}", "init_args": options[encoder]}},
        "head": {"class_path": "reconstruction.models.GaussianHead"},
    }
    torch.manual_seed(0)
    return build_module(config).eval()


def test_masks_say_what_was_taken(tmp_path, taken):
    batch = batch_of(write(tmp_path / "padded.hdf5", taken))
    np.testing.assert_array_equal(batch["masks"]["series"].sum(1), taken)
    assert not batch_of(write(tmp_path / "whole.hdf5", None))["masks"]
    window = batch_of(tmp_path / "padded.hdf5", window_start=40, window_samples=32)
    np.testing.assert_array_equal(window["masks"]["series"].sum(1), np.clip(taken - 40, 1, 32))


@pytest.mark.parametrize("encoder", ["LSTMEncoder", "S4DEncoder"])
def test_what_lies_behind_them_changes_nothing(tmp_path, taken, encoder):
    network = model(encoder)
    said = []
    for padding in (0.0, 50.0):
        batch = batch_of(write(tmp_path / f"{padding}.hdf5", taken, padding))
        noisy = network.inject(batch, FROZEN_EPOCH)
        assert bool((noisy["inputs"]["series"][2, 7:] == 0).all())
        said.append(network.of(noisy).estimate)
    torch.testing.assert_close(said[0], said[1])
    alone = network(noisy["inputs"]["series"][1:2, :50]).estimate
    torch.testing.assert_close(said[1][1:2], alone, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(network(noisy["inputs"]["series"]).estimate[1:2], alone, rtol=1e-5, atol=1e-4)


def test_they_are_trained_on(tmp_path, taken):
    network = model("LSTMEncoder").train()
    network.reconstructor.target_scaler.fit(torch.tensor([[18_500.0], [18_600.0]], dtype=torch.float64))
    batch = batch_of(write(tmp_path / "padded.hdf5", taken), targets=("energy_eV",))
    loss = network.objective(network.inject(batch, 0), batch)[0]
    assert torch.isfinite(loss)


def test_wrong_numbers_and_windows_of_padded_records_are_refused(tmp_path, taken):
    path = write(tmp_path / "padded.hdf5", taken)
    data = CresDataModule(str(path), window_samples=32)
    with pytest.raises(UserError, match="column valid_samples, so that some are padded"):
        data.track_dataloader(np.arange(ROWS))
    wrong = Path(shutil.copy(path, tmp_path / "wrong.hdf5"))
    with h5py.File(wrong, "r+") as file:
        file["valid_samples"][3] = SAMPLES + 1
    with pytest.raises(UserError, match=r"row 3: valid_samples is 97, but its series has 96 samples"):
        batch_of(wrong)


def test_a_strangers_configuration_is_none(tmp_path):
    path = write(tmp_path / "strange.hdf5", None)
    for config in ("trap: {depth: 3}", "[1, 2]"):
        with h5py.File(path, "r+") as file:
            file.attrs["config"] = config
        assert CresDataModule(str(path)).source_config() == {}
