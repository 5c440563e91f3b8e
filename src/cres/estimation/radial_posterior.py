"""Maximum likelihood where the radius moves the carrier and only the power tells it: the posterior over the radius.

At each of a few fixed radii everything else is fitted, the gain included; what comes out is smooth in the radius and
is interpolated. Demanding the known gain afterwards, a linear step, leaves the posterior over the radius: mostly two
modes, one on either side of the radius of strongest coupling, each with an energy of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from cres.estimation.apparatus import RadialStrength
from cres.estimation.least_squares import AMPLITUDE, AXIAL_PHASE, ENERGY, PITCH, RADIUS, Fit, Options, fit
from cres.estimation.likelihood import FREE, SMALLEST_WEIGHT, Likelihood, fit_options, summarised
from cres.estimation.matched_filter import best_templates
from cres.estimation.products import make_products
from cres.estimation.search import Found, MatchedFilter
from cres.shapes import ComplexSeries, PerElectron

NODES = 8
INNERMOST = 0.06
"""First node over the largest radius: on the axis there is no signal to fit."""
FINE_RADII = 400
NEWTON_STEPS = 2
CENTRAL = (0.15865, 0.5, 0.84135)
# Rows of the smooth curves over the radius.
CURVES = ("chi_square", "energy", "pitch", "strength", "norm", "half_logdet")


@dataclass(frozen=True)
class Solution:
    """One mode of the posterior: its probability and the mean of energy and radius in it, each (batch,)."""

    weight: PerElectron
    energy_ev: PerElectron
    radius_m: PerElectron


@dataclass(frozen=True)
class RadialPosterior:
    """What is known of each electron with the radius integrated out."""

    energy_ev: PerElectron
    """Medians; the `std` are half the central 68.27 %, wide where two modes have a share."""
    energy_std_ev: PerElectron
    pitch_angle_deg: PerElectron
    pitch_angle_std_deg: PerElectron
    inner: Solution
    """At radii below that of the strongest coupling."""
    outer: Solution
    likelihood: Likelihood
    """The fit at the best node, with its flags."""

    @property
    def two_solutions(self) -> Tensor:
        """Whether both modes have a share worth naming, (batch,)."""
        return torch.maximum(self.inner.weight, self.outer.weight) < SMALLEST_WEIGHT


class RadialEstimator:
    """Fits records of an apparatus with a radial field; the gain is known, the radius uniform in area."""

    def __init__(self, matched_filter: MatchedFilter) -> None:
        self.search, self.apparatus = matched_filter, matched_filter.apparatus
        self.noise = matched_filter.noise
        self.strength = RadialStrength.measure(self.apparatus)
        limits = fit_options(self.apparatus)
        self.options = Options(FREE, limits.lower, limits.upper)
        self.nodes_m = torch.linspace(INNERMOST, 1.0, NODES, dtype=torch.float64) * self.apparatus.largest_radius_m

    def estimate(self, data: ComplexSeries) -> RadialPosterior:
        """Search, fit at all nodes, integrate over the radius."""
        found = self.search(data)
        products = make_products(self.apparatus.model, data, self.noise, FREE)
        rows = torch.arange(len(data)).repeat_interleave(NODES)
        fits = fit(products, rows, self.starts(found), self.options)
        best = fits.chi_square.reshape(-1, NODES).argmin(1) + NODES * torch.arange(len(data))
        spent = (1.0 + fits.steps.double()).reshape(-1, NODES).sum(1) + NEWTON_STEPS * NODES
        fitted = summarised(self.search, products, found.templates, fits.rows(best), spent, found.carrier_hz)
        return posterior_of(self._curves(fits), self.nodes_m, self.strength, fitted)

    def starts(self, found: Found) -> Float[Tensor, "start 6"]:
        """Return the best template of each electron at every node: energy and pitch angle by Newton's method.

        They must give carrier and axial frequency at the middle of the record.
        """
        bank, middle_s = self.search.fine, self.apparatus.reception.middle_s
        position = best_templates(found.templates, 1, 1)
        template = found.templates.template.gather(1, position)[:, 0]
        phase = found.templates.axial_phase_rad.gather(1, position)[:, 0].repeat_interleave(NODES)
        target = torch.stack([found.carrier_hz, bank.axial_hz[template]], 1).repeat_interleave(NODES, 0)
        node = bank.energy_index(found.carrier_hz[:, None], template[:, None])[:, 0]
        rows = torch.zeros(len(target), 6, dtype=torch.float64)
        rows[:, ENERGY] = bank.energies_ev[node].repeat_interleave(NODES)
        rows[:, PITCH] = bank.pitch_angle_deg[node, template].repeat_interleave(NODES)
        rows[:, RADIUS], rows[:, AMPLITUDE] = self.nodes_m.repeat(len(template)), 1.0
        lower, upper = (torch.tensor(limit, dtype=torch.float64) for limit in (self.options.lower, self.options.upper))
        for _ in range(NEWTON_STEPS):
            lines = self.apparatus.model.lines(rows, ("energy_ev", "pitch_angle_deg"))
            rate = torch.stack([_rate_hz(p, middle_s) for p in (lines.phase, lines.axial)], 1)
            slope = torch.stack([_rate_hz(p, middle_s) for p in (lines.phase_by, lines.axial_by)], 1)
            step = torch.linalg.solve(slope.permute(2, 1, 0), target - rate)
            rows[:, :2] += step
            rows = rows.clamp(lower, upper)
        rows[:, AXIAL_PHASE] = phase - 2 * math.pi * target[:, 1] * middle_s
        return rows

    def _curves(self, fits: Fit) -> dict[str, Tensor]:
        """Return the results at the nodes as smooth quantities, (batch, node), and covariances (batch, node, 3, 3).

        The covariances are of energy, pitch angle and strength, the strength being amplitude times the record's norm.
        """
        lines = self.apparatus.model.lines(fits.parameters)
        norm = (self.apparatus.reception.samples * lines.amplitudes.abs().square().sum(1)).sqrt()
        amplitude = fits.parameters[:, AMPLITUDE]
        covariance = torch.linalg.inv(fits.information)
        unit = torch.stack([torch.ones_like(norm), torch.ones_like(norm), norm], 1)
        kept = [FREE.index(name) for name in ("energy_ev", "pitch_angle_deg", "amplitude")]
        covariance = covariance[:, kept][:, :, kept] * unit[:, :, None] * unit[:, None, :]
        others = [index for index in range(len(FREE)) if FREE[index] != "amplitude"]
        # at the gain of 1 the information of the others is smaller by the square of the amplitude
        logdet = torch.logdet(fits.information[:, others][:, :, others]) - 2 * len(others) * amplitude.log()
        values = (fits.chi_square, fits.parameters[:, ENERGY], fits.parameters[:, PITCH], amplitude * norm, norm)
        curves = dict(zip(CURVES, (*values, logdet / 2), strict=True))
        shaped = {name: value.reshape(-1, NODES) for name, value in curves.items()}
        return mended({**shaped, "covariance": covariance.reshape(-1, NODES, 3, 3)})


def mended(curves: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the curves with nodes at which a fit broke down (no strength, no information) as at the nearest other.

    `curves` are (batch, node, …). An electron without a single good node has NaN in all curves.
    """
    usable = torch.stack([values.isfinite().flatten(2).all(2) if values.ndim > 2 else values.isfinite()
                          for values in curves.values()]).all(0)  # fmt: skip
    place = torch.arange(usable.shape[1])
    distance = (place[:, None] - place).abs().expand(len(usable), -1, -1)
    nearest = distance.masked_fill(~usable[:, None, :], usable.shape[1]).argmin(2)
    rows = torch.arange(len(usable))[:, None]
    filled = {name: values[rows, nearest] for name, values in curves.items()}
    lost = ~usable.any(1)
    return {name: values.masked_fill(lost.reshape(-1, *[1] * (values.ndim - 1)), torch.nan)
            for name, values in filled.items()}  # fmt: skip


