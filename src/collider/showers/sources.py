"""The showers of an event: one of an electron or positron, two of a photon, two parts of a hadron's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from collider.showers import keyed
from collider.showers.arrays import Arrays
from collider.showers.materials import AnyMaterial
from collider.showers.parameters import (
    SMALLEST_ALPHA,
    SMALLEST_DEPTH,
    Tuning,
    spot_profile,
    spots,
    unchecked_parameters,
)
from collider.showers.particles import HADRONS, PHOTON
from reconstruction.errors import UserError

HADRON_SCALE_GEV: Final = 1.0
HADRON_POWER: Final = 0.18
"""⟨f_em⟩ = 1 − (E/1 GeV)^−0.18: Gabriel et al., NIM A338 (1994) 336, for pions."""

FRACTION_SPREAD: Final = 0.15
HADRONIC_RESPONSE: Final = 0.7
"""h/e: what the part that is not electromagnetic shows of its energy; a round value, between lead and iron."""

HADRONIC_RADIUS: Final = 0.2
"""Radius of the hadronic part's lateral profile in λ, so that 95 % are within one λ: a round value."""

LOWEST_GEV: Final = 1e-4
"""A part of less energy, such as the weaker of a photon's pair, is a point of energy."""


@dataclass(frozen=True)
class Sources:
    """Parts of events that shower by themselves; arrays of one length.

    event: which event of the batch; part: 0, 1 within it; start_x0: where it begins; t, alpha: of its own energy
    profile, in X0; spot_t, spot_alpha: of its spots; spots: how many; tau: factor from t/T to the τ of the radial
    profile; radius_rm: of the lateral profile where it is not electromagnetic, 0 elsewhere.
    """

    event: Any
    part: Any
    key: Any
    energy_gev: Any
    start_x0: Any
    t: Any
    alpha: Any
    spot_t: Any
    spot_alpha: Any
    spots: Any
    tau: Any
    radius_rm: Any


def sources_of(
    xp: Arrays, energies: Any, codes: Any, keys: Any, material: AnyMaterial, tuning: Tuning, before_x0: float
) -> Sources:
    """Return the sources of events: `energies` in GeV and `codes` on the host, `keys` of `xp`.

    before_x0: depth of material before the front. Raises UserError for a hadron where λ is not known.
    """
    uniform = xp.host(keyed.uniforms(xp, keys[:, None], keyed.SOURCE, xp.arange(6)[None]))
    photon, hadron = codes == PHOTON, np.isin(codes, HADRONS)
    start, first, second = np.zeros(len(energies)), energies.copy(), np.zeros(len(energies))
    # a photon converts after a mean of 9/7 X0, then a pair shares its energy
    share = pair_share(uniform[:, 1], uniform[:, 2])
    start = np.where(photon, -9 / 7 * np.log(uniform[:, 0]), start)
    first, second = np.where(photon, share * energies, first), np.where(photon, (1 - share) * energies, second)
    if hadron.any():
        scale = _interaction_length_x0(material)
        fraction = electromagnetic_fraction(energies, uniform[:, 3:5])
        start = np.where(hadron, -scale * np.log(uniform[:, 5]), start)
        first = np.where(hadron, fraction * energies, first)
        second = np.where(hadron, HADRONIC_RESPONSE * (1 - fraction) * energies, second)
    event = np.concatenate([np.arange(len(energies)), np.flatnonzero(photon | hadron)])
    part = np.concatenate([np.zeros(len(energies), np.int64), np.ones(len(event) - len(energies), np.int64)])
    energy = np.maximum(np.where(part == 0, first[event], second[event]), LOWEST_GEV)
    places = xp.integers(event)
    normal = keyed.normals(xp, keys[places], keyed.FLUCTUATION, xp.integers(part))
    t, alpha, tau = _drawn(energy, xp.host(normal[0]), xp.host(normal[1]), material, tuning)
    hadronic, radius = hadron[event] & (part == 1), np.zeros(len(event))
    if hadronic.any():
        of_hadrons, of_alpha = hadronic_profile(np.maximum(energies[event], 1.0))
        t, alpha = np.where(hadronic, of_hadrons * scale, t), np.where(hadronic, of_alpha, alpha)
        radius = np.where(hadronic, HADRONIC_RADIUS * scale * material.radiation_length_cm, 0.0)
    spot_t, spot_alpha = spot_profile(t, alpha, material)
    floats = xp.floats
    return Sources(
        event=places,
        part=xp.integers(part),
        key=keys[places],
        energy_gev=floats(energy),
        start_x0=floats(start[event] - before_x0),
        t=floats(t),
        alpha=floats(alpha),
        spot_t=floats(np.maximum(np.where(hadronic, t, spot_t), SMALLEST_DEPTH)),
        spot_alpha=floats(np.maximum(np.where(hadronic, alpha, spot_alpha), SMALLEST_ALPHA)),
        spots=floats(spots(energy, material)),
        tau=floats(tau),
        radius_rm=floats(radius / (material.moliere_radius_cm / tuning.critical_energy * tuning.moliere_radius)),
    )


