"""Figures of particle flow: jets, missing momentum, identification, efficiencies, masses, each with its interval."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.stats import beta

from collider.detectors.learning.columns import CHARGED_HADRON, CLASSES, ELECTRON, MUON_CODE, PHOTON
from collider.detectors.particles import Floats, Integers
from collider.detectors.physics.chain import NETWORK, RULES, TRUTH, Columns, FlowResults
from collider.detectors.physics.config import PhysicsConfig
from collider.detectors.physics.fits import PeakFit, fitted
from collider.detectors.physics.jets import LONELY, nearest_jets
from collider.detectors.physics.masses import STUDIES, Masses, MassStudy
from collider.detectors.physics.objects import Mask
from reconstruction.judging.measures.bootstrap import Array, Figure, Sample, bootstrapped
from reconstruction.judging.measures.separation import Told
from reconstruction.levels import CENTRAL_68

JET_EDGES_GEV: Final = (30.0, 40.0, 60.0, 80.0, 100.0)
ASKED_JETS_GEV: Final = (30.0, 100.0)
"""True pT for which a network is asked to be a tenth better than the rules."""
IDENTIFIED_FROM_GEV: Final = 10.0
IDENTIFIED_ETA: Final = 2.4
PT_EDGES_GEV: Final = (0.5, 2.0, 5.0, 10.0, 20.0, 50.0, 200.0)
ETA_EDGES: Final = (0.0, 0.9, 1.6, 2.4)
FEWEST: Final = 20
"""Rows of which a width is told."""
RESAMPLES: Final = 200


@dataclass(frozen=True)
class JetFigures:
    """Jets of a bin of true pT: true ones, the share that is found, median and relative width of pT over the true one.

    By flow; `ratio`: resolution of the network over that of the rules, on jets that both found, resamples paired.
    """

    pt_gev: tuple[float, float]
    jets: int
    found: Mapping[str, float]
    response: Mapping[str, Figure]
    resolution: Mapping[str, Figure]
    ratio: Figure | None


def jet_figures(measured: FlowResults, config: PhysicsConfig, resamples: int = RESAMPLES) -> list[JetFigures]:
    """Return figures in bins of true pT, and last of all that is asked for."""
    true = measured.jets[TRUTH]
    true = true.kept((true.lonely <= LONELY) & (np.abs(true.eta) <= config.jets.eta))
    pt = true.pt_gev
    found = {}
    for flow in measured.flows:
        jets = measured.jets[flow]
        place = nearest_jets(true, jets, config.jet_distance)
        found[flow] = np.where(place >= 0, np.append(jets.pt_gev, np.nan)[place], np.nan) / pt
    edges = [*itertools.pairwise(JET_EDGES_GEV), ASKED_JETS_GEV]
    return [
        _of_jets(pair, {flow: ratio[mask] for flow, ratio in found.items()}, true.event[mask], resamples)
        for pair in edges
        for mask in [_in(pt, pair)]
    ]


def _in(values: Floats, edges: tuple[float, float]) -> Mask:
    return np.asarray((values >= edges[0]) & (values < edges[1]))


def _of_jets(edges: tuple[float, float], found: Mapping[str, Floats], event: Integers, resamples: int) -> JetFigures:
    every = np.stack(list(found.values()))
    both = np.isfinite(every).all(axis=0)
    responses, widths = {}, {}
    for flow, values in found.items():
        figures = spread(values[both], event[both], resamples)
        responses[flow], widths[flow] = figures["median"], figures["relative"]
    ratio = widths[NETWORK].over(widths[RULES]) if NETWORK in widths else None
    shares = {
        flow: float(np.isfinite(values).mean()) if len(values) else float("nan") for flow, values in found.items()
    }
    return JetFigures(edges, every.shape[1], shares, responses, widths, ratio)


def by_events(statistics: Callable[[Array], Mapping[str, Array]], event: Integers, resamples: int) -> dict[str, Figure]:
    """Return figures of rows (row,) of events: these are resampled, since what an event holds is not independent."""
    _, place = np.unique(event, return_inverse=True)
    return bootstrapped(lambda weights: statistics(weights[:, place]), int(place.max()) + 1, resamples, 0)


def spread(values: Floats, event: Integers, resamples: int) -> dict[str, Figure]:
    """Return median, half of the central 68.27 %, and that over the median; NaN of fewer than FEWEST values."""
    if len(values) < FEWEST:
        nothing = Figure(float("nan"), np.zeros(0))
        return {"median": nothing, "width": nothing, "relative": nothing}

    def statistics(weights: Array) -> dict[str, Array]:
        sample = Sample(values, weights)
        median, width = sample.quantile(0.5), sample.sigma68()
        return {"median": median, "width": width, "relative": width / median}

    return by_events(statistics, event, resamples)


def missing_figures(measured: FlowResults, resamples: int = RESAMPLES) -> dict[str, dict[str, Figure]]:
    """Return σ68 of a component of the missing momentum (GeV) by process, `all` and flow; events are resampled.

    Against the momentum of neutrinos. What flies beyond |η| of the particles that are followed is missing in all flows,
    in that of the true particles alone.
    """
    process = measured.events["process"]
    groups = {"all": np.ones(len(measured), dtype=bool)}
    groups |= {name: process == place for place, name in enumerate(measured.processes)}
    found: dict[str, dict[str, Figure]] = {}
    for name, mask in groups.items():
        if mask.sum() < FEWEST:
            continue
        found[name] = {
            flow: _component(measured.events[flow][mask] - measured.events["missing"][mask], resamples)
            for flow in (*measured.flows, TRUTH)
        }
    return found


def _component(difference: Floats, resamples: int) -> Figure:
    """Return σ68 of both components together (event, 2)."""

    def statistics(weights: Array) -> dict[str, Array]:
        return {"width": Sample(difference.T.ravel(), np.tile(weights, 2)).sigma68()}

    return bootstrapped(statistics, len(difference), resamples, 0)["width"]


@dataclass(frozen=True)
class IdentifiedKinds:
    """Who is taken for whom by a flow: candidates above 10 GeV within |η| of 2.4 that have a truth.

    told: probabilities, of rules 0 and 1; efficiency: by class; macro: their mean.
    """

    told: Told
    efficiency: Mapping[str, Figure]
    macro: Figure


def identification(measured: FlowResults, resamples: int = RESAMPLES) -> dict[str, IdentifiedKinds]:
    """Return how each flow identifies, on the same candidates; where a network speaks of some, on those."""
    heads = measured.heads
    hard = (heads["p_gev"] >= IDENTIFIED_FROM_GEV) & (np.abs(heads["eta"]) <= IDENTIFIED_ETA)
    asked = np.isfinite(heads["probabilities"]).all(axis=1)
    if (hard & asked).any():
        hard &= asked
    codes = np.array(list(CLASSES.values()))
    found = {}
    for flow in measured.flows:
        if flow == NETWORK and not asked.any():
            continue
        said = (heads[flow][hard, None] == codes).astype(np.float64)
        chances = heads["probabilities"][hard] if flow == NETWORK else said
        found[flow] = _identified(Told.of(heads["true"][hard], codes, chances), heads["event"][hard], resamples)
    return found


def _identified(told: Told, event: Integers, resamples: int) -> IdentifiedKinds:
    present = [place for place in range(len(CLASSES)) if (told.truth == place).any()]
    right = told.right.astype(np.float64) if len(told.truth) else np.zeros(0)

    def statistics(weights: Array) -> dict[str, Array]:
        shares = {}
        for place in present:
            mine = (told.truth == place).astype(np.float64)
            total = weights @ mine
            shares[str(place)] = np.divide(
                weights @ (mine * right), total, out=np.full(len(total), np.nan), where=total > 0
            )
        macro = np.nanmean(np.stack(list(shares.values())), axis=0)
        return shares | {"macro": macro}

    if not present:
        return IdentifiedKinds(told, {}, Figure(float("nan"), np.zeros(0)))
    figures = by_events(statistics, event, resamples)
    names = list(CLASSES)
    return IdentifiedKinds(told, {names[place]: figures[str(place)] for place in present}, figures["macro"])


@dataclass(frozen=True)
class Efficiency:
    """Share of true particles that are found, by pT and |η|: counts (pT, |η|), with Clopper and Pearson's 68 %."""

    name: str
    total: Integers
    passed: Integers

    @property
    def share(self) -> Floats:
        """The share, NaN of none."""
        return np.divide(self.passed, self.total, out=np.full(self.total.shape, np.nan), where=self.total > 0)

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """Both ends of the interval."""
        return clopper_pearson(self.passed, self.total)


