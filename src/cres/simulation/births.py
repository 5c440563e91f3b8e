"""Where electrons are born: pitch angles and radii of those that start isotropic along the field line, in the gas.

Gas of one density fills the flux tubes, and electrons start isotropic where they are. The magnetic moment is conserved,
so the pitch angle θ₀ at the field minimum is distributed (Liouville) as dN/dcosθ₀ dA ∝ cosθ₀ T(θ₀, ρ), with T the time
of a bounce and dA the area at the minimum; the axial phase is uniform. In a bathtub that is ∝ L₁ + πL₀ cotθ₀, in a
harmonic trap ∝ cotθ₀: none at exactly 90°.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cres.errors import UserError
from cres.physics.constants import ATOMIC_MASS_KG, BOLTZMANN_J_PER_K, ELEMENTARY_CHARGE_C
from cres.physics.cyclotron import momentum_kg_m_per_s
from cres.simulation.config import EnsembleConfig, SimulationConfig, TrapConfig
from cres.simulation.trapping import make_trap

FloatArray = NDArray[np.float64]

PITCH_GRID, RADIUS_GRID = 129, 17
"""Pitch angles and radii at which a numerical trap is solved; between them the distribution is interpolated."""
SMALLEST_ANGLE_DEG = 1e-3
"""From 90°: nearer, a numerical trap is not solved."""


def pitch_and_radius(
    config: SimulationConfig, pitch_draw: FloatArray, radius_draw: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return pitch angles at the field minimum (degrees) and radii (m) at these quantiles, by `ensemble.births`."""
    ensemble, trap = config.ensemble, config.trap
    if ensemble.births == "minimum":
        return isotropic_pitch_deg(ensemble, pitch_draw), uniform_area_radius_m(ensemble, radius_draw)
    if trap.kind == "bathtub" or (trap.kind == "harmonic" and trap.background_gradient_t_per_m == 0):
        flat = trap.flat_length_m if trap.kind == "bathtub" else 0.0
        pitch = line_pitch_deg(ensemble.pitch_angle_deg, flat, trap.gradient_length_m, pitch_draw)
        return pitch, uniform_area_radius_m(ensemble, radius_draw)
    return _numerical(trap, ensemble, pitch_draw, radius_draw)


def isotropic_pitch_deg(ensemble: EnsembleConfig, draw: FloatArray) -> FloatArray:
    """Pitch angles uniform in cosθ between the two limits."""
    low, high = np.cos(np.deg2rad(ensemble.pitch_angle_deg))
    return np.rad2deg(np.arccos(low + (high - low) * draw))


def uniform_area_radius_m(ensemble: EnsembleConfig, draw: FloatArray) -> FloatArray:
    """Radii uniform in area between the two limits."""
    low, high = np.square(ensemble.radius_m)
    return np.sqrt(low + (high - low) * draw)


def line_share(pitch_deg: FloatArray | float, flat_length_m: float, gradient_length_m: float) -> FloatArray:
    """Return what is born from θ₀ to 90° of a bathtub, up to a factor: L₁ cosθ₀ + πL₀ (1 − sinθ₀), negative above."""
    cosine, sine = np.cos(np.deg2rad(pitch_deg)), np.sin(np.deg2rad(pitch_deg))
    # 1 − sin without cancellation near 90°
    return np.asarray(flat_length_m * cosine + math.pi * gradient_length_m * cosine * np.abs(cosine) / (1 + sine))


def line_pitch_deg(
    limits_deg: tuple[float, float], flat_length_m: float, gradient_length_m: float, draw: FloatArray
) -> FloatArray:
    """Return pitch angles at quantiles, from the lower limit up: the inverse of `line_share`, in closed form.

    With a = L₁, b = πL₀ and the share u: (a² + b²) cos²θ + 2a(b − u) cosθ = u(2b − u).
    """
    low, high = line_share(np.array(limits_deg), flat_length_m, gradient_length_m)
    a, b = flat_length_m, math.pi * gradient_length_m
    share = low + (high - low) * draw
    u = np.abs(share)
    half = a * (b - u)
    cosine = u * (2 * b - u) / (half + np.sqrt(half**2 + (a**2 + b**2) * u * (2 * b - u)) + 1e-300)
    return np.rad2deg(np.arccos(np.sign(share) * np.clip(cosine, 0.0, 1.0)))


