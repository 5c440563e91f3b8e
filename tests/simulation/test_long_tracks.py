"""Tracks of any length: continuous, exact against a slow integration, the same in any window, energy conserved."""

from __future__ import annotations

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cres import schema
from cres.physics import HarmonicTrap, cavity_power_w, cyclotron_frequency_hz
from cres.physics.cavity import port_share
from cres.physics.constants import ELEMENTARY_CHARGE_C
from cres.simulation import (
    ForwardModel,
    SimulationConfig,
    sample_electrons,
    simulate_columns,
    stream_records,
)
from cres.simulation.checks import electrons_at
from cres.simulation.parameters import parameters_of
from cres.simulation.pieces import PIECE_SAMPLES, State, horner, make_piece
from cres.simulation.track import TrackModel

CONFIG = SimulationConfig.default()
RATE = CONFIG.readout.sampling_rate_hz


def of_length(samples: int, config: SimulationConfig = CONFIG, **scattering: Any) -> SimulationConfig:
    return dataclasses.replace(
        config,
        readout=dataclasses.replace(config.readout, samples=samples),
        scattering=dataclasses.replace(config.scattering, **scattering),
    )


def records(config: SimulationConfig, electrons: Any) -> np.ndarray:
    columns = simulate_columns(config, electrons)
    return columns[schema.SERIES_I] + 1j * columns[schema.SERIES_Q]


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 30_000), st.integers(0, 100), st.booleans())
def test_the_beginning_of_a_longer_record_is_the_shorter_one(samples: int, seed: int, scattered: bool) -> None:
    gas = {"density_per_m3": 3e18} if scattered else {}
    electrons = sample_electrons(CONFIG, 2, seed)
    long = records(of_length(30_000, **gas), electrons)
    np.testing.assert_array_equal(records(of_length(samples, **gas), electrons), long[:, :samples])


def test_windows_of_any_length_make_the_same_record() -> None:
    config = of_length(20_000, density_per_m3=2e18, start_s=(0.0, 2e-5))
    electrons = sample_electrons(CONFIG, 4, 1)
    whole = simulate_columns(config, electrons)
    windows = list(stream_records(config, electrons, window_samples=3001))
    np.testing.assert_array_equal(np.concatenate([w.series_i for w in windows], 1), whole[schema.SERIES_I])
    assert [w.start for w in windows] == list(range(0, 20_000, 3001))


