"""Final states of the daughter: excitation energies above the lowest state, and their probabilities.

T₂: the table of Saenz, Jonsell and Froelich, Phys. Rev. Lett. 84 (2000) 242. HT and DT: calculated rotations and
vibrations (`isotopologues`), the electronic excitations of T₂. T: hydrogen-like ion in the sudden approximation. Users
may bring tables of their own, which the reader checks: copies of published ones mix probabilities a bin with
probabilities per eV; a wrong sum or a wrong mean tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_legendre

from cres.errors import UserError
from cres.physics.isotopologues import (
    GROUND_GROUP_LIMIT_EV,
    HARTREE_EV,
    endpoint_below_t2_ev,
    excited_above_t2_ev,
    ground_group,
)

Array = NDArray[np.float64]

# Moments of the published T₂ table; the mean counts from the table's zero, 1.9 eV above the lowest state.
T2_GROUND_GROUP_PROBABILITY = 0.5741
T2_GROUND_GROUP_WIDTH_EV = 0.436
T2_MEAN_EXCITATION_EV = 18.4
T2_TABLE = Path(__file__).parent / "tables" / "saenz_2000_t2.csv"
MEAN_RANGE_EV = (10.0, 25.0)
"""The mean excitation follows from the initial state alone: 13.6 eV for T, 20 eV for T₂, HT and DT."""
SUM_RANGE = (0.98, 1.02)
OTHER_ATOM = {"HT": "H", "DT": "D"}
T2_SPENT_EV = 18.01
"""What of Q the electron of T₂ does not get: 16.29 eV (binding energies of the molecules and the ion) and 1.72 eV
(recoil), as KATRIN relates the two (Aker et al., Phys. Rev. D 104 (2021) 012005)."""
T_SPENT_EV = 28.05
"""The same of atomic tritium: what Bodine, Parno and Robertson, Phys. Rev. C 91 (2015) 035505 subtract (18 591.3 to
18 563.25 eV)."""
JSON_NAMES = ("excitation_ev", "probability", "width_ev")

BOUND_STATES = 12
CONTINUUM_EDGES_HARTREE = (0.0, 0.1, 0.3, 0.6, 1.0, 1.5, 2.2, 3.2, 5.0, 9.0, 20.0, 60.0)


@dataclass(frozen=True, eq=False)
class FinalStates:
    """A table of final states.

    `excitation_ev` (state,) is counted from the lowest state, ascending from 0; `probability` (state,) sums to 1.
    `source` says where it comes from; `raw_sum` is the sum before normalisation.
    """

    excitation_ev: Array
    probability: Array
    source: str
    raw_sum: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a table that no spectrum can be made of."""
        if self.excitation_ev.ndim != 1 or self.excitation_ev.shape != self.probability.shape:
            raise ValueError("final states need two columns of one length")
        if not (np.isfinite(self.excitation_ev).all() and np.isfinite(self.probability).all()):
            raise ValueError("final states must be finite numbers")
        if (self.probability < 0).any() or not np.isclose(self.probability.sum(), 1.0, atol=1e-9):
            raise ValueError("probabilities of final states must not be negative and must sum to 1")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FinalStates) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def _content(self) -> tuple[bytes, bytes]:
        return self.excitation_ev.tobytes(), self.probability.tobytes()

    @classmethod
    def from_arrays(cls, excitation_ev: Array, probability: Array, source: str) -> FinalStates:
        """Sort, count energies from the lowest state that has a probability, and normalise."""
        excitation, weight = np.asarray(excitation_ev, np.float64), np.asarray(probability, np.float64)
        occupied = weight > 0
        if (weight < 0).any() or not occupied.any():
            raise ValueError("probabilities of final states must not be negative, nor all zero")
        excitation, weight = excitation[occupied], weight[occupied]
        order = np.argsort(excitation)
        total = float(weight.sum())
        return cls(excitation[order] - excitation.min(), weight[order] / total, source, total)

    @classmethod
    def of(cls, name: str) -> FinalStates | None:
        """Return the states of a molecule or of "T", None for "none", read the table in a file, or mix several.

        Molecules are "T2", "HT" and "DT". A mixture is "T2:0.8, HT:0.1, dt.csv:0.1", each with its part of the decays,
        and "dt.csv:0.1:0.3" where the endpoint of one is 0.3 eV below that of T₂; those of HT, DT and T are known.
        Raises UserError for what is none of these.
        """
        if name == "none":
            return None
        if name == "T2":
            return cls.t2()
        if name == "T":
            return cls.atomic()
        if name in OTHER_ATOM:
            return cls.isotopologue(name)
        if Path(name).is_file():
            return cls.read(Path(name))
        if ":" in name:
            return cls.mixed(name)
        raise UserError(f"final states {name!r} are none of T2, HT, DT, T, none, and there is no file of this name")

    @classmethod
    def mixed(cls, text: str) -> FinalStates:
        """Return the states of a mixture, NAME:PART[:EV] and commas between, above the lowest of them all."""
        energies, weights, total = [], [], 0.0
        for one in text.split(","):
            name, part, lower_ev = _component(one.strip(), text)
            states = cls.of(name)
            if states is None:
                raise UserError(f"final states {text!r}: none is no part of a mixture")
            energies.append(states.excitation_ev + (_below_t2_ev(name) if lower_ev is None else lower_ev))
            weights.append(states.probability * part)
            total += part
        if abs(total - 1) > 1e-6:
            raise UserError(f"the parts of the final states {text!r} sum to {total:.6g}; they must sum to 1")
        return cls.from_arrays(np.concatenate(energies), np.concatenate(weights), text)

    @classmethod
    def read(
        cls,
        path: Path,
        mean_range_ev: tuple[float, float] = MEAN_RANGE_EV,
        sum_range: tuple[float, float] = SUM_RANGE,
    ) -> FinalStates:
        """Read a table: excitation energy in eV, probability; an optional third column is the bin's width in eV.

        Text (numbers between blanks, or commas in `.csv`; lines that begin with # and one line of column names are
        skipped) or `.json`: an object of equally long lists `excitation_ev`, `probability`[, `width_ev`], or a list of
        rows. With a width the probability is one per eV. A binding energy (negative for excited states) goes in with
        its sign turned. Raises UserError when the sum is outside `sum_range`, or the mean excitation above the lowest
        state outside `mean_range_ev`.
        """
        rows = _json_rows(path) if path.suffix == ".json" else _text_rows(path)
        if rows.ndim != 2 or rows.shape[1] not in (2, 3) or not len(rows):
            found = rows.shape[1] if rows.ndim == 2 and len(rows) else 0
            raise UserError(f"{path} has {found} columns; final states need energy, probability (and width)")
        weight = rows[:, 1] * (rows[:, 2] if rows.shape[1] == 3 else 1.0)
        try:
            states = cls.from_arrays(rows[:, 0], weight, str(path.name))
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        states._check(path, mean_range_ev, sum_range)
        return states

    @classmethod
    def t2(cls) -> FinalStates:
        """Return those of molecular tritium, T₂ → ³HeT⁺ (Saenz et al. 2000, with its source in the file)."""
        return replace(cls.read(T2_TABLE), source="T2, Saenz, Jonsell and Froelich 2000")

    @classmethod
    def isotopologue(cls, name: str) -> FinalStates:
        """Return those of "HT" or "DT", above the lowest level of ³HeH⁺ or ³HeD⁺.

        The ground-state group is calculated, with the probability that it has in T₂. Electronic excitations are those
        of T₂, moved by what the motion of the nuclei makes of them (`isotopologues`).
        """
        other, t2 = OTHER_ATOM[name], cls.t2()
        energy, probability = ground_group(other)
        excited = t2.excitation_ev >= GROUND_GROUP_LIMIT_EV
        return cls.from_arrays(
            np.concatenate((energy, t2.excitation_ev[excited] + excited_above_t2_ev(other))),
            np.concatenate((probability * t2.ground_group_probability, t2.probability[excited])),
            f"{name}, calculated rovibrations, electronic excitations of {t2.source}",
        )

    @classmethod
    def atomic(cls) -> FinalStates:
        """Return those of atomic tritium, T → ³He⁺: overlaps of the hydrogen ground state with s states of charge 2.

        Sudden approximation, non-relativistic, infinite nuclear mass. Bound states up to n = 12, the last one with all
        that are above it, and the continuum in bins.
        """
        bound_ev, bound = _bound_states()
        continuum_ev, continuum = _continuum_states()
        return cls.from_arrays(
            np.concatenate([bound_ev, continuum_ev]),
            np.concatenate([bound, continuum]),
            "T, sudden approximation",
        )

    @property
    def mean_excitation_ev(self) -> float:
        """Mean excitation above the lowest state."""
        return float(self.excitation_ev @ self.probability)

    @property
    def ground_group_probability(self) -> float:
        """Probability of the states within 8 eV of the lowest one."""
        return float(self.probability[self.excitation_ev < GROUND_GROUP_LIMIT_EV].sum())

    def pairs(self) -> Iterator[tuple[float, float]]:
        """Yield (excitation in eV, probability)."""
        return zip(self.excitation_ev.tolist(), self.probability.tolist(), strict=True)

    def _check(self, path: Path, mean_range_ev: tuple[float, float], sum_range: tuple[float, float]) -> None:
        if not sum_range[0] <= self.raw_sum <= sum_range[1]:
            raise UserError(
                f"the probabilities in {path} sum to {self.raw_sum:.4g}, not to {sum_range[0]:g} … {sum_range[1]:g}: "
                "if they are probabilities per eV, add the bin widths as a third column"
            )
        if not mean_range_ev[0] <= self.mean_excitation_ev <= mean_range_ev[1]:
            raise UserError(
                f"the mean excitation in {path} is {self.mean_excitation_ev:.3g} eV, that of tritium lies between "
                f"{mean_range_ev[0]:g} and {mean_range_ev[1]:g} eV: are some entries per bin and others per eV, or is "
                "the sign of the energies that of binding?"
            )


