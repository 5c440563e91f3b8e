"""How often the limits on the neutrino mass hold the true one: cells of a study, each resumed where it stopped.

A cell is a decay (T or T₂), a true mass and a mean number of electrons. Cells with one decay and number share a belt,
whose points are files of their own: processes that want the same belt make different points of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from cres.endpoint.belt import Belt, Expectation, statistics
from cres.endpoint.likelihood import FitWindow, Physics
from cres.endpoint.limits import construct, mass_grid_ev2
from cres.endpoint.mass_scan import scan
from cres.endpoint.pseudo import Experiment
from cres.endpoint.smeared import SmearedSpectra
from cres.errors import UserError
from cres.physics.beta import T2_ENDPOINT_EV, T_ENDPOINT_EV
from cres.physics.final_states import FinalStates
from cres.progress import track
from reconstruction.files import atomic_path, read_json

DECAYS = ("T2", "T")
MASSES_EV = (0.0, 5.0, 12.0, 30.0)
ELECTRONS = (40, 400, 4000)
BELT_MASSES_EV = (0.0, 5.0, 8.0, 12.0, 16.0, 24.0, 30.0, 40.0, 56.0)
"""Masses at which belts are made; beyond the last one, near the window's lower end, its critical value is used."""
CONFIDENCE, LARGEST_MASS_EV = 0.9, 80.0
BELOW_EV, ABOVE_EV = 70.0, 60.0
BACKGROUND_FRACTION = 0.01
INTERVAL = 0.99
"""Level of the intervals in which a cell's coverage is quoted (Clopper and Pearson)."""

Toy = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell of the study."""

    decay: str
    mass_ev: float
    electrons: int

    @property
    def setting(self) -> str:
        """What has one belt."""
        return f"{self.decay}-{self.electrons}"

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        return f"{self.decay}-{self.mass_ev:g}eV-{self.electrons}"

    def experiment(self) -> Experiment:
        """Return what is repeated: resolutions of 0.3 to 5 eV, a hundredth of it background, a window of 130 eV."""
        endpoint = {"T2": T2_ENDPOINT_EV, "T": T_ENDPOINT_EV}[self.decay]
        return Experiment(
            electrons=float(self.electrons),
            background_fraction=BACKGROUND_FRACTION,
            endpoint_ev=endpoint,
            mass_squared_ev2=self.mass_ev**2,
            window=FitWindow(endpoint - BELOW_EV, endpoint + ABOVE_EV),
            physics=Physics(final_states=FinalStates.of(self.decay)),
        )


CELLS = tuple(Cell(decay, mass, number) for decay in DECAYS for number in ELECTRONS for mass in MASSES_EV)


@dataclass(frozen=True)
class CellCoverage:
    """Shares of a cell's toys whose interval holds the true mass; `low`, `high` the 99 % interval of `neyman`."""

    cell: Cell
    toys: int
    neyman: float
    low: float
    high: float
    profile: float
    bayesian: float
    median_limit_ev: float
    open_share: float

    @property
    def agrees(self) -> bool:
        """Whether 90 % lies within the interval."""
        return self.low <= CONFIDENCE <= self.high


def run_cell(cell: Cell, folder: Path, toys: int, belt_toys: int, seed: int = 0) -> list[Toy]:
    """Make what is missing of a cell's belt and toys, and return its toys; UserError for files of another study."""
    folder.mkdir(parents=True, exist_ok=True)
    belt = make_points(cell, folder, belt_toys, seed)
    path = folder / f"{cell.name}.jsonl"
    header = {"seed": seed, "belt_toys": belt_toys, "study": study_description()}
    done = read_toys(path, header)
    missing = [index for index in range(toys) if index not in done]
    if missing:
        with path.open("a") as stream:
            if not path.stat().st_size:
                stream.write(json.dumps(header, sort_keys=True) + "\n")
            for index in track(iter(missing), cell.name, len(missing), "toys"):
                done[index] = _toy(cell, belt, seed, index)
                stream.write(json.dumps(done[index]) + "\n")
                stream.flush()
    return [done[index] for index in range(toys)]


def make_points(cell: Cell, folder: Path, toys: int, seed: int) -> Belt:
    """Return a cell's belt, making the points that no file holds.

    `toys` pseudo-experiments make the point of the cell's own mass, on which its coverage rests; a fifth of them the
    others, which shape the limits.
    """
    few = max(toys // 5, 1)
    others = [mass for mass in BELT_MASSES_EV if mass != cell.mass_ev]
    # tasks that run at one time begin at different points
    others = others[int(cell.mass_ev) % len(others) :] + others[: int(cell.mass_ev) % len(others)]
    critical = {cell.mass_ev: _point(cell, cell.mass_ev, folder, toys, seed)}
    critical |= {mass: _point(cell, mass, folder, few, seed) for mass in others}
    masses = sorted(critical)
    return Belt(np.square(masses), np.array([critical[m] for m in masses]), CONFIDENCE, few)


def _point(cell: Cell, mass_ev: float, folder: Path, toys: int, seed: int) -> float:
    """Return the critical value of a setting at a mass, from its file or made now."""
    path = folder / f"belt-{cell.setting}-{mass_ev:g}eV-{toys}.json"
    wanted = {"toys": toys, "seed": seed, "study": study_description()}
    if not path.exists():
        spectra, experiment = _spectra(cell.decay), replace(cell, mass_ev=mass_ev).experiment()
        signal = experiment.electrons * (1 - BACKGROUND_FRACTION)
        expected = Expectation(experiment.endpoint_ev, signal, experiment.electrons - signal)
        index = int(np.argmin(np.abs(spectra.mass_squared_ev2 - mass_ev**2)))
        made = statistics(spectra, lambda _: expected, index, toys, seed)
        values = [*track(made, f"belt {cell.setting} {mass_ev:g} eV", toys, "toys")]
        content = {**wanted, "critical": float(np.quantile(values, CONFIDENCE, method="higher"))}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content))
    stored = read_json(path)
    if any(stored.get(key) != value for key, value in wanted.items()):
        raise UserError(f"{path} belongs to another study (other settings or seed): choose another --output")
    return float(stored["critical"])


