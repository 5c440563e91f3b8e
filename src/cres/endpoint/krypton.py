"""Calibration with 83mKr: Lorentzian conversion lines give the scale of the field and of the resolution from data.

A wrong field is a factor on the total energy, K + mc² = eB/(2π f) c², so that one number moves all lines by

    K' = (K + mc²)(1 + δ) − mc².

Lines whose windows touch make a group. The strengths within a group are those of the decay; between groups they are
not used, since detection may depend on the energy. K-32 has its satellites from shake-up and shake-off; electrons that
scattered are in a flat background of each group. The factor on the stated uncertainties is applied only where the lines
can measure it: error bars far below the natural width, or few electrons, leave it undetermined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.special import voigt_profile
from scipy.stats import chi2

from cres.endpoint.missed import MOST_MISSED, loss_kernel
from cres.endpoint.quality import usable
from cres.endpoint.response import ENERGY, SMALLEST_STD_EV, energies_and_stds
from cres.errors import UserError, nearest
from cres.physics.beta import T2_ENDPOINT_EV
from cres.physics.constants import ELECTRON_MASS_EV
from cres.physics.krypton import K_32, LINES, ConversionLine, is_satellite, with_satellites
from cres.schema import std_name
from reconstruction.judging.tables.table import PredictionTable

Array = NDArray[np.float64]

HALF_WINDOW_EV = 40.0
MINIMUM_ELECTRONS = 50
SATELLITE_REACH_EV = 15.0
LOSS_STEP_EV, LOSS_MARGIN_EV = 0.1, 60.0
SCALE_LIMITS = (0.05, 20.0)
LARGEST_SCALE_ERROR = 0.3
"""A factor on the error bars that is known worse than this part of itself is not applied."""
LEAST_RISE = 16.0
"""2 Δ(−ln L) by which lines must describe the electrons better than a flat background does."""


@dataclass(frozen=True)
class LineGroup:
    """Lines whose windows touch, and the electrons near them: `energy_ev`, `std_ev` (electron,)."""

    lines: tuple[ConversionLine, ...]
    low_ev: float
    high_ev: float
    energy_ev: Array
    std_ev: Array

    @cached_property
    def scattered(self) -> Scattered:
        """The lines of electrons whose first tracks were missed."""
        return Scattered.of(self.components, self.low_ev, self.high_ev, float(np.median(self.std_ev)))

    @property
    def name(self) -> str:
        """Names of the lines."""
        return "+".join(line.name for line in self.lines)

    @property
    def components(self) -> tuple[ConversionLine, ...]:
        """The lines with those of their satellites that reach into the window."""
        parts = (part for line in self.lines for part in with_satellites(line))
        return tuple(part for part in parts if part.energy_ev > self.low_ev - SATELLITE_REACH_EV)

    @property
    def mean_ev(self) -> float:
        """Mean energy of the lines, weighted with their strengths."""
        return float(np.average([line.energy_ev for line in self.lines], weights=[li.intensity for li in self.lines]))

    @property
    def reference_error_ev(self) -> float:
        """Mean uncertainty of the lines' published energies, weighted with their strengths."""
        return float(np.average([li.energy_error_ev for li in self.lines], weights=[li.intensity for li in self.lines]))

    def density(self, field_ppm: float, scale: float, background: float, missed: float = 0.0) -> Array:
        """Return the density per eV of each electron in the window, (electron,); `missed` tracks as a fraction."""
        # the window stays where it is; the lines move against the estimates
        moved = [replace(line, energy_ev=_unscaled(line.energy_ev, field_ppm)) for line in self.components]
        signal = line_density(self.energy_ev, self.std_ev * scale, moved, self.low_ev, self.high_ev)
        if missed:
            shift = self.lines[0].energy_ev - moved[0].energy_ev
            signal = self.scattered.added(signal, self.energy_ev + shift, missed)
        return (1 - background) * signal + background / (self.high_ev - self.low_ev)


