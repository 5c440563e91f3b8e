"""Energy that no track tells of: what candidates' clusters hold of particles without a track, true energies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collider.detectors.events import EventSlice, true_momenta
from collider.detectors.learning.columns import MUON_CODE
from collider.detectors.particles import Floats, Integers
from collider.detectors.schema import CLUSTERS, ECAL_CELLS, HCAL_CELLS, NONE, PARTICLES, TRACKS
from collider.detectors.tracking.judging import MATCHED


def untracked_gev(part: EventSlice, of_cluster: Integers, count: int) -> Floats:
    """Return the true energy of particles without a track in the clusters of each of so many candidates, (candidate,).

    of_cluster: (cluster,) the candidate that it belongs to, NONE for none. A particle's energy is divided by what it
    left in the clusters' cells, as far as it left most in them; one that left most in no such cell is nowhere. Muons
    leave next to nothing of theirs, and do not count.
    """
    particles = part[PARTICLES]
    weights, cells = [], []
    for name in (ECAL_CELLS, HCAL_CELLS):
        table = part[name]
        cluster = table.place(part[CLUSTERS], "cluster")
        candidate = np.append(of_cluster, NONE)[cluster]
        particle = table.place(particles, "particle")
        there = (candidate >= 0) & (particle >= 0)
        cells.append(np.stack([candidate[there], particle[there]]))
        weights.append(table["deposited_gev"][there].astype(np.float64))
    (candidate, particle), left_gev = np.concatenate(cells, axis=1), np.concatenate(weights)
    total = np.bincount(particle, left_gev, len(particles))
    energy = np.where(_without_track(part), true_momenta(part)[1], 0.0)
    share = np.divide(left_gev, total[particle], out=np.zeros(len(particle)), where=total[particle] > 0)
    return np.bincount(candidate, share * energy[particle], count).astype(np.float64)


def _without_track(part: EventSlice) -> NDArray[np.bool_]:
    particles, tracks = part[PARTICLES], part[TRACKS]
    found = np.abs(particles["pdg_id"]) != MUON_CODE
    own = tracks.place(particles, "particle")[tracks["purity"] >= MATCHED]
    found[own[own >= 0]] = False
    return found
