"""Fisher information of an electron's parameters and the Cramér–Rao bound: parameters free, known or under a prior.

For a record s(p) in Gaussian noise: I_jk = Re Σ_t ∂_j s* ∂_k s / σ² with σ the noise of I and of Q (white), or the same
sum over whitened frequencies (coloured). A prior adds its own information (Van Trees 1968, §2.4.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cres.errors import UserError, nearest
from cres.estimation.noise import NoiseModel
from cres.estimation.products import ForwardModel
from cres.simulation.forward import PARAMETERS

EXTRA_PARAMETERS = ("chirp_hz_per_s", "start_time_s")
"""Nuisances that the forward model does not have: a free chirp on top of its own, and a shift in time."""
# Scaled eigenvalues below this are zero to the accuracy of float64 derivatives: no information in that direction.
SINGULAR_EIGENVALUE = 1e-11

Information = Float[Tensor, "batch k k"]


def fisher_information(
    model: ForwardModel,
    parameters: Float[Tensor, "batch 6"],
    noise: NoiseModel,
    names: Sequence[str] = PARAMETERS,
    sampling_rate_hz: float | None = None,
) -> Information:
    """Return the information matrices of the named parameters, float64, in their units.

    names: of `PARAMETERS` and `EXTRA_PARAMETERS`; the latter need `sampling_rate_hz`.
    """
    _check_names(names)
    series, derivatives = model.jacobian(parameters)
    columns = [_column(name, series, derivatives, sampling_rate_hz) for name in names]
    whitened = torch.view_as_real(noise.whiten(torch.stack(columns, 1))).flatten(-2)
    return whitened @ whitened.transpose(1, 2)


def _check_names(names: Sequence[str]) -> None:
    known = (*PARAMETERS, *EXTRA_PARAMETERS)
    for name in names:
        if name not in known:
            raise UserError(f"unknown parameter {name!r}{nearest(name, known)}: known are {', '.join(known)}")


def _column(name: str, series: Tensor, derivatives: Tensor, sampling_rate_hz: float | None) -> Tensor:
    if name in PARAMETERS:
        return derivatives[:, PARAMETERS.index(name)]
    if sampling_rate_hz is None:
        raise UserError(f"the derivative by {name} needs the sampling rate")
    samples = series.shape[1]
    if name == "chirp_hz_per_s":
        time = torch.arange(samples, dtype=torch.float64, device=series.device) / sampling_rate_hz
        return 1j * math.pi * time.square() * series
    frequency = torch.fft.fftfreq(samples, 1 / sampling_rate_hz, dtype=torch.float64, device=series.device)
    return torch.fft.ifft(torch.fft.fft(series) * (-2j * math.pi * frequency))


@dataclass(frozen=True)
class Bound:
    """Cramér–Rao bounds of the free parameters, in the order of `names`."""

    names: tuple[str, ...]
    covariance: Float[Tensor, "batch k k"]
    """The inverse information; infinite variances where the record says nothing."""
    smallest_eigenvalue: Float[Tensor, "batch"]
    """Of the information scaled to a unit diagonal: 1 where no two parameters are alike, 0 where two cannot be told."""
    weakest_direction: Float[Tensor, "batch k"]
    """Its eigenvector, in parameters scaled to their own (other parameters known) standard deviations."""
    singular: Bool[Tensor, "batch"]

    @property
    def std(self) -> Float[Tensor, "batch k"]:
        """Bounds of the standard deviations; infinite for parameters that a singular direction touches."""
        return self.covariance.diagonal(dim1=1, dim2=2).sqrt()

    def std_of(self, name: str) -> Float[Tensor, "batch"]:
        """Return the bound of one parameter."""
        return self.std[:, self.names.index(name)]


def cramer_rao(
    information: Information, names: Sequence[str], prior_precision: Mapping[str, float] | None = None
) -> Bound:
    """Invert the information of the free parameters `names`.

    prior_precision: 1/variance of Gaussian priors by parameter; a parameter that is known is simply not named.
    Scaled to a unit diagonal before the inversion; singular directions are kept out of the inverse and reported.
    """
    for name, precision in (prior_precision or {}).items():
        if name not in names:
            raise UserError(
                f"a prior on {name!r}{nearest(name, names)}, which is not free: free are {', '.join(names)}"
            )
        information = information.clone()
        information[:, names.index(name), names.index(name)] += precision
    diagonal = information.diagonal(dim1=1, dim2=2)
    silent = diagonal <= 0
    scale = torch.where(silent, torch.ones_like(diagonal), diagonal).rsqrt()
    values, vectors = torch.linalg.eigh(information * scale[:, :, None] * scale[:, None, :])
    null = values < SINGULAR_EIGENVALUE
    inverse = torch.where(null, torch.zeros_like(values), 1 / values)
    covariance = (vectors * inverse[:, None, :]) @ vectors.transpose(1, 2) * scale[:, :, None] * scale[:, None, :]
    touched = ((vectors.square() * null[:, None, :]).sum(2) > 1e-6) | silent
    covariance = covariance + torch.diag_embed(torch.where(touched, math.inf, 0.0).to(covariance))
    return Bound(tuple(names), covariance, values[:, 0], vectors[:, :, 0], null.any(1))


def area_prior_precision(largest_radius_m: float) -> float:
    """Return 1/variance of a radius uniform in area, density 2ρ/R²: 18/R².

    A Gaussian of that variance stands in for the prior, whose own information is not defined at its sharp edge.
    """
    return 18 / largest_radius_m**2
