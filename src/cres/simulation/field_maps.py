"""Field maps from files: a table of B_z and B_ρ on a (ρ, z) grid, HDF5 or CSV, checked before anything moves in it."""

from __future__ import annotations

import hashlib
import warnings
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cres.errors import UserError
from cres.physics.field_map import FEWEST_POINTS, MapField

Array = NDArray[np.float64]

UNITS = {
    "rho": {"m": 1.0, "cm": 1e-2, "mm": 1e-3},
    "z": {"m": 1.0, "cm": 1e-2, "mm": 1e-3},
    "b_z": {"t": 1.0, "mt": 1e-3, "gauss": 1e-4},
    "b_rho": {"t": 1.0, "mt": 1e-3, "gauss": 1e-4},
}
"""Columns (datasets) are called quantity_unit: rho_mm, z_m, b_z_t, b_rho_gauss."""

HDF5_ENDINGS = (".h5", ".hdf5")
PLAUSIBLE_FIELD_T = (1e-3, 30.0)
INCONSISTENT, DOUBTFUL = 0.05, 0.005
"""Relative difference of B_ρ from what div B = 0 demands: refused above the first, told above the second."""


class FieldMapWarning(UserWarning):
    """A field map that is used although its B_ρ does not quite fit its B_z."""


def file_sha256(path: str | Path) -> str:
    """Return the hash of a field map's file. Raises UserError."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"the field map {path} cannot be read ({error.strerror}): name an existing file") from error


def read_field_map(path: str | Path, sha256: str = "") -> MapField:
    """Return the field of a map. Raises UserError for a file that is not a consistent map.

    The file is CSV with one row a point of the grid, or HDF5 (.h5, .hdf5) with the same columns as datasets or with
    the axes rho, z (1-D) and the fields (rho, z) as matrices. Names carry units: rho_m, z_m, b_z_t, b_rho_t (also cm,
    mm, mt, gauss). sha256: refuse a file with another content.
    """
    digest = file_sha256(path)
    if sha256 and digest != sha256:
        raise UserError(
            f"the field map {path} has changed since this configuration was made: restore it, or clear trap.map_sha256"
        )
    return _read(str(path), digest)


@lru_cache(maxsize=8)
def _read(path: str, digest: str) -> MapField:
    del digest  # a part of the key: another content is read anew
    table = _hdf5(path) if path.endswith(HDF5_ENDINGS) else _csv(path)
    radius, axial, field_z, field_rho = _grid(path, *(_column(path, table, quantity) for quantity in UNITS))
    _check_size(path, radius, axial, field_z)
    field = MapField(radius, axial, field_z)
    _check_divergence(path, field, field_rho)
    _check_minimum(path, field)
    return field


def _csv(path: str) -> dict[str, Array]:
    try:
        frame = pd.read_csv(path, comment="#", skipinitialspace=True)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"the field map {path} is not a CSV table: {' '.join(str(error).split())}") from error
    return {str(name).strip().lower(): frame[name].to_numpy() for name in frame.columns}


def _hdf5(path: str) -> dict[str, Array]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return {name.lower(): file[name][()] for name in file if isinstance(file[name], h5py.Dataset)}
    except OSError as error:
        raise UserError(f"the field map {path} is not an HDF5 file: {error}") from error


def _column(path: str, table: dict[str, Array], quantity: str) -> Array:
    """Return a quantity in SI units."""
    known = {f"{quantity}_{unit}": scale for unit, scale in UNITS[quantity].items()}
    found = [name for name in table if name in known]
    if len(found) != 1:
        have = ", ".join(table) or "nothing"
        problem = "has no column" if not found else "has more than one column"
        raise UserError(f"the field map {path} {problem} for {quantity} ({', '.join(known)}); it has {have}")
    try:
        values = np.asarray(table[found[0]], dtype=np.float64) * known[found[0]]
    except (TypeError, ValueError) as error:
        raise UserError(f"the field map {path}: column {found[0]} does not hold numbers") from error
    if not np.isfinite(values).all():
        raise UserError(
            f"the field map {path}: column {found[0]} has {int((~np.isfinite(values)).sum())} values that are missing "
            "or not finite; a map needs all points of its grid"
        )
    return values


def _grid(path: str, rho: Array, z: Array, field_z: Array, field_rho: Array) -> tuple[Array, Array, Array, Array]:
    """Return both axes, ascending, and the fields as (rho, z) matrices."""
    if field_z.ndim == 2 and field_z.shape == field_rho.shape == (rho.size, z.size):
        rho, z = (axis.ravel() for axis in np.meshgrid(rho.ravel(), z.ravel(), indexing="ij"))
    rho, z, field_z, field_rho = (values.ravel() for values in (rho, z, field_z, field_rho))
    if not rho.size == z.size == field_z.size == field_rho.size:
        raise UserError(
            f"the field map {path}: columns of {rho.size}, {z.size}, {field_z.size} and {field_rho.size} values; give "
            "one row a point, or the axes and matrices of shape (rho, z)"
        )
    # tables are written with rounded places
    radii, axials = np.unique(np.round(rho, 12)), np.unique(np.round(z, 12))
    if radii.size * axials.size != rho.size:
        raise UserError(
            f"the field map {path}: {rho.size} points do not fill a grid of {radii.size} radii × {axials.size} axial "
            "places; each radius needs each axial place once"
        )
    order = np.lexsort((np.round(z, 12), np.round(rho, 12)))
    shape = radii.size, axials.size
    sorted_rho, sorted_z = np.round(rho, 12)[order].reshape(shape), np.round(z, 12)[order].reshape(shape)
    if np.any(sorted_rho != radii[:, None]) or np.any(sorted_z != axials):
        raise UserError(f"the field map {path} is no regular grid: each radius needs each axial place once")
    return radii, axials, field_z[order].reshape(shape), field_rho[order].reshape(shape)


def _check_size(path: str, radius: Array, axial: Array, field_z: Array) -> None:
    if min(radius.size, axial.size) < FEWEST_POINTS:
        raise UserError(f"the field map {path} has a grid of {radius.size} × {axial.size}: 4 × 4 is the least")
    if radius[0] != 0:
        raise UserError(f"the field map {path} begins at rho = {radius[0]:g} m: it must begin on the axis, rho = 0")
    low, high = PLAUSIBLE_FIELD_T
    typical = float(np.median(field_z))
    if not low <= typical <= high:
        hint = "b_z must point along +z" if typical < 0 else "are the units in the names right (b_z_t, b_z_gauss)?"
        raise UserError(f"the field map {path}: b_z is {typical:g} T in the middle of its values; {hint}")


def _check_divergence(path: str, field: MapField, field_rho: Array) -> None:
    found = field.consistency(field_rho)
    what = (
        f"the field map {path}: b_rho differs from what div B = 0 demands of b_z by {found.relative:.1%} "
        f"(at most {found.largest_t:.2g} T)"
    )
    if found.relative > INCONSISTENT:
        raise UserError(f"{what}; check signs, units and the order of the points")
    if found.relative > DOUBTFUL:
        warnings.warn(f"{what}; b_z is used, and b_rho follows from it", FieldMapWarning, stacklevel=2)


def _check_minimum(path: str, field: MapField) -> None:
    """A trap needs a lowest field on the axis within the inner half of the map."""
    low, high = field.interval_m
    axial = np.linspace(low, high, 401)
    rise = field.excess_t(np.zeros_like(axial), axial)
    place = axial[100 + int(np.argmin(rise[100:301]))]
    lowest = rise[100:301].min()
    if min(rise[:100].max(), rise[301:].max()) <= lowest or place in (axial[100], axial[300]):
        raise UserError(
            f"the field map {path} holds no electrons: the lowest field on the axis must lie in the inner half of "
            f"z = {low:g} to {high:g} m, with more field on either side; extend the map or shift z"
        )


def check_reach(path: str | Path, field: MapField, largest_radius_m: float) -> None:
    """Raise UserError unless the map reaches the outermost electrons."""
    if field.largest_radius_m < largest_radius_m:
        raise UserError(
            f"the field map {path} ends at rho = {field.largest_radius_m:g} m, and electrons of the ensemble gyrate to "
            f"{largest_radius_m:.4g} m: extend the map or lower ensemble.radius_m"
        )
