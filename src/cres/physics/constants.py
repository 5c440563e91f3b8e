"""Physical constants in SI units, CODATA 2022 (Mohr et al., physics.nist.gov/constants)."""

from __future__ import annotations

import math

SPEED_OF_LIGHT_M_PER_S = 299_792_458.0  # exact
ELEMENTARY_CHARGE_C = 1.602176634e-19  # exact
PLANCK_J_S = 6.62607015e-34  # exact
BOLTZMANN_J_PER_K = 1.380649e-23  # exact
ELECTRON_MASS_KG = 9.1093837139e-31
ATOMIC_MASS_KG = 1.66053906892e-27
ELECTRON_MASS_EV = 510_998.95069
VACUUM_PERMITTIVITY_F_PER_M = 8.8541878188e-12
VACUUM_PERMEABILITY_H_PER_M = 1.25663706127e-6
FINE_STRUCTURE = 7.2973525643e-3

ELECTRON_CYCLOTRON_HZ_PER_T = ELEMENTARY_CHARGE_C / (2 * math.pi * ELECTRON_MASS_KG)
"""Cyclotron frequency of an electron at rest, e/(2π m): 27.9925 GHz/T."""