def tone(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Energy, eV, and phase, rad, of an electron that stays in the middle: fourth-order steps with `cres.physics`."""
    cavity = CONFIG.cavity

    def rates(energy: float) -> tuple[float, float]:
        watt = cavity_power_w(
            energy, 90.0, 3.4e-3, 0.0, cavity_radius_m=cavity.radius_m, cavity_length_m=cavity.length_m,
            loaded_q=cavity.loaded_q, mode_frequency_hz=cavity.resonance_hz, field_t=CONFIG.trap.field_t,
        )  # fmt: skip
        frequency = cyclotron_frequency_hz(energy, CONFIG.trap.field_t) - CONFIG.readout.lo_frequency_hz
        return -float(watt) / ELEMENTARY_CHARGE_C, 2 * np.pi * float(frequency)

    step = PIECE_SAMPLES / RATE
    energies, phases = [18_600.0], [0.0]
    for _ in range(samples // PIECE_SAMPLES):
        energy = energies[-1]
        slope = [rates(energy)]
        for part in (step / 2, step / 2, step):
            slope.append(rates(energy + part * slope[-1][0]))
        change = [(a + 2 * b + 2 * c + d) * step / 6 for a, b, c, d in zip(*slope, strict=True)]
        energies.append(energy + change[0])
        phases.append(phases[-1] + change[1])
    return np.array(energies), np.array(phases)


def test_a_tone_of_a_million_samples_against_integration_in_steps() -> None:
    samples = 2**20
    config = of_length(samples)
    expected_ev, expected_rad = tone(samples)
    energies, phases = [], []
    electron = electrons_at(1)
    for window in stream_records(config, electron):
        energies.append(float(window.truth["energy_eV"][0]))
        phases.append(np.angle(window.series_i[0, 0] + 1j * window.series_q[0, 0]))
    np.testing.assert_allclose(energies, expected_ev[:-1], atol=1e-4)  # of 60 eV
    off = np.angle(np.exp(1j * (np.array(phases) - phases[0] - expected_rad[:-1])))
    # the cavity's phase, −atan δ, follows the tone through its resonance
    delta = 2 * CONFIG.cavity.loaded_q * (
        cyclotron_frequency_hz(expected_ev[:-1], CONFIG.trap.field_t) / CONFIG.cavity.resonance_hz - 1
    )  # fmt: skip
    off += np.arctan(delta) - np.arctan(delta[0])
    assert np.abs(off).max() < 2e-3


def finer(pitch_deg: float, pieces: int, parts: int) -> tuple[float, float, float]:
    """Energy, pitch angle and turned phase after `pieces` pieces, each made of `parts`."""
    model, duration = TrackModel(CONFIG), PIECE_SAMPLES / RATE / parts
    values = (18_600.0, np.deg2rad(pitch_deg), 3e-3, 0.0, 0.3, 1.0)
    state = State(*(torch.tensor([value], dtype=torch.float64) for value in values))
    turned, time = 0.0, torch.tensor([duration], dtype=torch.float64)
    for number in range(pieces * parts):
        piece = make_piece(model, state, torch.tensor([number == 0]), duration)
        turned += float(horner(piece.phase, time) - piece.phase[:, 0])
        state = piece.after(time)
    return float(state.energy_ev), float(state.pitch_rad), turned


@pytest.mark.parametrize("pitch_deg", [88.3, 89.7])
def test_finer_pieces_lead_to_the_same_place(pitch_deg: float) -> None:
    coarse, fine = finer(pitch_deg, 24, 1), finer(pitch_deg, 24, 4)
    assert coarse[0] == pytest.approx(fine[0], abs=1e-6)
    assert coarse[1] == pytest.approx(fine[1], abs=1e-11)
    assert coarse[2] == pytest.approx(fine[2], abs=4e-4)  # of a hundred thousand radians


def test_records_go_on_where_pieces_meet() -> None:
    """Around the first boundary the record is that of one piece that goes on for longer, to 6e-4 of its size.

    The cavity's answer turns by so much within a piece, whose envelope is that of its start."""
    electrons = sample_electrons(CONFIG, 6, 9)
    samples = PIECE_SAMPLES + 500
    one_piece = ForwardModel(of_length(samples))
    parameters = parameters_of(electrons)
    expected = one_piece(parameters).numpy()[:, PIECE_SAMPLES - 500 :]
    off = np.abs(records(of_length(samples), electrons)[:, PIECE_SAMPLES - 500 :] - expected).max(1)
    assert (off < 6e-4 * np.abs(expected).max(1)).all()


def test_what_is_lost_is_what_is_radiated() -> None:
    config = of_length(40 * PIECE_SAMPLES)
    electrons = electrons_at(
        4, pitch_angle_deg=np.array([88.2, 88.9, 89.5, 90.0]), radius_m=np.array([2, 3, 4, 5]) * 1e-3
    )
    columns = simulate_columns(config, electrons)
    share = port_share(config.cavity.loaded_q, config.cavity.unloaded_q)
    power = columns[schema.SERIES_I].astype(np.float64) ** 2 + columns[schema.SERIES_Q].astype(np.float64) ** 2
    watt = power / (config.readout.resistance_ohm * config.readout.gain * share)
    radiated_ev = watt[:, : 39 * PIECE_SAMPLES].sum(1) / RATE / ELEMENTARY_CHARGE_C
    lost_ev = columns["window_energy_eV"][:, 0] - columns["window_energy_eV"][:, 39]
    assert (lost_ev > 3).all()
    np.testing.assert_allclose(lost_ev, radiated_ev, rtol=2e-3)


def test_windows_tell_where_they_begin() -> None:
    columns = simulate_columns(of_length(20_000), sample_electrons(CONFIG, 3, 4))
    np.testing.assert_array_equal(columns["window_start_sample"], np.tile([0, 8192, 16_384], (3, 1)))
    assert (np.diff(columns["window_energy_eV"], axis=1) < 0).all()
    assert (columns["window_track"] == 0).all()
    np.testing.assert_allclose(columns["window_energy_eV"][:, 0], columns[schema.ENERGY], atol=1e-3)


def test_a_window_continues_as_an_electron_that_starts_there() -> None:
    """The truth of a window is a start: an electron with these values has the frequencies of that window."""
    columns = simulate_columns(of_length(2 * PIECE_SAMPLES), electrons_at(1, pitch_angle_deg=88.6))
    restarted = electrons_at(
        1, energy_ev=columns["window_energy_eV"][0, 1], pitch_angle_deg=columns["window_pitch_angle_deg"][0, 1]
    )
    again = simulate_columns(CONFIG, restarted)
    assert again[schema.AXIAL_FREQUENCY][0] == pytest.approx(columns["window_axial_frequency_Hz"][0, 1], abs=5)
    start_hz = again[schema.START_CARRIER_FREQUENCY][0]
    assert start_hz == pytest.approx(columns["window_carrier_frequency_Hz"][0, 1], abs=300)


def test_a_stream_needs_no_memory_for_the_length() -> None:
    def peak(samples: int) -> int:
        tracemalloc.start()
        for _ in stream_records(of_length(samples), sample_electrons(CONFIG, 1, 1)):
            pass
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(8192)
    assert peak(30 * 8192) < 1.1 * peak(3 * 8192)


def test_the_azimuth_drifts_where_the_trap_depends_on_the_radius() -> None:
    harmonic = SimulationConfig.from_dict({"trap": {"kind": "harmonic", "field_t": 0.957}})
    columns = simulate_columns(of_length(5 * PIECE_SAMPLES, harmonic), electrons_at(1, pitch_angle_deg=89.0))
    turns = HarmonicTrap(0.957, 0.38).drift_frequency_hz(18_600.0, 89.0, 3.4e-3) * 4 * PIECE_SAMPLES / RATE
    assert columns["window_azimuth_rad"][0, 4] == pytest.approx(2 * np.pi * (turns % 1), rel=1e-4)
