"""Seeds followed outwards: in each layer a candidate takes each hit that the filter expects, or none."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np

from collider.detectors.particles import Floats, Integers, Mask
from collider.detectors.tracking.geometry import Tracker
from collider.detectors.tracking.hits import Hits
from collider.detectors.tracking.kalman import PRIOR, chi2_of, noise_of, residual_of, update_for
from collider.detectors.tracking.options import Finding, Triplet
from collider.detectors.tracking.perigee import LayerCrossing, crossing
from collider.detectors.tracking.seeding import LayerHits, Seeds

NONE: Final = -1
_WINDOW: Final = 6.0
"""Half width of the search by azimuth, in standard deviations: more than the χ² that decides lets pass."""


@dataclass(frozen=True)
class Candidates:
    """Tracks that are being followed.

    seed: (candidate,) which one it began with; parameters (candidate, 5) and covariance (candidate, 5, 5) of the
    filter; hit: (candidate, layer) places among all hits, −1 for none; chi2: (candidate,); holes: (candidate,) layers
    that lack their hit.
    """

    seed: Integers
    event: Integers
    parameters: Floats
    covariance: Floats
    hit: Integers
    chi2: Floats
    holes: Integers

    def __len__(self) -> int:
        return len(self.seed)

    def kept(self, mask: Mask | Integers) -> Candidates:
        """Return those of a mask, or at places, also more than once."""
        return Candidates(*[getattr(self, part.name)[mask] for part in fields(self)])

    def hits(self) -> Integers:
        """Return how many hits each has."""
        return np.asarray((self.hit != NONE).sum(axis=1))

    def cost(self, options: Finding) -> Floats:
        """Return what is least for the best: χ², less what its hits are worth."""
        return self.chi2 - options.hit_worth * self.hits()


def joined(parts: list[Candidates]) -> Candidates:
    """Return candidates, one after the other."""
    return Candidates(*[np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(Candidates)])


def followed(seeds: Seeds, triplet: Triplet, hits: Hits, tracker: Tracker, options: Finding) -> Candidates:
    """Return what becomes of seeds: up to `branches` candidates of each, with `fewest_hits` or more."""
    candidates = _begun(seeds, triplet, hits, tracker)
    candidates = candidates.kept(candidates.chi2 <= options.largest_seed_chi2)
    ended: list[Candidates] = []
    everything = np.ones(len(hits), dtype=bool)
    for layer in range(triplet[2] + 1, len(tracker.layers)):
        candidates = _step(candidates, layer, LayerHits.of(hits, layer, everything), hits, tracker, options)
        candidates = _best(candidates, options)
        going = (candidates.holes <= options.holes) & (
            candidates.hits() + len(tracker.layers) - layer > options.fewest_hits
        )
        ended.append(candidates.kept(~going))
        candidates = candidates.kept(going)
    every = joined([*ended, candidates])
    return every.kept(every.hits() >= options.fewest_hits)


def _begun(seeds: Seeds, triplet: Triplet, hits: Hits, tracker: Tracker) -> Candidates:
    """Return the seeds filtered through their own three hits; layers between them lack a hit."""
    count = len(seeds.hit)
    hit = np.full((count, len(tracker.layers)), NONE, dtype=np.int64)
    hit[:, list(triplet)] = seeds.hit
    candidates = Candidates(
        np.arange(count),
        hits.event[seeds.hit[:, 0]],
        seeds.parameters,
        np.broadcast_to(PRIOR, (count, 5, 5)).copy(),
        hit,
        np.zeros(count),
        np.zeros(count, dtype=np.int64),
    )
    for layer in range(triplet[2] + 1):
        found = crossing(candidates.parameters, tracker.radii_mm[layer], tracker.field_t)
        if layer in triplet:
            candidates = _updated(candidates, hit[:, layer], found, layer, hits, tracker)
        candidates = _scattered(candidates, found, layer, tracker)
    return candidates


def _updated(
    candidates: Candidates, hit: Integers, found: LayerCrossing, layer: int, hits: Hits, tracker: Tracker
) -> Candidates:
    """Return candidates that each took a hit."""
    update = update_for(candidates.covariance, found.jacobian, tracker.variances_mm2[layer])
    residual = residual_of(hits.phi[hit], hits.z_mm[hit], found.measured, tracker.radii_mm[layer])
    return replace(
        candidates,
        parameters=candidates.parameters + np.einsum("tij,tj->ti", update.gain, residual),
        covariance=update.covariance,
        chi2=candidates.chi2 + chi2_of(residual, update.weight),
    )


def _scattered(candidates: Candidates, found: LayerCrossing, layer: int, tracker: Tracker) -> Candidates:
    noise = noise_of(candidates.parameters, found, tracker, layer)
    return replace(candidates, covariance=candidates.covariance + noise)


def _step(
    candidates: Candidates, layer: int, near: LayerHits, hits: Hits, tracker: Tracker, options: Finding
) -> Candidates:
    """Return candidates behind a layer: with each hit that fits, and without one."""
    found = crossing(candidates.parameters, tracker.radii_mm[layer], tracker.field_t)
    update = update_for(candidates.covariance, found.jacobian, tracker.variances_mm2[layer])
    radius = tracker.radii_mm[layer]
    error = _errors(candidates.covariance, found.jacobian, tracker.variances_mm2[layer])
    asked = np.flatnonzero(
        found.reached & (np.abs(found.measured[:, 1]) <= tracker.half_lengths_mm[layer] + _WINDOW * error[:, 1])
    )
    question, hit = near.near(
        candidates.event[asked], found.measured[asked, 0] / radius, _WINDOW * error[asked, 0] / radius
    )
    of = asked[question]
    residual = residual_of(hits.phi[hit], hits.z_mm[hit], found.measured[of], radius)
    chi2 = chi2_of(residual, update.weight[of])
    fits = chi2 <= options.largest_chi2
    of, hit, residual, chi2 = of[fits], hit[fits], residual[fits], chi2[fits]
    taken = candidates.kept(of)
    places = taken.hit.copy()
    places[:, layer] = hit
    taken = replace(
        taken,
        parameters=taken.parameters + np.einsum("tij,tj->ti", update.gain[of], residual),
        covariance=update.covariance[of],
        hit=places,
        chi2=taken.chi2 + chi2,
    )
    surely = found.reached & (np.abs(found.measured[:, 1]) <= tracker.half_lengths_mm[layer])
    without = replace(candidates, holes=candidates.holes + surely)
    noise = noise_of(candidates.parameters, found, tracker, layer)
    both = joined([taken, without])
    return replace(both, covariance=both.covariance + np.concatenate([noise[of], noise]))


def _errors(covariance: Floats, jacobian: Floats, variances: Floats) -> Floats:
    """Return the standard deviations (track, 2) of where a hit is expected, its own error included."""
    return np.sqrt(np.einsum("tai,tij,taj->ta", jacobian, covariance, jacobian, optimize=True) + variances)


def _best(candidates: Candidates, options: Finding) -> Candidates:
    """Return the best few candidates of each seed."""
    order = np.lexsort((candidates.cost(options), candidates.seed))
    seed = candidates.seed[order]
    first = np.searchsorted(seed, seed)
    return candidates.kept(order[np.arange(len(seed)) - first < options.branches])
