"""Networks that are told the spectrum of the noise: bands against a slow twin, noise that moves, files.

The toy: one known line, whose I and Q are the targets and whose place no noise can be read off beside. How well it can
be known depends on the density there alone, so that only who is told the noise can state right error bars.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import cres
from cres.data.module import CresDataModule
from cres.data.noise_spectrum import spectrum_path
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.training.noise_variation import NoiseVariation
from cres.transforms import FROZEN_EPOCH, ColouredNoise, GainPhaseDrift, KeyedRandom, WhiteNoise
from cres.transforms.bands import band_means, band_of, grid_hz
from cres.transforms.row_noise import RowNoise
from reconstruction.records.batch import SETTINGS, STRENGTH
from reconstruction.training.command_line.cli import main
from reconstruction.training.runs.loading import load_module
from reconstruction.training.watching.quiet import QUIET

pytestmark = [pytest.mark.filterwarnings(f"ignore:{text}") for text in QUIET]

RATE_HZ, SAMPLES, NOMINAL = 403e6, 64, 2.2e-13
LINE_BIN = -10
LINE_HZ = LINE_BIN * RATE_HZ / SAMPLES
TOLD = "noise_density_3_of_8_w_per_hz"

CONFIG = """
seed_everything: 3
trainer: {max_epochs: 6, check_val_every_n_epoch: 6, accelerator: cpu, enable_progress_bar: false}
data: {batch_size: 48, fractions: [0.7, 0.3, 0.0]}
model:
  noise_variation: {level: [0.3, 3.0], slope_db: [-10.0, 10.0], hidden: 0.1}
  condition: {settings: [noise_density_3_of_8_w_per_hz], log: [noise_density_3_of_8_w_per_hz], drop: 0.0}
  views:
    spectrum: {class_path: cres.transforms.SpectrumView, init_args: {band_hz: [-64.0e+6, -62.0e+6]}}
  encoders:
    spectrum:
      class_path: reconstruction.models.ConvNetEncoder
      init_args: {width: 16, kernel_size: 1, stride: 1, downsample: [1]}
  head: {class_path: reconstruction.models.GaussianHead, init_args: {hidden_width: 16}}
  optimiser: {lr: 2.0e-2}
figures: {every_epochs: 0}
"""


def density(level: float, slope_db: float, frequency_hz: np.ndarray | float) -> np.ndarray | float:
    """Return the density of moved white noise over the nominal, as the documentation writes it."""
    return level * 10 ** (slope_db / 10 * np.asarray(frequency_hz) / RATE_HZ)


def write(path: Path, count: int, seed: int, noise: tuple[float, float] | None = None) -> Path:
    """Write lines of random I and Q, with noise of a level and a slope where it is given."""
    generator = np.random.default_rng(seed)
    energy, pitch = generator.uniform(18_500, 18_700, count), generator.uniform(88, 90, count)
    amplitude = 0.02 * ((energy - 18_600) / 100 + 1j * (pitch - 89))
    volts = amplitude[:, None] * np.exp(2j * np.pi * LINE_BIN * np.arange(SAMPLES) / SAMPLES)
    series = np.stack([volts.real, volts.imag], axis=-1).astype(np.float32)
    if noise is not None:
        grid = np.linspace(-RATE_HZ / 2, RATE_HZ / 2, 801)
        rows = list(zip(grid.tolist(), (NOMINAL * density(*noise, grid)).tolist(), strict=True))
        random = KeyedRandom(seed, 0, torch.arange(count))
        series = ColouredNoise(RATE_HZ, rows)(torch.from_numpy(series), random).numpy()
    columns = {"energy_eV": energy, "pitch_angle_deg": pitch, "event_id": np.arange(count) + 10_000 * seed}
    with h5py.File(path, "w") as file:
        file["output_ts_I"], file["output_ts_Q"] = series[..., 0], series[..., 1]
        for name, values in columns.items():
            file[name] = values
        file.attrs.update({"sampling_rate_hz": RATE_HZ, "lo_frequency_hz": 25.9702e9})
    return path


def write_table(path: Path, level: float, slope_db: float, points: int = 512, nominal: float | None = None) -> Path:
    """Write a spectrum relative to the nominal density, and with it where it is given."""
    frequency = (np.arange(points) / points - 0.5) * RATE_HZ
    columns = {"frequency_hz": frequency, "relative_power": density(level, slope_db, frequency)}
    if nominal is not None:
        columns["density_w_per_hz"] = nominal * columns["relative_power"]
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and two runs of one noise that moves: told of it, and not."""
    folder = tmp_path_factory.mktemp("noise")
    write(folder / "train.hdf5", 1300, 0)
    (folder / "told.yaml").write_text(CONFIG)
    for run, more in (("told", []), ("moved", ["--model.condition=null"])):
        main(
            [
                "fit",
                "-c",
                str(folder / "told.yaml"),
                f"--data.data={folder / 'train.hdf5'}",
                f"--run={folder / run}",
                *more,
            ]
        )
    return folder


