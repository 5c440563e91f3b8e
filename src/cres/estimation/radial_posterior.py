"""Where the radius moves the carrier and only the power tells it: the posterior with the radius integrated out.

Two radii, on either side of that of the strongest coupling, give one power, and each has an energy of its own. The
posterior comes from a grid of templates (`radial_grid`); a fit at the best of them says whether the model explains the
record.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cres.estimation.apparatus import RadialStrength
from cres.estimation.least_squares import AMPLITUDE, AXIAL_PHASE, ENERGY, PITCH, RADIUS, Options, fit
from cres.estimation.likelihood import FREE, SMALLEST_GOODNESS, SMALLEST_WEIGHT, fit_options, goodness_of
from cres.estimation.products import make_products
from cres.estimation.radial_grid import GridPosterior, RadialGrid
from cres.estimation.search import MatchedFilter
from cres.estimation.starts import OPTIMUM_WIDTH_BINS
from cres.shapes import ComplexSeries, PerElectron

# The best template is near: a few steps show whether anything explains the record.
FIT_STEPS = 8
KEPT_TEMPLATES = 16_384
# Of a unit Gaussian, five of equal probability.
QUANTILES = (-1.2816, -0.5244, 0.0, 0.5244, 1.2816)
ANYWHERE = 101
PROBABILITIES = (0.682689, 0.954500)


@dataclass(frozen=True)
class Solution:
    """One mode of the posterior: its probability and the mean of energy and radius in it, each (batch,)."""

    weight: PerElectron
    energy_ev: PerElectron
    radius_m: PerElectron


@dataclass(frozen=True)
class Interval:
    """The shortest interval of a probability, ends (batch,)."""

    low: PerElectron
    high: PerElectron

    @property
    def centre(self) -> PerElectron:
        """Its middle, (batch,)."""
        return (self.low + self.high) / 2

    @property
    def half_width(self) -> PerElectron:
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
    weight: PerElectron
    """Posterior share of the templates that have the axial frequency of the best one."""
    elsewhere: PerElectron
    """Probability that what was found is noise."""
    statistic: PerElectron
    """Matched-filter log likelihood ratio against noise alone."""
    goodness: PerElectron
    """Probability that noise alone leaves such a residual as the fit at the best template."""
    evaluations: PerElectron
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
        self.options = Options(FREE, limits.lower, limits.upper, FIT_STEPS)

    def estimate(self, data: ComplexSeries) -> RadialPosterior:
        """Search for the carrier, weigh the templates there, fit at the best of them."""
        found = self.search(data)
        templates = self.grid(data, found.carrier_hz)
        best = templates.weight.argmax(1, keepdim=True)
        width_hz = OPTIMUM_WIDTH_BINS * self.apparatus.reception.bin_hz
        near = (templates.axial_hz - templates.axial_hz.gather(1, best)).abs() < width_hz
        products = make_products(self.apparatus.model, data, self.search.noise, FREE)
        fitted = fit(products, torch.arange(len(data)), self._starts(templates, best), self.options)
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
            goodness_of(self.search, products, fitted.parameters),
            1.0 + fitted.steps.double(),
        )

    def _starts(self, templates: GridPosterior, best: Int[Tensor, "batch 1"]) -> Float[Tensor, "batch 6"]:
        """Return the best template of each electron as parameters; the fit solves common phase and strength."""
        rows = torch.zeros(len(best), 6, dtype=torch.float64)
        rows[:, ENERGY] = templates.energy_ev.gather(1, best)[:, 0]
        rows[:, PITCH] = self.grid.template_pitch_deg[best[:, 0]]
        rows[:, RADIUS], rows[:, AMPLITUDE] = self.grid.template_radius_m[best[:, 0]], 1.0
        turned = 2 * math.pi * templates.axial_hz.gather(1, best) * self.apparatus.reception.middle_s
        rows[:, AXIAL_PHASE] = (templates.axial_phase_rad.gather(1, best) - turned)[:, 0]
        lower, upper = (torch.tensor(limit, dtype=torch.float64) for limit in (self.options.lower, self.options.upper))
        return rows.clamp(lower, upper)

    def _intervals(self, templates: GridPosterior) -> tuple[Intervals, Intervals]:
        """Return the intervals of energy and pitch angle."""
        kept = templates.weight.topk(min(KEPT_TEMPLATES, templates.weight.shape[1]), 1).indices
        weight = templates.weight.gather(1, kept)
        pitch = self.grid.template_pitch_deg.expand_as(templates.weight)
        carrier_ev = templates.carrier_std_hz * self.grid.ev_per_hz
        found = []
        for values, error, window in (
            (templates.energy_ev, carrier_ev, self.apparatus.energies_ev),
            (pitch, torch.zeros_like(carrier_ev), self.apparatus.pitch_angles_deg),
        ):
            cell = self.grid.cell_widths(values).gather(1, kept)
            spread = torch.sqrt(cell.square() / 12 + error.square()[:, None])
            points = values.gather(1, kept)[:, :, None] + spread[:, :, None] * torch.tensor(QUANTILES)
            anywhere = torch.linspace(*window, ANYWHERE, dtype=torch.float64).expand(len(weight), -1)
            shares = torch.cat(
                [
                    (weight[:, :, None] / len(QUANTILES)).expand_as(points).flatten(1),
                    (templates.elsewhere[:, None] / ANYWHERE).expand_as(anywhere),
                ],
                1,
            )
            found.append(shortest_intervals(torch.cat([points.flatten(1), anywhere], 1), shares))
        return found[0], found[1]

    def _solutions(self, templates: GridPosterior) -> tuple[Solution, Solution]:
        """Return what lies inside and outside the radius of the strongest coupling; noise alone is in neither."""
        radius = self.grid.template_radius_m
        inside = radius < self.strength.radius_m[self.strength.best]
        inner, outer = (_solution(templates.weight * side, templates.energy_ev, radius) for side in (inside, ~inside))
        return inner, outer


def shortest_intervals(values: Float[Tensor, "batch point"], weights: Float[Tensor, "batch point"]) -> Intervals:
    """Return the shortest intervals that hold each of `PROBABILITIES` of weighted points."""
    values, order = values.sort(1)
    reached = weights.gather(1, order).cumsum(1)
    before = reached - weights.gather(1, order)
    found = []
    for probability in PROBABILITIES:
        wanted = before + probability * reached[:, -1:]
        last = torch.searchsorted(reached, wanted)
        length = values.gather(1, last.clamp(max=values.shape[1] - 1)) - values
        first = length.masked_fill(last >= values.shape[1], math.inf).argmin(1, keepdim=True)
        low = values.gather(1, first)[:, 0]
        found.append(Interval(low, low + length.gather(1, first)[:, 0]))
    return found[0], found[1]


def _solution(
    weights: Float[Tensor, "batch template"], energy_ev: Float[Tensor, "batch template"], radius_m: Tensor
) -> Solution:
    """Return share and means; where the share is nothing, the means are NaN."""
    total = weights.sum(1)
    return Solution(total, (weights * energy_ev).sum(1) / total, (weights * radius_m).sum(1) / total)
