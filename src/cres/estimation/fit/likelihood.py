"""Maximum likelihood on the forward model: several starts, batched Levenberg–Marquardt, the best optimum, flags."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.gain import with_free_gain
from cres.estimation.fit.goodness import goodness_p
from cres.estimation.fit.least_squares import ENERGY, PITCH, Fit, Options, fit
from cres.estimation.fit.modes import (
    credible_half_width,
    near_optimum,
    template_energies,
    template_pitch_angles,
    template_weights,
)
from cres.estimation.fit.posterior import Covariances, Means, Weights, other_optima
from cres.estimation.fit.products import ProductMaker, make_products
from cres.estimation.fit.starts import OPTIMUM_WIDTH_BINS, candidate_starts
from cres.estimation.fit.strength import RadialStrength
from cres.estimation.search.detection import Profile
from cres.estimation.search.matched_filter import MatchedFilter
from reconstruction.shapes import ComplexSeries, PerRow

FREE = ("energy_ev", "pitch_angle_deg", "start_phase_rad", "axial_phase_rad", "amplitude")
STARTS = 3
# An optimum this much below the best in the templates' statistic cannot win: their grid loses less than a unit.
START_MARGIN = 3.0
SMALLEST_GOODNESS = 1e-3
SMALLEST_WEIGHT = 0.9
# Room around the ensemble's window, for electrons at its edge and for noise.
ENERGY_ROOM_EV = 60.0
PITCH_ROOM_DEG = 0.3
LARGEST_PITCH_DEG = 89.9995


@dataclass(frozen=True)
class Likelihood:
    """The result for each electron, in the order of the records."""

    parameters: Float[Tensor, "batch 6"]
    covariance: Float[Tensor, "batch k k"]
    """Inverse observed (Gauss–Newton) information of `FREE`."""
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
        return self.fit_candidates(data, found.carrier_hz, found.templates, self.starts)

    def fit_candidates(
        self, data: ComplexSeries, carrier_hz: PerRow, searched: Profile, starts: int, steps: int = Options.steps
    ) -> Likelihood:
        """Fit up to `starts` optima of a profile an electron, at most so many steps, and keep the best."""
        candidates = candidate_starts(self.search, self.strength, searched, carrier_hz, starts, START_MARGIN)
        rows = candidates.electron
        products = make_products(self.apparatus.model, data, self.noise, (*self.options.free, "radius_m"))
        fits = fit(products, rows, candidates.parameters, replace(self.options, steps=steps), tie=self.strength)
        best = best_start(fits.chi_square, rows, len(data))
        spent = torch.zeros(len(data), dtype=torch.float64, device=data.device).index_add_(
            0, rows, 1.0 + fits.steps.double()
        )
        every = torch.arange(len(data), device=data.device)
        last = with_free_gain(fits.rows(best), products, every, self.options, self.strength, self.apparatus.gain_std)
        return summarised(self.search, products, searched, last, spent, carrier_hz)


def summarised(
    search: MatchedFilter,
    products: ProductMaker,
    searched: Profile,
    last: Fit,
    evaluations: PerRow,
    carrier_hz: PerRow,
) -> Likelihood:
    """Return fits with their goodness and with what the templates say of other optima."""
    fine = search.fine
    weights = template_weights(searched, fine)
    energies = template_energies(searched, fine, carrier_hz)
    angles = template_pitch_angles(searched, fine)
    width = OPTIMUM_WIDTH_BINS * fine.reception.bin_hz
    axial_hz = search.apparatus.model.lines(last.parameters).axial[:, 1] / (2 * math.pi)
    fitted = near_optimum(searched, fine, axial_hz, width)
    return Likelihood(
        last.parameters,
        torch.linalg.inv(last.information),
        last.chi_square,
        goodness_of(search, products, last.parameters),
        (weights * fitted).sum(1),
        credible_half_width(energies, weights, last.parameters[:, ENERGY]),
        credible_half_width(angles, weights, last.parameters[:, PITCH]),
        other_optima(weights, fitted, energies, angles),
        searched.statistic.amax(1),
        last.converged,
        evaluations,
    )


def goodness_of(
    search: MatchedFilter, products: ProductMaker, parameters: Float[Tensor, "batch 6"]
) -> Float[Tensor, "batch"]:
    """Return the probability that noise alone leaves what records at parameters leave, over the band of all lines."""
    fine = search.fine
    low, high = fine.carrier_band_hz
    band = (low - fine.reach_hz, high + fine.reach_hz)
    return goodness_p(products.residual_spectrum(parameters), fine.reception.sampling_rate_hz, band)


def best_start(
    chi_square: Float[Tensor, "start"], electron: Int[Tensor, "start"], electrons: int
) -> Int[Tensor, "batch"]:
    """Return, for each electron, the row of its lowest χ²."""
    # sorted by χ², then by electron: the first of each electron is its best
    order = chi_square.argsort(stable=True)
    order = order[electron[order].argsort(stable=True)]
    first = torch.searchsorted(electron[order], torch.arange(electrons, device=electron.device))
    return order[first.clamp(max=len(order) - 1)]


def fit_options(apparatus: Apparatus) -> Options:
    """Return the free parameters and limits of a fit with the radius tied to the strength."""
    (low_e, high_e), low_pitch = apparatus.energies_ev, apparatus.pitch_angles_deg[0]
    lower = (low_e - ENERGY_ROOM_EV, low_pitch - PITCH_ROOM_DEG, 0.0, -math.inf, -math.inf, 1e-3)
    upper = (high_e + ENERGY_ROOM_EV, LARGEST_PITCH_DEG, apparatus.largest_radius_m, math.inf, math.inf, math.inf)
    return Options(FREE, lower, upper)
