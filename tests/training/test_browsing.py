"""What the page of electrons shows of the records: that it is what the model read, at the places where it is."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

import cres
from cres import schema
from cres.data.records import open_records
from cres.errors import UserError
from cres.evaluation import PredictionTable
from cres.training.browsing import Source, browse, browse_run, record_pictures

COUNT = 24


@pytest.fixture(scope="module")
def electrons() -> cres.SimulatedRecords:
    return cres.simulate(COUNT, seed=3)


@pytest.fixture(scope="module")
def file(electrons: cres.SimulatedRecords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browsing") / "electrons.hdf5"
    with h5py.File(path, "w") as held:
        for name, values in electrons.columns.items():
            held[name] = values
        held.attrs["schema_version"] = schema.SCHEMA_VERSION
        held.attrs["sampling_rate_hz"] = electrons.sampling_rate_hz
        held.attrs["lo_frequency_hz"] = electrons.lo_frequency_hz
    return path


@pytest.fixture(scope="module")
def model() -> cres.Model:
    return cres.pretrained()


@pytest.fixture(scope="module")
def table(model: cres.Model, electrons: cres.SimulatedRecords) -> PredictionTable:
    return model(electrons).table


def test_the_records_are_those_that_the_model_judged(model, table, file: Path):
    bare = PredictionTable(
        {name: values for name, values in table.columns.items() if name not in schema.POSTERIOR_COLUMNS},
        table.attributes,
    )
    pictures, posterior = record_pictures(bare, Source(open_records(file), 1.0, model.module))
    assert pictures.notes == ()
    np.testing.assert_allclose(pictures.attention.sum(axis=1), 1, rtol=1e-5)
    for name in schema.POSTERIOR_COLUMNS[:3]:
        np.testing.assert_allclose(posterior[name], table.column(name), rtol=2e-3, atol=1e-6)
    assert record_pictures(table, Source(open_records(file), 1.0, model.module))[1] == {}


def test_other_noise_than_the_table_saw_is_noticed(model, table, file: Path):
    pictures, posterior = record_pictures(table, Source(open_records(file), 0.5, model.module))
    assert any("says otherwise than the table" in note for note in pictures.notes)
    assert posterior == {}


def test_lines_stand_where_they_are_drawn(table, file: Path):
    """Without noise: the carrier in the middle of the spectrogram, the strongest sideband at a true place."""
    pictures, _ = record_pictures(table, Source(open_records(file), 0.0))
    bins = pictures.spectrogram.shape[2]
    brightest = pictures.spectrogram.mean(axis=1).argmax(axis=1)
    assert (np.abs(brightest - bins // 2) <= 1).all()
    carrier = table.column("avg_carrier_frequency_hz") - open_records(file).lo_frequency_hz
    assert np.abs(pictures.carrier_hz - carrier).max() < 30e3
    places = pictures.step_hz * (1 + np.arange(pictures.spectrum.shape[1]))
    far = places > 0.6e6  # the carrier's own skirt
    strongest = places[far][pictures.spectrum[:, far].argmax(axis=1)]
    nearest = np.nanmin(np.abs(strongest[:, None] - pictures.sideband_hz), axis=1)
    with_power = table.column("sideband_snr") > 5
    assert with_power.sum() > 5
    assert (nearest[with_power] < 2 * pictures.step_hz).all()
    assert any("no attention" in note for note in pictures.notes)


def test_noise_alone_has_unit_power(table, file: Path, tmp_path: Path):
    silent = tmp_path / "silent.hdf5"
    with h5py.File(file) as known, h5py.File(silent, "w") as held:
        for name in known:
            held[name] = np.zeros_like(known[name]) if name in schema.SERIES_COLUMNS else known[name][()]
        held.attrs.update(known.attrs)
    pictures, _ = record_pictures(table, Source(open_records(silent)))
    assert pictures.spectrum.mean() == pytest.approx(1, abs=0.05)
    assert np.median(pictures.spectrogram) == pytest.approx(np.log(2), abs=0.05)


@pytest.mark.parametrize(("rate_hz", "samples"), [(403e6, 131_072), (403e6, 100), (5e6, 1000), (2e9, 4096)])
def test_records_of_any_length_and_rate_stay_small(rate_hz: float, samples: int, tmp_path: Path):
    """A tone: in the middle of the spectrogram, at its frequency; two electrons take what two electrons may."""
    path, tone_hz = tmp_path / "tone.hdf5", -0.15 * rate_hz
    turn = 2 * np.pi * tone_hz / rate_hz * np.arange(samples)
    with h5py.File(path, "w") as held:
        held["event_id"] = np.arange(2)
        held[schema.SERIES_I], held[schema.SERIES_Q] = (
            np.tile(1e-3 * f(turn), (2, 1)).astype("f4") for f in (np.cos, np.sin)
        )
        held.attrs.update(schema_version=schema.SCHEMA_VERSION, sampling_rate_hz=rate_hz, lo_frequency_hz=25.9702e9)
    foreign = PredictionTable({"event_id": np.arange(2), "energy_ev": np.ones(2), "energy_std_ev": np.ones(2)})
    pictures, _ = record_pictures(foreign, Source(open_records(path), 0.0))
    _, frames, bins = pictures.spectrogram.shape
    assert 1 <= frames <= 32
    assert 2 <= bins <= 64
    assert pictures.spectrum.shape[1] <= 512
    assert frames * pictures.frame_s == pytest.approx(samples / rate_hz, rel=0.35)
    if abs(tone_hz + 62e6) < 20e6 or rate_hz < 160e6:  # where the default view looks for a carrier
        np.testing.assert_allclose(pictures.carrier_hz, tone_hz, atol=0.6 * rate_hz / samples)
        assert np.abs(pictures.spectrogram.mean(axis=1).argmax(axis=1) - bins // 2).max() <= 1
    assert len(browse([foreign], Source(open_records(path), 0.0), most=2).html) < 60_000


def test_a_page_of_simulated_electrons(model, table, file: Path):
    page = browse([table], Source(open_records(file), 1.0, model.module), most=10)
    assert page.electrons == 10
    assert "10 of 24 electrons: the 5 largest outliers, and others evenly drawn." in page.notes
    assert '"attention": {' in page.html


def test_electrons_of_other_files_are_refused_and_gone_files_said(table, file: Path, tmp_path: Path):
    other = table.with_columns({"event_id": table.event_id + 10**6})
    with pytest.raises(UserError, match="none of the 24 electrons"):
        record_pictures(other, Source(open_records(file)))
    some = table.with_columns({"event_id": np.where(np.arange(COUNT) < 4, -1 - np.arange(COUNT), table.event_id)})
    pictures, _ = record_pictures(some, Source(open_records(file)))
    assert len(pictures.event_id) == COUNT - 4
    assert any("records of 4 electrons were not found" in note for note in pictures.notes)
    moved = table.with_attributes({"records": ["nowhere.hdf5"]})
    page = browse_run(None, [moved], most=10)
    assert any("no longer where the table says (nowhere.hdf5)" in note for note in page.notes)
    with pytest.raises(UserError, match="name a run"):
        browse_run(None, most=10)


def test_records_of_another_simulation_with_equal_ids_are_refused(table, file: Path, tmp_path: Path):
    """Every simulation counts from 0: the page would show another electron's record beside the estimates."""
    other = tmp_path / "other.hdf5"
    shutil.copy(file, other)
    with h5py.File(other, "r+") as held:
        held["energy_eV"][3] += 1.0
    with pytest.raises(UserError, match=r"1 of 24 electrons .*other.hdf5 row 3: energy_eV is .*--data") as error:
        browse([table], Source(open_records(other)), most=10**6)
    assert "\n" not in str(error.value)
    with h5py.File(other, "r+") as held:  # written with fewer digits, it is the same electron
        for name in ("energy_eV", "radius_m"):
            rounded = held[name][()].astype("f4")
            del held[name]
            held[name] = rounded
        held["energy_eV"][3] = table.truth("energy_ev")[3]
    assert not any("event_id alone" in note for note in record_pictures(table, Source(open_records(other)))[0].notes)
    blind = PredictionTable({name: table.columns[name] for name in ("event_id", "energy_ev", "energy_std_ev")})
    assert any("event_id alone" in note for note in record_pictures(blind, Source(open_records(other)))[0].notes)


def test_the_command_writes_a_page_of_foreign_estimates(
    table, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    keep = ("event_id", "energy_ev", "energy_std_ev")
    path = PredictionTable({name: table.columns[name] for name in keep}).write(tmp_path / "foreign.hdf5")
    script = Path(__file__).parents[2] / "scripts" / "browse.py"
    monkeypatch.setattr(sys, "argv", ["browse.py", str(path), "--data", str(file), "--electrons", "5"])
    runpy.run_path(str(script))["main"]()
    said = capsys.readouterr().out
    assert "5 electrons" in said
    assert "No truth in the table" in said
    assert "no axial frequency" in said
    assert (tmp_path / "electrons.html").read_text().startswith("<!doctype html>")


def test_a_notebook_shows_a_table(table, file: Path):
    page = cres.browse(table, data=file, electrons=4)
    assert page.electrons == 4
    assert page._repr_html_().startswith("<iframe srcdoc=")
