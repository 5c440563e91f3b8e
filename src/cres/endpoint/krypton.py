"""Calibration with 83mKr: Lorentzian conversion lines give the scale of the field and of the resolution from data.

A wrong field is a factor on the total energy, K + mc² = eB/(2π f) c², so that one number moves all lines by

    K' = (K + mc²)(1 + δ) − mc².

Lines whose windows touch make a group. The strengths within a group are those of the decay; between groups they are
not used, since detection may depend on the energy. Satellites from shake-up and shake-off, and electrons that
scattered, are left out: each group has a flat background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.special import voigt_profile
from scipy.stats import chi2

from cres.endpoint.response import ENERGY, SMALLEST_STD_EV, energies_and_stds
from cres.errors import UserError
from cres.evaluation.table import PredictionTable
from cres.physics.constants import ELECTRON_MASS_EV
from cres.physics.krypton import LINES, ConversionLine
from cres.schema import std_name

Array = NDArray[np.float64]

HALF_WINDOW_EV = 40.0
MINIMUM_ELECTRONS = 50


@dataclass(frozen=True)
class Group:
    """Lines whose windows touch, and the electrons near them: `energy_ev`, `std_ev` (electron,)."""

    lines: tuple[ConversionLine, ...]
    low_ev: float
    high_ev: float
    energy_ev: Array
    std_ev: Array

    @property
    def name(self) -> str:
        """Names of the lines."""
        return "+".join(line.name for line in self.lines)

    @property
    def mean_ev(self) -> float:
        """Mean energy of the lines, weighted with their strengths."""
        return float(np.average([line.energy_ev for line in self.lines], weights=[li.intensity for li in self.lines]))

    @property
    def reference_error_ev(self) -> float:
        """Mean uncertainty of the lines' published energies, weighted with their strengths."""
        return float(np.average([li.energy_error_ev for li in self.lines], weights=[li.intensity for li in self.lines]))

    def density(self, field_ppm: float, scale: float, background: float) -> Array:
        """Return the density per eV of each electron in the window, (electron,)."""
        # the window stays where it is; the lines move against the estimates
        moved = [replace(line, energy_ev=_unscaled(line.energy_ev, field_ppm)) for line in self.lines]
        signal = line_density(self.energy_ev, self.std_ev * scale, moved, self.low_ev, self.high_ev)
        return (1 - background) * signal + background / (self.high_ev - self.low_ev)


@dataclass(frozen=True)
class Calibration:
    """What the lines say: relative change of the field, factor on stated uncertainties, with standard errors.

    `shift_ev` is the mean of estimate − line energy before the calibration; `reference_error_ev` the uncertainty of the
    lines' published energies, taken as common to all. `line_shifts_ev` holds (shift, error) that each group of lines
    has left when it is fitted alone; `agreement` is the p-value of all of them being zero (1 for one group).
    """

    field_scale: float
    field_scale_error: float
    reference_error_ev: float
    resolution_scale: float
    resolution_scale_error: float
    shift_ev: float
    electrons: int
    line_shifts_ev: dict[str, tuple[float, float]]
    agreement: float

    def energy_ev(self, energy_ev: Array) -> Array:
        """Return calibrated energies."""
        return (energy_ev + ELECTRON_MASS_EV) * (1 + self.field_scale) - ELECTRON_MASS_EV

    def energy_error_ev(self, energy_ev: float) -> float:
        """Return the uncertainty of the energy scale at an energy, with that of the lines' published energies."""
        return float(np.hypot((energy_ev + ELECTRON_MASS_EV) * self.field_scale_error, self.reference_error_ev))

    def apply(self, table: PredictionTable) -> PredictionTable:
        """Return the table with calibrated energies and stated uncertainties, and the calibration in its attributes."""
        energy, std = energies_and_stds(table)
        name = std_name(ENERGY)
        changed = table.with_columns({ENERGY: self.energy_ev(energy), name: std * self.resolution_scale})
        note = {f"calibration_{key}": value for key, value in self.to_dict().items() if not isinstance(value, dict)}
        return PredictionTable(changed.columns, {**table.attributes, **note})

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)

    def summary(self) -> list[str]:
        """Return the result in plain words."""
        statistical = (18_573.0 + ELECTRON_MASS_EV) * self.field_scale_error
        return [
            f"lines                {', '.join(self.line_shifts_ev)}: {self.electrons} electrons",
            f"energies were off by {self.shift_ev:+.3f} eV at the lines",
            f"field                × (1 {self.field_scale:+.3e} ± {self.field_scale_error:.1e})",
            f"at the endpoint      ± {statistical:.3f} eV (electrons) "
            f"± {self.reference_error_ev:.3f} eV (published energies)",
            f"stated uncertainties × {self.resolution_scale:.3f} ± {self.resolution_scale_error:.3f}",
            *(
                f"left over            {shift:+.3f} ± {error:.3f} eV at {name}"
                for name, (shift, error) in self.line_shifts_ev.items()
                if len(self.line_shifts_ev) > 1
            ),
            *([f"lines agree with p = {self.agreement:.2f}"] if len(self.line_shifts_ev) > 1 else []),
        ]


