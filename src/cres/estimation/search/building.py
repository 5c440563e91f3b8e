"""Banks of templates, made from the lines of the forward model's records: any trap, any mode, no formula twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from cres.errors import UserError
from cres.estimation.apparatus import Reception
from cres.estimation.forward import LineModel
from cres.estimation.search.templates import SLOW_BINS, TemplateBank, normalised
from cres.physics import Trap
from cres.simulation.parameters import parameter_rows

Array = NDArray[np.float64]
LARGEST_HARMONIC = 4
# Lines below this share of the power in all templates are left out.
NEGLIGIBLE_POWER = 1e-4
SLOWEST_MEASURED_DEG = 89.97
LEAST_BRANCH_HZ = 1e4
"""A branch that ends so near its highest frequency is left to its neighbour."""
COARSE_TEMPLATES = 64
STRONG_SIDEBAND = 0.4
"""A sideband's share of the power that makes detection depend on it."""
# Spacing of fine templates: the outermost strong line (m = 2) then moves by an eighth of a natural bin.
FINE_STEPS_PER_BIN = 8


def build_banks(
    model: LineModel,
    trap: Trap,
    reception: Reception,
    *,
    energies_ev: tuple[float, float],
    pitch_angles_deg: tuple[float, float],
    radii_m: Sequence[float],
    energy_nodes: int = 5,
    axial_nodes: int = 48,
    device: torch.device | str = "cpu",
) -> list[list[TemplateBank]]:
    """Take the lines of the forward model's records: any trap, any mode, no formula twice.

    For each radius one bank a branch: in traps that end, the axial frequency has a highest value, and below its pitch
    angle falls. `device` is that of the model.
    """
    energy = np.linspace(*energies_ev, energy_nodes)
    measured = []
    for radius_m in radii_m:
        branches = _branches(trap, energy, pitch_angles_deg, radius_m, axial_nodes)
        measured.append([_measured(model, reception, energy, radius_m, *branch, device) for branch in branches])
    power = torch.cat([lines.abs().square() for branches in measured for *_, lines in branches], 1)
    kept = (power / power.sum(-1, keepdim=True)).amax((0, 1)) > NEGLIGIBLE_POWER
    harmonics = torch.arange(-LARGEST_HARMONIC, LARGEST_HARMONIC + 1, device=device)[kept]
    energies = torch.from_numpy(energy).to(device)
    return [
        [
            TemplateBank(harmonics, axial, pitch, carrier, normalised(lines[..., kept]), energies, reception)
            for axial, pitch, carrier, lines in branches
        ]
        for branches in measured
    ]


