"""The validation's checks of a cavity's modes and ports, one or several, against integrals of their own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import jv, jvp

from cres.physics.constants import ELECTRON_MASS_EV, ELEMENTARY_CHARGE_C, VACUUM_PERMITTIVITY_F_PER_M
from cres.physics.cyclotron import gyroradius_m, lorentz_factor, speed_m_per_s
from cres.simulation.cavity_config import CavityConfig, Field
from cres.simulation.checks import MIDDLE_EV, Check, carrier_hz, complex_records, electrons_at, fit_phase
from cres.simulation.config import SimulationConfig
from cres.simulation.motion import Start
from cres.simulation.track import BouncePattern, TrackModel

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
PLACES = np.linspace(-0.35, 0.35, 5)
"""Places of electrons at rest along the cavity, in its lengths: all modes are seen somewhere."""
PITCH_DEG = np.array([88.2, 89.0, 89.6])
POINTS = 4000


def mode_power(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """The loss of electrons along the cavity against the overlap of one turn with each mode's field."""
    length = expected.cavity.length_m
    lost, formula = [], []
    for place in (PLACES * length).tolist():
        moved = _moved(simulated, -place)
        start, chirp = fit_phase(moved, complex_records(moved, electrons_at(1)))
        lost.append((chirp / start * lorentz_factor(MIDDLE_EV) * ELECTRON_MASS_EV * ELEMENTARY_CHARGE_C)[0])
        drive = _overlaps(expected, 3.4e-3, place)
        answer = _response(expected.cavity, float(carrier_hz(expected, MIDDLE_EV))) @ drive
        formula.append(float((drive.conj() @ answer).real))
    curves = [("lost", PLACES * length * 1e3, np.array(lost) * 1e15)]
    curves.append(("overlap integrals", PLACES * length * 1e3, np.array(formula) * 1e15))
    deviation = float(np.abs(np.array(lost) / formula - 1).max())
    meaning = "energy loss at rest against overlap integrals with all modes, relative"
    return Check("power into the modes", meaning, deviation, 0.01, ("place (mm)", "power (fW)"), curves)


def mode_balance(expected: SimulationConfig, simulated: SimulationConfig) -> Check:
    """What an electron loses is what leaves the ports and stays in the walls, the modes stepped through time."""
    electrons = electrons_at(3, pitch_angle_deg=PITCH_DEG)
    values = (electrons.energy_ev, np.deg2rad(electrons.pitch_angle_deg), electrons.radius_m)
    start = Start(*(torch.from_numpy(value) for value in values))
    zero = torch.zeros(3, dtype=torch.float64)
    track = TrackModel(simulated).track(start, zero, zero)
    readout = expected.readout
    seen = (track.envelope.abs() ** 2).mean(1).numpy() / (readout.resistance_ohm * readout.gain)
    lost = track.mean_power.numpy() * ELEMENTARY_CHARGE_C
    model = TrackModel(expected)
    bounce = model.bounce(start)
    first, all_out, walls = np.array([_stepped(model, bounce, row) for row in range(3)]).T
    deviation = float(np.abs([seen / first - 1, lost / (all_out + walls) - 1]).max())
    curves = [
        ("lost", PITCH_DEG, lost * 1e15),
        ("ports and walls", PITCH_DEG, (all_out + walls) * 1e15),
        ("in the record", PITCH_DEG, seen * 1e15),
        ("out of the first port", PITCH_DEG, first * 1e15),
    ]
    meaning = "lost against ports and walls, the record against its port: the larger relative difference"
    return Check("ports and walls", meaning, deviation, 1e-3, ("pitch angle (°)", "power (fW)"), curves)


def _moved(config: SimulationConfig, offset_m: float) -> SimulationConfig:
    return dataclasses.replace(config, cavity=dataclasses.replace(config.cavity, offset_m=offset_m))


def _overlaps(config: SimulationConfig, radius_m: float, place_m: float) -> ComplexArray:
    """Return √W that an electron at rest along z would give to each field on resonance, by the field along one turn.

    P = ½ e² Q_L |X|²/(ω₀ε₀ ∫|e|² dV), X the amplitude at the cyclotron frequency of e·v. A pair of modes is taken as
    cos mφ and sin mφ, which together take what the two that turn take.
    """
    cavity = config.cavity
    turn = 2 * np.pi * np.arange(256) / 256
    gyration = float(gyroradius_m(MIDDLE_EV, 90.0, config.trap.field_t))
    place = radius_m + gyration * np.exp(1j * turn)
    velocity = 1j * float(speed_m_per_s(MIDDLE_EV)) * np.exp(1j * turn)
    drives = []
    for field in cavity.fields:
        along = (np.conj(_transverse_field(cavity, field, place, place_m)) * velocity).real
        amplitude = 2 * (along * np.exp(-1j * turn)).mean()
        scale = field.mode.loaded_q / (4 * np.pi * cavity.mode_hz(field.mode) * VACUUM_PERMITTIVITY_F_PER_M)
        drives.append(ELEMENTARY_CHARGE_C * np.sqrt(scale / _volume(cavity, field)) * amplitude)
    return np.array(drives)


