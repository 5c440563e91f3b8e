"""What each detector saw of a candidate, as numbers of order one: a lead, and tokens of its hits, cells or segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.events import EventSlice
from collider.detectors.learning.columns import ECAL, HCAL, LEAD_WIDTH, MUON, NEIGHBOUR_WIDTH, TOKEN_WIDTH, TRACKER
from collider.detectors.learning.linking import angles, covariances, perigees
from collider.detectors.muons.config import MuonStations
from collider.detectors.particles import Floats, Integers
from collider.detectors.schema import CLUSTERS, ECAL_CELLS, HCAL_CELLS, SEGMENTS, TRACKER_HITS, TRACKS
from collider.detectors.tracking import Tracker
from collider.detectors.tracking.perigee import COT_THETA, D0, PHI, Q_OVER_PT, Z0, crossing, momentum_of
from collider.generation.kinematics import phi_difference

LARGEST_TURN: Final = 3.0
SEGMENTS_READ: Final = 8
SEGMENT_RANGE_GEV: Final = (2.0, 300.0)
"""A segment that points to the beam says no more than that the momentum is large."""
CELL_SCALES: Final = {ECAL: (0.05, 0.05), HCAL: (0.2, 0.2)}
"""Distance in η and φ, and energy in GeV, in whose units cells are told."""


@dataclass(frozen=True)
class Tokens:
    """What one detector saw of candidates.

    lead: (candidate, LEAD_WIDTH); tokens of candidate i are values[offsets[i] : offsets[i + 1]], (token, TOKEN_WIDTH).
    """

    lead: NDArray[np.float32]
    values: NDArray[np.float32]
    offsets: Integers

    @property
    def counts(self) -> Integers:
        """How many tokens each has."""
        return np.diff(self.offsets)

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return self.lead.nbytes + self.values.nbytes + self.offsets.nbytes

    def of(self, rows: Integers) -> Tokens:
        """Return those of some candidates, in their order."""
        counts = self.counts[rows]
        ends = np.cumsum(counts)
        place = np.arange(ends[-1] if len(ends) else 0) + np.repeat(self.offsets[rows] - (ends - counts), counts)
        return Tokens(self.lead[rows], self.values[place], np.concatenate([[0], ends]))

    def bare(self) -> Tokens:
        """Return the leads without tokens."""
        return Tokens(self.lead, self.values[:0], np.zeros_like(self.offsets))

    def padded(self, most: int) -> tuple[NDArray[np.float32], Integers]:
        """Return at most so many tokens of each as (candidate, most, channel), zeros behind, and their numbers."""
        counts = np.minimum(self.counts, most)
        found = np.zeros((len(counts), most, self.values.shape[1]), np.float32)
        row = np.repeat(np.arange(len(counts)), counts)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        found[row, rank] = self.values[self.offsets[row] + rank]
        return found, counts


def gathered(name: str, lead: Floats, values: Floats, owner: Integers, order: NDArray[Any], most: int) -> Tokens:
    """Return tokens of a detector by their owners, as `tokens_of` does."""
    assert lead.shape[1:] == (LEAD_WIDTH.get(name, 0),)
    assert values.shape[1:] == (TOKEN_WIDTH.get(name, NEIGHBOUR_WIDTH),)
    return tokens_of(lead, values, owner, order, most)


def tokens_of(lead: Floats, values: Floats, owner: Integers, order: NDArray[Any], most: int) -> Tokens:
    """Return tokens of their owners (token,), each owner's by `order`, at most so many; NONE owns none."""
    chosen = np.lexsort((order, owner))
    chosen = chosen[owner[chosen] >= 0]
    counts = np.bincount(owner[chosen], minlength=len(lead))
    rank = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
    chosen = chosen[rank < most]
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, most))])
    return Tokens(lead.astype(np.float32), values[chosen].astype(np.float32), offsets)


def track_momenta(part: EventSlice) -> tuple[Floats, Floats]:
    """Return momenta of tracks and their errors (track,), both in GeV, as the Kalman filter states them.

    p = √(1 + c²)/|κ| with κ = q/pT and c = cot θ; the error to first order, from the covariance of both.
    """
    parameters, covariance = perigees(part[TRACKS]), covariances(part[TRACKS])
    return momentum_of(parameters), momentum_errors(parameters, covariance)


