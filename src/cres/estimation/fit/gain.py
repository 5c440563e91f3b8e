"""A gain that is known within a prior, in fits that tie the radius to the strength of the record.

The strength tells the radius, and the radius the loss, through the gain. With the gain g free the record's amplitude
may change at one loss: ∂/∂log g at a record of one strength is half of (amplitude alone) − (along the tie). Fitted
electrons are at the optimum for g = 1, from where one Gauss–Newton step goes to that of the joint fit.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cres.estimation.fit.least_squares import FitOptions, FitResult, RadialStrength, moved
from cres.estimation.fit.products import ProductMaker
from cres.simulation.parameters import AMPLITUDE


def with_free_gain(
    fitted: FitResult,
    products: ProductMaker,
    rows: Int[Tensor, "batch"],
    options: FitOptions,
    tie: RadialStrength,
    gain_std: float,
) -> FitResult:
    """Return the fit with the gain as a nuisance, of relative standard deviation `gain_std` beforehand.

    `products` are those of `(*options.free, "radius_m")`. The information is that of the free parameters, the gain
    integrated out. At a gain that is known the fit is returned as it is.
    """
    if gain_std == 0:
        return fitted
    found = products(rows, fitted.parameters)
    turn = _directions(fitted.parameters, options, tie)
    factor = found.overlap / found.overlap.abs()
    gradient = (factor.conj()[:, None] * found.with_data).real - found.with_record
    gradient = (turn @ gradient[:, :, None])[:, :, 0]
    information = turn @ found.information @ turn.transpose(1, 2)
    gain = information[:, -1:, -1:] + gain_std**-2
    mixed = information[:, :-1, -1:]
    marginal = information[:, :-1, :-1] - mixed @ mixed.transpose(1, 2) / gain
    reduced = gradient[:, :-1, None] - mixed * gradient[:, -1:, None] / gain
    step = torch.where(fitted.converged[:, None], _solved(marginal, reduced[:, :, 0]), 0.0)
    return replace(fitted, parameters=moved(fitted.parameters, step, options, tie), information=marginal)


def _solved(information: Float[Tensor, "batch k k"], gradient: Float[Tensor, "batch k"]) -> Float[Tensor, "batch k"]:
    """Return I⁻¹ g in units in which the diagonal is 1; a singular direction takes no part."""
    scale = information.diagonal(dim1=1, dim2=2).clamp_min(1e-300).rsqrt()
    identity = torch.eye(information.shape[1], dtype=information.dtype, device=information.device)
    scaled = information * scale[:, :, None] * scale[:, None, :] + 1e-12 * identity
    return torch.linalg.solve(scaled, gradient * scale) * scale


def _directions(
    parameters: Float[Tensor, "batch 6"], options: FitOptions, tie: RadialStrength
) -> Float[Tensor, "batch gained columns"]:
    """Return the free parameters and log g, each as a combination of (free, radius): strength along the tie."""
    count = len(options.free)
    strength = options.free.index("amplitude")
    along = tie.directions(parameters)
    turn = torch.zeros(len(parameters), count + 1, count + 1, dtype=torch.float64, device=parameters.device)
    turn[:, range(count), range(count)] = 1.0
    turn[:, strength, count], turn[:, strength, strength] = along.unbind(1)
    turn[:, count, count], turn[:, count, strength] = -along[:, 0] / 2, (parameters[:, AMPLITUDE] - along[:, 1]) / 2
    return turn
