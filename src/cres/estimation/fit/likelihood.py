"""Maximum likelihood on the forward model: several starts, batched Levenberg–Marquardt, the best optimum, flags."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cres import schema
from cres.estimation.apparatus import LARGEST_PITCH_DEG, Apparatus
from cres.estimation.estimates import Estimated
from cres.estimation.fit.gain import with_free_gain
from cres.estimation.fit.least_squares import FitOptions, FitResult, RadialStrength, best_fits, fit
from cres.estimation.fit.posterior import (
    Covariances,
    Means,
    Weights,
    cholesky_factors,
    credible_half_width,
    other_optima,
    with_fit,
)
from cres.estimation.fit.products import ProductMaker, make_products
from cres.estimation.inversion import energy_and_pitch_of_lines
from cres.estimation.placement import on_host
from cres.estimation.search.matched_filter import MatchedFilter
from cres.estimation.search.periodogram import goodness_p
from cres.estimation.search.templates import Optima, TemplateProfile
from cres.simulation.parameters import AXIAL_PHASE, ENERGY, PITCH, RADIUS, parameter_rows
from reconstruction.shapes import ComplexSeries, PerRow

FREE = ("energy_ev", "pitch_angle_deg", "start_phase_rad", "axial_phase_rad", "amplitude")
STARTS = 3
SMALLEST_GOODNESS = 1e-3
SMALLEST_WEIGHT = 0.9
NEAR_NINETY_SIGMAS = 3.0
# Room around the ensemble's window, for electrons at its edge and for noise.
ENERGY_ROOM_EV = 60.0
PITCH_ROOM_DEG = 0.3


@dataclass(frozen=True)
class Likelihood:
    """The result for each electron, in the order of the records."""

    parameters: Float[Tensor, "batch 6"]
    covariance: Float[Tensor, "batch k k"]
    """Inverse information of `FREE` at the power that the record has in the mean (`stated_covariance`)."""
    chi_square: PerRow
    goodness: PerRow
    """Probability that noise alone leaves such a residual."""
    weight: PerRow
    """Posterior share of the chosen optimum among the pitch angles tried (flat in cos θ); 1: nothing else fits."""
    credible_ev: PerRow
    """Half-width around the energy that holds 68.27 % of the posterior over pitch angles, on the templates' grid."""
    credible_deg: PerRow
    """The same for the pitch angle."""
    others: tuple[Weights, Means, Covariances]
    """What of the posterior is not the chosen optimum: weights, means and covariances of energy and pitch angle."""
    statistic: PerRow
    """Matched-filter log likelihood ratio against noise alone."""
    converged: Bool[Tensor, "batch"]
    evaluations: PerRow
    """Derivative evaluations spent on the electron."""

    @property
    def failed(self) -> Bool[Tensor, "batch"]:
        """Not converged, or a residual that noise does not explain."""
        return ~self.converged | (self.goodness < SMALLEST_GOODNESS)

    @property
    def ambiguous(self) -> Bool[Tensor, "batch"]:
        """Another optimum has a share of the posterior worth naming."""
        return self.weight < SMALLEST_WEIGHT

    def with_rows(self, rows: Int[Tensor, "row"], other: Likelihood, chosen: Int[Tensor, "row"]) -> Likelihood:
        """Return the results with those of some electrons taken from the chosen rows of another."""

        def taken(own: Tensor, new: Tensor) -> Tensor:
            return own.index_copy(0, rows, new[chosen])

        single = [one.name for one in fields(self) if one.name != "others"]
        weights, means, covariances = map(taken, self.others, other.others)
        values = {name: taken(getattr(self, name), getattr(other, name)) for name in single}
        return Likelihood(**values, others=(weights, means, covariances))


