"""Imperfections of a receiver, injected in training as in the simulator: phase noise, tones, ripple, drift, ADC.

`scale` multiplies the power of each imperfection, so that a curriculum moves all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from cres.errors import UserError
from cres.transforms.coloured import Table, interpolate, read_table
from cres.transforms.noise import RESISTANCE_OHM, per_event, rotate
from cres.transforms.spectrum import at_least_float32, from_complex, to_complex
from reconstruction.random.keyed import KeyedRandom
from reconstruction.random.transforms import PiecewiseTransform, Place, RandomTransform
from reconstruction.shapes import Series


class PhaseNoise(RandomTransform):
    """Turn records by the local oscillator's phase noise, s → s e^{iφ(t)}; all read-out channels share the oscillator.

    φ is Gaussian with the two-sided density L(f): ⟨φ²⟩ = 2 ∫ L df. `table`: offset from the carrier in Hz (> 0) and
    L in dBc/Hz (single side band), interpolated in log f; rows or a text file. φ is cut from twice the record's
    length, so it is not periodic; offsets below f_s/2N show as the common phase alone and are left out.
    """

    table: Tensor

    def __init__(self, sampling_rate_hz: float, table: Table) -> None:
        super().__init__()
        rows = read_table(table)
        if bool((rows[:, 0] <= 0).any()):
            raise UserError("a table of phase noise needs offsets above 0 Hz.")
        self.sampling_rate_hz = sampling_rate_hz
        self.register_buffer("table", torch.stack((rows[:, 0].log(), rows[:, 1]), dim=1), persistent=False)

    def density_per_hz(self, offset_hz: Tensor) -> Tensor:
        """Return L in rad²/Hz (float64) at offsets above zero."""
        return 10 ** (interpolate(offset_hz.log(), self.table) / 10)

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return the turned records in the dtype of the series."""
        length = 2 * series.shape[1]
        offset = torch.fft.rfftfreq(length, 1 / self.sampling_rate_hz, dtype=torch.float64, device=series.device)[1:]
        std = (self.density_per_hz(offset) * self.sampling_rate_hz / 2).sqrt().float()
        with torch.autocast(series.device.type, enabled=False):
            normal = torch.view_as_complex(random.normal(len(offset), 2, stream="phase noise"))
            coefficients = torch.nn.functional.pad(normal * std, (1, 0))
            phase = torch.fft.irfft(coefficients, n=length, dim=1, norm="ortho")[:, : series.shape[1], None]
        return rotate(series, phase * per_event(scale, series).sqrt())


