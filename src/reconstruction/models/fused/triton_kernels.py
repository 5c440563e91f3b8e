"""Kernels in Triton: each program works on one block of one record, and no two of them write to the same place.

So the same numbers come out whenever they run. Only what starts them imports this module: it needs Triton. A block's
edge lengths are powers of two; what lies outside a tensor is masked. Offsets have 64 bits: a batch of long series has
more than 2³¹ numbers.
"""

from __future__ import annotations

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def block_of(blocks, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr):
    """Return the record of this program, of which there are so many `blocks`, and its channels and positions."""
    program = tl.program_id(0)
    position = (program % blocks) * POSITIONS + tl.arange(0, POSITIONS)
    channel = tl.arange(0, CHANNELS)
    return (program // blocks).to(tl.int64), channel.to(tl.int64)[:, None], position.to(tl.int64)[None, :]


@triton.jit
@no_type_check
def standardised(read, inside, channels, epsilon):
    """Return values of mean 0 and variance 1 over the channels, and what their deviations were multiplied by."""
    mean = tl.sum(read, axis=0) / channels
    centred = tl.where(inside, read - mean[None, :], 0.0)
    inverse_std = tl.rsqrt(tl.sum(centred * centred, axis=0) / channels + epsilon)
    return tl.where(inside, centred * inverse_std[None, :], 0.0), inverse_std


@triton.jit
@no_type_check
def normalise(
    values,
    weight,
    bias,
    result,
    channels,
    positions,
    blocks,
    epsilon,
    values_record,
    values_channel,
    values_position,
    result_record,
    result_channel,
    result_position,
    CHANNELS: tl.constexpr,
    POSITIONS: tl.constexpr,
):
    """Layer normalisation over the channels, for POSITIONS positions; strides follow the sizes."""
    record, channel, position = block_of(blocks, CHANNELS, POSITIONS)
    is_channel = channel < channels
    inside = is_channel & (position < positions)

    place = record * values_record + channel * values_channel + position * values_position
    read = tl.load(values + place, mask=inside, other=0.0).to(tl.float32)
    normed, _ = standardised(read, inside, channels, epsilon)

    scale = tl.load(weight + channel, mask=is_channel, other=0.0).to(tl.float32)
    shift = tl.load(bias + channel, mask=is_channel, other=0.0).to(tl.float32)
    place = record * result_record + channel * result_channel + position * result_position
    tl.store(result + place, normed * scale + shift, mask=inside)


@triton.jit
@no_type_check
def normalise_gradient(
    values,
    weight,
    gradient,
    values_gradient,
    parameter_gradients,
    channels,
    positions,
    blocks,
    epsilon,
    values_record,
    values_channel,
    values_position,
    gradient_record,
    gradient_channel,
    gradient_position,
    written_record,
    written_channel,
    written_position,
    CHANNELS: tl.constexpr,
    POSITIONS: tl.constexpr,
):
    """Gradient of the values; and of weight and bias what this block adds: two rows (program, channel)."""
    record, channel, position = block_of(blocks, CHANNELS, POSITIONS)
    is_channel = channel < channels
    inside = is_channel & (position < positions)

    place = record * values_record + channel * values_channel + position * values_position
    read = tl.load(values + place, mask=inside, other=0.0).to(tl.float32)
    place = record * gradient_record + channel * gradient_channel + position * gradient_position
    arrived = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
    normed, inverse_std = standardised(read, inside, channels, epsilon)

    row = tl.program_id(0).to(tl.int64) * channels + tl.arange(0, CHANNELS)
    rows = tl.num_programs(0).to(tl.int64) * channels
    is_row = tl.arange(0, CHANNELS) < channels
    tl.store(parameter_gradients + row, tl.sum(arrived * normed, axis=1), mask=is_row)
    tl.store(parameter_gradients + rows + row, tl.sum(arrived, axis=1), mask=is_row)

    scaled = arrived * tl.load(weight + channel, mask=is_channel, other=0.0).to(tl.float32)
    along = tl.sum(scaled * normed, axis=0) / channels
    level = tl.sum(scaled, axis=0) / channels
    written = (scaled - level[None, :] - normed * along[None, :]) * inverse_std[None, :]
    place = record * written_record + channel * written_channel + position * written_position
    tl.store(values_gradient + place, written, mask=inside)


@triton.jit
@no_type_check
def add_gated_halves(values, mixed, result, size, blocks, BLOCK: tl.constexpr):
    """Add a · sigmoid(b) to the values, where a record of `mixed` is a and then b, of `size` numbers each."""
    program = tl.program_id(0)
    record = (program // blocks).to(tl.int64)
    place = (program % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    a = tl.load(mixed + 2 * record * size + place, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(mixed + (2 * record + 1) * size + place, mask=inside, other=0.0).to(tl.float32)
    before = tl.load(values + record * size + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(result + record * size + place, before + a * tl.sigmoid(b), mask=inside)


@triton.jit
@no_type_check
def gate_gradient(gradient, mixed, mixed_gradient, size, blocks, BLOCK: tl.constexpr):
    """Gradient of both halves of `mixed`."""
    program = tl.program_id(0)
    record = (program // blocks).to(tl.int64)
    place = (program % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    of_a = 2 * record * size + place
    of_b = (2 * record + 1) * size + place
    a = tl.load(mixed + of_a, mask=inside, other=0.0).to(tl.float32)
    gate = tl.sigmoid(tl.load(mixed + of_b, mask=inside, other=0.0).to(tl.float32))
    through = tl.load(gradient + record * size + place, mask=inside, other=0.0).to(tl.float32) * gate
    tl.store(mixed_gradient + of_a, through, mask=inside)
    tl.store(mixed_gradient + of_b, through * a * (1.0 - gate), mask=inside)


@triton.jit
@no_type_check
def correlate(first, second, result, records, numbers, SHARE: tl.constexpr, BLOCK: tl.constexpr):
    """Sum first · conj(second) over SHARE of the records, for BLOCK of a record's complex numbers, pairs of floats."""
    number = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = number < numbers
    begin = tl.program_id(1).to(tl.int64) * SHARE
    place = 2 * (begin * numbers + number)
    real = tl.zeros((BLOCK,), dtype=tl.float32)
    imaginary = tl.zeros((BLOCK,), dtype=tl.float32)
    for step in range(SHARE):
        there = inside & (begin + step < records)
        a = tl.load(first + place, mask=there, other=0.0)
        b = tl.load(first + place + 1, mask=there, other=0.0)
        c = tl.load(second + place, mask=there, other=0.0)
        d = tl.load(second + place + 1, mask=there, other=0.0)
        real += a * c + b * d
        imaginary += b * c - a * d
        place += 2 * numbers
    place = 2 * (tl.program_id(1).to(tl.int64) * numbers + number)
    tl.store(result + place, real, mask=inside)
    tl.store(result + place + 1, imaginary, mask=inside)