@dataclass(frozen=True)
class Scattered:
    """Lines of electrons that were found after one, two … scatterings, on a grid; (scattering, point).

    They are smeared with one resolution, for the energy loss is wider than most. `inside` is the part of the
    unscattered lines within the window, `inside_after` (scattering,) that of each row.
    """

    grid_ev: Array
    density: Array
    inside: float
    inside_after: Array

    @classmethod
    def of(cls, lines: Sequence[ConversionLine], low_ev: float, high_ev: float, std_ev: float) -> Scattered:
        """Tabulate."""
        grid = np.arange(low_ev - LOSS_MARGIN_EV, high_ev + LOSS_MARGIN_EV, LOSS_STEP_EV)
        first = _sum_of_profiles(grid, np.full_like(grid, max(std_ev, LOSS_STEP_EV)), lines)
        kernel, rows = loss_kernel(LOSS_STEP_EV, len(grid)), [first]
        for _ in range(MOST_MISSED):
            rows.append(np.convolve(rows[-1][::-1], kernel)[: len(grid)][::-1])
        window = (grid >= low_ev) & (grid < high_ev)
        parts = np.array([row[window].sum() * LOSS_STEP_EV for row in rows])
        return cls(grid, np.array(rows[1:]), float(parts[0]), parts[1:])

    def added(self, signal: Array, energy_ev: Array, missed: float) -> Array:
        """Return the density of all electrons within the window, from that of the unscattered ones there."""
        weight = missed ** np.arange(1, MOST_MISSED + 1)
        tail = sum(w * np.interp(energy_ev, self.grid_ev, row) for w, row in zip(weight, self.density, strict=True))
        return np.asarray((signal * self.inside + tail) / (self.inside + weight @ self.inside_after))


