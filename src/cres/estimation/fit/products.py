"""Inner products of data, records and their derivatives: all that a fit needs to know of a record.

`SampleProducts` forms them sample by sample from the Jacobian, in any noise. `LineProducts`, for white noise, goes to
the frame that turns with the carrier: there a record is Σ_m c_m e^{imΨ}, its derivatives are the same lines times
quadratic polynomials in time, and every product is a small sum over a few moments of the data and of e^{inΨ}.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from cres.estimation.forward import LineModel, RecordModel
from cres.estimation.noise import NoiseModel, White
from cres.simulation.forward import FAINTEST_LINE, Lines, size_for
from cres.simulation.parameters import AMPLITUDE, PARAMETERS, START_PHASE
from reconstruction.shapes import ComplexSeries, PerRow

ROWS_AT_ONCE = {"cpu": 16, "cuda": 2048}
"""Records whose samples are worked on together, by kind of device: they fit in the cache, or keep a GPU busy."""
MOMENTS = 3
"""Powers of time in a derivative: 1, t, t²."""
THINNED_BAND = 0.45
"""Tones below this part of the sampling rate are far from an alias at every second sample."""


class Products(NamedTuple):
    """⟨a, b⟩ = Σ_t a* b in units of the noise, s the record, d the data, p and q free parameters."""

    data_power: PerRow
    """⟨d, d⟩"""
    power: PerRow
    """⟨s, s⟩"""
    overlap: Complex[Tensor, "batch"]
    """⟨s, d⟩"""
    with_data: Complex[Tensor, "batch k"]
    """⟨∂_p s, d⟩"""
    with_record: Float[Tensor, "batch k"]
    """Re ⟨∂_p s, s⟩"""
    information: Float[Tensor, "batch k k"]
    """Re ⟨∂_p s, ∂_q s⟩"""


class ProductMaker(ABC):
    """Holds the data of a block of records; `names`: the free parameters."""

    @abstractmethod
    def __call__(self, rows: Int[Tensor, "fit"], parameters: Float[Tensor, "fit 6"]) -> Products:
        """Return the products of records at parameters with the data of rows; several fits may share a row."""

    @abstractmethod
    def residual_spectrum(self, parameters: Float[Tensor, "batch 6"]) -> Complex[Tensor, "batch time"]:
        """Return the Fourier coefficients, in units of the noise, of what records leave of all the data."""


class SampleProducts(ProductMaker):
    """Sample by sample, float64, in any noise: the slow twin."""

    def __init__(self, model: RecordModel, data: ComplexSeries, noise: NoiseModel, names: Sequence[str]) -> None:
        self.model, self.noise = model, noise
        self.columns = [PARAMETERS.index(name) for name in names]
        self.data, self.whitened = data, noise.whiten(data)

    def __call__(self, rows: Int[Tensor, "fit"], parameters: Float[Tensor, "fit 6"]) -> Products:
        """Return the products; `ROWS_AT_ONCE` records in memory."""
        some = size_for(ROWS_AT_ONCE, parameters.device)
        parts = [self._part(*part) for part in zip(rows.split(some), parameters.split(some), strict=True)]
        return Products(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def residual_spectrum(self, parameters: Float[Tensor, "batch 6"]) -> Complex[Tensor, "batch time"]:
        """Return the residual in frequency."""
        return self.noise.whiten_spectrum(self.data - self.model(parameters))

    def _part(self, rows: Tensor, parameters: Tensor) -> Products:
        series, derivatives = self.model.jacobian(parameters)
        data, series = self.whitened[rows], self.noise.whiten(series)
        columns = self.noise.whiten(derivatives[:, self.columns])
        real = torch.view_as_real(columns).flatten(-2)
        return Products(
            data.abs().square().sum(1),
            series.abs().square().sum(1),
            (series.conj() * data).sum(1),
            (columns.conj() @ data[:, :, None])[:, :, 0],
            (columns.conj() @ series[:, :, None])[:, :, 0].real,
            real @ real.transpose(1, 2),
        )


@dataclass(frozen=True)
class _Polynomials:
    """Lines with polynomial factors: record and derivatives are Σ_m Σ_k q_mk u^k e^{imΨ} in the carrier's frame."""

    record: Tensor
    """(batch, line · moment)"""
    columns: Tensor
    """(batch, k, line · moment)"""