def read_lines(path: Path) -> tuple[ConversionLine, ...]:
    """Read lines from a text file: name, energy in eV, full width in eV[, relative intensity], separated by commas."""
    lines = []
    try:
        rows = [row.split("#")[0].strip() for row in path.read_text().splitlines()]
        for row in filter(None, rows):
            name, *numbers = (part.strip() for part in row.split(","))
            energy, width, intensity = (float(number) for number in [*numbers, "1"][:3])
            lines.append(ConversionLine(name, energy, width, intensity, path.name))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot read lines from {path} (name, energy, width[, intensity] a row): {error}") from error
    if not lines or any(line.width_ev <= 0 or line.intensity <= 0 for line in lines):
        raise UserError(f"{path} holds no lines with a positive width and intensity")
    return tuple(lines)


def calibrate(table: PredictionTable, lines: Sequence[ConversionLine] = LINES) -> Calibration:
    """Fit the lines to the electrons of a table and return field and resolution scale.

    Unbinned: each electron's Voigt profiles have its own stated uncertainty times the common scale. Groups of lines
    with fewer than 50 electrons near them are left out. Raises UserError when none remains.
    """
    energy, std = energies_and_stds(table)
    good = np.isfinite(energy) & np.isfinite(std)
    groups = line_groups(energy[good], np.maximum(std[good], SMALLEST_STD_EV), lines)
    if not groups:
        names = ", ".join(f"{line.name} at {line.energy_ev:.1f} eV" for line in lines[:4])
        raise UserError(
            f"fewer than {MINIMUM_ELECTRONS} electrons lie within {HALF_WINDOW_EV:g} eV of {names} …: an estimator "
            "knows only energies that it was trained on; predict krypton electrons with one that covers a line"
        )
    fit = _fit(groups)
    if not fit.valid:
        raise UserError("the fit of the krypton lines did not converge: are these krypton electrons?")
    electrons = np.array([len(group.energy_ev) for group in groups])
    mean_energy = float(np.average([group.mean_ev for group in groups], weights=electrons))
    shifts = {group.name: _left_over(group, fit) for group in groups}
    statistic = sum((shift / error) ** 2 for shift, error in shifts.values())
    return Calibration(
        field_scale=float(fit.values["field"]) * 1e-6,
        field_scale_error=float(fit.errors["field"]) * 1e-6,
        reference_error_ev=float(np.average([group.reference_error_ev for group in groups], weights=electrons)),
        resolution_scale=float(fit.values["scale"]),
        resolution_scale_error=float(fit.errors["scale"]),
        shift_ev=-float(fit.values["field"]) * 1e-6 * (mean_energy + ELECTRON_MASS_EV),
        electrons=int(electrons.sum()),
        line_shifts_ev=shifts,
        agreement=float(chi2.sf(statistic, len(groups) - 1)) if len(groups) > 1 else 1.0,
    )


def line_groups(energy_ev: Array, std_ev: Array, lines: Sequence[ConversionLine]) -> list[Group]:
    """Return the groups of lines that have enough electrons; energy_ev, std_ev: (electron,)."""
    joined: list[list[ConversionLine]] = []
    for line in sorted(lines, key=lambda line: line.energy_ev):
        if joined and line.energy_ev - joined[-1][-1].energy_ev <= 2 * HALF_WINDOW_EV:
            joined[-1].append(line)
        else:
            joined.append([line])
    groups = []
    for members in joined:
        low, high = members[0].energy_ev - HALF_WINDOW_EV, members[-1].energy_ev + HALF_WINDOW_EV
        near = (energy_ev > low) & (energy_ev < high)
        if near.sum() >= MINIMUM_ELECTRONS:
            groups.append(Group(tuple(members), low, high, energy_ev[near], std_ev[near]))
    return groups


