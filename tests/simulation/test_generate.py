import dataclasses

import numpy as np
import pytest

from cres import schema
from cres.simulation import Electrons, SimulationConfig, sample_electrons, simulate_columns

CONFIG = SimulationConfig.default()


def one_electron(**values: float) -> Electrons:
    start = {
        "energy_ev": 18_600.0,
        "pitch_angle_deg": 89.0,
        "radius_m": 3.4e-3,
        "azimuth_rad": 0.0,
        "start_phase_rad": 0.3,
        "axial_phase_rad": 1.0,
        "amplitude": 1.0,
    }
    arrays = {name: np.array([value]) for name, value in (start | values).items()}
    return Electrons(**arrays, event_id=np.array([7]))


def record(**values: float) -> np.ndarray:
    columns = simulate_columns(CONFIG, one_electron(**values))
    return (columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q])[0]


def test_columns_are_those_of_the_schema() -> None:
    columns = simulate_columns(CONFIG, sample_electrons(CONFIG, 3, 0))
    others = {schema.CONTENT_HASH, schema.VALID_SAMPLES, "record_kind"}  # that of a simulation of several kinds
    assert set(columns) == set(schema.COLUMNS) - others
    assert columns[schema.SERIES_I].shape == (3, 8192)
    for name, values in columns.items():
        assert values.dtype == schema.COLUMNS[name].dtype
        assert np.all(values >= schema.COLUMNS[name].minimum)
        assert np.all(values <= schema.COLUMNS[name].maximum)


def test_no_electrons_make_empty_columns() -> None:
    assert simulate_columns(CONFIG, sample_electrons(CONFIG, 0, 0))[schema.SERIES_I].shape == (0, 8192)


def test_the_default_apparatus_has_its_reference_numbers() -> None:
    columns = simulate_columns(CONFIG, one_electron(pitch_angle_deg=88.0))
    assert columns[schema.AXIAL_FREQUENCY][0] == pytest.approx(8.5e6, rel=2e-3)
    flat = simulate_columns(CONFIG, one_electron(pitch_angle_deg=90.0))
    rise = columns[schema.CARRIER_FREQUENCY][0] - flat[schema.CARRIER_FREQUENCY][0]
    assert rise == pytest.approx(4.1e6, rel=0.02)
    assert simulate_columns(CONFIG, one_electron(pitch_angle_deg=89.9))["signal_snr"][0] == pytest.approx(350, rel=0.02)


def test_a_common_phase_turns_the_record() -> None:
    np.testing.assert_allclose(record(start_phase_rad=1.3), record(start_phase_rad=0.3) * np.exp(1j), atol=3e-7)


def test_ninety_degrees_has_no_sidebands() -> None:
    columns = simulate_columns(CONFIG, one_electron(pitch_angle_deg=90.0))
    assert columns["sideband_snr"][0] < 1e-4
    assert columns["signal_snr"][0] > 100


@pytest.mark.parametrize("radius", [0.0, CONFIG.cavity.radius_m])
def test_nothing_is_received_on_the_axis_and_at_the_wall(radius: float) -> None:
    assert np.abs(record(radius_m=radius)).max() < 1e-10


def test_an_electron_does_not_depend_on_its_shard() -> None:
    whole = simulate_columns(CONFIG, sample_electrons(CONFIG, 100, 5))
    part = simulate_columns(CONFIG, sample_electrons(CONFIG, 10, 5, start=70))
    for name in whole:
        np.testing.assert_array_equal(whole[name][70:80], part[name])


def test_a_longer_record_begins_as_the_shorter_one() -> None:
    longer = dataclasses.replace(CONFIG, readout=dataclasses.replace(CONFIG.readout, samples=12_000))
    electrons = sample_electrons(CONFIG, 5, 2)
    short, long = simulate_columns(CONFIG, electrons), simulate_columns(longer, electrons)
    np.testing.assert_array_equal(long[schema.SERIES_I][:, :8192], short[schema.SERIES_I])
