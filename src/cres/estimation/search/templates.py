"""Templates of the matched filter as line spectra: a carrier and sidebands at multiples of the axial frequency.

A record of constant frequencies is Σ_m a_m exp(i m ψ) exp(2πi (f_c + m f_a)(t − t_mid)), ψ the axial phase at the
middle. One padded Fourier transform of the data then serves every template: moving a template in carrier frequency
reads the spectrum elsewhere, and the sum over m for all ψ is itself a short Fourier sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from cres.errors import UserError
from cres.estimation.apparatus import Reception
from cres.estimation.forward import LineModel
from cres.physics import Trap

Array = NDArray[np.float64]
LARGEST_HARMONIC = 4
FINE_PHASES = 16
"""Axial phases that a dense bank is tried at."""
# Lines below this share of the power in all templates are left out.
NEGLIGIBLE_POWER = 1e-4
SLOWEST_MEASURED_DEG = 89.97
LEAST_BRANCH_HZ = 1e4
"""A branch that ends so near its highest frequency is left to its neighbour."""


@dataclass(frozen=True)
class TemplateBank:
    """Line amplitudes on a grid of energies (the cavity sees the carrier) and axial frequencies (the pitch angle)."""

    harmonics: Int[Tensor, "line"]
    axial_hz: Float[Tensor, "axial"]
    """Rising."""
    pitch_angle_deg: Float[Tensor, "energy axial"]
    """The pitch angle that has the axial frequency at this energy."""
    carrier_hz: Float[Tensor, "energy axial"]
    """After mixing, at the middle of the record; falls with energy."""
    amplitudes: Complex[Tensor, "energy axial line"]
    """At ψ = 0, of norm 1 over the lines, the carrier real."""
    energies_ev: Float[Tensor, "energy"]
    reception: Reception

    @property
    def device(self) -> torch.device:
        """Where the templates lie."""
        return self.axial_hz.device

    @property
    def reach_hz(self) -> float:
        """Distance of the outermost line from the carrier."""
        return float(self.harmonics.abs().max() * self.axial_hz[-1])

    @cached_property
    def norms(self) -> Float[Tensor, "energy axial phase"]:
        """(1/N) Σ_t |Σ_m a_m e^{imψ} e^{2πi m f_a (t − t_mid)}|² at the phases tried: 1 but for lines that overlap."""
        turns = self.axial_hz[:, None, None] * (self.harmonics - self.harmonics[:, None]) / self.reception.bin_hz
        gram = self.amplitudes.conj()[..., :, None] * self.amplitudes[..., None, :] * torch.sinc(turns)
        phases = axial_turns(FINE_PHASES, self.harmonics)
        return torch.einsum("mp,eamn,np->eap", phases, gram, phases.conj()).real

    @property
    def carrier_band_hz(self) -> tuple[float, float]:
        """Carriers of all templates, after mixing."""
        return float(self.carrier_hz.min()), float(self.carrier_hz.max())

    def resampled(self, axial_hz: Float[Tensor, "other"]) -> TemplateBank:
        """Return the bank on another grid of axial frequencies, linear between the nodes."""
        upper = torch.searchsorted(self.axial_hz, axial_hz).clamp(1, len(self.axial_hz) - 1)
        left, right = self.axial_hz[upper - 1], self.axial_hz[upper]
        weight = (axial_hz - left) / (right - left)
        carrier = torch.lerp(self.carrier_hz[:, upper - 1], self.carrier_hz[:, upper], weight)
        pitch = torch.lerp(self.pitch_angle_deg[:, upper - 1], self.pitch_angle_deg[:, upper], weight)
        lines = self.amplitudes
        mixed = lines[:, upper - 1] + weight[:, None] * (lines[:, upper] - lines[:, upper - 1])
        return replace(
            self, axial_hz=axial_hz, pitch_angle_deg=pitch, carrier_hz=carrier, amplitudes=_normalised(mixed)
        )

    def energy_index(self, carrier_hz: Tensor, axial: Tensor) -> Int[Tensor, "..."]:
        """Return the energy node whose carrier is nearest, for carriers (…) and axial indices (…)."""
        distance = (self.carrier_hz.T[axial] - carrier_hz[..., None]).abs()
        return distance.argmin(-1)


def axial_turns(count: int, harmonics: Tensor) -> Tensor:
    """Return e^{−imψ} (line, phase) for ψ over one period of the pattern: π when all harmonics are even."""
    period = math.pi if bool((harmonics % 2 == 0).all()) else 2 * math.pi
    psi = torch.arange(count, dtype=torch.float64, device=harmonics.device) * period / count
    return torch.exp(-1j * harmonics[:, None] * psi)


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
            TemplateBank(harmonics, axial, pitch, carrier, _normalised(lines[..., kept]), energies, reception)
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
        rows = _template_rows(float(value), np.minimum(angles, SLOWEST_MEASURED_DEG), radius_m)
        found = model.lines(torch.from_numpy(rows).to(device))
        _, linear, square = found.phase.unbind(1)
        carriers.append((linear + 2 * square * reception.middle_s) / (2 * math.pi))
        amplitudes = found.amplitudes.new_zeros(len(angles), 2 * LARGEST_HARMONIC + 1)
        kept = found.harmonics.abs() <= LARGEST_HARMONIC
        amplitudes[:, found.harmonics[kept] + LARGEST_HARMONIC] = found.amplitudes[:, kept]
        carrier = amplitudes[:, LARGEST_HARMONIC]
        lines.append(amplitudes * (carrier.conj() / carrier.abs())[:, None])
    axial_hz, angles_deg = (torch.from_numpy(values).to(device) for values in (axial, pitch))
    return axial_hz, angles_deg, torch.stack(carriers), torch.stack(lines)


def joined_banks(banks: list[TemplateBank]) -> TemplateBank:
    """Return the templates of all branches side by side; `axial_hz` then rises within each branch only."""
    return replace(
        banks[0],
        axial_hz=torch.cat([bank.axial_hz for bank in banks]),
        pitch_angle_deg=torch.cat([bank.pitch_angle_deg for bank in banks], 1),
        carrier_hz=torch.cat([bank.carrier_hz for bank in banks], 1),
        amplitudes=torch.cat([bank.amplitudes for bank in banks], 1),
    )


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


def _template_rows(energy_ev: float, pitch: Array, radius_m: float) -> Array:
    rows = np.zeros((len(pitch), 6))
    rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 5] = energy_ev, pitch, radius_m, 1.0
    return rows


def _normalised(lines: Tensor) -> Tensor:
    return lines / lines.abs().square().sum(-1, keepdim=True).sqrt()
