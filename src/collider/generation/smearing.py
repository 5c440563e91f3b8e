"""What a detector makes of particles: resolutions, efficiencies and acceptance as data, one particle at a time.

The numbers that come along are of the size that the large detectors of the LHC publish (tracks in 3.8 T, crystals, a
sampling hadron calorimeter); they model none of them, and are to be replaced by a file of your own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from collider.generation.kinematics import azimuth, energy, momentum, pseudorapidity, transverse
from collider.generation.wheels import wheel
from reconstruction.errors import UserError
from reconstruction.random.keyed import KeyedRandom

ELECTRON, MUON, PHOTON = 11, 13, 22


@dataclass(frozen=True)
class TrackBin:
    """Tracks up to |η| = `eta`: σ/pT = √(constant² + (per_gev pT)²), pT in GeV, and the share that is found."""

    eta: float
    constant: float
    per_gev: float
    efficiency: float = 1.0


@dataclass(frozen=True)
class CalorimeterBin:
    """Cells up to |η| = `eta`: σ = √((constant E)² + stochastic² E + noise²), E in GeV."""

    eta: float
    constant: float
    stochastic: float
    noise_gev: float


@dataclass(frozen=True)
class Detector:
    """Resolutions by |η| for charged hadrons and muons (tracks), electrons and photons (ecal), neutral hadrons (hcal).

    Bins follow each other in |η|; beyond the last one nothing is seen. track_pt_gev, tower_energy_gev: the least that
    is seen. electron_efficiency, muon_efficiency: share of electrons and muons that are identified, the others count as
    hadrons. angle_rad: σ of η and φ of calorimeter cells; track directions are taken as they are. b_tag, c_tag,
    light_tag: share of jets that are taken for b jets.
    """

    tracks: tuple[TrackBin, ...] = (
        TrackBin(0.5, 0.01, 1.5e-4, 0.95),
        TrackBin(1.5, 0.015, 2.5e-4, 0.95),
        TrackBin(2.5, 0.025, 5.5e-4, 0.85),
    )
    muons: tuple[TrackBin, ...] = (
        TrackBin(0.9, 0.01, 1.0e-4),
        TrackBin(1.5, 0.015, 1.5e-4),
        TrackBin(2.4, 0.025, 3.5e-4),
    )
    ecal: tuple[CalorimeterBin, ...] = (CalorimeterBin(1.5, 0.008, 0.11, 0.40), CalorimeterBin(3.0, 0.008, 0.11, 0.40))
    hcal: tuple[CalorimeterBin, ...] = (CalorimeterBin(3.0, 0.05, 1.5, 0.0), CalorimeterBin(5.0, 0.11, 2.8, 0.0))
    track_pt_gev: float = 0.5
    tower_energy_gev: float = 0.5
    angle_rad: float = 0.01
    electron_efficiency: float = 0.85
    muon_efficiency: float = 0.95
    b_tag: float = 0.70
    c_tag: float = 0.12
    light_tag: float = 0.01

    def __post_init__(self) -> None:
        for name in ("tracks", "muons", "ecal", "hcal"):
            bins = getattr(self, name)
            edges = [one.eta for one in bins]
            if not bins or edges != sorted(set(edges)) or not edges[0] > 0:
                raise UserError(f"detector.{name} must be bins of growing eta, not {edges}")
            for one in bins:
                wrong = [key for key, value in vars(one).items() if not value >= 0]
                if wrong or not getattr(one, "efficiency", 1) <= 1:
                    raise UserError(f"detector.{name}: {', '.join(wrong) or 'efficiency'} must be in its range: {one}")
        for name in ("electron_efficiency", "muon_efficiency", "b_tag", "c_tag", "light_tag"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"detector.{name} is a share from 0 to 1, not {getattr(self, name)!r}")
        for name in ("track_pt_gev", "tower_energy_gev", "angle_rad"):
            if not getattr(self, name) >= 0:
                raise UserError(f"detector.{name} must be 0 or more, not {getattr(self, name)!r}")


PERFECT: Final = Detector(
    tracks=(TrackBin(5.0, 0, 0),),
    muons=(TrackBin(5.0, 0, 0),),
    ecal=(CalorimeterBin(5.0, 0, 0, 0),),
    hcal=(CalorimeterBin(5.0, 0, 0, 0),),
    track_pt_gev=0.0,
    tower_energy_gev=0.0,
    angle_rad=0.0,
    electron_efficiency=1.0,
    muon_efficiency=1.0,
    b_tag=1.0,
    c_tag=0.0,
    light_tag=0.0,
)
"""Sees all up to |η| = 5 as it is."""


def smeared(particles: Any, detector: Detector, random: KeyedRandom) -> Any:
    """Return what is seen of final particles, a list for each event: momenta as measured, and `identified`.

    particles: of `events.final`, as many events as the random numbers are of. identified: 11 or 13 where an electron or
    muon is taken for one, 22 for photons, 0 for all else. What an event draws depends on its own number alone.
    """
    ak = wheel("awkward")
    counts = ak.num(particles).to_numpy()
    flat = ak.flatten(particles)
    size = np.abs(flat.pdg_id.to_numpy())
    charged = flat.charge.to_numpy() != 0
    px, py, pz, mass = (flat[name].to_numpy() for name in ("px", "py", "pz", "mass"))
    pt, eta, phi, e = transverse(px, py), pseudorapidity(px, py, pz), azimuth(px, py), energy(px, py, pz, mass)
    draws = Draws(random, counts)
    kinds = _kinds(size, charged)
    sigma, seen = _resolution(detector, kinds, pt, e, np.abs(eta))
    seen &= draws.uniform("found") < _efficiency(detector, kinds, np.abs(eta))
    factor = 1 + sigma * draws.normal("momentum")
    seen &= factor > 0
    in_cells = np.isin(kinds, (_ECAL, _HCAL)) & (size != ELECTRON)
    eta = np.where(in_cells, eta + detector.angle_rad * draws.normal("eta"), eta)
    phi = np.where(in_cells, phi + detector.angle_rad * draws.normal("phi"), phi)
    measured = momentum(pt * factor, eta, phi)
    columns = {**measured._asdict(), "energy": energy(*measured, mass)}
    columns |= {"identified": _identified(detector, size, draws.uniform("identified"))}
    result = particles
    for name, values in columns.items():
        result = ak.with_field(result, ak.unflatten(values, counts), name)
    return result[ak.unflatten(seen, counts)]


BLOCK: Final = 128


class Draws:
    """Random numbers for the members of lists, by event and place in it; counts: (event,) members.

    They are drawn in blocks of one size: what a source gives depends on how much it is asked for at once.
    """

    def __init__(self, random: KeyedRandom, counts: NDArray[np.int64]) -> None:
        self._random = random
        self._blocks = range(-(-int(counts.max(initial=0)) // BLOCK))
        self._mask = np.arange(BLOCK * len(self._blocks)) < counts[:, None]

    def normal(self, stream: str) -> NDArray[np.float64]:
        """Return unit normals, one for each member of each list."""
        return self._flat([self._random.normal(BLOCK, stream=f"{stream}/{block}") for block in self._blocks])

    def uniform(self, stream: str) -> NDArray[np.float64]:
        """Return numbers from 0 to 1, one for each member of each list."""
        return self._flat([self._random.uniform(BLOCK, stream=f"{stream}/{block}") for block in self._blocks])

    def _flat(self, blocks: list[Any]) -> NDArray[np.float64]:
        if not blocks:
            return np.zeros(0)
        return np.concatenate([block.numpy() for block in blocks], axis=1)[self._mask].astype(np.float64)


_TRACK, _MUON, _ECAL, _HCAL = range(4)


def _kinds(size: NDArray[Any], charged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return which part of the detector measures a particle."""
    kinds = np.where(charged, _TRACK, _HCAL)
    kinds[size == MUON] = _MUON
    kinds[np.isin(size, (ELECTRON, PHOTON))] = _ECAL
    return kinds


