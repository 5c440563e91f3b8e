"""What is near to a candidate: its own tracks and clusters, and the nearest others of its event, one token each."""

from __future__ import annotations

from typing import Final

import numpy as np

from collider.detectors.events import EventSlice
from collider.detectors.learning.columns import ECAL, HCAL, NEIGHBOURS, NEIGHBOURS_OWN
from collider.detectors.learning.linking import Links, nearby, perigees
from collider.detectors.learning.tokens import CELL_SCALES, Tokens, gathered, track_momenta
from collider.detectors.particles import Floats, Integers
from collider.detectors.schema import CLUSTERS, TRACKS
from collider.detectors.tracking.perigee import COT_THETA, PHI
from collider.generation.kinematics import phi_difference

LEAST_GEV: Final = 0.05
"""Energy below which the logarithm goes no further: noise sums to less than nothing."""


def neighbour_tokens(part: EventSlice, links: Links, place: Integers, objects: Integers, most: int) -> Tokens:
    """Return tracks and clusters about candidates, at most so many: a candidate's own, then the nearest others.

    place: (object + 1,) the candidate that each object leads; objects: (candidate,) the object that leads it. A token
    is whether it leads this candidate, whether it belongs to it, what it is as `_features` says, its η and φ from those
    of the leading object, ln of its momentum or energy, and by how much the number of the candidate that it belongs to
    differs from this one.
    """
    eta, phi = _directions(part)
    owner = place[np.concatenate([np.arange(len(part[TRACKS])), links.cluster])]
    candidate, found = _pairs(part, eta, phi, objects, owner, most)
    lead = objects[candidate]
    along, turn = eta[found] - eta[lead], phi_difference(phi[found], phi[lead])
    mine = owner[found] == candidate
    features, energy = _features(part, links)
    values = np.column_stack(
        [
            found == lead,
            mine,
            features[found],
            along,
            turn,
            np.log(np.maximum(energy, LEAST_GEV))[found],
            owner[found] - candidate,
        ]
    )
    order = np.where(mine, np.hypot(along, turn) - _FIRST, np.hypot(along, turn))
    return gathered(NEIGHBOURS, np.zeros((len(objects), 0)), values, candidate, order, most)


_FIRST: Final = 1e3
"""Nearer than anything else: what belongs to the candidate."""


def _pairs(
    part: EventSlice, eta: Floats, phi: Floats, objects: Integers, owner: Integers, most: int
) -> tuple[Integers, Integers]:
    """Return candidates and objects, one pair after the other: what belongs to each, and the nearest of its event."""
    event = np.concatenate([part[TRACKS].event, part[CLUSTERS].event])
    near = nearby(eta, phi, event, objects, most)
    row, column = np.nonzero(near >= 0)
    candidates = np.concatenate([owner, row])
    found = np.concatenate([np.arange(len(owner)), near[row, column]])
    return np.unique(np.stack([candidates, found]), axis=1)  # type: ignore[return-value]


def _directions(part: EventSlice) -> tuple[Floats, Floats]:
    """Return η and φ of tracks, then clusters: of a track where it enters the ECAL, else where it begins."""
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    parameters = perigees(tracks)
    enters = np.isfinite(tracks["ecal_eta"]) & np.isfinite(tracks["ecal_phi_rad"])
    eta = np.where(enters, tracks["ecal_eta"], np.arcsinh(parameters[:, COT_THETA]))
    phi = np.where(enters, tracks["ecal_phi_rad"], parameters[:, PHI])
    return np.concatenate([eta, clusters["eta"]]), np.concatenate([phi, clusters["phi_rad"]]).astype(np.float64)


def _features(part: EventSlice, links: Links) -> tuple[Floats, Floats]:
    """Return what is known of tracks, then clusters (object, NEIGHBOURS_OWN), and their momenta or energies in GeV.

    Whether it is a track, of the ECAL, of the HCAL. Of a track its charge, ln σ(p)/p, ln(1 + χ²/ndf) and how many muon
    segments it has; of a cluster the share in the first depth, ln(1 + cells), widths in η and φ, and ln(1 + E) of the
    other calorimeter about it. 0 for what the other kind has.
    """
    tracks, clusters = part[TRACKS], part[CLUSTERS]
    count, detector = len(tracks), clusters["detector"]
    momentum, error = track_momenta(part)
    found = np.zeros((count + len(clusters), NEIGHBOURS_OWN))
    segments = np.bincount(links.segment[links.segment >= 0], minlength=count)
    degrees = np.maximum(2 * tracks["hits"].astype(np.float64) - 5, 1)
    found[:count, 0] = 1
    found[:count, 3] = np.sign(tracks["q_over_pt_per_gev"])
    found[:count, 4] = np.log(np.maximum(error / momentum, 1e-6))
    found[:count, 5] = np.log1p(tracks["chi2"] / degrees)
    found[:count, 6] = segments / 4
    scale = np.where(detector == 0, CELL_SCALES[ECAL][0], CELL_SCALES[HCAL][0])
    found[count:, 1:3] = np.stack([detector == 0, detector == 1], axis=1)
    found[count:, 7] = np.clip(clusters["front_share"], -1, 2)
    found[count:, 8] = np.log1p(clusters["cells"]) / 3
    found[count:, 9] = clusters["sigma_eta"] / scale
    found[count:, 10] = clusters["sigma_phi_rad"] / scale
    found[count:, 11] = np.log1p(np.maximum(clusters["around_gev"], 0))
    return found, np.concatenate([momentum, clusters["energy_gev"].astype(np.float64)])
