"""Where else the truth may lie: the posterior over the pitch angle from the matched filter's profile."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cres.estimation.search.detection import Profile
from cres.estimation.search.templates import TemplateBank
from reconstruction.levels import CENTRAL_68
from reconstruction.shapes import PerRow


def template_weights(searched: Profile, bank: TemplateBank) -> Float[Tensor, "batch position"]:
    """Return the posterior probability of each template, the prior flat in cos θ.

    The axial phase is maximised, not integrated: its width hardly changes from template to template.
    """
    cosine = torch.cos(torch.deg2rad(bank.pitch_angle_deg[len(bank.energies_ev) // 2]))
    density = torch.gradient(cosine)[0].abs().clamp_min(1e-300)
    return torch.softmax(searched.statistic + density.log()[searched.template], 1)


def near_optimum(
    searched: Profile, bank: TemplateBank, axial_hz: PerRow, width_hz: float
) -> Bool[Tensor, "batch position"]:
    """Return which templates lie within `width_hz` of the fitted axial frequency."""
    return (bank.axial_hz[searched.template] - axial_hz[:, None]).abs() < width_hz


def template_pitch_angles(searched: Profile, bank: TemplateBank) -> Tensor:
    """Return the pitch angle (batch, position) of each template at the middle energy."""
    return bank.pitch_angle_deg[len(bank.energies_ev) // 2][searched.template]


def template_energies(searched: Profile, bank: TemplateBank, carrier_hz: PerRow) -> Tensor:
    """Return the energy (batch, position) that explains the carrier at each template's pitch angle.

    Linear between the bank's energies: off by some 10 meV in the middle of 60 eV.
    """
    table = bank.carrier_hz.T[searched.template]
    upper = (table > carrier_hz[:, None, None]).sum(2).clamp(1, len(bank.energies_ev) - 1)
    left, right = (table.gather(2, k[:, :, None])[:, :, 0] for k in (upper - 1, upper))
    part = (carrier_hz[:, None] - left) / (right - left)
    return bank.energies_ev[upper - 1] + part * (bank.energies_ev[upper] - bank.energies_ev[upper - 1])


def credible_half_width(
    values: Float[Tensor, "batch position"], weights: Float[Tensor, "batch position"], centre: PerRow
) -> PerRow:
    """Return the half-width of the interval around `centre` that holds 68.27 % of the weights."""
    distance, order = (values - centre[:, None]).abs().sort(1)
    reached = weights.gather(1, order).cumsum(1) >= CENTRAL_68
    return distance.gather(1, reached.to(torch.int8).argmax(1, keepdim=True))[:, 0]