class LikelihoodEstimator:
    """Fits records of one apparatus; templates and strengths are made once."""

    def __init__(self, matched_filter: MatchedFilter, starts: int = STARTS) -> None:
        self.search = matched_filter
        self.apparatus = matched_filter.apparatus
        self.fine = matched_filter.fine
        self.noise = matched_filter.noise
        self.starts = starts
        self.strength = RadialStrength.measure(self.apparatus)
        self.options = fit_options(self.apparatus)

    def estimate(self, data: ComplexSeries) -> Likelihood:
        """Search the whole bank, fit the best candidates, keep the best fit."""
        found = self.search(data)
        searched = self.search.around(data, found)
        return self.fit_optima(data, searched, searched.optima(self.starts))

    def fit_optima(
        self,
        data: ComplexSeries,
        searched: TemplateProfile,
        optima: Optima,
        steps: int = FitOptions.steps,
    ) -> Likelihood:
        """Fit the optima of a profile, at most so many steps, and keep the best of each electron."""
        begin = start_parameters(self.search, self.strength, optima)
        products = make_products(self.apparatus.model, data, self.noise, (*self.options.free, "radius_m"))
        fits = fit(products, optima.electron, begin, replace(self.options, steps=steps), tie=self.strength)
        spent = torch.zeros(len(data), dtype=torch.float64, device=data.device).index_add_(
            0, optima.electron, 1.0 + fits.steps.double()
        )
        last = best_fits(fits, optima.electron, len(data))
        if self.apparatus.gain_std > 0:
            every = torch.arange(len(data), device=data.device)
            last = with_free_gain(last, products, every, self.options, self.strength, self.apparatus.gain_std)
        return summarised(self.search, products, searched, last, spent)


def likelihood_estimates(found: Likelihood) -> Estimated:
    """Return energy and pitch angle with uncertainties; honest where another optimum has a share.

    The curvature says little within a few error bars of 90°, where an electron hardly moves within the record: there
    the templates have a say, too. Where it gives no uncertainty at all, only they have, and the fit counts as failed.
    """
    values = dict(zip(schema.DEFAULT_TARGETS, (on_host(found.parameters[:, i]) for i in range(2)), strict=True))
    covariance = on_host(found.covariance[:, :2, :2])
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    curved = np.isfinite(covariance).all(axis=(1, 2)) & (variance > 0).all(axis=1)
    spread = np.sqrt(np.where(curved[:, None], variance, 0.0))
    correlated = np.where(curved[:, None, None], covariance, np.eye(2))
    credible = (on_host(found.credible_ev), on_host(found.credible_deg))
    ambiguous = on_host(found.ambiguous)
    slow = on_host(found.parameters[:, PITCH]) + NEAR_NINETY_SIGMAS * spread[:, 1] > 90
    wide = (ambiguous | ~curved, ambiguous | ~curved | slow)
    widths = [np.where(wide[i], np.maximum(spread[:, i], credible[i]), spread[:, i]) for i in range(2)]
    std = dict(zip(schema.DEFAULT_TARGETS, widths, strict=True))
    scale = np.stack(widths, 1) / np.where(curved[:, None], spread, 1.0)
    extra = {
        "fit_failed": on_host(found.failed) | ~curved,
        "ambiguous": ambiguous,
        "goodness_p": on_host(found.goodness),
        "optimum_weight": on_host(found.weight),
        "detection_statistic": on_host(found.statistic),
        "derivative_evaluations": on_host(found.evaluations),
        "fitted_radius_m": on_host(found.parameters[:, RADIUS]),
    }
    stated = correlated * scale[:, :, None] * scale[:, None, :]
    posterior = _posterior(found, np.where((ambiguous & curved)[:, None, None], covariance, stated), ambiguous)
    return Estimated(values, std, {**extra, **posterior}, stated)


