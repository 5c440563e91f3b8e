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
from cres.estimation.forward import LossModel, RecordModel
from cres.estimation.noise import NoiseModel
from cres.simulation.parameters import AMPLITUDE, PARAMETERS, START_PHASE

LOSS, CHIRP, START_TIME = "log_loss_factor", "chirp_hz_per_s", "start_time_s"
EXTRA_PARAMETERS = (LOSS, CHIRP, START_TIME)
"""Nuisances beside those of the forward model: the logarithm of the radiated loss, a slope of the carrier on top of the
model's own, and the time at which the electron is born, here at the first sample."""
# Scaled eigenvalues below this are zero to the accuracy of float64 derivatives: no information in that direction.
SINGULAR_EIGENVALUE = 1e-11

Information = Float[Tensor, "batch k k"]


def fisher_information(
    model: RecordModel,
    parameters: Float[Tensor, "batch 6"],
    noise: NoiseModel,
    names: Sequence[str] = PARAMETERS,
    sampling_rate_hz: float | None = None,
    *,
    tied: bool = False,
) -> Information:
    """Return the information matrices of the named parameters, float64, in their units.

    names: of `PARAMETERS` and `EXTRA_PARAMETERS`; slope and start time need `sampling_rate_hz`. tied: "amplitude" is
    one strength s that scales the amplitude by s and the radiated loss by s², as power does both.
    """
    _check_names(names)
    series, derivatives = model.jacobian(parameters)
    by_loss = _by_loss(model, parameters) if LOSS in names or (tied and "amplitude" in names) else None
    if tied and by_loss is not None:
        derivatives[:, AMPLITUDE] += 2 / parameters[:, AMPLITUDE, None] * by_loss
    columns = []
    for name in names:
        if name in PARAMETERS:
            columns.append(derivatives[:, PARAMETERS.index(name)])
        elif name == LOSS and by_loss is not None:
            columns.append(by_loss)
        elif sampling_rate_hz is None:
            raise UserError(f"the derivative by {name} needs the sampling rate")
        elif name == CHIRP:
            columns.append(_by_chirp(series, sampling_rate_hz))
        else:
            columns.append(_by_start_time(model, parameters, series, sampling_rate_hz))
    whitened = torch.view_as_real(noise.whiten(torch.stack(columns, 1))).flatten(-2)
    return whitened @ whitened.transpose(1, 2)


def _check_names(names: Sequence[str]) -> None:
    known = (*PARAMETERS, *EXTRA_PARAMETERS)
    for name in names:
        if name not in known:
            raise UserError(f"unknown parameter {name!r}{nearest(name, known)}: known are {', '.join(known)}")


def _knows_losses(model: RecordModel, what: str) -> LossModel:
    if not isinstance(model, LossModel):
        raise UserError(f"{type(model).__name__} does not say what {what} does to its records: use a ForwardModel")
    return model


def _by_loss(model: RecordModel, parameters: Tensor) -> Tensor:
    return _knows_losses(model, "the radiated loss").loss_derivative(parameters)


def _by_chirp(series: Tensor, sampling_rate_hz: float) -> Tensor:
    time = torch.arange(series.shape[1], dtype=torch.float64, device=series.device) / sampling_rate_hz
    return 1j * math.pi * time.square() * series


def _by_start_time(model: RecordModel, parameters: Tensor, series: Tensor, sampling_rate_hz: float) -> Tensor:
    """Move the whole track: −ṡ, and its beginning, a step in the middle of the first sample: half of −ṡ and −s f_s.

    Along the track time does what energy, pitch angle and phases do; only the beginning tells them apart.
    """
    lines = _knows_losses(model, "the start time").lines(parameters)
    time = torch.arange(series.shape[1], dtype=torch.float64, device=series.device) / sampling_rate_hz
    carrier, carrier_rate = _phase_and_rate(lines.phase, time)
    axial, axial_rate = _phase_and_rate(lines.axial, time)
    slope = torch.zeros_like(series)
    for harmonic, line in zip(lines.harmonics.tolist(), lines.amplitudes.T, strict=True):
        turn = torch.polar(torch.ones_like(carrier), carrier + harmonic * axial)
        slope += 1j * (carrier_rate + harmonic * axial_rate) * line[:, None] * turn
    start_phase, amplitude = (parameters[:, column] for column in (START_PHASE, AMPLITUDE))
    derivative = -torch.polar(amplitude, start_phase)[:, None] * slope
    derivative[:, 0] = derivative[:, 0] / 2 - sampling_rate_hz * series[:, 0]
    return derivative


def _phase_and_rate(curve: Float[Tensor, "batch 3"], time: Tensor) -> tuple[Tensor, Tensor]:
    constant, linear, square = (values[:, None] for values in curve.unbind(1))
    return (square * time + linear) * time + constant, 2 * square * time + linear


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
