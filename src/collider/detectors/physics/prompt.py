"""Leptons and photons that come from no jet: isolated, leptons with the photons that they radiated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.learning.columns import ELECTRON, MUON_CODE, PHOTON
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.config import Prompt
from collider.detectors.physics.flow import FlowParticles
from collider.generation.kinematics import delta_r

LEPTONS: Final = (ELECTRON, MUON_CODE)
_AT_MOST_HALF: Final = 0.5


@dataclass(frozen=True)
class PromptParticles:
    """Prompt leptons and photons, event by event, the hardest of an event first.

    event, kind, charge: (particle,); vector: (particle, 4) E, px, py, pz in GeV, photons around leptons included.
    """

    event: Integers
    kind: Integers
    charge: Integers
    vector: Floats

    @property
    def pt_gev(self) -> Floats:
        """Momentum across the beam."""
        return np.hypot(self.vector[:, 1], self.vector[:, 2])


def prompt_particles(flow: FlowParticles, cuts: Prompt) -> PromptParticles:
    """Return the prompt leptons and photons of a flow whose events do not fall."""
    pt, eta, phi = flow.pt_gev, flow.eta, flow.phi
    vectors = np.concatenate([flow.energy_gev[:, None], flow.momentum_gev], axis=1)
    least = np.where(flow.kind == PHOTON, cuts.photon_pt_gev, _AT_MOST_HALF * cuts.lepton_pt_gev)
    wanted = np.isin(flow.kind, (*LEPTONS, PHOTON)) & (pt >= least) & (np.abs(eta) <= cuts.eta)
    kept: list[tuple[int, Floats]] = []
    for row in np.flatnonzero(wanted):
        first, last = np.searchsorted(flow.event, (flow.event[row], flow.event[row] + 1))
        near = delta_r(eta[first:last], phi[first:last], eta[row], phi[row])
        own = np.zeros(last - first, dtype=bool)
        if flow.kind[row] != PHOTON:
            own = (near <= cuts.dressing) & (flow.kind[first:last] == PHOTON)
        own[row - first] = True
        vector = vectors[first:last][own].sum(axis=0)
        size = np.hypot(vector[1], vector[2])
        around = pt[first:last][(near <= cuts.isolation_radius) & ~own].sum()
        enough = size >= (cuts.photon_pt_gev if flow.kind[row] == PHOTON else cuts.lepton_pt_gev)
        if enough and around <= cuts.isolation * size:
            kept.append((int(row), vector))
    rows = np.array([row for row, _ in kept], dtype=np.int64)
    found = np.array([vector for _, vector in kept]).reshape(-1, 4)
    order = np.lexsort((-np.hypot(found[:, 1], found[:, 2]), flow.event[rows]))
    rows = rows[order]
    return PromptParticles(flow.event[rows], flow.kind[rows], flow.charge[rows], found[order])
