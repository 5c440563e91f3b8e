"""What particles do in the calorimeters: electrons and photons shower, hadrons ionise and shower, muons ionise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.calorimeters.config import Calorimeters
from collider.detectors.calorimeters.hadrons import electromagnetic_fractions, is_baryon, released_gev
from collider.detectors.calorimeters.ionisation import losses_gev
from collider.detectors.calorimeters.points import Deposits, Entries, Points, deposits, placed, sums
from collider.detectors.particles import Floats, Integers, Particles
from collider.generation import pdg
from collider.showers import CylindricalGrid, keyed
from collider.showers.arrays import NUMPY
from collider.showers.parameters import NOMINAL, unchecked_parameters
from collider.showers.readout import PERFECT
from collider.showers.sources import hadronic_profile, sources_of
from collider.showers.spots import Setup, cloud

SLICE_X0: Final = 1.0
DEEPEST_X0: Final = 40.0
"""Slices of electromagnetic showers, and where they end: at 100 GeV less than 1e-5 is left."""
ECAL_STEPS, HCAL_STEPS = 4, 8
"""Points of a path by ionisation."""
ELECTRON, MUON, PHOTON = 11, 13, 22
NEUTRINOS: Final = (12, 14, 16)


@dataclass(frozen=True)
class Passage:
    """What happened to each particle, (particle,).

    reached: whether it came to the front of the ECAL; start_cm: path in both calorimeters to the first interaction,
    infinite for muons and what does not come there; ionised_gev: lost before it by ionisation; fraction: f_em, not a
    number for all but hadrons; visible_gev: in cells of both, on the scale of electrons; released_gev: what it had.
    """

    reached: Floats
    start_cm: Floats
    ionised_gev: Floats
    fraction: Floats
    visible_gev: Floats
    released_gev: Floats


@dataclass(frozen=True)
class Shower:
    """What a batch of events leaves in both calorimeters, and what happened to its particles."""

    entries: Entries
    ecal: Deposits
    hcal: Deposits
    passage: Passage


def shower(particles: Particles, event_id: Integers, calorimeters: Calorimeters, field_t: float, seed: int) -> Shower:
    """Return what particles leave in the cells.

    event_id: (event,) numbers of the events, by which random numbers are drawn: those of an electromagnetic shower
    depend on seed, event and the particle's place in it alone, the others on the seed and all the events together.
    """
    random = np.random.default_rng([seed, len(event_id), *event_id[:1].tolist()])
    entries = Entries.of(particles, calorimeters, field_t)
    code = np.abs(particles.pdg_id[entries.particle])
    electromagnetic = np.isin(code, (ELECTRON, PHOTON))
    blind = np.isin(code, NEUTRINOS)
    parts = [_electromagnetic(np.flatnonzero(electromagnetic), entries, particles, event_id, calorimeters, seed)]
    others = np.flatnonzero(~electromagnetic & ~blind)
    passing = particles.kept(entries.particle[others])
    hadron = np.abs(passing.pdg_id) != MUON
    start_cm = _first_interactions(hadron, calorimeters, random)
    ionising, lost = _ionising(others, passing, start_cm, calorimeters, random)
    left = np.maximum(released_gev(passing) - lost, 0.0)
    deep = calorimeters.ecal.depth_cm + calorimeters.hcal.depth_cm
    showering = np.flatnonzero(hadron & (start_cm < deep) & (left > 0))
    fraction = np.full(len(others), np.nan)
    baryon = np.asarray(pdg.mapped(is_baryon, passing.pdg_id), dtype=bool)
    fraction[hadron] = electromagnetic_fractions(left[hadron], baryon[hadron], calorimeters.hadrons, random)
    parts += [ionising]
    parts += _hadronic(
        others[showering], left[showering], fraction[showering], start_cm[showering], calorimeters, random
    )
    points = Points.joined(parts)
    ecal, hcal = (deposits(points, entries, particles, calorimeters, which) for which in (False, True))
    columns = _passage(particles, entries, ecal, hcal)
    whose = entries.particle[others]
    columns["start_cm"][whose], columns["ionised_gev"][whose], columns["fraction"][whose] = start_cm, lost, fraction
    return Shower(entries, ecal, hcal, Passage(**columns))


def _passage(particles: Particles, entries: Entries, ecal: Deposits, hcal: Deposits) -> dict[str, Floats]:
    count = len(particles)
    reached = np.zeros(count)
    reached[entries.particle] = 1
    visible = sum((sums(part.particle, part.energy_gev, count) for part in (ecal, hcal)), np.zeros(count))
    return {
        "reached": reached,
        "start_cm": np.full(count, np.inf),
        "ionised_gev": np.zeros(count),
        "fraction": np.full(count, np.nan),
        "visible_gev": visible,
        "released_gev": np.where(np.isin(np.abs(particles.pdg_id), NEUTRINOS), 0.0, released_gev(particles)),
    }


def _electromagnetic(
    which: Integers,
    entries: Entries,
    particles: Particles,
    event_id: Integers,
    calorimeters: Calorimeters,
    seed: int,
) -> Points:
    """Return the spots of electrons and photons, which begin at the front of the ECAL and may end in the HCAL."""
    ecal, hcal = calorimeters.ecal, calorimeters.hcal
    whose = entries.particle[which]
    first = np.searchsorted(particles.event, particles.event)  # the first particle of the same event
    event_key = keyed.event_keys(NUMPY, seed, 0, event_id[particles.event[whose]])
    keys = keyed.bits_of(NUMPY, event_key, keyed.ENTRANCE, whose - first[whose])
    edges = np.arange(0, DEEPEST_X0 + SLICE_X0, SLICE_X0)
    setup = Setup(ecal.medium, CylindricalGrid((0.0, 1.0), (0.0, 1.0), 1), PERFECT, NOMINAL, edges)
    sources = sources_of(
        NUMPY, released_gev(particles.kept(whose)), particles.pdg_id[whose], keys, ecal.medium, NOMINAL, 0.0
    )
    spots = cloud(NUMPY, sources, setup)
    unit = (ecal.medium.radiation_length_cm, hcal.medium.radiation_length_cm)
    depth_x0 = spots.depth_cm / unit[0]
    behind, depth = placed(depth_x0, np.zeros_like(depth_x0), unit, ecal.depth_cm)
    return Points(which[spots.event], behind, depth, spots.radius_cm, spots.turn, spots.energy_gev)


def _first_interactions(hadron: Floats, calorimeters: Calorimeters, random: np.random.Generator) -> Floats:
    """Return the path in cm of both calorimeters to the first interaction; infinite for what has none."""
    ecal, hcal = calorimeters.ecal, calorimeters.hcal
    unit = (ecal.medium.interaction_length_cm, hcal.medium.interaction_length_cm)
    behind, depth = placed(random.exponential(size=len(hadron)), np.zeros(len(hadron)), unit, ecal.depth_cm)
    return np.where(hadron, depth + np.where(behind, ecal.depth_cm, 0.0), np.inf)


def _ionising(
    which: Integers, particles: Particles, start_cm: Floats, calorimeters: Calorimeters, random: np.random.Generator
) -> tuple[Points, Floats]:
    """Return the ionisation of charged particles before their first interaction, and what each loses by it."""
    ecal, hcal = calorimeters.ecal, calorimeters.hcal
    kinetic = np.maximum(particles.energy_gev - particles.mass_gev, 0.0)
    beta = np.maximum(particles.p_gev / particles.energy_gev, 0.1)
    left, parts = np.where(particles.charge != 0, kinetic, 0.0), []
    for part, before, steps in ((ecal, 0.0, ECAL_STEPS), (hcal, ecal.depth_cm, HCAL_STEPS)):
        length = np.clip(start_cm - before, 0, part.depth_cm)
        lost = np.minimum(losses_gev(part.medium, length, beta, random), left)
        left = left - lost
        place = np.flatnonzero(lost > 0)
        entry, energy = np.repeat(which[place], steps), np.repeat(lost[place] / steps, steps)
        depth = (length[place, None] * (np.arange(steps) + 0.5) / steps).ravel()
        on_axis = np.zeros(len(entry))
        parts.append(Points(entry, np.full(len(entry), part is hcal), depth, on_axis, on_axis, energy))
    return Points.joined(parts), np.where(particles.charge != 0, kinetic - left, 0.0)


def _hadronic(
    which: Integers,
    energy_gev: Floats,
    fraction: Floats,
    start_cm: Floats,
    calorimeters: Calorimeters,
    random: np.random.Generator,
) -> list[Points]:
    """Return the points of both parts of hadrons' showers."""
    ecal, hcal, hadronic = calorimeters.ecal, calorimeters.hcal, calorimeters.hadrons
    in_hcal = start_cm >= ecal.depth_cm
    pions = fraction * energy_gev
    near, far = (unchecked_parameters(np.maximum(pions, 1e-3), part.medium) for part in (ecal, hcal))
    profile = np.where(in_hcal, far.mean_t, near.mean_t), np.where(in_hcal, far.mean_alpha, near.mean_alpha)
    x0 = ecal.medium.radiation_length_cm, hcal.medium.radiation_length_cm
    share = hadronic.electromagnetic_radius_rm
    radius = share * ecal.medium.moliere_radius_cm, share * hcal.medium.moliere_radius_cm
    first = _gamma_points(which, pions, profile, start_cm, x0, radius, calorimeters, random)
    profile = hadronic_profile(np.maximum(energy_gev, 1.0))
    length = ecal.medium.interaction_length_cm, hcal.medium.interaction_length_cm
    radius = hadronic.hadronic_radius_lambda * length[0], hadronic.hadronic_radius_lambda * length[1]
    second = _gamma_points(which, energy_gev - pions, profile, start_cm, length, radius, calorimeters, random)
    return [first, _seen(second, calorimeters, random)]


