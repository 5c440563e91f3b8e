"""The validation's checks: records of the simulator against formulae that it does not share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kstest, ncx2

from cres import schema
from cres.physics.cavity import J1_ZEROS, detuning, port_share, radial_coupling
from cres.physics.constants import ELECTRON_MASS_EV, ELEMENTARY_CHARGE_C
from cres.physics.cyclotron import (
    chirp_rate_hz_per_s,
    cyclotron_frequency_hz,
    gyroradius_m,
    lorentz_factor,
    speed_m_per_s,
)
from cres.simulation.config import LossConfig, SimulationConfig
from cres.simulation.electrons import Electrons, sample_electrons
from cres.simulation.generate import simulate_columns
from cres.simulation.scattering_config import ScatteringConfig
from cres.simulation.trapping import make_trap
from cres.transforms.noise import WhiteNoise
from reconstruction.random.keyed import KeyedRandom

FloatArray = NDArray[np.float64]
MIDDLE_EV = 18_600.0


@dataclass(frozen=True)
class Check:
    """One comparison. `deviation` is compared with `tolerance`; curves are (label, x, y) for the picture."""

    name: str
    meaning: str
    deviation: float
    tolerance: float
    axes: tuple[str, str]
    curves: list[tuple[str, Any, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the deviation is within the tolerance; NaN is not."""
        return bool(self.deviation <= self.tolerance)


def electrons_at(count: int, **values: float | FloatArray) -> Electrons:
    """Return electrons at 18.6 keV, 90°, 3.4 mm and phases 0 but for the values given."""
    start: dict[str, Any] = {
        "energy_ev": MIDDLE_EV,
        "pitch_angle_deg": 90.0,
        "radius_m": 3.4e-3,
        "azimuth_rad": 0.0,
        "start_phase_rad": 0.0,
        "axial_phase_rad": 0.0,
        "amplitude": 1.0,
    } | values
    arrays = {name: np.broadcast_to(np.asarray(value, np.float64), (count,)).copy() for name, value in start.items()}
    return Electrons(**arrays, event_id=np.arange(count, dtype=np.int64))


def complex_records(config: SimulationConfig, electrons: Electrons) -> NDArray[np.complex128]:
    """Return the records of unscattered electrons, (rows, samples) volts."""
    columns = simulate_columns(dataclasses.replace(config, scattering=ScatteringConfig()), electrons)
    return columns[schema.SERIES_I].astype(np.float64) + 1j * columns[schema.SERIES_Q]


def fit_phase(config: SimulationConfig, records: NDArray[np.complex128]) -> tuple[FloatArray, FloatArray]:
    """Return start frequency before mixing (Hz) and chirp (Hz/s) of records of single tones."""
    time = np.arange(records.shape[1]) / config.readout.sampling_rate_hz
    cycles = np.unwrap(np.angle(records), axis=1) / (2 * np.pi)
    square, linear, _ = np.polyfit(time * 1e5, cycles.T, 2)
    return config.readout.lo_frequency_hz + linear * 1e5, 2 * square * 1e10


def carrier_hz(config: SimulationConfig, energy_ev: Any, radius_m: float = 3.4e-3) -> FloatArray:
    """Return the carrier at 90° before mixing: the cyclotron frequency of the mean field less the drift."""
    trap = make_trap(config.trap)
    field = trap.average_field_t(energy_ev, 90.0, radius_m)
    return np.asarray(cyclotron_frequency_hz(energy_ev, field) - trap.drift_frequency_hz(energy_ev, 90.0, radius_m))


def _relative(measured: Any, expected: Any) -> float:
    return float(np.max(np.abs(np.asarray(measured) / np.asarray(expected) - 1)))