@dataclass(frozen=True)
class KryptonCalibration:
    """What the lines say: relative change of the field, factor on stated uncertainties, with standard errors.

    The factor is `resolution_scale` as fitted; where `scale_problem` says why it is not known, 1 is applied.
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
    scale_problem: str | None = None
    missed_fraction: float = 0.0
    missed_fraction_error: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def applied_scale(self) -> float:
        """The factor that error bars are multiplied with."""
        return 1.0 if self.scale_problem else self.resolution_scale

    @property
    def resolution_scale_std(self) -> float:
        """Relative uncertainty that the applied factor brings into a fit; 0 where none is applied."""
        return 0.0 if self.scale_problem else self.resolution_scale_error / self.resolution_scale

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
        changed = table.with_columns({ENERGY: self.energy_ev(energy), name: std * self.applied_scale})
        note = {
            f"calibration_{key}": value for key, value in self.to_dict().items() if isinstance(value, int | float | str)
        }
        return PredictionTable(changed.columns, {**table.attributes, **note})

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self) | {"applied_scale": self.applied_scale}

    def summary(self) -> list[str]:
        """Return the result in plain words."""
        statistical = (T2_ENDPOINT_EV + ELECTRON_MASS_EV) * self.field_scale_error
        return [
            f"lines                {', '.join(self.line_shifts_ev)}: {self.electrons} electrons",
            f"energies were off by {self.shift_ev:+.3f} eV at the lines",
            f"field                × (1 {self.field_scale:+.3e} ± {self.field_scale_error:.1e})",
            f"at the endpoint      ± {statistical:.3f} eV (electrons) "
            f"± {self.reference_error_ev:.3f} eV (published energies)",
            f"stated uncertainties × {self.resolution_scale:.3f} ± {self.resolution_scale_error:.3f}"
            + (" as fitted, not applied" if self.scale_problem else ""),
            *(
                [f"missed tracks        {self.missed_fraction:.2%} ± {self.missed_fraction_error:.2%}"]
                if self.missed_fraction_error
                else []
            ),
            *(
                f"left over            {shift:+.3f} ± {error:.3f} eV at {name}"
                for name, (shift, error) in self.line_shifts_ev.items()
                if len(self.line_shifts_ev) > 1
            ),
            *([f"lines agree with p = {self.agreement:.2f}"] if len(self.line_shifts_ev) > 1 else []),
            *(f"WARNING: {sentence}" for sentence in self.problems()),
        ]

    def problems(self) -> list[str]:
        """Return what the reader has to know, a sentence each."""
        said = [*self.warnings, *([self.scale_problem] if self.scale_problem else [])]
        if len(self.line_shifts_ev) > 1 and self.agreement < 1e-3:
            said.append(f"the lines disagree (p = {self.agreement:.1g}): the scale of the energies is not linear")
        return said


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
    if not lines or any(line.width_ev < 0 or line.intensity <= 0 for line in lines):
        raise UserError(f"{path} holds no lines, or one with a negative width or without intensity")
    return tuple(lines)


def calibrate(
    table: PredictionTable, lines: Sequence[ConversionLine] = LINES, missed_tracks: bool = False
) -> KryptonCalibration:
    """Fit the lines to the electrons of a table and return field and resolution scale.

    With `missed_tracks` the fraction of electrons whose first track was missed is free: the lines' tail towards low
    energies (`cres.endpoint.missed`; the gas is taken to be that of the tritium data).

    Unbinned: each electron's Voigt profiles have its own stated uncertainty times the common scale. Groups of lines
    with fewer than 50 electrons near them are left out. Raises UserError when none remains.
    """
    table, warnings = usable(table, "krypton table")
    energy, std = energies_and_stds(table)
    groups = line_groups(energy, np.maximum(std, SMALLEST_STD_EV), lines)
    if not groups:
        names = ", ".join(f"{line.name} at {line.energy_ev:.1f} eV" for line in lines[:4])
        raise UserError(
            f"fewer than {MINIMUM_ELECTRONS} electrons lie within {HALF_WINDOW_EV:g} eV of {names} …: an estimator "
            "knows only energies that it was trained on; predict krypton electrons with one that covers a line"
        )
    fit = _fit(groups, missed_tracks)
    if not fit.valid:
        raise UserError("the fit of the krypton lines did not converge: are these krypton electrons?")
    _require_lines(groups, fit)
    electrons = np.array([len(group.energy_ev) for group in groups])
    mean_energy = float(np.average([group.mean_ev for group in groups], weights=electrons))
    shifts = {group.name: _left_over(group, fit) for group in groups}
    statistic = sum((shift / error) ** 2 for shift, error in shifts.values())
    return KryptonCalibration(
        field_scale=float(fit.values["field"]) * 1e-6,
        field_scale_error=float(fit.errors["field"]) * 1e-6,
        reference_error_ev=float(np.average([group.reference_error_ev for group in groups], weights=electrons)),
        resolution_scale=float(fit.values["scale"]),
        resolution_scale_error=float(fit.errors["scale"]),
        shift_ev=-float(fit.values["field"]) * 1e-6 * (mean_energy + ELECTRON_MASS_EV),
        electrons=int(electrons.sum()),
        line_shifts_ev=shifts,
        agreement=float(chi2.sf(statistic, len(groups) - 1)) if len(groups) > 1 else 1.0,
        scale_problem=_scale_problem(groups, fit),
        missed_fraction=float(fit.values["missed"]),
        missed_fraction_error=float(fit.errors["missed"]) if missed_tracks else 0.0,
        warnings=tuple(warnings),
    )


def choose_lines(names: Sequence[str], lines: Sequence[ConversionLine] = LINES) -> tuple[ConversionLine, ...]:
    """Return the lines of these names; raises UserError for an unknown one."""
    known = {line.name: line for line in lines}
    for name in names:
        if name not in known:
            raise UserError(f"there is no line {name!r}{nearest(name, known)}; the lines are {', '.join(known)}")
    return tuple(known[name] for name in names)


def _require_lines(groups: Sequence[LineGroup], fit: Minuit) -> None:
    """Raise UserError where a flat background describes the electrons as well as lines do."""
    flat = sum(len(group.energy_ev) * np.log(group.high_ev - group.low_ev) for group in groups)
    gain = 2 * (float(flat) - float(fit.fval))
    if gain < LEAST_RISE:
        names = ", ".join(group.name for group in groups)
        raise UserError(
            f"no krypton line is seen: a flat background describes the electrons near {names} as well "
            f"(2 Δ ln L = {gain:.1f})"
        )


def _scale_problem(groups: Sequence[LineGroup], fit: Minuit) -> str | None:
    """Return why the factor on the error bars is not known, or None: at a limit, or too uncertain."""
    scale, error = fit.values["scale"], fit.errors["scale"]
    std = float(np.median(np.concatenate([group.std_ev for group in groups])))
    width = float(
        np.average(
            [line.width_ev for g in groups for line in g.lines],
            weights=[line.intensity for g in groups for line in g.lines],
        )
    )
    why = f"median error bar {std:.2g} eV, lines {width:.2g} eV wide: choose narrow lines (--use-lines)"
    low, high = SCALE_LIMITS
    if scale < 1.02 * low or scale > 0.98 * high:
        return f"the factor on the error bars ended at its limit, {scale:.2g}, and is not applied ({why})"
    fit.minos("scale")
    merror = fit.merrors["scale"]
    half = 0.5 * (merror.upper - merror.lower) if merror.is_valid else np.inf
    if max(half, error) > LARGEST_SCALE_ERROR * scale:
        uncertain = max(error, min(half, 99.0))
        return (
            f"the lines do not measure the factor on the error bars, {scale:.2g} ± {uncertain:.2g}: not applied ({why})"
        )
    return None


def line_groups(energy_ev: Array, std_ev: Array, lines: Sequence[ConversionLine]) -> list[LineGroup]:
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
            groups.append(LineGroup(tuple(members), low, high, energy_ev[near], std_ev[near]))
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


def _fit(groups: Sequence[LineGroup], missed_tracks: bool) -> Minuit:
    """Fit field (ppm), resolution scale, fraction of missed tracks where wanted, each group's share of background."""

    def cost(values: Array) -> float:
        field, scale, missed, *backgrounds = values
        parts = (np.log(g.density(field, scale, b, missed)).sum() for g, b in zip(groups, backgrounds, strict=True))
        return float(-sum(parts))

    strongest = max(groups, key=lambda group: len(group.energy_ev))
    start = -_peak_shift_ev(strongest) / (strongest.mean_ev + ELECTRON_MASS_EV) * 1e6
    names = ("field", "scale", "missed", *(f"background {group.name}" for group in groups))
    fit = Minuit(cost, np.array([start, 1.0, 0.03 if missed_tracks else 0.0, *[0.05] * len(groups)]), name=names)
    fit.errordef = Minuit.LIKELIHOOD
    fit.limits["scale"], fit.limits["missed"], fit.limits[3:] = SCALE_LIMITS, (0.0, 0.6), (0.0, 0.98)
    fit.errors["field"], fit.errors["scale"], fit.errors["missed"] = 1.0, 0.05, 0.01
    fit.fixed["missed"] = not missed_tracks
    fit.migrad()
    fit.hesse()
    return fit


