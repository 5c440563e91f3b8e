"""Conversion electrons of the 32 keV transition of 83mKr: energies, natural widths, intensities of the lines.

Gaseous krypton: D. Vénos et al., JINST 13 T02012 (2018), arXiv:1712.02120; Eγ − K − recoil are the binding energies
of the krypton shells. The width of K-32 is that of K. Altenmüller et al., J. Phys. G 47 065002 (2020). Satellites below
K-32, from shake-up and shake-off of outer electrons: Robertson and Venkatapathy, Phys. Rev. C 102 035502 (2020),
arXiv:1908.07131. Those of other lines, and the lines of the 9.4 keV transition, which end below 9.4 keV, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cres.physics.cyclotron import Array, Values, as_array

VENOS = "D. Vénos et al., JINST 13 T02012 (2018)"
ALTENMUELLER = "width: K. Altenmüller et al., J. Phys. G 47 065002 (2020)"


@dataclass(frozen=True)
class ConversionLine:
    """A conversion line: kinetic energy, full width at half maximum of its Lorentzian, relative intensity, source.

    `intensity` is in electrons a hundred decays in the table below. A width of 0 is a sharp line.
    """

    name: str
    energy_ev: float
    width_ev: float
    intensity: float = 1.0
    source: str = ""
    energy_error_ev: float = 0.0

    def density(self, energy_ev: Array) -> Array:
        """Return the Lorentzian probability density per eV; its width must not be 0."""
        half = self.width_ev / 2
        return half / np.pi / ((energy_ev - self.energy_ev) ** 2 + half**2)

    def distribution(self, energy_ev: Values) -> Array:
        """Return the probability of an energy below `energy_ev`, ½ + arctan(2(K − K₀)/Γ)/π."""
        return np.asarray(0.5 + np.arctan2(as_array(energy_ev) - self.energy_ev, self.width_ev / 2) / np.pi)

    def quantile_ev(self, probability: Values) -> Array:
        """Return the energy below which the line lies with a probability, the inverse of `distribution`."""
        return np.asarray(self.energy_ev + self.width_ev / 2 * np.tan(np.pi * (as_array(probability) - 0.5)))

    def sample(self, count: int, generator: np.random.Generator) -> Array:
        """Draw energies in eV, (count,)."""
        return self.energy_ev + self.width_ev / 2 * generator.standard_cauchy(count)


K_32 = ConversionLine("K-32", 17_824.2, 2.774, 24.8, f"{VENOS}; {ALTENMUELLER}", 0.5)

LINES = (
    K_32,
    ConversionLine("L1-32", 30_226.8, 3.75, 1.56, VENOS, 0.9),
    ConversionLine("L2-32", 30_419.5, 1.165, 24.3, VENOS, 0.5),
    ConversionLine("L3-32", 30_472.2, 1.108, 37.8, VENOS, 0.5),
    ConversionLine("M1-32", 31_858.7, 3.5, 0.249, VENOS, 0.6),
    ConversionLine("M2-32", 31_929.3, 1.230, 4.02, VENOS, 0.5),
    ConversionLine("M3-32", 31_936.9, 1.322, 6.24, VENOS, 0.5),
    ConversionLine("M4-32", 32_056.4, 0.07, 0.0628, VENOS, 0.5),
    ConversionLine("M5-32", 32_057.6, 0.07, 0.0884, VENOS, 0.5),
    ConversionLine("N1-32", 32_123.9, 0.19, 0.0255, VENOS, 0.5),
    ConversionLine("N2-32", 32_136.7, 0.0, 0.300, VENOS, 0.5),
    ConversionLine("N3-32", 32_137.4, 0.0, 0.457, VENOS, 0.5),
)
"""The lines of gaseous 83mKr from the 32 keV transition; M4, M5 and N have no fitted natural width."""


# Satellites of K-32, table IV of Robertson and Venkatapathy 2020: energy below the line in eV, intensity for 10 000 in
# the line, width in eV, and for shake-off the energy scale of its continuum in eV, 0 for shake-up.
_K_SATELLITES = (
    (19.8, 434.76, 2.7, 0.0),
    (20.5, 217.38, 2.7, 0.0),
    (21.7, 83.29, 2.7, 0.0),
    (22.4, 41.65, 2.7, 0.0),
    (22.9, 29.99, 2.7, 0.0),
    (23.6, 74.96, 2.7, 0.0),
    (24.3, 29.99, 2.7, 0.0),
    (26.1, 463.34, 2.7, 11.2),
    (26.8, 231.67, 2.7, 11.2),
    (38.6, 207.52, 3.1, 0.0),
    (41.0, 41.51, 3.1, 0.0),
    (42.5, 10.38, 3.1, 0.0),
    (43.5, 10.38, 3.1, 0.0),
    (46.6, 671.21, 3.1, 42.4),
    (97.7, 1.56, 2.77, 0.0),
    (99.1, 1.04, 2.77, 0.0),
    (116.0, 444.55, 2.77, 307.0),
    (117.0, 296.06, 2.77, 307.0),
    (252.0, 109.13, 4.022, 641.0),
    (261.0, 54.56, 3.93, 641.0),
    (321.0, 20.0, 6.2, 400.0),
    (1835.0, 20.0, 3.808, 500.0),
    (1895.0, 10.0, 3.865, 500.0),
)
_CONTINUUM_PARTS = 4
SATELLITE_MARK = " −"
"""A continuum is stood for by so many Lorentzians of equal intensity."""


def with_satellites(line: ConversionLine) -> tuple[ConversionLine, ...]:
    """Return a line with the satellites that are known of it, their sum as strong as the line was.

    The continuum of shake-off falls as (1 + ε/E)⁻² with the energy ε of the second electron and the published scale E:
    a simplification of the published shape, for the first 15 eV of it lie within a calibration's window.
    """
    if line.name != "K-32":
        return (line,)
    ranks = (np.arange(_CONTINUUM_PARTS) + 0.5) / _CONTINUUM_PARTS
    total = 10_000.0 + sum(satellite[1] for satellite in _K_SATELLITES)
    parts = [replace(line, intensity=line.intensity * 10_000.0 / total)]
    for below_ev, intensity, width_ev, scale_ev in _K_SATELLITES:
        second = scale_ev * ranks / (1 - ranks) if scale_ev else np.zeros(1)
        share = line.intensity * intensity / total / len(second)
        name = f"{line.name}{SATELLITE_MARK}{below_ev:g}"
        parts += [
            ConversionLine(name, line.energy_ev - below_ev - float(second_ev), width_ev, share) for second_ev in second
        ]
    return tuple(parts)


def is_satellite(line: ConversionLine) -> bool:
    """Return whether a line is one of those that `with_satellites` adds."""
    return SATELLITE_MARK in line.name


SPECTRUM = tuple(part for line in LINES for part in with_satellites(line))
"""The lines with the satellites that are known."""


def lines_between(low_ev: float, high_ev: float, lines: Sequence[ConversionLine] = LINES) -> tuple[ConversionLine, ...]:
    """Return the lines whose energy lies between two energies."""
    return tuple(line for line in lines if low_ev <= line.energy_ev <= high_ev)


def line_quantile_ev(
    choice: Values, probability: Values, low_ev: float, high_ev: float, lines: Sequence[ConversionLine] = SPECTRUM
) -> Array:
    """Return energies of lines, cut to low_ev … high_ev, from two uniform numbers an electron.

    choice, probability: [0, 1), one shape. A line is chosen with its intensity times its part within the limits, and
    the energy is its quantile there. Raises ValueError where no line has a part there.
    """
    parts = np.array([line.intensity * np.ptp(line.distribution([low_ev, high_ev])) for line in lines])
    if not parts.sum() > 0:
        raise ValueError(f"no line reaches {low_ev:g} to {high_ev:g} eV")
    edges = np.cumsum(parts) / parts.sum()
    chosen = np.minimum(np.searchsorted(edges, as_array(choice), side="right"), len(lines) - 1)
    probability = as_array(probability)
    energy = np.empty(chosen.shape)
    for index, line in enumerate(lines):
        mine = chosen == index
        below, above = line.distribution([low_ev, high_ev])
        energy[mine] = line.quantile_ev(below + (above - below) * probability[mine])
    return np.asarray(np.clip(energy, low_ev, high_ev))
