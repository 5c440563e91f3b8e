"""From the curves of a track to its samples, fast: phases in float64, reduced to one turn, samples in float32."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Curves(NamedTuple):
    """Phase and axial phase, rad, as ascending powers of seconds; the envelope's cubics, (table, 4) volts."""

    phase: NDArray[np.float64]
    axial: NDArray[np.float64]
    cubics: NDArray[np.complex64]


def hermite_cubics(envelope: torch.Tensor, slope: torch.Tensor, step: float) -> NDArray[np.complex64]:
    """Return the cubic of each interval of periodic tables, (batch, table, 4) ascending powers of the place in it."""
    here, rise = envelope.numpy(), slope.numpy() * step
    there, rise_there = np.roll(here, -1, axis=1), np.roll(rise, -1, axis=1)
    jump = there - here
    powers = (here, rise, 3 * jump - 2 * rise - rise_there, rise + rise_there - 2 * jump)
    return np.stack(powers, axis=-1).astype(np.complex64)


def render(
    time_s: NDArray[Any],
    curves: Curves,
    intervals_per_rad: float,
    series_i: NDArray[np.float32],
    series_q: NDArray[np.float32],
) -> tuple[float, float]:
    """Fill samples at the times; return the energy |Σh|²/n of their carrier, a chirped tone, and that of all the rest.

    intervals_per_rad: of the envelope's table, by axial phase. Both series are (samples,) volts.
    """
    cycles = _horner(curves.phase, time_s) * (1 / (2 * math.pi))
    cycles -= np.rint(cycles)
    angle = cycles.astype(np.float32) * np.float32(2 * math.pi)
    place = _horner(curves.axial, time_s) * intervals_per_rad
    whole = np.floor(place)
    part = (place - whole).astype(np.float32)
    cubic = np.take(curves.cubics, whole.astype(np.int64) % len(curves.cubics), axis=0)
    envelope = ((cubic[:, 3] * part + cubic[:, 2]) * part + cubic[:, 1]) * part + cubic[:, 0]
    cosine, sine = np.cos(angle), np.sin(angle)
    real, imaginary = envelope.real, envelope.imag
    np.subtract(real * cosine, imaginary * sine, out=series_i)
    np.add(real * sine, imaginary * cosine, out=series_q)
    mean = envelope.mean(dtype=np.complex128)
    rest = envelope - np.complex64(mean)
    return len(time_s) * abs(mean) ** 2, float(np.vdot(rest, rest).real)


def _horner(coefficients: NDArray[np.float64], time_s: NDArray[Any]) -> NDArray[np.float64]:
    value = coefficients[-1] * time_s
    for coefficient in coefficients[-2:0:-1]:
        value = (value + coefficient) * time_s
    return np.asarray(value + coefficients[0])
