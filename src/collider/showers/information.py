"""How well a shower's energy can be known from its layers: the Cramér–Rao bound, and the likelihood that reaches it.

The layers' energies y are Gaussian around μ(E, T, α), the profile's integral over each layer, with the variance c²μ of
the sampling fluctuation and that of the noise. ln T and ln α are drawn for each shower, ⟨⟩ and σ known as functions of
E: they are two unit normal numbers g₁, g₂, unknown but with a prior. Then for θ = (ln E, g₁, g₂)

    J = Σ ∂μ ∂μᵀ (1/v + (c²)²/2v²) + diag(0, 1, 1),   v = c²μ + σ²,   Var(ln E) ≥ (J⁻¹)₀₀

the hybrid bound (Van Trees, Detection, Estimation, and Modulation Theory I (1968), section 2.4). 1/v + c⁴/2v² is also
the information of a gamma variate about its mean, (1 + 1/2k + …)/(kc⁴) with k = μ/c², to second order: showers of a
few GeV are somewhat less Gaussian than this. Lateral leakage is not part of it: the layers have to be wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from collider.showers.materials import AnyMaterial, SamplingMaterial
from collider.showers.parameters import SMALLEST_ALPHA, unchecked_parameters
from reconstruction.errors import UserError

Values = NDArray[np.float64]

STEP: Final = 1e-4
"""Of the central differences in ln E, g₁, g₂."""

ITERATIONS: Final = 40
CONVERGED: Final = 1e-7


@dataclass(frozen=True)
class LayerModel:
    """Layers of a calorimeter that electrons enter along its axis.

    depth_edges_x0 (layer + 1,); noise_gev: of a whole layer, more than 0; sampling_term: c of a homogeneous material's
    σ/E = c/√E (a sampling one has its own). Raises UserError where nothing fluctuates.
    """

    material: AnyMaterial
    depth_edges_x0: tuple[float, ...]
    noise_gev: float
    sampling_term: float = 0.0

    def __post_init__(self) -> None:
        if not self.noise_gev > 0:
            raise UserError(
                "noise_gev of a layer must be more than 0: without noise an empty layer would say everything"
            )

    @property
    def fluctuation_gev(self) -> float:
        """c² in GeV: the variance of a layer's energy over its mean."""
        own = self.material.resolution_term if isinstance(self.material, SamplingMaterial) else self.sampling_term
        return own**2

    def means(self, theta: Values) -> Values:
        """Return μ (event, layer) in GeV of θ = (ln E, g₁, g₂), (event, 3)."""
        energy = np.exp(theta[:, 0])
        found = unchecked_parameters(energy, self.material)
        common = np.sqrt((1 + found.rho) / 2) * theta[:, 1]
        opposite = np.sqrt((1 - found.rho) / 2) * theta[:, 2]
        t = np.exp(found.mean_ln_t + found.sigma_ln_t * (common + opposite))
        alpha = np.maximum(np.exp(found.mean_ln_alpha + found.sigma_ln_alpha * (common - opposite)), SMALLEST_ALPHA)
        edges = np.asarray(self.depth_edges_x0)
        whole = gammainc(alpha[:, None], ((alpha - 1) / t)[:, None] * edges[None])
        return np.asarray(energy[:, None] * np.diff(whole, axis=1))

    def slopes(self, theta: Values) -> Values:
        """Return ∂μ/∂θ, (event, layer, 3), by central differences."""
        columns = []
        for i in range(3):
            step = np.zeros(3)
            step[i] = STEP
            columns.append((self.means(theta + step) - self.means(theta - step)) / (2 * STEP))
        return np.stack(columns, axis=-1)

    def information(self, theta: Values) -> Values:
        """Return J of θ, (event, 3, 3), the prior of g₁ and g₂ in it."""
        slopes = self.slopes(theta)
        return self._information(self.means(theta), slopes)

    def _information(self, means: Values, slopes: Values) -> Values:
        variance = self.variances(means)
        weight = 1 / variance + self.fluctuation_gev**2 / (2 * variance**2)
        return np.einsum("eli,elj,el->eij", slopes, slopes, weight) + np.diag([0.0, 1.0, 1.0])

    def variances(self, means: Values) -> Values:
        """Return v of layers with the means μ, GeV²."""
        return self.fluctuation_gev * np.maximum(means, 0) + self.noise_gev**2

    def bound(self, energy_gev: Values, shapes: Values | None = None) -> Values:
        """Return the least σ(E)/E of unbiased estimates, (event,).

        shapes: g₁ and g₂ of each shower, (event, 2); those of the typical one by default.
        """
        energies = np.atleast_1d(np.asarray(energy_gev, dtype=np.float64))
        normal = np.zeros((len(energies), 2)) if shapes is None else shapes
        theta = np.column_stack([np.log(energies), normal])
        return np.sqrt(np.linalg.inv(self.information(theta))[:, 0, 0])

    def log_posterior(self, theta: Values, layers_gev: Values) -> Values:
        """Return ln p(y, g | E) of events, up to a constant."""
        means = self.means(theta)
        variance = self.variances(means)
        layers = ((layers_gev - means) ** 2 / variance + np.log(variance)).sum(1)
        return -(layers + (theta[:, 1:] ** 2).sum(1)) / 2

    def fit(self, layers_gev: Values) -> tuple[Values, Values, NDArray[np.bool_]]:
        """Return E in GeV and σ(E)/E of events from their layers (event, layer), and whether each fit converged."""
        theta, done = self.most_likely(layers_gev)
        error = np.sqrt(np.linalg.inv(self.information(theta))[:, 0, 0])
        return np.exp(theta[:, 0]), error, done

    def most_likely(self, layers_gev: Values) -> tuple[Values, NDArray[np.bool_]]:
        """Return θ of events (event, 3), and whether each fit converged.

        Fisher scoring from the sum of the layers, with steps halved until the likelihood grows.
        """
        start = np.log(np.maximum(layers_gev.sum(1), 10 * self.noise_gev) / 0.95)
        theta = np.column_stack([start, np.zeros((len(start), 2))])
        value = self.log_posterior(theta, layers_gev)
        done = np.zeros(len(theta), dtype=bool)
        for _ in range(ITERATIONS):
            step = self._step(theta, layers_gev)
            step[done] = 0
            theta, value, taken = self._climbed(theta, value, step, layers_gev)
            done |= (np.abs(taken) < CONVERGED).all(1)
            if done.all():
                break
        return theta, done

    def _step(self, theta: Values, layers_gev: Values) -> Values:
        means, slopes = self.means(theta), self.slopes(theta)
        variance, residual = self.variances(means), layers_gev - means
        by_mean = residual / variance + self.fluctuation_gev * (residual**2 / variance - 1) / (2 * variance)
        score = np.einsum("eli,el->ei", slopes, by_mean)
        score[:, 1:] -= theta[:, 1:]
        return np.clip(np.linalg.solve(self._information(means, slopes), score[..., None])[..., 0], -1.0, 1.0)

    def _climbed(self, theta: Values, value: Values, step: Values, layers_gev: Values) -> tuple[Values, Values, Values]:
        """Return θ after the largest part 1, ½, ¼ … of each event's step that is no step down, its value, the step."""
        factor = np.ones(len(theta))
        for _ in range(8):
            new = self.log_posterior(theta + factor[:, None] * step, layers_gev)
            worse = ~(new >= value - 1e-12)
            if not worse.any():
                break
            factor[worse] /= 2
        factor[worse] = 0
        taken = factor[:, None] * step
        return theta + taken, np.where(worse, value, new), taken


def over_bound(residuals: Values, bounds: Values) -> tuple[float, float]:
    """Return the rms of residual over bound, each event's own, and its uncertainty: 1 is perfect."""
    square = (residuals / bounds) ** 2
    rms = np.sqrt(square.mean())
    return float(rms), float(square.std(ddof=1) / (2 * rms * math.sqrt(len(square))))


def shapes_of(energy_gev: Values, t: Values, alpha: Values, material: AnyMaterial) -> Values:
    """Return g₁ and g₂ of showers, (event, 2), from their T and α: the way back of the simulation's draw."""
    found = unchecked_parameters(energy_gev, material)
    first = (np.log(t) - found.mean_ln_t) / found.sigma_ln_t
    second = (np.log(alpha) - found.mean_ln_alpha) / found.sigma_ln_alpha
    common, opposite = (first + second) / 2, (first - second) / 2
    return np.column_stack([common / np.sqrt((1 + found.rho) / 2), opposite / np.sqrt((1 - found.rho) / 2)])
