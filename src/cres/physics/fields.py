"""Magnetic fields of circular coils and of harmonic traps. Only arithmetic is used: NumPy, torch and jets all pass.

Fields are split into a uniform background and the rest: differences of 1e-10 of the field decide an axial frequency
near 90°, and they would drown in the rounding of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cres.physics.constants import VACUUM_PERMEABILITY_H_PER_M

AGM_STEPS = 6
"""Quadratic convergence: float64 to k' = 0.01, one hundredth of the coil's radius from the wire."""

NEAR_AXIS_M = 1e-7
"""Within it the off-axis forms cancel; they are continued to the axis by their leading power of the radius."""


def elliptic_ke(complement: Any) -> tuple[Any, Any]:
    """Return the complete elliptic integrals K(m) and E(m), m = 1 − k'², from the complementary modulus k'.

    Arithmetic–geometric mean (Abramowitz & Stegun 17.6): K = π/2M, E = K (1 − Σ 2ⁿ⁻¹ c_n²).
    """
    a = complement * 0 + 1.0
    b = complement
    total = (1 - complement**2) / 2
    weight = 1.0
    for _ in range(AGM_STEPS):
        a, b, c = (a + b) / 2, (a * b) ** 0.5, (a - b) / 2
        total = total + weight * c**2
        weight *= 2
    k = math.pi / 2 / a
    return k, k * (1 - total)


def coil_field(radius_m: Any, axial_m: Any, coil_radius_m: float, current_a: float) -> tuple[Any, Any, Any]:
    """Return B_z, B_ρ (T) and the flux function ρA_φ (T m²) of a circular coil at a place relative to its centre.

    With α² = (a−ρ)² + z², β² = (a+ρ)² + z², k² = 1 − α²/β², C = μ₀I/π (Simpson et al. 2001, NASA TM-2013-217919):
    B_z = C/(2α²β) [(a² − ρ² − z²)E + α²K], B_ρ = Cz/(2α²βρ) [(a² + ρ² + z²)E − α²K],
    ρA_φ = C β/4 · [(2 − k²)K − 2E].
    """
    rho = (radius_m**2 + NEAR_AXIS_M**2) ** 0.5
    share = radius_m / rho
    a, z = coil_radius_m, axial_m
    alpha2 = (a - rho) ** 2 + z**2
    beta2 = (a + rho) ** 2 + z**2
    beta = beta2**0.5
    complement2 = alpha2 / beta2
    k, e = elliptic_ke(complement2**0.5)
    c = VACUUM_PERMEABILITY_H_PER_M * current_a / math.pi
    field_z = c / (2 * alpha2 * beta) * ((a**2 - rho**2 - z**2) * e + alpha2 * k)
    field_rho = c * z / (2 * alpha2 * beta * rho) * ((a**2 + rho**2 + z**2) * e - alpha2 * k)
    flux = c * beta / 4 * ((1 + complement2) * k - 2 * e)
    return field_z, field_rho * share, flux * share**2


def modulus_excess_t(background_t: float, field_z_t: Any, field_rho_t: Any) -> Any:
    """Return |B| − B₀ of a field (B₀ + B_z, B_ρ), without cancellation."""
    added = 2 * background_t * field_z_t + field_z_t**2 + field_rho_t**2
    modulus = ((background_t + field_z_t) ** 2 + field_rho_t**2) ** 0.5
    return added / (modulus + background_t)


class CoilField:
    """Circular coils (radius_m, axial_m, current_a) around the axis on a uniform background field."""

    def __init__(self, background_t: float, coils: Sequence[Sequence[float]], gradient_t_per_m: float = 0.0) -> None:
        self.background_t = background_t
        self.coils = tuple((float(a), float(z), float(i)) for a, z, i in coils)
        self.gradient_t_per_m = gradient_t_per_m

    def beyond_background(self, radius_m: Any, axial_m: Any) -> tuple[Any, Any, Any]:
        """Return B_z less the background, B_ρ (T), and the flux function without the background's ρ²/2 share.

        A background gradient g is that of a vacuum field: B_z = g z, B_ρ = −g ρ/2.
        """
        field_z = self.gradient_t_per_m * axial_m + radius_m * 0
        field_rho = -self.gradient_t_per_m * radius_m / 2 + axial_m * 0
        flux = field_z * radius_m**2 / 2
        for coil_radius, place, current in self.coils:
            z, rho, a = coil_field(radius_m, axial_m - place, coil_radius, current)
            field_z, field_rho, flux = field_z + z, field_rho + rho, flux + a
        return field_z, field_rho, flux

    def excess_t(self, radius_m: Any, axial_m: Any) -> Any:
        """Return |B| less the background, without cancellation."""
        z, rho, _ = self.beyond_background(radius_m, axial_m)
        return modulus_excess_t(self.background_t, z, rho)


class QuadraticField:
    """The vacuum field of a harmonic trap, B_z = B₀(1 + z²/L₀² − ρ²/2L₀²), B_ρ = −B₀ρz/L₀²."""

    def __init__(self, background_t: float, gradient_length_m: float) -> None:
        self.background_t = background_t
        self.gradient_length_m = gradient_length_m

    def beyond_background(self, radius_m: Any, axial_m: Any) -> tuple[Any, Any, Any]:
        """Return B_z less the background, B_ρ (T), and the flux function without the background's share."""
        scale = self.background_t / self.gradient_length_m**2
        square = radius_m**2
        flux = scale * square * (axial_m**2 / 2 - square / 8)
        return scale * (axial_m**2 - square / 2), -scale * radius_m * axial_m, flux

    def excess_t(self, radius_m: Any, axial_m: Any) -> Any:
        """Return |B| less the background, without cancellation."""
        z, rho, _ = self.beyond_background(radius_m, axial_m)
        return modulus_excess_t(self.background_t, z, rho)


class TiltedField:
    """A field and a gradient of the background, that of a vacuum field: B_z = g z, B_ρ = −g ρ/2."""

    def __init__(self, field: Any, gradient_t_per_m: float) -> None:
        self.field = field
        self.background_t: float = field.background_t
        self.gradient_t_per_m = gradient_t_per_m

    def beyond_background(self, radius_m: Any, axial_m: Any) -> tuple[Any, Any, Any]:
        """Return B_z less the background, B_ρ (T), and the flux function without the background's share."""
        z, rho, flux = self.field.beyond_background(radius_m, axial_m)
        added = self.gradient_t_per_m * axial_m
        return z + added, rho - self.gradient_t_per_m / 2 * radius_m, flux + added * radius_m**2 / 2

    def excess_t(self, radius_m: Any, axial_m: Any) -> Any:
        """Return |B| less the background, without cancellation."""
        z, rho, _ = self.beyond_background(radius_m, axial_m)
        return modulus_excess_t(self.background_t, z, rho)
