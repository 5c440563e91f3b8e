"""Where the radius moves the carrier and only the power tells it: the posterior with the radius integrated out.

Two radii, on either side of that of the strongest coupling, give one power, and each has an energy of its own. The
posterior comes from a grid of templates (`radial_grid`); a fit at the best of them says whether the model explains the
record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from cres.estimation.fit.least_squares import FitOptions, RadialStrength, fit
from cres.estimation.fit.likelihood import (
    FREE,
    SMALLEST_GOODNESS,
    SMALLEST_WEIGHT,
    fit_options,
)
from cres.estimation.fit.products import make_products
from cres.estimation.placement import on_host
from cres.estimation.radial.grid import GridPosterior, RadialGrid
from cres.estimation.search.matched_filter import MatchedFilter
from cres.estimation.search.periodogram import goodness_p
from cres.estimation.search.templates import OPTIMUM_WIDTH_BINS
from cres.simulation.parameters import parameter_rows
from reconstruction.levels import CENTRAL_68, CENTRAL_95
from reconstruction.shapes import ComplexSeries, PerRow

Array = NDArray[np.float64]
# The best template is near: a few steps show whether anything explains the record.
FIT_STEPS = 8
# Between two radii of the grid the posterior is interpolated at so many places.
PARTS = 4
# Of a unit Gaussian, the medians of its three thirds.
QUANTILES = (-0.9674, 0.0, 0.9674)
NEGLIGIBLE_WEIGHT = 1e-8
# What a template keeps for its own place, over what it gives to the places around it.
ALONE = 1e-3
LARGEST_LOG_RATIO = 300.0
ANYWHERE = 401
BINS = 4096
# What lies outside of the bins at either end.
CUT = 2e-5
PROBABILITIES = (CENTRAL_68, CENTRAL_95)


@dataclass(frozen=True)
class Solution:
    """One mode of the posterior: its probability and the mean of energy and radius in it, each (batch,)."""

    weight: PerRow
    energy_ev: PerRow
    radius_m: PerRow


@dataclass(frozen=True)
class Interval:
    """The shortest interval of a probability, ends (batch,)."""

    low: PerRow
    high: PerRow

    @property
    def centre(self) -> PerRow:
        """Its middle, (batch,)."""
        return (self.low + self.high) / 2

    @property
    def half_width(self) -> PerRow:
        """Half its width, (batch,)."""
        return (self.high - self.low) / 2


Intervals: TypeAlias = tuple[Interval, Interval]


@dataclass(frozen=True)
class RadialPosterior:
    """What is known of each electron with the radius integrated out.

    The intervals are the shortest that hold 68.27 and 95.45 %: where two modes have a share, they span both.
    """

    energy_ev: Intervals
    pitch_angle_deg: Intervals
    inner: Solution
    """At radii below that of the strongest coupling."""
    outer: Solution
    weight: PerRow
    """Posterior share of the templates that have the axial frequency of the best one."""
    elsewhere: PerRow
    """Probability that what was found is noise."""
    statistic: PerRow
    """Matched-filter log likelihood ratio against noise alone."""
    goodness: PerRow
    """Probability that noise alone leaves such a residual as the fit at the best template."""
    evaluations: PerRow
    """Derivative evaluations of that fit."""

    @property
    def two_solutions(self) -> Tensor:
        """Whether both modes have a share worth naming, (batch,)."""
        return torch.maximum(self.inner.weight, self.outer.weight) < SMALLEST_WEIGHT

    @property
    def failed(self) -> Bool[Tensor, "batch"]:
        """A residual that noise does not explain."""
        return self.goodness < SMALLEST_GOODNESS

    @property
    def ambiguous(self) -> Bool[Tensor, "batch"]:
        """Another axial frequency has a share of the posterior worth naming."""
        return self.weight < SMALLEST_WEIGHT


class RadialEstimator:
    """Reconstructs records of an apparatus with a radial field; the gain is known, the radius uniform in area."""

    def __init__(self, matched_filter: MatchedFilter) -> None:
        self.search, self.apparatus = matched_filter, matched_filter.apparatus
        self.strength = RadialStrength.measure(self.apparatus)
        self.grid = RadialGrid(matched_filter)
        limits = fit_options(self.apparatus)
        self.options = FitOptions(FREE, limits.lower, limits.upper, FIT_STEPS)

    def estimate(self, data: ComplexSeries) -> RadialPosterior:
        """Search for the carrier, weigh the templates there, fit at the best of them."""
        found = self.search(data)
        templates = self.grid(self.search.steady(data, found.chirp_hz_per_s), found.carrier_hz)
        best = templates.weight.argmax(1, keepdim=True)
        width_hz = OPTIMUM_WIDTH_BINS * self.apparatus.reception.bin_hz
        near = (templates.axial_hz - templates.axial_hz.gather(1, best)).abs() < width_hz
        products = make_products(self.apparatus.model, data, self.search.noise, FREE)
        fitted = fit(products, torch.arange(len(data), device=data.device), self._starts(templates, best), self.options)
        left = products.residual_spectrum(fitted.parameters)
        energy, pitch = self._intervals(templates)
        inner, outer = self._solutions(templates)
        return RadialPosterior(
            energy,
            pitch,
            inner,
            outer,
            (templates.weight * near).sum(1),
            templates.elsewhere,
            found.statistic,
            goodness_p(left, self.apparatus.reception.sampling_rate_hz, self.search.fine.band_hz),
            1.0 + fitted.steps.double(),
        )

    def _starts(self, templates: GridPosterior, best: Int[Tensor, "batch 1"]) -> Float[Tensor, "batch 6"]:
        """Return the best template of each electron as parameters; the fit solves common phase and strength."""
        energy, axial_hz, phase = (
            values.gather(1, best)[:, 0]
            for values in (templates.energy_ev, templates.axial_hz, templates.axial_phase_rad)
        )
        rows = parameter_rows(
            energy,
            self.grid.template_pitch_deg[best[:, 0]],
            self.grid.template_radius_m[best[:, 0]],
            axial_phase_rad=phase - 2 * math.pi * axial_hz * self.apparatus.reception.middle_s,
        )
        lower, upper = (rows.new_tensor(limit) for limit in (self.options.lower, self.options.upper))
        return rows.clamp(lower, upper)

    def _intervals(self, templates: GridPosterior) -> tuple[Intervals, Intervals]:
        """Return the intervals of energy and pitch angle."""
        pitch = self.grid.template_pitch_deg.expand_as(templates.weight)
        carrier_ev = templates.carrier_std_hz * self.grid.ev_per_hz
        energies, pitches = self.apparatus.energies_ev, self.apparatus.pitch_angles_deg
        rows = zip(templates.weight, templates.energy_ev, pitch, carrier_ev, templates.elsewhere, strict=True)
        found = [
            (
                self._ends(weight, energy, float(error), float(elsewhere), energies),
                self._ends(weight, angle, 0.0, float(elsewhere), pitches),
            )
            for weight, energy, angle, error, elsewhere in rows
        ]
        ends = templates.weight.new_tensor(found)  # (electron, quantity, probability, end)
        energies_ev, pitches_deg = ((Interval(*ends[:, q, 0].T), Interval(*ends[:, q, 1].T)) for q in range(2))
        return energies_ev, pitches_deg

    def _ends(
        self,
        weight: Float[Tensor, "template"],
        values: Float[Tensor, "template"],
        error: float,
        elsewhere: float,
        window: tuple[float, float],
    ) -> list[tuple[float, float]]:
        """Return the ends of one electron's intervals of a quantity that the templates have to within `error`."""
        cell = self.grid.cell_widths(values[None])[0]
        spread = torch.sqrt(cell.square() / 12 + error**2)
        shaped = [on_host(part).reshape(-1, self.grid.radii) for part in (weight, values, spread)]
        points, shares = between_radii(*shaped)
        anywhere = np.full(ANYWHERE, elsewhere / ANYWHERE)
        shares *= (1 - elsewhere) / max(shares.sum(), 1e-300)
        return shortest_intervals(
            np.concatenate([points, np.linspace(*window, ANYWHERE)]), np.concatenate([shares, anywhere])
        )

    def _solutions(self, templates: GridPosterior) -> tuple[Solution, Solution]:
        """Return what lies inside and outside the radius of the strongest coupling; noise alone is in neither."""
        radius = self.grid.template_radius_m
        inside = radius < self.strength.radius_m[self.strength.best]
        inner, outer = (_solution(templates.weight * side, templates.energy_ev, radius) for side in (inside, ~inside))
        return inner, outer