def _gamma_points(
    which: Integers,
    energy_gev: Floats,
    profile: tuple[Floats, Floats],
    start_cm: Floats,
    unit_cm: tuple[float, float],
    radius_cm: tuple[float, float],
    calorimeters: Calorimeters,
    random: np.random.Generator,
) -> Points:
    """Return points of equal energy along gamma distributions of maximum T and shape α, in units of either material.

    Across the path 2rR²/(r² + R²)², as of electromagnetic showers, with one R in each calorimeter.
    """
    hadronic = calorimeters.hadrons
    t, alpha = profile
    counts = np.clip(np.ceil(energy_gev * hadronic.spots_per_gev), 1, hadronic.most_spots).astype(np.int64)
    counts[energy_gev <= 0] = 0
    shower_of = np.repeat(np.arange(len(which)), counts)
    depth = random.gamma(alpha[shower_of], (t / (alpha - 1))[shower_of])
    behind, depth_cm = placed(depth, start_cm[shower_of], unit_cm, calorimeters.ecal.depth_cm)
    share = random.random(len(shower_of))
    across = np.where(behind, radius_cm[1], radius_cm[0]) * np.sqrt(share / (1 - share))
    energy = (energy_gev / np.maximum(counts, 1))[shower_of]
    return Points(which[shower_of], behind, depth_cm, across, random.random(len(shower_of)), energy)


def _seen(points: Points, calorimeters: Calorimeters, random: np.random.Generator) -> Points:
    """Return what is seen of hadronic points: h/e of them, with the intrinsic fluctuation, Gamma(E/c², c²)."""
    ecal, hcal = calorimeters.ecal, calorimeters.hcal
    response = np.where(points.in_hcal, hcal.hadronic_response, ecal.hadronic_response)
    seen, c_square = response * points.energy_gev, calorimeters.hadrons.intrinsic_term**2
    if c_square > 0:
        seen = c_square * random.gamma(seen / c_square)
    return Points(points.entry, points.in_hcal, points.depth_cm, points.across_cm, points.turn, seen)
