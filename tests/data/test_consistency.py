"""Files that contradict themselves: what is wrong is named, with what mends it; files that are right stay silent."""

from __future__ import annotations

import gzip
import pickle
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import shipped
from frames import make_frame, run_script

from cres import schema
from cres.data.consistency import StatedLines, contradiction, strongest_lines
from cres.data.prepare.checking import check
from cres.data.prepare.merging import merge
from cres.data.prepare.preparation import prepare
from cres.data.settings import Assembly, StagingSettings
from cres.errors import UserError
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns

RATE_HZ, OSCILLATOR_HZ = 403e6, 25.9702e9
CONFIGS = shipped.simulations()


@pytest.fixture(scope="module")
def electrons() -> dict[str, np.ndarray]:
    config = SimulationConfig.default()
    return simulate_columns(config, sample_electrons(config, 12, seed=1))


def write(path: Path, columns: dict[str, np.ndarray], rate_hz: float, oscillator_hz: float) -> Path:
    frame = pd.DataFrame({name: list(values) if values.ndim > 1 else values for name, values in columns.items()})
    frame.attrs = {"sampling_rate_hz": rate_hz, "lo_frequency_hz": oscillator_hz}
    path.write_bytes(gzip.compress(pickle.dumps(frame), 1))
    return path