def momentum_errors(parameters: Floats, covariance: Floats) -> Floats:
    """Return the errors of p (track,), of the five numbers (track, 5) with their covariance, to first order."""
    momentum, curvature, cot = momentum_of(parameters), parameters[:, Q_OVER_PT], parameters[:, COT_THETA]
    by_curvature, by_cot = -momentum / curvature, momentum * cot / (1 + cot**2)
    variance = (
        by_curvature**2 * covariance[:, Q_OVER_PT, Q_OVER_PT]
        + 2 * by_curvature * by_cot * covariance[:, Q_OVER_PT, COT_THETA]
        + by_cot**2 * covariance[:, COT_THETA, COT_THETA]
    )
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def tracker_tokens(part: EventSlice, tracker: Tracker, candidate: Integers, count: int) -> Tokens:
    """Return the hits of tracks, from the innermost on; candidate: (track,) of so many.

    A hit is its radius (m), z from that of the perigee (m), turn from the direction there times pT, and how far it is
    from the fitted helix in units of its error, r·φ and z, as asinh.
    """
    tracks, hits = part[TRACKS], part[TRACKER_HITS]
    parameters = perigees(tracks)
    track = hits.place(tracks, "track")
    used = np.flatnonzero(track >= 0)
    layer, own = hits["layer"][used].astype(np.int64), parameters[track[used]]
    radius = tracker.radii_mm[layer]
    expected = crossing(own, radius, tracker.field_t)
    phi, z = hits["phi_rad"][used].astype(np.float64), hits["z_mm"][used].astype(np.float64)
    sigma = np.sqrt(tracker.variances_mm2[layer])
    aside = radius * phi_difference(phi, expected.measured[:, 0] / radius)
    turn = phi_difference(phi, own[:, PHI]) / np.abs(own[:, Q_OVER_PT])
    values = np.stack(
        [
            radius / 1000,
            (z - own[:, Z0]) / 1000,
            np.clip(turn, -LARGEST_TURN, LARGEST_TURN),
            np.where(expected.reached, np.arcsinh(aside / sigma[:, 0]), 0.0),
            np.where(expected.reached, np.arcsinh((z - expected.measured[:, 1]) / sigma[:, 1]), 0.0),
        ],
        axis=1,
    )
    lead = np.zeros((count, LEAD_WIDTH[TRACKER]))
    lead[candidate] = _track_leads(part, parameters)
    return gathered(TRACKER, lead, values, candidate[track[used]], layer, len(tracker.layers))


def _track_leads(part: EventSlice, parameters: Floats) -> Floats:
    """Return p, ln σ(p)/p, ln pT, η, charge, hits/10, ln(1 + χ²/ndf), asinh d₀ over its error, z₀ (m): (track, 9)."""
    tracks = part[TRACKS]
    momentum, error = track_momenta(part)
    d0_error = np.sqrt(np.maximum(covariances(tracks)[:, D0, D0], 1e-12))
    degrees = np.maximum(2 * tracks["hits"].astype(np.float64) - 5, 1)
    columns = [
        momentum,
        np.log(np.maximum(error / momentum, 1e-6)),
        -np.log(np.abs(parameters[:, Q_OVER_PT])),
        np.arcsinh(parameters[:, COT_THETA]),
        np.sign(parameters[:, Q_OVER_PT]),
        tracks["hits"] / 10,
        np.log1p(tracks["chi2"] / degrees),
        np.arcsinh(parameters[:, D0] / d0_error),
        parameters[:, Z0] / 1000,
    ]
    return np.stack(columns, axis=1)


def calorimeter_tokens(
    part: EventSlice, detector: str, of_cluster: Integers, leading: Integers, sums: Floats, most: int
) -> Tokens:
    """Return the cells of clusters, the largest first; of_cluster: (cluster,) the candidate of each.

    leading: (candidate,) the largest cluster in this calorimeter, −1 for none. sums: (candidate, 2) energy in ECAL and
    HCAL. A cell is its distance in η and φ from that cluster, ln of its energy, the root of its share, and its depth.
    """
    clusters, cells = part[CLUSTERS], part[ECAL_CELLS if detector == ECAL else HCAL_CELLS]
    place, scale = cells.place(clusters, "cluster"), CELL_SCALES[detector]
    owner = np.where(place >= 0, np.append(of_cluster, -1)[place], -1)
    mine = np.flatnonzero(owner >= 0)
    owner = owner[mine]
    energy = np.maximum(cells["energy_gev"][mine].astype(np.float64), 0.0)
    seed = leading[owner]
    total = np.bincount(owner, energy, len(sums))
    values = np.stack(
        [
            (cells["eta"][mine] - clusters["eta"][seed]) / scale[0],
            phi_difference(cells["phi_rad"][mine], clusters["phi_rad"][seed].astype(np.float64)) / scale[0],
            np.log1p(energy / scale[1]) / 3,
            np.sqrt(energy / np.maximum(total[owner], 1e-9)),
            cells["layer"][mine],
        ],
        axis=1,
    )
    lead = _cluster_leads(part, detector, leading, sums, np.bincount(owner, minlength=len(sums)))
    return gathered(detector, lead, values, owner, -energy, most)


