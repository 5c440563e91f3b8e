"""Jets of flows and of true particles, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from collider.detectors.learning.columns import ELECTRON, MUON_CODE, PHOTON
from collider.detectors.learning.linking import nearest_of, places_of
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.flow import FlowParticles
from collider.detectors.physics.objects import Mask
from collider.detectors.schema import NONE
from collider.generation.jets import Clustering, cluster
from collider.generation.kinematics import momentum
from collider.generation.wheels import wheel
from reconstruction.random.keyed import mix64

SOFTER: Final = 0.5
"""Reconstructed jets are kept from this share of the smallest pT of true ones on: those that fluctuate down count."""
LONELY: Final = 0.5
"""A jet of which one electron, photon or muon has more than this share is a lepton or a photon, and no jet."""
JET_PT: Final = "jet_pt_gev"
RULES_PT: Final = "rules_pt_gev"
"""Columns of tables of jets: what is estimated, and what the rules say."""
_OF_JETS: Final = 1 << 30
"""Places of jets begin here where an identity is made, behind those of tracks and clusters."""


@dataclass(frozen=True)
class Jets:
    """Jets, event by event, the hardest of an event first: event (jet,), vector (jet, 4) E, px, py, pz in GeV.

    lonely: (jet,) largest share of pT that one electron, photon or muon has.
    """

    event: Integers
    vector: Floats
    lonely: Floats

    def __len__(self) -> int:
        return len(self.event)

    @property
    def pt_gev(self) -> Floats:
        """Momentum across the beam."""
        return np.hypot(self.vector[:, 1], self.vector[:, 2])

    @property
    def eta(self) -> Floats:
        """Pseudorapidity."""
        return np.arcsinh(self.vector[:, 3] / np.maximum(self.pt_gev, 1e-9))

    @property
    def phi(self) -> Floats:
        """Azimuth."""
        return np.arctan2(self.vector[:, 2], self.vector[:, 1])

    def kept(self, rows: Mask | Integers) -> Jets:
        """Return some of them, in their order."""
        return Jets(self.event[rows], self.vector[rows], self.lonely[rows])


def jets_of(flow: FlowParticles, events: int, clustering: Clustering) -> Jets:
    """Return the jets of all particles of a flow."""
    return clustered(flow, events, clustering)[0]


def clustered(flow: FlowParticles, events: int, clustering: Clustering) -> tuple[Jets, Integers, Integers]:
    """Return the jets of all particles of a flow; of each constituent, jet by jet, the jet and its row of the flow."""
    ak = wheel("awkward")
    particles = flow.awkward(events)
    found = cluster(particles, clustering)
    counts = ak.num(found).to_numpy()
    pt, eta, phi, mass = (
        np.asarray(ak.flatten(found[name]).to_numpy(), np.float64) for name in ("pt", "eta", "phi", "mass")
    )
    parts = np.stack(momentum(pt, eta, phi), axis=1)
    energy = np.sqrt((parts**2).sum(axis=1) + mass**2)
    single = np.where(np.isin(flow.kind, (ELECTRON, PHOTON, MUON_CODE)), flow.pt_gev, 0.0)
    places = ak.flatten(found.constituents)
    begin = np.concatenate([[0], np.cumsum(np.bincount(flow.event, minlength=events))])[:-1]
    event = np.repeat(np.arange(events), counts)
    largest = np.zeros(len(pt))
    jet = np.repeat(np.arange(len(pt)), ak.num(places).to_numpy() if len(pt) else 0)
    of = np.zeros(0, np.int64)
    if len(pt):
        of = np.asarray(ak.flatten(places).to_numpy(), np.int64) + begin[event[jet]]
        np.maximum.at(largest, jet, single[of])
    jets = Jets(event, np.concatenate([energy[:, None], parts], axis=1), largest / np.maximum(pt, 1e-9))
    return jets, jet, of


def jet_ids(event_ids: NDArray[Any], event: Integers) -> Integers:
    """Return the identity of each jet: a hash of that of its event and of its place in it, the hardest first.

    event_ids: (event,) identities; event: (jet,) place of the event, rising.
    """
    within = np.arange(len(event)) - np.searchsorted(event, event)
    ids = torch.from_numpy(np.asarray(event_ids, dtype=np.int64)[event])
    keys: Integers = mix64(mix64(ids) + torch.from_numpy(within + _OF_JETS)).numpy()
    return keys & np.int64(2**63 - 1)


def looked_for(clustering: Clustering) -> Clustering:
    """Return how jets are found that true ones are matched with: softer ones and beyond their |η|, too."""
    return replace(clustering, pt_gev=SOFTER * clustering.pt_gev, eta=clustering.eta + clustering.radius)


def nearest_jets(true: Jets, other: Jets, distance: float) -> Integers:
    """Return the jet of each true jet (true,), NONE for none: the nearest one, if that one has no nearer true jet."""
    one, two = (places_of(jets.eta, jets.phi, jets.event) for jets in (true, other))
    there, back = nearest_of(one, two, distance), nearest_of(two, one, distance)
    mutual = (there >= 0) & (np.append(back, NONE)[there] == np.arange(len(true)))
    return np.where(mutual, there, NONE)
