"""Jet quantities of constituents, whoever made them: simulated and drawn jets are described by the same code."""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from collider.generation.kinematics import azimuth, delta_r, invariant_mass, pseudorapidity, transverse
from collider.generation.substructure import soft_drop_mass, subjettiness
from collider.generation.wheels import wheel
from collider.jets.schema import FOUR_VECTOR, PARTICLE_COLUMNS

Numbers = NDArray[np.float64]
RADIUS: Final = 0.8
"""Of the jets of JetClass, in whose units subjettiness is given."""
COLUMN: Final = {name: place for place, name in enumerate(PARTICLE_COLUMNS)}


class ParticleArrays(Protocol):
    """Jets as arrays, such as a `JetTable`."""

    @property
    def particles(self) -> NDArray[np.float32]:
        """(jet, particle, PARTICLE_COLUMNS), the hardest first, zeros behind the last one."""
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many particles each jet has."""
        ...


class JetArrays(NamedTuple):
    """Jets as arrays: particles (jet, particle, PARTICLE_COLUMNS), the hardest first, zeros behind the last one."""

    particles: NDArray[np.float32]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, jets: ParticleArrays, rows: NDArray[Any] | None = None) -> JetArrays:
        """Return jets, or some of them by row."""
        chosen = slice(None) if rows is None else rows
        return cls(jets.particles[chosen], jets.lengths[chosen])

    def hardest(self, most: int) -> JetArrays:
        """Return jets of which no more than so many particles are left."""
        return JetArrays(self.particles[:, :most], np.minimum(self.lengths, most))

    @property
    def real(self) -> NDArray[np.bool_]:
        """Where a particle is, (jet, particle)."""
        return np.arange(self.particles.shape[1]) < self.lengths[:, None]

    def column(self, name: str) -> Numbers:
        """Return one column of the particles, (jet, particle), zero where none is."""
        return np.where(self.real, self.particles[..., COLUMN[name]].astype(np.float64), 0.0)

    @property
    def pt_gev(self) -> Numbers:
        """Transverse momentum of the particles, (jet, particle)."""
        return np.asarray(transverse(self.column("part_px"), self.column("part_py")))


def axis_quantities(jets: JetArrays) -> dict[str, Numbers]:
    """Return pT, η, φ, energy, mass and number of constituents of the sum of all that are there, by column of jets."""
    px, py, pz, energy = (jets.column(name).sum(axis=1) for name in FOUR_VECTOR)
    return {
        "jet_pt": np.asarray(transverse(px, py)),
        "jet_eta": np.asarray(pseudorapidity(px, py, pz)),
        "jet_phi": np.asarray(azimuth(px, py)),
        "jet_energy": energy,
        "jet_mass": np.asarray(invariant_mass(px, py, pz, energy)),
        "jet_nparticles": jets.lengths.astype(np.float64),
    }


def substructure_quantities(jets: JetArrays, radius: float = RADIUS) -> dict[str, Numbers]:
    """Return soft-drop mass and subjettiness, by column of jets. Raises UserError where FastJet is missing."""
    constituents = _lists(jets)
    prongs = subjettiness(constituents, radius)
    return {
        "jet_sdmass": soft_drop_mass(constituents, radius),
        **{f"jet_tau{place + 1}": tau for place, tau in enumerate(prongs.T)},
    }


def shape_quantities(jets: JetArrays) -> dict[str, Numbers]:
    """Return how the momentum is shared out: by particle, in the plane, and by kind.

    girth Σ pT ΔR / Σ pT from the axis of the sum; pt_dispersion √Σ pT² / Σ pT; shares of the pT of the three hardest,
    of charged particles, photons and leptons; share of charged particles; |d0| in its error, the mean of charged ones
    """
    pt = jets.pt_gev
    total = np.maximum(pt.sum(axis=1), 1e-9)
    axis = axis_quantities(jets)
    eta = np.asarray(pseudorapidity(*(jets.column(name) for name in FOUR_VECTOR[:3])))
    phi = np.asarray(azimuth(jets.column("part_px"), jets.column("part_py")))
    away = np.where(jets.real, delta_r(eta, phi, axis["jet_eta"][:, None], axis["jet_phi"][:, None]), 0.0)
    charged = jets.column("part_charge") != 0
    lepton = (jets.column("part_isElectron") + jets.column("part_isMuon")) > 0
    error = jets.column("part_d0err")
    displaced = np.divide(np.abs(jets.column("part_d0val")), error, out=np.zeros_like(error), where=error > 0)
    return {
        "girth": (pt * away).sum(axis=1) / total,
        "pt_dispersion": np.sqrt((pt**2).sum(axis=1)) / total,
        **{f"pt_share_{place + 1}": share for place, share in enumerate(_shares(pt, total).T)},
        "charged_share": (pt * charged).sum(axis=1) / total,
        "photon_share": (pt * jets.column("part_isPhoton")).sum(axis=1) / total,
        "lepton_share": (pt * lepton).sum(axis=1) / total,
        "charged_particles": charged.sum(axis=1) / np.maximum(jets.lengths, 1),
        "displacement": np.minimum(displaced, 20).sum(axis=1) / np.maximum(charged.sum(axis=1), 1),
    }


def _shares(pt: Numbers, total: Numbers, hardest: int = 3) -> Numbers:
    ordered = -np.sort(-pt, axis=1)[:, :hardest]
    found = np.zeros((len(pt), hardest))
    found[:, : ordered.shape[1]] = ordered / total[:, None]
    return found


def _lists(jets: JetArrays) -> Any:
    """Return the four-vectors as lists, in float64: FastJet's exclusive jets need every digit."""
    ak = wheel("awkward")
    flat = jets.particles[jets.real].astype(np.float64)
    columns = {name: flat[:, COLUMN[f"part_{name}"]] for name in ("px", "py", "pz", "energy")}
    return ak.unflatten(ak.zip(columns), jets.lengths)