def _cluster_leads(part: EventSlice, detector: str, leading: Integers, sums: Floats, cells: Integers) -> Floats:
    """Return what is known of the largest cluster: (candidate, 8), zeros without any.

    The energy (of both calorimeters where it is the HCAL), ln(1 + E) of the ECAL, of the HCAL, η, ln(1 + cells), widths
    in η and φ, the share in the first depth. The ECAL is told of the HCAL what is behind its largest cluster.
    """
    clusters = part[CLUSTERS]
    there = leading >= 0
    known = {name: np.append(clusters[name], 0).astype(np.float64)[leading] for name in
             ("eta", "sigma_eta", "sigma_phi_rad", "front_share", "around_gev")}  # fmt: skip
    behind = known["around_gev"] if detector == ECAL else sums[:, 1]
    scale = CELL_SCALES[detector][0]
    columns = [
        sums[:, 0] if detector == ECAL else sums.sum(axis=1),
        np.log1p(np.maximum(sums[:, 0], 0)),
        np.log1p(np.maximum(behind, 0)),
        known["eta"],
        np.log1p(cells),
        known["sigma_eta"] / scale,
        known["sigma_phi_rad"] / scale,
        np.clip(known["front_share"], -1, 2),
    ]
    return np.stack(columns, axis=1) * there[:, None]


def muon_tokens(part: EventSlice, stations: MuonStations, field_t: float, owner: Integers, count: int) -> Tokens:
    """Return the segments of candidates, from the innermost on; owner: (segment,) the candidate, −1 for none.

    A segment is its station, whether it is at an end, its η and φ from those of the first one, the angles between where
    it is and where it points to, and its hits.
    """
    segments = part[SEGMENTS]
    position, direction = (
        np.stack([segments[form.format(axis)] for axis in "xyz"], axis=1).astype(np.float64)
        for form in ("{}_mm", "direction_{}")
    )
    (eta, phi), (eta_to, phi_to) = angles(position), angles(direction)
    station = segments["station"].astype(np.int64)
    first = _first_of(owner, station, count)
    own = np.append(first, -1)[owner]
    aside = np.sin(phi_to - phi)
    values = np.stack(
        [
            station / 3,
            np.abs(segments["end"]).astype(np.float64),
            10 * np.clip(eta - eta[own], -1, 1) if len(eta) else eta,
            10 * np.clip(phi_difference(phi, phi[own]), -1, 1) if len(phi) else phi,
            5 * np.clip(eta_to - eta, -1, 1),
            5 * aside,
            segments["hits"] / 4,
        ],
        axis=1,
    )
    lead = np.zeros((count, LEAD_WIDTH[MUON]))
    there = np.flatnonzero(first >= 0)
    begin = first[there]
    lead[there] = np.stack(
        [
            segment_momentum(position[begin], aside[begin], eta_to[begin], stations, field_t),
            eta[begin],
            np.sign(aside[begin]),
            np.bincount(owner[owner >= 0], minlength=count)[there] / 4,
            np.log1p(segments["chi2"][begin] / np.maximum(2.0 * segments["hits"][begin] - 4, 1)),
        ],
        axis=1,
    )
    return gathered(MUON, lead, values, owner, station, SEGMENTS_READ)


def segment_momentum(position_mm: Floats, sine: Floats, eta: Floats, stations: MuonStations, field_t: float) -> Floats:
    """Return momenta (segment,), GeV, from how far segments point past the beam.

    sine: of the angle between direction and radius, across the beam; eta: of the direction. A circle from the beam
    leaves the coil at R under an angle α with sin α = 0.15 B R/pT, and misses the beam from there on by
    R sin α = r sin ψ: pT = 0.15 B R²/(r sin ψ), in T, m and GeV. The iron's field is left out.
    """
    r, z = np.hypot(position_mm[:, 0], position_mm[:, 1]) / 1000, np.abs(position_mm[:, 2]) / 1000
    leaves = np.minimum(stations.coil_radius_mm / 1000, stations.coil_half_length_mm / 1000 * r / np.maximum(z, 1e-6))
    pt = 0.15 * field_t * leaves**2 / np.maximum(r * np.abs(sine), 1e-6)
    return np.clip(pt * np.cosh(np.clip(eta, -5, 5)), *SEGMENT_RANGE_GEV)


def _first_of(owner: Integers, order: Integers, count: int) -> Integers:
    """Return the first of what each owner has by an order, (owner,), −1 where it has none."""
    ranked = np.lexsort((order, owner))
    first = np.full(count, -1)
    mine = ranked[owner[ranked] >= 0][::-1]
    first[owner[mine]] = mine
    return first