def _left_over(group: LineGroup, common: Minuit) -> tuple[float, float]:
    """Return the shift in eV that a group has against the common calibration, fitted alone, and its error."""
    scale, background = common.values["scale"], common.values[f"background {group.name}"]
    missed = common.values["missed"]

    def cost(field: float) -> float:
        return float(-np.log(group.density(field, scale, background, missed)).sum())

    fit = Minuit(cost, field=common.values["field"])
    fit.errordef = Minuit.LIKELIHOOD
    fit.errors["field"] = 1.0
    fit.migrad()
    fit.hesse()
    unit = 1e-6 * (group.mean_ev + ELECTRON_MASS_EV)
    return float(common.values["field"] - fit.values["field"]) * unit, float(fit.errors["field"]) * unit


def _peak_shift_ev(group: LineGroup) -> float:
    """Return how far the electrons' peak lies from the lines, by the best of many shifts of 1 eV resolution or more."""
    tried = np.linspace(-HALF_WINDOW_EV, HALF_WINDOW_EV, 161)
    std = np.maximum(group.std_ev, 1.0)
    score = [np.log(_sum_of_profiles(group.energy_ev - shift, std, group.components) + 1e-4).sum() for shift in tried]
    return float(tried[int(np.argmax(score))])


def _sum_of_profiles(energy: Array, std: Array, lines: Sequence[ConversionLine]) -> Array:
    sharp = [line for line in lines if not is_satellite(line)]
    total = np.zeros(len(energy))
    for line in sharp:
        total += line.intensity * voigt_profile(energy - line.energy_ev, std, line.width_ev / 2)
        if line.name == K_32.name and len(sharp) < len(lines):
            total += line.intensity * _satellites(energy - line.energy_ev, std)
    return np.asarray(total / sum(line.intensity for line in lines))


def _satellites(distance_ev: Array, std: Array) -> Array:
    """Return the smeared satellites of K-32 relative to the line's intensity, interpolated: they are wide and many."""
    grid, nodes, table = _satellite_table()
    place = np.clip(np.interp(np.log(std), nodes, np.arange(len(nodes))), 0, len(nodes) - 1.001)
    node = place.astype(np.int64)
    at = np.clip((distance_ev - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1.001)
    cell = at.astype(np.int64)
    upper, right = place - node, at - cell
    below = (1 - right) * table[node, cell] + right * table[node, cell + 1]
    above = (1 - right) * table[node + 1, cell] + right * table[node + 1, cell + 1]
    return np.asarray((1 - upper) * below + upper * above)


@cache
def _satellite_table() -> tuple[Array, Array, Array]:
    """Return distances from the line in eV, logarithms of resolutions, and the satellites' density there."""
    line, *satellites = with_satellites(K_32)
    grid = np.arange(-150.0, 80.0, 0.25)
    stds = np.geomspace(SMALLEST_STD_EV, 60.0, 32)
    table = sum(
        part.intensity / line.intensity
        * voigt_profile(grid - (part.energy_ev - line.energy_ev), stds[:, None], part.width_ev / 2)
        for part in satellites
    )  # fmt: skip
    return grid, np.log(stds), np.asarray(table)


def _unscaled(energy_ev: float, field_ppm: float) -> float:
    """Return where an uncalibrated estimator puts an energy."""
    return (energy_ev + ELECTRON_MASS_EV) / (1 + 1e-6 * field_ppm) - ELECTRON_MASS_EV
