"""What an electron excites in the modes of a cavity, and what a read-out channel sees of it: torch, any device.

Each mode is driven by the electron's motion through its field (`drives`), answers at every line (`answers`, together
where modes share a port, see `physics.modes`) and takes power from the electron (`watt`). Differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cres.physics.cavity import J1_ZEROS, antinode_power_w
from cres.physics.modes import ComplexArray
from cres.simulation.bessel import bessel_j1, bessel_j1_derivative
from cres.simulation.cavity_config import CavityConfig
from cres.simulation.motion import Period


class CavityField:
    """The modes of one cavity. Lists have one entry a mode; amplitudes are √W, their squares powers."""

    def __init__(self, cavity: CavityConfig) -> None:
        self.cavity = cavity
        self.response = cavity.response()
        self.indices = cavity.indices
        self._root_watt_per_speed = [
            math.sqrt(
                float(
                    antinode_power_w(
                        1.0,
                        cavity_radius_m=cavity.radius_m,
                        cavity_length_m=cavity.length_m,
                        loaded_q=mode.loaded_q,
                        mode_frequency_hz=cavity.mode_hz(mode),
                        radial_index=radial,
                    )
                )
            )
            for mode, (radial, _) in zip(cavity.all_modes, self.indices, strict=True)
        ]

    @property
    def even(self) -> bool:
        """Whether all modes are their own mirror images about the trap's middle: no odd lines in a symmetric trap."""
        return self.cavity.offset_m == 0 and all(axial % 2 == 1 for _, axial in self.indices)

    def drives(
        self, transverse_m_per_s: Tensor, radius_m: Tensor, gyroradius_m: Tensor, period: Period
    ) -> list[Tensor]:
        """Return x_μ along the period, (batch, table) complex √W; zero outside of the cavity.

        √W per speed · v_⊥ · 2J₁(kρ)J₁'(kr_c), times the profile of TE0np and √(B/B₀)e^{iΔφ}.
        """
        place = (period.axial_m - self.cavity.offset_m) / self.cavity.length_m
        turning = torch.polar(torch.sqrt(period.field_ratio), period.phase) * (place.abs() <= 0.5)
        speeds: dict[int, Tensor] = {}
        for radial in {radial for radial, _ in self.indices}:
            wavenumber = J1_ZEROS[radial - 1] / self.cavity.radius_m
            coupling = bessel_j1(wavenumber * radius_m) * bessel_j1_derivative(wavenumber * gyroradius_m)
            speeds[radial] = 2 * transverse_m_per_s * coupling
        return [
            turning * (torch.sin(axial * math.pi * (place + 0.5)) * (root * speeds[radial])[:, None])
            for (radial, axial), root in zip(self.indices, self._root_watt_per_speed, strict=True)
        ]

    def answers(self, drives: list[Tensor], line_hz: Tensor) -> list[Tensor]:
        """Return y_μ at the lines, (batch, table) complex √W: G(f) times the spectrum of the drives."""
        spectra = [torch.fft.fft(drive) for drive in drives]
        response = self.response
        poles = []
        for into, resonance, quality in zip(response.into, response.resonance_hz, response.quality, strict=True):
            detuning = 2 * float(quality) * (line_hz / float(resonance) - 1)
            poles.append(combined(into, spectra) / (1 + 1j * detuning))
        return [combined(row, poles) for row in response.out]

    def watt(self, drives: list[Tensor], answers: list[Tensor]) -> Tensor:
        """Return the power that the electron gives to all modes along the period, (batch, table)."""
        return torch.stack(self.watt_of_modes(drives, answers)).sum(0)

    @staticmethod
    def watt_of_modes(drives: list[Tensor], answers: list[Tensor]) -> list[Tensor]:
        """Return the power that the electron gives to each mode along the period: Re x*(t) y(t)."""
        return [(drive.conj() * torch.fft.ifft(answer)).real for drive, answer in zip(drives, answers, strict=True)]


def combined(coefficients: ComplexArray, values: Sequence[Tensor]) -> Tensor:
    """Return Σ_k c_k v_k with plain numbers, which any device takes without a copy; zeros and ones cost nothing."""
    terms = [v if c == 1 else complex(c) * v for c, v in zip(coefficients, values, strict=True) if c != 0]
    if not terms:
        return torch.zeros_like(values[0])
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