# The spectrum as settings ------------------------------------------------------------------------------------------


def test_the_bands_of_rows_are_means_of_the_tables_beside_their_files(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.hdf5", 5, seed) for seed, name in enumerate("abc")]
    write_table(spectrum_path(files[0]), 1.3, 4.0)
    write_table(spectrum_path(files[1]), 0.7, -5.0, points=2048)
    data = CresDataModule([str(file) for file in files])
    names = (*(f"noise_density_{band}_of_8_w_per_hz" for band in range(1, 9)), "noise_density_2_of_3_w_per_hz")
    told = data.settings_of(names, np.array([0, 4, 7, 14]))
    for row, (level, slope_db, points) in zip(told, [(1.3, 4.0, 2048)] * 2 + [(0.7, -5.0, 2048)], strict=False):
        for value, name in zip(row, names, strict=True):
            band, bands = (int(part) for part in name.removeprefix("noise_density_").split("_")[:3:2])
            inside = [
                NOMINAL * density(level, slope_db, (place / points - 0.5) * RATE_HZ)
                for place in range(points)
                if (band - 1) / bands <= place / points < band / bands
            ]
            assert value == pytest.approx(sum(inside) / len(inside), rel=2e-5)  # a table of 512 rows, on 2048 points
    assert np.isnan(told[3]).all()  # no table: nobody measured it
    white = CresDataModule(str(files[2]), noise_spectrum="white")
    np.testing.assert_allclose(white.settings_of(names, np.arange(2)), NOMINAL)


@pytest.mark.parametrize("name", ["noise_density_9_of_8_w_per_hz", "noise_density_0_of_8_w_per_hz"])
def test_a_band_that_is_none_is_one_sentence(name: str, tmp_path: Path) -> None:
    data = CresDataModule(str(write(tmp_path / "a.hdf5", 5, 0)))
    with pytest.raises(UserError, match=f"{name} is no band: noise_density_K_of_N_w_per_hz"):
        data.settings_of((name,), np.arange(2))
    assert band_of("noise_density_8_of_8_w_per_hz") == (8, 8)


def test_noise_of_rows_is_that_of_their_own_tables_row_by_row() -> None:
    scale = torch.from_numpy(np.stack([density(*one, grid_hz(96, RATE_HZ).numpy()) for one in ((1, 3), (2, -7))]))
    add = RowNoise(WhiteNoise(RATE_HZ, NOMINAL), RATE_HZ, NOMINAL)
    series, random = torch.randn(2, SAMPLES, 4), KeyedRandom(1, 2, torch.tensor([7, 8]))
    noisy = add(series, random, scale)
    for row in range(2):
        table = list(zip(grid_hz(96, RATE_HZ).tolist(), (NOMINAL * scale[row]).tolist(), strict=True))
        alone = KeyedRandom(1, 2, torch.tensor([7 + row]))
        torch.testing.assert_close(noisy[row : row + 1], ColouredNoise(RATE_HZ, table)(series[row : row + 1], alone))
    torch.testing.assert_close(add(series, random, 0.5), WhiteNoise(RATE_HZ, NOMINAL)(series, random, 0.5))


# Noise that moves --------------------------------------------------------------------------------------------------


def batch_of(count: int) -> dict:
    """Return a batch of records without signal, of 4096 samples."""
    return {"inputs": {"series": torch.zeros(count, 4096, 2)}, "event_id": torch.arange(count), "observables": {}}


def test_what_is_told_is_what_was_drawn(folder: Path) -> None:
    """Against the noise itself: its mean power in the band, bin by bin, is what the model is told."""
    model = load_module(folder / "told/checkpoints/best.ckpt")
    for scale in (1.0, 0.3):
        noisy = model.inject(batch_of(200), 4, scale)
        told = noisy["inputs"][SETTINGS][:, 0, 0]
        spectrum = torch.fft.fft(torch.view_as_complex(noisy["inputs"]["series"].double()), norm="ortho")
        bins = torch.fft.fftfreq(4096, 1 / RATE_HZ)
        inside = (bins >= -RATE_HZ / 4) & (bins < -RATE_HZ / 8)
        seen = spectrum[:, inside].abs().square().mean(1) / (50 * RATE_HZ)
        hidden = told.isnan()
        ratio = (seen / told)[~hidden]
        assert 5 <= int(hidden.sum()) <= 40
        assert float(ratio.mean()) == pytest.approx(1, abs=0.008)
        assert float(ratio.std()) == pytest.approx(1 / math.sqrt(512), rel=0.3)
        assert float(told[~hidden].log().std()) > 0.3  # it does move


def test_draws_are_keyed_by_event_and_epoch_and_all_are_told_to_judge(folder: Path) -> None:
    model = load_module(folder / "told/checkpoints/best.ckpt")
    one, again, later = (model.inject(batch_of(50), epoch)["inputs"] for epoch in (3, 3, 4))
    assert torch.equal(one["series"], again["series"])
    assert torch.equal(one[SETTINGS].nan_to_num(), again[SETTINGS].nan_to_num())
    assert not torch.equal(one[SETTINGS].nan_to_num(), later[SETTINGS].nan_to_num())
    part = {"inputs": {"series": torch.zeros(5, 4096, 2)}, "event_id": torch.arange(20, 25), "observables": {}}
    assert torch.equal(model.inject(part, 3)["inputs"][SETTINGS].nan_to_num(), one[SETTINGS][20:25].nan_to_num())
    frozen = model.inject(batch_of(50), FROZEN_EPOCH)["inputs"][SETTINGS]
    assert not frozen.isnan().any()
    assert float(frozen.std()) > 0.3 * NOMINAL
    steady = model.as_judged(batch_of(50), 1.0)["inputs"][SETTINGS]
    torch.testing.assert_close(steady, torch.full_like(steady, NOMINAL))


def test_what_the_receiver_does_is_not_more_where_the_noise_is_louder(folder: Path) -> None:
    """Gain and phase drift of records whose noise is next to nothing, and nine times as much of it."""
    model = load_module(folder / "told/checkpoints/best.ckpt")
    model.moving, model.reconstructor.condition = None, None
    model.receiver.transforms.append(GainPhaseDrift(0.05, 0.02, 0.1))
    tone = torch.ones(3, SAMPLES, 2)
    faint, louder = (
        model.inject({"inputs": {"series": tone}, "event_id": torch.arange(3), STRENGTH: strength}, 0)["inputs"]
        for strength in (torch.full((3,), 1e-12 * NOMINAL), torch.full((3,), 9e-12 * NOMINAL))
    )
    assert float((faint["series"] - tone).abs().mean()) > 0.003  # it drifts
    torch.testing.assert_close(louder["series"], faint["series"], atol=1e-5, rtol=0)


def test_factors_stay_in_their_range_and_fill_it() -> None:
    variation = NoiseVariation((0.5, 2.0), (-3.0, 9.0))
    factors = variation.factors(KeyedRandom(0, 0, torch.arange(3000)), 512)
    level = factors[:, 256]
    slope_db = 10 * torch.log10(factors[:, 384] / factors[:, 128]) * 2
    for values, (low, high) in ((level, (0.5, 2.0)), (slope_db, (-3.0, 9.0))):
        assert low <= float(values.min()) < low + 0.02
        assert high - 0.02 < float(values.max()) <= high + 1e-6
    assert abs(float(torch.corrcoef(torch.stack([level, slope_db]))[0, 1])) < 0.06
    assert 300 * 0.8 < int(variation.are_hidden(KeyedRandom(0, 0, torch.arange(3000))).sum()) < 300 * 1.2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.noise_variation.level=[0,2]"], r"level is \[0, 2\].*above 0"),
        (["--model.noise_variation.level=[2,1]"], r"level is \[2, 1\]"),
        (["--model.noise_variation.slope_db=[5,-5]"], r"slope_db is \[5, -5\]"),
        (["--model.noise_variation.slope_db=[0,90]"], "40 dB at most"),
        (["--model.noise_variation.hidden=1"], "hidden"),
        (["--model.noise=[]"], "for records that carry their noise"),
        (['--model.noise=[{"class_path": "cres.transforms.WhiteNoise"}]'], r"leave model\.noise out"),
        (["--model.condition.settings=[noise_density_9_of_8_w_per_hz]", "--model.condition.log=[]"], "is no band"),
    ],
)
def test_what_cannot_move_or_be_told_is_one_sentence(
    folder: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    fit = ["fit", "-c", str(folder / "told.yaml"), f"--data.data={folder / 'train.hdf5'}", f"--run={tmp_path / 'no'}"]
    with pytest.raises(UserError, match=said):
        main([*fit, *options])


def test_a_stopped_training_goes_on_with_the_same_draws(folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "few.hdf5", 120, 9)
    fit = ["-c", str(folder / "told.yaml"), f"--data.data={data}", "--model.calibration=none"]
    fit += ["--model.schedule=reconstruction.training.schedules.Constant"]
    main(["fit", *fit, f"--run={tmp_path / 'whole'}", "--trainer.max_epochs=2"])
    main(["fit", *fit, f"--run={tmp_path / 'part'}", "--trainer.max_epochs=1"])
    main(["fit", f"--run={tmp_path / 'part'}", "--resume", "--trainer.max_epochs=2"])
    whole, part = (load_module(tmp_path / run / "checkpoints/last.ckpt").state_dict() for run in ("whole", "part"))
    for name, value in whole.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, part[name]), name


