"""The bright lines of electrons of known energy, pitch angle and radius, as complex numbers in units of the noise.

Energy, pitch angle and radius fix where the lines of a record stand and how they sweep; their heights and phases are
what is left, and noise. Only the places are taken from the motion in the trap: how high the lines are is not looked up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from cres import schema
from cres.errors import UserError
from cres.resources import simulation_config
from cres.simulation.config import SimulationConfig
from cres.simulation.electrons import sample_electrons
from cres.simulation.forward import ForwardModel
from cres.simulation.parameters import parameter_rows, parameters_of
from reconstruction.models.rendering import Rendering, Values
from reconstruction.shapes import Series

SMALLEST_OVERLAP = 1e-4
"""Directions in which lines cannot be told apart any more, in parts of a line's own power, hold nothing."""
TRIED = 256
"""Electrons whose lines tell which are bright."""


class RenderedLines(Rendering):
    """Heights of the lines in s(t) = Σ_m c_m e^{i(Φ(t) + mΨ(t))}, in units of the noise.

    Φ and Ψ are the phases of an electron that starts with both at zero. With the lines' overlaps G the numbers are
    √N/σ · G^{1/2} c for the least-squares c (Löwdin, J. Chem. Phys. 18, 365 (1950)): the heights themselves where lines
    stand apart, and of independent noise of variance 1 also where they do not, near 90°.

    Args:
        simulation: Apparatus: a file, or the name of one in configs/simulation; the default one when empty.
        faintest: Lines that never hold more than this part of an electron's power are left out.

    """

    given: ClassVar[tuple[str, ...]] = (schema.ENERGY, schema.PITCH_ANGLE, schema.RADIUS)
    free_phase: ClassVar[bool] = True

    def __init__(self, simulation: str | None = None, faintest: float = 1e-3) -> None:
        super().__init__()
        if not 0 < faintest < 1:
            raise UserError(f"faintest is {faintest:g}, but a part of the power lies between 0 and 1")
        self.config = SimulationConfig.from_yaml(simulation_config(simulation))
        readout = self.config.readout
        self.sampling_rate_hz = readout.sampling_rate_hz
        self.assumed = {
            "sampling_rate_hz": readout.sampling_rate_hz,
            "noise_density_w_per_hz": readout.density_w_per_hz,
        }
        self.noise_std_volt = math.sqrt(readout.complex_noise_variance / 2)
        # what is no part of the network's state stays where it was made, in float64
        self._model = (ForwardModel(self.config),)
        found = self._model[0].lines(parameters_of(sample_electrons(self.config, TRIED, 0)))
        power = found.amplitudes.abs().square()
        bright = (power / power.sum(dim=1, keepdim=True)).amax(dim=0) > faintest
        self.harmonics = tuple(sorted(int(m) for m in found.harmonics[bright]))
        self.width = 2 * len(self.harmonics)

    def values(self, series: Series, truths: Mapping[str, Tensor]) -> Values:
        """Return real and imaginary part of each line's amplitude, in the order of `harmonics`."""
        samples = series.shape[1]
        carrier, axial = self._waves(truths, samples, series.device)
        record = torch.view_as_complex(series[:, :, :2].to(carrier.real.dtype).contiguous())
        lines = self._lines(axial)
        seen = lines.conj() @ (record * carrier.conj()).unsqueeze(2) / samples
        numbers = _unmixing(lines) @ seen.to(torch.complex128) * (math.sqrt(samples) / self.noise_std_volt)
        return torch.view_as_real(numbers.squeeze(2)).flatten(1).to(series.dtype)

    def series(self, values: Values, truths: Mapping[str, Tensor], positions: int) -> Series:
        """Return I and Q of the lines in volts, (batch, positions, 2)."""
        if not len(values):
            return values.new_zeros(0, positions, 2)
        carrier, axial = self._waves(truths, positions, values.device)
        lines, numbers = self._lines(axial), torch.view_as_complex(values.double().unflatten(1, (-1, 2)).contiguous())
        amplitude = _unmixing(lines) @ numbers.unsqueeze(2) * (self.noise_std_volt / math.sqrt(positions))
        record = (lines.mT @ amplitude.to(lines.dtype)).squeeze(2)
        return torch.view_as_real(record * carrier).to(values.dtype)

    def _lines(self, axial: list[Tensor]) -> Tensor:
        """Return e^{imΨ} of each line, (batch, line, samples)."""
        return torch.stack([axial[abs(m)] if m >= 0 else axial[abs(m)].conj() for m in self.harmonics], dim=1)

    def _waves(self, truths: Mapping[str, Tensor], samples: int, device: torch.device) -> tuple[Tensor, list[Tensor]]:
        """Return e^{iΦ} and e^{imΨ} for m = 0, 1 …, each (batch, samples) complex64; the phases are of float64."""
        rows = parameter_rows(*(truths[name].detach().cpu() for name in self.given))
        lines = self._model[0].lines(rows)
        time_s = torch.arange(samples, dtype=torch.float64, device=device) / self.sampling_rate_hz
        carrier, turn = (self._wave(curve.to(device), time_s) for curve in (lines.phase, lines.axial))
        powers = [torch.ones_like(turn)]
        for _ in range(max(abs(m) for m in self.harmonics)):
            powers.append(powers[-1] * turn)
        return carrier, powers

    @staticmethod
    def _wave(curve: Tensor, time_s: Tensor) -> Tensor:
        constant, linear, square = (part[:, None] for part in curve.unbind(1))
        angle = torch.remainder((square * time_s + linear) * time_s + constant, 2 * math.pi).float()
        return torch.polar(torch.ones_like(angle), angle)


def _unmixing(lines: Tensor) -> Tensor:
    """Return G^{−1/2} of the overlaps of lines (batch, line, samples), complex128; zero where G is as good as zero."""
    overlap = (lines.conj() @ lines.mT / lines.shape[2]).to(torch.complex128)
    sizes, directions = torch.linalg.eigh(overlap)
    roots = torch.where(sizes > SMALLEST_OVERLAP, sizes.clamp(min=SMALLEST_OVERLAP).rsqrt(), torch.zeros_like(sizes))
    return (directions * roots.unsqueeze(1)) @ directions.mH