def swapped(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return columns | {schema.SERIES_I: columns[schema.SERIES_Q], schema.SERIES_Q: columns[schema.SERIES_I]}


CASES = {
    "I and Q": (True, RATE_HZ, OSCILLATOR_HZ, "I and Q are exchanged; prepare it again with --exchange-iq"),
    "oscillator": (False, RATE_HZ, 25.8781e9, "its oscillator was at about 25.9702 GHz and not at 25.8781 GHz"),
    "oscillator, near": (False, RATE_HZ, 25.9712e9, "its oscillator was at about 25.9702 GHz and not at 25.9712 GHz"),
    "oscillator, a sampling rate away": (
        False,
        RATE_HZ,
        OSCILLATOR_HZ + RATE_HZ,
        "its oscillator was at about 25.9702 GHz and not at 26.3732 GHz",
    ),
    "oscillator, far": (False, RATE_HZ, 23.9702e9, "its oscillator was at about 25.9702 GHz and not at 23.9702 GHz"),
    "rate, half": (False, 201.5e6, OSCILLATOR_HZ, "its sampling rate was about 403 MHz and not 201.5 MHz"),
    "rate, twice": (False, 806e6, OSCILLATOR_HZ, "its sampling rate was about 403 MHz and not 806 MHz"),
    "rate": (False, 200e6, OSCILLATOR_HZ, "its sampling rate was about 403 MHz and not 200 MHz"),
    "rate, higher": (False, 500e6, OSCILLATOR_HZ, "its sampling rate was about 403 MHz and not 500 MHz"),
    "both": (True, RATE_HZ, 25.8781e9, "I and Q are exchanged"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_named_with_what_mends_it(tmp_path, electrons, name):
    exchange, rate_hz, oscillator_hz, words = CASES[name]
    path = write(tmp_path / "a.pkl.gz", swapped(electrons) if exchange else electrons, rate_hz, oscillator_hz)
    (sentence,) = prepare([path], tmp_path / "out.hdf5").contradictions
    assert sentence.startswith(
        f"{path}: the strongest line of its 12 records is not where avg_carrier_frequency_Hz says"
    )
    assert words in sentence
    assert f"warning: {tmp_path / 'out.hdf5'}: the strongest line" in str(check(tmp_path / "out.hdf5"))
    assert words in str(check(tmp_path / "out.hdf5"))


def foreign(path: Path, columns: dict[str, np.ndarray], oscillator_hz: float = OSCILLATOR_HZ) -> Path:
    """Write an HDF5 file of somebody else's: columns, and no hashes."""
    with h5py.File(path, "w") as file:
        for column, values in columns.items():
            if column != schema.CONTENT_HASH:
                file[column] = values
        file.attrs.update(sampling_rate_hz=RATE_HZ, lo_frequency_hz=oscillator_hz)
    return path


@pytest.mark.parametrize("name", ["I and Q", "oscillator"])
def test_merging_compares_lines_and_carriers_too(tmp_path, electrons, name):
    exchange, rate_hz, oscillator_hz, words = CASES[name]
    wrong = swapped(electrons) if exchange else electrons
    theirs = foreign(tmp_path / "theirs.hdf5", wrong, oscillator_hz)
    ours = tmp_path / "ours.hdf5"
    prepare([write(tmp_path / "a.pkl.gz", wrong, rate_hz, oscillator_hz)], ours)
    for path in (theirs, ours):
        (sentence,) = merge([path], tmp_path / "merged.hdf5").contradictions
        assert sentence.startswith(f"{path}: the strongest line of its 12 records")
        assert words in sentence
    assert merge([foreign(tmp_path / "right.hdf5", electrons)], tmp_path / "merged.hdf5").contradictions == ()


def test_merging_exchanges_i_and_q_of_others_and_of_no_prepared_file(tmp_path, electrons):
    theirs = foreign(tmp_path / "theirs.hdf5", swapped(electrons))
    result = merge([theirs], tmp_path / "merged.hdf5", exchange_iq=True)
    assert result.contradictions == ()
    with h5py.File(tmp_path / "merged.hdf5") as file:
        np.testing.assert_array_equal(file[schema.SERIES_I][:], electrons[schema.SERIES_I])
    assert "warning" not in str(check(tmp_path / "merged.hdf5"))
    with pytest.raises(UserError, match="was prepared before"):
        merge([tmp_path / "merged.hdf5"], tmp_path / "again.hdf5", exchange_iq=True)


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_does_mend_it(tmp_path, electrons, name):
    exchange, rate_hz, oscillator_hz, _ = CASES[name]
    write(tmp_path / "a.pkl.gz", swapped(electrons) if exchange else electrons, rate_hz, oscillator_hz)
    said = prepare([tmp_path], tmp_path / "out.hdf5").contradictions[0].split()
    after = dict(pairwise(said))
    numbers = {option: float(after[option].rstrip(";")) for option in after if option.endswith("-hz")}
    result = prepare(
        [tmp_path],
        tmp_path / "out.hdf5",
        settings=StagingSettings(exchange_iq="--exchange-iq" in said),
        assembly=Assembly(
            sampling_rate_hz=numbers.get("--sampling-rate-hz"), lo_frequency_hz=numbers.get("--lo-frequency-hz")
        ),
    )
    assert result.contradictions == ()
    assert "warning" not in str(check(tmp_path / "out.hdf5"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_apparatus_of_ours_agrees_with_itself(config):
    """Weak sidebands, coil traps, scattering, long and short tracks: no file of the simulation is suspected."""
    settings = SimulationConfig.from_yaml(config)
    columns = simulate_columns(
        settings, sample_electrons(settings, 4 if settings.readout.samples > 20_000 else 24, seed=3)
    )
    lines = strongest_lines(columns[schema.SERIES_I], columns[schema.SERIES_Q])
    stated = StatedLines.of_columns(lines, columns, columns[schema.SERIES_I].shape[1])
    assert stated is not None
    assert np.isfinite(lines).mean() > 0.5
    readout = settings.readout
    assert contradiction(stated, readout.sampling_rate_hz, readout.lo_frequency_hz) is None


def test_noise_is_no_contradiction(tmp_path):
    make_frame(40, 1, samples=4096).to_pickle(tmp_path / "a.pkl.gz")
    assert prepare([tmp_path], tmp_path / "out.hdf5").contradictions == ()
    assert not np.isfinite(strongest_lines(*np.random.default_rng(1).normal(size=(2, 200, 8192)))).any()


def test_rows_in_another_order_are_suspected_without_a_cause(tmp_path, electrons):
    stated = (schema.CARRIER_FREQUENCY, schema.START_CARRIER_FREQUENCY, schema.AXIAL_FREQUENCY)
    shuffled = electrons | {name: np.roll(electrons[name], 5) for name in stated}
    path = write(tmp_path / "a.pkl.gz", shuffled, RATE_HZ, OSCILLATOR_HZ)
    (sentence,) = prepare([path], tmp_path / "out.hdf5").contradictions
    assert "and the rows in their order?" in sentence


def test_lines_against_a_slow_twin():
    """The same places by a sum over all frequencies in float64."""
    generator = np.random.default_rng(2)
    samples, cycles = 64, generator.integers(-32, 32, 5) / 64
    volts = np.exp(2j * np.pi * cycles[:, None] * np.arange(samples)) + 0.1 * generator.normal(size=(5, samples))
    frequencies = np.arange(-32, 32) / 64
    waves = np.exp(-2j * np.pi * frequencies[:, None] * np.arange(samples))
    slow = frequencies[np.abs(volts @ waves.T).argmax(axis=1)]
    np.testing.assert_array_equal(strongest_lines(volts.real, volts.imag), slow)


def test_the_script_says_it_on_the_error_stream(tmp_path, electrons):
    path = write(tmp_path / "a.pkl.gz", swapped(electrons), RATE_HZ, OSCILLATOR_HZ)
    result = run_script("--input", path, "--output", tmp_path / "out.hdf5")
    assert result.returncode == 0
    assert f"warning: {path}: the strongest line of its 12 records" in result.stderr
    result = run_script("--input", path, "--output", tmp_path / "out.hdf5", "--exchange-iq")
    assert "warning" not in result.stderr


@pytest.mark.parametrize(
    "stated", [{}, {"sampling_rate_hz": 403e6}, {"sampling_rate_hz": 403e6, "lo_frequency_hz": 25.9702e9}]
)
def test_defaults_are_said_when_they_are_used(tmp_path, stated):
    frame = make_frame(4, 1)
    frame.attrs = stated
    frame.to_pickle(tmp_path / "a.pkl.gz")
    result = prepare([tmp_path], tmp_path / "out.hdf5")
    told = " ".join(result.notes)
    assert ("the sampling rate (403 MHz)" in told) == ("sampling_rate_hz" not in stated)
    assert ("the oscillator (25.9702 GHz)" in told) == ("lo_frequency_hz" not in stated)
    assert told in str(check(tmp_path / "out.hdf5"))
    asked = Assembly(sampling_rate_hz=403e6, lo_frequency_hz=25.9702e9)
    assert prepare([tmp_path], tmp_path / "out.hdf5", assembly=asked).notes == ()