def _resolution(detector: Detector, kinds: Any, pt: Any, e: Any, eta: Any) -> tuple[Any, Any]:
    """Return σ of the relative momentum, and whether a particle is within what is seen."""
    sigma, seen = np.zeros(len(pt)), np.zeros(len(pt), dtype=bool)
    for kind, bins in ((_TRACK, detector.tracks), (_MUON, detector.muons)):
        for mask, one in _in_bins(kinds == kind, eta, bins):
            sigma[mask] = np.hypot(one.constant, one.per_gev * pt[mask])
            seen[mask] = pt[mask] >= detector.track_pt_gev
    for kind, cells in ((_ECAL, detector.ecal), (_HCAL, detector.hcal)):
        for mask, one in _in_bins(kinds == kind, eta, cells):
            at = np.maximum(e[mask], 1e-9)
            sigma[mask] = np.sqrt(one.constant**2 + one.stochastic**2 / at + (one.noise_gev / at) ** 2)
            seen[mask] = e[mask] >= detector.tower_energy_gev
    return sigma, seen


def _efficiency(detector: Detector, kinds: Any, eta: Any) -> NDArray[np.float64]:
    """Return the share of tracks that are found; cells miss nothing."""
    efficiency = np.ones(len(eta))
    for kind, bins in ((_TRACK, detector.tracks), (_MUON, detector.muons)):
        for mask, one in _in_bins(kinds == kind, eta, bins):
            efficiency[mask] = one.efficiency
    return efficiency


def _in_bins(of_kind: Any, eta: Any, bins: tuple[Any, ...]) -> Any:
    low = -1.0
    for one in bins:
        yield of_kind & (eta > low) & (eta <= one.eta), one
        low = one.eta


def _identified(detector: Detector, size: Any, drawn: Any) -> NDArray[np.int64]:
    found = np.zeros(len(size), dtype=np.int64)
    found[(size == ELECTRON) & (drawn < detector.electron_efficiency)] = ELECTRON
    found[(size == MUON) & (drawn < detector.muon_efficiency)] = MUON
    found[size == PHOTON] = PHOTON
    return found