# Files -------------------------------------------------------------------------------------------------------------


def predict(folder: Path, run: str, data: Path, *options: str) -> PredictionTable:
    table = data.with_suffix(f".{run}.table")
    main(["predict", f"--run={folder / run}", f"--data.data={data}", f"--predictions={table}", *options])
    return PredictionTable.read(table)


def within(table: PredictionTable) -> float:
    """Return the share of both truths within one error bar."""
    return float(np.mean([np.abs(table.residual(name)) < table.std(name) for name in table.targets]))


CELLS = [(0.35, -8.0), (2.7, 8.0)]


def test_who_is_told_stays_calibrated_where_the_noise_moves_and_who_is_not_fails(folder: Path, tmp_path: Path) -> None:
    coverage: dict[str, list[float]] = {"told": [], "moved": []}
    for seed, (level, slope_db) in enumerate(CELLS, 20):
        data = write(tmp_path / f"{seed}.hdf5", 1000, seed, (level, slope_db))
        write_table(spectrum_path(data), level, slope_db)
        told = predict(folder, "told", data, "--noise_scale=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other noise than that of the training, which it was not told
            moved = predict(folder, "moved", data, "--noise_scale=0")
        coverage["told"].append(within(told))
        coverage["moved"].append(within(moved))
        wanted = NOMINAL * density(level, slope_db, np.linspace(-RATE_HZ / 4, -RATE_HZ / 8, 999)).mean()
        np.testing.assert_allclose(told.column(TOLD), wanted, rtol=0.01)
        assert not told.column("outside_settings").any()
    assert max(abs(share - 0.683) for share in coverage["told"]) < 0.06, coverage  # 0.01 of it is chance
    assert max(abs(share - 0.683) for share in coverage["moved"]) > 0.08, coverage


def test_the_noise_of_a_simulation_is_that_of_the_table_beside_it(folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "clean.hdf5", 700, 30)
    without = predict(folder, "told", data)
    np.testing.assert_allclose(without.column(TOLD), NOMINAL)
    write_table(spectrum_path(data), 2.4, -8.0)
    beside = predict(folder, "told", data)
    assert float(np.median(beside.std("energy_ev") / without.std("energy_ev"))) == pytest.approx(
        math.sqrt(density(2.4, -8.0, LINE_HZ)), rel=0.1
    )
    assert within(beside) > 0.65  # near the edge of what so short a training met error bars are too wide, never narrow
    write_table(spectrum_path(data), 0.5, 6.0)
    quieter = predict(folder, "told", data)
    assert abs(within(quieter) - 0.683) < 0.04
    half = predict(folder, "told", data, "--noise_scale=0.5", "--data.noise_spectrum=white")
    np.testing.assert_allclose(half.column(TOLD), 0.5 * NOMINAL)
    assert abs(within(half) - 0.683) < 0.04


def test_noise_that_nobody_measured_makes_wide_error_bars_and_is_said(folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "unknown.hdf5", 400, 40, (0.5, 0.0))
    with pytest.warns(UserWarning, match=f"{TOLD} is not known for 400 of 400 electrons"):
        unknown = predict(folder, "told", data, "--noise_scale=0")
    write_table(spectrum_path(data), 0.5, 0.0)
    known = predict(folder, "told", data, "--noise_scale=0")
    assert float(np.median(unknown.std("energy_ev"))) > 1.2 * float(np.median(known.std("energy_ev")))
    assert np.isnan(unknown.column(TOLD)).all()
    assert within(unknown) > 0.68


def test_outside_of_the_noise_of_the_training_is_flagged(folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "hot.hdf5", 300, 50, (9.0, 0.0))
    write_table(spectrum_path(data), 9.0, 0.0)
    with pytest.warns(UserWarning, match="settings outside of those of the training"):
        hot = predict(folder, "told", data, "--noise_scale=0")
    assert hot.column("outside_settings").all()


def test_files_of_several_spectra_are_read_together_by_who_is_told(folder: Path, tmp_path: Path) -> None:
    files = [write(tmp_path / f"{seed}.hdf5", 40, seed, (level, 0.0)) for seed, level in ((60, 0.5), (61, 2.0))]
    for file, level in zip(files, (0.5, 2.0), strict=True):
        write_table(spectrum_path(file), level, 0.0)
    both = [
        "--noise_scale=0",
        f"--predictions={tmp_path / 'both'}",
        f"--data.data={json.dumps([str(f) for f in files])}",
    ]
    main(["predict", f"--run={folder / 'told'}", *both])
    table = PredictionTable.read(tmp_path / "both")
    np.testing.assert_allclose(table.column(TOLD), np.repeat([0.5, 2.0], 40) * NOMINAL)
    with pytest.raises(UserError, match=r"not the same noise spectrum.*or tell a network the spectrum"):
        main(["predict", f"--run={folder / 'moved'}", *both])


def test_in_python_a_table_is_named(folder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "few.hdf5", 20, 70, (2.0, -4.0))
    with h5py.File(data) as file:
        volts = np.stack([file["output_ts_I"][()], file["output_ts_Q"][()]], axis=-1)
    table = write_table(spectrum_path(data), 2.0, -4.0)
    model = cres.load(folder / "told")
    said, on_file = model(volts, noise_spectrum=table), predict(folder, "told", data, "--noise_scale=0")
    np.testing.assert_allclose(said["energy_std_ev"], on_file.std("energy_ev"), rtol=1e-4)
    np.testing.assert_allclose(model(volts, noise_spectrum="white")[TOLD], NOMINAL)
    np.testing.assert_allclose(model(volts, noise_scale=0.5)[TOLD], 0.5 * NOMINAL)
    assert np.isnan(model(volts)[TOLD]).all()
    for named in (table, "white"):
        with pytest.raises(UserError, match="give one of the two"):
            model(volts, noise_scale=0.5, noise_spectrum=named)
    absolute = write_table(tmp_path / "absolute.csv", 2.0, -4.0, nominal=1.5 * NOMINAL)
    np.testing.assert_allclose(model(volts, noise_spectrum=absolute)[TOLD], 1.5 * said[TOLD], rtol=1e-6)
    pd.read_csv(absolute).assign(density_w_per_hz=np.linspace(1, 2, 512)).to_csv(absolute, index=False)
    with pytest.raises(UserError, match=r"density_w_per_hz of the noise spectrum .* is not a multiple of its relative"):
        model(volts, noise_spectrum=absolute)
    with pytest.raises(UserError, match="told no spectrum of the noise"):
        cres.load(folder / "moved")(volts, noise_spectrum=table)


def test_batches_say_the_spectrum_of_each_row(tmp_path: Path) -> None:
    data = CresDataModule(
        str(write(tmp_path / "a.hdf5", 5, 0)), noise_spectrum=str(write_table(tmp_path / "n", 2.0, 3.0))
    )
    data.settings = (TOLD,)
    batch = next(iter(data.predict_dataloader()))
    expected = NOMINAL * density(2.0, 3.0, grid_hz(512, RATE_HZ).numpy())
    np.testing.assert_allclose(batch[STRENGTH], np.tile(expected, (5, 1)))
    torch.testing.assert_close(batch["observables"][TOLD], band_means(batch[STRENGTH], [TOLD])[:, 0])