class PhaseWalk(RandomTransform):
    """Turn records by a random walk of the phase: a Lorentzian line of full width Δν.

    φ_n − φ_{n−1} normal with variance 2πΔν·scale/f_s, φ_0 = 0; all read-out channels share the oscillator.
    """

    def __init__(self, sampling_rate_hz: float, linewidth_hz: float) -> None:
        super().__init__()
        if sampling_rate_hz <= 0 or linewidth_hz < 0:
            raise UserError("a phase walk needs a positive sampling rate and a line width of zero or more.")
        self.step_rad = math.sqrt(2 * math.pi * linewidth_hz / sampling_rate_hz)

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return the turned records in the dtype of the series."""
        steps = self.step_rad * random.normal(series.shape[1], 1, stream="phase walk")
        steps[:, 0] = 0
        return rotate(series, steps.cumsum(dim=1) * per_event(scale, series).sqrt())


class SpuriousTones(PiecewiseTransform):
    """Add tones, s_n → s_n + Σ_j √(R P_j · scale) e^{i(2π f_j n/f_s + φ_j)}, φ_j uniform.

    f_j = f̄_j + spread · (u_j − ½), u_j uniform: P_j is the power after gain in W, f̄_j the record frequency in Hz. A
    spread as wide as the band puts the tone anywhere. All read-out channels see the same tones.
    """

    frequency_hz: Tensor
    amplitude_volt: Tensor

    def __init__(
        self,
        sampling_rate_hz: float,
        frequency_hz: Sequence[float],
        power_w: Sequence[float],
        spread_hz: float = 0.0,
        resistance_ohm: float = RESISTANCE_OHM,
    ) -> None:
        super().__init__()
        if len(frequency_hz) != len(power_w) or any(power < 0 for power in power_w):
            raise UserError("spurious tones need one power of zero or more for each frequency.")
        self.sampling_rate_hz = sampling_rate_hz
        self.spread_hz = spread_hz
        amplitude = (resistance_ohm * torch.tensor(power_w, dtype=torch.float64)).sqrt()
        self.register_buffer("frequency_hz", torch.tensor(frequency_hz, dtype=torch.float64), persistent=False)
        self.register_buffer("amplitude_volt", amplitude, persistent=False)

    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return series + tones in the dtype of the series."""
        tones = len(self.frequency_hz)
        offset = random.uniform(tones, stream="tone frequency").double() - 0.5
        start = random.uniform(tones, stream="tone phase").double()
        cycles = (self.frequency_hz + self.spread_hz * offset) / self.sampling_rate_hz
        n = place.start + torch.arange(series.shape[1], dtype=torch.float64, device=series.device)
        # the phase of a long record is exact in float64 only; below one turn float32 is enough
        turns = torch.remainder(cycles[:, None, :] * n[:, None] + start[:, None, :], 1.0).float()
        total = torch.polar(self.amplitude_volt.float().expand_as(turns), 2 * math.pi * turns).sum(dim=-1, keepdim=True)
        added = torch.view_as_real(total).flatten(-2).repeat(1, 1, series.shape[2] // 2)
        return series + (added * per_event(scale, series).sqrt()).to(series.dtype)


class GainRipple(RandomTransform):
    """Multiply the spectrum by H(f) = 1 + a √scale e^{i(φ − 2πf/p)}: the ripple of one reflection with delay 1/p.

    `depth` a is the ripple of the amplitude (0.1: ±10 %), `period_hz` p its period in frequency; φ is uniform,
    one an electron, or fixed by `phase_rad`. The echo is circular in the record.
    """

    def __init__(self, sampling_rate_hz: float, depth: float, period_hz: float, phase_rad: float | None = None) -> None:
        super().__init__()
        if not 0 <= depth < 1 or period_hz <= 0:
            raise UserError("a gain ripple needs a depth from 0 to below 1 and a positive period.")
        self.sampling_rate_hz = sampling_rate_hz
        self.depth = depth
        self.period_hz = period_hz
        self.phase_rad = phase_rad

    def forward(self, series: Series, random: KeyedRandom, scale: float | Tensor = 1.0) -> Series:
        """Return the records with ripple in the dtype of the series."""
        values = to_complex(series)
        frequency = torch.fft.fftfreq(
            values.shape[1], 1 / self.sampling_rate_hz, dtype=torch.float64, device=series.device
        )
        turns = torch.remainder(-frequency / self.period_hz, 1.0)
        echo = torch.polar(torch.ones_like(turns), 2 * math.pi * turns).to(values.dtype)[:, None]
        size = self.depth * per_event(scale, series).sqrt()
        phase = self._phase(random)
        response = 1 + echo * torch.polar(size.expand_as(phase), phase)
        with torch.autocast(series.device.type, enabled=False):
            rippled = torch.fft.ifft(torch.fft.fft(values, dim=1) * response, dim=1)
        return from_complex(rippled).to(series.dtype)

    def _phase(self, random: KeyedRandom) -> Tensor:
        if self.phase_rad is None:
            return 2 * math.pi * random.uniform(1, 1, stream="ripple")
        return torch.full((len(random), 1, 1), self.phase_rad, device=random.device)


class GainPhaseDrift(PiecewiseTransform):
    """Let gain and phase drift along the record, s(t) → s(t) (1 + σ_g g₀ + σ_d g₁ u) e^{i σ_p g₂ u}.

    u = t/T from 0 to 1; g₀, g₁, g₂ standard normal, one an electron: an error of the calibration (`gain_std`), a drift
    of the gain over the record (`gain_drift_std`) and of the phase (`phase_drift_std_rad`); each σ is multiplied by
    √scale.
    """

    def __init__(self, gain_std: float = 0.0, gain_drift_std: float = 0.0, phase_drift_std_rad: float = 0.0) -> None:
        super().__init__()
        if min(gain_std, gain_drift_std, phase_drift_std_rad) < 0:
            raise UserError("the standard deviations of a gain and phase drift must be zero or more.")
        self.gain_std = gain_std
        self.gain_drift_std = gain_drift_std
        self.phase_drift_std_rad = phase_drift_std_rad

    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return the drifting records in the dtype of the series."""
        size = per_event(scale, series).sqrt()
        offset, gain_slope, phase_slope = (
            std * size * random.normal(1, 1, stream=stream)
            for std, stream in (
                (self.gain_std, "gain"),
                (self.gain_drift_std, "gain drift"),
                (self.phase_drift_std_rad, "phase drift"),
            )
        )
        n = place.start + torch.arange(series.shape[1], dtype=torch.float64, device=series.device)
        u = (n / max(1, place.total - 1)).float()[:, None]
        return rotate(series, phase_slope * u, 1 + offset + gain_slope * u)


class Quantise(PiecewiseTransform):
    """Read I and Q with an ADC: y = Δ (clip(⌊x/Δ⌋, −2^{b−1}, 2^{b−1} − 1) + ½), Δ = 2 range/2^b (mid-rise).

    `range_volt` is the full scale ±range, b = `bits`. Rounding adds noise of variance Δ²/12 a channel. The gradient is
    that of clipping alone (straight through the rounding). Draws no numbers; `scale` has no effect. Put it last.
    """

    def __init__(self, range_volt: float, bits: int) -> None:
        super().__init__()
        if range_volt <= 0 or not 1 <= bits <= 24:
            raise UserError("an ADC needs a positive range and 1 to 24 bits.")
        self.range_volt = range_volt
        self.levels = 2 ** (bits - 1)
        self.step_volt = range_volt / self.levels

    def piece(self, series: Series, random: KeyedRandom, place: Place, scale: float | Tensor = 1.0) -> Series:
        """Return the digitised records in the dtype of the series."""
        wide = at_least_float32(series)
        clipped = wide.clamp(-self.range_volt, self.range_volt)
        code = (wide.detach() / self.step_volt).floor().clamp(-self.levels, self.levels - 1)
        digital = (code + 0.5) * self.step_volt
        return (clipped + (digital - clipped.detach())).to(series.dtype)
