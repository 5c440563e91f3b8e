"""From events to the columns of jets: found, matched to the truth, measured, in the words of JetClass."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.events import final
from collider.generation.files import padded
from collider.generation.jets import Clustering, cluster
from collider.generation.kinematics import azimuth, delta_r, phi_difference, pseudorapidity
from collider.generation.pieces import Columns
from collider.generation.smearing import ELECTRON, MUON, PHOTON, Draws, smeared
from collider.generation.substructure import soft_drop_mass, subjettiness
from collider.generation.wheels import wheel
from collider.jets.making.classes import KINDS, JetKind
from collider.jets.making.config import JetSample
from collider.jets.making.tracks import measured_impact
from collider.jets.making.truth import decayed, matched
from reconstruction.random.keyed import KeyedRandom

SAME_JET: Final = 0.4
"""Distance within which a jet of the particles is the one that was seen."""
PARTICLE_LEVEL_SHARE: Final = 0.5
"""Jets of the particles are looked for from this share of the least pT on."""
NO_JET: Final = -1


def jet_columns(
    kind: JetKind, sample: JetSample, events: Any, random: KeyedRandom
) -> tuple[Columns, NDArray[np.int64]]:
    """Return the columns of the jets of events, one an event at most, and which events they are of.

    The jet is the hardest one that holds a decay of the class, for QCD the hardest of all.
    """
    ak = wheel("awkward")
    true = final(events)
    seen = _with_impact(_massless_cells(smeared(true, sample.detector, random)), sample, random)
    low, high = sample.pt_gev
    jets = cluster(seen, Clustering("anti-kt", sample.radius, low, sample.eta))
    place, gen = _chosen(kind, sample, events, jets)
    particle_level = _particle_level(jets, place, true, sample)
    fits = np.isfinite(particle_level["jet_genmass"])
    rows = np.flatnonzero(fits)
    jet = jets[rows, place[rows]]
    rows = rows[jet.pt.to_numpy() < high]
    jet = jets[rows, place[rows]]
    constituents = seen[rows][jet.constituents]
    constituents = constituents[ak.argsort(np.hypot(constituents.px, constituents.py), axis=1, ascending=False)]
    return (
        _of_particles(jet, constituents, sample.particles)
        | _of_jets(jet, constituents, sample.radius)
        | {name: values[rows] for name, values in (particle_level | gen).items()}
        | {one.label: np.full(len(rows), one.code == kind.code, dtype=np.int8) for one in KINDS}
    ), rows


def _massless_cells(seen: Any) -> Any:
    """Return the same with the energy of neutral particles that of their momentum: cells of a calorimeter see no mass.

    A slow neutron's rapidity is 0 wherever it goes, and jets would take it up far from their axis.
    """
    ak = wheel("awkward")
    size = np.sqrt(seen.px**2 + seen.py**2 + seen.pz**2)
    return ak.with_field(seen, ak.where(seen.charge == 0, size, seen.energy), "energy")


def _with_impact(seen: Any, sample: JetSample, random: KeyedRandom) -> Any:
    ak = wheel("awkward")
    counts = ak.num(seen.px).to_numpy()
    values = measured_impact(ak.flatten(seen), sample.impact, Draws(random.scoped("impact"), counts))
    for name, column in values.items():
        seen = ak.with_field(seen, ak.unflatten(column, counts), name)
    return seen


def _chosen(kind: JetKind, sample: JetSample, events: Any, jets: Any) -> tuple[NDArray[np.int64], Columns]:
    """Return the place of each event's jet, NO_JET for none, and the particle that it holds."""
    ak = wheel("awkward")
    count = len(events)
    names = ("aux_genpart_pt", "aux_genpart_eta", "aux_genpart_phi")
    held: Columns = {name: np.zeros(count, dtype=np.float32) for name in names}
    held["aux_genpart_pid"] = np.zeros(count, dtype=np.int32)
    if not kind.resonance:
        return np.where(ak.num(jets.pt).to_numpy() > 0, 0, NO_JET), held
    decays = decayed(events, kind.resonance, kind.products)
    place, which = matched(jets, decays, sample.radius)
    of = np.flatnonzero(which >= 0)
    for name, values in zip((*names, "aux_genpart_pid"), (decays.pt, decays.eta, decays.phi, decays.code), strict=True):
        held[name][of] = values[which[of]]
    return place, held


