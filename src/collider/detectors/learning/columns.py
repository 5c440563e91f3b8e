"""Columns of candidates: what is true of them, what classical reconstruction says, and what stands in each input."""

from __future__ import annotations

from typing import Final

import numpy as np

from collider.detectors.particles import Integers
from reconstruction.system import Column

TRACKER, ECAL, HCAL, MUON = "tracker", "ecal", "hcal", "muon"
DETECTORS: Final = (TRACKER, ECAL, HCAL, MUON)
TOGETHER: Final = "together"
"""The input that holds the tokens of all detectors, one after the other."""
NEIGHBOURS: Final = "neighbours"
"""The input that holds tracks and clusters about a candidate, its own and the nearest others."""
INPUTS: Final = (*DETECTORS, TOGETHER, NEIGHBOURS)
WITH_ALL_LEADS: Final = (TOGETHER, NEIGHBOURS)
"""Inputs that begin with the leads of all detectors."""

LEAD_WIDTH: Final = {TRACKER: 9, ECAL: 8, HCAL: 8, MUON: 5}
"""Numbers of the first position of an input, the lead: what classical reconstruction says in this detector.

The first of them is a momentum or an energy in GeV, 0 where the detector saw nothing.
"""
TOKEN_WIDTH: Final = {TRACKER: 5, ECAL: 5, HCAL: 5, MUON: 7}
"""Numbers of every further position, a token: a hit, a cell, a segment."""
NEIGHBOURS_OWN: Final = 12
"""Numbers of a track or cluster that are the same for whoever looks at it."""
NEIGHBOUR_WIDTH: Final = 2 + NEIGHBOURS_OWN + 4
"""Numbers of a track or cluster about a candidate."""

ELECTRON, PHOTON, MUON_CODE, CHARGED_HADRON, NEUTRAL_HADRON = 11, 22, 13, 211, 130
CLASSES: Final = {
    "electron": ELECTRON,
    "photon": PHOTON,
    "muon": MUON_CODE,
    "charged_hadron": CHARGED_HADRON,
    "neutral_hadron": NEUTRAL_HADRON,
}
"""Code of each identity: the PDG code of one particle of it."""

MOMENTUM, IDENTITY, UNTRACKED = "momentum_gev", "identity", "untracked_gev"
KALMAN, KALMAN_ERROR, TRACK_BOUND = "kalman_momentum_gev", "kalman_momentum_error_gev", "track_bound_gev"
ECAL_SUM, HCAL_SUM, CALORIMETER_SUM = "ecal_sum_gev", "hcal_sum_gev", "calorimeter_sum_gev"
SEGMENT_MOMENTUM = "segment_momentum_gev"


def _gev(name: str, meaning: str, plain: str) -> Column:
    return Column(name, "GeV", "float64", 0.0, 1e5, meaning, plain)


_TRUE: Final = (
    _gev(MOMENTUM, "momentum of the particle", "momentum"),
    _gev("energy_gev", "its energy, the mass included", "energy"),
    _gev("pt_gev", "its momentum across the beam", "pT"),
    Column("q_over_pt_per_gev", "1/GeV", "float64", -1e3, 1e3, "its charge over pT", "q/pT"),
    Column("charge", "", "int64", -100.0, 100.0, "its charge in e", "charge"),
    Column("pdg_id", "", "int64", -3e9, 3e9, "its PDG code", "particle"),
    Column(IDENTITY, "", "int64", 0.0, 1e3, "what it is: the code of CLASSES", "identity"),
    _gev(UNTRACKED, "energy of particles without a track in its clusters", "energy without a track"),
)  # fmt: skip
TRUTHS: Final = tuple(column.name for column in _TRUE)
_SEEN: Final = (
    _gev(KALMAN, "momentum of the track", "momentum of the track"),
    _gev(KALMAN_ERROR, "its error as the Kalman filter states it", "stated error of the track"),
    _gev(TRACK_BOUND, "least error of the true momentum from the track's hits", "bound of the track"),
    _gev(ECAL_SUM, "energy of its ECAL clusters", "energy in the ECAL"),
    _gev(HCAL_SUM, "energy of its HCAL clusters", "energy in the HCAL"),
    _gev(CALORIMETER_SUM, "sum of both", "energy in both calorimeters"),
    _gev(SEGMENT_MOMENTUM, "momentum from how the first muon segment points", "momentum of the first segment"),
    Column("eta", "", "float64", -10.0, 10.0, "pseudorapidity of the track, else of the largest cluster", "η"),
    Column("phi_rad", "rad", "float64", -4.0, 4.0, "azimuth of the same", "φ"),
    *(
        Column(f"{name}_tokens", "", "int64", 0.0, 1e7, f"how many {what} it has", what)
        for name, what in ((TRACKER, "hits"), (ECAL, "ECAL cells"), (HCAL, "HCAL cells"), (MUON, "muon segments"))
    ),
    Column("process", "", "int64", 0.0, 127.0, "place of the process among those of the files", "process"),
    Column("event_number", "", "int64", 0.0, 2.0**32, "number of the event among those of its process", "event"),
)
COLUMNS: Final = {column.name: column for column in (*_TRUE, *_SEEN)}


def identity_of(pdg_id: Integers, charge: Integers) -> Integers:
    """Return the code of the identity of particles, (particle,)."""
    size = np.abs(pdg_id)
    hadron = np.where(charge != 0, CHARGED_HADRON, NEUTRAL_HADRON)
    return np.where(np.isin(size, (ELECTRON, PHOTON, MUON_CODE)), size, hadron)
