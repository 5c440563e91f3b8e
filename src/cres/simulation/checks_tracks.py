"""The validation's checks of long tracks and of scattering, against formulae that they do not share."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, kstest

from cres import schema
from cres.physics.cavity import cavity_power_w, detuning, port_share
from cres.physics.constants import ELEMENTARY_CHARGE_C
from cres.physics.cyclotron import cyclotron_frequency_hz, speed_m_per_s
from cres.physics.gas import elastic_cross_section_m2, energy_loss_density_per_ev, inelastic_cross_section_m2
from cres.physics.gases import MOLECULES
from cres.simulation.checks import MIDDLE_EV, Check, carrier_hz, electrons_at
from cres.simulation.config import LossConfig, SimulationConfig
from cres.simulation.generate import simulate_columns, stream_records
from cres.simulation.pieces import PIECE_SAMPLES
from cres.simulation.scattering import draw_kick, track_draws, track_time_s
from cres.simulation.scattering_config import ScatteringConfig

FloatArray = NDArray[np.float64]

PIECES = 24
DENSITY_PER_M3 = 1e18
"""Where the configuration has no gas."""
TRACKS = 8000


def _long(config: SimulationConfig, loss: LossConfig | None = None) -> SimulationConfig:
    readout = dataclasses.replace(config.readout, samples=PIECES * PIECE_SAMPLES)
    return dataclasses.replace(config, readout=readout, scattering=ScatteringConfig(), loss=loss or config.loss)


def long_energy(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """Along a track of many pieces the electron loses what the cavity radiates: the sum of |s|² against its energy."""
    pitch_deg = np.array([88.2, 88.9, 89.5, 90.0])
    columns = simulate_columns(_long(simulated), electrons_at(4, pitch_angle_deg=pitch_deg))
    readout, cavity = expected.readout, expected.cavity
    share = port_share(cavity.loaded_q, cavity.unloaded_q)
    power = columns[schema.SERIES_I].astype(np.float64) ** 2 + columns[schema.SERIES_Q].astype(np.float64) ** 2
    joule = power / (readout.resistance_ohm * readout.gain * share * readout.sampling_rate_hz)
    radiated = joule.reshape(4, PIECES, PIECE_SAMPLES).sum(2).cumsum(1)[:, :-1] / ELEMENTARY_CHARGE_C
    energy = columns["window_energy_eV"]
    lost = energy[:, :1] - energy[:, 1:]
    deviation = float(np.abs(lost / radiated - 1).max())
    number = np.arange(1, PIECES)
    curves = [("lost", number, lost[0]), ("radiated", number, radiated[0])]
    meaning = "energy lost along a track equals the integral of the radiated power, relative"
    return Check("energy along a track", meaning, deviation, 0.005, ("piece of 8192 samples", "energy (eV)"), curves)


def long_phase(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The phase of a long tone against an integration of its energy in fourth-order steps."""
    stream = stream_records(_long(simulated), electrons_at(1))
    seen = np.array([np.angle(window.series_i[0, 0] + 1j * window.series_q[0, 0]) for window in stream])
    energies, phases = _tone(_long(expected), 3.4e-3)
    carrier = carrier_hz(expected, energies)
    answer = -np.arctan(detuning(carrier, expected.cavity.resonance_hz, expected.cavity.loaded_q))
    formula = phases + answer - answer[0]
    off = np.angle(np.exp(1j * (seen - seen[0] - formula)))
    number = np.arange(PIECES)
    curves = [("measured − integrated", number, off), ("zero", number, 0 * off)]
    meaning = "largest difference in rad over half a millisecond"
    axes = ("piece of 8192 samples", "phase (rad)")
    return Check("phase of a long tone", meaning, float(np.abs(off).max()), 0.005, axes, curves)


def _tone(config: SimulationConfig, radius_m: float) -> tuple[FloatArray, FloatArray]:
    """Return energy and phase of an electron in the middle of the trap at the start of each piece."""
    cavity, step = config.cavity, PIECE_SAMPLES / config.readout.sampling_rate_hz

    def rates(energy_ev: float) -> FloatArray:
        carrier = float(carrier_hz(config, energy_ev, radius_m))
        watt = cavity_power_w(
            energy_ev,
            90.0,
            radius_m,
            -cavity.offset_m,
            cavity_radius_m=cavity.radius_m,
            cavity_length_m=cavity.length_m,
            loaded_q=cavity.loaded_q,
            mode_frequency_hz=cavity.resonance_hz,
            field_t=carrier / float(cyclotron_frequency_hz(energy_ev, 1.0)),
        )
        shift = carrier - config.readout.lo_frequency_hz
        return np.array([-float(watt) * config.loss.factor / ELEMENTARY_CHARGE_C, 2 * np.pi * shift])

    values = [np.array([MIDDLE_EV, 0.0])]
    for _ in range(PIECES - 1):
        here = values[-1]
        first = rates(here[0])
        second = rates((here + step / 2 * first)[0])
        third = rates((here + step / 2 * second)[0])
        fourth = rates((here + step * third)[0])
        values.append(here + step / 6 * (first + 2 * second + 2 * third + fourth))
    energies, phases = np.array(values).T
    return energies, phases