def between_radii(weight: Array, values: Array, spread: Array) -> tuple[Array, Array]:
    """Return points with weights, (point,) each, of what is given at pitch angles and radii, (pitch, radius).

    Each template's weight is spread over its part of the radii, half way to its neighbours, as weights that are
    exponential and values that are linear between them tell; its sum stays, also where both neighbours have none: there
    a ridge runs along the pitch angles between two radii. At each place a Gaussian spread is three points. A sum over
    the radii alone would leave gaps, and intervals that end at their edges are too short.
    """
    with np.errstate(divide="ignore"):
        log_weight = np.log(weight)
    kept = log_weight > log_weight.max() + math.log(NEGLIGIBLE_WEIGHT)
    padded = np.pad(log_weight, ((0, 0), (1, 1)), constant_values=-np.inf)
    values, spread = (np.pad(each, ((0, 0), (1, 1)), mode="edge") for each in (values, spread))
    here = slice(1, -1)
    found: list[tuple[Array, Array, Array]] = []
    for part in (np.arange(PARTS) + 0.5) / PARTS - 0.5:
        there = slice(2, None) if part > 0 else slice(None, -2)
        with np.errstate(invalid="ignore"):
            share = np.exp(np.minimum(abs(part) * (padded[:, there] - padded[:, here]), LARGEST_LOG_RATIO))
        value, width = ((1 - abs(part)) * v[:, here] + abs(part) * v[:, there] for v in (values, spread))
        apart = np.abs(values[:, there] - values[:, here]) / PARTS
        found.append((np.nan_to_num(share), value, np.sqrt(width**2 + apart**2 / 12)))
    # the template itself, without which one between two of no weight would have no place
    found.append((np.full_like(weight, ALONE), values[:, here], spread[:, here]))
    total = np.sum([share for share, _, _ in found], axis=0)
    points: list[Array] = []
    shares: list[Array] = []
    for share, value, width in found:
        points += [value[kept] + quantile * width[kept] for quantile in QUANTILES]
        shares += [(weight * share / total)[kept]] * len(QUANTILES)
    return np.concatenate(points), np.concatenate(shares)