def line_density(
    energy_ev: Array, std_ev: Array, lines: Sequence[ConversionLine], low_ev: float, high_ev: float
) -> Array:
    """Return the density per eV of electrons from the lines, normalised over a window.

    energy_ev, std_ev: (electron,). Within the window is ⟨F(high − σz) − F(low − σz)⟩ of a line, F its distribution and
    z normal; it is taken at 24 resolutions and interpolated.
    """
    node, weight = np.polynomial.hermite_e.hermegauss(16)
    weight = weight / weight.sum()
    stds = np.geomspace(std_ev.min() * 0.999, std_ev.max() * 1.001, 24)
    noise = stds[:, None] * node
    strength = np.array([line.intensity for line in lines]) / sum(line.intensity for line in lines)
    inside = sum(
        share * (line.distribution(high_ev - noise) - line.distribution(low_ev - noise)) @ weight
        for share, line in zip(strength, lines, strict=True)
    )
    return _sum_of_profiles(energy_ev, std_ev, lines) / np.interp(std_ev, stds, np.asarray(inside))


def _fit(groups: Sequence[Group]) -> Minuit:
    """Fit field (ppm), resolution scale and each group's share of background."""

    def cost(values: Array) -> float:
        field, scale, *backgrounds = values
        return float(-sum(np.log(g.density(field, scale, b)).sum() for g, b in zip(groups, backgrounds, strict=True)))

    strongest = max(groups, key=lambda group: len(group.energy_ev))
    start = -_peak_shift_ev(strongest) / (strongest.mean_ev + ELECTRON_MASS_EV) * 1e6
    names = ("field", "scale", *(f"background {group.name}" for group in groups))
    fit = Minuit(cost, np.array([start, 1.0, *[0.05] * len(groups)]), name=names)
    fit.errordef = Minuit.LIKELIHOOD
    fit.limits["scale"], fit.limits[2:] = (0.05, 20.0), (0.0, 0.98)
    fit.errors["field"], fit.errors["scale"] = 1.0, 0.05
    fit.migrad()
    fit.hesse()
    return fit


def _left_over(group: Group, common: Minuit) -> tuple[float, float]:
    """Return the shift in eV that a group has against the common calibration, fitted alone, and its error."""
    scale, background = common.values["scale"], common.values[f"background {group.name}"]

    def cost(field: float) -> float:
        return float(-np.log(group.density(field, scale, background)).sum())

    fit = Minuit(cost, field=common.values["field"])
    fit.errordef = Minuit.LIKELIHOOD
    fit.errors["field"] = 1.0
    fit.migrad()
    fit.hesse()
    unit = 1e-6 * (group.mean_ev + ELECTRON_MASS_EV)
    return float(common.values["field"] - fit.values["field"]) * unit, float(fit.errors["field"]) * unit


def _peak_shift_ev(group: Group) -> float:
    """Return how far the electrons' peak lies from the lines, by the best of many shifts of 1 eV resolution or more."""
    tried = np.linspace(-HALF_WINDOW_EV, HALF_WINDOW_EV, 161)
    std = np.maximum(group.std_ev, 1.0)
    score = [np.log(_sum_of_profiles(group.energy_ev - shift, std, group.lines) + 1e-4).sum() for shift in tried]
    return float(tried[int(np.argmax(score))])


def _sum_of_profiles(energy: Array, std: Array, lines: Sequence[ConversionLine]) -> Array:
    total = sum(line.intensity for line in lines)
    profiles = (line.intensity * voigt_profile(energy - line.energy_ev, std, line.width_ev / 2) for line in lines)
    return np.asarray(sum(profiles) / total)


def _unscaled(energy_ev: float, field_ppm: float) -> float:
    """Return where an uncalibrated estimator puts an energy."""
    return (energy_ev + ELECTRON_MASS_EV) / (1 + 1e-6 * field_ppm) - ELECTRON_MASS_EV
