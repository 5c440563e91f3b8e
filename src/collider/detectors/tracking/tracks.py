"""Tracks as they are found, with what truth says of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields

import numpy as np

from collider.detectors.helix import FIELD_T, Helices
from collider.detectors.particles import Floats, Integers, Mask
from collider.detectors.tracking.hits import NOISE, Hits
from collider.detectors.tracking.perigee import COT_THETA, PHI, Q_OVER_PT, helices_of


@dataclass(frozen=True)
class Tracks:
    """Tracks of many events, one after the other.

    event: (track,). parameters: (track, 5) q/pT (1/GeV), φ, cot θ, d₀ (mm), z₀ (mm) where the track is nearest to the z
    axis, covariance: (track, 5, 5). outer_parameters, outer_covariance: the same of the helix behind the last hit, for
    extrapolation into what is around the tracker. chi2, ndf: (track,); hit: (track, layer) places among the hits,
    −1 for none. particle: (track,) truth, the one that made most of the hits, −1 where that is noise; share: (track,)
    of the hits that are its own.
    """

    event: Integers
    parameters: Floats
    covariance: Floats
    outer_parameters: Floats
    outer_covariance: Floats
    chi2: Floats
    ndf: Integers
    hit: Integers
    particle: Integers
    share: Floats

    def __len__(self) -> int:
        return len(self.event)

    def kept(self, mask: Mask | Integers) -> Tracks:
        """Return those of a mask, or at places."""
        return dataclasses.replace(self, **{part.name: getattr(self, part.name)[mask] for part in fields(self)})

    @property
    def charge(self) -> Integers:
        """Sign of the charge: (track,)."""
        return np.where(self.parameters[:, Q_OVER_PT] < 0, -1, 1)

    @property
    def pt_gev(self) -> Floats:
        """Momentum across the beam: (track,)."""
        return 1 / np.abs(self.parameters[:, Q_OVER_PT])

    @property
    def phi(self) -> Floats:
        """Azimuth of the direction at the perigee: (track,)."""
        return self.parameters[:, PHI]

    @property
    def eta(self) -> Floats:
        """Pseudorapidity: (track,)."""
        return np.arcsinh(self.parameters[:, COT_THETA])

    @property
    def momentum_gev(self) -> Floats:
        """px, py, pz at the perigee: (track, 3)."""
        pt = self.pt_gev
        return np.stack([pt * np.cos(self.phi), pt * np.sin(self.phi), pt * self.parameters[:, COT_THETA]], axis=1)

    @property
    def pt_error_gev(self) -> Floats:
        """Standard deviation of pT: (track,)."""
        return np.sqrt(self.covariance[:, Q_OVER_PT, Q_OVER_PT]) * self.pt_gev**2

    @property
    def hits(self) -> Integers:
        """Number of hits: (track,)."""
        return np.asarray((self.hit >= 0).sum(axis=1))

    def helices(self, field_t: float = FIELD_T) -> Helices:
        """Return the ways of the tracks behind their last hit, from where those would be nearest to the axis."""
        return helices_of(self.outer_parameters, field_t)


def matched(hit: Integers, hits: Hits) -> tuple[Integers, Floats]:
    """Return the particle that made most of a track's hits (track,), and its share of them (track,)."""
    there = hit >= 0
    made = np.where(there, hits.particle[np.where(there, hit, 0)], NOISE) if len(hits) else np.full_like(hit, NOISE)
    same = (made[:, :, None] == made[:, None, :]) & (made != NOISE)[:, None, :]
    votes = same.sum(axis=2)
    best = np.argmax(votes, axis=1) if made.size else np.zeros(len(made), dtype=np.int64)
    rows = np.arange(len(made))
    return made[rows, best], votes[rows, best] / np.maximum(there.sum(axis=1), 1)
