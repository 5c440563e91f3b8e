"""Scattered events: kinematics, continuity, why they end, what files carry of them; more read-out channels."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import kstest

from cres import schema
from cres.data.prepare.preparation import prepare
from cres.errors import UserError
from cres.physics import kinetic_energy_ev
from cres.physics.gas import mean_track_time_s
from cres.simulation import SimulationConfig, sample_electrons, simulate_columns
from cres.simulation.checks import electrons_at
from cres.simulation.pieces import State
from cres.simulation.scattering import Kick, scatter, track_time_s
from cres.simulation.track import TrackModel
from cres.simulation.tracks import End
from cres.simulation.writer import events_in_a_file, simulate_to_files

CONFIG = SimulationConfig.default()
GAS = {"density_per_m3": 2e18, "start_s": (0.0, 1e-5)}


def gassy(samples: int = 8192, **scattering: Any) -> SimulationConfig:
    return dataclasses.replace(
        CONFIG,
        readout=dataclasses.replace(CONFIG.readout, samples=samples),
        scattering=dataclasses.replace(CONFIG.scattering, **(GAS | scattering)),
    )


def state(count: int, pitch_deg: float = 88.6) -> State:
    generator = np.random.default_rng(3)
    values = (
        np.full(count, 18_600.0), np.deg2rad(np.full(count, pitch_deg)), np.full(count, 3e-3), np.zeros(count),
        np.full(count, 0.4), generator.uniform(0, 2 * np.pi, count),
    )  # fmt: skip
    return State(*(torch.from_numpy(value) for value in values))


def test_a_kick_of_nothing_changes_nothing() -> None:
    before = state(20)
    motion = TrackModel(CONFIG).motion
    after = scatter(motion, CONFIG.trap.field_t, before, Kick(np.zeros(20), np.zeros(20)), np.ones((20, 2)))
    for name in ("energy_ev", "pitch_rad", "radius_m"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=1e-9, atol=1e-9)
    turned = torch.polar(torch.ones(20, dtype=torch.float64), after.axial_phase_rad - before.axial_phase_rad)
    torch.testing.assert_close(turned.angle(), torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-5)
    phase = torch.remainder(after.phase_rad - before.phase_rad + 1, 2 * np.pi) - 1
    torch.testing.assert_close(phase, torch.zeros(20, dtype=torch.float64), rtol=0, atol=1e-9)


def test_a_kicked_electron_stays_where_it_is_and_turns_by_the_kick() -> None:
    before, motion = state(50), TrackModel(CONFIG).motion
    angle = np.full(50, 0.01)
    turns = np.random.default_rng(1).uniform(0, 2 * np.pi, (50, 2))
    after = scatter(motion, CONFIG.trap.field_t, before, Kick(np.full(50, 15.0), angle), turns)
    np.testing.assert_allclose(after.energy_ev, 18_585.0)
    places = [motion.solve(s.start).period(s.axial_phase_rad[:, None]) for s in (before, after)]
    # the new bounce may end before the place of the kick only where it is the turning point itself
    np.testing.assert_allclose(places[1].axial_m, places[0].axial_m, atol=1e-4)
    cosines = []
    for s, place in zip((before, after), places, strict=True):
        ahead = motion.solve(s.start).period(s.axial_phase_rad[:, None] + 1e-4).axial_m - place.axial_m
        sine = torch.sin(s.pitch_rad) * torch.sqrt(place.field_ratio[:, 0])
        cosines.append(torch.sign(ahead[:, 0]) * torch.sqrt((1 - sine**2).clamp(min=0)))
    expected = cosines[0] * np.cos(0.01) - torch.sqrt(1 - cosines[0] ** 2) * float(np.sin(0.01)) * torch.from_numpy(
        np.cos(turns[:, 0])
    )
    np.testing.assert_allclose(cosines[1], expected, atol=2e-4)
    assert (after.radius_m - before.radius_m).abs().max() < 0.01 * 0.5e-3 * 1.1


def test_lengths_are_exponential() -> None:
    draws = np.random.default_rng(0).random(4000)
    times = track_time_s(gassy().scattering, np.full(4000, 18_600.0), draws)
    mean = float(mean_track_time_s(18_600.0, 2e18))
    assert kstest(times / mean, "expon").pvalue > 1e-3
    assert np.isinf(track_time_s(CONFIG.scattering, np.full(3, 18_600.0), draws[:3])).all()


def test_the_record_jumps_in_frequency_where_the_track_ends() -> None:
    """Each track's carrier, measured in the record, is that of its energy; the energies of its truth fall."""
    config = gassy(32_768, density_per_m3=1e18, start_s=(0.0, 0.0))
    electrons = dataclasses.replace(sample_electrons(config, 40, 5), pitch_angle_deg=np.full(40, 89.99))
    columns = simulate_columns(config, electrons)
    rate, seen = config.readout.sampling_rate_hz, 0
    for row in range(40):
        for track in range(columns["track_count"][row]):
            start, length = columns["track_start_s"][row, track], columns["track_length_s"][row, track]
            if length < 5e-6 or columns["track_pitch_angle_deg"][row, track] < 89.95:
                continue
            first = int(np.ceil(start * rate))
            series = columns[schema.SERIES_I][row] + 1j * columns[schema.SERIES_Q][row]
            phase = np.unwrap(np.angle(series[first : first + 1500].astype(np.complex128)))
            slope = np.polyfit(np.arange(1500) / rate, phase, 2)[1] / (2 * np.pi)
            energy = kinetic_energy_ev(config.readout.lo_frequency_hz + slope, config.trap.field_t)
            # mean field at 89.95° and above: up to 1 eV
            assert energy == pytest.approx(columns["track_energy_eV"][row, track], abs=1.5)
            seen += track > 0
    assert seen > 5
    energies = columns["track_energy_eV"]
    drops_ev = -np.diff(energies, axis=1)[np.isfinite(energies[:, 1:])]
    assert (drops_ev > 0).all()  # by radiation, where the scattering was elastic
    assert (drops_ev > 10).mean() == pytest.approx(0.92, abs=0.08)