def _posterior(found: Likelihood, covariance: np.ndarray, ambiguous: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of the whole posterior: the fit alone, or with the other optima where it is ambiguous."""
    host = [torch.from_numpy(on_host(part)) for part in (found.parameters[:, :2], found.weight, *found.others)]
    fitted, share, *others = host
    share = torch.where(torch.from_numpy(ambiguous), share, 1.0)
    weight, mean, spread = with_fit(fitted, torch.from_numpy(covariance), share, (others[0], others[1], others[2]))
    cholesky = cholesky_factors(spread)
    return dict(zip(schema.POSTERIOR_COLUMNS[:3], (v.numpy() for v in (weight, mean, cholesky)), strict=True))


def summarised(
    search: MatchedFilter,
    products: ProductMaker,
    searched: TemplateProfile,
    last: FitResult,
    evaluations: PerRow,
) -> Likelihood:
    """Return fits with their goodness and with what the templates say of other optima."""
    energies, angles = searched.energy_ev, searched.pitch_angle_deg
    statistic = searched.statistic.amax(1)
    covariance = stated_covariance(last.information, statistic)
    lines = search.apparatus.model.lines(last.parameters)
    fitted = searched.near(*lines.frequencies_hz(search.apparatus.reception.middle_s))
    left = products.residual_spectrum(last.parameters)
    return Likelihood(
        last.parameters,
        covariance,
        last.chi_square,
        goodness_p(left, search.apparatus.reception.sampling_rate_hz, search.fine.band_hz),
        (searched.weights * fitted).sum(1),
        credible_half_width(energies, searched.weights, last.parameters[:, ENERGY]),
        credible_half_width(angles, searched.weights, last.parameters[:, PITCH]),
        other_optima(searched.weights, fitted, energies, angles),
        statistic,
        last.converged,
        evaluations,
    )


def stated_covariance(information: Float[Tensor, "batch k k"], statistic: PerRow) -> Float[Tensor, "batch k k"]:
    """Return the inverse information, less what of the fitted power is noise.

    statistic: ln L against noise alone, half of Σ|s|²/σ² with σ that of I and of Q. Each of the k free parameters of a
    fit takes one unit of χ² from the noise (Wilks), so that of a fitted record it is k/2 larger than of the true one.
    Information goes with the power: an electron of SNR 40 would state error bars that are 3 % too small. At most half
    of the power is taken for noise.
    """
    noise = 0.5 * information.shape[1] / statistic.clamp_min(torch.finfo(statistic.dtype).tiny)
    return torch.linalg.inv(information) / (1 - noise.clamp_max(0.5))[:, None, None]


def start_parameters(search: MatchedFilter, strength: RadialStrength, optima: Optima) -> Float[Tensor, "row 6"]:
    """Return forward-model parameters that have carrier, axial frequency and phase at the middle of the record.

    Σ|s|² = 2σ² q gives the inner radius; it sets the loss, and by how much the start differs from the middle. The
    common phase is left at 0, the fit solves it.
    """
    apparatus = search.apparatus
    norm = apparatus.noise_std_volt * (2 * optima.statistic).sqrt() * search.noise_over_white(optima.carrier_hz)
    radius = strength.inner_radius(norm)
    rows = parameter_rows(0.0, 0.0, radius, amplitude=norm / strength.norm(radius))
    middle_s = apparatus.reception.middle_s
    carrier, axial = optima.carrier_hz, optima.axial_hz
    for _ in range(2):
        rows[:, ENERGY], rows[:, PITCH] = energy_and_pitch_of_lines(apparatus, carrier, axial, radius)
        lines = apparatus.model.lines(rows)
        at_middle = lines.frequencies_hz(middle_s)
        carrier, axial = carrier + optima.carrier_hz - at_middle[0], axial + optima.axial_hz - at_middle[1]
    _, linear, square = lines.axial.unbind(1)
    rows[:, AXIAL_PHASE] = optima.axial_phase_rad - (linear + square * middle_s) * middle_s
    return rows


def fit_options(apparatus: Apparatus) -> FitOptions:
    """Return the free parameters and limits of a fit with the radius tied to the strength."""
    (low_e, high_e), low_pitch = apparatus.energies_ev, apparatus.pitch_angles_deg[0]
    lower = (low_e - ENERGY_ROOM_EV, low_pitch - PITCH_ROOM_DEG, 0.0, -math.inf, -math.inf, 1e-3)
    upper = (high_e + ENERGY_ROOM_EV, LARGEST_PITCH_DEG, apparatus.largest_radius_m, math.inf, math.inf, math.inf)
    return FitOptions(FREE, lower, upper)
