"""A second simulator, from cross sections and without a fit: it judges the parametrisation.

Each electron, positron and photon is followed, all of a batch together, one step at a time:

- bremsstrahlung in complete screening, hard photons one by one, soft ones as a loss; the way to the next hard photon is
  drawn (with one emission a fixed step showers are 1 X0 too deep);
- pairs: Bethe and Heitler without screening, in the expansions of Maximon, up to the value of complete screening;
- Compton scattering (Klein and Nishina), photo effect (Sauter, K shell, with Hall's factor for large Z);
- ionisation E_c per X0, the measured definition of the critical energy (Rossi), multiple scattering with the 13.6 MeV
  of Highland's formula, annihilation at rest.

Left out: Coulomb corrections, Landau–Pomeranchuk–Migdal, Møller and Bhabha electrons, annihilation in flight, nuclei.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from collider.showers.materials import AnyMaterial
from collider.showers.parameters import checked_energies, checked_material
from collider.showers.particles import HADRONS, PDG_CODES, PHOTON, pdg_codes
from reconstruction.errors import UserError

Values = NDArray[np.float64]

ELECTRON_MEV: Final = 0.51099895
CLASSICAL_RADIUS_CM: Final = 2.8179403e-13
FINE_STRUCTURE: Final = 1 / 137.035999
AVOGADRO: Final = 6.02214076e23
ZETA_3: Final = 1.2020569
SCATTERING_MEV: Final = 13.6

ELECTRON_CUT_MEV: Final = 1.0
PHOTON_CUT_MEV: Final = 0.2
"""Kinetic energies below which a particle leaves its energy where it is."""

LONGEST_STEP_X0: Final = 0.3
LARGEST_LOSS: Final = 0.25
"""Share of its energy that an electron loses in one step by ionisation."""

BATCH_MEV: Final = 4e5
"""Energy of the showers that are followed together."""


@dataclass(frozen=True)
class Cascades:
    """Showers from the cascade; depth in X0, radius in R_M.

    energy_gev (event,); depth_edges_x0, radius_edges_rm; depth_gev (event, depth bin): within all radii;
    radius_gev (event, ring): within the depths; lost_gev (event,): behind the last depth or out of the front.
    """

    energy_gev: Values
    depth_edges_x0: Values
    radius_edges_rm: Values
    depth_gev: Values
    radius_gev: Values
    lost_gev: Values


class Rates:
    """Interactions per X0 in a material, as functions of the energy in MeV."""

    def __init__(self, material: AnyMaterial) -> None:
        z = material.atomic_number
        self.loss_mev = material.critical_energy_mev
        """Ionisation per X0."""
        atoms = AVOGADRO / material.mass_number * material.radiation_length_g_per_cm2
        self._full_pair = 7 / 9
        self._pair_scale = self._full_pair / (28 / 9 * math.log(183 / z ** (1 / 3)) - 2 / 27)
        self._compton = atoms * z * 2 * math.pi * CLASSICAL_RADIUS_CM**2
        xi = FINE_STRUCTURE * z
        thomson = 8 / 3 * math.pi * CLASSICAL_RADIUS_CM**2
        hall = math.exp(-math.pi * xi + 2 * xi**2 * (1 - math.log(xi)))
        self._photo = atoms * 1.5 * thomson * FINE_STRUCTURE**4 * z**5 * hall
        self._energies = np.geomspace(PHOTON_CUT_MEV / 2, 1e6, 4000)
        self._tables = [rate(self._energies) for rate in (self._pair, self._klein_nishina, self._photo_effect)]

    def photon(self, energy: Values) -> tuple[Values, Values, Values]:
        """Return the rates of pairs, Compton scattering and photo effect, per X0."""
        logs = np.log(self._energies)
        pair, compton, photo = (np.interp(np.log(energy), logs, table) for table in self._tables)
        return pair, compton, photo

    def hard_photons(self, energy: Values) -> Values:
        """Return the rate of bremsstrahlung above the cut: ∫ (4/3 − 4/3 k/E + (k/E)²) dk/k per X0."""
        low = np.minimum(PHOTON_CUT_MEV / energy, 1.0)
        return 4 / 3 * (-np.log(low) - (1 - low)) + (1 - low**2) / 2

    def soft_loss(self, energy: Values) -> Values:
        """Return what is radiated below the cut, in MeV per X0."""
        low = np.minimum(PHOTON_CUT_MEV / energy, 1.0)
        return energy * (4 / 3 * (low - low**2 / 2) + low**3 / 3)

    def _pair(self, energy: Values) -> Values:
        """Without screening (Maximon, J. Res. NBS 72B (1968) 79), up to 7/9 per X0, that of complete screening."""
        k = np.maximum(energy / ELECTRON_MEV, 2.0)
        log, square = np.log(2 * k), (2 / k) ** 2
        high = (
            28 / 9 * log
            - 218 / 27
            + square * (2 / 3 * log**3 - log**2 + (6 - math.pi**2 / 3) * log + 2 * ZETA_3 + math.pi**2 / 6 - 3.5)
            - square**2 * (3 / 16 * log + 1 / 8)
            - square**3 * (29 / 2304 * log - 77 / 13824)
        )
        eta = (2 * k - 4) / (2 + k + 2 * np.sqrt(2 * k))
        series = 1 + eta / 2 + 23 / 40 * eta**2 + 11 / 60 * eta**3 + 29 / 960 * eta**4
        low = 2 * math.pi / 3 * ((k - 2) / k) ** 3 * series
        return np.minimum(np.where(k < 4, low, high) * self._pair_scale, self._full_pair)

    def _klein_nishina(self, energy: Values) -> Values:
        k = energy / ELECTRON_MEV
        log = np.log1p(2 * k)
        first = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k)
        return self._compton * (first + log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2)

    def _photo_effect(self, energy: Values) -> Values:
        """Sauter's formula for the K shell."""
        k = energy / ELECTRON_MEV
        gamma = 1 + k
        root = np.sqrt(gamma**2 - 1)
        log = np.log((gamma + root) / (gamma - root)) / (2 * gamma * root)
        bracket = 4 / 3 + gamma * (gamma - 2) / (gamma + 1) * (1 - log)
        return self._photo * k**-5.0 * root**3 * bracket