def test_the_signal_is_silent_before_the_birth_and_after_the_end() -> None:
    columns = simulate_columns(gassy(maximum_tracks=2), sample_electrons(CONFIG, 60, 2))
    power = np.hypot(columns[schema.SERIES_I], columns[schema.SERIES_Q])
    first = np.ceil(columns["start_time_s"] * CONFIG.readout.sampling_rate_hz).astype(int)
    assert all((power[row, : first[row]] == 0).all() and power[row, first[row]] > 0 for row in range(60))
    over = columns["event_end"] != End.RECORD
    last = columns["track_start_s"] + columns["track_length_s"]
    end = np.ceil(np.nanmax(last, 1) * CONFIG.readout.sampling_rate_hz).astype(int)
    assert over.sum() > 3
    assert all((power[row, end[row] :] == 0).all() for row in np.flatnonzero(over))
    assert (columns["track_count"][~over] >= 1).all()
    assert columns["track_start_s"].shape == (60, 2)


def test_labels_are_those_of_the_first_track_and_of_the_unscattered_electron() -> None:
    electrons = sample_electrons(CONFIG, 8, 3)
    plain, scattered = simulate_columns(CONFIG, electrons), simulate_columns(gassy(start_s=(0.0, 0.0)), electrons)
    for name in schema.TRUTH_COLUMNS:
        np.testing.assert_array_equal(plain[name], scattered[name])
    np.testing.assert_array_equal(scattered["track_energy_eV"][:, 0], plain[schema.ENERGY])
    np.testing.assert_allclose(
        scattered[schema.START_CARRIER_FREQUENCY], plain[schema.START_CARRIER_FREQUENCY], rtol=0, atol=1
    )
    first = int(scattered["first_track_s"].min() * CONFIG.readout.sampling_rate_hz)
    np.testing.assert_array_equal(scattered[schema.SERIES_I][:, :first], plain[schema.SERIES_I][:, :first])


