"""Where a likelihood fit begins: candidates from the matched filter, as parameters of the forward model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cres.estimation.apparatus import Apparatus
from cres.estimation.fit.least_squares import AMPLITUDE, AXIAL_PHASE, ENERGY, PITCH, RADIUS
from cres.estimation.fit.strength import RadialStrength
from cres.estimation.inversion import energy_and_pitch
from cres.estimation.placement import on_host
from cres.estimation.search.detection import Profile, best_templates
from cres.estimation.search.matched_filter import MatchedFilter
from reconstruction.shapes import PerRow

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
    search: MatchedFilter,
    strength: RadialStrength,
    found: Profile,
    carrier_hz: PerRow,
    count: int,
    margin: float,
) -> Starts:
    """Return up to `count` optima of each electron whose statistic is within `margin` of its best.

    The statistic is a log likelihood ratio up to the grid's losses: an optimum lower by far cannot win.
    """
    bank = search.fine
    step_hz = float(bank.axial_hz[1] - bank.axial_hz[0])
    position = best_templates(found, count, max(1, round(OPTIMUM_WIDTH_BINS * bank.reception.bin_hz / step_hz)))
    statistic = found.statistic.gather(1, position)
    phase = found.axial_phase_rad.gather(1, position)
    axial = bank.axial_hz[found.template.gather(1, position)] + step_hz * _between(found.statistic, position)
    electron, rank = torch.nonzero(statistic > statistic[:, :1] - margin, as_tuple=True)
    picked = [values[electron, rank] for values in (axial, phase, statistic)]
    parameters = start_parameters(search, strength, carrier_hz[electron], *picked)
    return Starts(electron, parameters, picked[2])


def _between(statistic: Float[Tensor, "batch position"], position: Int[Tensor, "batch count"]) -> Tensor:
    """Return how far, within ±½, the top of the parabola through each position and its neighbours lies."""
    inside = position.clamp(1, statistic.shape[1] - 2)
    left, middle, right = (statistic.gather(1, inside + k) for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    top = (inside == position) & (bend < 0) & bend.isfinite()
    return torch.where(top, (left - right) / (2 * torch.where(top, bend, -1.0)), 0.0).clamp(-0.5, 0.5)


def start_parameters(
    search: MatchedFilter,
    strength: RadialStrength,
    carrier_hz: PerRow,
    axial_hz: PerRow,
    axial_phase_rad: PerRow,
    statistic: PerRow,
) -> Float[Tensor, "batch 6"]:
    """Return forward-model parameters that have carrier, axial frequency and phase at the middle of the record.

    Σ|s|² = 2σ² q gives the inner radius; it sets the loss, and by how much the start differs from the middle. The
    common phase is left at 0, the fit solves it.
    """
    apparatus = search.apparatus
    norm = apparatus.noise_std_volt * (2 * statistic).sqrt() * search.noise_over_white(carrier_hz)
    radius = strength.inner_radius(norm)
    rows = torch.stack([torch.zeros_like(norm)] * 6, 1)
    rows[:, RADIUS], rows[:, AMPLITUDE] = radius, norm / strength.norm(radius)
    middle_s = apparatus.reception.middle_s
    carrier, axial = carrier_hz, axial_hz
    for _ in range(2):
        rows[:, ENERGY], rows[:, PITCH] = _inverted(apparatus, carrier, axial, radius)
        lines = apparatus.model.lines(rows)
        at_middle = [(p[:, 1] + 2 * p[:, 2] * middle_s) / (2 * math.pi) for p in (lines.phase, lines.axial)]
        carrier, axial = carrier + carrier_hz - at_middle[0], axial + axial_hz - at_middle[1]
    rows[:, AXIAL_PHASE] = axial_phase_rad - (lines.axial[:, 1] + lines.axial[:, 2] * middle_s) * middle_s
    return rows


def _inverted(apparatus: Apparatus, carrier_hz: PerRow, axial_hz: PerRow, radius_m: PerRow) -> tuple[PerRow, PerRow]:
    before_mixing = on_host(carrier_hz + apparatus.reception.lo_frequency_hz)
    energy, pitch = energy_and_pitch(apparatus.trap, before_mixing, on_host(axial_hz), on_host(radius_m))
    return torch.from_numpy(energy).to(carrier_hz.device), torch.from_numpy(pitch).to(carrier_hz.device)
