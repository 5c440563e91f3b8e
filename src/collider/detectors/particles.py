"""Particles that enter the detectors: arrays of many events, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collider.generation.wheels import wheel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Particles:
    """Particles of many events.

    event: (particle,) place of its event, from 0, not falling; pdg_id, charge (e): (particle,); momentum_gev:
    (particle, 3) px, py, pz, the beam along z; mass_gev: (particle,); vertex_mm: (particle, 3) where it was made.
    Raises ValueError for arrays of other shapes.
    """

    event: Integers
    pdg_id: Integers
    charge: Integers
    momentum_gev: Floats
    mass_gev: Floats
    vertex_mm: Floats

    def __post_init__(self) -> None:
        wanted: dict[str, tuple[int, ...]] = {field.name: (len(self.event),) for field in fields(self)}
        wanted |= {name: (len(self.event), 3) for name in ("momentum_gev", "vertex_mm")}
        wrong = next((name for name, shape in wanted.items() if getattr(self, name).shape != shape), None)
        if wrong is not None:
            raise ValueError(f"{wrong} must have the shape {wanted[wrong]}, not {getattr(self, wrong).shape}")
        if np.any(np.diff(self.event) < 0):
            raise ValueError("particles must come event by event")

    def __len__(self) -> int:
        return len(self.event)

    @classmethod
    def from_events(cls, particles: Any) -> Particles:
        """Return the particles of awkward events: a list for each event, as `collider.generation.final` gives them."""
        ak = wheel("awkward")

        def column(name: str) -> NDArray[Any]:
            return np.asarray(ak.flatten(particles[name]).to_numpy())

        def vectors(*names: str) -> Floats:
            return np.stack([column(name).astype(np.float64) for name in names], axis=1)

        counts = ak.num(particles).to_numpy()
        return cls(
            event=np.repeat(np.arange(len(counts), dtype=np.int64), counts),
            pdg_id=column("pdg_id").astype(np.int64),
            charge=column("charge").astype(np.int64),
            momentum_gev=vectors("px", "py", "pz"),
            mass_gev=column("mass").astype(np.float64),
            vertex_mm=vectors("x_mm", "y_mm", "z_mm"),
        )

    def kept(self, mask: Mask | Integers) -> Particles:
        """Return those of a mask, or at places that do not fall; events keep their places."""
        return replace(self, **{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    @property
    def p_gev(self) -> Floats:
        """Momentum."""
        return np.sqrt(np.sum(self.momentum_gev**2, axis=1))

    @property
    def pt_gev(self) -> Floats:
        """Momentum across the beam."""
        return np.hypot(self.momentum_gev[:, 0], self.momentum_gev[:, 1])

    @property
    def eta(self) -> Floats:
        """Pseudorapidity of the momentum; infinite along the beam."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.arcsinh(self.momentum_gev[:, 2] / self.pt_gev)

    @property
    def phi(self) -> Floats:
        """Azimuth of the momentum, from −π to π."""
        return np.arctan2(self.momentum_gev[:, 1], self.momentum_gev[:, 0])

    @property
    def energy_gev(self) -> Floats:
        """Energy, the mass included."""
        return np.sqrt(np.sum(self.momentum_gev**2, axis=1) + self.mass_gev**2)