def clopper_pearson(passed: Integers, total: Integers, level: float = CENTRAL_68) -> tuple[Floats, Floats]:
    """Return an interval of a share that covers at least a level.    Clopper and Pearson, Biometrika 26 (1934) 404"""
    side = (1 - level) / 2
    low = np.where(passed > 0, beta.ppf(side, np.maximum(passed, 1), total - passed + 1), 0.0)
    high = np.where(passed < total, beta.ppf(1 - side, passed + 1, np.maximum(total - passed, 1)), 1.0)
    return np.where(total > 0, low, np.nan), np.where(total > 0, high, np.nan)


def efficiencies(measured: FlowResults) -> dict[str, dict[str, Efficiency]]:
    """Return efficiencies of tracks, and of particles that are found and taken for what they are, by flow.

    Tracks are of all charged particles; photons, electrons and muons of those of their kind.
    """
    particles = measured.particles
    found: dict[str, dict[str, Efficiency]] = {
        "tracks": {"tracker": _binned(particles, "tracks", particles["charge"] != 0, particles["track"])}
    }
    for name, kind in (
        ("electrons", ELECTRON),
        ("photons", PHOTON),
        ("muons", MUON_CODE),
        ("charged hadrons", CHARGED_HADRON),
    ):
        mine = particles["kind"] == kind
        found[name] = {flow: _binned(particles, name, mine, particles[flow] == kind) for flow in measured.flows}
    return found


