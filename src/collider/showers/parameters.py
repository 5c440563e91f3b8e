"""The parametrisation of electromagnetic showers by Grindhammer and Peters, hep-ex/0001020, appendix A.

t is the depth in X0, r the radius in Molière radii R_M, y = E/E_c, L = ln y, τ = t/T; E in GeV.

Three values differ between public implementations; taken here:

- k₄ = 0.3585 + 0.0421 ln E, as in the fast simulation of CMSSW (`EMECALShowerParametrization.h`) and others; Geant4
  (`GVFlashHomoShowerTuning.hh`) has 0.0412. At 100 GeV and τ = 2 the tail's radius differs by 0.4 %.
- p₁ = 2.632 − 0.00094 Z, as in both; 2.623 stands in an old one.
- Spots of sampling calorimeters have coefficients of their own and multiply the sampling values:
  T(0.813 + 0.0019 Z), α(0.844 + 0.0026 Z) (A.2.5; `GFlashSamplingShowerTuning.hh` holds them). Geant4's program
  multiplies the homogeneous values by the homogeneous coefficients, CMSSW's by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collider.showers.materials import AnyMaterial, Material, SamplingMaterial
from reconstruction.errors import UserError

Values = NDArray[np.float64]

SMALLEST_ALPHA = 1.1
"""Of single showers, so that each has a maximum: Geant4's limit, reached below y ≈ 60."""
SMALLEST_DEPTH = 0.1
LARGEST_SIGMA = 0.5
"""Limits of T and of the widths of single showers near E_c, where the formulae end: those of Geant4."""


@dataclass(frozen=True)
class ShowerParameters:
    """Longitudinal parameters; each an array of the shape of the energies.

    mean_t: depth T of the mean profile's maximum, in X0; mean_alpha: its shape α. Of single showers: mean_ln_t ⟨ln T⟩,
    sigma_ln_t, mean_ln_alpha ⟨ln α⟩, sigma_ln_alpha and their correlation rho. spots: number of energy spots.
    """

    mean_t: Values
    mean_alpha: Values
    mean_ln_t: Values
    sigma_ln_t: Values
    mean_ln_alpha: Values
    sigma_ln_alpha: Values
    rho: Values
    spots: Values

    @property
    def mean_beta(self) -> Values:
        """β = (α − 1)/T of the mean profile, 1/X0."""
        return (self.mean_alpha - 1) / self.mean_t


class RadialParameters(NamedTuple):
    """Radial parameters, arrays of the broadcast shape: radii of core and tail in R_M, and the core's weight p."""

    core: Values
    tail: Values
    weight: Values


@dataclass(frozen=True)
class Tuning:
    """Factors on what a simulation believes of showers, for systematic studies; 1 changes nothing.

    critical_energy, moliere_radius: of the material; sigma_ln_t, sigma_ln_alpha: of the fluctuations; rho: of their
    correlation; core_weight: of the radial core.
    """

    critical_energy: float = 1.0
    moliere_radius: float = 1.0
    sigma_ln_t: float = 1.0
    sigma_ln_alpha: float = 1.0
    rho: float = 1.0
    core_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and (value > 0 or (name == "rho" and value >= -1))):
                raise UserError(f"tuning.{name} must be a positive factor, not {value!r}")


NOMINAL = Tuning()


def lowest_energy_gev(material: AnyMaterial) -> float:
    """Return the energy below which the formulae of single showers have no meaning.

    There T, a width or the room for α ends: L = 1.12 in a homogeneous material, later in sampling calorimeters. Raises
    UserError for layers so thick that the formulae have no meaning up to y = e^12.
    """
    log_y = np.linspace(0, 12, 2401)
    with np.errstate(all="ignore"):
        found = _formulae(log_y, material)
    widths = (found["t_width"] > 0) & (found["alpha_width"] > 0)
    good = (found["t"] > 0) & (found["mean_t"] > 0) & (found["alpha"] > 1) & (found["mean_alpha"] > 1) & widths
    if not good.any():
        raise UserError(
            f"the layers of {material.name or 'this material'} are too thick for the parametrisation: "
            f"{_layer_x0(material):.3g} X0 each; give thinner ones"
        )
    first = log_y[np.argmax(good)]
    return float(np.exp(first) * material.critical_energy_mev * 1e-3)


