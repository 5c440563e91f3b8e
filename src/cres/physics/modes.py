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

from cres.physics.cyclotron import Array

ComplexArray: TypeAlias = NDArray[np.complex128]


def mode_indices(name: str) -> tuple[int, int]:
    """Return the radial and the axial index of a mode TE0np. Raises ValueError for any other."""
    found = re.fullmatch(r"TE0([1-4])([1-9])", name)
    if not found:
        raise ValueError(name)
    return int(found[1]), int(found[2])


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
