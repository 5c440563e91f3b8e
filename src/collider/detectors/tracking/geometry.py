"""The tracker as data: ten cylinders in a field along z, and where collisions happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collider.detectors.helix import FIELD_T
from collider.generation.config import built
from reconstruction.errors import UserError
from reconstruction.ranges import NOT_NEGATIVE, POSITIVE, SHARE, Allowed
from reconstruction.yaml_files import read_yaml

FEWEST_LAYERS: Final = 4
"""Three hits make a seed, a fourth one a track."""


def require(what: str, checks: Sequence[tuple[str, float, Allowed]]) -> None:
    """Raise UserError for the first of named numbers that is not what it may be."""
    wrong = next(((name, value, allowed) for name, value, allowed in checks if value not in allowed), None)
    if wrong is not None:
        name, value, allowed = wrong
        raise UserError(f"{name} of {what} must be {allowed.wanted(value)}, not {value!r}")


@dataclass(frozen=True)
class TrackerLayer:
    """A cylinder of sensors around the z axis, thin where particles are scattered.

    rphi_um, z_um: errors of a hit along the circumference and along z, one standard deviation. thickness_x0: what a
    particle that crosses at right angles passes, in radiation lengths. efficiency: chance of a hit. noise_hits: mean
    number in an event that no particle made, anywhere on the cylinder.
    """

    radius_mm: float
    half_length_mm: float
    rphi_um: float
    z_um: float
    thickness_x0: float
    efficiency: float = 0.99
    noise_hits: float = 1.0

    def __post_init__(self) -> None:
        positive = ("radius_mm", "half_length_mm", "rphi_um", "z_um")
        checks = [(name, getattr(self, name), POSITIVE) for name in positive]
        checks += [(name, getattr(self, name), NOT_NEGATIVE) for name in ("thickness_x0", "noise_hits")]
        require("a layer of the tracker", [*checks, ("efficiency", self.efficiency, SHARE)])


@dataclass(frozen=True)
class BeamSpot:
    """Where collisions happen: Gaussian around the origin, standard deviations in mm."""

    x_mm: float = 0.015
    y_mm: float = 0.015
    z_mm: float = 45.0

    def __post_init__(self) -> None:
        require("the beam spot", [(part.name, getattr(self, part.name), NOT_NEGATIVE) for part in fields(self)])


def _layers() -> tuple[TrackerLayer, ...]:
    """Return four layers of pixels and six of strips, of the size and the errors of large silicon trackers."""
    pixels = [TrackerLayer(r, 1200.0, 12.0, 25.0, 0.025) for r in (30.0, 70.0, 110.0, 160.0)]
    strips = [TrackerLayer(r, 2700.0, 30.0, 300.0, 0.035) for r in (260.0, 380.0, 520.0, 690.0, 870.0, 1060.0)]
    return (*pixels, *strips)


@dataclass(frozen=True)
class Tracker:
    """Layers from the inside to the outside, the field along z (T) and the beam spot.

    Raises UserError for fewer than four layers, for layers that do not come from the inside to the outside, and for
    numbers that mean nothing.
    """

    layers: tuple[TrackerLayer, ...] = field(default_factory=_layers)
    field_t: float = FIELD_T
    beam_spot: BeamSpot = field(default_factory=BeamSpot)

    def __post_init__(self) -> None:
        require("the tracker", [("field_t", self.field_t, POSITIVE)])
        if len(self.layers) < FEWEST_LAYERS:
            raise UserError(f"a tracker needs {FEWEST_LAYERS} layers or more, not {len(self.layers)}")
        radii = [layer.radius_mm for layer in self.layers]
        place = next((i for i in range(1, len(radii)) if radii[i] <= radii[i - 1]), None)
        if place is not None:
            raise UserError(
                "layers of the tracker must come from the inside to the outside: "
                f"layer {place} ({radii[place]:g} mm) is not outside layer {place - 1} ({radii[place - 1]:g} mm)"
            )

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one number of all layers: (layer,)."""
        return np.array([getattr(layer, name) for layer in self.layers], dtype=np.float64)

    @cached_property
    def radii_mm(self) -> NDArray[np.float64]:
        """Radii: (layer,)."""
        return self.column("radius_mm")

    @cached_property
    def half_lengths_mm(self) -> NDArray[np.float64]:
        """Half lengths: (layer,)."""
        return self.column("half_length_mm")

    @cached_property
    def thickness_x0(self) -> NDArray[np.float64]:
        """Thickness at right angles, in radiation lengths: (layer,)."""
        return self.column("thickness_x0")

    @cached_property
    def variances_mm2(self) -> NDArray[np.float64]:
        """Variances of a hit along circumference and z: (layer, 2)."""
        return np.stack([self.column("rphi_um"), self.column("z_um")], axis=1) ** 2 * 1e-6

    @classmethod
    def from_yaml(cls, path: Path) -> Tracker:
        """Read a tracker; what is left out takes its default. Raises UserError, with file and key."""
        given = read_yaml(path)
        return built(cls, {} if given is None else given, "the tracker", path)