def posterior_of(
    curves: dict[str, Tensor], nodes_m: Tensor, strength: RadialStrength, fitted: Likelihood
) -> RadialPosterior:
    """Demand amplitude 1 on a fine grid of radii and integrate over them, the prior uniform in area."""
    radius = torch.linspace(nodes_m[0].item(), nodes_m[-1].item(), FINE_RADII, dtype=torch.float64)
    lost = curves["energy"].isnan().any(1)
    fine = {name: _splined(nodes_m, _without(lost, values), radius) for name, values in curves.items()}
    covariance = fine["covariance"]
    variance = covariance[..., 2, 2]
    missing = fine["norm"] - fine["strength"]
    chi_square = fine["chi_square"] + missing.square() / variance
    density = -chi_square / 2 - fine["half_logdet"] + radius.log()
    weights = torch.softmax(density, 1)
    means, spreads = [], []
    for column, name in enumerate(("energy", "pitch")):
        gain = covariance[..., column, 2] / variance
        means.append(fine[name] + gain * missing)
        spreads.append((covariance[..., column, column] - gain * covariance[..., column, 2]).clamp_min(1e-18).sqrt())
    centres, widths = zip(
        *(central_interval(mean, spread, weights) for mean, spread in zip(means, spreads, strict=True)), strict=True
    )
    for values in (*centres, *widths):
        values[lost] = torch.nan
    inside = (radius < strength.radius_m[strength.best]).expand(len(weights), -1)
    inner, outer = (_solution(weights * mask, means[0], radius) for mask in (inside, ~inside))
    return RadialPosterior(centres[0], widths[0], centres[1], widths[1], inner, outer, fitted)


def central_interval(
    means: Float[Tensor, "batch component"],
    spreads: Float[Tensor, "batch component"],
    weights: Float[Tensor, "batch component"],
) -> tuple[PerElectron, PerElectron]:
    """Return the median of a mixture of Gaussians and half its central 68.27 %, by bisection."""
    low = (means - 8 * spreads).amin(1).repeat(len(CENTRAL), 1)
    high = (means + 8 * spreads).amax(1).repeat(len(CENTRAL), 1)
    level = torch.tensor(CENTRAL, dtype=torch.float64)[:, None]
    for _ in range(60):
        middle = (low + high) / 2
        below = (weights * torch.special.ndtr((middle[:, :, None] - means) / spreads)).sum(2) < level
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low[1], (low[2] - low[0]) / 2


def _without(lost: Tensor, values: Tensor) -> Tensor:
    """Return the values with ones for lost electrons: a spline takes no NaN; their results are NaN in the end."""
    return values.masked_fill(lost.reshape(-1, *[1] * (values.ndim - 1)), 1.0)


def _splined(nodes_m: Tensor, values: Tensor, radius_m: Tensor) -> Tensor:
    return torch.from_numpy(CubicSpline(nodes_m.numpy(), values.numpy(), axis=1)(radius_m.numpy()))


def _rate_hz(polynomial: Tensor, middle_s: float) -> Tensor:
    """Return the frequency at the middle of the record of a phase polynomial (…, 3)."""
    return (polynomial[..., 1] + 2 * polynomial[..., 2] * middle_s) / (2 * math.pi)


def _solution(weights: Tensor, energy_ev: Tensor, radius_m: Tensor) -> Solution:
    total = weights.sum(1)
    safe = total.clamp_min(1e-300)
    return Solution(total, (weights * energy_ev).sum(1) / safe, (weights * radius_m).sum(1) / safe)