def shower_parameters(energy_gev: ArrayLike, material: AnyMaterial) -> ShowerParameters:
    """Return the parameters of showers of electrons in a material, with the shape of `energy_gev`.

    Homogeneous: T = L − 0.858, α = 0.21 + (0.492 + 2.38/Z) L; ⟨ln T⟩ = ln(L − 0.812), σ = 1/(−1.4 + 1.26 L);
    ⟨ln α⟩ = ln(0.81 + (0.458 + 2.26/Z) L), σ = 1/(−0.58 + 0.86 L); ρ = 0.705 − 0.023 L; N = 93 ln Z E^0.876.
    Sampling: T − 0.59/F − 0.53(1 − ê), α − 0.444/F; ⟨ln T⟩ = ln(e^⟨ln T⟩ − 0.55/F − 0.69(1 − ê)),
    σ = 1/(−2.5 + 1.25 L); ⟨ln α⟩ = ln(e^⟨ln α⟩ − 0.476/F), σ = 1/(−0.82 + 0.79 L); ρ = 0.784 − 0.023 L;
    N = 10.3/c E^0.959.                                              Grindhammer and Peters, hep-ex/0001020, app. A.

    Raises UserError for energies that are not positive or below those that the formulae are made for.
    """
    energies = checked_energies(energy_gev)
    lowest = lowest_energy_gev(checked_material(material))
    if energies.size and energies.min() < lowest:
        raise UserError(
            f"{energies.min():g} GeV is too little for a shower in {material.name or 'this material'}: the "
            f"parametrisation begins at {lowest:.3g} GeV (critical energy {material.critical_energy_mev:.3g} MeV)"
        )
    return unchecked_parameters(energies, material)


def unchecked_parameters(energies: Values, material: AnyMaterial, tuning: Tuning = NOMINAL) -> ShowerParameters:
    """Return the parameters at any energy: near E_c, where the formulae end, T, α and the widths stay at limits."""
    log_y = np.log(energies / (material.critical_energy_mev * tuning.critical_energy * 1e-3))
    with np.errstate(all="ignore"):
        found = _formulae(log_y, material)
    return ShowerParameters(
        mean_t=np.maximum(found["mean_t"], SMALLEST_DEPTH),
        mean_alpha=np.maximum(found["mean_alpha"], SMALLEST_ALPHA),
        mean_ln_t=np.log(np.maximum(found["t"], SMALLEST_DEPTH)),
        sigma_ln_t=tuning.sigma_ln_t * _width(found["t_width"]),
        mean_ln_alpha=np.log(np.maximum(found["alpha"], SMALLEST_ALPHA)),
        sigma_ln_alpha=tuning.sigma_ln_alpha * _width(found["alpha_width"]),
        rho=np.clip(tuning.rho * found["rho"], -1, 1),
        spots=spots(energies, material),
    )


def _formulae(log_y: Values, material: AnyMaterial) -> dict[str, Values]:
    """Return T and α of the mean profile and of single showers, 1/σ of their logarithms, and ρ."""
    z = material.atomic_number
    mean_t, mean_alpha = log_y - 0.858, 0.21 + (0.492 + 2.38 / z) * log_y
    t, alpha = log_y - 0.812, 0.81 + (0.458 + 2.26 / z) * log_y
    if isinstance(material, Material):
        t_width, alpha_width, rho = -1.4 + 1.26 * log_y, -0.58 + 0.86 * log_y, 0.705 - 0.023 * log_y
    else:
        per_layer, less = 1 / material.sampling_frequency, 1 - material.signal_ratio
        mean_t, mean_alpha = mean_t - 0.59 * per_layer - 0.53 * less, mean_alpha - 0.444 * per_layer
        t, alpha = t - 0.55 * per_layer - 0.69 * less, alpha - 0.476 * per_layer
        t_width, alpha_width, rho = -2.5 + 1.25 * log_y, -0.82 + 0.79 * log_y, 0.784 - 0.023 * log_y
    names = ("mean_t", "mean_alpha", "t", "alpha", "t_width", "alpha_width", "rho")
    return dict(zip(names, (mean_t, mean_alpha, t, alpha, t_width, alpha_width, rho), strict=True))


def _layer_x0(material: AnyMaterial) -> float:
    return 1 / material.sampling_frequency if isinstance(material, SamplingMaterial) else 0.0


def _width(inverse: Values) -> Values:
    return 1 / np.maximum(inverse, 1 / LARGEST_SIGMA)


def spots(energies: Values, material: AnyMaterial) -> Values:
    """Return the number of energy spots of a shower."""
    if isinstance(material, SamplingMaterial):
        return 10.3 / material.resolution_term * energies**0.959
    return 93 * np.log(max(material.atomic_number, 2.0)) * energies**0.876


