"""p(reconstructed energy, stated uncertainty | true energy), measured on simulated electrons of known energy.

The calibration electrons went through the same estimator. Their estimates x with stated uncertainty σ follow

    x = K₀ + (1 + ℓ − κ σ²/τ²)(K − K₀) + a + bσ + s·noise,     s = σ exp(c + d ln(σ/σ₀)),

K₀ and τ mean and standard deviation of the calibration energies. An estimator trained on that flat window returns
posterior means, which are pulled to its middle by σ²/τ² (κ = 1 for a normal prior): the regression to the prior. The
noise is normal with a wider normal tail. Electrons whose σ exceeds a limit are left out, in data and calibration alike.
At the ends of the training window, where the pull is not linear, the response is neither measured nor used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.special import ndtr

from cres.endpoint.efficiency import ENERGY_UNIT_EV, Efficiency, fit_efficiency
from cres.endpoint.information import best_cut_ev
from cres.errors import UserError
from cres.schema import ENERGY as ENERGY_COLUMN
from cres.schema import spread_name
from reconstruction.judging.tables.table import PredictionTable

Array = NDArray[np.float64]

ENERGY = "energy_ev"
PARAMETERS = (
    "bias_ev",
    "bias_pull",
    "slope_per_100ev",
    "shrinkage",
    "log_scale",
    "scale_tilt",
    "tail_fraction",
    "tail_scale",
)
LIMITS = {
    "shrinkage": (-20.0, 20.0),
    "log_scale": (-3.0, 4.0),
    "scale_tilt": (-3.0, 3.0),
    "tail_fraction": (0.0, 0.5),
    "tail_scale": (1.5, 30.0),
}
ALIKE = 1.001
"""Error bars that differ by less than this factor do not tell how anything depends on them."""
IDEAL = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0)
CLASSES = 4
MINIMUM_ELECTRONS = 30
FEW_ELECTRONS = 150
QUANTILES = 16
PRIOR_FRACTION = 1 / 6
"""By default electrons pass whose σ is below this fraction of τ: pulled to the middle by less than 3 %."""
NEGLIGIBLE_PULL = 0.02
"""Where σ/τ is below this, electrons are pulled to the middle by less than this part of their error bar."""
SPREAD_TOLERANCE = 0.03
"""A tighter cut on the spread is preferred where it costs no more: how outliers lie in data is only roughly known."""
LOST_DENSITY = 1e-4
"""Density of electrons that are simply lost, relative to the core's height: about that of one per cent of them spread
over the window. They must not decide the widths of all others; in data the flat background takes them up."""
SMALLEST_STD_EV = 1e-3
SMALLEST_EDGE_EV, LARGEST_EDGE_EV = 5.0, 20.0
"""Range of the margin at either end of the calibration window, where a posterior mean is pulled inwards."""


@dataclass(frozen=True)
class Response:
    """The response of an estimator.

    `values` (8,) in the order of PARAMETERS with `covariance` (8, 8) from the calibration statistics; `centre_ev` K₀,
    `prior_std_ev` τ, `reference_std_ev` σ₀; `low_ev` and `high_ev` bound the calibration energies; `std_edges`
    (class − 1,) separate classes of σ, `std_quantiles` (class, 16) represent σ inside each. Within `edge_ev` of the
    ends the estimates are not to be used. Electrons with a larger σ than `max_std_ev`, or a larger spread with all
    modes than `max_spread_ev`, do not pass.
    """

    values: Array
    covariance: Array
    centre_ev: float
    prior_std_ev: float
    reference_std_ev: float
    max_std_ev: float
    low_ev: float
    high_ev: float
    std_edges: Array
    std_quantiles: Array
    efficiency: Efficiency
    electrons: int
    edge_ev: float
    max_spread_ev: float = np.inf

    @classmethod
    def ideal(cls, std_ev: Array, low_ev: float, high_ev: float) -> Response:
        """Return the response of an estimator whose stated uncertainties, of which `std_ev` is a sample, are true."""
        std = np.maximum(np.asarray(std_ev, np.float64), SMALLEST_STD_EV)
        edges, label = _classes(std, float(std.max()))
        centre = 0.5 * (low_ev + high_ev)
        shares = np.bincount(label, minlength=len(edges) + 1) / len(std)
        return cls(
            np.array(IDEAL),
            np.zeros((len(PARAMETERS),) * 2),
            centre,
            (high_ev - low_ev) / np.sqrt(12),
            float(np.exp(np.log(std).mean())),
            1.001 * float(std.max()),
            low_ev,
            high_ev,
            edges,
            _quantiles(std, label, len(edges) + 1),
            Efficiency.constant(shares, centre),
            len(std),
            0.0,
        )

    def parameter(self, name: str) -> float:
        """Return one of PARAMETERS."""
        return float(self.values[PARAMETERS.index(name)])

    def error(self, name: str) -> float:
        """Return its standard error from the calibration statistics."""
        i = PARAMETERS.index(name)
        return float(np.sqrt(self.covariance[i, i]))

    def passes(self, std_ev: Array) -> NDArray[np.bool_]:
        """Return which electrons pass the quality cut."""
        return np.isfinite(std_ev) & (std_ev > 0) & (std_ev <= self.max_std_ev)

    def labels(self, std_ev: Array) -> NDArray[np.int64]:
        """Return the class of each electron by its stated uncertainty."""
        return np.searchsorted(self.std_edges, std_ev).astype(np.int64)

    def gain(self, std_ev: Array) -> Array:
        """Return dE[x]/dK: 1 without regression to the prior."""
        shrink = self.parameter("shrinkage") * (std_ev / self.prior_std_ev) ** 2
        return np.maximum(1 + self.parameter("slope_per_100ev") / ENERGY_UNIT_EV - shrink, 0.05)

    def calibrate(self, energy_ev: Array, std_ev: Array) -> tuple[Array, Array]:
        """Return energies free of bias and of regression to the prior, and the standard deviation of their core."""
        std = np.maximum(std_ev, SMALLEST_STD_EV)
        gain = self.gain(std)
        offset = self.parameter("bias_ev") + self.parameter("bias_pull") * std
        return self.centre_ev + (energy_ev - self.centre_ev - offset) / gain, self._core(std) / gain

    def components(self) -> list[tuple[float, float]]:
        """Return (weight, width over core width) of the normal components of the noise."""
        fraction = self.parameter("tail_fraction")
        core = [(1 - fraction, 1.0)]
        return [*core, (fraction, self.parameter("tail_scale"))] if fraction > 0 else core

    def moved(self, shift: Array) -> Response:
        """Return the response with all its parameters moved: (8 + 2·class,), response first, then efficiency."""
        values = self.values + shift[: len(PARAMETERS)]
        values[6], values[7] = np.clip(values[6], 0.0, 0.5), np.clip(values[7], 1.0, 30.0)
        return replace(self, values=values, efficiency=self.efficiency.moved(shift[len(PARAMETERS) :]))

    def full_covariance(self) -> Array:
        """Return the covariance of all parameters that `moved` takes."""
        first, second = self.covariance.shape[0], self.efficiency.covariance.shape[0]
        joint = np.zeros((first + second,) * 2)
        joint[:first, :first], joint[first:, first:] = self.covariance, self.efficiency.covariance
        return joint

    def probability_in(self, energy_ev: Array, edges_ev: Array, scale: float = 1.0) -> Array:
        """Return P(calibrated energy in bin, cut passed | true energy), (energy, bin), summed over the classes of σ."""
        shares = self.efficiency.of(energy_ev)
        result = np.zeros((len(energy_ev), len(edges_ev) - 1))
        distance = edges_ev[None, :] - energy_ev[:, None]
        for label, quantiles in enumerate(self.std_quantiles):
            gain = self.gain(quantiles)
            for width in self._core(quantiles) / gain * scale:
                cumulative = sum(weight * ndtr(distance / (width * ratio)) for weight, ratio in self.components())
                result += shares[:, label, None] * np.diff(cumulative, axis=1) / len(quantiles)
        return result

    def _core(self, std_ev: Array) -> Array:
        tilt = self.parameter("scale_tilt") * np.log(std_ev / self.reference_std_ev)
        return std_ev * np.exp(self.parameter("log_scale") + tilt)


def energies_and_stds(table: PredictionTable, max_spread_ev: float = np.inf) -> tuple[Array, Array]:
    """Return the energies and their stated uncertainties of a table in eV; raises UserError where there is none.

    An electron whose spread (standard deviation with all modes, where the estimator states one beside its error bar)
    exceeds `max_spread_ev` may be an outlier: its uncertainty is returned as infinite.
    """
    if not table.has_std(ENERGY):
        raise UserError(
            f"{table.estimator!r} states no uncertainty of the energy (energy_std_ev), which the endpoint fit weighs "
            "electrons with: use an estimator with a Gaussian head"
        )
    energy, std = table.mean(ENERGY).astype(np.float64), table.std(ENERGY).astype(np.float64)
    spread = table.columns.get(spread_name(ENERGY_COLUMN))
    return energy, std if spread is None else np.where(spread > max_spread_ev, np.inf, std)


def measure_response(
    table: PredictionTable, max_std_ev: float | None = None, max_spread_ev: float | None = None
) -> Response:
    """Measure the response on a table of electrons with known energies, uniform over a window.

    `max_std_ev` is the quality cut on the error bar, by default τ/6; `max_spread_ev` that on the spread with all modes,
    by default the one that lets the smallest error of the endpoint be expected, among these calibration electrons. An
    estimator that states no spread has its error bar cut so. Raises UserError when fewer than 30 electrons pass.
    """
    if not table.has_truth(ENERGY):
        raise UserError(
            "the calibration table has no true_energy_ev: predict simulated electrons, such as a test split"
        )
    truth = table.truth(ENERGY).astype(np.float64)
    limit, largest_spread = quality_cuts_ev(table, max_std_ev, max_spread_ev)
    energy, std = energies_and_stds(table, largest_spread)
    known = np.isfinite(energy) & np.isfinite(truth) & ~np.isnan(std)
    energy, std, truth = energy[known], std[known], truth[known]
    prior_std = float(truth.std())
    std = np.maximum(std, SMALLEST_STD_EV)
    good = std <= limit
    if good.sum() < MINIMUM_ELECTRONS:
        raise UserError(
            f"only {int(good.sum())} of {len(std)} calibration electrons pass the quality cuts (error bar up to "
            f"{limit:.3g} eV, --max-std; spread up to {largest_spread:.3g} eV, --max-spread): raise these or train on"
        )
    edges, _ = _classes(std[good], limit)
    label = np.where(good, np.searchsorted(edges, std), len(edges) + 1).astype(np.int64)
    start = Response(
        np.array(IDEAL),
        np.zeros((len(PARAMETERS),) * 2),
        float(truth.mean()),
        prior_std,
        float(np.exp(np.log(std[good]).mean())),
        limit,
        float(truth.min()),
        float(truth.max()),
        edges,
        _quantiles(std[good], label[good], len(edges) + 1),
        fit_efficiency(truth, label, len(edges) + 1, float(truth.mean())),
        int(good.sum()),
        float(np.clip(2 * np.quantile(std[good], 0.9), SMALLEST_EDGE_EV, LARGEST_EDGE_EV)),
        largest_spread,
    )
    # half the margin: electrons of the other half still leak into the window
    inner = good & (truth > start.low_ev + start.edge_ev / 2) & (truth < start.high_ev - start.edge_ev / 2)
    return _fit_residuals(start, energy[inner], std[inner], truth[inner])


def quality_cuts_ev(
    table: PredictionTable, max_std_ev: float | None, max_spread_ev: float | None
) -> tuple[float, float]:
    """Return the largest error bar and the largest spread that pass, chosen on the calibration where not given."""
    energy, std = energies_and_stds(table)
    truth = table.truth(ENERGY).astype(np.float64)
    spread = table.columns.get(spread_name(ENERGY_COLUMN))
    known = np.isfinite(energy) & np.isfinite(truth) & np.isfinite(std)
    if known.sum() < MINIMUM_ELECTRONS:
        raise UserError(f"{int(known.sum())} calibration electrons are too few: use {MINIMUM_ELECTRONS} or more")
    limit = PRIOR_FRACTION * float(truth[known].std()) if max_std_ev is None else float(max_std_ev)
    good = known & (std <= limit)
    given = max_std_ev is not None if spread is None else max_spread_ev is not None
    if given or good.sum() < MINIMUM_ELECTRONS:
        return limit, np.inf if max_spread_ev is None else float(max_spread_ev)
    quality = std if spread is None else np.maximum(std, spread)
    cut = best_cut_ev(
        quality[good],
        np.maximum(std[good], SMALLEST_STD_EV),
        (energy - truth)[good],
        float(np.ptp(truth[known])),
        MINIMUM_ELECTRONS,
        0.0 if spread is None else SPREAD_TOLERANCE,
    )
    if spread is None:
        return min(limit, cut), np.inf if max_spread_ev is None else float(max_spread_ev)
    return limit, cut


def residual_nll(response: Response, energy_ev: Array, std_ev: Array, truth_ev: Array) -> float:
    """Return −ln L of the estimates given the true energies."""
    gain = response.gain(std_ev)
    calibrated, width = response.calibrate(energy_ev, std_ev)
    pull = (calibrated - truth_ev) / width
    density = sum(weight / ratio * np.exp(-0.5 * (pull / ratio) ** 2) for weight, ratio in response.components())
    return float(
        -np.log(density + LOST_DENSITY).sum() + np.log(width * gain).sum() + 0.5 * len(pull) * np.log(2 * np.pi)
    )


def _fit_residuals(start: Response, energy: Array, std: Array, truth: Array) -> Response:
    # at a distance of τ the pull to the middle is κσ²/τ: nothing that could be measured, or that would matter
    sharp = {"shrinkage": 1.0} if np.quantile(std, 0.9) < NEGLIGIBLE_PULL * start.prior_std_ev else {}
    if std.max() < ALIKE * std.min():
        sharp |= {"scale_tilt": 0.0, "bias_pull": 0.0}
    few = {"scale_tilt": 0.0, "tail_fraction": 0.0, "slope_per_100ev": 0.0, "bias_ev": 0.0, "tail_scale": 3.0}
    no_tail = {"tail_fraction": 0.0, "tail_scale": 3.0, **sharp}
    # few electrons determine location and scale only
    fit = _minimise(start, energy, std, truth, {**few, **sharp} if len(truth) < FEW_ELECTRONS else sharp)
    if len(truth) >= FEW_ELECTRONS and fit.values["tail_fraction"] < 2e-3:
        fit = _minimise(start, energy, std, truth, no_tail)
    if fit.covariance is None:
        raise UserError("the response of the calibration electrons could not be fitted: use more of them")
    return replace(start, values=np.array(fit.values), covariance=np.array(fit.covariance))


def _minimise(start: Response, energy: Array, std: Array, truth: Array, fixed: dict[str, float]) -> Minuit:
    def cost(values: Array) -> float:
        return residual_nll(replace(start, values=np.asarray(values, np.float64)), energy, std, truth)

    minuit = Minuit(cost, np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.05, 3.0]), name=PARAMETERS)
    minuit.errordef = Minuit.LIKELIHOOD
    for name, limits in LIMITS.items():
        minuit.limits[name] = limits
    for name, value in fixed.items():
        minuit.values[name], minuit.fixed[name] = value, True
    minuit.migrad(ncall=5000)
    minuit.hesse()
    return minuit


def _classes(std: Array, limit: float) -> tuple[Array, NDArray[np.int64]]:
    """Return edges between classes of equal population, and labels; fewer classes where values coincide."""
    edges = np.unique(np.quantile(std, np.arange(1, CLASSES) / CLASSES))
    edges = edges[(edges > std.min()) & (edges < min(limit, std.max()))]
    return edges, np.searchsorted(edges, std).astype(np.int64)


def _quantiles(std: Array, label: NDArray[np.int64], classes: int) -> Array:
    ranks = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return np.stack([np.quantile(std[label == j], ranks) for j in range(classes)])
