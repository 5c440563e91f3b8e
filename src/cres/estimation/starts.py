"""Where a likelihood fit begins: candidates from the matched filter, as parameters of the forward model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cres.estimation.apparatus import Apparatus, RadialStrength
from cres.estimation.bank import TemplateBank
from cres.estimation.inversion import energy_and_pitch
from cres.estimation.matched_filter import Profile, best_templates
from cres.shapes import PerElectron

# Templates this close (in natural bins of the axial frequency) lie on one optimum.
OPTIMUM_WIDTH_BINS = 1.0


@dataclass(frozen=True)
class Starts:
    """Candidates of all electrons, one row a candidate."""

    electron: Int[Tensor, "start"]
    """Row of the record; several rows may share one."""
    parameters: Float[Tensor, "start 6"]
    statistic: Float[Tensor, "start"]


def candidate_starts(
    apparatus: Apparatus,
    strength: RadialStrength,
    bank: TemplateBank,
    found: Profile,
    carrier_hz: PerElectron,
    count: int,
    margin: float,
) -> Starts:
    """Return up to `count` optima of each electron whose statistic is within `margin` of its best.

    The statistic is a log likelihood ratio up to the grid's losses: an optimum lower by far cannot win.
    """
    apart = max(1, round(OPTIMUM_WIDTH_BINS * bank.reception.bin_hz / float(bank.axial_hz[1] - bank.axial_hz[0])))
    position = best_templates(found, count, apart)
    statistic = found.statistic.gather(1, position)
    phase = found.axial_phase_rad.gather(1, position)
    template = found.template.gather(1, position)
    electron, rank = torch.nonzero(statistic > statistic[:, :1] - margin, as_tuple=True)
    picked = [values[electron, rank] for values in (template, phase, statistic)]
    parameters = start_parameters(apparatus, strength, bank, carrier_hz[electron], *picked)
    return Starts(electron, parameters, picked[2])


def start_parameters(
    apparatus: Apparatus,
    strength: RadialStrength,
    bank: TemplateBank,
    carrier_hz: PerElectron,
    template: Int[Tensor, "batch"],
    axial_phase_rad: PerElectron,
    statistic: PerElectron,
) -> Float[Tensor, "batch 6"]:
    """Return forward-model parameters of templates; the common phase is left at 0, the fit solves it.

    Axial phase at the first sample: that at the middle minus 2π f_a t_mid. Σ|s|² = 2σ² q gives the inner radius.
    """
    norm = (2 * apparatus.noise_std_volt**2 * statistic).sqrt()
    radius = strength.inner_radius(norm)
    energy, pitch = energy_and_pitch(
        apparatus.trap,
        (carrier_hz + bank.reception.lo_frequency_hz).numpy(),
        bank.axial_hz[template].numpy(),
        radius.numpy(),
    )
    phase = axial_phase_rad - 2 * math.pi * bank.axial_hz[template] * bank.reception.middle_s
    amplitude = norm / strength.norm(radius)
    columns = (torch.from_numpy(energy), torch.from_numpy(pitch), radius, torch.zeros_like(norm), phase, amplitude)
    return torch.stack(columns, 1)