def spot_profile(t: Any, alpha: Any, material: AnyMaterial) -> tuple[Any, Any]:
    """Return T and α of the spots' own longitudinal profile, from those of the energy."""
    z = material.atomic_number
    if isinstance(material, SamplingMaterial):
        return t * (0.813 + 0.0019 * z), alpha * (0.844 + 0.0026 * z)
    return t * (0.698 + 0.00212 * z), alpha * (0.639 + 0.00334 * z)


def radial_parameters(tau: ArrayLike, energy_gev: ArrayLike, material: AnyMaterial) -> RadialParameters:
    """Return radii of core and tail, in R_M, and the core's weight at the relative depth τ = t/T; they broadcast.

    f(r) = p 2rR_C²/(r² + R_C²)² + (1 − p) 2rR_T²/(r² + R_T²)²
    R_C = z₁ + z₂ τ, R_T = k₁(e^{k₃(τ − k₂)} + e^{k₄(τ − k₂)}), p = p₁ exp(u − e^u), u = (p₂ − τ)/p₃, in [0, 1].
    Sampling adds to R_C −0.0203(1 − ê) + 0.0397 e^{−τ}/F, to R_T −0.14(1 − ê) − 0.495 e^{−τ}/F, to p
    (1 − ê)(0.348 − 0.642 e^{−(τ−1)²}/F).                            Grindhammer and Peters, hep-ex/0001020, app. A.

    Raises UserError for energies that are not positive and depths that are negative.
    """
    energies, depths = together(checked_energies(energy_gev), tau, "tau")
    if not (np.isfinite(depths).all() and (depths >= 0).all()):
        raise UserError("tau, the depth over that of the maximum, must be 0 or more")
    core, tail, weight = unchecked_radial(depths, np.log(energies), checked_material(material), np)
    return RadialParameters(core, tail, np.clip(weight, 0, 1))


def together(energies: Values, other: ArrayLike, what: str) -> tuple[Values, Values]:
    """Return energies and other numbers, broadcast. Raises UserError for what is no number, or of no common shape."""
    try:
        values = np.asarray(other, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{what} must be numbers, not {other!r}") from None
    try:
        first, second = np.broadcast_arrays(energies, values)
    except ValueError:
        raise UserError(
            f"{what} and energy_gev do not broadcast: their shapes are {values.shape} and {energies.shape}"
        ) from None
    return first, second


def unchecked_radial(tau: Any, log_energy: Any, material: AnyMaterial, xp: Any) -> tuple[Any, Any, Any]:
    """Return R_C, R_T and p (not yet clipped) of arrays of NumPy or torch; `xp` is the module they are of."""
    z = material.atomic_number
    core = 0.0251 + 0.00319 * log_energy + (0.1162 - 0.000381 * z) * tau
    rise = (0.3585 + 0.0421 * log_energy) * (tau - 0.645)
    tail = (0.659 - 0.00309 * z) * (xp.exp(-2.59 * (tau - 0.645)) + xp.exp(rise))
    u = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log_energy)
    weight = (2.632 - 0.00094 * z) * xp.exp(u - xp.exp(u))
    if isinstance(material, SamplingMaterial):
        per_layer, less = 1 / material.sampling_frequency, 1 - material.signal_ratio
        core = core - 0.0203 * less + 0.0397 * per_layer * xp.exp(-tau)
        tail = tail - 0.14 * less - 0.495 * per_layer * xp.exp(-tau)
        weight = weight + less * (0.348 - 0.642 * per_layer * xp.exp(-((tau - 1) ** 2)))
    return core, tail, weight


def checked_energies(energy_gev: ArrayLike) -> Values:
    """Return energies in GeV as float64. Raises UserError for what is no positive number."""
    try:
        energies = np.asarray(energy_gev, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"energy_gev must be numbers in GeV, not {energy_gev!r}") from None
    if not (np.isfinite(energies) & (energies > 0)).all():
        bad = energies[~(np.isfinite(energies) & (energies > 0))]
        raise UserError(f"energy_gev must be positive, in GeV; {bad.size} of {energies.size} are not: {bad.flat[0]:g}")
    return energies


def checked_material(material: AnyMaterial) -> AnyMaterial:
    """Return a material. Raises UserError for anything else, such as a name."""
    if not isinstance(material, Material | SamplingMaterial):
        raise UserError(
            f"{material!r} is no material: take collider.showers.material('Pb'), Material or SamplingMaterial"
        )
    return material
