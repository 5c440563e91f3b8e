"""How well tracks are found and fitted: efficiency, fakes, duplicates, pulls, resolution over its bound."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.particles import Floats, Integers, Mask, Particles
from collider.detectors.tracking.bounds import bound
from collider.detectors.tracking.geometry import Tracker
from collider.detectors.tracking.hits import Hits
from collider.detectors.tracking.perigee import PHI, Q_OVER_PT, perigee_of_particles
from collider.detectors.tracking.tracks import Tracks
from collider.generation.kinematics import phi_difference

MATCHED: Final = 0.75
"""Least share of a track's hits that make it the track of their particle."""
FEWEST_HITS: Final = 5
SEED_LAYERS: Final = 4
FEWEST_IN_SEED_LAYERS: Final = 3
PT_EDGES_GEV: Final = (0.5, 1.0, 3.0, 10.0, 100.0)
ETA_EDGES: Final = (0.0, 0.9, 1.6, 2.5)


def reconstructable(particles: Particles, hits: Hits, tracker: Tracker) -> Mask:
    """Return which particles (particle,) a track should be found of.

    They are charged, come from inside the first layer and hit five layers or more, three of the innermost four.
    """
    hit = hits.of_particles(len(particles), len(tracker.layers))
    inside = np.hypot(particles.vertex_mm[:, 0], particles.vertex_mm[:, 1]) < tracker.radii_mm[0]
    enough = hit[:, :SEED_LAYERS].sum(axis=1) >= FEWEST_IN_SEED_LAYERS
    return (particles.charge != 0) & inside & enough & (hit.sum(axis=1) >= FEWEST_HITS)


@dataclass(frozen=True)
class Matching:
    """What tracks are: of a particle, for the first time (of several the one with most of its hits), or fakes.

    track: (track,) masks matched, duplicate, fake; found: (particle,) whether a track is of it.
    """

    matched: Mask
    duplicate: Mask
    fake: Mask
    found: Mask


def matching(tracks: Tracks, particles: int) -> Matching:
    """Return what tracks are, by the share of their hits that one particle made."""
    of_one = (tracks.share >= MATCHED) & (tracks.particle >= 0)
    own = tracks.share * tracks.hits
    order = np.lexsort((-own, ~of_one, tracks.particle))
    first = np.ones(len(tracks), dtype=bool)
    first[order[1:]] = tracks.particle[order[1:]] != tracks.particle[order[:-1]]
    found = np.zeros(particles, dtype=bool)
    found[tracks.particle[of_one]] = True
    duplicate = of_one & ~first
    return Matching(of_one & ~duplicate, duplicate, ~of_one, found)


def deviations(tracks: Tracks, particles: Particles, tracker: Tracker) -> Floats:
    """Return estimate less truth of the five numbers: (track, 5); not a number where no particle is matched."""
    safe = np.where(tracks.particle >= 0, tracks.particle, 0)
    difference = tracks.parameters - perigee_of_particles(particles, tracker.field_t)[safe]
    difference[:, PHI] = phi_difference(difference[:, PHI], 0.0)
    return np.where((tracks.particle >= 0)[:, None], difference, np.nan)


def pulls(tracks: Tracks, particles: Particles, tracker: Tracker) -> Floats:
    """Return the deviations in units of the stated errors: (track, 5)."""
    errors = np.sqrt(np.diagonal(tracks.covariance, axis1=1, axis2=2))
    return deviations(tracks, particles, tracker) / errors


def least_errors(tracks: Tracks, particles: Particles, hits: Hits, tracker: Tracker) -> Floats:
    """Return the bound on the errors (track, 5) for the particle of each track and the hits that it made."""
    safe = np.where(tracks.particle >= 0, tracks.particle, 0)
    hit = hits.of_particles(len(particles), len(tracker.layers))[safe]
    truth = perigee_of_particles(particles, tracker.field_t)[safe]
    least = bound(truth, tracker, hit, particles.mass_gev[safe], particles.charge[safe])
    return np.where((tracks.particle >= 0)[:, None], np.sqrt(np.diagonal(least, axis1=1, axis2=2)), np.nan)


