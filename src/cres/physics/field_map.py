"""The field of a map, B_z and B_ρ on a grid, as a smooth function that is free of sources.

With G(ρ², z) twice the flux function, G = ∫ B_z d(ρ²), the field is B_z = ∂G/∂(ρ²), B_ρ = −∂G/∂z / 2ρ: no sources by
construction, and the motion follows lines of constant flux. B_z is a tensor-product spline in (ρ², z) through the grid
(SciPy), of the fifth degree where the grid has enough points; B_ρ of the map is what the result is checked against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.interpolate import BSpline, make_interp_spline

from cres.physics.cyclotron import Array
from cres.physics.fields import NEAR_AXIS_M, modulus_excess_t
from cres.physics.jets import Jet

DEGREE = 5
FEWEST_POINTS = 4
SYMMETRY = 1e-12
"""A map counts as its own mirror image where it is so to this part of the background."""


@dataclass(frozen=True)
class Consistency:
    """How well the B_ρ of a map is the one that its B_z demands (div B = 0), at the points of the grid."""

    largest_t: float
    """Largest difference."""
    relative: float
    """Root mean square difference over that of B_ρ itself, or of B_z less its mean where B_ρ is smaller."""


class MapField:
    """A field from B_z (T) on the grid radius_m × axial_m; both ascend, the radius from 0.

    background_t is the field on the axis at the middle of the map. Outside of the grid the outermost polynomial goes
    on: `physics.NumericalTrap` keeps electrons inside in z; keep them inside in ρ.
    """

    def __init__(self, radius_m: Array, axial_m: Array, field_z_t: Array) -> None:
        if len(radius_m) < FEWEST_POINTS or len(axial_m) < FEWEST_POINTS or radius_m[0] != 0:
            raise ValueError("a field map needs at least 4 radii from 0 on and 4 axial places")
        self.radius_m, self.axial_m = radius_m, axial_m
        middle = float(make_interp_spline(axial_m, field_z_t[0], _degree(axial_m))((axial_m[0] + axial_m[-1]) / 2))
        self.background_t = middle
        self.largest_radius_m = float(radius_m[-1])
        self.interval_m = float(axial_m[0]), float(axial_m[-1])
        self.symmetric = _is_mirrored(axial_m, field_z_t, middle)
        coefficients, squares, places = _cells(radius_m**2, axial_m, field_z_t - middle)
        self._cells = torch.from_numpy(coefficients)
        self._squares, self._places = torch.from_numpy(squares), torch.from_numpy(places)

    def beyond_background(self, radius_m: Any, axial_m: Any) -> tuple[Any, Any, Any]:
        """Return B_z less the background, B_ρ (T), and the flux function without the background's share (T m²).

        NumPy arrays, torch tensors or jets.
        """
        square = radius_m**2 + axial_m * 0
        axial = axial_m + square * 0
        row, column = _cell(square, self._squares), _cell(axial, self._places)
        coefficients = self._cells[row, column]
        inside_s = square - _like(self._squares[row], square)
        inside_z = axial - _like(self._places[column], square)
        flux, by_square, by_axial = _polynomials(coefficients, inside_s, inside_z)
        rho = (radius_m**2 + NEAR_AXIS_M**2) ** 0.5
        return by_square, -by_axial / (2 * rho), flux / 2

    def excess_t(self, radius_m: Any, axial_m: Any) -> Any:
        """Return |B| less the background, without cancellation."""
        z, rho, _ = self.beyond_background(radius_m, axial_m)
        return modulus_excess_t(self.background_t, z, rho)

    def consistency(self, field_rho_t: Array) -> Consistency:
        """Compare B_ρ on the grid with what B_z demands."""
        radius, axial = np.meshgrid(self.radius_m, self.axial_m, indexing="ij")
        z, rho, _ = self.beyond_background(radius, axial)
        difference = rho - field_rho_t
        scale = max(_rms(field_rho_t), _rms(z - z.mean()))
        return Consistency(float(np.abs(difference).max()), _rms(difference) / max(scale, 1e-300))


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _degree(points: Array) -> int:
    return DEGREE if len(points) > DEGREE else 3


def _is_mirrored(axial_m: Array, field_t: Array, background_t: float) -> bool:
    places = np.abs(axial_m + axial_m[::-1]).max() < 1e-12 * np.ptp(axial_m)
    return bool(places and np.abs(field_t - field_t[:, ::-1]).max() < SYMMETRY * abs(background_t))


def _cells(square: Array, axial: Array, values: Array) -> tuple[Array, Array, Array]:
    """Return G's polynomial of each cell, (cells in ρ², cells in z, powers of ρ², powers of z), and lower corners."""
    along: BSpline = make_interp_spline(axial, values, _degree(axial), axis=1)
    across: BSpline = make_interp_spline(square, along.c.T, _degree(square), axis=0).antiderivative()
    # a spline in ρ² whose coefficients are those of splines in z: both to powers, one after the other
    in_square, squares = _powers(across)
    in_both, places = _powers(BSpline(along.t, np.moveaxis(in_square, -1, 0), along.k))
    return np.ascontiguousarray(in_both.transpose(3, 1, 2, 0)), squares, places


def _powers(spline: BSpline) -> tuple[Array, Array]:
    """Return the coefficients of each interval, (ascending power, interval, …), and the intervals' lower ends."""
    lower = np.unique(spline.t[spline.k : -spline.k])[:-1]
    powers = [spline(lower, nu=power) / math.factorial(power) for power in range(spline.k + 1)]
    return np.stack(powers), lower


def _value(x: Any) -> torch.Tensor:
    plain = x.value if isinstance(x, Jet) else x
    return plain.detach() if isinstance(plain, torch.Tensor) else torch.as_tensor(np.asarray(plain, dtype=np.float64))


def _cell(x: Any, corners: torch.Tensor) -> torch.Tensor:
    corners = corners.to(_value(x).device)
    index = torch.searchsorted(corners, _value(x).contiguous(), right=True) - 1
    return index.clamp(0, len(corners) - 1)


def _like(value: torch.Tensor, x: Any) -> Any:
    """Return constants as what they are reckoned with."""
    plain = x.value if isinstance(x, Jet) else x
    return value if isinstance(plain, torch.Tensor) else value.numpy()


def _polynomials(coefficients: torch.Tensor, s: Any, z: Any) -> tuple[Any, Any, Any]:
    """Return G, ∂G/∂s and ∂G/∂z of polynomials (…, powers of s, powers of z), by Horner's scheme."""
    rows, columns = coefficients.shape[-2:]
    constants = [[_like(coefficients[..., i, j], s) for j in range(columns)] for i in range(rows)]
    in_z = [_horner(constants[i], z) for i in range(rows)]
    slopes = [_horner([j * constants[i][j] for j in range(1, columns)], z) for i in range(rows)]
    by_square = _horner([i * in_z[i] for i in range(1, rows)], s)
    return _horner(in_z, s), by_square, _horner(slopes, s)


def _horner(coefficients: list[Any], x: Any) -> Any:
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = x * total + coefficient
    return total