def _binned(particles: Columns, name: str, mine: Mask, passed: Mask) -> Efficiency:
    edges = (np.array(PT_EDGES_GEV), np.array(ETA_EDGES))
    counts = [
        np.histogram2d(particles["pt_gev"][rows], np.abs(particles["eta"][rows]), bins=edges)[0].astype(np.int64)
        for rows in (mine, mine & passed)
    ]
    return Efficiency(name, *counts)


@dataclass(frozen=True)
class PeakFigures:
    """A peak of each flow: masses, fits, and against the masses of the true particles of the same events.

    shift, width: median and σ68 of (mass − true mass) in GeV, by flow.
    """

    study: MassStudy
    masses: Mapping[str, Masses]
    fits: Mapping[str, PeakFit]
    shift: Mapping[str, Figure]
    width: Mapping[str, Figure]


def mass_figures(measured: FlowResults, config: PhysicsConfig, resamples: int = RESAMPLES) -> list[PeakFigures]:
    """Return the figures of every peak."""
    return [_peak(study, measured, config, resamples) for study in STUDIES]


def _peak(study: MassStudy, measured: FlowResults, config: PhysicsConfig, resamples: int) -> PeakFigures:
    masses = {flow: study.masses(measured, flow, config) for flow in (*measured.flows, TRUTH)}
    fits = {
        flow: fitted(found.mass_gev, study.model) for flow, found in masses.items() if flow != TRUTH or study.fits_truth
    }
    shifts, widths = {}, {}
    low, high = study.model.window_gev
    for flow in measured.flows:
        own, true = masses[flow].beside(masses[TRUTH])
        inside = (true >= low) & (true <= high)
        figures = spread(own[inside] - true[inside], np.arange(inside.sum()), resamples)
        shifts[flow], widths[flow] = figures["median"], figures["width"]
    return PeakFigures(study, masses, fits, shifts, widths)


def plain(figure: Figure | None) -> dict[str, float | None] | None:
    """Return a figure with its 68 % interval in plain types."""
    if figure is None:
        return None
    ends = {"value": figure.value, "low": figure.low, "high": figure.high}
    return {name: float(value) if np.isfinite(value) else None for name, value in ends.items()}


def listed(values: Sequence[Any] | Any) -> list[Any]:
    """Return an array as nested lists, None for what is not known."""
    return [listed(one) if np.ndim(one) else (float(one) if np.isfinite(one) else None) for one in np.asarray(values)]