def _transverse_field(cavity: CavityConfig, field: Field, place: ComplexArray, axial_m: float) -> ComplexArray:
    """Return e_x + i e_y at places x + iy: of ψ = J_m(kρ) cos mφ or sin mφ, ẑ×∇ψ/k (TE) or −(β/k²)∇ψ (TM), sin βz."""
    shape, rho, phi = field.mode.shape, np.abs(place), np.angle(place)
    m, k, beta = shape.azimuthal, shape.zero / cavity.radius_m, shape.axial * np.pi / cavity.length_m
    cosine, sine = (np.cos(m * phi), np.sin(m * phi)) if field.turns >= 0 else (np.sin(m * phi), -np.cos(m * phi))
    outwards, around = jvp(m, k * rho) * cosine, -m / (k * rho) * jv(m, k * rho) * sine
    gradient = (outwards + 1j * around) * place / rho
    turned = 1j * gradient if shape.electric else -beta / k * gradient
    return np.asarray(turned * np.sin(beta * (axial_m + cavity.length_m / 2)))


def _volume(cavity: CavityConfig, field: Field) -> float:
    """Return ∫|e|² dV, the radius by sums."""
    shape = field.mode.shape
    m, k, beta = shape.azimuthal, shape.zero / cavity.radius_m, shape.axial * np.pi / cavity.length_m
    rho = (np.arange(POINTS) + 0.5) / POINTS * cavity.radius_m
    around = np.pi * (2 if m == 0 else 1) * cavity.radius_m
    gradient2 = around * ((jvp(m, k * rho) ** 2 + (m / (k * rho) * jv(m, k * rho)) ** 2) * rho).mean()
    if shape.electric:
        return float(gradient2 * cavity.length_m / 2)
    along = around * (jv(m, k * rho) ** 2 * rho).mean() * cavity.length_m * (1 if shape.axial == 0 else 0.5)
    return float(along + (beta / k) ** 2 * gradient2 * cavity.length_m / 2)


def _decay(cavity: CavityConfig) -> tuple[ComplexArray, FloatArray]:
    """Return the matrix of the coupled-mode equations, a' = −A a + √(2πγ) x, in 1/s, and √(2πγ)."""
    resonance = np.array([cavity.mode_hz(field.mode) for field in cavity.fields])
    root = np.sqrt(np.pi * resonance / np.array([field.mode.loaded_q for field in cavity.fields]))
    shared = cavity.couplings.conj().T @ cavity.couplings
    np.fill_diagonal(shared, 1.0)
    return np.outer(root, root) * shared - 2j * np.pi * np.diag(resonance), root


def _response(cavity: CavityConfig, frequency_hz: float) -> ComplexArray:
    decay, root = _decay(cavity)
    return np.asarray(root[:, None] * np.linalg.inv(decay + 2j * np.pi * frequency_hz * np.eye(len(root))) * root)


def _stepped(model: TrackModel, bounce: BouncePattern, row: int) -> tuple[float, float, float]:
    """Return the mean power out of the first port, out of all ports, and into the walls, W.

    Between two points of the bounce the drive is linear: the step of a' = −A a + u + v t is exact. Two bounces: the
    first settles.
    """
    cavity = model.config.cavity
    decay, root = _decay(cavity)
    decay = decay + 1j * float(bounce.rates.carrier[row]) * np.eye(len(root))
    drive = np.array([d[row].numpy() for d in bounce.drives]) * root[:, None]
    step = 2 * np.pi / float(bounce.rates.axial[row]) / drive.shape[1] / model.fold
    values, vectors = np.linalg.eig(decay)
    kernel = vectors @ np.diag(np.exp(-values * step)) @ np.linalg.inv(vectors)
    grown = np.linalg.inv(decay)
    kept = 1 - (np.abs(cavity.couplings) ** 2).sum(0)
    amplitude = np.zeros(len(root), np.complex128)
    for _ in range(2):
        powers = np.zeros(3)
        for here, there in zip(drive.T, np.roll(drive, -1, 1).T, strict=True):
            bent = grown @ grown @ (there - here) / step
            amplitude = kernel @ (amplitude - grown @ here + bent) + grown @ there - bent
            seen = np.abs(cavity.couplings @ (root * amplitude)) ** 2
            powers += seen[0], seen.sum(), float(kept @ np.abs(root * amplitude) ** 2)
    mean: Any = powers / drive.shape[1]
    return float(mean[0]), float(mean[1]), float(mean[2])


MODE_CHECKS = (mode_power, mode_balance)
