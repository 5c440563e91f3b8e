"""Impact parameters of tracks: how far from the collision a particle passes, with what a detector makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collider.generation.smearing import Draws
from reconstruction.errors import UserError

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ImpactParameters:
    """Resolutions of impact parameters, in mm and mm GeV, pT in GeV, of the size that the large LHC detectors publish.

    σ(d0) = √(constant² + (per_gev/(pT √sin θ))²), σ(dz) = √(constant² + (per_gev/(pT √sin³ θ))²)
    The second terms are multiple scattering in a barrel of thin layers: by θ0 ∝ √(x/sin θ)/p, at a distance r/sin θ,
    and dz is measured along the beam.
    """

    d0_constant_mm: float = 0.010
    d0_per_gev_mm: float = 0.080
    dz_constant_mm: float = 0.020
    dz_per_gev_mm: float = 0.100

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"impact.{name} must be more than 0, not {value!r}")

    def sigma(self, pt_gev: Values, eta: Values) -> tuple[Values, Values]:
        """Return σ of d0 and dz in mm."""
        over_sine = np.cosh(eta)
        scattered = np.sqrt(over_sine) / pt_gev
        return (
            np.hypot(self.d0_constant_mm, self.d0_per_gev_mm * scattered),
            np.hypot(self.dz_constant_mm, self.dz_per_gev_mm * scattered * over_sine),
        )


def true_impact(px: Values, py: Values, pz: Values, x_mm: Values, y_mm: Values, z_mm: Values) -> tuple[Values, Values]:
    """Return d0 and dz in mm of straight lines, with the collision at the origin.

    d0 = (x py − y px)/pT, signed, and dz the z of the point that is nearest to the beam. The bending of the tracks over
    the few mm of a decay is left out.
    """
    pt2 = px**2 + py**2
    along = (x_mm * px + y_mm * py) / pt2
    return (x_mm * py - y_mm * px) / np.sqrt(pt2), z_mm - along * pz


def measured_impact(particles: Any, impact: ImpactParameters, draws: Draws) -> dict[str, Values]:
    """Return `d0`, `d0_error`, `dz`, `dz_error` in mm of all particles, one after the other; zeros for neutral ones.

    particles: flat, with momenta, vertex and charge, as many as the random numbers are of.
    """
    px, py, pz, charge = (particles[name].to_numpy() for name in ("px", "py", "pz", "charge"))
    pt = np.hypot(px, py)
    d0, dz = true_impact(px, py, pz, *(particles[name].to_numpy() for name in ("x_mm", "y_mm", "z_mm")))
    d0_error, dz_error = impact.sigma(pt, np.arcsinh(pz / pt))
    found = {
        "d0": d0 + d0_error * draws.normal("d0"),
        "d0_error": d0_error,
        "dz": dz + dz_error * draws.normal("dz"),
        "dz_error": dz_error,
    }
    return {name: np.where(charge != 0, values, 0.0) for name, values in found.items()}