def _below_t2_ev(name: str) -> float:
    """Return by how much the endpoint is below that of T₂, both in the lowest state; of a file 0."""
    if name in OTHER_ATOM:
        return endpoint_below_t2_ev(OTHER_ATOM[name])
    return T_SPENT_EV - T2_SPENT_EV if name == "T" else 0.0


def _component(one: str, text: str) -> tuple[str, float, float | None]:
    """Return name, part and eV of NAME:PART[:EV]; names may hold colons where what follows is no number."""
    fields = one.split(":")
    numbers: list[float] = []
    while len(fields) > 1 and len(numbers) < 2 and _is_number(fields[-1]):
        numbers.insert(0, float(fields.pop()))
    if not numbers or not 0 <= numbers[0] <= 1 or not np.isfinite(numbers).all():
        raise UserError(
            f"final states {text!r}: {one!r} is not NAME:PART or NAME:PART:EV with a part of 0 to 1, such as T2:0.9"
        )
    return ":".join(fields), numbers[0], numbers[1] if len(numbers) > 1 else None


def _text_rows(path: Path) -> Array:
    try:
        lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read final states from {path}: {error}") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line]
    if numbered and _is_header(numbered[0][1]):
        numbered = numbered[1:]
    rows = []
    for number, line in numbered:
        fields = line.replace(";", ",").split(",") if path.suffix == ".csv" or "," in line else line.split()
        try:
            rows.append([float(entry) for entry in fields])
        except ValueError as error:
            raise UserError(f"cannot read final states from {path}, line {number}: {error}") from error
    if len({len(row) for row in rows}) > 1:
        raise UserError(f"cannot read final states from {path}: its rows have different numbers of columns")
    return np.array(rows, np.float64)


