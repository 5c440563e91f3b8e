"""`render_batch` on a GPU, in one kernel: each program makes a stretch of one record, in registers.

What is float64 there is float64 here. Only what starts the kernel imports this module: it needs Triton.
"""

from __future__ import annotations

import math
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from reconstruction.shapes import PerRow

_SAMPLES = 1024
"""Samples of a program."""

RAD_PER_TURN = tl.constexpr(2 * math.pi)


def render(
    time_s: Float[Tensor, "samples"],
    cycles: Float[Tensor, "batch powers"],
    places: Float[Tensor, "batch powers2"],
    cubics: Float[Tensor, "batch table 8"],
    series: Float[Tensor, "batch samples 2"],
) -> tuple[PerRow, PerRow]:
    """Fill records; return the energies of their carrier and of all the rest, as `render_batch` does.

    cycles and places: ascending powers of seconds, float64, of the phase in turns, and of the place in the envelope's
    table in its intervals.
    """
    batch, samples = series.shape[:2]
    blocks = -(-samples // _SAMPLES)
    sums = torch.empty(batch, blocks, 4, dtype=torch.float64, device=series.device)
    # a power's real and imaginary part are read together, as one number of 64 bits
    pairs = cubics.contiguous().view(torch.int64)
    powers = (cubics.shape[1], cycles.shape[1], places.shape[1])
    curves = (time_s.contiguous(), cycles.contiguous(), places.contiguous(), pairs)
    with torch.cuda.device_of(series):
        _render[(batch * blocks,)](*curves, series, sums, samples, blocks, *series.stride(), *powers, _SAMPLES)
    return _energies(sums, samples)


def _energies(sums: Float[Tensor, "batch block 4"], samples: int) -> tuple[PerRow, PerRow]:
    """Merge the sums of the envelope in stretches, its squares around each stretch's mean, and the samples of each.

    Chan, Golub, LeVeque, Algorithms for computing the sample variance, Am. Stat. 37 (1983) 242, eq. 2.1
    """
    total, spread, count = sums[..., :2], sums[..., 2], sums[..., 3:]
    mean = total.sum(1) / samples
    between = count * (total / count - mean[:, None]).square()
    return samples * mean.square().sum(1), spread.sum(1) + between.sum((1, 2))


@triton.jit
@no_type_check
def horner(coefficients, time, POWERS: tl.constexpr):
    """Evaluate a polynomial of ascending powers."""
    value = tl.load(coefficients + (POWERS - 1)) + tl.zeros_like(time)
    for power in tl.static_range(1, POWERS):
        value = value * time + tl.load(coefficients + (POWERS - 1 - power))
    return value


@triton.jit
@no_type_check
def both_parts(pair):
    """Return the two float32 numbers that lie in one of 64 bits."""
    return pair.to(tl.int32).to(tl.float32, bitcast=True), (pair >> 32).to(tl.int32).to(tl.float32, bitcast=True)


@triton.jit(do_not_specialize=["samples", "blocks", "record_stride"])
@no_type_check
def _render(
    time_s,
    cycles,
    places,
    cubics,
    series,
    sums,
    samples,
    blocks,
    record_stride,
    sample_stride,
    part_stride,
    TABLE: tl.constexpr,
    CYCLES: tl.constexpr,
    PLACES: tl.constexpr,
    SAMPLES: tl.constexpr,
):
    """Offsets of records have 64 bits: a batch has more than 2³¹ numbers."""
    program = tl.program_id(0)
    record = (program // blocks).to(tl.int64)
    begin = (program % blocks) * SAMPLES
    sample = begin + tl.arange(0, SAMPLES)
    inside = sample < samples
    time = tl.load(time_s + sample, mask=inside, other=0.0)

    turns = horner(cycles + record * CYCLES, time, CYCLES)
    angle = (turns - tl.floor(turns + 0.5)).to(tl.float32) * RAD_PER_TURN
    place = horner(places + record * PLACES, time, PLACES)
    whole = tl.floor(place)
    part = (place - whole).to(tl.float32)
    # the remainder of a division that rounds towards zero; in the table whatever the place is
    interval = whole.to(tl.int64) % TABLE
    interval = tl.where(interval < 0, interval + TABLE, interval)

    cubic = cubics + (record * TABLE + interval) * 4
    real, imaginary = both_parts(tl.load(cubic + 3))
    square, square_imaginary = both_parts(tl.load(cubic + 2))
    linear, linear_imaginary = both_parts(tl.load(cubic + 1))
    constant, constant_imaginary = both_parts(tl.load(cubic))
    real = ((real * part + square) * part + linear) * part + constant
    imaginary = ((imaginary * part + square_imaginary) * part + linear_imaginary) * part + constant_imaginary

    cosine, sine = tl.cos(angle), tl.sin(angle)
    written = series + record * record_stride + sample.to(tl.int64) * sample_stride
    tl.store(written, real * cosine - imaginary * sine, mask=inside)
    tl.store(written + part_stride, real * sine + imaginary * cosine, mask=inside)

    real = tl.where(inside, real, 0.0).to(tl.float64)
    imaginary = tl.where(inside, imaginary, 0.0).to(tl.float64)
    count = tl.minimum(samples - begin, SAMPLES).to(tl.float64)
    total, total_imaginary = tl.sum(real, 0), tl.sum(imaginary, 0)
    apart = tl.where(inside, real - total / count, 0.0)
    apart_imaginary = tl.where(inside, imaginary - total_imaginary / count, 0.0)
    sums += program.to(tl.int64) * 4
    tl.store(sums, total)
    tl.store(sums + 1, total_imaginary)
    tl.store(sums + 2, tl.sum(apart * apart + apart_imaginary * apart_imaginary, 0))
    tl.store(sums + 3, count)
