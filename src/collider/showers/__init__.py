"""Showers of electrons, photons and (simply) pions in calorimeters.

    from collider.showers import CylindricalGrid, material, shower_parameters, simulate_showers

    lead = material("Pb")
    shower_parameters([1, 10, 100], lead).mean_t           # depth of the maximum, X0
    simulate_showers([10.0] * 100, lead, grid)              # energy in the cells of a grid

The parametrisation (`parameters`, `profiles`, `simulation`) is judged by a cascade from cross sections (`cascade`).
"""

from collider.showers.cascade import Cascades, simulate_cascades
from collider.showers.grid import CartesianGrid, CylindricalGrid
from collider.showers.materials import Material, SamplingMaterial, compound, material, material_names
from collider.showers.parameters import (
    RadialParameters,
    ShowerParameters,
    Tuning,
    lowest_energy_gev,
    radial_parameters,
    shower_parameters,
)
from collider.showers.profiles import depth_containment, longitudinal_profile, mean_shower, radius_containment
from collider.showers.readout import Readout
from collider.showers.simulation import Beam, Showers, simulate_showers

__all__ = [
    "Beam",
    "CartesianGrid",
    "Cascades",
    "CylindricalGrid",
    "Material",
    "RadialParameters",
    "Readout",
    "SamplingMaterial",
    "ShowerParameters",
    "Showers",
    "Tuning",
    "compound",
    "depth_containment",
    "longitudinal_profile",
    "lowest_energy_gev",
    "material",
    "material_names",
    "mean_shower",
    "radial_parameters",
    "radius_containment",
    "shower_parameters",
    "simulate_cascades",
    "simulate_showers",
]
