"""Cuts and responses of the rule-based particle flow: data, from YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from collider.detectors.calorimeters.config import require_between
from collider.detectors.learning.linking import Linking
from collider.detectors.particles import Floats
from reconstruction.errors import UserError

_SMALLEST: Final = 1e-6


@dataclass(frozen=True)
class Response:
    """Energy of clusters over the true one, at some true energies; straight lines in ln E between them.

    Args:
        energy_gev: True energies, rising.
        response: Clusters over truth there, so that the energy of the clusters rises, too.

    """

    energy_gev: tuple[float, ...]
    response: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.energy_gev)
        if count < 1 or len(self.response) != count:
            raise UserError(
                f"a response is given at one energy or more: energy_gev has {count} numbers and response "
                f"{len(self.response)}"
            )
        seen = np.array(self.energy_gev) * np.array(self.response)
        if not (np.isfinite(seen).all() and (np.diff(self.energy_gev) > 0).all() and (np.diff(seen) > 0).all()):
            raise UserError("energy_gev of a response must rise, and the clusters' energy (energy_gev · response) too")
        require_between("response", {f"energy_gev[{i}]": value for i, value in enumerate(self.energy_gev)}, 1e-3, 1e6)
        require_between("response", {f"response[{i}]": value for i, value in enumerate(self.response)}, 1e-3, 10)

    def corrected(self, seen_gev: Floats) -> Floats:
        """Return true energies of what clusters hold: the response of the nearest end beyond the first and last."""
        energy, response = np.array(self.energy_gev), np.array(self.response)
        at = np.log(energy * response)
        where = np.log(np.maximum(seen_gev, _SMALLEST))
        return np.asarray(seen_gev / np.interp(where, at, response))


@dataclass(frozen=True)
class Resolution:
    """σ/E = a/√E ⊕ b/E ⊕ c of energies that were corrected, E in GeV."""

    stochastic: float
    noise_gev: float = 0.0
    constant: float = 0.0

    def __post_init__(self) -> None:
        require_between("resolution", {one.name: getattr(self, one.name) for one in fields(self)}, 0, 100)

    def of(self, energy_gev: Floats) -> Floats:
        """Return σ in GeV."""
        energy = np.maximum(energy_gev, 0.0)
        return np.sqrt(self.stochastic**2 * energy + self.noise_gev**2 + (self.constant * energy) ** 2)


@dataclass(frozen=True)
class FlowRules:
    """How tracks, clusters and segments become particles by rules.

    Args:
        linking: Which clusters and segments belong to which track. Networks are made with the same.
        ecal_distance: An ECAL cluster nearer than this ΔR to where a track enters shares its block.
        muon_stations: Stations with a segment that a track needs to be a muon.
        muon_gev: Energy in both calorimeters that a muon is expected to leave.
        lowest_electron_gev: Softest electron.
        electron_e_over_p: Smallest and largest corrected energy of an electron's clusters over its momentum.
        electron_h_over_e: Largest energy behind in the HCAL over that in the ECAL.
        largest_width: Largest width of the cluster of an electron or a photon in η and φ, √((σ_η² + σ_φ²)/2).
        photon_h_over_e: As for electrons, of photons.
        excess_sigma: From so many σ more than the tracks' momenta on, energy is of neutral particles, too.
        least_photon_gev: Softest photon.
        least_hadron_gev: Softest neutral hadron.
        photon_response: Of ECAL clusters to photons.
        hadron_response: Of the clusters in both calorimeters to hadrons.
        photon_resolution: Of corrected ECAL energies.
        hadron_resolution: Of corrected energies of hadrons.

    """

    linking: Linking = field(default_factory=Linking)
    ecal_distance: float = 0.02
    muon_stations: int = 2
    muon_gev: float = 3.0
    lowest_electron_gev: float = 2.0
    electron_e_over_p: tuple[float, float] = (0.85, 2.0)
    electron_h_over_e: float = 0.2
    largest_width: float = 0.013
    photon_h_over_e: float = 0.2
    excess_sigma: float = 0.75
    least_photon_gev: float = 0.3
    least_hadron_gev: float = 1.5
    photon_response: Response = field(
        default_factory=lambda: Response(
            (1.3, 2, 3.2, 5.3, 9.5, 20, 46, 100, 196), (0.835, 0.862, 0.891, 0.908, 0.9285, 0.948, 0.964, 0.972, 0.974)
        )
    )
    hadron_response: Response = field(
        default_factory=lambda: Response(
            (2.3, 3.25, 5.4, 9.5, 20, 46, 99, 196), (0.26, 0.462, 0.555, 0.669, 0.744, 0.801, 0.835, 0.851)
        )
    )
    photon_resolution: Resolution = field(default_factory=lambda: Resolution(0.075, 0.0, 0.006))
    hadron_resolution: Resolution = field(default_factory=lambda: Resolution(0.92, 0.0, 0.03))

    def __post_init__(self) -> None:
        for low, high, names in (
            (0, 10, ("ecal_distance", "largest_width", "electron_h_over_e", "photon_h_over_e")),
            (0, 100, ("muon_gev", "lowest_electron_gev", "excess_sigma", "least_photon_gev", "least_hadron_gev")),
            (1, 4, ("muon_stations",)),
        ):
            require_between("the flow", {name: getattr(self, name) for name in names}, low, high)
        least, most = self.electron_e_over_p
        if not 0 <= least < most < math.inf:
            raise UserError(f"electron_e_over_p is a smallest and a larger largest value, not {least:g} and {most:g}")
