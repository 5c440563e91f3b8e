"""Long records in windows, through the command line: the noise of each, what is written, the calibration."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from cres.data.module import CresDataModule
from cres.errors import UserError
from cres.evaluation.windows import ELECTRON, WINDOW, WINDOW_START, Combination, combine_windows
from cres.transforms import FROZEN_EPOCH
from reconstruction.judging.tables.table import PredictionTable
from reconstruction.training.command_line.cli import main
from reconstruction.training.runs.loading import load_module

PARTS = 3


@pytest.fixture(scope="module")
def tracks(tmp_path_factory, records):
    """Return records three times as long: the same tone goes on."""
    path = tmp_path_factory.mktemp("tracks") / "tracks.hdf5"
    # the same file is open elsewhere in this process, without a lock
    with h5py.File(records, locking=False) as short, h5py.File(path, "w") as long:
        for name in short:
            values = short[name][()]
            long[name] = np.tile(values, (1, PARTS)) if values.ndim == 2 else values
        long.attrs.update(short.attrs)
    return path


def batches(path, samples=512, **settings):
    data = CresDataModule(str(path), batch_size=16, window_samples=samples, **settings)
    loader = data.track_dataloader(np.arange(len(data.records)))
    return data, list(loader)


def test_windows_are_the_pieces_of_the_record_in_order(tracks, records):
    data, read = batches(tracks)
    series = torch.cat([batch["inputs"]["series"] for batch in read])
    whole = torch.from_numpy(data.records.read_series(np.arange(len(data.records))))
    torch.testing.assert_close(series.reshape(whole.shape), whole, rtol=0, atol=0)
    window = torch.cat([batch["observables"]["window"] for batch in read])
    assert window[:4].tolist() == [0, 1, 2, 0]


def test_every_window_has_noise_of_its_own_and_the_first_that_of_the_short_record(trained, tracks, records):
    model = load_module(trained / "checkpoints" / "best.ckpt")
    _, windows = batches(tracks)
    short = next(iter(CresDataModule(str(records), batch_size=16).predict_dataloader()))

    def noise_of(batch):
        return model.inject(batch, FROZEN_EPOCH)["inputs"]["series"] - batch["inputs"]["series"]

    noise = torch.cat([noise_of(batch) for batch in windows[:3]])
    alone = noise_of(short)
    torch.testing.assert_close(noise[::PARTS], alone, rtol=0, atol=0)
    flat = noise.flatten(1).double().numpy()
    assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 0.2  # 1/√1024 each


def test_tracks_are_calibrated_on_validation_and_combined(trained, tracks, tmp_path, capsys):
    run = f"--run={trained}"
    options = [run, f"--data.data={tracks}", "--windows=512", "--data.fractions=[0.2,0.4,0.4]"]
    main(["test", *options, f"--predictions={tmp_path / 'tracks.hdf5'}"])
    table = PredictionTable.read(tmp_path / "tracks.hdf5")
    windows = PredictionTable.read(tmp_path / "tracks_windows.hdf5")
    combination = Combination.read(trained / "windows.json")
    assert combination.electrons >= 50
    assert len(windows) == PARTS * len(table)
    assert sorted(set(windows.column(ELECTRON))) == sorted(table.event_id)
    np.testing.assert_allclose(windows.column(WINDOW_START), windows.column(WINDOW) * 512 / 403e6)
    np.testing.assert_array_equal(combine_windows(windows, combination).mean("energy_ev"), table.mean("energy_ev"))
    assert (table.column("n_windows") == PARTS).all()
    main(["predict", *options, f"--predictions={tmp_path / 'all.hdf5'}"])
    everything = PredictionTable.read(tmp_path / "all.hdf5")
    assert len(everything) == 192
    both = everything.select(np.isin(everything.event_id, table.event_id))
    np.testing.assert_allclose(both.mean("energy_ev"), table.mean("energy_ev"), rtol=1e-6)


def test_predict_without_calibration_says_so(trained, tracks, tmp_path, capsys):
    (trained / "windows.json").unlink(missing_ok=True)
    main(["predict", f"--run={trained}", f"--data.data={tracks}", "--windows=512", f"--predictions={tmp_path}/p.h5"])
    assert "taken for independent" in capsys.readouterr().err


def test_windows_longer_than_the_records_are_refused(trained, tracks, tmp_path):
    with pytest.raises(UserError, match="does not fit in records of 1536"):
        main(["predict", f"--run={trained}", f"--data.data={tracks}", "--windows=2048"])
