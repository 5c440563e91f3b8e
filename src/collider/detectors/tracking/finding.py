"""Tracks found in hits: seeds, a combinatorial Kalman filter, ambiguities solved, a fit with a smoother."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Final

import numpy as np

from collider.detectors.particles import Integers, Mask
from collider.detectors.tracking.following import NONE, Candidates, followed, joined
from collider.detectors.tracking.geometry import Tracker
from collider.detectors.tracking.hits import Hits
from collider.detectors.tracking.kalman import TrackFit, fit_tracks
from collider.detectors.tracking.options import Finding, SeedPass
from collider.detectors.tracking.seeding import seeds_of
from collider.detectors.tracking.tracks import Tracks, matched

EVENTS: Final = 32
"""Events that are searched together: more need more memory and are no faster."""


def find_tracks(hits: Hits, tracker: Tracker, options: Finding | None = None) -> Tracks:
    """Return the tracks in hits of many events, those of one event after those of another.

    Each pass begins with triplets of hits that no track has used, follows them outwards through all hits (Mankel,
    NIM A395 (1997) 169) and takes the best of those that share hits. Raises UserError where a
    pass names a layer that the tracker has not.
    """
    options = options or Finding()
    options.check(tracker)
    events = int(hits.event[-1]) + 1 if len(hits) else 0
    bounds = np.searchsorted(hits.event, np.arange(0, events + EVENTS, EVENTS))
    parts = [_found(hits, slice(a, b), tracker, options) for a, b in itertools.pairwise(bounds)]
    if not parts:
        return _tracks(_none(len(tracker.layers)), hits, tracker, options)
    return Tracks(*[np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(Tracks)])


def _found(hits: Hits, some: slice, tracker: Tracker, options: Finding) -> Tracks:
    """Return the tracks of some events."""
    part = hits.kept(np.arange(some.start, some.stop))
    free = np.ones(len(part), dtype=bool)
    found: list[Candidates] = []
    for search in options.passes:
        taken = _one_pass(search, part, free, tracker, options)
        free[taken.hit[taken.hit != NONE]] = False
        found.append(taken)
    tracks = _tracks(joined(found), part, tracker, options)
    good = tracks.kept(tracks.chi2 <= options.largest_chi2_per_ndf * tracks.ndf)
    ordered = good.kept(np.lexsort((-good.pt_gev, good.event)))
    return Tracks(**{**vars(ordered), "hit": np.where(ordered.hit == NONE, NONE, ordered.hit + some.start)})


def _one_pass(search: SeedPass, hits: Hits, free: Mask, tracker: Tracker, options: Finding) -> Candidates:
    parts = []
    for triplet in search.layers:
        seeds = seeds_of(hits, free, triplet, search.largest_d0_mm, tracker, options)
        parts.append(followed(seeds, triplet, hits, tracker, options))
    candidates = joined(parts)
    return candidates.kept(unambiguous(candidates, free, options))


def unambiguous(candidates: Candidates, free: Mask, options: Finding) -> Integers:
    """Return the places of candidates, the best first, of whose hits others before took no more than a share."""
    order = np.argsort(candidates.cost(options), kind="stable")
    used, taken = ~free, []
    for place in order:
        own = candidates.hit[place]
        own = own[own >= 0]
        if used[own].sum() <= options.shared * len(own):
            used[own] = True
            taken.append(place)
    return np.array(taken, dtype=np.int64)


def _tracks(candidates: Candidates, hits: Hits, tracker: Tracker, options: Finding) -> Tracks:
    """Return the candidates fitted, without hits that do not belong to them."""
    hit = candidates.hit
    fit = _fit(candidates, hit, hits, tracker)
    outlier = (fit.residual_chi2 > options.largest_chi2) & (hit != NONE)
    again = outlier.any(axis=1) & ((hit != NONE).sum(axis=1) - outlier.sum(axis=1) >= options.fewest_hits)
    if again.any():
        hit = np.where(outlier & again[:, None], NONE, hit)
        fit = _fit(candidates, hit, hits, tracker)
    particle, share = matched(hit, hits)
    return Tracks(
        candidates.event,
        fit.parameters,
        fit.covariance,
        fit.outer_parameters,
        fit.outer_covariance,
        fit.chi2,
        2 * (hit != NONE).sum(axis=1) - 5,
        hit,
        particle,
        share,
    )


def _fit(candidates: Candidates, hit: Integers, hits: Hits, tracker: Tracker) -> TrackFit:
    there = hit != NONE
    places = np.where(there, hit, 0)
    phi, z = (column[places] if len(hits) else np.zeros(hit.shape) for column in (hits.phi, hits.z_mm))
    return fit_tracks(candidates.parameters, phi, z, there, tracker)


def _none(layers: int) -> Candidates:
    whole = np.zeros(0, dtype=np.int64)
    hit = np.zeros((0, layers), dtype=np.int64)
    return Candidates(whole, whole, np.zeros((0, 5)), np.zeros((0, 5, 5)), hit, np.zeros(0), whole)
