"""Records of several kinds: their shares, their sums, and what their columns say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cres.errors import UserError
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.device_stream import DeviceElectrons
from cres.simulation.kinds import kinds_of, partners
from cres.simulation.kinds_config import Kind, KindsConfig
from cres.simulation.tracks import End

TREE = {
    "readout": {"samples": 1024},
    "scattering": {"density_per_m3": 3.4e18},
    "kinds": {"none": 1, "one": 1, "two": 1, "scattered": 1},
}
SERIES = ("output_ts_I", "output_ts_Q")


@pytest.fixture(scope="module")
def config() -> SimulationConfig:
    return SimulationConfig.from_dict(TREE)


@pytest.fixture(scope="module")
def columns(config):
    return simulate_columns(config, sample_electrons(config, 96, 5))


def test_shares_are_those_that_were_asked_for_and_keyed_by_event():
    events = np.arange(20_000, dtype=np.int64) + (7 << 32)
    kinds = kinds_of(KindsConfig(none=1.0, one=2.0, two=0.0, scattered=5.0).shares, events)
    assert np.bincount(kinds, minlength=4) / len(events) == pytest.approx([0.125, 0.25, 0, 0.625], abs=0.012)
    assert (
        kinds_of(KindsConfig(none=1.0, one=2.0, two=0.0, scattered=5.0).shares, events[50:60]) == kinds[50:60]
    ).all()


def test_each_kind_is_what_it_says(config, columns):
    """Against the parts, simulated one by one."""
    kind, electrons = columns["record_kind"], sample_electrons(config, 96, 5)
    plain = SimulationConfig.from_dict({"readout": TREE["readout"]})
    alone, second = (simulate_columns(plain, one) for one in (electrons, partners(config, electrons.event_id)))
    for name in SERIES:
        assert np.abs(columns[name][kind == Kind.NONE]).max() == 0
        np.testing.assert_array_equal(columns[name][kind == Kind.ONE], alone[name][kind == Kind.ONE])
        both = alone[name] + second[name]
        np.testing.assert_allclose(columns[name][kind == Kind.TWO], both[kind == Kind.TWO], atol=1e-7)
    two = kind == Kind.TWO
    apart = second["avg_carrier_frequency_Hz"] - alone["avg_carrier_frequency_Hz"]
    np.testing.assert_allclose(columns["carrier_separation_Hz"][two], apart[two], atol=1)
    assert (columns["carrier_separation_Hz"][~two] == 0).all()
    assert (columns["signal_snr"][kind == Kind.NONE] == 0).all()
    assert (columns["signal_snr"][kind != Kind.NONE] > 0).all()
    assert (partners(config, electrons.event_id).energy_ev != electrons.energy_ev).all()


def test_scattered_ones_scatter_within_the_record(config, columns):
    scattered = columns["record_kind"] == Kind.SCATTERED
    duration = config.readout.duration_s
    assert (columns["first_track_s"][scattered] < duration).all()
    assert (columns["first_track_s"][columns["record_kind"] == Kind.ONE] == duration).all()
    held = columns["track_count"] > 1
    assert held[scattered].any()
    assert (columns["event_end"][scattered & ~held] != End.RECORD).all()
    assert not held[~scattered].any()


def test_the_condition_keeps_the_exponential_law():
    """Times of the first scattering, of those that happen within the record anyway and of those that have to."""
    tree = {"readout": {"samples": 1024}, "scattering": {"density_per_m3": 3.4e18}}
    free = SimulationConfig.from_dict(tree)
    forced = replace(free, scattering=replace(free.scattering, within_record=True))
    electrons = sample_electrons(free, 600, 3)
    times = [simulate_columns(config, electrons)["first_track_s"] for config in (free, forced)]
    duration = free.readout.duration_s
    early = times[0][times[0] < duration * (1 - 1e-9)]
    assert (times[1] < duration).all()
    assert times[1].mean() == pytest.approx(early.mean(), rel=0.15)
    mean = free.scattering.mixture.mean_track_time_s(np.array([18_600.0]), 3.4e18)[0]
    law = mean - duration / np.expm1(duration / mean)  # of an exponential that is cut at the duration
    assert times[1].mean() == pytest.approx(law, rel=0.08)


def test_an_event_does_not_depend_on_who_is_made_with_it(config, columns):
    part = simulate_columns(config, sample_electrons(config, 10, 5, start=31))
    for name in (*SERIES, "record_kind", "carrier_separation_Hz", "first_track_s"):
        np.testing.assert_array_equal(part[name], columns[name][31:41])


def test_mistakes_are_one_sentence():
    for kinds, said in (
        ({"two": -1}, r"kinds\.two must be a share, 0 or more, not -1"),
        ({"one": 0}, "kinds has no record of any kind"),
        ({"scattered": 1}, r"kinds\.scattered asks for records with a scattering"),
    ):
        with pytest.raises(UserError, match=said):
            SimulationConfig.from_dict({"kinds": kinds})
    with pytest.raises(UserError, match=r"scattering\.within_record lets every electron scatter"):
        SimulationConfig.from_dict({"scattering": {"within_record": True}})
    with pytest.raises(UserError, match="records of several kinds are not made on a device"):
        DeviceElectrons(config=SimulationConfig.from_dict({"kinds": {"two": 1}}), device="cpu")
