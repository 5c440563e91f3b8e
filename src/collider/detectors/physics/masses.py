"""Which particles and jets a mass peak is made of, and what is fitted to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from collider.detectors.learning.columns import ELECTRON, MUON_CODE, PHOTON
from collider.detectors.making.events import ORIGINS
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.chain import FlowResults
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.fits import SIGMA, PeakModel
from collider.detectors.physics.jets import LONELY, Jets
from collider.detectors.physics.objects import Mask
from collider.detectors.physics.prompt import LEPTONS
from collider.generation.kinematics import invariant_mass

Z_MASS_GEV, Z_WIDTH_GEV = 91.1876, 2.4952
W_MASS_GEV, TOP_MASS_GEV, HIGGS_MASS_GEV = 80.385, 173.0, 125.0
"""What Pythia 8.317 gives them where nothing else is said, as configs/detectors/events.yaml says nothing else."""
TOP_JET_PT_GEV: Final = 25.0
JETS_OF_TOP_EVENTS, JETS_TRIED = 4, 5
W_WITHIN_GEV: Final = 20.0
TOP, W = 6, 24
HALF: Final = 0.5


@dataclass(frozen=True)
class Masses:
    """Masses and the events that they are of, one an event at most: (event,) both."""

    event: Integers
    mass_gev: Floats

    def beside(self, other: Masses) -> tuple[Floats, Floats]:
        """Return the masses of the events of both, of these and of the others."""
        _, mine, theirs = np.intersect1d(self.event, other.event, return_indices=True)
        return self.mass_gev[mine], other.mass_gev[theirs]


Finder = Callable[[FlowResults, str, PhysicsConfig], Masses]


@dataclass(frozen=True)
class MassStudy:
    """A peak: its name, what it is made of in words, the true mass, its model, and who finds the masses.

    fits_truth: whether masses of true particles have a width that such a model can have.
    """

    name: str
    title: str
    words: str
    mass_gev: float
    model: PeakModel
    masses: Finder
    fits_truth: bool = True


def two_of(kind: int) -> Finder:
    """Return what finds masses of the two hardest prompt particles of a kind; of leptons with opposite charges."""

    def masses(measured: FlowResults, flow: str, config: PhysicsConfig) -> Masses:
        found = measured.prompt[flow]
        rows = np.flatnonzero(found.kind == kind)
        first = rows[ranks(found.event[rows]) == 0]
        second = rows[ranks(found.event[rows]) == 1]
        first = first[np.isin(found.event[first], found.event[second])]
        wanted = found.charge[first] * found.charge[second] == (0 if kind == PHOTON else -1)
        pair = found.vector[first[wanted]] + found.vector[second[wanted]]
        return Masses(found.event[first[wanted]], mass_of(pair))

    return masses


def ranks(event: Integers) -> Integers:
    """Return the place of each row among those of its event, from 0; events do not fall."""
    return np.arange(len(event)) - np.searchsorted(event, event)


def mass_of(vector: Floats) -> Floats:
    """Return invariant masses of vectors (…, 4) E, px, py, pz."""
    energy, px, py, pz = np.moveaxis(vector, -1, 0)
    return np.asarray(invariant_mass(px, py, pz, energy))


def clean_jets(measured: FlowResults, flow: str, pt_gev: float, eta: float) -> Jets:
    """Return jets that are no leptons or photons."""
    jets = measured.jets[flow]
    return jets.kept((jets.lonely <= LONELY) & (jets.pt_gev >= pt_gev) & (np.abs(jets.eta) <= eta))


def leptons(measured: FlowResults, flow: str) -> Integers:
    """Return the number of prompt leptons of each event, (event,)."""
    found = measured.prompt[flow]
    return np.bincount(found.event[np.isin(found.kind, LEPTONS)], minlength=len(measured))


def made_of(measured: FlowResults, origin: int) -> Mask:
    """Return which events are of processes that make a particle in more than half of their events, (event,)."""
    process, there = measured.events["process"], measured.events["origins"][:, ORIGINS.index(origin)]
    count = len(measured.processes)
    share = np.bincount(process, there, count) / np.maximum(np.bincount(process, minlength=count), 1)
    return np.asarray(share[process] > HALF)


def two_jets(measured: FlowResults, flow: str, config: PhysicsConfig) -> Masses:
    """Return masses of both jets of events with two jets and no lepton."""
    jets = clean_jets(measured, flow, config.jets.pt_gev, config.jets.eta)
    count = np.bincount(jets.event, minlength=len(measured))
    wanted = (count == 2) & (leptons(measured, flow) == 0) & made_of(measured, W)
    pairs = jets.vector[wanted[jets.event]].reshape(-1, 2, 4)
    return Masses(np.flatnonzero(wanted), mass_of(pairs.sum(axis=1)))


def three_jets(measured: FlowResults, flow: str, config: PhysicsConfig) -> Masses:
    """Return masses of the three jets with the largest common pT, in events with one lepton and four jets or more.

    Of the five hardest jets; two of the three must have the mass of a W within 20 GeV.
    """
    jets = clean_jets(measured, flow, TOP_JET_PT_GEV, config.jets.eta)
    count = np.bincount(jets.event, minlength=len(measured))
    wanted = (count >= JETS_OF_TOP_EVENTS) & (leptons(measured, flow) == 1) & made_of(measured, TOP)
    begin = np.searchsorted(jets.event, np.arange(len(measured)))
    found: list[tuple[int, float]] = []
    for event in np.flatnonzero(wanted):
        own = jets.vector[begin[event] : begin[event] + min(count[event], JETS_TRIED)]
        triples = np.array(list(itertools.combinations(range(len(own)), 3)))
        sums = own[triples].sum(axis=1)
        best = own[triples[np.argmax(np.hypot(sums[:, 1], sums[:, 2]))]]
        pairs = mass_of(best[[0, 0, 1]] + best[[1, 2, 2]])
        if np.abs(pairs - W_MASS_GEV).min() <= W_WITHIN_GEV:
            found.append((int(event), float(mass_of(best.sum(axis=0)))))
    events, masses = np.array([one[0] for one in found], np.int64), np.array([one[1] for one in found], np.float64)
    return Masses(events, masses)


STUDIES: Final = (
    MassStudy(
        "z_ee",
        "Z → ee",
        "the two hardest isolated electrons of opposite charge, each with the photons around it",
        Z_MASS_GEV,
        PeakModel((66.0, 116.0), Z_MASS_GEV, 1.5, Z_WIDTH_GEV),
        two_of(ELECTRON),
    ),
    MassStudy(
        "z_mumu",
        "Z → μμ",
        "the two hardest isolated muons of opposite charge, each with the photons around it",
        Z_MASS_GEV,
        PeakModel((66.0, 116.0), Z_MASS_GEV, 1.5, Z_WIDTH_GEV),
        two_of(MUON_CODE),
    ),
    MassStudy(
        "h_gammagamma",
        "H → γγ",
        "the two hardest isolated photons",
        HIGGS_MASS_GEV,
        PeakModel((105.0, 145.0), HIGGS_MASS_GEV, 1.2),
        two_of(PHOTON),
        fits_truth=False,
    ),
    MassStudy(
        "w_qq",
        "W → qq",
        "both jets of events with exactly two jets and no lepton, of processes that make a W",
        W_MASS_GEV,
        PeakModel((40.0, 120.0), W_MASS_GEV, 7.0),
        two_jets,
    ),
    MassStudy(
        "top_qqq",
        "t → qqq",
        "the three jets of largest common pT, two of them near the W, in events with a lepton and four jets, of "
        "processes that make a top quark",
        TOP_MASS_GEV,
        PeakModel((90.0, 300.0), TOP_MASS_GEV, 15.0, tails=False, degree=3, held={SIGMA: (15.0, 5.0)}),
        three_jets,
    ),
)