def simulate_cascades(
    energy_gev: ArrayLike,
    material: AnyMaterial,
    *,
    particle: str = "electron",
    depth_edges_x0: ArrayLike | None = None,
    radius_edges_rm: ArrayLike | None = None,
    seed: int = 0,
) -> Cascades:
    """Follow the cascade of each energy, (event,); bins of 0.5 X0 to 40 X0 and of R_M to 10 R_M by default.

    Raises UserError for what is no electron, positron or photon.
    """
    energies = np.atleast_1d(checked_energies(energy_gev))
    code = int(pdg_codes(particle, 1)[0])
    if code in HADRONS:
        raise UserError("the cascade knows electrons, positrons and photons; it has no cross sections of hadrons")
    depths: Values = np.asarray(np.linspace(0, 40, 81) if depth_edges_x0 is None else depth_edges_x0, dtype=np.float64)
    default = [0, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10]
    radii = np.asarray(default if radius_edges_rm is None else radius_edges_rm, dtype=np.float64)
    tally = _Tally(energies, depths, radii, checked_material(material))
    number = np.floor(np.cumsum(energies * 1e3) / BATCH_MEV).astype(int)
    for batch in np.unique(number):
        chosen = np.flatnonzero(number == batch)
        stack = _Stack(chosen, energies[chosen] * 1e3, code)
        _follow(stack, Rates(material), tally, np.random.default_rng([seed, int(batch)]))
    return Cascades(energies, depths, radii, tally.depth / 1e3, tally.radius / 1e3, tally.lost / 1e3)