def shortest_intervals(values: Array, weights: Array) -> list[tuple[float, float]]:
    """Return the ends of the shortest intervals that hold each of `PROBABILITIES` of weighted points, (point,) each."""
    edges, reached = _distribution(values, weights, float(values.min()), float(values.max()))
    low, high = np.interp([CUT, 1 - CUT], reached, edges)
    edges, reached = _distribution(values, weights, float(low), float(high))
    found = []
    for probability in PROBABILITIES:
        first = edges[reached <= 1 - probability]
        length = np.interp(reached[: len(first)] + probability, reached, edges) - first
        shortest = int(length.argmin())
        found.append((float(first[shortest]), float(first[shortest] + length[shortest])))
    return found


def _distribution(values: Array, weights: Array, low: float, high: float) -> tuple[Array, Array]:
    """Return edges and the share of the weights below each, from 0 to 1; what is beyond counts to the outer bins."""
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    place = ((values - low) * (BINS / (edges[-1] - low))).clip(0, BINS - 1).astype(np.int64)
    reached = np.concatenate([[0.0], np.bincount(place, weights, minlength=BINS).cumsum()])
    # an empty bin is passed in no time: the inverse of a flat stretch is its end
    return edges, reached / reached[-1] + np.arange(BINS + 1) * 1e-15


def _solution(
    weights: Float[Tensor, "batch template"], energy_ev: Float[Tensor, "batch template"], radius_m: Tensor
) -> Solution:
    """Return share and means; where the share is nothing, the means are NaN."""
    total = weights.sum(1)
    return Solution(total, (weights * energy_ev).sum(1) / total, (weights * radius_m).sum(1) / total)