class LineProducts(ProductMaker):
    """By lines, for white noise: moments over the samples in float32, all else in float64."""

    def __init__(self, model: LineModel, data: ComplexSeries, std_volt: float, names: Sequence[str]) -> None:
        self.model, self.names = model, tuple(names)
        self.moving = [name for name in names if name not in ("start_phase_rad", "amplitude")]
        self.std_volt = std_volt
        self.data = data.to(torch.complex64) / std_volt
        self.data_power = torch.view_as_real(data).square().sum((1, 2)) / std_volt**2
        self.length_s = float(model.time_s[-1])
        unit = model.time_s / self.length_s
        self.powers = torch.stack([unit**k for k in range(2 * MOMENTS - 1)], 1).float()
        self.power_sums = torch.stack([(unit**k).sum() for k in range(2 * MOMENTS - 1)]).to(torch.complex128)
        self.step_s = float(model.time_s[1] - model.time_s[0])
        self.scale = self.length_s ** torch.arange(MOMENTS, dtype=torch.float64, device=data.device)

    def __call__(self, rows: Int[Tensor, "fit"], parameters: Float[Tensor, "fit 6"]) -> Products:
        """Return the products. Electrons of as many lines go together, without the lines that none of them has."""
        lines = self.model.lines(parameters, self.moving)
        unit, index = _orders(lines)
        needed = _outermost(lines, index)
        order = needed.argsort()
        parts = []
        for part in order.split(size_for(ROWS_AT_ONCE, order.device)):
            reach = int(needed[part].max())
            shown = torch.nonzero(index.abs() <= reach)[:, 0]
            shown = shown[index[shown].argsort()]
            parts.append(self._part(rows[part], parameters[part], _picked(lines, part, shown), unit, reach))
        back = order.argsort()
        return Products(*(torch.cat(values)[back] for values in zip(*parts, strict=True)))

    def _part(self, rows: Tensor, parameters: Tensor, lines: Lines, unit: int, reach: int) -> Products:
        carrier, step = (self._turns(values) for values in (-lines.phase, -unit * lines.axial))
        # the data's moments see e^{iφ} and A, those of the lines A² only
        turn = torch.polar(parameters[:, AMPLITUDE], parameters[:, START_PHASE]) / self.std_volt
        there = torch.div(lines.harmonics, unit, rounding_mode="floor") + reach
        moments = self._data_moments(self.data[rows] * carrier, step, reach)[:, there].flatten(1)
        fastest_hz = 2 * reach * unit * float(lines.axial[:, 1].abs().max()) / (2 * math.pi)
        tones = self._tone_moments(step, 2 * reach, fastest_hz)
        gram = _gram(tones, reach)[:, there][:, :, :, there].flatten(3).flatten(1, 2)
        moments, gram = moments * turn.conj()[:, None], gram * turn.abs().square()[:, None, None]
        factors = self._polynomials(lines, parameters[:, AMPLITUDE])
        with_gram = factors.columns.conj() @ gram
        return Products(
            self.data_power[rows],
            (factors.record.conj()[:, None] @ gram @ factors.record[:, :, None])[:, 0, 0].real,
            (factors.record.conj() * moments).sum(1),
            (factors.columns.conj() @ moments[:, :, None])[:, :, 0],
            (with_gram @ factors.record[:, :, None])[:, :, 0].real,
            (with_gram @ factors.columns.transpose(1, 2)).real,
        )

    def residual_spectrum(self, parameters: Float[Tensor, "batch 6"]) -> Complex[Tensor, "batch time"]:
        """Return the residual in frequency, single precision."""
        lines = self.model.lines(parameters)
        unit, index = _orders(lines)
        needed = _outermost(lines, index)
        turn = torch.polar(parameters[:, AMPLITUDE], parameters[:, START_PHASE]) / self.std_volt
        spectrum = torch.empty_like(self.data)
        for part in needed.argsort().split(size_for(ROWS_AT_ONCE, needed.device)):
            carrier, step = (self._turns(values[part]) for values in (lines.phase, unit * lines.axial))
            lit = (lines.amplitudes[part] * turn[part, None]).to(carrier.dtype)
            weights = dict(zip(index.tolist(), lit.T, strict=True))
            record = torch.zeros_like(carrier)
            for sign, factor in ((1, step), (-1, step.conj())):
                current = carrier
                for order in range(1, int(needed[part].max()) + 1):
                    current = current * factor
                    if sign * order in weights:
                        record += weights[sign * order][:, None] * current
            record += weights[0][:, None] * carrier
            spectrum[part] = torch.fft.fft(self.data[part] - record)
        return spectrum / math.sqrt(self.data.shape[1])

    def _polynomials(self, lines: Lines, amplitude: PerRow) -> _Polynomials:
        """d/dp of e^{iΦ} Σ c_m e^{imΨ}: the factor of line m is i (Φ_p + mΨ_p) c_m + c_m,p."""
        batch, count = lines.amplitudes.shape
        record = torch.zeros(batch, count, MOMENTS, dtype=torch.complex128, device=amplitude.device)
        record[:, :, 0] = lines.amplitudes
        slow = self.scale * (lines.phase_by[:, :, None] + lines.harmonics[:, None] * lines.axial_by[:, :, None])
        moving = 1j * slow * lines.amplitudes[:, :, None]
        moving[..., 0] += lines.amplitudes_by
        columns = []
        for name in self.names:
            if name == "start_phase_rad":
                columns.append(1j * record)
            elif name == "amplitude":
                columns.append(record / amplitude[:, None, None])
            else:
                columns.append(moving[self.moving.index(name)])
        return _Polynomials(record.flatten(1), torch.stack(columns, 1).flatten(2))

    def _turns(self, phase: Float[Tensor, "fit 3"]) -> Tensor:
        """Return e^{iφ(t)} in single precision; the phase itself, thousands of radians, in double."""
        constant, linear, square = (values[:, None] for values in phase.unbind(1))
        time = self.model.time_s
        angle = (square * time + linear) * time + constant
        reduced = torch.remainder(angle, 2 * math.pi).float()
        return torch.complex(torch.cos(reduced), torch.sin(reduced))

    def _data_moments(self, turned: Tensor, step: Tensor, reach: int) -> Tensor:
        """Return (fit, line, moment): Σ_t u^k d e^{−iΦ} e^{−imΨ} for lines −reach … reach."""
        found = {0: self._summed(turned, MOMENTS)}
        for sign, factor in ((1, step), (-1, step.conj())):
            current = turned
            for order in range(1, reach + 1):
                current = current * factor
                found[sign * order] = self._summed(current, MOMENTS)
        return torch.stack([found[order] for order in range(-reach, reach + 1)], 1)

    def _tone_moments(self, step: Tensor, reach: int, fastest_hz: float) -> Tensor:
        """Return (fit, order, power): Σ_t u^k e^{−inΨ} for n = 0 … reach, k = 0 … 4.

        Tones slow enough are summed over every second sample: off by a part of one sample.
        """
        stride = 2 if fastest_hz < THINNED_BAND / self.step_s else 1
        step = step[:, ::stride].contiguous()
        current = step
        moments = [self.power_sums.expand(len(step), -1)]
        for order in range(reach):
            current = current * step if order else step
            moments.append(stride * self._summed(current, 2 * MOMENTS - 1, stride))
        return torch.stack(moments, 1)

    def _summed(self, values: Tensor, powers: int, stride: int = 1) -> Tensor:
        """Return Σ_t u^k values, (fit, powers) complex128."""
        pairs = torch.view_as_real(values).transpose(1, 2) @ self.powers[::stride, :powers]
        return torch.complex(pairs[:, 0].double(), pairs[:, 1].double())


