"""Which particles reach the muon stations, and where: energy loss, multiple scattering, bending in the iron."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from scipy.special import gammaincc

from collider.detectors.calorimeters.config import Calorimeters
from collider.detectors.calorimeters.ionisation import losses_gev
from collider.detectors.calorimeters.points import across_axes
from collider.detectors.calorimeters.showering import ELECTRON, MUON, NEUTRINOS, PHOTON, Passage
from collider.detectors.helix import Crossing, Helices
from collider.detectors.muons.config import STATIONS, MuonStations
from collider.detectors.particles import Floats, Integers, Mask, Particles
from collider.detectors.scattering import scattering_angle
from collider.showers import Material
from collider.showers.sources import hadronic_profile

SLOWEST_GEV: Final = 0.05
"""Momentum below which a particle has stopped."""
CRITICAL_GEV: Final = 347.0
"""Where muons lose as much by radiation as by ionisation in iron: Review of Particle Physics, Atomic and Nuclear
Properties; the mean radiative loss is E/347 GeV of the mean ionisation."""
MEAN_LOSS_GEV_CM2_PER_G: Final = 1.9e-3
"""Mean ionisation of muons of tens of GeV in iron: Groom, Mokhov, Striganov, ADNDT 78 (2001) 183."""
DEBRIS_MM, DEBRIS_RAD = 100.0, 0.1
"""Spread of what is behind a hadron's shower around its path; round values."""


@dataclass(frozen=True)
class Arrivals:
    """Particles at stations, (arrival,) each.

    particle: its place among all; event; station: from 0; end: −1, 0, 1 for the end at negative z, the barrel, the end
    at positive z; position_mm, direction: (arrival, 3); debris: whether it is what is behind a hadron's shower.
    """

    particle: Integers
    event: Integers
    station: Integers
    end: Integers
    position_mm: Floats
    direction: Floats
    debris: Mask

    @classmethod
    def joined(cls, parts: list[Arrivals]) -> Arrivals:
        """Return several sets as one, particle by particle, from the innermost station on."""
        one = cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))
        return one.kept(np.lexsort((one.station, one.particle)))

    def kept(self, mask: Mask | Integers) -> Arrivals:
        """Return those of a mask, or at places."""
        return replace(self, **{field.name: getattr(self, field.name)[mask] for field in fields(self)})


@dataclass(frozen=True)
class _State:
    """Particles on their way: places among all, place and direction in space, momentum, mass and charge."""

    particle: Integers
    position_mm: Floats
    direction: Floats
    p_gev: Floats
    mass_gev: Floats
    charge: Floats

    def kept(self, mask: Mask) -> _State:
        return replace(self, **{field.name: getattr(self, field.name)[mask] for field in fields(self)})


def arrivals(
    particles: Particles,
    passage: Passage,
    calorimeters: Calorimeters,
    stations: MuonStations,
    field_t: float,
    random: np.random.Generator,
) -> Arrivals:
    """Return who comes to which station.

    Muons, and charged hadrons without an interaction, pass the coil with what the calorimeters left them. Of others
    the energy behind a station's depth makes a charged particle there with probability 1 − exp(−E/punch_through).
    """
    deep = calorimeters.ecal.depth_cm + calorimeters.hcal.depth_cm
    coil = Helices.of_particles(particles, field_t).at_cylinder(stations.coil_radius_mm, stations.coil_half_length_mm)
    reached = coil.reached & (passage.reached > 0)
    passes = reached & (particles.charge != 0) & (np.abs(particles.pdg_id) != ELECTRON) & (passage.start_cm >= deep)
    state = _state(particles, passage, passes, coil, calorimeters, field_t, random)
    parts = _passing(state, particles, stations, random)
    hadron = ~np.isin(np.abs(particles.pdg_id), (ELECTRON, MUON, PHOTON, *NEUTRINOS))
    showers = np.flatnonzero(reached & hadron & (passage.start_cm < deep))
    parts += _debris(showers, particles, coil, passage, calorimeters, stations, random)
    return Arrivals.joined(parts)