_COLUMNS: Final = ("event", "kind", "energy", "x", "y", "z", "dx", "dy", "dz")


class _Stack:
    """Particles on their way: kinetic energy in MeV, place in X0, unit direction; kind is the PDG code."""

    def __init__(self, event: NDArray[np.int64], energy: Values, code: int) -> None:
        zeros, ones = np.zeros(len(event)), np.ones(len(event))
        kind = np.full(len(event), code)
        self.columns: dict[str, NDArray[Any]] = dict(
            zip(_COLUMNS, (event, kind, energy, zeros, zeros, zeros, zeros, zeros, ones), strict=True)
        )

    def take(self, chosen: NDArray[Any], **new: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the columns of some particles, with other values in some of them."""
        return {name: new.get(name, column[chosen]) for name, column in self.columns.items()}

    def replace(self, parts: list[dict[str, NDArray[Any]]]) -> None:
        """Put these particles in place of all."""
        self.columns = {name: np.concatenate([part[name] for part in parts]) for name in _COLUMNS}


class _Tally:
    """Energy in MeV by depth and by radius of each event."""

    def __init__(self, energies: Values, depths: Values, radii: Values, material: AnyMaterial) -> None:
        self.depth = np.zeros((len(energies), len(depths) - 1))
        self.radius = np.zeros((len(energies), len(radii) - 1))
        self.lost = np.zeros(len(energies))
        self.depths_x0, self._radii = depths, radii
        self._per_x0 = material.radiation_length_cm / material.moliere_radius_cm

    def add(self, event: NDArray[Any], energy: Values, x: Values, y: Values, z: Values) -> None:
        """Add energy at places in X0."""
        events, layers, rings = len(self.lost), self.depth.shape[1], self.radius.shape[1]
        layer = np.searchsorted(self.depths_x0, z, side="right") - 1
        ring = np.searchsorted(self._radii, np.hypot(x, y) * self._per_x0, side="right") - 1
        within = (layer >= 0) & (layer < layers)
        near = within & (ring < rings)
        self.depth += _sums(event[within] * layers + layer[within], energy[within], (events, layers))
        self.radius += _sums(event[near] * rings + ring[near], energy[near], (events, rings))
        self.lost += _sums(event[~within], energy[~within], (events,))


def _sums(place: NDArray[Any], weights: Values, shape: tuple[int, ...]) -> Values:
    return np.asarray(np.bincount(place, weights, math.prod(shape)), dtype=np.float64).reshape(shape)


def _follow(stack: _Stack, rates: Rates, tally: _Tally, rng: np.random.Generator) -> None:
    """Follow all particles to their end."""
    while len(stack.columns["event"]):
        photon = stack.columns["kind"] == PHOTON
        parts = [*_photons(stack, np.flatnonzero(photon), rates, tally, rng)]
        parts += _electrons(stack, np.flatnonzero(~photon), rates, tally, rng)
        stack.replace([_alive(part, tally) for part in parts])


def _alive(part: dict[str, NDArray[Any]], tally: _Tally) -> dict[str, NDArray[Any]]:
    """Return the particles above the cuts and inside; the others leave their energy, a positron two photons."""
    photon = part["kind"] == PHOTON
    inside = (part["z"] >= tally.depths_x0[0]) & (part["z"] < tally.depths_x0[-1])
    on = (part["energy"] > np.where(photon, PHOTON_CUT_MEV, ELECTRON_CUT_MEV)) & inside
    ends = {name: column[~on] for name, column in part.items()}
    at_rest = (ends["kind"] == PDG_CODES["positron"]) & inside[~on]
    tally.add(ends["event"], ends["energy"], ends["x"], ends["y"], ends["z"])
    kept = {name: column[on] for name, column in part.items()}
    if not at_rest.any():
        return kept
    pair = [{name: column[at_rest] for name, column in ends.items()} for _ in range(2)]
    for one, sign in zip(pair, (1.0, -1.0), strict=True):
        one["kind"] = np.full(at_rest.sum(), PHOTON)
        one["energy"] = np.full(at_rest.sum(), ELECTRON_MEV)
        # across the positron's way and back to back: the directions of a slow positron are stirred already
        one["dx"], one["dy"], one["dz"] = sign * one["dy"], sign * one["dz"], sign * one["dx"]
    return {name: np.concatenate([kept[name], pair[0][name], pair[1][name]]) for name in _COLUMNS}


def _photons(
    stack: _Stack, chosen: NDArray[Any], rates: Rates, tally: _Tally, rng: np.random.Generator
) -> list[dict[str, NDArray[Any]]]:
    """Bring photons to their next interaction."""
    here = stack.take(chosen)
    pair, compton, photo = rates.photon(here["energy"])
    total = pair + compton + photo
    length = rng.exponential(size=len(chosen)) / total
    for place, direction in zip("xyz", ("dx", "dy", "dz"), strict=True):
        here[place] = here[place] + length * here[direction]
    inside = (here["z"] >= tally.depths_x0[0]) & (here["z"] < tally.depths_x0[-1])
    choice = rng.random(len(chosen)) * total
    kind = np.where(choice < pair, 0, np.where(choice < pair + compton, 1, 2))
    kind[~inside] = 3
    parts = [{name: column[kind == 3] for name, column in here.items()}]
    parts += _pairs({name: column[kind == 0] for name, column in here.items()}, rng)
    parts += _comptons({name: column[kind == 1] for name, column in here.items()}, rng)
    absorbed = {name: column[kind == 2] for name, column in here.items()}
    absorbed["kind"] = np.full(len(absorbed["kind"]), PDG_CODES["electron"])
    return [*parts, absorbed]


def _pairs(here: dict[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
    """Return the electrons and positrons of photons: 1 − 4/3 x(1 − x), in complete screening."""
    size = len(here["energy"])
    first, second = rng.random(size), rng.random(size)
    share = np.where(first < 6 / 7, second, (1 + np.cbrt(2 * second - 1)) / 2)
    kinetic = here["energy"] - 2 * ELECTRON_MEV
    parts = []
    for name, part in (("electron", share), ("positron", 1 - share)):
        angle = rng.exponential(size=size) * ELECTRON_MEV / (kinetic * part + ELECTRON_MEV)
        parts.append({**here, **_turned(here, angle, rng), "energy": kinetic * part})
        parts[-1]["kind"] = np.full(size, PDG_CODES[name])
    return parts


def _comptons(here: dict[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
    """Return scattered photons and their electrons; the energy is drawn as EGS4 does (SLAC-265, section 2.7.4)."""
    k = here["energy"] / ELECTRON_MEV
    share = np.ones(len(k))
    open_ = np.arange(len(k))
    while len(open_):
        low = 1 / (1 + 2 * k[open_])
        by_log = -np.log(low)
        by_square = (1 - low**2) / 2
        log_part = rng.random(len(open_)) * (by_log + by_square) < by_log
        u = rng.random(len(open_))
        trial = np.where(log_part, low**u, np.sqrt(low**2 + u * (1 - low**2)))
        one_minus = (1 - trial) / (k[open_] * trial)
        good = rng.random(len(open_)) < 1 - trial * one_minus * (2 - one_minus) / (1 + trial**2)
        share[open_[good]] = trial[good]
        open_ = open_[~good]
    cosine = 1 - (1 - share) / (k * share)
    electron = k * (1 - share)
    momentum = np.sqrt(np.maximum(electron * (electron + 2), 1e-12))
    recoil = np.clip((k - k * share * cosine) / momentum, -1, 1)
    angle = 2 * np.pi * rng.random(len(k))
    photons = {**here, **_rotated(here, cosine, angle), "energy": here["energy"] * share}
    electrons = {**here, **_rotated(here, recoil, angle + np.pi), "energy": here["energy"] * (1 - share)}
    electrons["kind"] = np.full(len(k), PDG_CODES["electron"])
    return [photons, electrons]


def _electrons(
    stack: _Stack, chosen: NDArray[Any], rates: Rates, tally: _Tally, rng: np.random.Generator
) -> list[dict[str, NDArray[Any]]]:
    """Bring electrons and positrons one step on, to a hard photon or to the step's end."""
    here = stack.take(chosen)
    energy = here["energy"]
    loss = rates.loss_mev + rates.soft_loss(energy)
    free = rng.exponential(size=len(chosen)) / rates.hard_photons(energy)
    longest = np.minimum(LONGEST_STEP_X0, np.maximum(LARGEST_LOSS * energy, ELECTRON_CUT_MEV) / loss)
    step = np.minimum(free, longest)
    lost = np.minimum(loss * step, energy)
    _move(here, step / 2, tally, lost)
    momentum = np.sqrt(energy * (energy + 2 * ELECTRON_MEV))
    beta = momentum / (energy + ELECTRON_MEV)
    width = SCATTERING_MEV / (beta * momentum) * np.sqrt(step)
    here |= _turned(here, width * np.sqrt(2 * rng.exponential(size=len(chosen))), rng)
    _move(here, step / 2, tally, None)
    here["energy"] = energy - lost
    hard = (free < longest) & (here["energy"] > PHOTON_CUT_MEV)
    radiating = {name: column[hard] for name, column in here.items()}
    photon_energy = _bremsstrahlung(radiating["energy"], rng)
    angle = rng.exponential(size=len(photon_energy)) * ELECTRON_MEV / (radiating["energy"] + ELECTRON_MEV)
    photons = {**radiating, **_turned(radiating, angle, rng), "energy": photon_energy}
    photons["kind"] = np.full(len(photon_energy), PHOTON)
    here["energy"][hard] -= photon_energy
    return [here, photons]


def _bremsstrahlung(energy: Values, rng: np.random.Generator) -> Values:
    """Return photon energies above the cut: (4/3 − 4/3 v + v²)/v, by rejection from 1/v."""
    low = PHOTON_CUT_MEV / energy
    share = np.empty(len(energy))
    open_ = np.arange(len(energy))
    while len(open_):
        trial = low[open_] ** rng.random(len(open_))
        good = rng.random(len(open_)) < 1 - trial + 0.75 * trial**2
        share[open_[good]] = trial[good]
        open_ = open_[~good]
    return share * energy


def _move(here: dict[str, NDArray[Any]], step: Values, tally: _Tally, lost: Values | None) -> None:
    for place, direction in zip("xyz", ("dx", "dy", "dz"), strict=True):
        here[place] = here[place] + step * here[direction]
    if lost is not None:
        tally.add(here["event"], lost, here["x"], here["y"], here["z"])


def _turned(here: dict[str, NDArray[Any]], angle: Values, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    return _rotated(here, np.cos(np.minimum(angle, np.pi)), 2 * np.pi * rng.random(len(angle)))


def _rotated(here: dict[str, NDArray[Any]], cosine: Values, azimuth: Values) -> dict[str, NDArray[Any]]:
    """Return directions turned by polar angles around themselves (Duff et al., JCGT 6 (2017) 1)."""
    dx, dy, dz = here["dx"], here["dy"], here["dz"]
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))
    u, v = sine * np.cos(azimuth), sine * np.sin(azimuth)
    sign = np.where(dz < 0, -1.0, 1.0)
    a = -1 / (sign + dz)
    b = dx * dy * a
    return {
        "dx": cosine * dx + u * (1 + sign * dx**2 * a) + v * b,
        "dy": cosine * dy + u * sign * b + v * (sign + dy**2 * a),
        "dz": cosine * dz - u * sign * dx - v * dy,
    }
