"""Multiple scattering: the width of its angle, of tracker layers and of what muons cross alike."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from collider.detectors.particles import Floats

HIGHLAND_GEV: Final = 0.0136
LOGARITHM: Final = 0.038
PION_GEV: Final = 0.13957
"""Mass that a fit takes of a particle it does not know."""
GRAZING: Final = 0.02
"""Least cosine with which a layer is thought to be crossed: nothing passes more than fifty times its thickness."""


def passed_x0(thickness_x0: ArrayLike, cosine: ArrayLike) -> Floats:
    """Return the matter that is passed in a layer, in radiation lengths; cosine: of the angle to its normal."""
    return np.asarray(thickness_x0, dtype=np.float64) / np.maximum(np.abs(np.asarray(cosine)), GRAZING)


def scattering_angle(
    momentum_gev: ArrayLike, thickness_x0: ArrayLike, mass_gev: ArrayLike = PION_GEV, charge: ArrayLike = 1
) -> Floats:
    """Return the standard deviation (rad) of the angle in a plane; inputs broadcast. 0 without charge or matter.

    θ₀ = 13.6 MeV/(βcp) |q| √(x/X₀) (1 + 0.038 ln(x q²/(X₀ β²)))
    Highland; Lynch and Dahl, NIM B58 (1991) 6; Review of Particle Physics (2024), eq. 34.16
    """
    momentum = np.asarray(momentum_gev, dtype=np.float64)
    inverse_beta = np.sqrt(1 + (np.asarray(mass_gev) / momentum) ** 2)
    matter = np.asarray(thickness_x0) * (np.asarray(charge, dtype=np.float64) * inverse_beta) ** 2
    some = matter > 0
    logarithm = np.log(np.where(some, matter, 1.0))
    # the formula is made for 10⁻³ to 100 radiation lengths; for the thinnest foils it would fall below nothing
    factor = np.maximum(1 + LOGARITHM * logarithm, 0.0)
    return np.where(some, HIGHLAND_GEV / momentum * np.sqrt(np.where(some, matter, 0.0)) * factor, 0.0)
