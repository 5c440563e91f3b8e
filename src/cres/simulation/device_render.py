"""From the curves of many tracks to their samples on any device: the torch twin of `render`, all electrons together.

Phases are reduced to one turn in float64; what follows is real float32 arithmetic, so that a compiler can fuse it. On a
GPU that runs Triton it is one kernel (`fused_render`).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from reconstruction.kernels import usable
from reconstruction.shapes import PerRow


def real_cubics(envelope: Tensor, slope: Tensor, step: float) -> Float[Tensor, "batch table 8"]:
    """Return the cubic of each interval of periodic complex tables (batch, table): `render.hermite_cubics` in reals.

    Four ascending powers of the place in the interval, the real and the imaginary part of each, float32.
    """
    rise = slope * step
    there, rise_there = envelope.roll(-1, 1), rise.roll(-1, 1)
    jump = there - envelope
    powers = [envelope, rise, 3 * jump - 2 * rise - rise_there, rise + rise_there - 2 * jump]
    return torch.view_as_real(torch.stack(powers, -1)).flatten(2).float()


def render_batch(
    time_s: Float[Tensor, "samples"],
    phase: Float[Tensor, "batch powers"],
    axial: Float[Tensor, "batch powers"],
    cubics: Float[Tensor, "batch table 8"],
    intervals_per_rad: float,
    series: Float[Tensor, "batch samples 2"],
) -> tuple[PerRow, PerRow]:
    """Fill records, I and Q in volts; return the energy |Σh|²/n of their carrier, and that of all the rest, float64.

    phase and axial: rad, ascending powers of seconds, float64; intervals_per_rad: of the envelope's table, by axial
    phase.
    """
    turns, places = phase / (2 * math.pi), axial * intervals_per_rad
    if usable(time_s, turns, places, cubics, series):
        from cres.simulation.fused_render import render  # imports Triton

        return render(time_s, turns, places, cubics, series)
    cycles = polynomial(turns, time_s)
    angle = (cycles - torch.round(cycles)).float() * (2 * math.pi)
    place = polynomial(places, time_s)
    whole = torch.floor(place)
    part = (place - whole).float()[..., None]
    batch, table = cubics.shape[:2]
    first = torch.arange(batch, device=cubics.device)[:, None] * table
    rows = torch.remainder(whole.long(), table) + first
    picked = cubics.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
    constant, linear, square, cube = picked.unflatten(-1, (4, 2)).unbind(-2)
    envelope = ((cube * part + square) * part + linear) * part + constant
    real, imaginary = envelope.unbind(-1)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1, out=series)
    mean = envelope.mean(1, dtype=torch.float64)
    rest = (envelope - mean[:, None].float()).square().sum((1, 2), dtype=torch.float64)
    return len(time_s) * mean.square().sum(1), rest


def polynomial(
    coefficients: Float[Tensor, "batch powers"], time_s: Float[Tensor, "samples"]
) -> Float[Tensor, "batch samples"]:
    """Evaluate ascending powers of the time at the samples, by Horner's scheme."""
    *lower, value = coefficients[..., None].unbind(1)
    for coefficient in reversed(lower):
        value = value * time_s + coefficient
    return value