def _numerical(
    trap: TrapConfig, ensemble: EnsembleConfig, pitch_draw: FloatArray, radius_draw: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return pitch angles and radii by the tables of a numerical trap, linear between its radii."""
    radii, born, angles, shares = _tables(trap, ensemble)
    radius = np.interp(radius_draw, born, radii)
    place = np.clip((radius - radii[0]) / max(radii[-1] - radii[0], 1e-300), 0, 1) * (len(shares) - 1)
    below = np.minimum(place.astype(np.int64), len(shares) - 2)
    part = (place - below)[:, None]
    shares_here = shares[below] * (1 - part) + shares[below + 1] * part
    rows = np.arange(len(radius))
    after = np.clip((shares_here <= pitch_draw[:, None]).sum(1), 1, shares.shape[1] - 1)
    left, right = shares_here[rows, after - 1], shares_here[rows, after]
    within = (pitch_draw - left) / np.maximum(right - left, 1e-300)
    return angles[after - 1] + (angles[after] - angles[after - 1]) * np.clip(within, 0, 1), radius


@lru_cache(maxsize=16)
def _tables(trap: TrapConfig, ensemble: EnsembleConfig) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return radii, the share born within each, pitch angles, and the share born below each at each of a few radii.

    Raises UserError where nothing of the ensemble is held.
    """
    low, high = ensemble.pitch_angle_deg
    # denser towards 90°, where the time of a bounce changes fast
    even = np.linspace(0, 1, PITCH_GRID)
    angles = high - (high - low) * (1 - even) ** 2 if high <= 90 else low + (high - low) * even
    radii = np.linspace(*ensemble.radius_m, RADIUS_GRID)
    solved = 90 - np.maximum(np.abs(90 - angles), SMALLEST_ANGLE_DEG)
    energy = sum(ensemble.energy_ev) / 2
    axial_hz = np.asarray(make_trap(trap).axial_frequency_hz(energy, solved[None, :], radii[:, None]))
    theta = np.deg2rad(angles)
    density = np.nan_to_num(np.sin(theta) * np.abs(np.cos(theta)) / axial_hz, nan=0.0, posinf=0.0)
    steps = (density[:, 1:] + density[:, :-1]) / 2 * np.diff(theta)
    held = steps.sum(1)
    if not held.any():
        raise UserError("the trap holds no electron of the ensemble: change ensemble.pitch_angle_deg or the trap")
    zero = np.zeros((len(radii), 1))
    shares = np.concatenate([zero, np.cumsum(steps, 1)], 1) / np.maximum(held, 1e-300)[:, None]
    fine = np.linspace(*ensemble.radius_m, 64 * RADIUS_GRID)
    weight = fine * np.interp(fine, radii, held) if fine[-1] > fine[0] else np.ones_like(fine)
    born = np.concatenate([[0.0], np.cumsum((weight[1:] + weight[:-1]) / 2)])
    return fine, born / born[-1], angles, shares


def doppler_std_ev(kinetic_energy_ev: FloatArray, temperature_k: float, mass_u: float) -> FloatArray:
    """Return the spread of energy by the thermal motion of the source, p √(kT/M): 0.094 eV for T₂ at 30 K."""
    speed = math.sqrt(BOLTZMANN_J_PER_K * temperature_k / (mass_u * ATOMIC_MASS_KG))
    return np.asarray(momentum_kg_m_per_s(kinetic_energy_ev) * speed / ELEMENTARY_CHARGE_C)
