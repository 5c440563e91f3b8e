"""Calibration with 83mKr: Lorentzian conversion lines give the scale of the field and of the resolution from data.

A wrong field is a factor on the total energy, K + mc² = eB/(2π f) c², so that one line moves all energies by

    K' = (K + mc²)(1 + δ) − mc².

Satellites from shake-up and shake-off, and electrons that scattered, are left out: fit a window around the line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.special import voigt_profile

from cres.endpoint.response import ENERGY, SMALLEST_STD_EV, energies_and_stds
from cres.errors import UserError
from cres.evaluation.table import PredictionTable
from cres.physics.constants import ELECTRON_MASS_EV
from cres.schema import std_name

Array = NDArray[np.float64]

HALF_WINDOW_EV = 40.0
MINIMUM_ELECTRONS = 50


@dataclass(frozen=True)
class Line:
    """A conversion line: kinetic energy, full width at half maximum of its Lorentzian, relative intensity, source."""

    name: str
    energy_ev: float
    width_ev: float
    intensity: float = 1.0
    source: str = ""

    def density(self, energy_ev: Array) -> Array:
        """Return the Lorentzian probability density per eV."""
        half = self.width_ev / 2
        return half / np.pi / ((energy_ev - self.energy_ev) ** 2 + half**2)

    def sample(self, count: int, generator: np.random.Generator) -> Array:
        """Draw energies in eV, (count,)."""
        return self.energy_ev + self.width_ev / 2 * generator.standard_cauchy(count)


K_32 = Line(
    "K-32",
    17_824.2,
    2.774,
    1.0,
    "energy: Vénos et al., JINST 13 (2018) T02012; width: Altenmüller et al., J. Phys. G 47 (2020) 065002",
)
LINES = (K_32,)
"""The line next to the tritium endpoint. Others can be read from a file."""


@dataclass(frozen=True)
class Calibration:
    """What the lines say: relative change of the field, factor on stated uncertainties, with standard errors.

    `shift_ev` is the mean of estimate − line energy before the calibration; `background` the share of flat background.
    """

    field_scale: float
    field_scale_error: float
    resolution_scale: float
    resolution_scale_error: float
    shift_ev: float
    background: float
    electrons: int
    lines: tuple[str, ...]

    def energy_ev(self, energy_ev: Array) -> Array:
        """Return calibrated energies."""
        return (energy_ev + ELECTRON_MASS_EV) * (1 + self.field_scale) - ELECTRON_MASS_EV

    def energy_error_ev(self, energy_ev: float) -> float:
        """Return the uncertainty of the energy scale at an energy: a nuisance for the endpoint fit."""
        return (energy_ev + ELECTRON_MASS_EV) * self.field_scale_error

    def apply(self, table: PredictionTable) -> PredictionTable:
        """Return the table with calibrated energies and stated uncertainties, and the calibration in its attributes."""
        energy, std = energies_and_stds(table)
        name = std_name(ENERGY)
        changed = table.with_columns({ENERGY: self.energy_ev(energy), name: std * self.resolution_scale})
        note = {f"calibration_{key}": value for key, value in self.to_dict().items() if not isinstance(value, tuple)}
        return PredictionTable(changed.columns, {**table.attributes, **note})

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)

    def summary(self) -> list[str]:
        """Return the result in plain words."""
        return [
            f"lines                {', '.join(self.lines)}, {self.electrons} electrons",
            f"energies were off by {self.shift_ev:+.3f} eV at the line",
            f"field                × (1 {self.field_scale:+.3e} ± {self.field_scale_error:.1e}), "
            f"± {self.energy_error_ev(18_573.0):.3f} eV at the endpoint",
            f"stated uncertainties × {self.resolution_scale:.3f} ± {self.resolution_scale_error:.3f}",
        ]


def read_lines(path: Path) -> tuple[Line, ...]:
    """Read lines from a text file: name, energy in eV, full width in eV[, relative intensity], separated by commas."""
    lines = []
    try:
        rows = [row.split("#")[0].strip() for row in path.read_text().splitlines()]
        for row in filter(None, rows):
            name, *numbers = (part.strip() for part in row.split(","))
            energy, width, intensity = (float(number) for number in [*numbers, "1"][:3])
            lines.append(Line(name, energy, width, intensity, path.name))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot read lines from {path} (name, energy, width[, intensity] a row): {error}") from error
    if not lines or any(line.width_ev <= 0 or line.intensity <= 0 for line in lines):
        raise UserError(f"{path} holds no lines with a positive width and intensity")
    return tuple(lines)


def calibrate(table: PredictionTable, lines: Sequence[Line] = LINES) -> Calibration:
    """Fit the lines to the electrons of a table and return field and resolution scale.

    Unbinned: each electron's Voigt profile has its own stated uncertainty times the common scale. Raises UserError
    when too few electrons lie near the lines.
    """
    energy, std = energies_and_stds(table)
    good = np.isfinite(energy) & np.isfinite(std)
    near = good & np.any([np.abs(energy - line.energy_ev) < HALF_WINDOW_EV for line in lines], axis=0)
    if near.sum() < MINIMUM_ELECTRONS:
        names = ", ".join(f"{line.name} at {line.energy_ev:.1f} eV" for line in lines)
        raise UserError(
            f"only {int(near.sum())} electrons lie within {HALF_WINDOW_EV:g} eV of {names}: an estimator knows only "
            "energies that it was trained on; predict krypton electrons with one that covers the line"
        )
    fit = _fit(energy[near], np.maximum(std[near], SMALLEST_STD_EV), lines)
    if not fit.valid:
        raise UserError("the fit of the krypton lines did not converge: are these krypton electrons?")
    values, errors = fit.values, fit.errors
    mean_energy = float(np.average([line.energy_ev for line in lines], weights=[line.intensity for line in lines]))
    return Calibration(
        field_scale=float(values["field"]) * 1e-6,
        field_scale_error=float(errors["field"]) * 1e-6,
        resolution_scale=float(values["scale"]),
        resolution_scale_error=float(errors["scale"]),
        shift_ev=-float(values["field"]) * 1e-6 * (mean_energy + ELECTRON_MASS_EV),
        background=float(values["background"]),
        electrons=int(near.sum()),
        lines=tuple(line.name for line in lines),
    )


def line_density(
    energy_ev: Array, std_ev: Array, lines: Sequence[Line], ranges: Sequence[tuple[float, float]]
) -> Array:
    """Return the density per eV of electrons from the lines, normalised over the ranges that were selected.

    energy_ev, std_ev: (electron,); the integral is taken at 24 resolutions and interpolated.
    """
    nodes = np.geomspace(std_ev.min() * 0.999, std_ev.max() * 1.001, 24)
    integral = np.zeros(len(nodes))
    for low, high in ranges:
        fine = np.linspace(low, high, 801)
        integral += np.trapezoid(_sum_of_profiles(fine[None, :], nodes[:, None], lines), fine, axis=1)
    return _sum_of_profiles(energy_ev, std_ev, lines) / np.interp(std_ev, nodes, integral)


def _fit(energy: Array, std: Array, lines: Sequence[Line]) -> Minuit:
    ranges = _merged([(line.energy_ev - HALF_WINDOW_EV, line.energy_ev + HALF_WINDOW_EV) for line in lines])
    width = sum(high - low for low, high in ranges)

    def cost(field: float, scale: float, background: float) -> float:
        # the window stays where it is; the lines move against the estimates
        moved = [Line(line.name, _unscaled(line.energy_ev, field), line.width_ev, line.intensity) for line in lines]
        density = (1 - background) * line_density(energy, std * scale, moved, ranges) + background / width
        return float(-np.log(density).sum())

    shift = float(np.median(energy)) - min((line.energy_ev for line in lines), key=lambda e: abs(np.median(energy) - e))
    start = -shift / (float(np.median(energy)) + ELECTRON_MASS_EV) * 1e6
    fit = Minuit(cost, field=start, scale=1.0, background=0.05)
    fit.errordef = Minuit.LIKELIHOOD
    fit.limits["scale"], fit.limits["background"] = (0.05, 20.0), (0.0, 0.95)
    fit.errors["field"], fit.errors["scale"] = 1.0, 0.05
    fit.migrad()
    fit.hesse()
    return fit


def _sum_of_profiles(energy: Array, std: Array, lines: Sequence[Line]) -> Array:
    total = sum(line.intensity for line in lines)
    profiles = (line.intensity * voigt_profile(energy - line.energy_ev, std, line.width_ev / 2) for line in lines)
    return np.asarray(sum(profiles) / total)


def _unscaled(energy_ev: float, field_ppm: float) -> float:
    """Return where an uncalibrated estimator puts an energy."""
    return (energy_ev + ELECTRON_MASS_EV) / (1 + 1e-6 * field_ppm) - ELECTRON_MASS_EV


def _merged(ranges: list[tuple[float, float]]) -> list[tuple[float, float]]:
    result: list[tuple[float, float]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result
