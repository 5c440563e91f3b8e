"""What is simulated: material, grid, particles, read-out and their variations, typed, from YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from collider.showers.grid import CartesianGrid, CylindricalGrid, Grid
from collider.showers.materials import AnyMaterial, Material, SamplingMaterial, material
from collider.showers.parameters import Tuning, lowest_energy_gev
from collider.showers.particles import HADRONS, NAMES, pdg_codes
from collider.showers.readout import Readout
from reconstruction.configuration import Named, build
from reconstruction.errors import UserError, nearest
from reconstruction.yaml_files import read_yaml

SPECTRA: Final = ("log-uniform", "uniform", "values")
GRIDS: Final = ("cylindrical", "cartesian")

T = TypeVar("T")


@dataclass(frozen=True)
class MaterialConfig(Named):
    """A homogeneous material by name, or layers of two: passive and active with their thickness in cm.

    density, radiation_length, interaction_length: factors on those of the materials, for systematic variations;
    sampling_term: c of σ/E = c/√E, from the layers where it is not given.
    """

    name: str = ""
    passive: str = ""
    active: str = ""
    passive_thickness_cm: float = 0.0
    active_thickness_cm: float = 0.0
    sampling_term: float | None = None
    density: float = 1.0
    radiation_length: float = 1.0
    interaction_length: float = 1.0

    @classmethod
    def from_name(cls, name: str) -> MaterialConfig:
        """Return a homogeneous material."""
        return cls(name)

    def __post_init__(self) -> None:
        if bool(self.name) == bool(self.passive or self.active):
            raise UserError(
                "material wants either a name, such as PbWO4, or passive and active with passive_thickness_cm and "
                "active_thickness_cm"
            )
        for factor in ("density", "radiation_length", "interaction_length"):
            if not 0.1 <= getattr(self, factor) <= 10:
                raise UserError(f"material.{factor} is a factor around 1, not {getattr(self, factor)!r}")

    def build(self) -> AnyMaterial:
        """Return the material. Raises UserError for unknown names and impossible layers."""
        if self.name:
            return self._varied(material(self.name))
        return SamplingMaterial(
            self._varied(material(self.passive)),
            self._varied(material(self.active)),
            self.passive_thickness_cm,
            self.active_thickness_cm,
            self.sampling_term,
        )

    def _varied(self, nominal: Material) -> Material:
        # denser stuff has shorter lengths in cm; the factors on lengths come on top
        return dataclasses.replace(
            nominal,
            density_g_per_cm3=nominal.density_g_per_cm3 * self.density,
            radiation_length_cm=nominal.radiation_length_cm / self.density * self.radiation_length,
            interaction_length_cm=nominal.interaction_length_cm / self.density * self.interaction_length,
        )


@dataclass(frozen=True)
class GridConfig:
    """Cells: `layers` of `layer_x0` radiation lengths, in rings and sectors or in squares.

    cylindrical: radius_rm, edges in Molière radii, and sectors. cartesian: `cells` by `cells` squares of `cell_rm`.
    Lengths are those of the nominal material: a variation of density or lengths leaves the cells where they are.
    thickness: factor on the depth of all layers, for systematic variations.
    """

    kind: str = "cylindrical"
    layers: int = 25
    layer_x0: float = 1.0
    radius_rm: tuple[float, ...] = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5)
    sectors: int = 8
    cells: int = 9
    cell_rm: float = 0.5
    thickness: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in GRIDS:
            raise UserError(f"grid.kind is {' or '.join(GRIDS)}, not {self.kind!r}{nearest(self.kind, GRIDS)}")
        for name in ("layers", "sectors", "cells"):
            if not 1 <= getattr(self, name) <= 10_000:
                raise UserError(f"grid.{name} must be from 1 to 10000, not {getattr(self, name)!r}")
        for name in ("layer_x0", "cell_rm", "thickness"):
            if not getattr(self, name) > 0:
                raise UserError(f"grid.{name} must be more than 0, not {getattr(self, name)!r}")

    def build(self, nominal: AnyMaterial) -> Grid:
        """Return the grid, in cm."""
        layer = self.layer_x0 * nominal.radiation_length_cm * self.thickness
        depths = tuple(layer * i for i in range(self.layers + 1))
        radius = nominal.moliere_radius_cm
        if self.kind == "cylindrical":
            return CylindricalGrid(depths, tuple(radius * edge for edge in self.radius_rm), self.sectors)
        edges = tuple(radius * self.cell_rm * (i - self.cells / 2) for i in range(self.cells + 1))
        return CartesianGrid(depths, edges, edges)


@dataclass(frozen=True)
class ParticleConfig:
    """Which particles enter, with which energy, where and how.

    kinds: names with their relative frequency; energy_gev: [lowest, highest], or the energies of `spectrum: values`;
    position_spread_cm: Gaussian, in x and in y; angle_deg: largest polar angle, uniform in solid angle.
    """

    kinds: Mapping[str, float] = field(default_factory=lambda: {"electron": 0.5, "photon": 0.5})
    energy_gev: tuple[float, ...] = (1.0, 100.0)
    spectrum: str = "log-uniform"
    position_spread_cm: float = 0.0
    angle_deg: float = 0.0

    def __post_init__(self) -> None:
        pdg_codes(list(self.kinds), len(self.kinds))
        frequencies = list(self.kinds.values())
        if (
            not frequencies
            or not all(isinstance(f, int | float) and f >= 0 for f in frequencies)
            or not sum(frequencies)
        ):
            raise UserError("particles.kinds are names with frequencies of 0 or more, such as {electron: 1, photon: 1}")
        if self.spectrum not in SPECTRA:
            raise UserError(
                f"particles.spectrum is one of {', '.join(SPECTRA)}, not {self.spectrum!r}"
                f"{nearest(self.spectrum, SPECTRA)}"
            )
        energies = self.energy_gev
        if not energies or not all(np.isfinite(energy) and energy > 0 for energy in energies):
            raise UserError(f"particles.energy_gev must be positive numbers in GeV, not {list(energies)}")
        if self.spectrum != "values" and (len(energies) != 2 or energies[0] > energies[1]):
            raise UserError("particles.energy_gev is [lowest, highest]; give single energies with spectrum: values")
        if not self.position_spread_cm >= 0:
            raise UserError(f"particles.position_spread_cm must be 0 or more, not {self.position_spread_cm!r}")
        if not 0 <= self.angle_deg < 80:
            raise UserError(f"particles.angle_deg must be from 0 to less than 80, not {self.angle_deg!r}")

    @property
    def frequencies(self) -> dict[int, float]:
        """Share of each PDG code."""
        total = sum(self.kinds.values())
        codes = pdg_codes(list(self.kinds), len(self.kinds))
        return {int(code): share / total for code, share in zip(codes, self.kinds.values(), strict=True)}


@dataclass(frozen=True)
class ShowerConfig:
    """A calorimeter and what enters it. dead_material_x0: material before the front, in X0 of the calorimeter."""

    material: MaterialConfig = field(default_factory=lambda: MaterialConfig("PbWO4"))
    grid: GridConfig = field(default_factory=GridConfig)
    particles: ParticleConfig = field(default_factory=ParticleConfig)
    readout: Readout = field(default_factory=Readout)
    tuning: Tuning = field(default_factory=Tuning)
    dead_material_x0: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dead_material_x0) and self.dead_material_x0 >= 0):
            raise UserError(f"dead_material_x0 must be 0 or more, not {self.dead_material_x0!r}")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be from 0 to {2**32 - 1}, not {self.seed!r}")
        lowest = lowest_energy_gev(self.medium)
        if min(self.particles.energy_gev) < lowest:
            raise UserError(
                f"particles.energy_gev begins at {min(self.particles.energy_gev):g} GeV, where there is no shower in "
                f"{self.medium.name} yet: give {lowest:.2g} GeV or more"
            )
        if any(code in HADRONS for code in self.particles.frequencies) and not np.isfinite(
            self.medium.interaction_length_cm
        ):
            raise UserError(f"hadrons want the interaction length of {self.medium.name}, which is not known")

    @cached_property
    def medium(self) -> AnyMaterial:
        """The material."""
        return self.material.build()

    @cached_property
    def cells(self) -> Grid:
        """The grid, of the nominal material's lengths."""
        nominal = dataclasses.replace(self.material, density=1.0, radiation_length=1.0, interaction_length=1.0)
        return self.grid.build(nominal.build())

    @property
    def particle_names(self) -> list[str]:
        """Names of the particles that enter."""
        return [NAMES[code] for code, share in self.particles.frequencies.items() if share > 0]

    @classmethod
    def from_yaml(cls, path: Path) -> ShowerConfig:
        """Read a configuration. Raises UserError, with file and key, for what it cannot mean."""
        given = read_yaml(path)
        try:
            return build(cls, {} if given is None else given, "the configuration")
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return all values, as they are written into files."""
        return dataclasses.asdict(self)