def _state(
    particles: Particles,
    passage: Passage,
    passes: Mask,
    coil: Crossing,
    calorimeters: Calorimeters,
    field_t: float,
    random: np.random.Generator,
) -> _State:
    """Return what passes the calorimeters, at the coil.

    It is scattered by all that it has crossed, as if that were spread evenly from the front of the ECAL to the coil.
    """
    energy, mass = particles.energy_gev - passage.ionised_gev, particles.mass_gev
    momentum = np.sqrt(np.maximum(energy**2 - mass**2, 0.0))
    place = np.flatnonzero(passes & (momentum > SLOWEST_GEV))
    some, p, charge = particles.kept(place), momentum[place], particles.charge[place].astype(np.float64)
    ecal, hcal = calorimeters.ecal, calorimeters.hcal
    front = Helices.of_particles(some, field_t).at_cylinder(ecal.radius_mm, ecal.half_length_mm)
    depth_x0 = ecal.depth_x0 + hcal.depth_cm / hcal.medium.radiation_length_cm
    # the mean of 1/p² where p falls evenly
    angle = scattering_angle(np.sqrt(some.p_gev * p), depth_x0, mass[place], charge)
    length_mm = coil.length_mm[place] - front.length_mm
    position, direction = _scattered(coil.position_mm[place], coil.direction[place], angle, length_mm, random)
    return _State(place, position, direction, p, mass[place], charge)


def _passing(
    state: _State, particles: Particles, stations: MuonStations, random: np.random.Generator
) -> list[Arrivals]:
    """Return the arrivals of what does not shower, station after station; a hadron may interact in the iron."""
    parts, inner = [], (stations.coil_radius_mm, stations.coil_half_length_mm)
    for station in range(STATIONS):
        outer = stations.radius_mm[station], stations.half_length_mm[station]
        iron_mm = 10 * stations.absorber_cm[station]
        # the iron is crossed under the same angle as the gap that it stands in, and its field is spread over that
        gaps = outer[0] - inner[0], outer[1] - inner[1]
        straight = Helices(state.position_mm, state.direction, np.zeros(len(state.charge))).at_cylinder(*outer)
        share = iron_mm / np.where(straight.barrel, *gaps)
        momentum = state.p_gev[:, None] * state.direction
        way = Helices.of(momentum, state.position_mm, state.charge, stations.return_field_t * share)
        there = way.at_cylinder(*outer)
        path_cm = np.nan_to_num(there.length_mm * iron_mm / np.where(there.barrel, *gaps) / 10)
        p = _slowed(state, path_cm, stations.iron, random)
        free = path_cm / stations.iron.interaction_length_cm
        hadron = np.abs(particles.pdg_id[state.particle]) != MUON
        alive = there.reached & (p > SLOWEST_GEV) & ~(hadron & (random.exponential(size=len(free)) < free))
        matter_x0 = path_cm / stations.iron.radiation_length_cm
        mean = np.sqrt(state.p_gev * np.maximum(p, SLOWEST_GEV))  # of 1/p² where p falls evenly
        angle = scattering_angle(mean, matter_x0, state.mass_gev, state.charge)
        position, direction = _scattered(there.position_mm, there.direction, angle, 10 * path_cm, random)
        state = replace(state, position_mm=position, direction=direction, p_gev=p).kept(alive)
        barrel, inner = there.barrel[alive], outer
        parts.append(_arrived(state, particles, station, barrel, stations, debris=False))
    return parts


def _slowed(state: _State, path_cm: Floats, iron: Material, random: np.random.Generator) -> Floats:
    """Return the momenta behind so much iron: ionisation as drawn, radiation as its mean."""
    energy = np.hypot(state.p_gev, state.mass_gev)
    ionised = losses_gev(iron, path_cm, np.maximum(state.p_gev / energy, 0.1), random)
    radiated = MEAN_LOSS_GEV_CM2_PER_G * iron.density_g_per_cm3 * path_cm * energy / CRITICAL_GEV
    left = np.maximum(energy - ionised - radiated, state.mass_gev)
    return np.asarray(np.sqrt(left**2 - state.mass_gev**2))


