"""Direct integration of the relativistic Lorentz force: the slow twin of every guiding-centre formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from cres.physics.constants import ELECTRON_MASS_KG, ELEMENTARY_CHARGE_C
from cres.physics.cyclotron import Array, gyroradius_m, lorentz_factor, speed_m_per_s

FieldFunction = Callable[[Array, Array], tuple[Array, Array]]
"""(radius_m, axial_m) → B_z, B_ρ in tesla."""

TURNS = 8
"""Turns in one block of the integration."""
NODES = 72
SWEEPS = 15
CLOSED = 1e-11


@dataclass(frozen=True)
class Trajectory:
    """times_s (n,); angle_rad (n, electrons), of the transverse velocity, accumulated; position_m (n, electrons, 3)."""

    times_s: Array
    angle_rad: Array
    position_m: Array


class LorentzMotion(NamedTuple):
    """A few turns of each electron at the nodes of the integration.

    times_s and weights_s (n,): Σ weight · f is the integral of f over these turns. In the transverse plane, as x + iy,
    and along the axis, (n, electrons) each.
    """

    times_s: Array
    weights_s: Array
    place_m: NDArray[np.complex128]
    axial_m: Array
    velocity_m_per_s: NDArray[np.complex128]
    axial_velocity_m_per_s: Array


def integrate_lorentz(
    field: FieldFunction,
    kinetic_energy_ev: Array,
    pitch_angle_deg: Array,
    radius_m: Array,
    duration_s: float,
    visit: Callable[[LorentzMotion], None] | None = None,
) -> Trajectory:
    """Follow electrons whose guiding centres start at (radius_m, 0, 0), upwards, the transverse velocity along +y.

    With w = v_x + iv_y turning by Ω₀ (w = u e^{iΩ₀t}), Ω = eB/γm: du/dt e^{iΩ₀t} = i(Ω_z − Ω₀)w − iΩ_⊥v_z and
    dv_z/dt = Im(Ω_⊥* w) (an electron turns in the positive sense around B). A few turns at a time are solved on
    Chebyshev nodes by Picard sweeps, which converge fast because the rest is a thousandth of Ω₀. `visit` is shown the
    motion within each of these blocks.
    """
    field_z, _ = field(radius_m, np.zeros_like(radius_m))
    per_tesla = ELEMENTARY_CHARGE_C / (ELECTRON_MASS_KG * np.asarray(lorentz_factor(kinetic_energy_ev)))
    mean = per_tesla * field_z
    nodes, integral = _nodes(TURNS * 2 * np.pi / float(mean.max()))
    turner = np.exp(1j * mean * nodes[:, None])
    speed, pitch = np.asarray(speed_m_per_s(kinetic_energy_ev)), np.deg2rad(pitch_angle_deg)
    place = radius_m + gyroradius_m(kinetic_energy_ev, pitch_angle_deg, field_z) + 0j
    across, height, upwards = 1j * speed * np.sin(pitch), 0 * speed, speed * np.cos(pitch)
    angle = 0 * speed
    times, angles, places = [0.0], [angle], [np.stack([place.real, place.imag, height], -1)]
    slow, axial = np.broadcast_to(across, turner.shape), np.broadcast_to(upwards, turner.shape)
    for block in range(int(np.ceil(duration_s / nodes[-1]))):
        # the block before is the first guess
        slow, axial = slow * (across / slow[0]), axial + (upwards - axial[0])
        for _ in range(SWEEPS):
            velocity = slow * turner
            where = place + integral @ velocity
            z = height + integral @ axial
            radius = np.abs(where)
            b_z, b_rho = field(radius, z)
            transverse = per_tesla * b_rho * where / radius
            change = 1j * ((per_tesla * b_z - mean) * velocity - transverse * axial) / turner
            new_slow = across + integral @ change
            axial = upwards + integral @ (transverse.conj() * velocity).imag
            moved = float(np.max(np.abs(new_slow - slow) / np.abs(across)))
            slow = new_slow
            if moved < CLOSED:
                break
        if visit is not None:
            visit(LorentzMotion(block * nodes[-1] + nodes, integral[-1], where, z, slow * turner, axial))
        angle = angle + mean * nodes[-1] + np.angle(slow[-1] / across)
        across, upwards, place, height = slow[-1] * turner[-1], axial[-1], where[-1], z[-1]
        times.append((block + 1) * float(nodes[-1]))
        angles.append(angle)
        places.append(np.stack([place.real, place.imag, height], -1))
    return Trajectory(np.array(times), np.array(angles), np.array(places))


def _nodes(length: float) -> tuple[Array, NDArray[np.float64]]:
    """Return Chebyshev–Lobatto nodes on [0, length] and the matrix that integrates from 0 to each node."""
    x = -np.cos(np.pi * np.arange(NODES) / (NODES - 1))
    to_series = np.linalg.inv(chebyshev.chebvander(x, NODES - 1))
    antiderivatives = np.stack([chebyshev.chebval(x, chebyshev.chebint(row, lbnd=-1)) for row in np.eye(NODES)], 1)
    return (x + 1) / 2 * length, antiderivatives @ to_series * (length / 2)