def _measured(
    model: LineModel,
    reception: Reception,
    energies_ev: Array,
    radius_m: float,
    axial: Array,
    pitch: Array,
    device: torch.device | str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return axial frequencies, pitch angles, carriers and lines of one branch: (axial,), (energy, axial[, line]).

    The carrier is that at the middle of the record; the lines have axial phase 0 there, and the carrier's is real.
    Beyond `SLOWEST_MEASURED_DEG` they are those of that angle: the bounce does not change any more, but the loss within
    one, which a template of constant frequencies leaves to the chirp, would be mistaken for it.
    """
    lines, carriers = [], []
    for value, angles in zip(energies_ev, pitch, strict=True):
        slowest = np.minimum(angles, SLOWEST_MEASURED_DEG)
        found = model.lines(parameter_rows(float(value), slowest, radius_m, device=device))
        carriers.append(found.frequencies_hz(reception.middle_s)[0])
        amplitudes = found.amplitudes.new_zeros(len(angles), 2 * LARGEST_HARMONIC + 1)
        kept = found.harmonics.abs() <= LARGEST_HARMONIC
        amplitudes[:, found.harmonics[kept] + LARGEST_HARMONIC] = found.amplitudes[:, kept]
        carrier = amplitudes[:, LARGEST_HARMONIC]
        lines.append(amplitudes * (carrier.conj() / carrier.abs())[:, None])
    axial_hz, angles_deg = (torch.from_numpy(values).to(device) for values in (axial, pitch))
    return axial_hz, angles_deg, torch.stack(carriers), torch.stack(lines)


def _branches(
    trap: Trap, energies_ev: Array, limits_deg: tuple[float, float], radius_m: float, count: int
) -> list[tuple[Array, Array]]:
    """Return axial frequencies (axial,) that all energies reach and their pitch angles (energy, axial), by branch.

    Even frequencies where they rise to the end; towards a highest one they crowd, so that the pitch angles are even.
    Raises UserError where the axial frequency does not fall towards 90°.
    """
    dense = np.linspace(limits_deg[1], limits_deg[0], 4000)
    radius = np.full_like(dense, radius_m)
    curves = [np.asarray(trap.axial_frequency_hz(np.full_like(dense, energy), dense, radius)) for energy in energies_ev]
    tops = [int(curve.argmax()) for curve in curves]
    highest = min(curve[top] for curve, top in zip(curves, tops, strict=True))
    turns = all(top < len(dense) - 1 for top in tops)
    even = np.linspace(0, 1, count)
    shares = np.sin(even * np.pi / 2) if turns else even
    rising = max(curve[0] for curve in curves)
    if rising >= highest:
        raise UserError(
            "in this trap the axial frequency does not fall towards a pitch angle of 90°, so that templates cannot "
            "tell pitch angles apart: use the methods carrier or bound, or a network"
        )
    axial = rising + (highest - rising) * shares
    cut = [(curve[: top + 1], dense[: top + 1]) for curve, top in zip(curves, tops, strict=True)]
    found = [(axial, np.stack([np.interp(axial, curve, angle) for curve, angle in cut]))]
    falling = max(curve[-1] for curve in curves)
    if turns and falling < highest - LEAST_BRANCH_HZ:
        axial = falling + (highest - falling) * shares
        cut = [(curve[:top:-1], dense[:top:-1]) for curve, top in zip(curves, tops, strict=True)]
        found.append((axial, np.stack([np.interp(axial, curve, angle) for curve, angle in cut])))
    return found


def coarse_bank(bank: TemplateBank, templates: int = COARSE_TEMPLATES) -> TemplateBank:
    """Return a thin bank for detection: sidebands mostly carry 15 % of the power, so little is lost between templates.

    Where one is as strong as the carrier, templates lie so near that it moves by at most half a bin between them.
    Slow bounces are left out, they are detected by their carrier.
    """
    low, high = max(float(bank.axial_hz[0]), SLOW_BINS * bank.reception.bin_hz), float(bank.axial_hz[-1])
    sidebands = bank.amplitudes[..., bank.harmonics != 0].abs().square()
    if bool((sidebands > STRONG_SIDEBAND).any()):
        step_hz = bank.reception.bin_hz / float(bank.harmonics.abs().max())
        templates = max(templates, math.ceil((high - low) / step_hz) + 1)
    return bank.resampled(torch.linspace(low, high, templates, dtype=torch.float64, device=bank.device))


def fine_bank(bank: TemplateBank) -> TemplateBank:
    """Return a bank so dense that the sidebands stay within a small part of a natural bin."""
    low, high = float(bank.axial_hz[0]), float(bank.axial_hz[-1])
    step = bank.reception.bin_hz / FINE_STEPS_PER_BIN
    return bank.resampled(torch.arange(low, high, step, dtype=torch.float64, device=bank.device))


def carrier_grid(bank: TemplateBank) -> Float[Tensor, "carrier"]:
    """Return the carriers to try in detection: every half natural bin of the bank's band."""
    low, high = bank.carrier_band_hz
    return torch.arange(low, high, bank.reception.bin_hz / 2, dtype=torch.float64, device=bank.device)


def joined_banks(banks: list[TemplateBank]) -> TemplateBank:
    """Return the templates of all branches side by side; `axial_hz` then rises within each branch only."""
    return replace(
        banks[0],
        axial_hz=torch.cat([bank.axial_hz for bank in banks]),
        pitch_angle_deg=torch.cat([bank.pitch_angle_deg for bank in banks], 1),
        carrier_hz=torch.cat([bank.carrier_hz for bank in banks], 1),
        amplitudes=torch.cat([bank.amplitudes for bank in banks], 1),
    )