def _scattered(
    position: Floats, direction: Floats, angle: Floats, length_mm: Floats, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return places and directions behind matter of some length: angle and displacement correlated, in two planes.

    y = x θ₀ (z₁/√12 + z₂/2), θ = z₂ θ₀        Review of Particle Physics (2024), eq. 34.22 and 34.23
    """
    for axis in across_axes(np.nan_to_num(direction)):
        first, second = random.standard_normal((2, len(angle)))
        away = length_mm * angle * (first / np.sqrt(12) + second / 2)
        position, direction = position + away[:, None] * axis, direction + (second * angle)[:, None] * axis
    return position, direction / np.linalg.norm(direction, axis=1, keepdims=True)


def _debris(
    showers: Integers,
    particles: Particles,
    coil: Crossing,
    passage: Passage,
    calorimeters: Calorimeters,
    stations: MuonStations,
    random: np.random.Generator,
) -> list[Arrivals]:
    """Return what is behind the showers of hadrons; their length is that of the hadronic part (Bock et al.)."""
    ecal, hcal = calorimeters.ecal, calorimeters.hcal
    start = passage.start_cm[showers]
    begins = np.minimum(start, ecal.depth_cm) / ecal.medium.interaction_length_cm
    begins = begins + np.maximum(start - ecal.depth_cm, 0) / hcal.medium.interaction_length_cm
    energy = passage.released_gev[showers] - passage.ionised_gev[showers]
    t, alpha = hadronic_profile(np.maximum(energy, 1.0))
    hadronic = energy * (1 - passage.fraction[showers])
    parts, deep = [], ecal.depth_lambda + hcal.depth_lambda
    state = _State(
        showers, coil.position_mm[showers], coil.direction[showers], np.ones(len(showers)),
        np.ones(len(showers)), np.zeros(len(showers)),
    )  # fmt: skip
    for station in range(STATIONS):
        deep += stations.absorber_cm[station] / stations.iron.interaction_length_cm
        behind = hadronic * gammaincc(alpha, (alpha - 1) / t * np.maximum(deep - begins, 0))
        seen = random.random(len(showers)) < -np.expm1(-behind / stations.punch_through_gev)
        way = Helices(state.position_mm, state.direction, np.zeros(len(showers)))
        there = way.at_cylinder(stations.radius_mm[station], stations.half_length_mm[station])
        position, direction = there.position_mm.copy(), there.direction.copy()
        for axis in across_axes(np.nan_to_num(there.direction)):
            place, slope = random.standard_normal((2, len(showers)))
            position = position + (DEBRIS_MM * place)[:, None] * axis
            direction = direction + (DEBRIS_RAD * slope)[:, None] * axis
        found = replace(state, position_mm=position, direction=direction).kept(seen & there.reached)
        barrel = there.barrel[seen & there.reached]
        parts.append(_arrived(found, particles, station, barrel, stations, debris=True))
    return parts


def _arrived(
    state: _State, particles: Particles, station: int, barrel: Mask, stations: MuonStations, debris: bool
) -> Arrivals:
    """Return the arrivals of particles at one station, moved onto its surface; those in the hole see none."""
    position, count = state.position_mm, len(state.particle)
    eta = np.abs(np.arcsinh(position[:, 2] / np.maximum(np.hypot(position[:, 0], position[:, 1]), 1e-9)))
    end = np.where(barrel, 0, np.sign(position[:, 2])).astype(np.int64)
    direction = state.direction / np.linalg.norm(state.direction, axis=1, keepdims=True)
    made = Arrivals(
        state.particle,
        particles.event[state.particle],
        np.full(count, station),
        end,
        onto_surface(position, direction, end, stations.radius_mm[station], stations.half_length_mm[station]),
        direction,
        np.full(count, debris),
    )
    return made.kept(eta < stations.hole)


def onto_surface(position: Floats, direction: Floats, end: Integers, radius_mm: Floats | float,
                 half_length_mm: Floats | float) -> Floats:  # fmt: skip
    """Return places (place, 3) moved along their directions to a cylinder, or to the plane of its end, nearby."""
    transverse = np.maximum(np.hypot(position[:, 0], position[:, 1]), 1e-9)
    outward = (position[:, :2] * direction[:, :2]).sum(1) / transverse
    away = np.where(end == 0, radius_mm - transverse, end * half_length_mm - position[:, 2])
    slope = np.where(end == 0, outward, direction[:, 2])
    step = away / np.where(np.abs(slope) < 0.05, np.where(slope < 0, -0.05, 0.05), slope)
    return np.asarray(position + step[:, None] * direction)