def _particle_level(jets: Any, place: NDArray[np.int64], true: Any, sample: JetSample) -> Columns:
    """Return mass and pT of the jet of the particles themselves at the place of each seen one, NaN where is none."""
    ak = wheel("awkward")
    least = PARTICLE_LEVEL_SHARE * sample.pt_gev[0]
    others = cluster(true, Clustering("anti-kt", sample.radius, least, sample.eta + SAME_JET))
    found = np.full((2, len(place)), np.nan)
    rows = np.flatnonzero((place != NO_JET) & (ak.num(others.pt).to_numpy() > 0))
    jet, near = jets[rows, place[rows]], others[rows]
    away = delta_r(jet.eta, jet.phi, near.eta, near.phi)
    nearest = np.asarray(ak.fill_none(ak.argmin(away, axis=1), 0))
    close = np.asarray(ak.fill_none(ak.min(away, axis=1), np.inf)) < SAME_JET
    best = near[np.arange(len(rows)), nearest]
    for values, name in zip(found, ("mass", "pt"), strict=True):
        values[rows[close]] = best[name].to_numpy()[close]
    return {"jet_genmass": found[0].astype(np.float32), "jet_genpt": found[1].astype(np.float32)}


def _of_particles(jet: Any, constituents: Any, most: int) -> Columns:
    eta = pseudorapidity(constituents.px, constituents.py, constituents.pz)
    phi = azimuth(constituents.px, constituents.py)
    # JetClass turns all jets to the same side of the detector
    side = np.where(jet.eta.to_numpy() > 0, 1.0, -1.0)
    charged = constituents.charge != 0
    lepton = (constituents.identified == ELECTRON) | (constituents.identified == MUON)
    columns = {
        "part_px": constituents.px,
        "part_py": constituents.py,
        "part_pz": constituents.pz,
        "part_energy": constituents.energy,
        "part_deta": (eta - jet.eta) * side,
        "part_dphi": phi_difference(phi, jet.phi),
        "part_d0val": constituents.d0,
        "part_d0err": constituents.d0_error,
        "part_dzval": constituents.dz,
        "part_dzerr": constituents.dz_error,
        "part_charge": constituents.charge,
        "part_isChargedHadron": charged & ~lepton,
        "part_isNeutralHadron": ~charged & (constituents.identified != PHOTON),
        "part_isPhoton": constituents.identified == PHOTON,
        "part_isElectron": constituents.identified == ELECTRON,
        "part_isMuon": constituents.identified == MUON,
    }
    whole = {"part_charge"} | {name for name in columns if name.startswith("part_is")}
    return {name: padded(values, most, np.int8 if name in whole else np.float32) for name, values in columns.items()}


def _of_jets(jet: Any, constituents: Any, radius: float) -> Columns:
    ak = wheel("awkward")
    prongs = subjettiness(constituents, radius)
    numbers = {
        "jet_pt": jet.pt,
        "jet_eta": jet.eta,
        "jet_phi": jet.phi,
        "jet_energy": ak.sum(constituents.energy, axis=1),
        "jet_mass": jet.mass,
    }
    return {
        **{name: np.asarray(values.to_numpy(), dtype=np.float32) for name, values in numbers.items()},
        "jet_nparticles": ak.num(constituents.px).to_numpy().astype(np.int32),
        "jet_sdmass": soft_drop_mass(constituents, radius).astype(np.float32),
        **{f"jet_tau{place + 1}": tau.astype(np.float32) for place, tau in enumerate(prongs.T)},
    }
