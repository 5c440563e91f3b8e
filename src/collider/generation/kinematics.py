"""Momenta in the words of a collider: transverse momentum, pseudorapidity, azimuth; of NumPy or awkward arrays."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

LARGEST_ETA: Final = 20.0
"""Stands for the pseudorapidity of what goes along the beam."""


class Momentum(NamedTuple):
    """Momenta px, py, pz in GeV."""

    px: Any
    py: Any
    pz: Any


def momentum(pt_gev: Any, eta: Any, phi_rad: Any) -> Momentum:
    """Return px, py, pz."""
    return Momentum(pt_gev * np.cos(phi_rad), pt_gev * np.sin(phi_rad), pt_gev * np.sinh(eta))


def transverse(px: Any, py: Any) -> Any:
    """Return the transverse momentum."""
    return np.sqrt(px**2 + py**2)


def azimuth(px: Any, py: Any) -> Any:
    """Return φ in (−π, π]."""
    return np.arctan2(py, px)


def pseudorapidity(px: Any, py: Any, pz: Any) -> Any:
    """Return η = asinh(pz/pT), at most ±20."""
    pt = transverse(px, py)
    limit = np.sinh(LARGEST_ETA)
    return np.arcsinh(np.minimum(np.maximum(pz / np.maximum(pt, 1e-12), -limit), limit))


def rapidity(pz: Any, e: Any) -> Any:
    """Return y = ln((E + pz)/(E − pz))/2; of what goes along the beam without mass as far as its digits tell."""
    return 0.5 * np.log(np.maximum(e + pz, 1e-12) / np.maximum(e - pz, 1e-12))


def energy(px: Any, py: Any, pz: Any, mass_gev: Any) -> Any:
    """Return √(p² + m²)."""
    return np.sqrt(px**2 + py**2 + pz**2 + mass_gev**2)


def phi_difference(first: Any, second: Any) -> Any:
    """Return the difference of two azimuths in [−π, π)."""
    return (first - second + np.pi) % (2 * np.pi) - np.pi


def delta_r(eta: Any, phi: Any, other_eta: Any, other_phi: Any) -> Any:
    """Return ΔR = √(Δη² + Δφ²)."""
    return np.sqrt((eta - other_eta) ** 2 + phi_difference(phi, other_phi) ** 2)


def invariant_mass(px: Any, py: Any, pz: Any, e: Any) -> Any:
    """Return √(E² − p²), 0 where rounding makes it imaginary."""
    return np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0.0))
