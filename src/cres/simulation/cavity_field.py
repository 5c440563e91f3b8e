"""What an electron excites in the modes of a cavity, and what a read-out channel sees of it: torch, any device.

Each field is driven by the electron's motion through its field (`drives`), answers at every line (`answers`, together
where modes share a port, see `physics.modes`) and takes power from the electron (`watt`). Differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cres.physics.cavity import antinode_power_w
from cres.physics.constants import ELEMENTARY_CHARGE_C, VACUUM_PERMITTIVITY_F_PER_M
from cres.physics.modes import ComplexArray
from cres.simulation.bessel import bessel_j, bessel_j1, bessel_j1_derivative, bessel_j_derivative
from cres.simulation.cavity_config import CavityConfig, Field
from cres.simulation.motion import Period


class CavityField:
    """The fields of one cavity's modes. Lists have one entry a field; amplitudes are √W, their squares powers."""

    def __init__(self, cavity: CavityConfig) -> None:
        self.cavity = cavity
        self.response = cavity.response()
        self.fields = cavity.fields
        self._root_watt_per_speed = [self._root(field) for field in self.fields]

    def _root(self, field: Field) -> float:
        """Return √W per speed at unit coupling and profile: √(½e²Q_L/(ωε₀)) over the norm of the field."""
        shape, cavity, hz = field.mode.shape, self.cavity, self.cavity.mode_hz(field.mode)
        if shape.electric and shape.azimuthal == 0:
            size = {"cavity_radius_m": cavity.radius_m, "cavity_length_m": cavity.length_m}
            q, n = field.mode.loaded_q, shape.radial
            return math.sqrt(float(antinode_power_w(1.0, **size, loaded_q=q, mode_frequency_hz=hz, radial_index=n)))
        norm = shape.squared_norm_m3(cavity.radius_m, cavity.length_m)
        scale = field.mode.loaded_q / (4 * math.pi * hz * VACUUM_PERMITTIVITY_F_PER_M * norm)
        # of a pair the two that turn carry half of |cos mφ|² each, and each takes twice a half amplitude squared
        return ELEMENTARY_CHARGE_C * math.sqrt(scale * (2 if shape.azimuthal else 4))

    @property
    def even(self) -> bool:
        """Whether all modes are their own mirror images about the trap's middle: no odd lines in a symmetric trap."""
        return self.cavity.offset_m == 0 and all(field.mode.shape.axial % 2 == 1 for field in self.fields)

    @property
    def needs_axial_speed(self) -> bool:
        """Whether an electric field along the axis acts on the electron: in TM modes."""
        return any(not field.mode.shape.electric for field in self.fields)

    def drives(
        self,
        transverse_m_per_s: Tensor,
        radius_m: Tensor,
        gyroradius_m: Tensor,
        period: Period,
        axial_m_per_s: Tensor | None = None,
    ) -> list[Tensor]:
        """Return x_μ along the period, (batch, table) complex √W; zero outside of the cavity.

        TE0np: √W per speed · v_⊥ · 2J₁(kρ)J₁'(kr_c), times the profile and √(B/B₀)e^{iΔφ}. axial_m_per_s: (batch,
        table), which TM modes need. A common phase of a field, of no consequence, is left out.
        """
        place = (period.axial_m - self.cavity.offset_m) / self.cavity.length_m
        turning = torch.polar(torch.sqrt(period.field_ratio), period.phase) * (place.abs() <= 0.5)
        speeds: dict[tuple[int, int, bool], Tensor] = {}
        drives = []
        for field, root in zip(self.fields, self._root_watt_per_speed, strict=True):
            shape = field.mode.shape
            key = (field.turns, shape.radial, shape.electric)
            if key not in speeds:
                speeds[key] = self._across(field, transverse_m_per_s, radius_m, gyroradius_m)
            across = (root * speeds[key])[:, None]
            angle = shape.axial * math.pi * (place + 0.5)
            if shape.electric:
                drives.append(turning * (torch.sin(angle) * across))
                continue
            if axial_m_per_s is None:
                raise ValueError("TM modes need the axial speed")
            # v_∥ cos βz − i (βω_c/k²) sin βz, the electron's along and across, both over v_⊥/(kr_c) = ω_c/k
            wavenumber = shape.zero / self.cavity.radius_m
            bent = shape.axial * math.pi / self.cavity.length_m / wavenumber
            per_turn = (transverse_m_per_s / (wavenumber * gyroradius_m))[:, None]
            along = torch.cos(angle) * axial_m_per_s / period.field_ratio / per_turn
            drives.append(turning * (across * torch.complex(along, -bent * torch.sin(angle))))
        return drives

    def _across(self, field: Field, transverse_m_per_s: Tensor, radius_m: Tensor, gyroradius_m: Tensor) -> Tensor:
        """Return what of an electron's motion turns with it in a field, (batch,): see `physics.modes.ModeShape`.

        The field at ρ + r_c e^{iα} is expanded around the guiding centre (Graf's addition theorem); of e·v what goes as
        e^{iα} stays, which of J_m e^{imφ} has the order m − 1 at the centre.
        """
        wavenumber = field.mode.shape.zero / self.cavity.radius_m
        centre, turn = wavenumber * radius_m, wavenumber * gyroradius_m
        if field.mode.shape.electric and field.turns == 0:
            return 2 * transverse_m_per_s * (bessel_j1(centre) * bessel_j1_derivative(turn))
        at_centre = bessel_j(field.coupled_order, centre)
        if field.mode.shape.electric:
            return transverse_m_per_s * at_centre * bessel_j_derivative(1, turn)
        return transverse_m_per_s * at_centre * bessel_j1(turn) / turn

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