def read_toys(path: Path, header: dict[str, Any]) -> dict[int, Toy]:
    """Return the toys of a file by index; a last line that was cut short is made again."""
    if not path.exists() or not path.stat().st_size:
        return {}
    try:
        whole, _, rest = path.read_text(encoding="utf-8").rpartition("\n")
        if rest:
            path.write_text(whole + "\n" if whole else "")
        lines = whole.splitlines()
        written, toys = (json.loads(lines[0]) if lines else header), [json.loads(line) for line in lines[1:]]
    except ValueError as error:  # no text, or no JSON
        raise UserError(f"{path} is damaged: delete it to start again") from error
    if written != json.loads(json.dumps(header)):
        raise UserError(f"{path} belongs to another study (other settings or seed): choose another --output")
    return {toy["index"]: toy for toy in toys}


def summarise_cell(cell: Cell, toys: list[Toy]) -> CellCoverage:
    """Return the coverage of a cell."""
    held = {name: sum(toy[name] for toy in toys) for name in ("neyman", "profile", "bayesian")}
    number = len(toys)
    tail = (1 - INTERVAL) / 2
    low = beta.ppf(tail, held["neyman"], number - held["neyman"] + 1) if held["neyman"] else 0.0
    high = beta.isf(tail, held["neyman"] + 1, number - held["neyman"]) if held["neyman"] < number else 1.0
    limits = np.array([np.inf if toy["limit_ev"] is None else toy["limit_ev"] for toy in toys])
    return CellCoverage(
        cell,
        number,
        held["neyman"] / number,
        float(low),
        float(high),
        held["profile"] / number,
        held["bayesian"] / number,
        float(np.median(limits)),
        float(np.mean(~np.isfinite(limits))),
    )


def coverage_lines(folder: Path) -> list[str]:
    """Return the study's table: all cells, those that no machine ran marked so."""
    rows = [
        "| decay | electrons | true mass | toys | Neyman holds it | 99 % interval | profile | Bayesian | median limit "
        "| no limit below 80 eV |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        start = f"| {cell.decay} | {cell.electrons} | {cell.mass_ev:g} eV |"
        path = folder / f"{cell.name}.jsonl"
        toys = [json.loads(line) for line in path.read_text().splitlines()[1:]] if path.exists() else []
        if not toys:
            rows.append(f"{start} – | *not run* | | | | | |")
            continue
        found = summarise_cell(cell, toys)
        mark = "" if found.agrees else " **(off)**"
        limit = f"{found.median_limit_ev:.1f} eV" if np.isfinite(found.median_limit_ev) else "none"
        rows.append(
            f"{start} {found.toys} | {found.neyman:.1%}{mark} | {found.low:.1%} to {found.high:.1%} "
            f"| {found.profile:.1%} | {found.bayesian:.1%} | {limit} | {found.open_share:.0%} |"
        )
    return rows


def study_description() -> dict[str, Any]:
    """Return what all cells have in common, to tell the files of another study."""
    return {
        "window_ev": [BELOW_EV, ABOVE_EV],
        "background": BACKGROUND_FRACTION,
        "confidence": CONFIDENCE,
        "endpoint_ev": T2_ENDPOINT_EV,
        "largest_mass_ev": LARGEST_MASS_EV,
    }


def _toy(cell: Cell, belt: Belt, seed: int, index: int) -> Toy:
    # another stream than the belt's
    generator = np.random.default_rng([seed, 1, int(10 * cell.mass_ev), cell.electrons, index])
    spectra = _spectra(cell.decay)
    sample = spectra.sample(*cell.experiment().generate(generator)[:2])
    found = construct(spectra, sample, scan(spectra, sample), belt, CONFIDENCE)
    assert found.neyman is not None
    true = cell.mass_ev**2
    finite = np.isfinite(found.neyman.limit_ev)
    return {
        "index": index,
        "electrons": len(sample),
        "best_ev2": found.best_ev2,
        "neyman": found.neyman.holds(true),
        "profile": found.profile.holds(true),
        "bayesian": found.bayesian.holds(true),
        "limit_ev": found.neyman.limit_ev if finite else None,
        "bayesian_limit_ev": found.bayesian.limit_ev,
        "open_posterior": found.posterior_open,
    }


@lru_cache(maxsize=2)
def _spectra(decay: str) -> SmearedSpectra:
    experiment = Cell(decay, 0.0, ELECTRONS[0]).experiment()
    squares = np.unique([*mass_grid_ev2(LARGEST_MASS_EV, negative=False), *np.square(BELT_MASSES_EV)])
    return SmearedSpectra(experiment.response(), experiment.window, experiment.physics, squares)


def cells_of(names: list[str] | None) -> Iterator[Cell]:
    """Yield the cells of these names, or all; raises UserError for an unknown one."""
    known = {cell.name: cell for cell in CELLS}
    for name in names if names is not None else known:
        if name not in known:
            raise UserError(f"there is no cell {name!r}; the cells are {', '.join(known)}")
        yield known[name]
