"""Modes of one cavity that share its ports: what a source excites in them, what leaves where, what is reflected.

Coupled-mode theory (Haus, Waves and Fields in Optoelectronics, 1984, ch. 7; Suh, Wang & Fan, IEEE J. Quantum Electron.
40, 1511 (2004)): modes decay into the walls each for itself and into a port together, so that a port that sees two
modes couples them. That is what makes radiated power equal to what leaves the ports and stays in the walls.

Amplitudes y are scaled so that |y_μ|² is the power that mode μ loses; a port sees Σ_μ c_μ y_μ, √W, with |c_μ|² its part
of that power. A source that would give power |x_μ|² to mode μ alone, on resonance, makes y(f) = G(f) x(f),

    G = D (Γ + i f)⁻¹ D,   Γ_μν = (γ_μ − i f_μ) δ_μν + √(γ_μ γ_ν) Σ_j c*_jμ c_jν (μ ≠ ν),   D = diag √γ, γ = f_μ/2Q_L.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import jn_zeros, jnp_zeros, jv, jvp

from cres.physics.cavity import J1_ZEROS
from cres.physics.constants import SPEED_OF_LIGHT_M_PER_S
from cres.physics.cyclotron import Array

ComplexArray: TypeAlias = NDArray[np.complex128]


LARGEST_ZERO = 13.5
"""Of the Bessel function that makes a mode: what the series of `simulation.bessel` reaches."""


@dataclass(frozen=True)
class ModeShape:
    """A mode of a cylinder, TE_mnp or TM_mnp: how its field varies around the axis, across it and along it.

    With ψ = J_m(kρ) cos mφ, k = x/R, β = pπ/L and z from the lower end (Jackson, Classical Electrodynamics, 3rd ed.,
    §8.7; Pozar, Microwave Engineering, §6.4): TE has e = ẑ×∇ψ sin βz, x a zero of J_m'; TM has e_z = ψ cos βz and
    e_⊥ = −(β/k²) ∇ψ sin βz, x a zero of J_m. Modes with m ≥ 1 come in pairs, cos mφ and sin mφ.
    """

    electric: bool
    """TE (E is transverse) or TM."""
    azimuthal: int
    radial: int
    axial: int

    @classmethod
    def of(cls, name: str) -> ModeShape:
        """Return the shape of a mode by its name, TE011, TM110, …. Raises ValueError where there is none."""
        found = re.fullmatch(r"T([EM])([0-4])([1-4])([0-9])", name)
        if not found or (found[1] == "E" and found[4] == "0"):
            raise ValueError(name)
        shape = cls(found[1] == "E", int(found[2]), int(found[3]), int(found[4]))
        if shape.zero > LARGEST_ZERO:
            raise ValueError(name)
        return shape

    @property
    def zero(self) -> float:
        """The zero x of J_m' (TE) or J_m (TM)."""
        if self.electric and self.azimuthal == 0:  # J₀' = −J₁
            return J1_ZEROS[self.radial - 1]
        zeros = jnp_zeros if self.electric else jn_zeros
        return float(zeros(self.azimuthal, self.radial)[-1])

    def resonance_hz(self, cavity_radius_m: float, cavity_length_m: float) -> float:
        """Return f = (c/2π) √(k² + β²)."""
        across, along = self.zero / cavity_radius_m, self.axial * math.pi / cavity_length_m
        return SPEED_OF_LIGHT_M_PER_S / (2 * math.pi) * math.hypot(across, along)

    def squared_norm_m3(self, cavity_radius_m: float, cavity_length_m: float) -> float:
        """Return ∫|e|² dV over what e is in units of ψ (TM) or of kψ (TE)."""
        m, x = self.azimuthal, self.zero
        around = math.pi * (2 if m == 0 else 1)
        if self.electric:
            return around * cavity_radius_m**2 * (1 - (m / x) ** 2) * float(jv(m, x)) ** 2 * cavity_length_m / 4
        across = around * cavity_radius_m**2 * float(jvp(m, x)) ** 2 / 2
        if self.axial == 0:
            return across * cavity_length_m
        bent = self.axial * math.pi / cavity_length_m * cavity_radius_m / x
        return across * cavity_length_m / 2 * (1 + bent**2)


@dataclass(frozen=True)
class ModeResponse:
    """G(f) as a sum over poles: y_μ = Σ_k out_μk/(1 + iδ_k) Σ_ν into_kν x_ν, δ_k = 2Q_k(f/f_k − 1).

    couplings: (port, mode) complex, c_jμ; resonance_hz, quality: (pole,); into: (pole, mode); out: (mode, pole).
    """

    couplings: ComplexArray
    resonance_hz: Array
    quality: Array
    into: ComplexArray
    out: ComplexArray

    def modes_at(self, frequency_hz: Array) -> ComplexArray:
        """Return G at frequencies (...): (..., mode, mode)."""
        detuning = 2 * self.quality * (np.asarray(frequency_hz)[..., None] / self.resonance_hz - 1)
        return np.asarray((self.out / (1 + 1j * detuning)[..., None, :]) @ self.into)

    def scattering_at(self, frequency_hz: Array) -> ComplexArray:
        """Return the amplitudes that waves at the ports come back with, (..., port, port): S = −1 + 2 C G C†."""
        ports = np.eye(len(self.couplings))
        through = self.couplings @ self.modes_at(frequency_hz) @ self.couplings.conj().T
        return np.asarray(-ports + 2 * through)

    def emissivity_at(self, frequency_hz: Array, port: int = 0) -> Array:
        """Return the part of a wave into a port that no port returns: what the walls absorb, and so emit there."""
        return np.asarray(1 - (np.abs(self.scattering_at(frequency_hz)[..., :, port]) ** 2).sum(-1))


def mode_response(resonance_hz: Array, loaded_q: Array, couplings: ComplexArray) -> ModeResponse:
    """Return the response of modes (mode,) with couplings (port, mode).

    Modes that share no port keep their own resonances and Q exactly.
    """
    shared = couplings.conj().T @ couplings
    np.fill_diagonal(shared, 0.0)
    one = np.eye(len(resonance_hz), dtype=np.complex128)
    if not np.any(shared):
        return ModeResponse(couplings, np.asarray(resonance_hz, np.float64), np.asarray(loaded_q, np.float64), one, one)
    half_width = resonance_hz / (2 * loaded_q)
    root = np.sqrt(half_width)
    # about the mean resonance: differences of megahertz would drown in 26 GHz
    middle = float(np.mean(resonance_hz))
    values, vectors = np.linalg.eig(np.diag(half_width - 1j * (resonance_hz - middle)) + np.outer(root, root) * shared)
    poles_hz = middle - values.imag
    into = np.linalg.inv(vectors) * root / values.real[:, None]
    return ModeResponse(couplings, poles_hz, poles_hz / (2 * values.real), into, root[:, None] * vectors)


def axial_coupling(axial_m: float, cavity_length_m: float, axial_index: int) -> float:
    """Return sin(pπ(z + L/2)/L): what a port in the wall at z sees of TE0np, over what it sees at an antinode.

    The magnetic field at the wall has the axial profile of the electric field inside, with its sign.
    """
    turns = axial_index * (axial_m / cavity_length_m + 0.5)
    # sin(πp) of a port in the middle is exactly zero, not 1e-16: such a port couples no modes
    return 0.0 if abs(turns - round(turns)) < 1e-12 else math.sin(math.pi * turns)