def _with_gas(config: SimulationConfig) -> ScatteringConfig:
    if config.scattering.density_per_m3 > 0:
        return config.scattering
    return dataclasses.replace(config.scattering, density_per_m3=DENSITY_PER_M3)


def _cross_sections_m2(scattering: ScatteringConfig) -> tuple[float, float]:
    """Return the elastic and the inelastic cross-section: those of tritium by its formulae, else of the mixture."""
    if not set(scattering.gases) <= set(MOLECULES):
        elastic, inelastic = scattering.mixture.cross_sections_m2(MIDDLE_EV)
        return float(elastic.sum()), float(inelastic.sum())
    molecular = float(inelastic_cross_section_m2(MIDDLE_EV, scattering.inelastic_cross_section_m2))
    return float(elastic_cross_section_m2(MIDDLE_EV)) * scattering.elastic, molecular


def track_lengths(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """Track lengths are exponential with the mean 1/(nσv)."""
    gas = _with_gas(expected)
    draws = track_draws(np.arange(TRACKS // 8, dtype=np.int64), 8).reshape(TRACKS, -1)
    times = track_time_s(_with_gas(simulated), np.full(TRACKS, MIDDLE_EV), draws[:, 0])
    elastic, inelastic = _cross_sections_m2(gas)
    total = elastic + inelastic
    mean = 1 / (gas.density_per_m3 * total * float(speed_m_per_s(MIDDLE_EV)))
    quantiles = np.linspace(0.01, 0.99, 40)
    curves = [
        ("drawn", quantiles, np.quantile(times, quantiles) * 1e6),
        ("exponential", quantiles, -np.log1p(-quantiles) * mean * 1e6),
    ]
    meaning = "−log₁₀ of the Kolmogorov–Smirnov p-value"
    axes = ("quantile", "track length (µs)")
    return Check("track lengths", meaning, _surprise(float(kstest(times / mean, "expon").pvalue)), 4.0, axes, curves)


def energy_losses(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """Losses follow the density, integrated in small steps; the rest are elastic scatterings, in their share."""
    draws = track_draws(np.arange(TRACKS // 8, dtype=np.int64), 8).reshape(TRACKS, -1)
    loss = draw_kick(_with_gas(simulated), np.full(TRACKS, MIDDLE_EV), draws[:, 1:4]).loss_ev
    inelastic = loss[loss > 0]
    grid = np.concatenate([np.linspace(0, 100, 20_001), np.geomspace(100, MIDDLE_EV / 2, 20_001)[1:]])
    density = np.asarray(energy_loss_density_per_ev((grid[1:] + grid[:-1]) / 2, MIDDLE_EV))
    share = np.concatenate([[0.0], np.cumsum(density * np.diff(grid))])
    gas = _with_gas(expected)
    elastic_m2, inelastic_m2 = _cross_sections_m2(gas)
    elastic_share = elastic_m2 / (elastic_m2 + inelastic_m2)
    p_values = [float(binomtest(TRACKS - len(inelastic), TRACKS, elastic_share).pvalue)]
    if set(gas.gases) <= set(MOLECULES):  # others have no density beside the one that is drawn from
        p_values.append(float(kstest(inelastic, lambda e: np.interp(e, grid, share)).pvalue))
    counts, edges = np.histogram(inelastic, np.linspace(8, 40, 33), density=False)
    middle = (edges[1:] + edges[:-1]) / 2
    formula = np.diff(np.interp(edges, grid, share)) * len(inelastic)
    curves = [("drawn", middle, counts), ("density", middle, formula)]
    meaning = "−log₁₀ of the smaller p-value: losses (Kolmogorov–Smirnov), share of elastic scatterings (binomial)"
    return Check("energy losses", meaning, _surprise(min(p_values)), 4.0, ("loss (eV)", "scatterings"), curves)


def _surprise(p_value: float) -> float:
    return float(-np.log10(max(p_value, 1e-300)))


TRACK_CHECKS = (long_energy, long_phase, track_lengths, energy_losses)
