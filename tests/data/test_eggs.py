"""Egg files, written by the writer of the tests: counts, layouts, windows, truth, and what is wrong with a header."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from eggs import Digitiser, write_egg
from frames import run_script

from cres import schema
from cres.data.eggs.samples import ANALYTIC_MARGIN, _volts, analytic
from cres.data.eggs.source import ACQUISITION, START_TIME
from cres.data.prepare.preparation import prepare
from cres.data.records import open_records
from cres.data.settings import StagingSettings
from cres.errors import UserError

RATE_HZ, OSCILLATOR_HZ = 403e6, 25.9702e9
SAMPLES = 256


def tones(records: int, channels: int = 1, samples: int = SAMPLES, seed: int = 0) -> np.ndarray:
    """Return complex volts of one acquisition, (record, channel, sample): a line and some noise in each channel."""
    generator = np.random.default_rng(seed)
    time = np.arange(records * samples).reshape(records, 1, samples)
    phase = 2 * np.pi * (-0.16 * time + generator.uniform(size=(1, channels, 1)))
    noise = generator.normal(0, 0.01, (2, records, channels, samples))
    return 0.1 * np.exp(1j * phase) + noise[0] + 1j * noise[1]


def read(path, *names):
    records = open_records(path)
    return records.read(np.arange(len(records)), names or schema.SERIES_COLUMNS)


DIGITISERS = {
    "8 bits, unsigned": Digitiser(),
    "8 bits, signed": Digitiser(signed=True),
    "16 bits, unsigned": Digitiser(bits=16, word=2),
    "16 bits, signed": Digitiser(bits=16, word=2, signed=True),
    "12 of 16 bits, to the left": Digitiser(bits=12, word=2, left_aligned=True),
    "12 of 16 bits, to the left, signed": Digitiser(bits=12, word=2, left_aligned=True, signed=True),
    "14 of 16 bits, to the right": Digitiser(bits=14, word=2),
    "floats": Digitiser(analog=True, word=4, bits=32),
    "doubles": Digitiser(analog=True, word=8, bits=64),
}


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("name", DIGITISERS)
def test_volts_come_back_to_half_a_count(tmp_path, name, interleaved):
    digitiser = DIGITISERS[name].other(interleaved=interleaved)
    volts = tones(3, channels=2)
    write_egg(tmp_path / "run.egg", [volts], digitiser)
    result = prepare([tmp_path / "run.egg"], tmp_path / "out.hdf5")
    assert result.rows == 3
    columns = read(tmp_path / "out.hdf5", *schema.SERIES_COLUMNS, *schema.series_columns(1))
    half = 1e-7 if digitiser.analog else digitiser.gain_v / 2 + 1e-7
    for channel in range(2):
        in_phase, quadrature = schema.series_columns(channel)
        np.testing.assert_allclose(columns[in_phase], volts[:, channel].real, rtol=0, atol=half)
        np.testing.assert_allclose(columns[quadrature], volts[:, channel].imag, rtol=0, atol=half)


def test_rate_oscillator_and_time_come_from_the_header(tmp_path):
    digitiser = Digitiser(rate_mhz=200, frequency_min_hz=25.8e9, frequency_range_hz=200e6)
    write_egg(tmp_path / "run.egg", [tones(2), tones(3, seed=1)], digitiser, [5_000, 1_000_000])
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    records = open_records(tmp_path / "out.hdf5")
    assert (records.sampling_rate_hz, records.lo_frequency_hz) == (200e6, 25.9e9)
    assert result.notes == ()
    assert records.scalar(ACQUISITION).tolist() == [0, 0, 1, 1, 1]
    begins = [5e-6, 5e-6 + SAMPLES / 200e6, *(1e-3 + np.arange(3) * SAMPLES / 200e6)]
    np.testing.assert_allclose(records.scalar(START_TIME), begins)
    assert len(set(records.event_ids)) == 5


def test_a_header_without_a_band_has_the_default_and_says_so(tmp_path):
    write_egg(tmp_path / "run.egg", [tones(2)], Digitiser(frequency_min_hz=0, frequency_range_hz=0))
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    assert open_records(tmp_path / "out.hdf5").lo_frequency_hz == schema.DEFAULT_LO_FREQUENCY_HZ
    assert "the oscillator (25.9702 GHz) is the default" in result.notes[0]
    assert "sampling rate" not in result.notes[0]


@pytest.mark.parametrize("samples", [100, SAMPLES, 300, 3 * SAMPLES])
def test_windows_of_any_length_follow_one_another(tmp_path, samples):
    """Records of an acquisition have no gap between them: windows may lie in several, and none in two acquisitions."""
    acquisitions = [tones(3), tones(4, seed=1)]
    write_egg(tmp_path / "run.egg", acquisitions, Digitiser(analog=True, word=4, bits=32))
    result = prepare([tmp_path], tmp_path / "out.hdf5", settings=StagingSettings(window_samples=samples))
    expected = []
    for volts in acquisitions:
        flat = volts[:, 0].ravel()
        expected += [flat[start : start + samples] for start in range(0, len(flat) - samples + 1, samples)]
    columns = read(tmp_path / "out.hdf5")
    np.testing.assert_allclose(columns[schema.SERIES_I], np.real(expected), atol=1e-7)
    left = 7 * SAMPLES - len(expected) * samples
    assert [f"{left} samples" in note for note in result.notes] == ([True] if left else [])


def test_the_default_window_is_a_record_or_8192_samples(tmp_path):
    write_egg(tmp_path / "run.egg", [tones(1, samples=20_000)])
    assert prepare([tmp_path], tmp_path / "out.hdf5").rows == 2
    assert open_records(tmp_path / "out.hdf5").samples == 8192


# Real voltages -----------------------------------------------------------------------------------------------------


def test_real_samples_become_their_analytic_signal(tmp_path):
    """Power stays: |I + iQ|² is twice … half the square of the amplitude; negative frequencies are gone."""
    time = np.arange(4096)
    volts = 0.1 * np.cos(2 * np.pi * (410 / 4096) * time)
    digitiser = Digitiser(analog=True, word=8, bits=64, rate_mhz=200, frequency_min_hz=25.9e9, frequency_range_hz=100e6)
    write_egg(tmp_path / "run.egg", [volts[None, None]], digitiser)
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    assert "its samples are real" in result.notes[0]
    columns = read(tmp_path / "out.hdf5")
    signal = columns[schema.SERIES_I][0] + 1j * columns[schema.SERIES_Q][0]
    np.testing.assert_allclose(signal, 0.1 / np.sqrt(2) * np.exp(2j * np.pi * (410 / 4096) * time), atol=1e-6)
    assert np.mean(np.abs(signal) ** 2) == pytest.approx(np.mean(volts**2), rel=1e-5)
    assert open_records(tmp_path / "out.hdf5").lo_frequency_hz == 25.9e9


@pytest.mark.parametrize("samples", [1, 2, 7, 8])
def test_the_analytic_signal_against_its_definition(samples):
    """Twin: a sum over the positive frequencies, the constant and the middle one once."""
    volts = np.random.default_rng(samples).normal(size=(2, samples))
    times = np.arange(samples)
    expected = np.zeros((2, samples), complex)
    for number in range(samples // 2 + 1):
        wave = np.exp(2j * np.pi * number * times / samples)
        weight = 1.0 if number == 0 or 2 * number == samples else np.sqrt(2)
        expected += weight * (volts @ wave.conj())[:, None] * wave / samples
    np.testing.assert_allclose(analytic(volts), expected, atol=1e-6)


def test_pairs_of_real_channels_are_i_and_q(tmp_path):
    volts = tones(2, channels=2)
    apart = np.stack([volts[:, 0].real, volts[:, 0].imag, volts[:, 1].real, volts[:, 1].imag], axis=1)
    write_egg(tmp_path / "run.egg", [apart], Digitiser(analog=True, word=4, bits=32))
    prepare([tmp_path], tmp_path / "out.hdf5", settings=StagingSettings(quadrature="pairs"))
    columns = read(tmp_path / "out.hdf5", *schema.series_columns(0), *schema.series_columns(1))
    np.testing.assert_allclose(columns["output_ts_Q_1"], volts[:, 1].imag, atol=1e-7)
    write_egg(tmp_path / "run.egg", [apart[:, :3]], Digitiser(analog=True, word=4, bits=32))
    with pytest.raises(UserError, match="3 channels, which make no pairs"):
        prepare([tmp_path], tmp_path / "out.hdf5", settings=StagingSettings(quadrature="pairs"))


# Truth -------------------------------------------------------------------------------------------------------------

TRUTHS = {
    "in order": ("energy_eV,pitch_angle_deg\n18500,89\n18600,88\n18700,87\n", [0, SAMPLES, 2 * SAMPLES]),
    "by window": ("window,energy_eV\n2,18500\n0,18600\n", [2 * SAMPLES, 0]),
    "by record": ("record,energy_eV\n1,18500\n", [SAMPLES]),
    "by sample": ("start_sample,energy_eV\n17,18500\n300,18600\n", [17, 300]),
    "by time": (f"start_time_s,energy_eV\n{100 / RATE_HZ},18500\n", [100]),
}


@pytest.mark.parametrize("ending", [".csv", ".truth.csv"])
@pytest.mark.parametrize("name", TRUTHS)
def test_truth_beside_the_file_says_where_windows_begin(tmp_path, name, ending):
    text, starts = TRUTHS[name]
    volts = tones(3)
    write_egg(tmp_path / "run.egg", [volts], Digitiser(analog=True, word=4, bits=32))
    (tmp_path / f"run{ending}").write_text(text)
    prepare([tmp_path / "run.egg"], tmp_path / "out.hdf5")
    columns = read(tmp_path / "out.hdf5", schema.SERIES_I, schema.ENERGY)
    flat = volts.ravel().real
    np.testing.assert_allclose(columns[schema.SERIES_I], [flat[s : s + SAMPLES] for s in starts], atol=1e-7)
    assert columns[schema.ENERGY].tolist() == [18500.0, 18600.0, 18700.0][: len(starts)]


def test_times_find_their_acquisition(tmp_path):
    acquisitions = [tones(2), tones(2, seed=1)]
    write_egg(tmp_path / "run.egg", acquisitions, Digitiser(analog=True, word=4, bits=32), [0, 1_000_000])
    (tmp_path / "run.csv").write_text(f"start_time_s,energy_eV\n{1e-3 + 30 / RATE_HZ},18500\n{10 / RATE_HZ},18600\n")
    prepare([tmp_path / "run.egg"], tmp_path / "out.hdf5")
    found = read(tmp_path / "out.hdf5")[schema.SERIES_I]
    np.testing.assert_allclose(found[0], acquisitions[1].ravel().real[30 : 30 + SAMPLES], atol=1e-7)
    np.testing.assert_allclose(found[1], acquisitions[0].ravel().real[10 : 10 + SAMPLES], atol=1e-7)


def test_a_table_that_changed_is_read_again(tmp_path):
    """What was read waits for a second run (here: of a preparation that fails at another file)."""
    write_egg(tmp_path / "run.egg", [tones(1)])
    (tmp_path / "run.csv").write_text("energy_eV\n18500\n")
    (tmp_path / "z.pkl").write_bytes(b"")
    for energy in (18500, 18600):
        (tmp_path / "run.csv").write_text(f"energy_eV\n{energy}\n")
        if energy == 18500:
            with pytest.raises(UserError, match=r"z\.pkl is empty"):
                prepare([tmp_path], tmp_path / "out.hdf5")
            (tmp_path / "z.pkl").unlink()
    prepare([tmp_path], tmp_path / "out.hdf5")
    assert open_records(tmp_path / "out.hdf5").scalar(schema.ENERGY).tolist() == [18600.0]


WRONG_TRUTHS = {
    "rows": ("energy_eV\n18500\n", "has 1 rows, run.egg has 3 windows of 256 samples"),
    "outside": ("start_sample,energy_eV\n700,18500\n", "row 0: a window of 256 samples from sample 700 is not inside"),
    "no number": ("start_sample,energy_eV\nx,18500\n", "column start_sample: numbers are expected"),
    "window": ("window,energy_eV\n3,18500\n", "windows are counted from 0 to 2"),
    "acquisition": ("acquisition,record,energy_eV\n1,0,18500\n", "column acquisition: they are counted from 0 to 0"),
    "empty": ("energy_eV\n", "holds no rows"),
    "keV": ("energy_eV\n18.5\n18.6\n18.7\n", "row 0, column energy_eV: is 18.5 eV"),
}


@pytest.mark.parametrize("name", WRONG_TRUTHS)
def test_truth_that_does_not_fit_is_one_sentence(tmp_path, name):
    text, words = WRONG_TRUTHS[name]
    write_egg(tmp_path / "run.egg", [tones(3)])
    (tmp_path / "run.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        prepare([tmp_path / "run.egg"], tmp_path / "out.hdf5")
    assert words in str(caught.value)


# What is wrong with a header ---------------------------------------------------------------------------------------


def state(group: str, name: str, value: object):
    return lambda file: file[group].attrs.__setitem__(name, value)


def forget(group: str, name: str):
    return lambda file: file[group].attrs.__delitem__(name)


STREAM, CHANNEL, DATA = "streams/stream0", "channels/channel0", "streams/stream0/acquisitions/0"
WRONG = {
    "no channels": (
        lambda file: file.__delitem__("channels"),
        "no group 'channels', so it is no egg file of version 3",
    ),
    "no stream": (lambda file: file.__delitem__(STREAM), "holds no stream"),
    "no acquisitions": (lambda file: file.__delitem__(STREAM + "/acquisitions"), "has no acquisitions"),
    "no record size": (forget(STREAM, "record_size"), "has no attribute record_size"),
    "no rate": (forget(STREAM, "acquisition_rate"), "has no attribute acquisition_rate"),
    "rate of zero": (state(STREAM, "acquisition_rate", 0), "acquisition_rate = 0 MHz"),
    "rate that is a text": (state(STREAM, "acquisition_rate", "fast"), "acquisition_rate = fast, which is no number"),
    "another record size": (state(STREAM, "record_size", 100), "its header says"),
    "samples of three": (state(STREAM, "sample_size", 3), "samples of 3 numbers"),
    "signs that are not there": (state(STREAM, "data_format", 1), "holds uint8, its header says signed samples"),
    "a channel too many": (state(STREAM, "channels", [0, 1]), "names 2 channels and says n_channels = 1"),
    "an unknown channel": (state(STREAM, "channels", [4]), "has no header of channel4"),
    "records that were cut": (state(DATA, "n_records", 50), "says 50 records and holds 3: it was cut"),
    "no volts": (
        lambda file: [state(CHANNEL, name, 0.0)(file) for name in ("dac_gain", "voltage_range")],
        "states neither voltage_range nor dac_gain",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_header_that_is_wrong_is_one_sentence(tmp_path, name):
    spoil, words = WRONG[name]
    path = write_egg(tmp_path / "run.egg", [tones(3)])
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(UserError) as caught:
        prepare([path], tmp_path / "out.hdf5")
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_gain_that_was_never_set_follows_from_the_range(tmp_path):
    """Writers of the time before the gain left 0 or 1 there."""
    for gain in (0.0, 1.0):
        path = write_egg(tmp_path / "run.egg", [tones(2)])
        with h5py.File(path, "r+") as file:
            file[CHANNEL].attrs["dac_gain"] = gain
        prepare([path], tmp_path / "out.hdf5")
        found = read(tmp_path / "out.hdf5")[schema.SERIES_I]
        np.testing.assert_allclose(found, tones(2)[:, 0].real, atol=0.4 / 256)


def test_headers_of_the_earliest_standard(tmp_path):
    """v3.0.0 knows no sample size, no alignment and no signs: the data show them."""
    path = write_egg(tmp_path / "run.egg", [tones(2)], Digitiser(signed=True, version="3.0.0"))
    with h5py.File(path, "r+") as file:
        for name in ("sample_size", "data_format", "bit_alignment"):
            del file[STREAM].attrs[name], file[CHANNEL].attrs[name]
        file[STREAM].attrs["data_format_type"] = 0
    prepare([path], tmp_path / "out.hdf5")
    found = read(tmp_path / "out.hdf5")[schema.SERIES_Q]
    np.testing.assert_allclose(found, tones(2)[:, 0].imag, atol=0.4 / 256)


def test_what_is_no_egg(tmp_path):
    path = tmp_path / "run.egg"
    path.write_bytes(b"protobuf of version 2")
    with pytest.raises(UserError, match="cannot be read as an egg file of version 3, which is HDF5"):
        prepare([path], tmp_path / "out.hdf5")
    result = run_script("--input", path, "--output", tmp_path / "out.hdf5")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_the_script_reads_an_egg_by_its_content(tmp_path):
    path = write_egg(tmp_path / "run.h5", [tones(2, samples=600)])
    result = run_script("--input", path, "--output", tmp_path / "out.hdf5", "--window-samples", 200)
    assert (result.returncode, result.stdout) == (0, f"6 electrons in {tmp_path / 'out.hdf5'}\n")


def test_streams_of_one_clock_are_channels_of_one_record(tmp_path):
    path = write_egg(tmp_path / "run.egg", [tones(2)], Digitiser(analog=True, word=4, bits=32))
    with h5py.File(path, "r+") as file:
        file.copy("streams/stream0", "streams/stream1")
        file.copy("channels/channel0", "channels/channel1")
        file["streams/stream1"].attrs["channels"] = [1]
    prepare([path], tmp_path / "out.hdf5")
    columns = read(tmp_path / "out.hdf5", *schema.series_columns(0), *schema.series_columns(1))
    np.testing.assert_array_equal(columns["output_ts_I"], columns["output_ts_I_1"])
    with h5py.File(path, "r+") as file:
        file["streams/stream1"].attrs["acquisition_rate"] = 100
    with pytest.raises(UserError, match="streams of different rate, band or length"):
        prepare([path], tmp_path / "out.hdf5")


# In windows --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch):
    """A few windows at a time; returns the longest stretch of samples that was in memory at once."""
    longest = []

    def watched(data, stream, first, last):
        longest.append(last - first)
        return _volts(data, stream, first, last)

    monkeypatch.setattr("cres.data.eggs.source._BLOCK_SAMPLES", 1024)
    monkeypatch.setattr("cres.data.eggs.samples._volts", watched)
    return longest


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("samples", [100, SAMPLES, 700])
def test_no_more_than_a_block_is_in_memory_and_the_windows_are_the_same(tmp_path, small_blocks, samples, interleaved):
    digitiser = Digitiser(analog=True, word=4, bits=32).other(interleaved=interleaved)
    acquisitions = [tones(40, channels=2), tones(30, channels=2, seed=1)]
    write_egg(tmp_path / "run.egg", acquisitions, digitiser)
    prepare([tmp_path], tmp_path / "out.hdf5", settings=StagingSettings(window_samples=samples))
    columns = read(tmp_path / "out.hdf5", *schema.series_columns(1))
    expected = []
    for volts in acquisitions:
        flat = volts[:, 1].ravel()
        expected += [flat[start : start + samples] for start in range(0, len(flat) - samples + 1, samples)]
    np.testing.assert_allclose(columns[schema.series_columns(1)[0]], np.real(expected), atol=1e-7)
    np.testing.assert_allclose(columns[schema.series_columns(1)[1]], np.imag(expected), atol=1e-7)
    assert 0 < max(small_blocks) <= max(1024 // 2, samples)


def test_the_analytic_signal_of_a_stretch_is_that_of_the_whole(tmp_path, small_blocks):
    time = np.arange(4 * ANALYTIC_MARGIN)
    volts = 0.1 * np.cos(2 * np.pi * 0.1234 * time) + 0.03 * np.cos(2 * np.pi * 0.381 * time + 1)
    write_egg(tmp_path / "run.egg", [volts.reshape(-1, 1, 512)], Digitiser(analog=True, word=8, bits=64))
    prepare([tmp_path], tmp_path / "out.hdf5", settings=StagingSettings(window_samples=1024))
    columns = read(tmp_path / "out.hdf5")
    whole = analytic(volts[None])[0].reshape(-1, 1024)
    inside = slice(4, -4)  # at the ends of the file nobody knows what came before, and the whole takes its other end
    np.testing.assert_allclose(columns[schema.SERIES_I][inside], whole.real[inside], atol=1e-5)
    np.testing.assert_allclose(columns[schema.SERIES_Q][inside], whole.imag[inside], atol=1e-5)
    assert max(small_blocks) <= 1024 + 2 * ANALYTIC_MARGIN


def test_truth_of_many_blocks_has_one_type_and_its_bad_rows_are_named(tmp_path, small_blocks):
    write_egg(tmp_path / "run.egg", [tones(12)])
    energies = [str(18_500 + row) for row in range(12)]
    names = ["a" * (row + 1) for row in range(12)]
    rows = [f"{row},{energy},{name}" for row, (energy, name) in enumerate(zip(energies, names, strict=True))]
    (tmp_path / "run.csv").write_text("window,energy_eV,run\n" + "\n".join(rows))
    prepare([tmp_path / "run.egg"], tmp_path / "out.hdf5")
    assert [one.decode() for one in open_records(tmp_path / "out.hdf5").scalar("run")] == names
    energies[7] = "nan"
    rows = [f"{row},{energy},{name}" for row, (energy, name) in enumerate(zip(energies, names, strict=True))]
    (tmp_path / "run.csv").write_text("window,energy_eV,run\n" + "\n".join(rows))
    with pytest.raises(UserError, match="row 7, column energy_eV"):
        prepare([tmp_path / "run.egg"], tmp_path / "out.hdf5")
    result = prepare([tmp_path / "run.egg"], tmp_path / "out.hdf5", settings=StagingSettings(skip_bad=True))
    assert result.rows == 11
    assert "row 7" in result.skipped[0]
    assert open_records(tmp_path / "out.hdf5").scalar("energy_eV").tolist() == [
        18_500.0 + row for row in range(12) if row != 7
    ]
    assert len(small_blocks) > 2
