"""What is in a jet: its tracks and clusters, each with what rules of particle flow know of it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.events import EventSlice
from collider.detectors.jet_energies.columns import OBJECT_NUMBERS
from collider.detectors.learning.columns import ELECTRON, MUON_CODE, NEUTRAL_HADRON, PHOTON
from collider.detectors.learning.linking import nearest_of, places_of
from collider.detectors.learning.tokens import Tokens, tokens_of
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.flow import FlowParticles, by_rules
from collider.detectors.physics.jets import Jets
from collider.detectors.physics.objects import Objects
from collider.detectors.physics.rules import FlowRules
from collider.detectors.schema import CLUSTERS
from collider.generation.kinematics import phi_difference

LEAST_GEV: Final = 0.05
"""Energy below which logarithms go no further."""
WIDTHS: Final = 30.0
"""Widths of clusters in η and φ are of the size of its inverse."""
FARTHEST_SIGMA: Final = (-5.0, 8.0)
LEAST_SIGMA_GEV: Final = 0.3
"""Usual error of a block without tracks or with soft ones."""


def jet_tokens(
    part: EventSlice, objects: Objects, flow: FlowParticles, jets: Jets, rules: FlowRules, radius: float, most: int
) -> Tokens:
    """Return the tracks and clusters within a radius of each jet, at most so many, those with the most energy first.

    flow: by rules. An object is of the jet that it is nearest to. A lead is what LEAD says, a token OBJECT_NUMBERS:
    which detector it is of; ln of its momentum or energy, that over the pT of the jet, the distance to the axis over
    the radius; of a cluster its width, the share in the first depth, that of the largest cell, ln of the number of
    cells, whether it is a particle of its own, or of a track; ln of the track's momentum and of the energies in both
    calorimeters of the candidate; the same of the block, by how much its clusters hold more than its tracks, in σ and
    over the pT of the jet, and what the rules make of that, ln and over the pT; what the rules take it for.
    """
    eta = np.arcsinh(objects.direction[:, 2] / np.hypot(objects.direction[:, 0], objects.direction[:, 1]))
    phi = np.arctan2(objects.direction[:, 1], objects.direction[:, 0])
    owner = nearest_of(places_of(eta, phi, objects.event), places_of(jets.eta, jets.phi, jets.event), radius)
    rows = np.flatnonzero(owner >= 0)
    jet, pt, energy = owner[rows], jets.pt_gev[owner[rows]], _energies_gev(objects)[rows]
    known = {name: values[rows] for name, values in _object_numbers(part, objects, flow, rules).items()}
    known["distance"] = np.hypot(eta[rows] - jets.eta[jet], phi_difference(phi[rows], jets.phi[jet])) / radius
    for name, size in (("", energy), ("block_excess_", known.pop("excess")), ("block_neutral_", known.pop("neutral"))):
        known[f"{name}over_jet_pt"] = size / pt
    values = np.column_stack([known[name] for name in OBJECT_NUMBERS])
    share = np.bincount(jet, energy, len(jets)) / jets.pt_gev
    lead = np.column_stack([jets.pt_gev, np.abs(jets.eta), share])
    return tokens_of(lead, values, jet, -energy, most)


def _energies_gev(objects: Objects) -> Floats:
    """Return the momenta of tracks, then the energies of clusters, (object,)."""
    return np.concatenate([objects.momentum_gev, objects.energy_gev])


def _object_numbers(part: EventSlice, objects: Objects, flow: FlowParticles, rules: FlowRules) -> dict[str, Floats]:
    """Return what is known of objects whatever jet they are in, (object,) each; `excess` and `neutral` in GeV."""
    count, every = objects.tracks, len(objects)
    energy, kind = _energies_gev(objects), by_rules(objects, rules).kind
    of_ecal, clusters = objects.of_ecal, np.arange(every) >= count
    found = {"track": ~clusters, "ecal": _of_clusters(objects, of_ecal), "hcal": _of_clusters(objects, ~of_ecal)}
    table = part[CLUSTERS]
    seed = table["seed_gev"] / np.maximum(objects.energy_gev, LEAST_GEV)
    found |= {
        "log_energy": _log(energy),
        "width": _of_clusters(objects, np.clip(objects.width * WIDTHS, 0, 3)),
        "first_depth": _of_clusters(objects, np.clip(table["front_share"], -1, 1)),
        "seed_share": _of_clusters(objects, np.clip(seed, 0, 1)),
        "log_cells": _of_clusters(objects, np.log(np.maximum(table["cells"], 1))),
        "own": np.concatenate([np.ones(count), objects.owner == np.arange(count, every)]),
        "of_a_track": _of_clusters(objects, objects.owner < count),
    }
    lead = np.concatenate([np.arange(count), objects.candidate])
    found["log_track_gev"] = _log(np.append(objects.momentum_gev, np.zeros(every - count))[lead])
    for name, mine in (("ecal", of_ecal), ("hcal", ~of_ecal)):
        held = _summed(objects.candidate[mine], objects.energy_gev[mine], every)
        found[f"log_{name}_gev"] = _log(held[lead])
    block = objects.block
    tracks = _summed(block[:count], objects.momentum_gev, every)
    ecal, hcal = (_summed(block[count:][mine], objects.energy_gev[mine], every) for mine in (of_ecal, ~of_ecal))
    excess = rules.hadron_response.corrected(ecal + hcal) - tracks
    sigma = excess / np.maximum(rules.hadron_resolution.of(tracks), LEAST_SIGMA_GEV)
    mine = np.isin(flow.kind, (PHOTON, NEUTRAL_HADRON))
    neutral = _summed(block[flow.source[mine]], flow.energy_gev[mine], every)
    of_block = {
        "log_block_tracks_gev": _log(tracks),
        "log_block_ecal_gev": _log(ecal),
        "log_block_hcal_gev": _log(hcal),
        "block_excess_sigma": np.clip(sigma, *FARTHEST_SIGMA),
        "log_block_neutral_gev": _log(neutral),
        "excess": excess,
        "neutral": neutral,
    }
    found |= {name: values[block] for name, values in of_block.items()}
    codes = {"electron": ELECTRON, "muon": MUON_CODE, "photon": PHOTON, "neutral_hadron": NEUTRAL_HADRON}
    found |= {name: kind == code for name, code in codes.items()}
    return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


def _of_clusters(objects: Objects, values: NDArray[Any]) -> Floats:
    """Return values of clusters as those of objects, 0 for tracks."""
    return np.concatenate([np.zeros(objects.tracks), values.astype(np.float64)])


def _summed(of: Integers, energy: Floats, count: int) -> Floats:
    return np.bincount(of, energy, count).astype(np.float64)


def _log(energy: Floats) -> Floats:
    return np.log(np.maximum(energy, LEAST_GEV))