def _drawn(energy: Any, first: Any, second: Any, material: AnyMaterial, tuning: Tuning) -> tuple[Any, Any, Any]:
    """Return T and α of single showers, and the factor from t/T to their τ.

    ln T = ⟨⟩ + σ(√((1+ρ)/2) g₁ + √((1−ρ)/2) g₂), ln α = ⟨⟩ + σ(√((1+ρ)/2) g₁ − √((1−ρ)/2) g₂);
    τ = (t/T)((α − 1)/α)(e^⟨ln α⟩/(e^⟨ln α⟩ − 1)).
    """
    found = unchecked_parameters(energy, material, tuning)
    common, opposite = np.sqrt((1 + found.rho) / 2) * first, np.sqrt((1 - found.rho) / 2) * second
    t = np.exp(found.mean_ln_t + found.sigma_ln_t * (common + opposite))
    alpha = np.maximum(np.exp(found.mean_ln_alpha + found.sigma_ln_alpha * (common - opposite)), SMALLEST_ALPHA)
    typical = np.exp(found.mean_ln_alpha)
    return t, alpha, (alpha - 1) / alpha * typical / (typical - 1)


def pair_share(first: Any, second: Any) -> Any:
    """Return the electron's share x of a photon's energy, from two uniform numbers: 1 − 4/3 x(1 − x).

    In complete screening; 1 − 4x(1−x)/3 = 2/3 + (2x − 1)²/3, so six of seven are uniform.
    """
    edge = np.cbrt(2 * second - 1)
    return np.where(first < 6 / 7, second, (1 + edge) / 2)


def electromagnetic_fraction(energies: Any, uniform: Any) -> Any:
    """Return the fluctuating share of hadrons' energy that is electromagnetic; uniform: (event, 2)."""
    mean = 1 - np.maximum(energies / HADRON_SCALE_GEV, 1.5) ** -HADRON_POWER
    normal = np.sqrt(-2 * np.log(uniform[:, 0])) * np.cos(2 * np.pi * uniform[:, 1])
    return np.clip(mean + FRACTION_SPREAD * normal, 0.02, 0.98)


def hadronic_profile(energies: Any) -> tuple[Any, Any]:
    """Return T in λ and α of the part that is not electromagnetic: Bock et al., NIM 186 (1981) 533.

    α = 0.6165 + 0.3193 ln E, β = 0.9099 − 0.0237 ln E per λ; at least α = 1.1, so that there is a maximum.
    """
    log_energy = np.log(energies)
    alpha = np.maximum(0.6165 + 0.3193 * log_energy, SMALLEST_ALPHA)
    return (alpha - 1) / (0.9099 - 0.0237 * log_energy), alpha


def _interaction_length_x0(material: AnyMaterial) -> float:
    length = material.interaction_length_cm / material.radiation_length_cm
    if not np.isfinite(length):
        raise UserError(
            f"a hadron wants the interaction length of {material.name or 'the material'}: give interaction_length_cm"
        )
    return float(length)
