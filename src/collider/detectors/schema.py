"""Columns of event files: tables of which each event has any number of rows, and what is one number an event.

A file has a group a table, with one dataset a column, all rows of all events one after the other, and `offsets`
(event + 1,): the rows of event i are offsets[i] to offsets[i + 1]. A number that names a row of another table is its
place among the rows of the same event, −1 for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

from reconstruction.system import Column

OFFSETS: Final = "offsets"
PARTICLES, TRACKER_HITS, TRACKS = "particles", "tracker_hits", "tracks"
ECAL_CELLS, HCAL_CELLS, CLUSTERS = "ecal_cells", "hcal_cells", "clusters"
MUON_HITS, SEGMENTS = "muon_hits", "segments"
T = TypeVar("T")
NONE: Final = -1
"""In place of a row of another table."""
_FAR: Final = 2e4
_ROWS: Final = 1e6


def _vector(stem: str, unit: str, limit: float, meaning: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{stem}{axis}_{unit.lower()}", unit, "float32", -limit, limit, meaning, f"{meaning}, {axis}")
        for axis in "xyz"
    )


def _direction(meaning: str) -> tuple[Column, ...]:
    return tuple(Column(f"direction_{axis}", "", "float32", -1.0, 1.0, meaning, f"{meaning}, {axis}") for axis in "xyz")


def _gev(name: str, meaning: str) -> Column:
    return Column(name, "GeV", "float32", -1e5, 1e5, meaning, meaning)


def _row(name: str, meaning: str) -> Column:
    return Column(name, "", "int16", -1.0, _ROWS, meaning, meaning)


_PARTICLE: Final = _row("particle", "row of the particle that it is of, −1 for noise")
_ETA = Column("eta", "", "float32", -10.0, 10.0, "pseudorapidity", "η")
_PHI = Column("phi_rad", "rad", "float32", -4.0, 4.0, "azimuth", "φ")
_CELLS: Final = (
    Column("cell", "", "int32", 0.0, 1e9, "number of the cell: (layer · rings + ring) · sectors + sector", "cell"),
    _gev("energy_gev", "energy as read"),
    _gev("deposited_gev", "what all particles left there, before any electronics"),
    _row("particle", "row of the particle that left most, −1 for noise"),
    _row("cluster", "row of its cluster, −1 for none"),
)
_SIGNED = Column("end", "", "int8", -1.0, 1.0, "−1, 0, 1: end at negative z, barrel, end at positive z", "end")
_STATION = Column("station", "", "int8", 0.0, 3.0, "station, from the innermost on", "station")

EVENT_COLUMNS: Final = (
    Column("event_id", "", "int64", -(2.0**63), 2.0**63, "identity, unlike in all files", "event"),
    Column("process", "", "int8", 0.0, 127.0, "place of the process in the attribute `processes`", "process"),
    Column("weight", "", "float64", -1e12, 1e12, "weight of the generator", "weight"),
    _gev("missing_px_gev", "momentum of all that nobody sees, x"),
    _gev("missing_py_gev", "momentum of all that nobody sees, y"),
    _gev("beyond_px_gev", "momentum of visible particles that are not followed, x"),
    _gev("beyond_py_gev", "momentum of visible particles that are not followed, y"),
)
"""One number an event."""
TABLES: Final[dict[str, tuple[Column, ...]]] = {
    PARTICLES: (
        Column("pdg_id", "", "int32", -3e9, 3e9, "PDG code", "particle"),
        Column("charge", "", "int8", -100.0, 100.0, "charge in e", "charge"),
        *_vector("p", "GeV", 1e5, "momentum"),
        Column("mass_gev", "GeV", "float32", -1.0, 1e5, "mass", "mass"),
        *_vector("", "mm", _FAR, "where it was made"),
        Column("origin", "", "int8", 0.0, 100.0, "PDG code of the nearest t, Z, W, H before it, 0 for none", "origin"),
        _gev("ecal_gev", "what it left in ECAL cells, on the scale of electrons"),
        _gev("hcal_gev", "what it left in HCAL cells, on the scale of electrons"),
    ),
    TRACKER_HITS: (
        Column("layer", "", "int8", 0.0, 100.0, "layer, from the innermost on", "layer"),
        _PHI,
        Column("z_mm", "mm", "float32", -_FAR, _FAR, "place along the beam", "z"),
        _PARTICLE,
        _row("track", "row of the track that uses it, −1 for none"),
    ),
    TRACKS: (
        Column("q_over_pt_per_gev", "1/GeV", "float32", -1e3, 1e3, "charge over pT at the perigee", "q/pT"),
        _PHI,
        Column("cot_theta", "", "float32", -1e3, 1e3, "cot θ of the direction", "cot θ"),
        Column("d0_mm", "mm", "float32", -_FAR, _FAR, "transverse impact parameter", "d0"),
        Column("z0_mm", "mm", "float32", -_FAR, _FAR, "longitudinal impact parameter", "z0"),
        Column("covariance", "", "float32", -1e12, 1e12, "of these five, its 15 numbers by row", "covariance"),
        Column("ecal_eta", "", "float32", -10.0, 10.0, "η where it enters the ECAL, NaN for never", "η at ECAL"),
        Column("ecal_phi_rad", "rad", "float32", -4.0, 4.0, "φ there", "φ at ECAL"),
        Column("hits", "", "int16", 3.0, 1e4, "how many hits it has", "hits"),
        Column("chi2", "", "float32", 0.0, 1e12, "χ² with 2 · hits − 5 degrees of freedom", "χ²"),
        _PARTICLE,
        Column("purity", "", "float32", 0.0, 1.0, "share of that particle's hits", "purity"),
    ),
    ECAL_CELLS: _CELLS,
    HCAL_CELLS: _CELLS,
    CLUSTERS: (
        Column("detector", "", "int8", 0.0, 1.0, "0: of ECAL cells, 1: of HCAL cells", "detector"),
        _gev("energy_gev", "sum of its cells"),
        _gev("seed_gev", "energy of its largest cell"),
        Column("cells", "", "int32", 1.0, 1e7, "how many cells it has", "cells"),
        _ETA,
        _PHI,
        Column("sigma_eta", "", "float32", 0.0, 10.0, "width in η", "width in η"),
        Column("sigma_phi_rad", "rad", "float32", 0.0, 10.0, "width in φ", "width in φ"),
        Column("front_share", "", "float32", -10.0, 10.0, "share of its energy in the first depth", "first depth"),
        _gev("around_gev", "energy of the other calorimeter's cells within ΔR = 0.15"),
        Column("hcal_over_ecal", "", "float32", 0.0, 1e9, "E_HCAL/E_ECAL there, infinite without ECAL", "E_H/E_E"),
        _row("particle", "row of the particle that left most, −1 for noise"),
        Column("particle_share", "", "float32", 0.0, 1.0, "its share of what all left there", "share"),
    ),
    MUON_HITS: (_STATION, Column("layer", "", "int8", 0.0, 100.0, "layer of the station", "layer"), _SIGNED,
                *_vector("", "mm", _FAR, "place"), _PARTICLE),
    SEGMENTS: (
        _STATION,
        _SIGNED,
        *_vector("", "mm", _FAR, "place of its middle"),
        *_direction("direction outward"),
        Column("hits", "", "int16", 2.0, 1e4, "how many hits it has", "hits"),
        Column("chi2", "", "float32", 0.0, 1e12, "χ² with 2 · hits − 4 degrees of freedom", "χ²"),
        _PARTICLE,
        Column("purity", "", "float32", 0.0, 1.0, "share of that particle's hits", "purity"),
    ),
}  # fmt: skip
"""The columns of each table."""


def _each(tables: Sequence[str], names: Sequence[str], value: T) -> dict[str, T]:
    return {f"{table}/{name}": value for table in tables for name in names}


SIGNIFICANT_BITS: Final = {
    **_each((PARTICLES,), ("px_gev", "py_gev", "pz_gev"), 16),
    **_each((PARTICLES,), ("ecal_gev", "hcal_gev"), 10),
    **_each((TRACKS,), ("covariance",), 16),
    **_each((TRACKS, SEGMENTS), ("chi2", "purity"), 10),
    **_each((ECAL_CELLS, HCAL_CELLS), ("energy_gev", "deposited_gev"), 10),
    **_each((CLUSTERS,), ("energy_gev",), 12),
    **_each(
        (CLUSTERS,),
        ("seed_gev", "sigma_eta", "sigma_phi_rad", "front_share", "around_gev", "hcal_over_ecal", "particle_share"),
        10,
    ),
}
"""How many bits of a column are kept: 10 are a relative error of at most 10⁻³, 12 of 2·10⁻⁴, 16 of 2·10⁻⁵.

What is left out is far below the error of what is stored, and is noise that nothing compresses. With fewer bits the
smallest eigenvalues of covariances would be wrong, here and there negative.
"""
STEPS: Final = {
    **_each((PARTICLES,), ("x_mm", "y_mm", "z_mm"), 2.0**-12),
    **_each((TRACKS,), ("ecal_eta", "ecal_phi_rad"), 2.0**-16),
    **_each((CLUSTERS,), ("eta", "phi_rad"), 2.0**-16),
}
"""Columns that are stored in steps, for the same reason; 1.5·10⁻⁵ is a hundredth of what calorimeters resolve.

Hits of the tracker are, too, in steps of at most an eighth of their error.
"""
ORDER: Final = {
    TRACKER_HITS: ("track", "layer", "phi_rad"),
    ECAL_CELLS: ("cluster", "cell"),
    HCAL_CELLS: ("cluster", "cell"),
}
"""By what the rows of an event are sorted: what belongs together stands together, and needs less disk.

The truth is no part of it: what stands where would tell a network who made it.
"""
