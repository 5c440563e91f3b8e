"""The profile of a shower in thin layers from what thick ones saw: by interpolation, and by the parametrisation.

What lies within a thick layer is not measured; it follows from the layers around it, or from the shape that showers
have. The energies of thin layers f in a thick one c, of which y_c was seen, are Gaussian with

    ⟨y_f | y_c⟩ = μ_f + (v_f/v_c) (y_c − μ_c),   Var = v_f − v_f²/v_c

for known E, T and α (`collider.showers.information` has μ and v); where these are fitted to the thick layers, their own
covariance J⁻¹ comes on top. With the true ones it is what no reconstruction passes on the average.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from collider.showers.information import LayerModel, Values


@dataclass(frozen=True)
class Profiles:
    """Energies of thin layers and their standard deviations in GeV, (event, layer)."""

    energies_gev: Values
    std_gev: Values


def thick(layers_gev: Values, together: int) -> Values:
    """Return the sums of so many neighbouring layers, (event, thick layer)."""
    return layers_gev.reshape(len(layers_gev), -1, together).sum(2)


def interpolated(thick_gev: Values, together: int) -> Values:
    """Return thin layers (event, layer): the running sum through its values at the thick layers' edges, rising.

    Piecewise cubic without overshoot           Fritsch and Carlson 1980, SIAM J. Numer. Anal. 17, 238
    """
    count = thick_gev.shape[1]
    running = np.concatenate([np.zeros((len(thick_gev), 1)), np.cumsum(thick_gev, axis=1)], axis=1)
    edges = np.linspace(0, count, count * together + 1)
    return np.diff(PchipInterpolator(np.arange(count + 1), running, axis=1)(edges), axis=1)


def by_likelihood(model: LayerModel, thick_gev: Values, together: int) -> Profiles:
    """Return thin layers from the E, T and α that are most likely of the thick ones; `model` is of the thin ones."""
    coarse = thicker(model, together)
    theta, _ = coarse.most_likely(thick_gev)
    found = given(model, thick_gev, together, theta)
    share = _shares(model, theta, together)
    slopes = model.slopes(theta) - share[..., None] * np.repeat(coarse.slopes(theta), together, axis=1)
    unknown = np.einsum("eli,eij,elj->el", slopes, np.linalg.inv(coarse.information(theta)), slopes)
    return Profiles(found.energies_gev, np.sqrt(found.std_gev**2 + unknown))


def given(model: LayerModel, thick_gev: Values, together: int, theta: Values) -> Profiles:
    """Return thin layers where θ = (ln E, g₁, g₂) is known, (event, 3): what is left is fluctuation and noise."""
    thin, coarse = model.means(theta), thicker(model, together).means(theta)
    share = _shares(model, theta, together)
    variance = model.variances(thin)
    return Profiles(
        thin + share * np.repeat(thick_gev - coarse, together, axis=1), np.sqrt(variance * np.maximum(1 - share, 0))
    )


def thicker(model: LayerModel, together: int) -> LayerModel:
    """Return the model of layers of which so many thin ones are one."""
    edges = model.depth_edges_x0[::together]
    return dataclasses.replace(model, depth_edges_x0=edges, noise_gev=model.noise_gev * float(np.sqrt(together)))


def _shares(model: LayerModel, theta: Values, together: int) -> Values:
    """Return v_f/v_c of each thin layer, (event, layer)."""
    thin, coarse = model.variances(model.means(theta)), thicker(model, together)
    return thin / np.repeat(coarse.variances(coarse.means(theta)), together, axis=1)
