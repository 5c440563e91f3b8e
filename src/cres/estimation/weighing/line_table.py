"""The lines of an apparatus at any energy, pitch angle and radius, from a table of the forward model's own.

A weighed electron asks for the lines at hundreds of places. They are smooth there: the forward model is asked at the
nodes of a grid, splines refine it once, and between its points cubic polynomials do, in all three at once.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from cres.errors import UserError
from cres.estimation.apparatus import LARGEST_PITCH_DEG, Apparatus
from cres.estimation.placement import on_host
from cres.simulation.parameters import parameter_rows

Place = Float[Tensor, "*point"]
Array = NDArray[Any]

PITCH_NODES, RADIUS_NODES = 72, 16
ENERGY_STEP_EV = 70.0
"""Distance of energies, at most: between four of them cubic polynomials tell carriers to 1 Hz, volts to 4e-5. What
varies fastest is how strongly the cavity responds."""
FINER = 6
"""Points of the table for each node of pitch angle and radius."""
TAPS = 4
ENERGY_ROOM_EV = 1.0
INNERMOST = 0.01
"""First radius of the table over the largest; on the axis the forward model has no strength to interpolate."""


class LinesThere(NamedTuple):
    """Lines at places, after mixing, at the middle of the record; `amplitudes` with the carrier's phase taken off."""

    carrier_hz: Place
    axial_hz: Place
    chirp_hz_per_s: Place
    """By how much the carrier rises: the loss."""
    amplitudes: Complex[Tensor, "*point line"]
    """Volts."""


class LineTable:
    """Table of one apparatus over its window of energies, pitch angles and radii, on its device.

    `nodes`: of energy, pitch angle and radius, at which the forward model is asked; None: as its window wants. Raises
    UserError where the apparatus holds no electrons at one of them.
    """

    def __init__(self, apparatus: Apparatus, nodes: tuple[int, int, int] | None = None) -> None:
        low_ev, high_ev = apparatus.energies_ev
        low_deg, high_deg = apparatus.pitch_angles_deg
        nodes = nodes or (energy_nodes(low_ev, high_ev), PITCH_NODES, RADIUS_NODES)
        energies = np.linspace(low_ev - ENERGY_ROOM_EV, high_ev + ENERGY_ROOM_EV, nodes[0])
        angles = np.linspace(low_deg, min(high_deg, LARGEST_PITCH_DEG), nodes[1])
        radii = np.linspace(INNERMOST, 1.0, nodes[2]) * apparatus.largest_radius_m
        values, self.harmonics = _measured(apparatus, energies, angles, radii)
        if not np.isfinite(values).all():
            raise UserError(
                "the apparatus does not hold electrons everywhere in its window of pitch angles and radii: narrow "
                "ensemble.pitch_angle_deg or ensemble.radius_m to weigh its samples"
            )
        finer = [np.linspace(axis[0], axis[-1], FINER * (len(axis) - 1) + 1) for axis in (angles, radii)]
        refined = CubicSpline(radii, CubicSpline(angles, values, axis=1)(finer[0]), axis=2)(finer[1])
        self.axes = [torch.from_numpy(axis).to(apparatus.device) for axis in (energies, *finer)]
        self.values = torch.from_numpy(refined).flatten(0, 2).to(apparatus.device)

    def __call__(self, energy_ev: Place, pitch_angle_deg: Place, radius_m: Place) -> LinesThere:
        """Return the lines at places; beyond the table those at its edge, above 90° those of the mirrored angle."""
        shape = energy_ev.shape
        mirrored_deg = 90 - (90 - pitch_angle_deg).abs()
        places = (energy_ev.flatten(), mirrored_deg.flatten(), radius_m.flatten())
        taps = (min(len(self.axes[0]), TAPS), TAPS, TAPS)
        found = [_taps(axis, place, count) for axis, place, count in zip(self.axes, places, taps, strict=True)]
        (first, by_energy), (second, by_angle), (third, by_radius) = found
        sizes = [len(axis) for axis in self.axes]
        index = (first[:, :, None, None] * sizes[1] + second[:, None, :, None]) * sizes[2] + third[:, None, None, :]
        weight = by_energy[:, :, None, None] * by_angle[:, None, :, None] * by_radius[:, None, None, :]
        values = (weight.flatten(1)[:, None] @ self.values[index.flatten(1)])[:, 0].reshape(*shape, -1)
        lines = torch.complex(values[..., 3::2], values[..., 4::2])
        return LinesThere(values[..., 0], values[..., 1], values[..., 2], lines)


def energy_nodes(low_ev: float, high_ev: float) -> int:
    """Return the number of energies at which the forward model is asked for a window."""
    return max(TAPS, math.ceil((high_ev - low_ev + 2 * ENERGY_ROOM_EV) / ENERGY_STEP_EV) + 1)


def exact_lines(
    apparatus: Apparatus, energy_ev: Place, pitch_angle_deg: Place, radius_m: Place
) -> tuple[LinesThere, Int[Tensor, "line"]]:
    """Return the forward model's own lines at places (place,), and their harmonics: the slow twin of the table."""
    rows = parameter_rows(energy_ev, pitch_angle_deg, radius_m, device=apparatus.device)
    found = apparatus.model.lines(rows)
    carrier, axial = found.frequencies_hz(apparatus.reception.middle_s)
    first = found.amplitudes[:, found.harmonics == 0]
    turned = found.amplitudes * (first.conj() / first.abs())
    return LinesThere(carrier, axial, found.phase[:, 2] / math.pi, turned), found.harmonics


def _measured(apparatus: Apparatus, energies: Array, angles: Array, radii: Array) -> tuple[Array, Tensor]:
    """Return what the table holds, (energy, pitch, radius, value), and the harmonics of its lines."""
    grid = np.meshgrid(energies, angles, radii, indexing="ij")
    places = [torch.from_numpy(values.ravel()).to(apparatus.device) for values in grid]
    found, harmonics = exact_lines(apparatus, *places)
    volts = torch.view_as_real(found.amplitudes).flatten(1)
    values = torch.cat([torch.stack(found[:3], 1), volts], 1)
    return on_host(values).reshape(*grid[0].shape, -1), harmonics


def _taps(axis: Tensor, place: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the `count` points of an even axis around places, and Lagrange's weights, (place, tap)."""
    step = (axis[-1] - axis[0]) / (len(axis) - 1)
    at = ((place.clamp(axis[0], axis[-1]) - axis[0]) / step).double()
    first = (at.floor().long() - (count // 2 - 1)).clamp(0, len(axis) - count)
    tap = torch.arange(count, device=axis.device)
    apart = (at - first)[:, None, None] - tap
    own = torch.eye(count, dtype=torch.bool, device=axis.device)
    between = (tap[:, None] - tap).double()
    factors = torch.where(own, 1.0, apart / torch.where(own, 1.0, between))
    return first[:, None] + tap, factors.prod(-1)