def test_electrons_that_are_kicked_out_are_lost() -> None:
    config = gassy(8192, density_per_m3=3e19, start_s=(0.0, 0.0), maximum_tracks=20)
    ends = simulate_columns(config, sample_electrons(CONFIG, 24, 6))["event_end"]
    assert (ends == End.NOT_TRAPPED).sum() > 5
    assert set(ends) <= {End.NOT_TRAPPED, End.MAXIMUM_TRACKS, End.RECORD}
    coils = SimulationConfig.from_yaml(Path(__file__).parents[2] / "configs/simulation/coils.yaml")
    readout = dataclasses.replace(coils.readout, samples=512)
    gas = dataclasses.replace(config.scattering, maximum_tracks=2)
    coils = dataclasses.replace(coils, readout=readout, scattering=gas)
    columns = simulate_columns(coils, sample_electrons(coils, 2, 6))
    assert np.isfinite(columns[schema.SERIES_I]).all()
    assert (columns["track_count"] > 1).any()


def test_scattered_and_long_sets_are_written_by_any_number_of_workers_and_restarted(tmp_path: Path) -> None:
    config = gassy(12_000)
    folders = [tmp_path / str(workers) for workers in (1, 2)]
    for workers, folder in enumerate(folders, 1):
        simulate_to_files(config, 5, folder, 3, workers, events_per_file=2)
    files = [sorted(folder.glob("*.pkl.gz")) for folder in folders]
    digests = [[hashlib.sha256(file.read_bytes()).hexdigest() for file in found] for found in files]
    assert digests[0] == digests[1]
    assert not list(folders[0].glob(".*tmp"))
    before = pd.read_pickle(files[0][1])
    files[0][1].unlink()  # what a killed run leaves out, a second run makes again
    simulate_to_files(config, 5, folders[0], 3, events_per_file=2)
    pd.testing.assert_frame_equal(pd.read_pickle(files[0][1]), before, check_exact=True)


def test_preparation_carries_what_the_simulation_tells(tmp_path: Path) -> None:
    channels = [{"gain": 0.25, "phase_deg": 90.0}]
    config = SimulationConfig.from_dict(gassy(10_000).to_dict() | {"more_channels": channels})
    (source,) = simulate_to_files(config, 4, tmp_path / "raw", 1)
    prepare([source], tmp_path / "all.hdf5")
    frame = pd.read_pickle(source)
    with h5py.File(tmp_path / "all.hdf5") as file:
        for name in ("track_start_s", "track_energy_eV", "window_start_sample", "window_energy_eV", "output_ts_I_1"):
            np.testing.assert_array_equal(file[name][...], np.stack(frame[name].to_list()), err_msg=name)
        for name in ("track_count", "event_end", "start_time_s", "first_track_s"):
            np.testing.assert_array_equal(file[name][...], frame[name].to_numpy(), err_msg=name)
        np.testing.assert_allclose(file["output_ts_I_1"][...], -0.5 * file["output_ts_Q"][...], atol=1e-9)
        np.testing.assert_allclose(file["output_ts_Q_1"][...], 0.5 * file["output_ts_I"][...], atol=1e-9)


def test_a_probe_sees_the_mode_at_its_place() -> None:
    channel = {"axial_m": 0.025}
    config = SimulationConfig.from_dict({"more_channels": [channel, channel | {"axial_m": -0.075}]})
    columns = simulate_columns(config, electrons_at(1))
    share = np.cos(np.pi * 0.025 / CONFIG.cavity.length_m)
    np.testing.assert_allclose(columns["output_ts_I_1"], share * columns[schema.SERIES_I], rtol=1e-6)
    assert np.abs(columns["output_ts_I_2"]).max() < 1e-8  # at the end of the cavity
    assert schema.series_columns(2) == ("output_ts_I_2", "output_ts_Q_2")


def test_long_records_share_a_file_in_small_numbers() -> None:
    assert events_in_a_file(CONFIG) == 1000
    assert events_in_a_file(gassy(2**20)) == 8
    assert events_in_a_file(gassy(2**30)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"scattering": {"density_per_m3": -1}}, "density_per_m3"),
        ({"scattering": {"inelastic_cross_section_m2": 0}}, "inelastic_cross_section_m2"),
        ({"scattering": {"start_s": [2e-6, 1e-6]}}, "two rising times"),
        ({"scattering": {"start_s": [0, 1]}}, "born within the record"),
        ({"scattering": {"maximum_tracks": 0}}, "maximum_tracks"),
        ({"scattering": {"densty_per_m3": 1e18}}, "did you mean 'density_per_m3'"),
        ({"more_channels": [{"gain": 0}]}, "more_channels"),
    ],
)
def test_mistakes_are_told(content: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimulationConfig.from_dict(content)
