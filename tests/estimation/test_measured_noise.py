"""The way of a measured spectrum: Welch from records without signal, beside the data, into estimators and training."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cres import schema
from cres.data.module import CresDataModule
from cres.data.noise_spectrum import COLUMNS, NoiseSpectrum, measure_noise, spectrum_for, spectrum_path, table_for
from cres.data.prepare import prepare
from cres.data.record_file import RecordFile
from cres.data.records import Records, open_records
from cres.data.settings import Assembly
from cres.errors import UserError
from cres.estimation.methods.recordings import Recordings
from cres.estimation.methods.registry import run
from cres.estimation.methods.task import Task
from cres.estimation.noise import Coloured, White
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.transforms import ColouredNoise, KeyedRandom

RATE_HZ, SAMPLES = 403e6, 2048
CONFIG = SimulationConfig.from_dict({"readout": {"samples": SAMPLES}})


def true_density(frequency_hz: np.ndarray) -> np.ndarray:
    """A slope of ± 30 % and a bump at −60 MHz, in units of the nominal density."""
    return 1.2 + 0.6 * frequency_hz / RATE_HZ + 0.8 * np.exp(-0.5 * ((frequency_hz + 60e6) / 8e6) ** 2)


def write(path: Path, series: np.ndarray, **columns: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in zip(schema.SERIES_COLUMNS, np.moveaxis(series, -1, 0), strict=True):
            file[name] = values.astype(np.float32)
        for name, values in columns.items():
            file[name] = values
        file.attrs.update(sampling_rate_hz=RATE_HZ, lo_frequency_hz=25.9702e9)
    return path


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """600 records of coloured noise, (record, sample, 2), volts."""
    grid = np.linspace(-RATE_HZ / 2, RATE_HZ / 2, 801)
    table = list(zip(grid.tolist(), (2.2e-13 * true_density(grid)).tolist(), strict=True))
    random = KeyedRandom(5, 0, torch.arange(600))
    return ColouredNoise(RATE_HZ, table)(torch.zeros(600, SAMPLES, 2), random).numpy()


@pytest.fixture
def noise_file(noise: np.ndarray, tmp_path: Path) -> Path:
    return write(tmp_path / "empty.hdf5", noise)


def test_the_spectrum_is_the_true_one_within_its_errors(noise_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "run.noise.csv"
    assert measure_noise(open_records(str(noise_file)), output, 256) == 600
    frequency, relative, error, density = np.loadtxt(output, delimiter=",", skiprows=1).T
    assert output.read_text().startswith(",".join(COLUMNS))
    assert np.all(np.diff(frequency) == pytest.approx(RATE_HZ / 256))
    pull = (relative - true_density(frequency)) / error
    assert pull[1:].std() == pytest.approx(1, abs=0.25)  # the first bin sees both ends of the band
    assert abs(pull[1:].mean()) < 0.3
    np.testing.assert_allclose(density, relative * 2.2e-13, rtol=1e-6)
    assert NoiseSpectrum.read(output).relative_power == pytest.approx(relative)


def test_a_steep_spectrum_is_noise_and_no_line(tmp_path: Path) -> None:
    """Over the mean power of a record the loud end of a steep spectrum looks like lines."""
    grid = np.linspace(-RATE_HZ / 2, RATE_HZ / 2, 401)
    steep = 2.2e-13 * 10 ** (-1.6 * grid / RATE_HZ)  # 16 dB over the band
    random = KeyedRandom(6, 0, torch.arange(300))
    add = ColouredNoise(RATE_HZ, list(zip(grid.tolist(), steep.tolist(), strict=True)))
    path = write(tmp_path / "empty.hdf5", add(torch.zeros(300, SAMPLES, 2), random).numpy())
    assert measure_noise(open_records(str(path)), tmp_path / "out.csv", 64) == 300
    found = NoiseSpectrum.read(tmp_path / "out.csv")
    expected = np.interp(found.frequency_hz, grid, steep) / 2.2e-13
    np.testing.assert_allclose(found.relative_power[8:-8], expected[8:-8], rtol=0.05)


def test_records_with_electrons_are_no_noise(tmp_path: Path, noise: np.ndarray) -> None:
    columns = simulate_columns(CONFIG, sample_electrons(CONFIG, 40, seed=1))
    signal = np.stack([columns[name] for name in schema.SERIES_COLUMNS], -1)
    path = write(tmp_path / "run.hdf5", noise[:40] + signal)
    with pytest.raises(UserError, match=r"records have a line that noise has not.*run\.hdf5 row"):
        measure_noise(open_records(str(path)), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(("rows", "segment", "message"), [(8, 256, "too few"), (40, 4096, "must lie in 8 to the 2048")])
def test_what_makes_no_spectrum_is_one_sentence(
    tmp_path: Path, noise: np.ndarray, rows: int, segment: int, message: str
) -> None:
    path = write(tmp_path / "run.hdf5", noise[:rows])
    with pytest.raises(UserError, match=message):
        measure_noise(open_records(str(path)), tmp_path / "out.csv", segment)


@pytest.fixture
def electrons(tmp_path: Path) -> Path:
    """Simulated electrons with a measured spectrum beside them: twice the nominal noise, with a slope."""
    columns = simulate_columns(CONFIG, sample_electrons(CONFIG, 60, seed=3))
    series = np.stack([columns.pop(name) for name in schema.SERIES_COLUMNS], -1)
    path = write(tmp_path / "run.hdf5", series, **columns)
    frequency = np.linspace(-RATE_HZ / 2, RATE_HZ / 2, 33)
    rows = [f"{f},{2 + f / RATE_HZ}" for f in frequency]
    spectrum_path(path).write_text("frequency_hz,relative_power\n" + "\n".join(rows))
    return path


def test_the_table_beside_the_data_is_what_estimators_add_and_assume(electrons: Path) -> None:
    assert spectrum_path(electrons).name == "run.noise.csv"
    recordings = Recordings(str(electrons))
    model = recordings.noise_model
    assert isinstance(model, Coloured)
    rows = np.arange(60)
    added = recordings.series(rows) - Recordings(str(electrons), 0.0).series(rows)
    whitened = model.whiten_spectrum(added)
    assert float(torch.view_as_real(whitened).var()) == pytest.approx(1, abs=0.02)
    power = whitened.abs().square().mean(0)
    assert float(power[: SAMPLES // 2].mean() / power[SAMPLES // 2 :].mean()) == pytest.approx(1, abs=0.02)
    assert isinstance(Recordings(str(electrons), noise_spectrum="white").noise_model, White)


def test_the_bound_knows_the_spectrum(electrons: Path) -> None:
    task = {"data": str(electrons), "method": "bound", "split": "all", "limit": 4}
    beside = run(Task(**task), CONFIG).std(schema.ENERGY)  # type: ignore[arg-type]
    white = run(Task(**task, noise_spectrum="white"), CONFIG).std(schema.ENERGY)  # type: ignore[arg-type]
    level = np.sqrt(2 - 0.16)  # carriers lie at −0.16 of the sampling rate
    np.testing.assert_allclose(beside / white, level, rtol=0.05)


def test_a_training_adds_it_and_its_checkpoint_remembers_it(electrons: Path) -> None:
    rows = CresDataModule(data=str(electrons)).apparatus_facts()["noise_rows"]
    assert rows is not None
    assert len(rows) == 33
    assert rows[0][1] == pytest.approx(2.2e-13 * 1.5)
    assert CresDataModule(data=str(electrons), noise_spectrum="white").apparatus_facts()["noise_rows"] is None
    band = CresDataModule(data=str(electrons), band_hz=(-80e6, -40e6))
    facts = band.file_facts()
    shift = facts["lo_frequency_hz"] - 25.9702e9
    moved = facts["noise_rows"]
    assert moved[0][0] == pytest.approx(rows[0][0] - shift)
    # the same numbers for a network as for an estimator
    recordings = Recordings(str(electrons))
    volts = torch.from_numpy(recordings.records.read_series(np.arange(4)))
    events = torch.from_numpy(recordings.records.event_ids[:4])
    theirs = ColouredNoise(RATE_HZ, rows)(volts, KeyedRandom(0, -1, events))
    ours = recordings._noise(volts, KeyedRandom(0, -1, events))
    torch.testing.assert_close(theirs, ours)


def test_files_of_one_data_set_have_one_spectrum(electrons: Path) -> None:
    other = electrons.with_name("other.hdf5")
    other.write_bytes(electrons.read_bytes())
    with h5py.File(other, "r+") as file:
        file["event_id"][...] += 10**6
    both = Records([RecordFile(path) for path in (electrons, other)])
    with pytest.raises(UserError, match=r"have not the same noise spectrum beside them \(run\.noise\.csv and none\)"):
        spectrum_for(both)
    assert spectrum_for(both, "white") is None
    spectrum_path(other).write_bytes(spectrum_path(electrons).read_bytes())
    found = spectrum_for(both)
    assert found is not None
    assert found.source == str(spectrum_path(electrons))
    spectrum_path(electrons).unlink()
    with pytest.raises(UserError, match="not the same noise spectrum"):
        spectrum_for(both)


def test_shards_of_one_preparation_have_the_spectrum_of_their_set(electrons: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    folder.mkdir()
    columns = simulate_columns(CONFIG, sample_electrons(CONFIG, 60, seed=3))
    with gzip.open(tmp_path / "run.pkl.gz", "wb") as file:
        pickle.dump({name: list(values) for name, values in columns.items()}, file)
    prepare([tmp_path / "run.pkl.gz"], folder / "run.hdf5", assembly=Assembly(shard_rows=20))
    shards = open_records(folder / "run.hdf5")
    assert len(shards.files) == 3
    assert spectrum_for(shards) is None
    spectrum_path(folder / "run.hdf5").write_bytes(spectrum_path(electrons).read_bytes())
    assert table_for(shards) == folder / "run.noise.csv"
    for data in (folder / "run.hdf5", folder / "run.index.json", folder, shards.files[1].path):
        found = spectrum_for(open_records(data))
        assert found is not None
        assert found.source == str(folder / "run.noise.csv")
    # a table of one shard alone, and an index that is none
    spectrum_path(shards.files[1].path).write_text("frequency_hz,relative_power\n0,1\n")
    with pytest.raises(UserError, match=r"have not the same noise spectrum beside them \(run\.noise\.csv and run-"):
        spectrum_for(shards)
    (tmp_path / "other.index.json").write_text("[]")
    assert spectrum_for(open_records(electrons)) is not None
    with h5py.File(electrons, "r+") as file:
        file["event_id"][...] += 10**6
    with pytest.raises(UserError, match=r"the records are of 2 data sets.*--output"):
        table_for(open_records([electrons, *(file.path for file in shards.files)]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frequency_hz,power\n0,1\n", "no relative_power"),
        ("frequency_hz,relative_power\n0,1\n-1,1\n", "rising frequencies"),
        ("frequency_hz,relative_power\n0,much\n", "must hold numbers"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_table_that_is_none_is_one_sentence(electrons: Path, text: str, message: str) -> None:
    spectrum_path(electrons).write_text(text)
    with pytest.raises(UserError, match=message):
        spectrum_for(open_records(str(electrons)))