def _is_header(line: str) -> bool:
    """Return whether a line holds names: no entry of it is a number."""
    entries = line.replace(",", " ").replace(";", " ").split()
    return not any(_is_number(entry) for entry in entries)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_rows(path: Path) -> Array:
    try:
        content = json.loads(path.read_text())
        if isinstance(content, dict):
            names = [name for name in JSON_NAMES if name in content]
            if names[:2] != list(JSON_NAMES[:2]):
                raise UserError(f"{path} needs the lists {', '.join(JSON_NAMES[:2])} (and perhaps {JSON_NAMES[2]})")
            content = list(zip(*(content[name] for name in names), strict=True))
        return np.array(content, np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot read final states from {path}: {error}") from error


def _overlap(inverse_length: NDArray[Any], parameter: NDArray[Any]) -> Array:
    """Return ∫ r² e^{−(1+q)r} ₁F₁(a; 2; 2qr) dr, the radial overlap with a hydrogen ground state but for norms.

    −d/ds of ∫ r e^{−sr} ₁F₁(a; 2; cr) dr = s^{a−2} (s − c)^{−a} at s = 1 + q, c = 2q. All in atomic units.
    """
    q, a = inverse_length, parameter
    s, rest = 1 + q, 1 - q
    return np.real((2 - a) * s ** (a - 3) * rest ** (-a) + a * s ** (a - 2) * rest ** (-a - 1))


def _bound_states() -> tuple[Array, Array]:
    """Return energies above the ground state of ³He⁺ in eV and probabilities of its states ns."""
    n = np.arange(1, BOUND_STATES + 1, dtype=np.float64)
    overlap = 4 * (2 / n) ** 1.5 * _overlap(2 / n, 1 - n)
    probability = overlap**2
    # P_n falls as n⁻³
    probability[-1] *= BOUND_STATES**3 * (1 / BOUND_STATES**3 + 1 / (2 * (BOUND_STATES + 0.5) ** 2))
    return 2 * HARTREE_EV * (1 - 1 / n**2), probability


def _continuum_states() -> tuple[Array, Array]:
    """Return mean energies in eV and probabilities of bins of the continuum; Coulomb waves normalised in energy."""
    node, weight = roots_legendre(24)
    edges = np.sqrt(CONTINUUM_EDGES_HARTREE)
    # in √E the density is smooth at the threshold
    half, middle = 0.5 * np.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    root = middle[:, None] + half[:, None] * node
    energy = root**2
    k = np.sqrt(2 * energy)
    penetration = 2 * np.pi * (2 / k) / -np.expm1(-2 * np.pi * 2 / k)
    overlap = 2 * np.sqrt(2 * k / np.pi * penetration) * _overlap(1j * k, 1 + 2j / k)
    share = overlap**2 * 2 * root * half[:, None] * weight
    probability = share.sum(axis=1)
    return HARTREE_EV * (2 + (share * energy).sum(axis=1) / probability), probability