def _orders(lines: Lines) -> tuple[int, Int[Tensor, "line"]]:
    """Return the spacing of the harmonics and the lines' orders in it."""
    unit = max(1, math.gcd(*lines.harmonics.tolist()))
    return unit, torch.div(lines.harmonics, unit, rounding_mode="floor")


def _picked(lines: Lines, rows: Tensor, shown: Tensor) -> Lines:
    """Return some lines of some records."""
    return Lines(
        lines.harmonics[shown],
        lines.phase[rows],
        lines.axial[rows],
        lines.amplitudes[rows][:, shown],
        lines.phase_by[:, rows],
        lines.axial_by[:, rows],
        lines.amplitudes_by[:, rows][:, :, shown],
    )


def _outermost(lines: Lines, index: Int[Tensor, "line"]) -> Int[Tensor, "batch"]:
    """Return the largest |index| of each record's lines that are not negligible."""
    power = lines.amplitudes.abs().square()
    share = power / power.sum(1, keepdim=True).clamp_min(1e-300)
    return (index.abs() * (share > FAINTEST_LINE)).amax(1)


def _gram(tones: Tensor, reach: int) -> Tensor:
    """Return ⟨u^j e^{imΨ}, u^k e^{inΨ}⟩ = Σ u^{j+k} e^{−i(m−n)Ψ} as (fit, line, moment, line, moment)."""
    index = torch.arange(2 * reach + 1, device=tones.device)
    difference = index[:, None] - index
    power = index.new_tensor([[j + k for k in range(MOMENTS)] for j in range(MOMENTS)])
    picked = tones[:, difference.abs()][..., power]
    picked = torch.where((difference < 0)[:, :, None, None], picked.conj(), picked)
    return picked.permute(0, 1, 3, 2, 4)


def make_products(
    model: RecordModel, data: ComplexSeries, noise: NoiseModel, names: Sequence[str]
) -> SampleProducts | LineProducts:
    """Return the fast maker where model and noise allow it."""
    if isinstance(noise, White) and isinstance(model, LineModel):
        return LineProducts(model, data, noise.std_volt, names)
    return SampleProducts(model, data, noise, names)
