"""A batch of Pythia's events through all detectors: columns of every table, one event after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.calorimeters.clusters import NO_CLUSTER, cluster_cells
from collider.detectors.calorimeters.config import Ecal, Hcal
from collider.detectors.calorimeters.points import Deposits
from collider.detectors.calorimeters.shapes import Shapes, energy_around, shapes_of
from collider.detectors.calorimeters.showering import Shower, shower
from collider.detectors.calorimeters.signals import ReadCells, read_cells
from collider.detectors.making.config import DetectorSample
from collider.detectors.muons.hits import find_segments, measured_hits
from collider.detectors.muons.passing import arrivals
from collider.detectors.particles import Integers, Particles
from collider.detectors.schema import (
    CLUSTERS,
    ECAL_CELLS,
    HCAL_CELLS,
    MUON_HITS,
    NONE,
    OFFSETS,
    ORDER,
    PARTICLES,
    SEGMENTS,
    SIGNIFICANT_BITS,
    STEPS,
    TABLES,
    TRACKER_HITS,
    TRACKS,
)
from collider.detectors.tracking import at_beam_spot, find_tracks, simulate_hits
from collider.generation import final, pdg
from collider.generation.kinematics import azimuth, pseudorapidity
from collider.generation.pieces import Columns
from collider.generation.wheels import wheel

ORIGINS: Final = (6, 23, 24, 25)
MOST_ANCESTORS: Final = 500
PERIGEE: Final = ("q_over_pt_per_gev", "phi_rad", "cot_theta", "d0_mm", "z0_mm")


@dataclass(frozen=True)
class Rows:
    """Rows of one table for a batch of events: event (row,) not falling, and columns (row,)."""

    event: Integers
    columns: Columns


def event_columns(events: Any, event_id: Integers, sample: DetectorSample) -> Columns:
    """Return the columns of a batch of awkward events, under the names of a file: `table/column`, and one an event."""
    particles, origin, momenta = followed(events, sample)
    tables = simulated(particles, event_id, sample)
    tables[PARTICLES].columns["origin"] = origin
    columns: Columns = {"weight": events.weight.to_numpy(), **momenta}
    for name in sample.tables:
        columns |= written(name, tables[name], len(events))
    return columns


def followed(events: Any, sample: DetectorSample) -> tuple[Particles, Integers, Columns]:
    """Return the particles that are followed, where each comes from, and the momenta of what is not seen or followed.

    momenta: (event,) each, across the beam.
    """
    ak = wheel("awkward")
    everything = final(events, visible=False)
    origin = ak.unflatten(nearest_origin(events.particles), ak.num(events.particles))
    is_final = events.particles.status == 1
    flat_origin = np.asarray(ak.flatten(origin[is_final]).to_numpy())
    all_of = Particles.from_events(everything)
    seen = np.asarray(pdg.mapped(pdg.is_visible, all_of.pdg_id), dtype=bool)
    kept = seen & (all_of.pt_gev >= sample.least_pt_gev) & (np.abs(all_of.eta) <= sample.largest_eta)
    momenta = {}
    for stem, mask in (("missing", ~seen), ("beyond", seen & ~kept)):
        for axis, letter in enumerate("xy"):
            weights = np.where(mask, all_of.momentum_gev[:, axis], 0.0)
            momenta[f"{stem}_p{letter}_gev"] = np.bincount(all_of.event, weights, len(events))
    return all_of.kept(kept), flat_origin[kept], momenta


def nearest_origin(particles: Any) -> Integers:
    """Return the PDG code of the first t, Z, W or Higgs boson along the mothers of each particle, 0 where none is.

    Along first mothers: of a hadron of a string with several ends it is the first end's.
    """
    ak = wheel("awkward")
    counts = ak.num(particles).to_numpy()
    size = np.abs(np.asarray(ak.flatten(particles.pdg_id).to_numpy(), dtype=np.int64))
    mother = np.asarray(ak.flatten(particles.mother).to_numpy(), dtype=np.int64)
    mother = np.where(mother >= 0, mother + np.repeat(np.cumsum(counts) - counts, counts), -1)
    found = np.where(np.isin(size, ORIGINS), size, 0)
    at = mother.copy()
    for _ in range(MOST_ANCESTORS):
        climbing = np.flatnonzero((found == 0) & (at >= 0))
        if not len(climbing):
            break
        above = at[climbing]
        found[climbing] = np.where(np.isin(size[above], ORIGINS), size[above], 0)
        at[climbing] = mother[above]
    return found


def simulated(particles: Particles, event_id: Integers, sample: DetectorSample) -> dict[str, Rows]:
    """Return the rows of every table, from particles of a batch of events; event_id: (event,) their numbers."""
    events, parts, field_t = len(event_id), sample.calorimeters, sample.tracker.field_t
    particles = at_beam_spot(particles, sample.tracker.beam_spot, sample.seed, event_id)
    made = shower(particles, event_id, parts, field_t, sample.seed)
    random = np.random.default_rng([sample.seed, 1, events, *event_id[:1].tolist()])
    first = np.searchsorted(particles.event, np.arange(events + 1))
    calorimeters = _calorimeters(made, events, sample, first, random)
    reached = arrivals(particles, made.passage, parts, sample.muons, field_t, random)
    hits = measured_hits(reached, sample.muons, events, random)
    segments = find_segments(hits, sample.muons)
    muon_hits: Columns = {
        "station": hits.station,
        "layer": hits.layer,
        "end": hits.end,
        **_axes("{}_mm", hits.position_mm),
        "particle": within(hits.particle, hits.event, first),
    }
    lines: Columns = {
        "station": segments.station,
        "end": segments.end,
        **_axes("{}_mm", segments.position_mm),
        **_axes("direction_{}", segments.direction),
        "hits": segments.hits,
        "chi2": segments.chi2,
        "particle": within(segments.particle, segments.event, first),
        "purity": segments.purity,
    }
    return {
        PARTICLES: Rows(particles.event, _of_particles(particles, made)),
        **_tracker(particles, event_id, sample, first),
        **calorimeters,
        MUON_HITS: Rows(hits.event, muon_hits),
        SEGMENTS: Rows(segments.event, lines),
    }


def _tracker(particles: Particles, event_id: Integers, sample: DetectorSample, first: Integers) -> dict[str, Rows]:
    """Return the tracker's hits and the tracks found in them."""
    hits = simulate_hits(particles, sample.tracker, sample.seed, event_id)
    tracks = find_tracks(hits, sample.tracker, sample.finding)
    begin = np.searchsorted(tracks.event, np.arange(len(event_id) + 1))
    used, layer = np.nonzero(tracks.hit >= 0)
    track = np.full(len(hits), NONE)
    track[tracks.hit[used, layer]] = used
    ecal = sample.calorimeters.ecal
    front = tracks.helices(sample.tracker.field_t).at_cylinder(ecal.radius_mm, ecal.half_length_mm).position_mm
    triangle = np.triu_indices(5)
    found: Columns = {
        **dict(zip(PERIGEE, tracks.parameters.T, strict=True)),
        "covariance": tracks.covariance[:, triangle[0], triangle[1]],
        "ecal_eta": pseudorapidity(*front.T),
        "ecal_phi_rad": azimuth(front[:, 0], front[:, 1]),
        "hits": tracks.hits,
        "chi2": tracks.chi2,
        "particle": within(tracks.particle, tracks.event, first),
        "purity": tracks.share,
    }
    errors = np.sqrt(sample.tracker.variances_mm2)
    step_phi, step_z = _step_below(errors[:, 0] / sample.tracker.radii_mm), _step_below(errors[:, 1])
    measured: Columns = {
        "layer": hits.layer,
        "phi_rad": in_steps(hits.phi, step_phi[hits.layer]),
        "z_mm": in_steps(hits.z_mm, step_z[hits.layer]),
        "particle": within(hits.particle, hits.event, first),
        "track": within(track, hits.event, begin),
    }
    return {TRACKER_HITS: Rows(hits.event, measured), TRACKS: Rows(tracks.event, found)}