def energy_balance(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """What leaves the cavity and what stays in it is what the electron loses (from its chirp)."""
    radius = np.linspace(1.5e-3, 5.5e-3, 5)
    records = complex_records(simulated, electrons_at(5, radius_m=radius))
    readout, cavity = expected.readout, expected.cavity
    share = port_share(cavity.loaded_q, cavity.unloaded_q)
    seen = (np.abs(records) ** 2).mean(1) / (readout.resistance_ohm * readout.gain * share)
    start, chirp = fit_phase(expected, records)
    lost = chirp / start * lorentz_factor(MIDDLE_EV) * ELECTRON_MASS_EV * ELEMENTARY_CHARGE_C
    curves = [("radiated", radius * 1e3, seen * 1e15), ("lost", radius * 1e3, lost * 1e15)]
    meaning = "power in the record, over gain and port share, equals the electron's energy loss"
    return Check("energy balance", meaning, _relative(lost, seen), 0.01, ("radius (mm)", "power (fW)"), curves)


def frequency(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The start carrier at 90° against f = eB/2πγm."""
    energy = np.linspace(18_500, 18_700, 9)
    start, _ = fit_phase(simulated, complex_records(simulated, electrons_at(9, energy_ev=energy)))
    formula = carrier_hz(expected, energy)
    curves = [("measured", energy, start / 1e9), ("eB/2πγm", energy, formula / 1e9)]
    deviation = float(np.abs(start - formula).max())
    meaning = "largest difference in Hz"
    return Check("frequency", meaning, deviation, 100.0, ("energy (eV)", "start carrier (GHz)"), curves)


def chirp(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The chirp with free-space radiation against df/dt = f P/γmc²."""
    free = dataclasses.replace(simulated, loss=LossConfig("free_space", simulated.loss.factor))
    if simulated.loss.kind == "off":
        free = simulated
    energy = np.linspace(18_500, 18_700, 5)
    _, rate = fit_phase(free, complex_records(free, electrons_at(5, energy_ev=energy)))
    formula = chirp_rate_hz_per_s(energy, 90.0, expected.trap.field_t)
    curves = [("measured", energy, rate / 1e6), ("formula", energy, formula / 1e6)]
    return Check("chirp", "relative", _relative(rate, formula), 0.005, ("energy (eV)", "chirp (MHz/s)"), curves)


def sidebands(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """Places and heights of the lines against the Fourier series of the motion, integrated in small steps."""
    electrons = electrons_at(1, pitch_angle_deg=88.3)
    quiet = dataclasses.replace(simulated, loss=LossConfig("off"))
    record = complex_records(quiet, electrons)[0]
    carrier, axial, lines = _line_series(expected, 88.3)
    order = 2 * np.arange(-2, 3)
    time = np.arange(len(record)) / expected.readout.sampling_rate_hz
    window = np.hanning(len(record))
    shifts = carrier - expected.readout.lo_frequency_hz + order * axial
    tones = np.exp(-2j * np.pi * shifts[:, None] * time)
    heights = np.abs((tones * record * window).sum(1)) / window.sum()
    predicted = np.abs(lines)
    predicted *= heights[2] / predicted[2]
    deviation = float(np.abs(heights - predicted).max() / heights[2])
    curves = [("measured", order, heights / heights[2]), ("Fourier series", order, predicted / heights[2])]
    meaning = "largest difference in units of the carrier, at the places n·2f_a"
    return Check("sidebands", meaning, deviation, 0.005, ("line", "height over the carrier's"), curves)


def _line_series(config: SimulationConfig, pitch_deg: float, steps: int = 40_001) -> tuple[float, float, Any]:
    """Return carrier (Hz), axial frequency (Hz) and five complex lines, from the field alone on the axis."""
    trap = make_trap(config.trap)
    lowest = float(trap.field_t(0.0, 0.0))
    turning_field = lowest / np.sin(np.deg2rad(pitch_deg)) ** 2
    turning = float(trap.turning_point_m(MIDDLE_EV, pitch_deg, gyroradius=False))
    u = (np.arange(steps) + 0.5) / steps * np.pi / 2
    z = turning * np.sin(u)
    local = np.asarray(trap.field_t(0.0, z))
    # the last node may touch the turning point within rounding
    rate = turning * np.cos(u) / np.sqrt(np.maximum(1 - local / turning_field, 1e-300))
    time = (np.cumsum(rate) - rate / 2) * (np.pi / 2 / steps) / float(speed_m_per_s(MIDDLE_EV))
    quarter = rate.sum() * (np.pi / 2 / steps) / float(speed_m_per_s(MIDDLE_EV))
    mean = float((rate * local).sum() / rate.sum())
    omega = 2 * np.pi * float(cyclotron_frequency_hz(MIDDLE_EV, 1.0))
    step_time = rate * (np.pi / 2 / steps) / float(speed_m_per_s(MIDDLE_EV))
    excess = omega * (local - mean) * step_time
    phase = np.cumsum(excess) - excess / 2
    cavity = config.cavity
    profile = np.cos(np.pi * z / cavity.length_m) * np.sqrt(local / lowest)
    carrier, axial = omega * mean / (2 * np.pi), 1 / (4 * quarter)
    # where the field depends on the radius: how far off the axis, and with gyration, the lines lie
    off, on = (MIDDLE_EV, pitch_deg, 3.4e-3), (MIDDLE_EV, pitch_deg, 0.0, False)
    carrier += omega / (2 * np.pi) * float(trap.average_field_t(*off) - trap.average_field_t(*on))
    carrier -= float(trap.drift_frequency_hz(*off))
    axial += float(trap.axial_frequency_hz(*off) - trap.axial_frequency_hz(*on))
    orders = 2 * np.arange(-2, 3)
    # the phase is odd about the quarter and even lines only remain: real parts of one quarter
    lines = [(profile * np.cos(phase - 2 * np.pi * n * axial * time) * step_time).sum() / quarter for n in orders]
    response = 1 / (1 + 1j * detuning(carrier + orders * axial, cavity.resonance_hz, cavity.loaded_q))
    return carrier, axial, np.array(lines) * response


def power_and_radius(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The power against the radius: [J₁(kρ)]²."""
    cavity = expected.cavity
    radius = np.linspace(0.1, 0.95, 18) * cavity.radius_m
    power = (np.abs(complex_records(simulated, electrons_at(18, radius_m=radius))) ** 2).mean(1)
    gyration = gyroradius_m(MIDDLE_EV, 90.0, expected.trap.field_t)
    formula = np.asarray(radial_coupling(radius, gyration, cavity.radius_m)) ** 2
    scale = power.max() / formula.max()
    curves = [("measured", radius * 1e3, power / power.max()), ("J₁²", radius * 1e3, formula * scale / power.max())]
    deviation = float(np.abs(power - formula * scale).max() / power.max())
    meaning = f"in units of the maximum; k = {J1_ZEROS[0]:.4f}/R"
    return Check("power and radius", meaning, deviation, 0.005, ("radius (mm)", "power"), curves)


def power_and_detuning(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The power of electrons of other energies against the Lorentzian of the loaded cavity."""
    cavity = expected.cavity
    energy = np.linspace(17_400, 19_600, 23)
    power = (np.abs(complex_records(simulated, electrons_at(23, energy_ev=energy))) ** 2).mean(1)
    carrier = carrier_hz(expected, energy)
    gyration = gyroradius_m(energy, 90.0, expected.trap.field_t)
    coupling = np.asarray(radial_coupling(3.4e-3, gyration, cavity.radius_m)) * speed_m_per_s(energy)
    formula = coupling**2 / (1 + np.asarray(detuning(carrier, cavity.resonance_hz, cavity.loaded_q)) ** 2)
    scale = power.max() / formula.max()
    offset = (carrier - cavity.resonance_hz) / 1e6
    curves = [("measured", offset, power / power.max()), ("Lorentzian", offset, formula / formula.max())]
    deviation = float(np.abs(power - formula * scale).max() / power.max())
    axes = ("carrier − resonance (MHz)", "power")
    return Check("power and detuning", "in units of the maximum", deviation, 0.005, axes, curves)


def _noise(config: SimulationConfig, rows: int) -> NDArray[np.complex128]:
    readout = config.readout
    noise = WhiteNoise(readout.sampling_rate_hz, readout.density_w_per_hz, readout.resistance_ohm)
    random = KeyedRandom(config.seed, 0, torch.arange(rows), torch.device("cpu"))
    drawn = noise(torch.zeros(rows, readout.samples, 2), random).numpy().astype(np.float64)
    return drawn[..., 0] + 1j * drawn[..., 1]


def noise_level(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The noise that training injects against σ_c² = R S f_s, in 16 bands."""
    drawn = _noise(simulated, 64)
    spectrum = (np.abs(np.fft.fft(drawn)) ** 2).mean(0) / drawn.shape[1] / expected.readout.complex_noise_variance
    bands = spectrum[: len(spectrum) // 16 * 16].reshape(16, -1).mean(1)
    spread = 1 / np.sqrt(64 * len(spectrum) / 16)
    curves = [("measured", np.arange(16), bands), ("density", np.arange(16), np.ones(16))]
    meaning = "largest deviation of a band in its standard deviations"
    return Check("noise level", meaning, float(np.abs(bands - 1).max() / spread), 5.0, ("band", "density"), curves)


def ensemble(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """Radius², phases and what is born above a pitch angle are uniform: smallest Kolmogorov–Smirnov p-value."""
    electrons = sample_electrons(simulated, 20_000, 1)
    limits = np.array(expected.ensemble.pitch_angle_deg)
    born, ends = _born_from(expected, electrons.pitch_angle_deg), _born_from(expected, limits)
    radius_limits = np.square(expected.ensemble.radius_m)
    shares = {
        "pitch angle": (born - ends[1]) / (ends[0] - ends[1]),
        "radius²": (electrons.radius_m**2 - radius_limits[0]) / (radius_limits[1] - radius_limits[0]),
        "start phase": electrons.start_phase_rad / (2 * np.pi),
        "axial phase": electrons.axial_phase_rad / (2 * np.pi),
    }
    worst = min(float(kstest(share, "uniform").pvalue) for share in shares.values())
    quantiles = np.linspace(0, 1, 41)
    curves = [(name, quantiles, np.quantile(share, quantiles)) for name, share in shares.items()]
    meaning = "−log₁₀ of the smallest Kolmogorov–Smirnov p-value"
    return Check("ensemble", meaning, -np.log10(max(worst, 1e-300)), 4.0, ("quantile", "share of the range"), curves)


def _born_from(config: SimulationConfig, pitch_deg: FloatArray) -> FloatArray:
    """Return what is born between these pitch angles and 90°, up to a factor, summed over places along the field line.

    At a place with field B electrons that start isotropic have cosθ = √(1 − sin²θ₀ B/B_min), in flux tubes ∝ 1/B; the
    bathtub's wall goes on until the turning point. At the minimum that is cosθ₀.
    """
    if config.ensemble.births == "minimum":
        return np.cos(np.deg2rad(pitch_deg))
    trap = make_trap(config.trap)
    lowest = float(trap.field_t(0.0, 0.0))
    z = (np.arange(4000) + 0.5) / 4000 * float(trap.turning_point_m(MIDDLE_EV, config.ensemble.pitch_angle_deg[0]))
    ratio = np.asarray(trap.field_t(0.0, z)) / lowest
    table_deg = np.linspace(*config.ensemble.pitch_angle_deg, 801)
    local = np.sqrt(np.maximum(1 - np.sin(np.deg2rad(table_deg))[:, None] ** 2 * ratio, 0.0))
    return np.interp(pitch_deg, table_deg, (local / ratio).sum(1))


DETECTED_SNR, DETECTED = 25.0, 512
"""Threshold of the matched filter, and electrons."""


def _detection(
    expected: SimulationConfig, simulated: SimulationConfig
) -> tuple[Electrons, NDArray[np.bool_], FloatArray, float]:
    """Return electrons, which pass the threshold, with what chance (Rice), and the filter's noise in σ of its level."""
    electrons = sample_electrons(expected, DETECTED, 2)
    records = complex_records(expected, electrons)
    energy = (np.abs(records) ** 2).sum(1)
    filtered = (np.conj(records) * (records + _noise(simulated, DETECTED))).sum(1) / np.sqrt(energy)
    variance = expected.readout.complex_noise_variance
    passed = np.abs(filtered) ** 2 / variance > DETECTED_SNR
    chance = np.asarray(ncx2.sf(2 * DETECTED_SNR, 2, 2 * energy / variance))
    # the level of the noise in the filter is what a wrong density changes
    left = np.abs(filtered - np.sqrt(energy)) ** 2 / variance
    return electrons, passed, chance, abs(float(left.mean()) - 1) * float(np.sqrt(DETECTED))


def _efficiency(name: str, axis: str, places: FloatArray, limits: tuple[float, float], found: tuple[Any, ...]) -> Check:
    """Compare the share of detected electrons with the chance, in 8 bins of a start value and as a whole."""
    _, passed, chance, level = found
    edges = np.linspace(*limits, 9)
    bins = np.clip(np.digitize(places, edges) - 1, 0, 7)
    middle = (edges[1:] + edges[:-1]) / 2
    groups = [bins == b for b in range(8) if np.any(bins == b)]
    spreads = [
        abs(float((passed[g] - chance[g]).sum())) / float(np.sqrt((chance[g] * (1 - chance[g])).sum() + 0.25))
        for g in [*groups, np.ones(len(bins), bool)]
    ]
    held = [b for b in range(8) if np.any(bins == b)]
    curves = [
        ("measured", middle[held], np.array([passed[g].mean() for g in groups])),
        ("Rice", middle[held], np.array([chance[g].mean() for g in groups])),
    ]
    meaning = (
        f"SNR above {DETECTED_SNR:g}; in standard deviations, of the efficiency in any bin and of the filter's noise"
    )
    return Check(name, meaning, max(*spreads, level), 5.0, (axis, "efficiency"), curves)


def detection_and_radius(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """Share of electrons whose matched filter in noise passes the threshold, against the Rice distribution: radius."""
    found = _detection(expected, simulated)
    limits = 0.0, expected.ensemble.radius_m[1] * 1e3
    return _efficiency("detection over radius", "radius (mm)", found[0].radius_m * 1e3, limits, found)


def detection_and_pitch_angle(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The same over the pitch angle."""
    found = _detection(expected, simulated)
    limits = expected.ensemble.pitch_angle_deg
    places = found[0].pitch_angle_deg
    return _efficiency("detection over pitch angle", "pitch angle (degrees)", places, limits, found)


CHECKS: tuple[Callable[[SimulationConfig, SimulationConfig], Check], ...] = (
    energy_balance,
    frequency,
    chirp,
    sidebands,
    power_and_radius,
    power_and_detuning,
    noise_level,
    ensemble,
    detection_and_radius,
    detection_and_pitch_angle,
)
