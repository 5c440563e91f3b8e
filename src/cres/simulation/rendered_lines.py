"""The bright lines of electrons of known energy, pitch angle and radius, as complex numbers in units of the noise.

Energy, pitch angle and radius fix where the lines of a record stand and how they sweep; their heights and phases are
what is left, and noise. Only the places are taken from the motion in the trap: how high the lines are is not looked up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

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
from reconstruction.shapes import Float, PerRow, Series

SMALLEST_OVERLAP = 1e-4
"""Directions in which lines cannot be told apart any more, in parts of a line's own power, hold nothing."""
TRIED = 256
"""Electrons whose lines tell which are bright."""


PHASES_TRIED = 512
"""Axial phases over which p is summed, h apart. A peak of width w = (Σ m²|c_m|²)^{−1/2} is summed to 2 e^{−2π²w²/h²}:
to one per cent where that sum is 27 000; the most that 400 electrons of cavity_26ghz_modes have is 670."""


class RenderedLines(Rendering):
    """Heights c_m of the lines in s(t) = Σ_m c_m e^{i(φ + Φ(t))} e^{im(ψ + Ψ(t))}, in units of the noise.

    Φ and Ψ are the phases of an electron that starts with both at zero. φ is uniform, and so is ψ where `axial_phase`
    is: an electron is met anywhere on its way between the walls. Numbers of records that are *made* are √N/σ · c for
    φ = ψ = 0. Those that are *seen* (`values`) are √N/σ · G^{1/2} c' of the least-squares c' = c e^{i(φ + mψ)}, with
    the lines' overlaps G (Löwdin, J. Chem. Phys. 18, 365 (1950)): the heights with their phases where lines stand
    apart, and of independent noise of variance 1 also where they do not, near 90°.

    Args:
        simulation: Apparatus: a file, or the name of one in configs/simulation; the default one when empty.
        faintest: Lines that never hold more than this part of an electron's power are left out.
        axial_phase: uniform, or learned, where the records of some data begin at one place of the axial motion.

    """

    given: ClassVar[tuple[str, ...]] = (schema.ENERGY, schema.PITCH_ANGLE, schema.RADIUS)

    def __init__(
        self,
        simulation: str | None = None,
        faintest: float = 1e-3,
        axial_phase: Literal["uniform", "learned"] = "uniform",
    ) -> None:
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
        self.phases = 2 if axial_phase == "uniform" else 1

    def values(self, series: Series, truths: Mapping[str, Tensor]) -> Values:
        """Return real and imaginary part of each line's amplitude, in the order of `harmonics`."""
        numbers = self._numbers(*self._seen(series, truths))
        return torch.view_as_real(numbers).flatten(1).to(series.dtype)

    def misfit(self, series: Series, truths: Mapping[str, Tensor], made: Values) -> PerRow:
        """Return −log p of the numbers of records, x, in the mean over free phases: ½|x|² where nothing is made.

        With s = √N/σ · overlaps of the record with the lines and c' = c e^{imψ} it is, at one axial phase,
        ½|x|² + ½ c'†G c' − ln I₀(|s†c'|): the mean over the common phase is the integral, that over the axial a sum.
        """
        lines, seen = self._seen(series, truths)
        power = self._numbers(lines, seen).abs().square().sum(dim=1).to(seen.real.dtype)
        tried = torch.arange(PHASES_TRIED if self.phases == 2 else 1, device=seen.device) * (2 * math.pi / PHASES_TRIED)
        heights = _complex(made.to(seen.real.dtype)).unsqueeze(1) * self._turn(tried)
        overlap = lines.conj() @ lines.mT / lines.shape[2]
        energy = (heights.conj() * (heights @ overlap.mT)).real.sum(dim=2)
        agreed = torch.view_as_real((heights @ seen.conj().unsqueeze(2)).squeeze(2)).square().sum(dim=2)
        size = (agreed + torch.finfo(agreed.dtype).tiny).sqrt()  # the root has no slope at nothing
        log_p = size + torch.special.i0e(size).log() - energy / 2
        return power / 2 + math.log(len(tried)) - log_p.logsumexp(dim=1)

    def series(
        self, made: Values, truths: Mapping[str, Tensor], positions: int, turns: Float[Tensor, "batch phase"]
    ) -> Series:
        """Return I and Q of the lines in volts, (batch, positions, 2); turns of the common, then of the axial phase."""
        if not len(made):
            return made.new_zeros(0, positions, 2)
        carrier, axial = self._waves(truths, positions, made.device)
        common, *others = (2 * math.pi * turns.to(carrier.real.dtype)).unbind(dim=1)
        heights = _complex(made.to(carrier.real.dtype)) * torch.polar(torch.ones_like(common), common).unsqueeze(1)
        for one in others:
            heights = heights * self._turn(one)
        amplitude = heights.unsqueeze(1) * (self.noise_std_volt / math.sqrt(positions))
        record = (amplitude @ self._lines(axial)).squeeze(1)
        return torch.view_as_real(record * carrier).to(made.dtype)

    def heights(self, truths: Mapping[str, Tensor], samples: int) -> Values:
        """Return what the forward model says of the numbers to be made, float64, on the truths' device."""
        found = self._model[0].lines(parameter_rows(*(truths[name].detach().cpu() for name in self.given)))
        places = [found.harmonics.tolist().index(m) for m in self.harmonics]
        made = found.amplitudes[:, places] * (math.sqrt(samples) / self.noise_std_volt)
        return torch.view_as_real(made).flatten(1).to(truths[self.given[0]].device)

    def _seen(self, series: Series, truths: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the lines, (batch, line, samples), and √N/σ of a record's overlaps with them, (batch, line)."""
        samples = series.shape[1]
        carrier, axial = self._waves(truths, samples, series.device)
        record = torch.view_as_complex(series[:, :, :2].to(carrier.real.dtype).contiguous())
        lines = self._lines(axial)
        seen = (lines.conj() @ (record * carrier.conj()).unsqueeze(2)).squeeze(2)
        return lines, seen / (math.sqrt(samples) * self.noise_std_volt)

    @staticmethod
    def _numbers(lines: Tensor, seen: Tensor) -> Tensor:
        """Return amplitudes of independent noise, (batch, line) complex128."""
        return (_unmixing(lines) @ seen.to(torch.complex128).unsqueeze(2)).squeeze(2)

    def _turn(self, phases: Tensor) -> Tensor:
        """Return e^{imψ} of axial phases, (phase, line)."""
        angle = phases.unsqueeze(1) * phases.new_tensor(self.harmonics)
        return torch.polar(torch.ones_like(angle), angle)

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


def _complex(values: Values) -> Tensor:
    """Return pairs (real, imaginary) as complex numbers."""
    return torch.view_as_complex(values.unflatten(1, (-1, 2)).contiguous())


def _unmixing(lines: Tensor) -> Tensor:
    """Return G^{−1/2} of the overlaps of lines (batch, line, samples), complex128; zero where G is as good as zero."""
    overlap = (lines.conj() @ lines.mT / lines.shape[2]).to(torch.complex128)
    sizes, directions = torch.linalg.eigh(overlap)
    roots = torch.where(sizes > SMALLEST_OVERLAP, sizes.clamp(min=SMALLEST_OVERLAP).rsqrt(), torch.zeros_like(sizes))
    return (directions * roots.unsqueeze(1)) @ directions.mH