def _axes(form: str, vectors: NDArray[Any]) -> Columns:
    return {form.format(axis): vectors[:, i] for i, axis in enumerate("xyz")}


def _of_particles(particles: Particles, made: Shower) -> Columns:
    count = len(particles)
    return {
        "pdg_id": particles.pdg_id,
        "charge": particles.charge,
        **_axes("p{}_gev", particles.momentum_gev),
        "mass_gev": particles.mass_gev,
        **_axes("{}_mm", particles.vertex_mm),
        "ecal_gev": np.bincount(made.ecal.particle, made.ecal.energy_gev, count),
        "hcal_gev": np.bincount(made.hcal.particle, made.hcal.energy_gev, count),
    }


def within(place: Integers, event: Integers, first: Integers) -> Integers:
    """Return places among all rows as places among those of the same event; first: (event + 1,); NONE stays."""
    return np.where(place >= 0, place - first[event], NONE)


def _calorimeters(
    made: Shower, events: int, sample: DetectorSample, first: Integers, random: np.random.Generator
) -> dict[str, Rows]:
    """Return cells and clusters of both calorimeters; those of the ECAL come first in each event."""
    parts = sample.calorimeters
    read: list[tuple[ReadCells, Integers, Shapes]] = []
    for part, deposits in ((parts.ecal, made.ecal), (parts.hcal, made.hcal)):
        read.append(_read(part, deposits, events, sample, random))
    (ecal, ecal_label, ecal_shapes), (hcal, hcal_label, hcal_shapes) = read
    around = [
        energy_around(ecal_shapes, hcal, parts.hcal.grid),
        energy_around(hcal_shapes, ecal, parts.ecal.grid),
    ]
    ratios = _ratios(around[0], ecal_shapes.energy_gev), _ratios(hcal_shapes.energy_gev, around[1])
    event = np.concatenate([ecal_shapes.event, hcal_shapes.event])
    order = np.argsort(event, kind="stable")
    columns = {
        name: np.concatenate(pair)[order]
        for name, pair in _of_clusters(ecal_shapes, hcal_shapes, around, ratios).items()
    }
    columns["particle"] = within(columns["particle"], event[order], first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    begin = np.searchsorted(event[order], np.arange(events + 1))
    tables = {CLUSTERS: Rows(event[order], columns)}
    for name, cells, label, before in (
        (ECAL_CELLS, ecal, ecal_label, 0),
        (HCAL_CELLS, hcal, hcal_label, len(ecal_shapes)),
    ):
        of = np.where(label == NO_CLUSTER, NONE, np.append(place, NONE)[label + before])
        tables[name] = Rows(cells.event, _of_cells(cells, within(of, cells.event, begin), first))
    return tables


def _read(
    part: Ecal | Hcal, deposits: Deposits, events: int, sample: DetectorSample, random: np.random.Generator
) -> tuple[ReadCells, Integers, Shapes]:
    """Return the cells of one calorimeter, the cluster of each, and the clusters."""
    cells = read_cells(deposits, part, events, random, sample.seed)
    label = cluster_cells(cells, part.grid, part.readout.noise_gev, sample.clusters)
    return cells, label, shapes_of(cells, label, deposits, part.grid)


def _ratios(hcal_gev: NDArray[Any], ecal_gev: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(divide="ignore"):
        return np.where(ecal_gev > 0, hcal_gev / ecal_gev, np.inf)


def _of_clusters(
    ecal: Shapes, hcal: Shapes, around: list[NDArray[Any]], ratios: tuple[NDArray[Any], NDArray[Any]]
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return the columns of clusters, each for the ECAL's and for the HCAL's."""
    names = {
        **{name: name for name in ("energy_gev", "seed_gev", "cells", "eta", "front_share", "particle")},
        "phi_rad": "phi",
        "sigma_eta": "sigma_eta",
        "sigma_phi_rad": "sigma_phi",
        "particle_share": "particle_share",
    }
    return {
        "detector": (np.zeros(len(ecal), dtype=np.int8), np.ones(len(hcal), dtype=np.int8)),
        **{column: (getattr(ecal, name), getattr(hcal, name)) for column, name in names.items()},
        "around_gev": (around[0], around[1]),
        "hcal_over_ecal": ratios,
    }


def _of_cells(cells: ReadCells, cluster: Integers, first: Integers) -> Columns:
    return {
        "cell": cells.cell,
        "energy_gev": cells.energy_gev,
        "deposited_gev": cells.deposited_gev,
        "particle": within(cells.particle, cells.event, first),
        "cluster": cluster,
    }


def written(table: str, rows: Rows, events: int) -> Columns:
    """Return a table's columns as a file holds them, in its order and precision, with the offsets of so many events."""
    order = np.lexsort((*(rows.columns[name] for name in reversed(ORDER.get(table, ()))), rows.event))
    found: Columns = {f"{table}/{OFFSETS}": np.searchsorted(rows.event, np.arange(events + 1))}
    for column in TABLES[table]:
        name = f"{table}/{column.name}"
        values = rows.columns[column.name][order].astype(column.dtype)
        if name in SIGNIFICANT_BITS:
            values = rounded(values, SIGNIFICANT_BITS[name])
        elif name in STEPS:
            values = in_steps(values, STEPS[name])
        found[name] = values
    return found


def rounded(values: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Return float32 numbers, each the nearest one with so many significant bits; what is no number stays."""
    dropped = np.uint32(24 - bits)
    finite = np.isfinite(values)
    whole = np.where(finite, values, np.float32(0)).view(np.uint32)
    kept = (whole + (np.uint32(1) << (dropped - np.uint32(1)))) >> dropped << dropped
    return np.where(finite, kept.view(np.float32), values)


def in_steps(values: NDArray[Any], step: float | NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 numbers, each the nearest multiple of a power of two; what is no number stays."""
    return np.asarray((np.round(values.astype(np.float64) / step) * step).astype(np.float32))


def _step_below(error: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest powers of two that are at most an eighth of errors: rounding adds 0.13 % to their squares."""
    return np.exp2(np.floor(np.log2(error / 8)))


def joined(batches: list[Columns]) -> Columns:
    """Return the columns of several batches as one: offsets go on where those before end."""
    return {name: _joined_column(name, [batch[name] for batch in batches]) for name in batches[0]}


def _joined_column(name: str, parts: list[NDArray[Any]]) -> NDArray[Any]:
    if not name.endswith(f"/{OFFSETS}"):
        return np.concatenate(parts)
    ends = np.cumsum([0, *(part[-1] for part in parts)])
    return np.concatenate([parts[0][:1], *(part[1:] + end for part, end in zip(parts, ends, strict=False))])