def over_bound(tracks: Tracks, particles: Particles, hits: Hits, tracker: Tracker) -> Floats:
    """Return the deviations in units of the bound: (track, 5)."""
    return deviations(tracks, particles, tracker) / least_errors(tracks, particles, hits, tracker)


def core_width(values: Floats) -> Floats:
    """Return half of the interval that holds the middle 68.3 % of each column; not a number of nothing."""
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return np.full(values.shape[1], np.nan)
    low, high = np.quantile(values, [0.158655, 0.841345], axis=0)
    return (high - low) / 2


@dataclass(frozen=True)
class TrackingFigures:
    """Figures of one bin of pT and |η| of the true particles (fakes: of the tracks).

    particles: that should be found, efficiency: share that is, with its error (one standard deviation, Wilson's);
    tracks, fakes, duplicates: number of tracks, shares of them. pt_error, pt_bound: σ(pT)/pT of matched tracks and
    the bound, the median of theirs. over_bound, pull: (5,) widths of the middle 68.3 % of the five numbers' deviations
    over bound and over stated error; error: of such a width, about.
    """

    pt_gev: tuple[float, float]
    eta: tuple[float, float]
    particles: int
    efficiency: float
    efficiency_error: float
    tracks: int
    fakes: float
    duplicates: float
    pt_error: float
    pt_bound: float
    over_bound: Floats
    pull: Floats
    error: float


def judged(
    tracks: Tracks,
    particles: Particles,
    hits: Hits,
    tracker: Tracker,
    pt_edges_gev: Sequence[float] = PT_EDGES_GEV,
    eta_edges: Sequence[float] = ETA_EDGES,
) -> list[TrackingFigures]:
    """Return the figures in bins of pT and |η|, and last those of all bins together."""
    wanted, match = reconstructable(particles, hits, tracker), matching(tracks, len(particles))
    deviation, least = deviations(tracks, particles, tracker), least_errors(tracks, particles, hits, tracker)
    pull = pulls(tracks, particles, tracker)
    true_pt, true_eta = particles.pt_gev, np.abs(particles.eta)
    # of q/pT relative to the true one; tracks of noise have no truth, and are in no bin of it
    scale = true_pt[np.maximum(tracks.particle, 0), None] if len(particles) else np.zeros((len(tracks), 1))
    out = []
    for pt, eta in _bins(pt_edges_gev, eta_edges):
        there = wanted & _within(true_pt, pt) & _within(true_eta, eta)
        seen = _within(tracks.pt_gev, pt) & _within(np.abs(tracks.eta), eta)
        of_these = match.matched & there[tracks.particle] if there.any() else np.zeros(len(tracks), dtype=bool)
        efficiency, error = share_of(int((there & match.found).sum()), int(there.sum()))
        out.append(
            TrackingFigures(
                pt,
                eta,
                int(there.sum()),
                efficiency,
                error,
                int(seen.sum()),
                share_of(int((seen & match.fake).sum()), int(seen.sum()))[0],
                share_of(int((seen & match.duplicate).sum()), int(seen.sum()))[0],
                float(core_width((deviation * scale)[of_these])[Q_OVER_PT]),
                _middle((least * scale)[of_these, Q_OVER_PT]),
                core_width((deviation / least)[of_these]),
                core_width(pull[of_these]),
                # of half the distance of these two quantiles of a normal distribution of width 1
                0.962 / np.sqrt(max(1, int(of_these.sum()))),
            )
        )
    return out


def share_of(count: int, total: int) -> tuple[float, float]:
    """Return a share and its error, half of Wilson's interval (JASA 22 (1927) 209), which does not end at 0 or 1."""
    if not total:
        return float("nan"), float("nan")
    share = count / total
    return share, float(np.sqrt(share * (1 - share) / total + 0.25 / total**2) / (1 + 1 / total))


def _bins(
    pt_edges: Sequence[float], eta_edges: Sequence[float]
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    pairs = [list(itertools.pairwise(edges)) for edges in (pt_edges, eta_edges)]
    yield from ((pt, eta) for pt in pairs[0] for eta in pairs[1])
    yield (pt_edges[0], pt_edges[-1]), (eta_edges[0], eta_edges[-1])


def _middle(values: Floats) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _within(values: Floats | Integers, edges: tuple[float, float]) -> Mask:
    return (values >= edges[0]) & (values < edges[1])
